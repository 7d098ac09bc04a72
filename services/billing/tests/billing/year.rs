//! A year of many accounts on the test clock: every lot, invoice, credit note and period is what a naive model of the year says,
//! on either engine, and each month's report for finance adds up.
//!
//! Time passes day by day; what is due is done before anybody does anything on that day. Each account lives a life of its own
//! that its number decides: it subscribes on one of the last days of December or in January, and once a month it spends, buys a
//! pack, gives one back or a part of its price, has one bought by itself, adds seats or gives them up, goes to a plan that costs more
//! or less, from months to a year or back, cancels in one way or another, or has a card that is declined at the next boundary and at
//! some attempts after it or all of them; whoever has no plan any more subscribes anew. Some pay by the year from the beginning, or
//! have a plan that rolls over, one whose months are granted before they are paid, or a contract.
//!
//! Left out is what a model could only say by dividing money as the service does: a year that is changed before its end, and what
//! refunds and disputes take of a plan's credits. The use cases' own tests have that (`changing/lives.rs`, `years/`, `finance/`).
//!
//! The year is lived twice, by two services at once that know nothing of each other, and everything that is left of it must be
//! the same: lots with what became of them, invoices, credit notes, periods, payments, the ledger entry by entry, and what finance is
//! told was paid. `BURSAR_TEST_ACCOUNTS=1000` has as many accounts as the rule was made for.

mod calendar;
mod found;
mod life;
mod mind;
mod sold;

use std::collections::BTreeMap;

use bursar_billing::finance::Sums;
use bursar_db::{DbError, on};
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_proto::testing::v1 as testing;
use bursar_testkit::{Refusal, TestDb, at, engines};
use bursar_time::{Clock, Span, Timestamp};
use futures::StreamExt as _;

use crate::contracts::{contract, paid_with};
use crate::given_back::Months;
use crate::topping_up::{set, without};
use crate::words::{buy, cancel, change_to, resume, set_seats, spend, subscribe};
use crate::world::{Person, World, until};
use calendar::{date, day_at, is_first_of_month};
use life::Life;
use mind::Deed;
use sold::decimal;

/// How many accounts there are where nobody says otherwise: some eight hundred deeds and renewals in each of two years, which an
/// unoptimised program does in well under a minute.
const ACCOUNTS: u64 = 24;
/// How many of them do something at a time.
const CALLERS: usize = 16;
/// Twelve months of whoever subscribed last.
const DAYS: usize = 397;

/// Beside those of `plans.toml`: Business, paid by the year, granted before it is paid, and rolling over.
const PLANS: &str = r#"
[[plans]]
id = "yearly"
name = "Business, by the year"
interval = "year"
price = "1000.00 USD"
credits = "1500"
seats = 10

[[plans]]
id = "lenient"
name = "Lenient"
price = "100.00 USD"
credits = "1500"
seats = 10
grant_in_grace = true

[[plans]]
id = "rolling"
name = "Rolling"
price = "100.00 USD"
credits = "1500"
seats = 10
rollover = "500"
"#;

fn accounts() -> u64 {
    let said = std::env::var("BURSAR_TEST_ACCOUNTS").ok();
    said.map_or(ACCOUNTS, |said| said.parse().expect("BURSAR_TEST_ACCOUNTS is a number"))
}

fn usd(cents: i64) -> Money {
    let nanos = i32::try_from(cents % 100).unwrap() * 10_000_000;
    Money { currency_code: "USD".to_owned(), units: cents / 100, nanos }
}

/// Somebody who lives through it, with the card that pays now.
struct Account {
    person: Person,
    life: Life,
    card: String,
}

