//! A month that is over is told once and for all: whatever becomes of its owners afterwards, and however late it is asked for, its
//! report stays the same, to the byte. And what went back without a credit note has its line. On both engines.

use bursar_id::PaymentId;
use bursar_members::Standing;
use bursar_testkit::{at, engines, id, organization, personal};

use super::{MonthReport, report};
use crate::domain::News;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::renewals;
use crate::usecase::shop::Shop;
use crate::usecase::years::tests::{BEGIN, MONTHS, PLANS};

/// What a year costs, in millionths of a dollar.
const YEAR: i64 = 1_000_000_000;
/// What of that is for a month: rounded down to the cent.
const PART: i64 = 83_330_000;

const EMPTY: &str = r#"
[[plans]]
id = "empty"
name = "Seats alone, by the year"
interval = "year"
price = "1200.00 USD"
credits = "0"
seats = 10
features = ["organizations"]
"#;

/// What a month says by now, as it is written and in sums. Everything agrees.
async fn told(shop: &Shop, month: &str) -> (String, MonthReport) {
    let from = at(&format!("{month}-01T00:00:00Z"));
    let (month, mut csv) = ((from, from.add_months_anchored(1)), Vec::new());
    let told = report(&shop.db, None, (month, shop.clock.now()), &mut csv).await.unwrap();
    assert_eq!(told.differences, Vec::<String>::new());
    assert!(told.books.values().all(|it| it.difference() == 0), "{:?}", told.books);
    (String::from_utf8(csv).unwrap(), told)
}

/// What is in no lot, in millionths: paid, given back, earned, breakage, left.
fn in_no_lot(told: &MonthReport) -> [i64; 5] {
    let of = told.not_granted.get("USD").copied().unwrap_or_default();
    [of.paid, of.given_back, of.earned, of.breakage, of.left_value]
}

/// What by now is paid ahead, and what was so and never begins.
fn ahead(told: &MonthReport) -> (i64, i64) {
    let books = told.books["USD"];
    (books.ahead, books.never_begun)
}

/// It is this time, and a month has begun.
async fn begins(shop: &Shop, time: &str) {
    shop.set(time);
    assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().done, 1, "at {time}");
}

/// A year that the first person has paid for, and an organization has since, whose second month has begun.
async fn moved(shop: &Shop) {
    shop.subscribe(personal(1), "yearly", "sandbox_ok", "").await.unwrap();
    shop.moves(id(1), id(1)).await;
    begins(shop, MONTHS[1]).await;
}

/// From then on the organization is deleted, or is back.
async fn stands(shop: &Shop, time: &str, standing: Standing) {
    shop.set(time);
    shop.stands(organization(1), standing).await;
    shop.settles(organization(1)).await;
}

