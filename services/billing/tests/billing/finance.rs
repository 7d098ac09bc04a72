//! `bursar-billing report`: a month in lots, what they are worth, and whether they agree with what was sold.

use bursar_billing::finance::{MonthReport, report};
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_testkit::{at, engines, refused};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use crate::moving::moving;
use crate::tampering::{disarm, disarm_invoices, sql};
use crate::words::{buy, give_back, grant, lots_of, reserve, spend, subscribe, void};
use crate::world::{Person, World};

fn month(text: &str) -> (Timestamp, Timestamp) {
    let first = at(&format!("{text}-01T00:00:00Z"));
    (first, first.add_months_anchored(1))
}

/// The report's lines by what they say of a lot of this source, without ids and times.
async fn lines(world: &World, owner: Option<OwnerId>, text: &str) -> (Vec<String>, MonthReport) {
    let mut csv = Vec::new();
    let written = report(&world.store, owner, (month(text), world.now()), &mut csv).await.unwrap();
    let text = String::from_utf8(csv).unwrap();
    let line = |line: &str| {
        let columns: Vec<&str> = line.split(',').collect();
        assert_eq!(columns.len(), 25, "{line}");
        format!("{} {}", columns[2], columns[5..18].join(" "))
    };
    (text.lines().skip(1).map(line).collect(), written)
}

async fn buys(person: &Person, pack: &str) {
    person.purchase_pack(buy(person.owner, pack)).await.unwrap();
}