impl World {
    /// How many subscriptions wait for something that is to be done by now.
    async fn due_by(&self, now: Timestamp) -> i64 {
        const DUE: &str = "SELECT COUNT(*) FROM subscriptions WHERE state <> 'ENDED' AND period_end <= $1
             AND (next_retry_at IS NULL OR next_retry_at <= $1)";
        let mut tx = self.store.read().await.unwrap();
        let due: Result<(i64,), DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(DUE).bind(now).fetch_one(c).await?)) }.await;
        due.unwrap().0
    }

    /// It is this day, and what is due is done.
    async fn becomes(&self, day: usize) {
        let now = day_at(day);
        self.passes(now.since(self.now()));
        loop {
            let due = self.due_by(now).await;
            if due == 0 {
                return;
            }
            until("some of what is due is done", async || self.due_by(now).await < due).await;
        }
    }

    async fn saves(&self, owner: OwnerId, method: &str) -> String {
        let request = testing::SaveMethodRequest {
            owner: owner.to_string(),
            payment_method: method.to_owned(),
            exp_month: 12,
            exp_year: 2035,
        };
        self.nobody().0.sandbox().save_method(request).await.unwrap().into_inner().payment_method.unwrap().id
    }
}

impl Account {
    async fn of(world: &World, number: u64) -> Self {
        let person = world.person(number);
        let card = world.saves(person.owner, "sandbox_ok").await;
        Self { person, life: Life::of(number), card }
    }

    /// Does what its life says for this day.
    async fn lives(&mut self, world: &World, day: usize) {
        for deed in self.life.deeds(day) {
            self.does(world, &deed).await;
        }
    }

    async fn does(&mut self, world: &World, deed: &Deed) {
        let (person, owner) = (&self.person, self.person.owner);
        match deed {
            Deed::Subscribes(plan) => {
                let request = pb::SubscribeRequest { payment_method: self.card.clone(), ..subscribe(owner, plan) };
                person.subscribe(request).await.unwrap();
            }
            Deed::Agrees => {
                // What the model's enterprise has.
                world.operator().set_contract(paid_with("invoice", contract(owner, 900))).await.unwrap();
            }
            Deed::Changes(plan) => {
                person.change_plan(change_to(owner, plan)).await.unwrap();
            }
            Deed::SetsSeats(seats) => {
                person.set_seats(set_seats(owner, *seats)).await.unwrap();
            }
            Deed::Spends { credits, enough } => {
                let told = person.charge(spend(owner, &credits.to_string())).await;
                let reason = told.err().map(|status| Refusal::of(&status).reason);
                assert_eq!(reason.is_none(), *enough, "{owner} spends {credits}: {reason:?}");
            }
            Deed::Buys(pack) => {
                person.purchase_pack(buy(owner, pack)).await.unwrap();
            }
            Deed::Regrets(pack) => self.regrets(world, pack, None).await,
            Deed::RegretsAPart(pack, cents) => self.regrets(world, pack, Some(*cents)).await,
            Deed::TopsUp(pack) => self.tops_up(pack).await,
            Deed::CancelsAtTheEnd => {
                person.cancel(cancel(owner, pb::CancelAt::PeriodEnd)).await.unwrap();
            }
            Deed::Resumes => {
                person.resume(resume(owner)).await.unwrap();
            }
            Deed::CancelsNow => {
                person.cancel(cancel(owner, pb::CancelAt::Now)).await.unwrap();
            }
            Deed::CardFails => self.pays_with(world, "sandbox_declined").await,
            Deed::CardIsMended => self.pays_with(world, "sandbox_ok").await,
        }
    }

    /// Buys a pack, and has the money given back or so many cents of it.
    async fn regrets(&self, world: &World, pack: &str, cents: Option<u64>) {
        let owner = self.person.owner;
        let payment = self.person.purchase_pack(buy(owner, pack)).await.unwrap().payment.unwrap();
        let back = pb::RefundPaymentRequest {
            owner: owner.to_string(),
            payment_id: payment.id,
            amount: cents.map(|cents| usd(i64::try_from(cents).unwrap())),
            ..Default::default()
        };
        world.operator().refund_payment(back).await.unwrap();
    }

    /// Has a pack bought by itself, since any balance is below its threshold, and then no other.
    async fn tops_up(&self, pack: &str) {
        let (person, owner) = (&self.person, self.person.owner);
        let lots = self.lots().await.len();
        let top_up = pb::AutoTopUp {
            enabled: true,
            threshold: "1000000".to_owned(),
            pack_id: pack.to_owned(),
            monthly_ceiling: Some(usd(100_000_000)),
            payment_method: "sandbox_ok".to_owned(),
            stopped_by: String::new(),
        };
        person.update_account_settings(set(owner, top_up)).await.unwrap();
        until("the pack is bought", async || self.lots().await.len() > lots).await;
        person.update_account_settings(without(owner)).await.unwrap();
    }

