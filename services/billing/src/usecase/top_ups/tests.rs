//! Top-ups: when a pack is bought, how often, and when no more is; on both engines. Nobody does the jobs here but the tests.

use bursar_db::{DbError, on};
use bursar_id::OwnerId;
use bursar_members::Standing;
use bursar_money::Price;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, TopUpStopped};
use bursar_testkit::{TestDb, at, audited, credits, engines, id, personal, rounds};
use bursar_time::{Span, Timestamp};
use prost::Message as _;

use super::*;
use crate::domain::{News, ProductId};
use crate::usecase::cashier::Due;
use crate::usecase::shelf::told;
use crate::usecase::shop::Shop;

mod again;
mod ceilings;
mod former;
mod yearly;

const NOON: &str = "2026-01-15T12:00:00Z";

/// So many hours later.
fn hour(n: u64) -> Timestamp {
    at(NOON).saturating_add(Span::from_hours(n))
}

fn usd(dollars: i64) -> Price {
    Price::from_units_nanos("USD".parse().unwrap(), dollars, 0).unwrap()
}

/// Starter packs (300 credits, 20 dollars) below 100 credits, for at most so many dollars a month.
fn starter(ceiling: i64, method: &str) -> AutoTopUp {
    AutoTopUp {
        enabled: true,
        threshold: credits("100"),
        pack: ProductId::parse("starter").unwrap(),
        ceiling: usd(ceiling),
        method: method.to_owned(),
        set_by: "usr_1".to_owned(),
        stopped: None,
    }
}

impl Shop {
    fn top_ups(&self) -> TopUps {
        TopUps { cashier: self.payments.cashier.clone(), cool_down: Span::HOUR }
    }

    /// Does what the job does.
    async fn looks(&self, owner: OwnerId) {
        self.top_ups().look(TopUp { owner }).await.unwrap();
    }

    /// Sets a top-up as its use case does.
    async fn tops_up(&self, owner: OwnerId, top_up: AutoTopUp) {
        let (mut tx, now) = (self.db.begin().await.unwrap(), self.clock.now());
        accounts::open(&mut tx, &[owner], now).await.unwrap();
        accounts::lock(&mut tx, &[owner]).await.unwrap();
        let before = settings::of(&mut tx, owner).await.unwrap();
        let after = AccountSettings { version: before.version + 1, top_up: Some(top_up), ..before };
        settings::put(&mut tx, owner, &after, now).await.unwrap();
        set(&mut tx, &self.payments.cashier.jobs, owner, after.top_up_below(), now).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn set_of(&self, owner: OwnerId) -> AccountSettings {
        settings::of(&mut self.db.read().await.unwrap(), owner).await.unwrap()
    }

    /// Why it is off.
    async fn stopped(&self, owner: OwnerId) -> Option<Stop> {
        self.set_of(owner).await.top_up.and_then(|it| it.stopped)
    }

    /// The owner's payments, the latest first.
    async fn all_payments(&self, owner: OwnerId) -> Vec<Payment> {
        payments::page(&mut self.db.read().await.unwrap(), owner, None, 1_000).await.unwrap()
    }

    async fn states(&self, owner: OwnerId) -> Vec<PaymentState> {
        self.all_payments(owner).await.into_iter().map(|it| it.state).collect()
    }

    /// How many jobs look at top-ups, now or later.
    async fn asked(&self) -> i64 {
        self.count("jobs WHERE kind = 'billing.top-up'").await
    }

    /// When they are due.
    async fn due(&self) -> Vec<Timestamp> {
        let due = "SELECT due_at FROM jobs WHERE kind = 'billing.top-up' ORDER BY due_at";
        let mut tx = self.db.read().await.unwrap();
        let rows: Result<Vec<(Timestamp,)>, DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(due).fetch_all(c).await?)) }.await;
        rows.unwrap().into_iter().map(|(at,)| at).collect()
    }

    /// Whom mails are to tell that it was switched off, and why.
    async fn told_off(&self) -> Vec<TopUpStopped> {
        let told = "SELECT payload FROM outbox WHERE type = 'top_up.stopped' ORDER BY seq";
        let mut tx = self.db.read().await.unwrap();
        let rows: Result<Vec<(Vec<u8>,)>, DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(told).fetch_all(c).await?)) }.await;
        let read = |(bytes,): (Vec<u8>,)| match Event::decode(bytes.as_slice()).unwrap().payload {
            Some(Payload::TopUpStopped(stopped)) => stopped,
            other => panic!("{other:?}"),
        };
        rows.unwrap().into_iter().map(read).collect()
    }

    /// What the audit log says of it, sorted: each row's RPC and why it was refused.
    async fn log(&self) -> Vec<String> {
        let rows = audited(&self.db).await;
        let theirs = rows.into_iter().filter(|row| row.actor == ServiceAccountId::BILLING.to_string());
        let line = |row: AuditRow| {
            assert_eq!(row.on_behalf_of.as_deref(), Some("usr_1"), "who set it: {row:?}");
            let rpc = row.method.rsplit('/').next().unwrap_or_default().to_owned();
            format!("{rpc} {}", row.reason.unwrap_or_else(|| row.outcome.to_string()))
        };
        let mut log: Vec<String> = theirs.map(line).collect();
        log.sort();
        log
    }
}

