//! Months that are begun together: what they leave is what months by themselves leave, each is begun once whoever else is at
//! it, and one account spoils nobody's. On both engines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bursar_id::OwnerId;
use bursar_members::Standing;
use bursar_secret::Entropy;
use bursar_testkit::{TestDb, engines, personal};
use futures::FutureExt as _;

use super::batches;
use crate::domain::{AccountSettings, AlertPercents, PaymentState, PercentSet, Subscription, Terms};
use crate::store::{accounts, due, invoices, payments, settings, subscriptions as stored};
use crate::usecase::renewals::Round;
use crate::usecase::shop::Shop;

pub(super) const JANUARY_31: &str = "2026-01-31T10:00:00Z";
pub(super) const FEBRUARY_28: &str = "2026-02-28T10:00:00Z";

/// People with one month each.
pub(super) async fn crowd(db: &TestDb, people: u64) -> Shop {
    let shop = Shop::open(db, JANUARY_31).await;
    for n in 1..=people {
        shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
    }
    shop
}

async fn live(shop: &Shop, people: impl Iterator<Item = u64>) -> Vec<Subscription> {
    let owners: Vec<OwnerId> = people.map(personal).collect();
    stored::live_of(&mut shop.db.read().await.unwrap(), &owners).await.unwrap()
}

async fn round(shop: &Shop) -> Round {
    super::round(&shop.subscriptions).await.unwrap()
}

/// Each of these people has had so many months, each paid, granted and invoiced once.
pub(super) async fn assert_months(shop: &Shop, people: impl Iterator<Item = u64>, months: usize) {
    for owner in people.map(personal) {
        let mut tx = shop.db.read().await.unwrap();
        let paid = payments::page(&mut tx, owner, None, 1_000).await.unwrap();
        assert!(paid.iter().all(|it| it.state == PaymentState::Paid && !it.returned), "{owner}: {paid:?}");
        let issued = invoices::page(&mut tx, owner, None, 1_000).await.unwrap();
        drop(tx);
        assert_eq!((paid.len(), issued.len(), shop.lots(owner).await.len()), (months, months, months), "{owner}");
        shop.assert_sound(owner).await;
    }
}

/// What is different about a person, drawn at random.
struct Draw(Entropy);

impl Draw {
    fn one_in(&self, of: u64) -> bool {
        self.0.u64_below(of) == 0
    }
}

/// Half of the allowance.
fn half() -> AlertPercents {
    AlertPercents::new(&[50]).unwrap()
}

