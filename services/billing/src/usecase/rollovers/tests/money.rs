//! What the credits that roll over are worth, and what becomes of them where their month moves or its money goes back. On both
//! engines.

use bursar_testkit::{at, credits, engines, id, organization, personal};

use super::{NEXT, PLANS, THIRD, becomes, on, pair, rolled, shop};
use crate::domain::News;
use crate::usecase::changing::tests::change;
use crate::usecase::finance;
use crate::usecase::shelf::{debt, told, usd};
use crate::usecase::shop::Shop;

engines! {
    async fn what_has_rolled_over_moves_with_its_month(db: TestDb) {
        let shop = shop(&db).await;
        let (owner, team) = (personal(1), organization(1));
        let first = on(&shop, owner, "rolling").await;
        shop.spend(owner, "1000").await;
        becomes(&shop, NEXT, 1).await;
        shop.spend(owner, "100").await;
        shop.moves(id(1), id(1)).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("1900")));
        assert_eq!(rolled(&shop, team).await, [pair("400", "400")]);
        shop.spend(team, "50").await;
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
        // What is taken back of the first month follows its credits: what is left there first, then what was spent of them.
        told(&shop, first, News::Refunded(usd("100.00"))).await;
        assert_eq!((shop.available(team).await, debt(&shop, team).await), (credits("1500"), "50".to_owned()));
        assert_eq!(debt(&shop, owner).await, "1100", "1,000 in the first month, 100 of what had rolled over");
        becomes(&shop, THIRD, 1).await;
        assert_eq!(rolled(&shop, team).await, [pair("400", "0"), pair("500", "500")]);
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn what_a_payment_loses_is_taken_of_what_has_rolled_over_first(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let first = on(&shop, owner, "rolling").await;
        shop.spend(owner, "1000").await;
        becomes(&shop, NEXT, 1).await;
        told(&shop, first, News::Refunded(usd("20.00"))).await;
        assert_eq!(rolled(&shop, owner).await, [pair("500", "200")]);
        shop.spend(owner, "150").await;
        // 750 of 1,500: 200 more of what rolled over, of which 150 are spent, and 250 of what was spent before.
        told(&shop, first, News::Disputed(usd("30.00"))).await;
        assert_eq!((rolled(&shop, owner).await, debt(&shop, owner).await), (vec![pair("500", "0")], "400".to_owned()));
        shop.assert_sound(owner).await;
        told(&shop, first, News::DisputeWon).await;
        assert_eq!((rolled(&shop, owner).await, debt(&shop, owner).await), (vec![pair("500", "50")], "0".to_owned()));
        shop.assert_sound(owner).await;
        // Once what is left of it has lapsed, what was spent is owed.
        becomes(&shop, THIRD, 1).await;
        told(&shop, first, News::Refunded(usd("100.00"))).await;
        assert_eq!(debt(&shop, owner).await, "1150");
        shop.assert_sound(owner).await;
    }

    async fn what_a_dispute_has_wholly_taken_of_what_rolled_over_moves_along(db: TestDb) {
        let shop = shop(&db).await;
        let mut first = Vec::new();
        for n in [1, 2] {
            first.push(on(&shop, personal(n), "rolling").await);
            shop.spend(personal(n), "1000").await;
        }
        // The other one's plan has no rollover any more by then.
        change(&shop, personal(2), "business", 0).await.unwrap();
        becomes(&shop, NEXT, 2).await;
        for (n, first) in [1, 2].into_iter().zip(first) {
            let (owner, team) = (personal(n), organization(n));
            told(&shop, first, News::Disputed(usd("100.00"))).await;
            assert_eq!(rolled(&shop, owner).await, [pair("500", "0")], "{n}");
            assert_eq!(debt(&shop, owner).await, "1000");
            shop.moves(id(n), id(n)).await;
            assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("1500")), "{n}");
            told(&shop, first, News::DisputeWon).await;
            assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("2000")), "{n}");
            assert_eq!(debt(&shop, owner).await, "0");
            for owner in [owner, team] {
                shop.assert_sound(owner).await;
            }
        }
    }

    async fn what_a_dispute_withholds_at_the_boundary_rolls_over_and_comes_back(db: TestDb) {
        let shop = shop(&db).await;
        let mut first = Vec::new();
        for n in [1, 2] {
            let (owner, paid) = (personal(n), on(&shop, personal(n), "rolling").await);
            shop.spend(owner, "900").await;
            // Of 600, 75 go back with a refund; a bank takes 1,200 more, of which 525 are left.
            told(&shop, paid, News::Refunded(usd("5.00"))).await;
            told(&shop, paid, News::Disputed(usd("80.00"))).await;
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("0"), "675".to_owned()));
            first.push(paid);
        }
        becomes(&shop, NEXT, 2).await;
        let ends = [(News::DisputeWon, "2000", "0"), (News::DisputeLost, "1500", "675")];
        for (n, (paid, (news, available, debts))) in (1..).zip(first.into_iter().zip(ends)) {
            let owner = personal(n);
            assert_eq!(rolled(&shop, owner).await, [pair("500", "0")], "what could come back, up to the cap");
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1500"), "675".to_owned()));
            shop.assert_sound(owner).await;
            told(&shop, paid, news).await;
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits(available), debts.to_owned()));
            shop.assert_sound(owner).await;
        }
    }

    async fn what_is_taken_back_before_a_late_month_begins_does_not_roll_over(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let first = on(&shop, owner, "rolling").await;
        shop.spend(owner, "1000").await;
        shop.pays_with("sandbox_declined").await;
        becomes(&shop, NEXT, 1).await;
        told(&shop, first, News::Disputed(usd("80.00"))).await;
        assert_eq!(debt(&shop, owner).await, "1000", "what was used; the rest had lapsed");
        shop.pays_with("sandbox_ok").await;
        becomes(&shop, "2026-02-02T00:00:00Z", 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("500", "300")], "1,200 of 1,500 are gone");
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1800"), "1000".to_owned()));
        shop.assert_sound(owner).await;
        told(&shop, first, News::DisputeWon).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("2000"), "0".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn months_add_up_to_what_was_paid_and_what_rolls_over_is_no_breakage(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.spend(owner, "1000").await;
        becomes(&shop, NEXT, 1).await;
        assert_eq!(shop.reported("2026-01").await, (66_666_666, 0, 33_333_334));
        assert_eq!(shop.reported("2026-02").await, (0, 0, 133_333_334), "nothing is lost");
        shop.spend(owner, "700").await;
        // The third month is paid late, when what was left has lapsed in the month before.
        shop.pays_with("sandbox_declined").await;
        becomes(&shop, THIRD, 1).await;
        shop.pays_with("sandbox_ok").await;
        becomes(&shop, "2026-03-02T00:00:00Z", 1).await;
        assert_eq!(rolled(&shop, owner).await, [pair("500", "0"), pair("500", "500")]);
        shop.spend(owner, "123.456789").await;
        becomes(&shop, "2026-04-01T00:00:00Z", 1).await;
        let mut gone = 0;
        for (month, paid) in [("2026-01", 100), ("2026-02", 200), ("2026-03", 300), ("2026-04", 400)] {
            let (earned, breakage, left) = shop.reported(month).await;
            gone += earned + breakage;
            assert_eq!(gone + left, paid * 1_000_000, "{month}");
        }
    }

    async fn what_rolls_over_late_takes_back_what_was_breakage(db: TestDb) {
        let shop = Shop::selling(&db, "2026-01-31T10:00:00Z", PLANS).await;
        let owner = personal(1);
        on(&shop, owner, "rolling").await;
        shop.spend(owner, "1000").await;
        shop.pays_with("sandbox_declined").await;
        becomes(&shop, "2026-02-28T10:00:00Z", 1).await;
        shop.pays_with("sandbox_ok").await;
        becomes(&shop, "2026-03-01T10:00:00Z", 1).await;
        assert_eq!(shop.reported("2026-01").await, (66_666_666, 0, 33_333_334));
        assert_eq!(shop.reported("2026-02").await, (0, 33_333_334, 0), "it had lapsed then");
        assert_eq!(shop.reported("2026-03").await, (0, -33_333_334, 133_333_334), "and has not after all");
    }

    async fn what_has_rolled_over_and_goes_back_is_given_back_once(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let first = on(&shop, owner, "rolling").await;
        shop.spend(owner, "1000").await;
        becomes(&shop, NEXT, 1).await;
        // Of 300 credits, which are taken of the 500 that have rolled over; then all, 1,000 that were spent included.
        let (mut back, mut left) = (Vec::new(), Vec::new());
        for (day, dollars) in [("2026-02-05", "20.00"), ("2026-03-05", "100.00")] {
            if dollars == "100.00" {
                becomes(&shop, THIRD, 1).await;
            }
            shop.set(&format!("{day}T00:00:00Z"));
            told(&shop, first, News::Refunded(usd(dollars))).await;
            let from = at(&format!("{}-01T00:00:00Z", &day[..7]));
            let month = (from, from.add_months_anchored(1));
            let report = finance::report(&shop.db, None, (month, shop.clock.now()), Vec::<u8>::new()).await.unwrap();
            assert_eq!((report.differences, report.books["USD"].difference()), (Vec::new(), 0));
            let sums = report.sums["USD"];
            back.push((sums.given_back, sums.earned, sums.breakage));
            left.push(sums.left_value);
        }
        assert_eq!(back[0], (20_000_000, 0, 0), "what rolled over is no breakage, nor is what goes back of it");
        assert_eq!(left[0], 113_333_334, "a new month, and 200 credits");
        assert_eq!((back[1].0, back[1].1), (80_000_000, -66_666_666), "what was earned of the first month is not any more");
        shop.assert_sound(owner).await;
    }
}