engines! {
    async fn what_had_ended_with_its_owner_comes_back_in_the_month_in_which_it_does(db: TestDb) {
        let (shop, team) = (Shop::selling(&db, BEGIN, PLANS).await, organization(1));
        moved(&shop).await;
        stands(&shop, "2028-02-10T00:00:00Z", Standing::Deleted).await;
        shop.set("2028-03-05T00:00:00Z");
        let (february, said) = told(&shop, "2028-02").await;
        assert_eq!(in_no_lot(&said), [0, 0, 0, YEAR - 2 * PART, 0], "it has ended");
        assert_eq!(ahead(&said), (0, YEAR - 2 * PART));

        stands(&shop, "2028-03-05T00:00:00Z", Standing::Active).await;
        begins(&shop, "2028-03-05T00:00:00Z").await;
        assert_eq!(told(&shop, "2028-02").await.0, february);
        let (_, march) = told(&shop, "2028-03").await;
        assert_eq!(in_no_lot(&march), [-PART, 0, 0, 2 * PART - YEAR, YEAR - 3 * PART], "what was breakage is owed again");
        assert_eq!(ahead(&march), (YEAR - 3 * PART, 0));

        // And then it ends for good.
        shop.set("2028-03-20T00:00:00Z");
        cancel(&shop, team, CancelAt::Now).await.unwrap();
        shop.set("2028-04-02T00:00:00Z");
        assert_eq!(told(&shop, "2028-02").await.0, february);
        let (_, march) = told(&shop, "2028-03").await;
        assert_eq!((in_no_lot(&march), ahead(&march)), ([-PART, 0, 0, -PART, 0], (0, YEAR - 3 * PART)));
    }

    async fn of_several_deletions_each_is_told_in_its_own_months(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        moved(&shop).await;
        stands(&shop, "2028-02-10T00:00:00Z", Standing::Deleted).await;
        stands(&shop, "2028-02-12T00:00:00Z", Standing::Active).await;
        begins(&shop, MONTHS[2]).await;
        stands(&shop, "2028-03-10T00:00:00Z", Standing::Deleted).await;
        let (february, said) = told(&shop, "2028-02").await;
        assert_eq!(in_no_lot(&said), [-PART, 0, 0, 0, YEAR - 3 * PART], "it was back before the month was over");
        shop.set("2028-04-02T00:00:00Z");
        let (march, said) = told(&shop, "2028-03").await;
        assert_eq!(in_no_lot(&said), [0, 0, 0, YEAR - 3 * PART, 0]);

        stands(&shop, "2028-04-02T00:00:00Z", Standing::Active).await;
        begins(&shop, "2028-04-02T00:00:00Z").await;
        let (_, april) = told(&shop, "2028-04").await;
        assert_eq!(in_no_lot(&april), [-PART, 0, 0, 3 * PART - YEAR, YEAR - 4 * PART]);
        let again = (told(&shop, "2028-02").await.0, told(&shop, "2028-03").await.0);
        assert_eq!(again, (february, march));
    }

    async fn a_year_that_moves_with_nothing_left_of_its_month_is_paid_ahead_where_it_is(db: TestDb) {
        let (shop, team) = (Shop::selling(&db, BEGIN, PLANS).await, organization(1));
        shop.subscribe(personal(1), "yearly", "sandbox_ok", "").await.unwrap();
        begins(&shop, MONTHS[1]).await;
        shop.spend(personal(1), "1500").await;
        shop.set("2028-01-31T12:00:00Z");
        shop.moves(id(1), id(1)).await;
        assert!(shop.lots(team).await.is_empty(), "nothing of it has moved along");
        shop.set("2028-02-10T00:00:00Z");
        let (january, said) = told(&shop, "2028-01").await;
        assert_eq!(in_no_lot(&said), [-PART, 0, 0, 0, YEAR - 2 * PART], "it goes on");
        assert_eq!(ahead(&said), (YEAR - 2 * PART, 0));

        begins(&shop, MONTHS[2]).await;
        shop.set("2028-03-02T00:00:00Z");
        assert_eq!(told(&shop, "2028-01").await.0, january);
        assert_eq!(in_no_lot(&told(&shop, "2028-02").await.1), [-PART, 0, 0, 0, YEAR - 3 * PART]);
        cancel(&shop, team, CancelAt::Now).await.unwrap();
        let (_, march) = told(&shop, "2028-03").await;
        assert_eq!(in_no_lot(&march), [0, 0, 0, YEAR - 3 * PART, 0], "it ends where it is");
        assert_eq!(told(&shop, "2028-01").await.0, january);
    }

    async fn a_year_without_credits_that_moves_is_earned_month_by_month_where_it_is(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, EMPTY).await;
        shop.subscribe(personal(1), "empty", "sandbox_ok", "").await.unwrap();
        shop.set("2028-01-10T00:00:00Z");
        shop.moves(id(1), id(1)).await;
        shop.subscriptions.get(organization(1)).await.expect("it has moved");
        shop.set("2028-02-10T00:00:00Z");
        let (january, said) = told(&shop, "2028-01").await;
        assert_eq!(in_no_lot(&said), [0, 0, 100_000_000, 0, 1_100_000_000]);
        begins(&shop, "2028-02-10T00:00:00Z").await;
        shop.set("2028-03-05T00:00:00Z");
        assert_eq!(in_no_lot(&told(&shop, "2028-02").await.1), [0, 0, 100_000_000, 0, 1_000_000_000]);
        assert_eq!(told(&shop, "2028-01").await.0, january);
    }

    /// An earlier program wrote no credit note of a dispute that was lost.
    async fn what_went_back_without_a_credit_note_is_in_the_line_of_the_month_in_which_credits_were_taken_for_it(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let begun = shop.subscribe(personal(1), "yearly", "sandbox_ok", "").await.unwrap();
        let year: PaymentId = begun.payment_id.parse().unwrap();
        shop.spend(personal(1), "1").await;
        begins(&shop, MONTHS[1]).await;
        shop.set("2028-02-10T00:00:00Z");
        let (january, _) = told(&shop, "2028-01").await;
        let amount = shop.payments.known(year).await.unwrap().amount;
        shop.payments.told(year, News::Disputed(amount)).await.unwrap();
        shop.sql("UPDATE payments SET dispute = 'LOST' WHERE dispute = 'OPEN'").await;
        shop.set("2028-03-05T00:00:00Z");
        let (_, february) = told(&shop, "2028-02").await;
        assert_eq!(in_no_lot(&february), [0, YEAR - 2 * PART, 0, 0, 0], "no month comes of it any more");
        let lots = february.sums["USD"];
        assert_eq!((lots.given_back, lots.left_value), (2 * PART, 0));
        let books = february.books["USD"];
        assert_eq!((books.given_back, books.credit_notes, books.not_noted), (YEAR, 0, YEAR));
        assert_eq!(ahead(&february), (0, YEAR - 2 * PART));
        let [line] = february.not_noted.as_slice() else { panic!("{:?}", february.not_noted) };
        assert!(line.contains(&format!("{year}: 1000 USD went back without a credit note")), "{line}");
        assert_eq!(told(&shop, "2028-01").await.0, january, "it was not so in the month before");
    }

    async fn what_was_paid_for_nothing_and_has_gone_back_is_counted(db: TestDb) {
        let (shop, owner) = (Shop::open(&db, "2026-01-31T10:00:00Z").await, personal(1));
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        let waiting = shop.subscribe(owner, "business", "sandbox_pending", "").await.unwrap();
        cancel(&shop, owner, CancelAt::Now).await.unwrap();
        shop.payments.told(waiting.payment_id.parse().unwrap(), News::Paid).await.unwrap();
        let (_, said) = told(&shop, "2026-01").await;
        let books = said.books["USD"];
        assert_eq!((books.payments, books.waiting, books.sent_back), (20_000_000, 0, 100_000_000));
        let words = books.to_string();
        assert!(words.ends_with("not delivered 0, undelivered and gone back 100; difference 0"), "{words}");
        assert_eq!(said.not_noted, Vec::<String>::new(), "there was no invoice that a note would correct");
    }
}