/// A person with so many credits and a top-up.
async fn topped_up(db: &TestDb, amount: &str, top_up: AutoTopUp) -> (Shop, OwnerId) {
    let shop = Shop::open(db, NOON).await;
    let owner = personal(1);
    if amount != "0" {
        shop.grants(owner, credits(amount)).await;
    }
    shop.tops_up(owner, top_up).await;
    shop.sql("DELETE FROM jobs").await;
    (shop, owner)
}

engines! {
    async fn what_falls_below_the_threshold_is_topped_up_once(db: TestDb) {
        let (shop, owner) = topped_up(&db, "150", starter(100, "sandbox_ok")).await;
        shop.spend(owner, "50").await;
        assert_eq!(shop.asked().await, 0, "100 are not fewer than 100");
        shop.spend(owner, "1").await;
        assert_eq!(shop.asked().await, 1);
        shop.spend(owner, "1").await;
        assert_eq!(shop.asked().await, 1, "it has crossed once");
        for _ in 0..3 {
            shop.looks(owner).await;
            assert_eq!(shop.available(owner).await, credits("398"));
        }
        assert_eq!(shop.states(owner).await, [PaymentState::Paid]);
        assert_eq!((shop.count("invoices").await, shop.count("purchases").await), (1, 1), "a purchase like any other");
        let payment = shop.all_payments(owner).await.remove(0);
        assert_eq!((payment.started_by, payment.amount), (ServiceAccountId::BILLING.to_string(), usd(20)));
        assert_eq!(shop.log().await, ["PurchasePack DONE"]);
        shop.assert_sound(owner).await;
    }

    async fn sixty_four_looks_at_once_buy_once(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for round in 0..rounds() {
            let owner = personal(1 + round);
            shop.grants(owner, credits("50")).await;
            // Left below by what the pack brings: one more each hour.
            shop.tops_up(owner, AutoTopUp { threshold: credits("5000"), ..starter(1_000, "sandbox_ok") }).await;
            for (hours, there, payments) in [(0, "350", 1), (1, "650", 2)] {
                shop.clock.set(hour(2 * round + hours)).unwrap();
                let racers: Vec<_> = (0..64).map(|_| {
                    let shop = shop.clone();
                    tokio::spawn(async move { shop.top_ups().look(TopUp { owner }).await })
                }).collect();
                for racer in racers {
                    racer.await.unwrap().unwrap();
                }
                assert_eq!(shop.available(owner).await, credits(there));
                assert_eq!(shop.all_payments(owner).await.len(), payments);
            }
            shop.assert_sound(owner).await;
        }
    }

    async fn what_is_on_its_way_counts(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(100, "sandbox_pending")).await;
        shop.looks(owner).await;
        let first = shop.all_payments(owner).await.remove(0);
        assert_eq!(first.state, PaymentState::Pending);
        shop.set("2026-01-16T12:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 1, "300 are on their way");
        told(&shop, first.id, News::Declined("no".to_owned())).await;
        shop.looks(owner).await;
        assert_eq!(shop.states(owner).await, [PaymentState::Pending, PaymentState::Declined]);
        // The one that was declined is paid after all: its money goes back, as there is another one.
        told(&shop, first.id, News::Paid).await;
        assert_eq!(shop.available(owner).await, credits("0"));
        let second = shop.all_payments(owner).await.remove(0);
        assert_eq!((second.attempt, second.thing == first.thing), (2, true), "another attempt at the same crossing");
        told(&shop, second.id, News::Paid).await;
        assert_eq!(shop.available(owner).await, credits("300"));
        // A purchase of somebody's that is under way counts as well.
        shop.spend(owner, "300").await;
        shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap();
        shop.set("2026-01-17T12:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 3);
        shop.assert_sound(owner).await;
    }

    async fn what_came_and_is_too_little_by_now_is_looked_at(db: TestDb) {
        let (shop, owner) = topped_up(&db, "50", starter(100, "sandbox_pending")).await;
        shop.looks(owner).await;
        let first = shop.all_payments(owner).await.remove(0);
        shop.set("2026-01-16T12:00:00Z");
        shop.looks(owner).await;
        shop.sql("DELETE FROM jobs").await;
        // What is spent while it is below already is no crossing.
        shop.spend(owner, "50").await;
        assert_eq!(shop.asked().await, 0);
        told(&shop, first.id, News::Paid).await;
        assert_eq!(shop.due().await, [at("2026-01-16T12:00:00Z")]);
        shop.assert_sound(owner).await;
    }

    async fn whoever_waits_is_looked_at_once_however_often_it_fell_below(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(100, "sandbox_ok")).await;
        // So many purchases wait for the customer that there is no room for one more.
        for _ in 0..MOST_OPEN {
            shop.buy(owner, "starter", "sandbox_requires_action", "").await.unwrap();
        }
        shop.sql("DELETE FROM jobs").await;
        for minute in ["2026-01-15T12:00:00Z", "2026-01-15T12:00:01Z", "2026-01-15T12:59:59Z"] {
            shop.set(minute);
            shop.looks(owner).await;
        }
        assert_eq!(shop.due().await, [at("2026-01-15T13:00:00Z")]);
    }

    async fn three_declines_in_a_row_switch_it_off(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for (n, method) in [(1, "sandbox_declined"), (2, "sandbox_requires_action")] {
            let owner = personal(n);
            shop.tops_up(owner, starter(1_000, method)).await;
            for attempt in 1..6_usize {
                for _ in 0..3 {
                    shop.looks(owner).await;
                }
                assert_eq!(shop.all_payments(owner).await.len(), attempt.min(3), "{method}");
                shop.clock.advance(Span::HOUR).unwrap();
            }
            assert_eq!(shop.stopped(owner).await, Some(Stop::Declined));
            let account = accounts::find(&mut shop.db.read().await.unwrap(), owner).await.unwrap().unwrap();
            assert_eq!(account.top_up_below, None);
            let stopped = shop.told_off().await.pop().unwrap();
            assert_eq!((stopped.owner, stopped.set_by, stopped.reason, stopped.pack_id), (owner.to_string(), "usr_1".to_owned(), "PAYMENT_DECLINED".to_owned(), "starter".to_owned()));
            // Whatever is heard of them afterwards, nobody counts it again, and nothing switches it on.
            for payment in shop.all_payments(owner).await {
                told(&shop, payment.id, News::Declined("no".to_owned())).await;
            }
            assert_eq!(shop.told_off().await.len() as u64, n);
            shop.tops_up(owner, starter(1_000, "sandbox_ok")).await;
            shop.looks(owner).await;
            assert_eq!(shop.available(owner).await, credits("300"), "switched on again, it goes on where the cool-down is over");
            shop.assert_sound(owner).await;
        }
        let declined = ["PurchasePack PAYMENT_DECLINED"; 3];
        let needed = ["PurchasePack PAYMENT_REQUIRES_ACTION"; 3];
        let (bought, off) = (["PurchasePack DONE"; 2], ["UpdateAccountSettings DONE"; 2]);
        assert_eq!(shop.log().await, [&bought[..], &declined, &needed, &off].concat());
    }

    async fn a_success_between_declines_begins_the_count_anew(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "sandbox_declined")).await;
        for (n, method) in (0..).zip( ["sandbox_declined", "sandbox_declined", "sandbox_ok", "sandbox_declined", "sandbox_declined"]) {
            let mut now = shop.set_of(owner).await;
            now.top_up = now.top_up.map(|it| AutoTopUp { method: method.to_owned(), ..it });
            // Behind the use case's back: who sets it anew begins the count anew, too.
            let mut tx = shop.db.begin().await.unwrap();
            settings::put(&mut tx, owner, &now, shop.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            shop.clock.set(hour(n)).unwrap();
            shop.looks(owner).await;
            if method == "sandbox_ok" {
                shop.spend(owner, "300").await;
            }
        }
        assert_eq!((shop.count("payments").await, shop.stopped(owner).await), (5, None));
        let progress = top_ups::of(&mut shop.db.read().await.unwrap(), owner).await.unwrap();
        assert_eq!((progress.declines, progress.crossing), (2, 1));
    }

    async fn what_needed_the_customer_is_given_up_for_the_next_attempt(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(20, "sandbox_requires_action")).await;
        shop.looks(owner).await;
        let first = shop.all_payments(owner).await.remove(0);
        assert_eq!(first.state, PaymentState::RequiresAction);
        shop.set("2026-01-15T13:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.states(owner).await, [PaymentState::RequiresAction, PaymentState::Canceled], "nor does it take its place under the ceiling");
        told(&shop, first.id, News::Paid).await;
        let first = shop.payments.get(owner, first.id).await.unwrap();
        assert_eq!((first.returned, first.refunded, shop.available(owner).await), (true, usd(20), credits("0")), "it goes back");
        let second = shop.all_payments(owner).await.remove(0);
        told(&shop, second.id, News::Paid).await;
        assert_eq!(shop.available(owner).await, credits("300"), "whoever acts has it");
        let progress = top_ups::of(&mut shop.db.read().await.unwrap(), owner).await.unwrap();
        assert_eq!(progress.declines, 0);
        shop.assert_sound(owner).await;
    }

    async fn a_pack_smaller_than_the_debt_is_bought_once_an_hour(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "sandbox_ok")).await;
        shop.looks(owner).await;
        let payment = shop.all_payments(owner).await.remove(0);
        shop.spend(owner, "300").await;
        told(&shop, payment.id, News::Refunded(usd(20))).await;
        for n in 1..4 {
            shop.clock.set(hour(n)).unwrap();
            for _ in 0..3 {
                shop.looks(owner).await;
            }
        }
        // The first one after it pays what is owed, the second one is enough.
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (3, credits("300")));
        shop.assert_sound(owner).await;
    }

    async fn what_is_gone_is_not_bought_and_who_set_it_is_told(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let none = "pmt_00000000000000000000000001";
        for (n, top_up, why) in [
            (1, AutoTopUp { pack: ProductId::parse("colossal").unwrap(), ..starter(100, "sandbox_ok") }, Stop::NoPack),
            (2, AutoTopUp { ceiling: Price::from_units_nanos("EUR".parse().unwrap(), 100, 0).unwrap(), ..starter(1, "sandbox_ok") }, Stop::NoPack),
            (3, starter(100, ""), Stop::NoMethod),
            (4, starter(100, none), Stop::NoMethod),
        ] {
            let owner = personal(n);
            shop.tops_up(owner, top_up).await;
            shop.looks(owner).await;
            shop.looks(owner).await;
            assert_eq!(shop.stopped(owner).await, Some(why), "{n}");
        }
        let why: Vec<_> = shop.told_off().await.into_iter().map(|it| it.reason).collect();
        assert_eq!(why, ["PACK_NOT_FOUND", "PACK_NOT_FOUND", "PAYMENT_METHOD_REQUIRED", "PAYMENT_METHOD_REQUIRED"]);
        assert_eq!((shop.count("payments").await, shop.log().await), (0, vec!["UpdateAccountSettings DONE".to_owned(); 4]));
    }

    async fn a_saved_card_pays_and_one_that_has_expired_is_a_decline(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "")).await;
        let saved = shop.saves(owner, "sandbox_ok").await;
        shop.looks(owner).await;
        let payment = shop.all_payments(owner).await.remove(0);
        assert_eq!((payment.state, payment.method), (PaymentState::Paid, saved.id.to_string()), "the default");
        shop.set("2031-01-15T12:00:00Z");
        shop.spend(owner, "300").await;
        shop.looks(owner).await;
        let payment = shop.all_payments(owner).await.remove(0);
        assert_eq!((payment.state, payment.decline_code.as_deref()), (PaymentState::Declined, Some("expired_card")));
    }

    async fn nothing_is_bought_for_who_is_suspended(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "sandbox_ok")).await;
        shop.stands(owner, Standing::Suspended).await;
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 0);
        shop.stands(owner, Standing::Active).await;
        shop.looks(owner).await;
        assert_eq!(shop.available(owner).await, credits("300"));
    }

    async fn nothing_is_bought_while_the_month_is_renewed(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "sandbox_ok")).await;
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.set("2026-02-15T12:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 1, "the allowance is about to come");
        assert_eq!(shop.due().await, [at("2026-02-15T12:01:00Z")]);
        crate::usecase::renewals::round(&shop.subscriptions).await.unwrap();
        shop.looks(owner).await;
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (2, credits("1500")), "and it has");
        // One that is not paid brings nothing soon.
        shop.pays_with("sandbox_declined").await;
        shop.set("2026-03-15T12:00:00Z");
        crate::usecase::renewals::round(&shop.subscriptions).await.unwrap();
        shop.looks(owner).await;
        assert_eq!(shop.available(owner).await, credits("300"));
        shop.assert_sound(owner).await;
    }

    async fn a_plan_that_moves_a_person_who_goes_and_an_owner_who_is_deleted_end_it(db: TestDb) {
        let (shop, owner) = topped_up(&db, "500", starter(1_000, "sandbox_ok")).await;
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.moves(id(1), id(9)).await;
        assert_eq!(shop.stopped(owner).await, Some(Stop::SubscriptionMoved));

        let gone = personal(2);
        shop.tops_up(gone, starter(1_000, "sandbox_ok")).await;
        shop.gone(id(2)).await;
        shop.looks(gone).await;
        shop.sees_off(id(2)).await;
        shop.looks(gone).await;
        assert_eq!(shop.set_of(gone).await.top_up, None);
        assert_eq!(shop.all_payments(gone).await, []);
    }

    /// Cut off after it was written down, it is asked for once, by the job that looks after payments.
    async fn an_attempt_that_was_cut_off_is_paid_once(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "sandbox_ok")).await;
        let payment = shop.top_ups().begin(owner).await.unwrap().unwrap();
        shop.looks(owner).await;
        shop.set("2026-01-15T14:00:00Z");
        shop.looks(owner).await;
        assert_eq!(shop.states(owner).await, [PaymentState::Created], "it is on its way");
        for _ in 0..2 {
            shop.payments.cashier.look_after(Due { payment: payment.id }).await.unwrap();
        }
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (1, credits("300")));
        shop.assert_sound(owner).await;
    }

    async fn a_clock_that_was_ahead_keeps_nobody_waiting(db: TestDb) {
        let (shop, owner) = topped_up(&db, "0", starter(1_000, "sandbox_declined")).await;
        shop.looks(owner).await;
        shop.sql("UPDATE top_ups SET attempted_at = 4000000000000000").await;
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 2);
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 2);
    }

    async fn a_refund_that_takes_the_credits_is_a_crossing(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let bought = shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        shop.tops_up(owner, starter(1_000, "sandbox_ok")).await;
        shop.sql("DELETE FROM jobs").await;
        told(&shop, bought.payment_id.parse().unwrap(), News::Refunded(usd(20))).await;
        assert_eq!(shop.asked().await, 1);
    }
}