/// Has a person want to be told of half of the allowance, set by a program that tells nobody.
pub(super) async fn wants(shop: &Shop, owner: OwnerId) {
    let mut tx = shop.db.begin().await.unwrap();
    let before = settings::of(&mut tx, owner).await.unwrap();
    let after = AccountSettings { allowance_alert_percents: half(), version: before.version + 1, ..before };
    settings::put(&mut tx, owner, &after, shop.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// Has a person live as drawn until the month is over; twins are drawn alike.
async fn live_a_month(shop: &Shop, n: u64, draw: &Draw) {
    let owner = personal(n);
    if draw.one_in(2) {
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
    }
    let methods = ["sandbox_ok", "sandbox_ok", "sandbox_declined", "sandbox_pending", ""];
    let method = methods[usize::try_from(draw.0.u64_below(5)).unwrap()];
    if method.is_empty() {
        shop.saves(owner, if draw.one_in(3) { "sandbox_declined" } else { "sandbox_ok" }).await;
    }
    shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
    shop.sql(format!("UPDATE subscriptions SET payment_method = '{method}' WHERE owner = '{owner}'").leak()).await;
    if draw.one_in(2) {
        shop.spend(owner, "700").await;
    }
    if n % 3 == 1 {
        wants(shop, owner).await;
    }
    let mut tx = shop.db.begin().await.unwrap();
    let live = stored::live(&mut tx, owner).await.unwrap().unwrap();
    if draw.one_in(3) {
        let terms = Terms { seats: live.seats + 1, ..live.terms() };
        assert!(stored::change(&mut tx, &live.planning(Some(terms))).await.unwrap());
    } else if draw.one_in(4) {
        assert!(stored::cancel(&mut tx, &live.canceling(true)).await.unwrap());
    }
    tx.commit().await.unwrap();
    if draw.one_in(6) {
        shop.stands(owner, Standing::Suspended).await;
    }
}

/// Begins what is due of so many people together, and what is due of as many twins, who come after them, one by one: that leaves
/// the same and tells the same. Gives how many were begun together, and of how many one was begun by itself.
pub(super) async fn assert_alike(shop: &Shop, people: u64, when: &str) -> (usize, usize) {
    let before = shop.count("outbox").await;
    let many = Box::pin(batches::renew(&shop.subscriptions, live(shop, 1..=people).await)).await.unwrap();
    let (done, rest) = (many.done, many.rest.len());
    for due in many.rest {
        Box::pin(super::catch_up(&shop.subscriptions, due)).await.unwrap();
    }
    let told = shop.count("outbox").await - before;
    for due in live(shop, people + 1..=2 * people).await {
        Box::pin(super::catch_up(&shop.subscriptions, due)).await.unwrap();
    }
    assert_eq!(shop.count("outbox").await - before, 2 * told, "and tell the same, at {when}");
    let mailed = "outbox WHERE type = 'invoice.issued'";
    assert_eq!(shop.count(mailed).await, shop.count("invoices").await, "of each document, at {when}");
    for n in 1..=people {
        assert_eq!(rows(shop, personal(n)).await, rows(shop, personal(people + n)).await, "{n} at {when}");
        shop.assert_sound(personal(n)).await;
    }
    (done, rest)
}

/// Several replicas begin what is due at once; then nothing is.
pub(super) async fn replicas_race(shop: &Shop) {
    let racers = (0..3).flat_map(|_| {
        let (helper, rounder) = (shop.subscriptions.clone(), shop.subscriptions.clone());
        [
            tokio::spawn(async move { super::help(&helper, &super::Left::default()).await.map(drop) }),
            tokio::spawn(async move { super::round(&rounder).await.map(drop) }),
        ]
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap().unwrap();
    }
    // What somebody else had in work is left to the next round.
    round(shop).await;
    assert_eq!(round(shop).await.done, 0);
}

/// All of these people wait for what is due of them, while it is begun together.
pub(super) async fn spenders_and_a_batch(shop: &Shop, people: u64) {
    let spenders = live(shop, 1..=people).await.into_iter().map(|due| {
        let subscriptions = shop.subscriptions.clone();
        tokio::spawn(async move { super::catch_up(&subscriptions, due).await.map(drop) })
    });
    let spenders = spenders.collect::<Vec<_>>();
    super::help(&shop.subscriptions, &super::Left::default()).await.unwrap();
    for spender in spenders {
        spender.await.unwrap().unwrap();
    }
    round(shop).await;
}

/// Everything that is stored of a person, but for whose it is and what nobody can know before.
async fn rows(shop: &Shop, owner: OwnerId) -> String {
    let mut text = shop.lot_lines(owner).await.join("\n");
    let mut tx = shop.db.read().await.unwrap();
    let it = stored::latest(&mut tx, owner).await.unwrap().unwrap();
    let lots: BTreeMap<_, _> = shop.lots(owner).await.into_iter().map(|lot| (lot.id, lot)).collect();
    let in_order: BTreeMap<_, _> = lots.values().map(|lot| (lot.number, lot)).collect();
    for lot in in_order.values() {
        let origin = &lot.terms.origin;
        write!(text, "\n{} {:?} {:?} {:?}", lot.number, lot.note, origin.paid, origin.subscription.map(|(_, n)| n))
            .unwrap();
    }
    write!(text, "\n{:?} {:?} {:?} {:?} {:?}", it.state, it.terms(), it.month, it.ended_at, it.pending).unwrap();
    write!(text, " {:?} {} {:?} {} {}", it.prepaid, it.failures, it.next_retry_at, it.cancel_at_period_end, it.changes)
        .unwrap();
    // Ids are drawn at random within an instant.
    let mut sold = Vec::new();
    for paid in payments::page(&mut tx, owner, None, 100).await.unwrap() {
        let named = paid.reference.as_deref() == Some(format!("sandbox_{}", paid.id).as_str());
        let lot = paid.lot.map(|lot| lots[&lot].number);
        let last = it.payment() == Some(paid.id);
        let (bill, state) = (&paid.bill, (paid.state, &paid.decline_code, paid.fulfilled_at, paid.returned));
        let mut line = String::new();
        write!(line, "\n{:?} {:?}", paid.bought.purpose(), (paid.amount, bill, paid.bought.credits(), state)).unwrap();
        let kept = (paid.attempt, &paid.method, paid.started_by == "bursar", paid.created_at);
        write!(line, " {:?}", (kept, named, lot, paid.invoice.is_some(), last)).unwrap();
        for month in &paid.months {
            write!(line, " {} {} {:?}", lots[&month.lot].number, month.credits, month.taken_back).unwrap();
        }
        assert_eq!(
            payments::asked_with(&mut tx, paid.id).await.unwrap().is_some(),
            paid.state == PaymentState::Created
        );
        sold.push(line);
    }
    sold.sort_unstable();
    text.push_str(&sold.concat());
    for invoice in invoices::page(&mut tx, owner, None, 100).await.unwrap() {
        let number = invoice.number.rsplit('-').next().unwrap_or_default().to_owned();
        let what = (invoice.position, &invoice.bill, &invoice.profile, &invoice.issued_on, invoice.issued_at);
        // A credit note names the invoice, by the account's own prefix.
        let prefix = invoice.number.split('-').next().unwrap_or_default();
        write!(text, "\n{number} {}", format!("{what:?}").replace(prefix, "")).unwrap();
    }
    let account = accounts::find(&mut tx, owner).await.unwrap().unwrap();
    let head = (account.head.seq, account.head.at, account.renews_at, account.next_lapse);
    write!(text, "\n{:?} {head:?} {:?}", (account.available, account.debt, account.charged), account.period).unwrap();
    write!(text, " {:?} {}", account.alert_at, account.allowance.is_some()).unwrap();
    text
}

engines! {
    async fn many_months_leave_what_each_by_itself_leaves(db: TestDb) {
        const PEOPLE: u64 = 24;
        let shop = Shop::open(&db, JANUARY_31).await;
        for n in 1..=PEOPLE {
            for twin in [n, PEOPLE + n] {
                live_a_month(&shop, twin, &Draw(Entropy::seeded(n))).await;
            }
        }
        shop.set(FEBRUARY_28);
        let (done, rest) = assert_alike(&shop, PEOPLE, FEBRUARY_28).await;
        assert!(done > 4 && rest > 4, "{done} together, {rest} by themselves");
    }

    async fn what_a_program_of_before_was_told_holds_from_the_next_month_on(db: TestDb) {
        let shop = crowd(&db, 2).await;
        for n in 1..=2 {
            wants(&shop, personal(n)).await;
        }
        shop.set(FEBRUARY_28);
        let together = batches::renew(&shop.subscriptions, live(&shop, 1..=1).await).await.unwrap();
        assert_eq!(together.done, 1);
        for due in live(&shop, 2..=2).await {
            super::catch_up(&shop.subscriptions, due).await.unwrap();
        }
        for n in 1..=2 {
            let account = accounts::find(&mut shop.db.read().await.unwrap(), personal(n)).await.unwrap().unwrap();
            assert_eq!(account.alert_at, PercentSet::from(&half()), "{n}");
            assert!(account.allowance.is_some(), "{n}: what is used is counted");
        }
        assert_months(&shop, 1..=2, 2).await;
    }

    async fn three_replicas_begin_each_month_once(db: TestDb) {
        const PEOPLE: u64 = 40;
        let shop = crowd(&db, PEOPLE).await;
        for (now, months) in [(FEBRUARY_28, 2), ("2026-06-01T00:00:00Z", 5)] {
            shop.set(now);
            replicas_race(&shop).await;
            assert_months(&shop, 1..=PEOPLE, months).await;
        }
    }

    async fn a_spender_and_a_batch_begin_a_month_once(db: TestDb) {
        const PEOPLE: u64 = 12;
        let shop = crowd(&db, PEOPLE).await;
        shop.set(FEBRUARY_28);
        spenders_and_a_batch(&shop, PEOPLE).await;
        assert_months(&shop, 1..=PEOPLE, 2).await;
    }

    async fn a_batch_that_is_cut_off_anywhere_leaves_whole_months(db: TestDb) {
        const PEOPLE: u64 = 6;
        let shop = crowd(&db, PEOPLE).await;
        for (month, polls) in [1, 3, 9, 27, 81, 243, 729].into_iter().enumerate() {
            shop.set(&format!("2026-{:02}-28T10:00:00Z", month + 2));
            let due = live(&shop, 1..=PEOPLE).await;
            let mut renewing = Box::pin(batches::renew(&shop.subscriptions, due));
            for _ in 0..polls {
                if (&mut renewing).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(renewing);
            round(&shop).await;
            round(&shop).await;
        }
        shop.set("2026-08-31T10:00:00Z");
        round(&shop).await;
        assert_months(&shop, 1..=PEOPLE, 8).await;
    }

    async fn one_account_spoils_nobodys_month(db: TestDb) {
        const PEOPLE: u64 = 20;
        // What the engine finds out, and what the store refuses.
        let flaws = ["UPDATE accounts SET available = available + 1 WHERE", "DELETE FROM invoice_series WHERE"];
        let shop = crowd(&db, PEOPLE).await;
        let bytes = personal(7).to_bytes();
        let owner = match db.engine() {
            bursar_db::Engine::Sqlite => format!("x'{}'", hex::encode(bytes)),
            bursar_db::Engine::Postgres => format!("'\\x{}'::bytea", hex::encode(bytes)),
        };
        shop.sql(format!("{} owner = {owner}", flaws[0]).leak()).await;
        shop.sql(format!("{} owner = '{}'", flaws[1], personal(13)).leak()).await;
        shop.set(FEBRUARY_28);
        let done = round(&shop).await;
        assert_eq!((done.done, done.failed), (18, 2));
        assert_months(&shop, (1..=PEOPLE).filter(|n| ![7, 13].contains(n)), 2).await;
        for n in [7, 13] {
            assert_eq!(live(&shop, n..=n).await[0].month.number, 0, "neither was paid for half");
        }
    }

    async fn any_place_among_what_is_due_is_found(db: TestDb) {
        let shop = crowd(&db, 5).await;
        shop.set(FEBRUARY_28);
        let mut tx = shop.db.read().await.unwrap();
        let all = due::page(&mut tx, shop.clock.now(), None, 10).await.unwrap();
        for (number, due) in (0..).zip(&all) {
            let it = due::somewhere(&mut tx, shop.clock.now(), number).await.unwrap();
            assert_eq!(it.as_ref(), Some(due), "{number}");
        }
        assert_eq!(due::somewhere(&mut tx, shop.clock.now(), 5).await.unwrap(), None, "there are five");
        let before = bursar_testkit::at(JANUARY_31);
        assert_eq!(due::somewhere(&mut tx, before, 0).await.unwrap(), None, "nothing is due");
    }

    async fn much_that_is_due_is_begun_from_anywhere_once(db: TestDb) {
        const PEOPLE: u64 = 600;
        let shop = crowd(&db, PEOPLE).await;
        shop.set(FEBRUARY_28);
        let helpers = (0..3).map(|_| {
            let helper = shop.subscriptions.clone();
            tokio::spawn(async move { super::help(&helper, &super::Left::default()).await })
        });
        let mut done = 0;
        for helper in helpers.collect::<Vec<_>>() {
            done += helper.await.unwrap().unwrap();
        }
        // What somebody else had in work is left to the round.
        done += round(&shop).await.done;
        assert_eq!(done, 600);
        assert_months(&shop, [1, 300, 599, 600].into_iter(), 2).await;
        assert_eq!(shop.count("payments").await, 1_200);
    }

    async fn where_owners_are_apart_every_month_is_by_itself(db: TestDb) {
        let mut shop = crowd(&db, 3).await;
        let apart = shop.subscriptions.till.batcher.clone().distributed();
        shop.subscriptions.till.batcher = apart.clone();
        shop.subscriptions.cashier.till.batcher = apart;
        shop.set(FEBRUARY_28);
        assert_eq!(super::help(&shop.subscriptions, &super::Left::default()).await.unwrap(), 0);
        assert_eq!(round(&shop).await.done, 3);
        assert_months(&shop, 1..=3, 2).await;
    }
}