engines! {
    async fn a_month_is_told_as_it_ended_however_late(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        // January: a pack for 20 dollars, 120 of its 300 credits spent, 30 of them given back.
        buys(&ana, "starter").await;
        ana.charged(spend(ana.owner, "90")).await;
        let back = ana.charged(spend(ana.owner, "30")).await;
        world.product().refund(give_back(&back)).await.unwrap();
        let expected = ["PACK USD 20 300 90 6 0 0 0 90 0 0 210 14"];
        let (january, told) = lines(&world, None, "2026-01").await;
        assert_eq!(january, expected);
        let sums = told.sums["USD"].to_string();
        assert_eq!(sums, "210 paid credits unspent, worth 14; earned 6, breakage 0");
        assert_eq!((told.lots, told.differences), (1, Vec::<String>::new()));

        // February: 57 more, goodwill that expires, and the pack is voided while 10 of it are held.
        world.passes(at("2026-02-10T00:00:00Z").since(world.now()));
        ana.charged(spend(ana.owner, "57")).await;
        let free = pb::GrantCreditsRequest {
            expires_at: Some(bursar_rpc::convert::to_timestamp(world.in_(Span::DAY))),
            ..grant(ana.owner, "5")
        };
        world.operator().granted(free).await;
        world.passes(Span::from_days(2));
        ana.held(reserve(ana.owner, "10")).await;
        let (again, _) = lines(&world, None, "2026-01").await;
        assert_eq!(again, expected, "what came later changes nothing");
        let (february, told) = lines(&world, Some(ana.owner), "2026-02").await;
        assert_eq!(february, ["PACK USD 20 300 57 3.8 0 0 0 147 0 0 153 10.2", "GOODWILL   5 0  5 0  0 5 0 0 "]);
        assert_eq!(told.sums["USD"].to_string(), "153 paid credits unspent, worth 10.2; earned 3.8, breakage 0");

        let lots = ana.list_lots(lots_of(ana.owner)).await.unwrap().lots;
        let pack = lots.iter().find(|lot| lot.source() == pb::LotSource::Pack).unwrap();
        world.operator().void_lot(void(ana.owner, pack)).await.unwrap();
        let (february, told) = lines(&world, None, "2026-02").await;
        assert_eq!(february[0], "PACK USD 20 300 57 3.8 0 143 9.533333 147 0 143 10 0.666667", "what is held is left");
        assert_eq!(told.sums["USD"].breakage, 9_533_333);
        assert!(lines(&world, None, "2025-12").await.0.is_empty(), "nothing was there yet");
        world.audit(ana.owner).await;
    }

    async fn months_add_up_to_what_was_paid(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        for pack in ["starter", "standard"] {
            buys(&ana, pack).await;
        }
        let mut earned = 0;
        for month in ["2026-01", "2026-02", "2026-03", "2026-04"] {
            for amount in ["33.333333", "100.1", "7"] {
                ana.charged(spend(ana.owner, amount)).await;
            }
            let sums = lines(&world, None, month).await.1.sums["USD"];
            earned += sums.earned;
            assert_eq!(earned + sums.left_value, 120_000_000, "{month}: earned and owed are what was paid");
            world.passes(Span::from_days(30));
        }
        assert!(earned > 20_000_000, "the first pack is spent: {earned}");
    }

    async fn a_month_that_moves_is_counted_once(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let (team, boss) = world.organization_with(2, "1").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        ana.charged(spend(ana.owner, "500")).await;
        world.passes(at("2026-02-03T12:00:00Z").since(world.now()));
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        boss.charged(spend(team, "300")).await;
        let (january, _) = lines(&world, Some(ana.owner), "2026-01").await;
        assert_eq!(january, ["ALLOWANCE USD 100 1500 500 33.333333 0 0 0 500 0 0 1000 66.666667"], "it had not moved");
        let (february, _) = lines(&world, Some(ana.owner), "2026-02").await;
        assert_eq!(february, ["ALLOWANCE USD 33.333333 1500 0 0 0 1000 0 500 0 1000 0 0"]);
        let mut gone = 0;
        for month in ["2026-01", "2026-02", "2026-03"] {
            let (_, told) = lines(&world, None, month).await;
            let sums = told.sums["USD"];
            gone += sums.earned + sums.breakage;
            assert_eq!((gone + sums.left_value, told.differences), (100_000_000, Vec::new()), "{month}: {sums:?}");
        }
        assert_eq!(gone, 53_333_333, "500 of 1,500 here, and 300 there");
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn what_was_sold_and_what_was_granted_agree_or_show(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        buys(&ana, "starter").await;
        let none: Vec<String> = Vec::new();
        assert_eq!(lines(&world, None, "2026-01").await.1.differences, none);
        world.by_hand("UPDATE purchases SET price = price + 1").await.unwrap();
        let differences = lines(&world, None, "2026-01").await.1.differences;
        assert_eq!(differences.len(), 1);
        assert!(differences[0].contains("its payment is not what its lot says"), "{differences:?}");
        world.by_hand("DELETE FROM purchases").await.unwrap();
        let differences = lines(&world, None, "2026-01").await.1.differences;
        assert!(differences[0].contains("no payment bought it"), "{differences:?}");
    }

    async fn what_is_left_where_an_account_is_gone_shows(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben, cem, dan) = (world.person(1), world.person(2), world.person(3), world.person(4));
        for person in [&ana, &ben, &cem] {
            buys(person, "starter").await;
        }
        // Whose every payment came to nothing has no account, and needs none.
        let declined = pb::PurchasePackRequest { payment_method: "sandbox_declined".into(), ..buy(dan.owner, "starter") };
        refused(dan.purchase_pack(declined).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let whole = lines(&world, None, "2026-01").await.1;
        assert_eq!((whole.differences.len(), whole.books["USD"].difference()), (0, 0));
        disarm(&world).await;
        world.by_hand("DELETE FROM accounts").await.unwrap();
        world.by_hand(&sql(&world, ben.owner, "DELETE FROM ledger_entries WHERE owner = OWNER")).await.unwrap();
        for table in ["ledger_entries", "lots"] {
            world.by_hand(&sql(&world, cem.owner, &format!("DELETE FROM {table} WHERE owner = OWNER"))).await.unwrap();
        }
        let left = lines(&world, None, "2026-01").await.1;
        for (who, what) in [(&ana, "its account is missing"), (&ben, "its account is missing"), (&cem, "a lot of it is not what it says")] {
            let told = |line: &String| line.contains(&who.owner.to_string()) && line.contains(what);
            assert_eq!(left.differences.iter().filter(|line| told(line)).count(), 1, "{what}: {:?}", left.differences);
            let alone = lines(&world, Some(who.owner), "2026-01").await.1.differences;
            assert!(alone.iter().any(told), "{what}: {alone:?}");
        }
        assert!(!left.differences.iter().any(|line| line.contains(&dan.owner.to_string())), "{:?}", left.differences);
        // Their money is in the books, with or without them.
        assert_eq!(left.books["USD"].payments, whole.books["USD"].payments);
    }

    async fn every_payment_has_its_invoice_its_credit_notes_and_its_lots_or_there_is_a_line(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        buys(&ana, "starter").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        let told = lines(&world, None, "2026-01").await.1;
        let books = told.books["USD"];
        assert_eq!((books.payments, books.invoices, books.lots), (120_000_000, 120_000_000, 120_000_000));
        assert_eq!((books.difference(), told.differences), (0, Vec::new()));
        let cases = [
            ("refunded = 5000000", "refunded = 0", "its credit notes are not what went back", 5_000_000),
            ("amount = amount + 10000", "amount = amount - 10000", "its invoice is not what was paid", 10_000),
        ];
        for (wrong, right, said, difference) in cases {
            let of_months = "WHERE purpose = 'SUBSCRIPTION'";
            assert_eq!(world.by_hand(&format!("UPDATE payments SET {wrong} {of_months}")).await.unwrap(), 1);
            let told = lines(&world, None, "2026-01").await.1;
            assert!(told.differences.len() == 1 && told.differences[0].contains(said), "{wrong}: {:?}", told.differences);
            assert_eq!(told.books["USD"].difference(), difference, "{wrong}");
            world.by_hand(&format!("UPDATE payments SET {right} {of_months}")).await.unwrap();
        }
        assert_eq!(lines(&world, None, "2026-01").await.1.differences, Vec::<String>::new());
    }

    async fn whatever_of_a_payment_is_not_as_it_was_sold_is_a_line_and_mostly_a_difference(db: TestDb) {
        let world = World::on(db).await;
        disarm_invoices(&world).await;
        let ana = world.person(1);
        buys(&ana, "starter").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        for table in ["payments", "invoices"] {
            world.by_hand(&format!("CREATE TABLE {table}_before AS SELECT * FROM {table}")).await.unwrap();
        }
        let not_it = "its payment does not know lot_";
        let no_invoice = "DELETE FROM invoices WHERE payment_id IN (SELECT id FROM payments WHERE WHICH)";
        let unnamed = format!("{no_invoice}; UPDATE payments SET invoice_id = NULL WHERE WHICH");
        let of_old = format!("{no_invoice}; UPDATE payments SET invoice_id = NULL, bill = NULL WHERE WHICH");
        let cases: [(&str, &[&str], i64); 8] = [
            ("UPDATE payments SET credits = credits + 1 WHERE WHICH", &["a lot of it is not what it says"], 100_000_000),
            ("UPDATE payments SET lot_id = NULL WHERE WHICH", &["its lot is missing", not_it], 100_000_000),
            (
                "UPDATE payments SET bill = NULL, amount = amount + 10000 WHERE WHICH",
                &["its invoice is not what was paid", "its lots do not say what was paid"],
                20_000,
            ),
            (no_invoice, &["its invoice is missing"], 100_000_000),
            (unnamed.as_str(), &["its invoice is missing"], 100_000_000),
            (of_old.as_str(), &[], 0),
            ("DELETE FROM payments WHERE WHICH", &[" granted it"], 0),
            (
                "UPDATE payments SET fulfilled_at = NULL, returned = 1 WHERE WHICH",
                &[
                    "nothing was delivered for it, and its money has not gone back",
                    "nothing was delivered for it, and it has an invoice",
                    not_it,
                ],
                0,
            ),
        ];
        for (wrong, said, difference) in cases {
            world.by_hand(&wrong.replace("WHICH", "purpose = 'SUBSCRIPTION'")).await.unwrap();
            let told = lines(&world, None, "2026-01").await.1;
            assert_eq!(told.differences.len(), said.len(), "{wrong}: {:?}", told.differences);
            for (line, said) in told.differences.iter().zip(said) {
                assert!(line.contains(said), "{wrong}: {line}");
            }
            assert_eq!(told.books["USD"].difference(), difference, "{wrong}: {}", told.books["USD"]);
            for table in ["payments", "invoices"] {
                let back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {table}_before");
                world.by_hand(&back).await.unwrap();
            }
            assert_eq!(lines(&world, None, "2026-01").await.1.differences, Vec::<String>::new(), "after {wrong}");
        }
    }
}
