//! Invoices and credit notes beside what they are for, on both engines.

use bursar_db::{DbError, on};
use bursar_id::OwnerId;
use bursar_members::{CreditUnit, Policy, policies};
use bursar_money::Price;
use bursar_proto::event::v1::Event;
use bursar_proto::event::v1::event::Payload;
use bursar_secret::Entropy;
use bursar_testkit::{at, engines, personal};
use bursar_time::Span;
use prost::Message as _;

use super::{Invoices, Taxes, Terms, forget, leave};
use crate::document::{Format, Look, Paid};
use crate::domain::{
    AccountSettings, BillingProfile, DocumentKind, Invoice, Issuer, News, SettingsChange, TaxProvider, TaxRate,
};
use crate::store::{invoices, settings};
use crate::usecase::renewals;
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";

/// The owner's documents, the oldest first.
async fn all(shop: &Shop, owner: OwnerId) -> Vec<Invoice> {
    let mut documents = invoices::page(&mut shop.db.read().await.unwrap(), owner, None, 1_000).await.unwrap();
    documents.reverse();
    documents
}

/// The ends of their numbers: what follows the prefix.
fn numbers(documents: &[Invoice]) -> Vec<&str> {
    documents.iter().map(|it| it.number.split_once('-').unwrap().1).collect()
}

