//! A year of many accounts on the test clock: every lot, invoice, credit note and period is what a naive model of the year says,
//! on either engine, and each month's report for finance adds up.
//!
//! Time passes day by day; what is due is done before anybody does anything on that day. Each account lives a life of its own
//! that its number decides: it subscribes on one of the last days of December or in January, and once a month it spends, buys a
//! pack, gives one back or a part of its price, has what its month cost given back or a part of that, has its bank ask for that,
//! has one bought by itself, adds seats or gives them up, goes to a plan that costs more or less, from months to a year or back,
//! also in the midst of a year, cancels in one way or another, goes to another country, or has a card that is declined at the
//! next boundary and at some attempts after it or all of them; whoever has no plan any more subscribes anew. Some pay by the year
//! from the beginning, or have a plan that rolls over, one whose months are granted before they are paid, or a contract; some are
//! where their days begin in the evening before. And each has an organization to which its plan moves one day, with what is left
//! of it, its card and what was planned for it; that lives on with it, in a country of its own.
//!
//! Left out is what a model could only say by dividing money as the service does: what refunds take of a plan's credits where a
//! payment brought more than one month's lot, or a lot was moved or rolled over, and what disputes take of them. The use cases' own
//! tests have that (`changing/lives.rs`, `years/`, `finance/`).
//!
//! The year is lived twice, by two services at once that know nothing of each other, and everything that is left of it must be
//! the same: lots with what became of them, invoices, credit notes, periods, payments, the ledger entry by entry, and what finance is
//! told was paid. `BURSAR_TEST_ACCOUNTS=1000` has as many accounts as the rule was made for.

mod account;
mod calendar;
mod found;
mod life;
mod mind;
mod papers;
mod plan;
mod purse;
mod sold;
mod taxes;

use std::collections::BTreeMap;

use bursar_billing::finance::Sums;
use bursar_db::{DbError, on};
use bursar_testkit::{TestDb, at, engines};
use bursar_time::{Clock, Span, Timestamp};
use futures::StreamExt as _;

use crate::given_back::Months;
use crate::world::{BUILT_IN, World, sell, until};
use account::Household;
use calendar::{date, day_at, is_first_of_month};

/// How many persons there are where nobody says otherwise, each of whom does first what no other does: some thousand deeds and
/// renewals in each of two years, which an unoptimised program does in about a minute.
const ACCOUNTS: u64 = 26;
/// How many of them do something at a time.
const CALLERS: usize = 16;
/// Twelve months of whoever subscribed last.
const DAYS: usize = 397;

/// Beside those of `plans.toml`: Business and Pro, paid by the year, granted before it is paid, and rolling over.
const PLANS: &str = concat!(
    include_str!("yearly.toml"),
    r#"
[[plans]]
id = "yearly-pro"
name = "Pro, by the year"
interval = "year"
price = "2999.99 USD"
credits = "5500"
seats = 20
features = ["organizations"]

[[plans]]
id = "lenient"
name = "Lenient"
price = "100.00 USD"
credits = "1500"
seats = 10
grant_in_grace = true
features = ["organizations"]

[[plans]]
id = "rolling"
name = "Rolling"
price = "100.00 USD"
credits = "1500"
seats = 10
rollover = "500"
features = ["organizations"]
"#
);

fn accounts() -> u64 {
    let said = std::env::var("BURSAR_TEST_ACCOUNTS").ok();
    said.map_or(ACCOUNTS, |said| said.parse().expect("BURSAR_TEST_ACCOUNTS is a number"))
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
        sell(settings, &format!("{BUILT_IN}{}{PLANS}", include_str!("plans.toml")));
        let path = settings.data_dir.join("taxes.toml");
        std::fs::write(&path, taxes::table()).unwrap();
        settings.invoices.tax_file = Some(path);
    })
    .await;
    let (mut all, mut months, mut left) = (Vec::new(), Vec::new(), Months::default());
    for number in 1..=accounts() {
        all.push(Household::of(&world, number).await);
    }
    world.applied().await;
    for household in &all {
        household.settles_down(&world).await;
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
    for household in &all {
        household.is_as_its_lives_say(&world).await;
        everything.push(household.everything(&world).await);
    }
    everything
}

engines! {
    async fn a_year_of_many_accounts_is_what_a_naive_model_says_twice_with_the_same_result(db: TestDb) {
        let other = db.another().await;
        let (first, again) = tokio::join!(Box::pin(lived(db)), Box::pin(lived(other)));
        assert_eq!(first.len(), again.len());
        for (number, (first, again)) in first.iter().zip(&again).enumerate() {
            assert_eq!(first, again, "person {number}, or with 0 the months for finance");
        }
    }
}
