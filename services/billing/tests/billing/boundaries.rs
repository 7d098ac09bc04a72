//! One boundary for very many subscriptions: the month that begins for all of them at once.
//!
//! As many as a test renews in twenty seconds; `BURSAR_TEST_SUBSCRIBERS=10000` has as many as the rule was made for.

use std::time::{Duration, Instant};

use bursar_id::{OwnerId, SubscriptionId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_testkit::{Refusal, engines, id};
use bursar_time::Timestamp;
use prost::Message as _;
use tonic::{Code, Status};

use crate::races::at_once;
use crate::words::{Under, batch, buy, reserve, spend, subscribe};
use crate::world::{Person, World, until};

/// How many subscriptions have the boundary where nobody says otherwise.
const SUBSCRIBERS: usize = 500;
/// Who of them spends as soon as it has come, and how many calls of theirs are under way at a time.
const SPENDERS: u64 = 200;
const CALLERS: u64 = 64;

fn subscribers() -> usize {
    let said = std::env::var("BURSAR_TEST_SUBSCRIBERS").ok();
    said.map_or(SUBSCRIBERS, |said| said.parse().expect("a number of subscribers"))
}

/// People with a pack and a subscription, begun at the same instant; and the longest that one of them waited for its
/// subscription: to begin a month is as much work as to renew one.
async fn spenders(world: &World) -> (Vec<Person>, Duration) {
    let (mut people, mut longest) = (Vec::new(), Duration::ZERO);
    for callers in 0..SPENDERS.div_ceil(CALLERS) {
        let some = (callers * CALLERS + 1..=SPENDERS.min((callers + 1) * CALLERS)).map(|n| {
            let person = world.person(n);
            async move {
                person.purchase_pack(buy(person.owner, "starter")).await.unwrap();
                let begun = Instant::now();
                person.subscribe(subscribe(person.owner, "business")).await.unwrap();
                (person, begun.elapsed())
            }
        });
        for (person, waited) in at_once(some).await {
            people.push(person);
            longest = longest.max(waited);
        }
    }
    (people, longest)
}

impl World {
    /// Gives so many people who have no account yet the subscription that somebody has.
    async fn subscribes_others(&self, like: OwnerId, many: usize) {
        let numbers: Vec<u64> = (10_000..).take(many).collect();
        for some in numbers.chunks(500) {
            let rows = some.iter().map(|n| {
                let subscription: SubscriptionId = id(*n);
                format!("('{}', '{subscription}')", OwnerId::User(id(*n)))
            });
            let rows: Vec<_> = rows.collect();
            let copies = self
                .by_hand(&format!(
                    "INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, payment_method,
                         payment_reference, started_at, period_number, period_start, period_end, included, included_plan)
                     SELECT other.column1, other.column2, plan_id, state, credits, seats, currency, price, payment_method,
                         payment_reference, started_at, period_number, period_start, period_end, included, included_plan
                     FROM subscriptions, (VALUES {}) AS other WHERE owner = '{like}'",
                    rows.join(", ")
                ))
                .await;
            assert_eq!(copies.unwrap(), some.len() as u64);
        }
    }

    /// The boundary of all subscriptions.
    async fn the_boundary(&self) -> Timestamp {
        const ENDS: &str = "SELECT COUNT(DISTINCT period_end) FROM subscriptions";
        assert_eq!(self.scalar(ENDS).await, 1, "one boundary for all");
        let end = self.scalar("SELECT MAX(period_end) FROM subscriptions").await;
        Timestamp::from_micros(end).unwrap()
    }

    /// Until every subscription is in its month of this number, as long as some of them get there.
    async fn all_renewed(&self, month: i64) {
        const LEAST: &str =
            "SELECT COUNT(*) FROM subscriptions WHERE period_number = (SELECT MAX(period_number) FROM subscriptions)";
        let all = self.scalar("SELECT COUNT(*) FROM subscriptions").await;
        loop {
            let there = self.scalar(LEAST).await;
            if there == all {
                break;
            }
            until("more of them are renewed", async || self.scalar(LEAST).await > there).await;
        }
        assert_eq!(self.scalar("SELECT MIN(period_number) FROM subscriptions").await, month);
    }
}