async fn set(shop: &Shop, owner: OwnerId, change: SettingsChange) {
    let mut tx = shop.db.begin().await.unwrap();
    let before = settings::of(&mut tx, owner).await.unwrap();
    settings::put(&mut tx, owner, &before.with(&change), shop.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn set_country(shop: &Shop, owner: OwnerId, country: &str) {
    let profile = BillingProfile { name: "Ada".to_owned(), country: country.parse().ok(), ..BillingProfile::default() };
    set(shop, owner, SettingsChange { profile: Some(profile), ..SettingsChange::default() }).await;
}

/// So much has been given back by now of what an invoice was paid with.
async fn given_back(shop: &Shop, of: &Invoice, total: &str) {
    shop.payments.told(of.payment, News::Refunded(total.parse().unwrap())).await.unwrap();
}

/// The same shop with German taxes.
fn taxed(shop: &mut Shop) {
    let rate = TaxRate { country: "DE".parse().unwrap(), name: "USt.".to_owned(), percent: "19".parse().unwrap() };
    let taxes = Taxes::new(TaxProvider::table(vec![rate]).unwrap());
    let issuer = Issuer { product: "Flik".to_owned(), lines: vec!["Flik GmbH".to_owned()] };
    let terms = Invoices::new(Terms { issuer, taxes }, Entropy::seeded(8));
    shop.purchases.cashier.till.invoices = terms.clone();
    shop.subscriptions.cashier.till.invoices = terms.clone();
    shop.payments.cashier.till.invoices = terms;
}

/// Of which documents it is told that they were issued, in that order.
async fn told_of(shop: &Shop) -> Vec<String> {
    let mut tx = shop.db.read().await.unwrap();
    let sql = "SELECT payload FROM outbox WHERE type = 'invoice.issued' ORDER BY seq";
    let rows: Result<Vec<(Vec<u8>,)>, DbError> =
        async { Ok(on!(&mut tx, c => sqlx::query_as(sql).fetch_all(c).await?)) }.await;
    let id = |bytes: &[u8]| match Event::decode(bytes).unwrap().payload {
        Some(Payload::InvoiceIssued(issued)) => issued.invoice_id,
        other => panic!("{other:?}"),
    };
    rows.unwrap().iter().map(|(bytes,)| id(bytes)).collect()
}

engines! {
    async fn each_document_is_told_once_and_without_an_address(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let profile = BillingProfile { invoice_mail: "books@example.com".to_owned(), ..BillingProfile::default() };
        set(&shop, owner, SettingsChange { profile: Some(profile), ..SettingsChange::default() }).await;
        shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap();
        shop.subscribe(owner, "business", "sandbox_ok", "r1").await.unwrap();
        shop.buy(owner, "starter", "sandbox_declined", "").await.unwrap_err();
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        let bought = all(&shop, owner).await;
        for total in ["5.00 USD", "5.00 USD", "20.00 USD"] {
            given_back(&shop, &bought[1], total).await;
        }
        let documents: Vec<_> = all(&shop, owner).await.iter().map(|it| it.id.to_string()).collect();
        assert_eq!((documents.len(), told_of(&shop).await), (4, documents));
        let hex = match shop.db.engine() {
            bursar_db::Engine::Sqlite => "outbox WHERE lower(hex(payload)) LIKE '%626f6f6b7340%'",
            bursar_db::Engine::Postgres => "outbox WHERE encode(payload, 'hex') LIKE '%626f6f6b7340%'",
        };
        assert_eq!(shop.count(hex).await, 0, "books@ is in none of them");
    }

    async fn each_payment_has_one_invoice_in_one_series(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "s").await.unwrap();
        shop.subscribe(owner, "business", "sandbox_ok", "s").await.expect("a repetition pays nothing");
        shop.buy(owner, "starter", "sandbox_ok", "p").await.unwrap();
        shop.buy(owner, "starter", "sandbox_ok", "p").await.expect("a repetition pays nothing");
        shop.buy(owner, "premium", "sandbox_declined", "q").await.unwrap_err();
        shop.set("2026-02-15T12:00:00Z");
        renewals::round(&shop.subscriptions).await.unwrap();
        renewals::round(&shop.subscriptions).await.unwrap();

        let documents = all(&shop, owner).await;
        assert_eq!(numbers(&documents), ["2026-0001", "2026-0002", "2026-0003"]);
        let prefix = documents[0].number.split_once('-').unwrap().0;
        assert!(prefix.len() == 8 && documents.iter().all(|it| it.number.starts_with(prefix)), "{documents:?}");
        let lines: Vec<_> = documents.iter().flat_map(|it| &it.bill.lines).map(|line| {
            let period = line.period.map(|(start, end)| format!(" {start} {end}")).unwrap_or_default();
            format!("{:?} {} {}{period}", line.kind, line.description, line.amount)
        }).collect();
        assert_eq!(lines, [
            "Subscription Business 100.00 USD 2026-01-15T12:00:00Z 2026-02-15T12:00:00Z",
            "Pack Starter (300 credits) 20.00 USD",
            "Subscription Business 100.00 USD 2026-02-15T12:00:00Z 2026-03-15T12:00:00Z",
        ]);
        for it in &documents {
            assert_eq!((it.bill.total, it.bill.taxes.len()), (it.bill.subtotal, 0), "without a table there are no taxes");
        }
        assert!(all(&shop, personal(2)).await.is_empty());
        shop.buy(personal(2), "starter", "sandbox_ok", "").await.unwrap();
        assert_eq!(numbers(&all(&shop, personal(2)).await), ["2026-0001"], "each account has its own series");
        assert_ne!(all(&shop, personal(2)).await[0].number, documents[0].number);
    }

    async fn an_invoice_calls_credits_what_the_policy_called_them(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (owner, look) = (personal(1), Look::load(None, None).unwrap());
        for unit in [CreditUnit::WORDS, CreditUnit::CREDITS] {
            let mut tx = shop.db.begin().await.unwrap();
            policies::decide_deployment(&mut tx, &Policy { credit_unit: unit, ..Policy::default() }).await.unwrap();
            tx.commit().await.unwrap();
            shop.buy(owner, "starter", "sandbox_ok", unit.plural.as_str()).await.unwrap();
        }
        let documents = all(&shop, owner).await;
        let pages: Vec<_> = documents.iter().map(|it| {
            String::from_utf8(look.write(it, Paid::AtOnce, Format::Html).unwrap()).unwrap().to_lowercase()
        }).collect();
        let [words, credits] = pages.as_slice() else { panic!("{documents:?}") };
        assert!(words.contains("starter (300 words)") && !words.contains("credit"), "{words}");
        assert!(credits.contains("starter (300 credits)"), "{credits}");
    }

    async fn sixty_four_racers_on_one_request_make_one_invoice(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let racers = (0..64).map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.buy(owner, "starter", "sandbox_ok", "r").await.unwrap() })
        });
        for racer in racers.collect::<Vec<_>>() {
            racer.await.unwrap();
        }
        assert_eq!(numbers(&all(&shop, owner).await), ["2026-0001"]);
        assert_eq!(shop.count("purchases").await, 1);
    }

    async fn numbers_have_no_gaps_whoever_buys_at_once(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let racers = (0..48).map(|n| {
            let shop = shop.clone();
            // Every third is declined, and takes no number.
            let method = if n % 3 == 0 { "sandbox_declined" } else { "sandbox_ok" };
            tokio::spawn(async move { shop.buy(owner, "starter", method, &format!("r{n}")).await.is_ok() })
        });
        let mut paid = 0;
        for racer in racers.collect::<Vec<_>>() {
            paid += usize::from(racer.await.unwrap());
        }
        let documents = all(&shop, owner).await;
        let mut found = numbers(&documents);
        found.sort_unstable();
        let expected: Vec<String> = (1..=32).map(|n| format!("2026-{n:04}")).collect();
        assert_eq!((paid, found), (32, expected.iter().map(String::as_str).collect()));
        shop.assert_sound(owner).await;
    }

    async fn a_year_turns_where_the_account_is(db: TestDb) {
        let shop = Shop::open(&db, "2026-12-31T22:59:59Z").await;
        let (here, utc) = (personal(1), personal(2));
        let zone = "Europe/Berlin".parse().ok();
        set(&shop, here, SettingsChange { zone, ..SettingsChange::default() }).await;
        shop.buy(here, "starter", "sandbox_ok", "").await.unwrap();
        shop.set("2026-12-31T23:00:00Z");
        for owner in [here, here, utc] {
            shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        }
        shop.set("2027-01-01T00:00:00Z");
        shop.buy(utc, "starter", "sandbox_ok", "").await.unwrap();
        let documents = all(&shop, here).await;
        assert_eq!(numbers(&documents), ["2026-0001", "2027-0001", "2027-0002"]);
        let days: Vec<_> = documents.iter().map(|it| it.issued_on.as_str()).collect();
        assert_eq!(days, ["2026-12-31", "2027-01-01", "2027-01-01"]);
        assert_eq!(numbers(&all(&shop, utc).await), ["2026-0001", "2027-0001"]);
    }

    async fn taxes_are_paid_and_stand_on_the_invoice(db: TestDb) {
        let mut shop = Shop::open(&db, NOON).await;
        taxed(&mut shop);
        let (german, other) = (personal(1), personal(2));
        set_country(&shop, german, "DE").await;
        shop.subscribe(german, "business", "sandbox_ok", "").await.unwrap();
        set_country(&shop, german, "FR").await;
        shop.set("2026-02-15T12:00:00Z");
        renewals::round(&shop.subscriptions).await.unwrap();
        shop.buy(other, "starter", "sandbox_ok", "").await.unwrap();
        let figures = |it: &Invoice| [it.bill.subtotal, it.bill.tax().unwrap(), it.bill.total].map(|it| it.to_string());
        let documents = all(&shop, german).await;
        assert_eq!(figures(&documents[0]), ["100.00 USD", "19.00 USD", "119.00 USD"]);
        assert_eq!(figures(&documents[1]), ["100.00 USD", "0.00 USD", "100.00 USD"], "France is not in the table");
        assert_eq!(figures(&all(&shop, other).await[0]), ["20.00 USD", "0.00 USD", "20.00 USD"]);
        assert_eq!((&*documents[0].bill.taxes[0].name, &*documents[0].issuer.product), ("USt.", "Flik"));
        let country = |it: &Invoice| it.profile.as_ref().unwrap().country.unwrap().to_string();
        assert_eq!((country(&documents[0]), country(&documents[1])), ("DE".to_owned(), "FR".to_owned()), "as it was then");
    }

    async fn credit_notes_give_back_what_was_paid_and_never_more(db: TestDb) {
        let mut shop = Shop::open(&db, NOON).await;
        taxed(&mut shop);
        let owner = personal(1);
        set_country(&shop, owner, "DE").await;
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        let original = all(&shop, owner).await.remove(0);
        set_country(&shop, owner, "FR").await;
        shop.set("2027-01-02T12:00:00Z");
        for total in ["10.00 USD", "10.00 USD", "4.00 USD", "23.80 USD", "23.80 USD"] {
            // Twice, out of order: what counts is how much it is by now.
            given_back(&shop, &original, total).await;
        }
        let stored = all(&shop, owner).await;
        assert_eq!(numbers(&stored), ["2026-0001", "C-2027-0001", "C-2027-0002"]);
        assert_eq!(stored[0], original, "the invoice stays as it is");
        let (first, second) = (&stored[1], &stored[2]);
        assert_eq!((first.bill.total.to_string(), second.bill.total.to_string()), ("10.00 USD".into(), "13.80 USD".into()));
        let sum = |of: fn(&Invoice) -> Price| of(first).checked_add(of(second)).unwrap();
        assert_eq!(sum(|it| it.bill.total), original.bill.total);
        assert_eq!(sum(|it| it.bill.subtotal), original.bill.subtotal);
        assert_eq!(sum(|it| it.bill.taxes[0].amount), original.bill.taxes[0].amount);
        for note in [first, second] {
            let of = Some((original.id.id, original.number.clone()));
            assert_eq!((note.id.kind, &note.original, note.payment), (DocumentKind::CreditNote, &of, original.payment));
            assert_eq!(note.profile, original.profile, "made out as the invoice was");
        }
        shop.assert_sound(owner).await;
    }

    async fn what_is_given_back_before_it_is_delivered_is_credited_then(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let waiting = shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap();
        let payment = waiting.payment_id.parse().unwrap();
        shop.payments.told(payment, News::Refunded("5.00 USD".parse().unwrap())).await.unwrap();
        assert!(all(&shop, owner).await.is_empty(), "nothing is paid yet");
        let paid = shop.payments.told(payment, News::Paid).await.unwrap();
        let stored = all(&shop, owner).await;
        assert_eq!(numbers(&stored), ["2026-0001", "C-2026-0001"]);
        assert_eq!((paid.invoice, stored[0].payment), (Some(stored[0].id.id), payment));
        assert_eq!(stored[1].bill.total.to_string(), "5.00 USD");
    }

    async fn a_fraction_of_a_cent_that_a_provider_tells_stops_no_delivery(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let told = async |payment, total: &str| {
            shop.payments.told(payment, News::Refunded(total.parse().unwrap())).await.unwrap()
        };
        for (before, stored) in [("0.001 USD", false), ("7.009 USD", false), ("0.001 USD", true)] {
            let waiting = shop.buy(owner, "starter", "sandbox_pending", &format!("{before}{stored}")).await.unwrap();
            let payment = waiting.payment_id.parse().unwrap();
            told(payment, before).await;
            if stored {
                // What an earlier program has kept of it.
                shop.sql("UPDATE payments SET refunded = 1000 WHERE invoice_id IS NULL").await;
            }
            let paid = shop.payments.told(payment, News::Paid).await.unwrap();
            assert!(paid.fulfilled_at.is_some() && paid.invoice.is_some(), "{before}: {paid:?}");
            told(payment, "9.999 USD").await;
            assert_eq!(told(payment, "20.00 USD").await.given_back(), paid.amount);
        }
        let documents = all(&shop, owner).await;
        let totals: Vec<String> = documents.iter().map(|it| it.bill.total.to_string()).collect();
        let halves = ["20.00 USD", "9.99 USD", "10.01 USD"];
        assert_eq!(totals[..3], halves, "less than a cent is nothing");
        assert_eq!(totals[3..7], ["20.00 USD", "7.00 USD", "2.99 USD", "10.01 USD"]);
        assert_eq!(totals[7..], halves);
        shop.assert_sound(owner).await;
    }

    async fn what_a_lost_dispute_takes_is_credited_and_an_open_one_is_not(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let told = async |payment, news| shop.payments.told(payment, news).await.unwrap();
        for (request, decision, notes) in
            [("won", News::DisputeWon, None), ("lost", News::DisputeLost, Some("15.00 USD"))]
        {
            let bought = shop.buy(owner, "starter", "sandbox_ok", request).await.unwrap();
            let payment = bought.payment_id.parse().unwrap();
            let before = all(&shop, owner).await.len();
            told(payment, News::Disputed("15.00 USD".parse().unwrap())).await;
            assert_eq!(all(&shop, owner).await.len(), before, "nobody has decided");
            for _ in 0..2 {
                told(payment, decision.clone()).await;
            }
            let new: Vec<String> = all(&shop, owner).await[before..].iter().map(|it| it.bill.total.to_string()).collect();
            assert_eq!(new, notes.into_iter().collect::<Vec<_>>(), "{request}");
        }
        let lost = all(&shop, owner).await[1].payment;
        told(lost, News::Refunded("5.00 USD".parse().unwrap())).await;
        let last = all(&shop, owner).await.pop().unwrap();
        assert_eq!((last.id.kind, last.bill.total.to_string()), (DocumentKind::CreditNote, "5.00 USD".to_owned()), "the rest");
        shop.assert_sound(owner).await;
    }

    async fn racing_credit_notes_are_never_more_than_the_invoice(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        let original = all(&shop, owner).await.remove(0);
        let racers = (0..16).map(|n| {
            let (shop, original) = (shop.clone(), original.clone());
            tokio::spawn(async move { given_back(&shop, &original, &format!("{}.00 USD", 5 * (n % 4 + 1))).await })
        });
        for racer in racers.collect::<Vec<_>>() {
            racer.await.unwrap();
        }
        let documents = all(&shop, owner).await;
        let notes = &documents[1..];
        let sum = notes.iter().fold(Price::zero(bursar_money::Currency::USD), |sum, note| sum.checked_add(note.bill.total).unwrap());
        assert_eq!(sum, original.bill.total, "all of it, once");
        let expected: Vec<String> = (1..=notes.len()).map(|n| format!("C-2026-{n:04}")).collect();
        assert_eq!(numbers(notes), expected.iter().map(String::as_str).collect::<Vec<_>>());
        shop.assert_sound(owner).await;
    }

    async fn a_renewal_that_is_paid_at_last_is_invoiced_then_and_one_that_never_is_not_at_all(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "s").await.unwrap();
        shop.pays_with("sandbox_declined").await;
        shop.set("2026-02-15T12:00:00Z");
        renewals::round(&shop.subscriptions).await.unwrap();
        assert_eq!(numbers(&all(&shop, owner).await), ["2026-0001"], "a declined payment has no invoice");
        shop.pays_with("sandbox_ok").await;
        shop.set("2026-02-16T12:00:01Z");
        renewals::round(&shop.subscriptions).await.unwrap();
        let documents = all(&shop, owner).await;
        assert_eq!(numbers(&documents), ["2026-0001", "2026-0002"]);
        let (start, _) = documents[1].bill.lines[0].period.unwrap();
        assert_eq!(start, at("2026-02-15T12:00:00Z"), "for the month from its beginning");
        assert_eq!(documents[1].issued_at, at("2026-02-16T12:00:01Z"));
    }

    async fn the_schema_lets_no_invoice_change_or_go(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        set_country(&shop, owner, "DE").await;
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        let before = all(&shop, owner).await;
        let forbidden = [
            "UPDATE invoices SET total = total + 1",
            "UPDATE invoices SET number = 'X-2026-0001'",
            "UPDATE invoices SET body = '{}'",
            "UPDATE invoices SET issued_at = 0",
            "UPDATE invoices SET profile = '{}'",
            "DELETE FROM invoices",
        ];
        for statement in forbidden {
            let mut tx = shop.db.begin().await.unwrap();
            let done: Result<u64, DbError> =
                async { Ok(on!(&mut tx, c => sqlx::query(statement).execute(c).await?.rows_affected())) }.await;
            assert!(done.is_err(), "{statement}: {done:?}");
        }
        assert_eq!(all(&shop, owner).await, before);
    }

    async fn profiles_of_owners_who_are_gone_are_erased_when_their_time_is_over(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (gone, stays) = (personal(1), personal(2));
        for owner in [gone, stays] {
            set_country(&shop, owner, "DE").await;
            shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        }
        shop.set("2026-06-15T12:00:00Z");
        shop.buy(gone, "starter", "sandbox_ok", "").await.unwrap();
        for _ in 0..2 {
            let mut tx = shop.db.begin().await.unwrap();
            leave(&mut tx, gone).await.unwrap();
            tx.commit().await.unwrap();
        }
        let settings_of = async |owner| settings::of(&mut shop.db.read().await.unwrap(), owner).await.unwrap();
        assert_eq!(settings_of(gone).await, AccountSettings::default(), "outside of invoices it is erased at once");
        assert_eq!(settings_of(stays).await.profile.name, "Ada");

        let years = Span::from_days(3_653);
        let profiles = async |owner| all(&shop, owner).await.iter().map(|it| it.profile.is_some()).collect::<Vec<_>>();
        assert_eq!(forget(&shop.db, at("2036-01-15T12:00:00Z"), years).await.unwrap(), 0, "the tenth year is not over");
        assert_eq!(profiles(gone).await, [true, true]);
        assert_eq!(forget(&shop.db, at("2036-01-17T12:00:00Z"), years).await.unwrap(), 1);
        assert_eq!(profiles(gone).await, [false, true], "each by its own time");
        // What corrects it later belongs to somebody who is gone, too.
        let last = all(&shop, gone).await.remove(1);
        given_back(&shop, &last, "1.00 USD").await;
        assert_eq!(forget(&shop.db, at("2100-01-01T00:00:00Z"), years).await.unwrap(), 2);
        assert_eq!(profiles(gone).await, [false, false, false]);
        assert_eq!(numbers(&all(&shop, gone).await), ["2026-0001", "2026-0002", "C-2026-0001"], "the figures stay");
        assert_eq!(profiles(stays).await, [true], "who is there keeps them");
    }
}