    /// Another card instead of the one there was.
    async fn pays_with(&mut self, world: &World, method: &str) {
        let owner = self.person.owner;
        let new = world.saves(owner, method).await;
        let prefer = pb::SetDefaultPaymentMethodRequest {
            owner: owner.to_string(),
            payment_method_id: new.clone(),
            ..Default::default()
        };
        self.person.set_default_payment_method(prefer).await.unwrap();
        let remove = pb::RemovePaymentMethodRequest {
            owner: owner.to_string(),
            payment_method_id: std::mem::replace(&mut self.card, new),
            ..Default::default()
        };
        self.person.remove_payment_method(remove).await.unwrap();
    }

    async fn is_as_its_life_says(&self, world: &World) {
        let (owner, life) = (self.person.owner, &self.life);
        assert_eq!(self.lots().await, life.lots(), "lots of {owner}: {life:#?}");
        assert_eq!(self.invoices().await, life.invoices(), "invoices of {owner}: {life:#?}");
        assert_eq!(self.subscription().await, life.subscription(), "subscription of {owner}: {life:#?}");
        assert_eq!(world.available(owner).await, decimal(life.available()), "credits of {owner}: {life:#?}");
        world.audit(owner).await;
    }
}

/// What the month before this day's tells finance adds up, line by line: what there was, what was paid, and what became of both is
/// what is left. Gives what was paid and given back in it, and what is left.
async fn a_month_adds_up(world: &World, day: usize, months: &mut Months) -> String {
    let begin = bursar_time::Zone::default().month(day_at(day).saturating_sub(Span::DAY)).0.to_string();
    let told = months.report(world, &begin[..7]).await;
    let of = |sums: &BTreeMap<String, Sums>| {
        sums.iter()
            .map(|(currency, it)| format!("{currency} {:?}", (it.paid, it.given_back, it.left_value)))
            .collect::<Vec<_>>()
    };
    format!("paid, given back and left at {}: {:?}, in no lot {:?}", date(day), of(&told.sums), of(&told.not_granted))
}

/// Everything that is left of a year on an empty database, account by account and month by month, as lists of lines.
async fn lived(db: TestDb) -> Vec<Vec<String>> {
    let clock = Clock::test(at("2027-12-30T12:00:00Z"));
    let world = World::by_with(db, clock, |settings| {
        let path = settings.data_dir.join("plans.toml");
        let [sold, more] = [include_str!("../../catalog.toml"), include_str!("plans.toml")];
        std::fs::write(&path, format!("{sold}{more}{PLANS}")).unwrap();
        settings.catalog_file = Some(path);
    })
    .await;
    let (mut all, mut months, mut left) = (Vec::new(), Vec::new(), Months::default());
    for number in 1..=accounts() {
        all.push(Account::of(&world, number).await);
    }
    for day in 0..DAYS {
        world.becomes(day).await;
        if is_first_of_month(day) {
            months.push(a_month_adds_up(&world, day, &mut left).await);
        }
        let all = all.iter_mut();
        futures::stream::iter(all).for_each_concurrent(CALLERS, |it| it.lives(&world, day)).await;
    }
    let mut everything = vec![months];
    for account in &all {
        account.is_as_its_life_says(&world).await;
        everything.push(account.everything(&world).await);
    }
    everything
}

engines! {
    async fn a_year_of_many_accounts_is_what_a_naive_model_says_twice_with_the_same_result(db: TestDb) {
        let other = db.another().await;
        let (first, again) = tokio::join!(Box::pin(lived(db)), Box::pin(lived(other)));
        assert_eq!(first.len(), again.len());
        for (number, (first, again)) in first.iter().zip(&again).enumerate() {
            assert_eq!(first, again, "account {number}, or with 0 the months for finance");
        }
    }
}