/// One person spends in one of three ways; whoever is told that the renewal is due comes again. Says how long it took.
async fn spends(person: &Person, way: u64, name: &str) -> Duration {
    let begun = Instant::now();
    loop {
        let one = spend(person.owner, "10").under(name);
        let told = match way % 3 {
            0 => person.charge(one).await.map(drop),
            1 => person.hold(reserve(person.owner, "10").under(name)).await.map(drop),
            _ => person.batch_charge(batch([one])).await.and_then(only),
        };
        let Err(status) = told else { return begun.elapsed() };
        let refusal = Refusal::of(&status);
        assert_eq!(
            (refusal.code, &*refusal.reason, refusal.retryable),
            (Code::Unavailable, "RENEWAL_DUE", true),
            "{name}"
        );
        assert!(begun.elapsed() < Duration::from_mins(1), "{name}: its renewal is due for a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(clippy::print_stderr, reason = "what `--nocapture` shows")]
fn says(month: i64, longest: Duration, usual: Duration) {
    eprintln!("month {month}: the longest wait was {longest:?}, where nothing is due {usual:?}");
}

/// What became of the one charge of a batch.
fn only(answer: pb::BatchChargeResponse) -> Result<(), Status> {
    match answer.outcomes.into_iter().next().and_then(|it| it.outcome).expect("an outcome") {
        Outcome::Charge(_) => Ok(()),
        Outcome::Status(status) => {
            let details = status.encode_to_vec();
            Err(Status::with_details(Code::from_i32(status.code), status.message, details.into()))
        }
    }
}

/// All of them spend, so many at a time. The longest that anybody waited.
async fn all_spend(people: &[Person], round: &str) -> Duration {
    let callers = (0..CALLERS).map(|caller| {
        let own: Vec<_> = (0..).zip(people.to_vec()).filter(|(n, _)| n % CALLERS == caller).collect();
        let round = round.to_owned();
        async move {
            let mut longest = Duration::ZERO;
            for (n, person) in own {
                longest = longest.max(spends(&person, n, &format!("{round}-{n}")).await);
            }
            longest
        }
    });
    at_once(callers).await.into_iter().max().unwrap()
}

engines! {
    async fn at_one_boundary_of_very_many_nobody_waits_or_spends_of_a_pack_and_all_have_their_months(db: TestDb) {
        const PACKS: &str = "SELECT COUNT(*) FROM lots WHERE granted = 300000000 AND remaining = granted";
        let world = World::on(db).await;
        let (people, subscribing) = spenders(&world).await;
        world.subscribes_others(people[0].owner, subscribers() - people.len()).await;
        let all = i64::try_from(subscribers()).unwrap();
        let packs = i64::try_from(people.len()).unwrap();
        for month in 1..=2 {
            // What it takes here and now where nothing is due, with a month's beginning beside as many others.
            let usual = subscribing + all_spend(&people, &format!("before-{month}")).await;
            let boundary = world.the_boundary().await;
            world.passes(boundary.since(world.now()));
            let longest = all_spend(&people, &format!("after-{month}")).await;
            // A figure to look at and no assertion: how long the machine takes says nothing about the rule. Of nobody is
            // the renewal due for a minute, see [`spends`].
            says(month, longest, usual);
            world.all_renewed(month).await;
            assert_eq!(world.scalar(PACKS).await, packs, "month {month}: no pack was touched");
            // Of the month before only those have an allowance who had subscribed themselves.
            assert_eq!(world.scalar("SELECT COUNT(*) FROM lots").await, all * month + 2 * packs, "month {month}");
            assert_eq!(world.scalar("SELECT COUNT(DISTINCT payment_reference) FROM subscriptions").await, all, "each paid once");
        }
        for person in &people[..3] {
            world.audit(person.owner).await;
        }
        world.audit(OwnerId::User(id(10_000))).await;
    }
}
