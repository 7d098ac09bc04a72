//! A purge that is cut off, at whatever it waited for, and finished by somebody else; on both engines.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bursar_db::Db;
use bursar_id::{OwnerId, RequestId};
use bursar_members::Standing;
use bursar_testkit::{TestDb, at, credits, engines, id};
use bursar_time::Clock;
use tokio_util::task::TaskTracker;

use super::{PAGES, Purger};
use crate::domain::{
    Actor, Attribution, ChargeCommand, Command, Cost, GrantCommand, Labels, LotSource, Note, OperationKey, RateCard,
    Request, RequestName, Rules,
};
use crate::lane::{Batcher, Job, LaneSettings, Lanes, RulesSource};
use crate::payment::Payments;
use crate::store::{MIGRATIONS, accounts, details, lots};
use crate::usecase::audit;
use crate::usecase::removals::Removals;

const KEY: OperationKey = OperationKey::new([5; 32]);

/// More lots than one request voids.
const LOTS: usize = 110;

/// Somebody who purges, one of many.
struct Bench {
    db: Db,
    clock: Clock,
    source: RulesSource,
}

impl Bench {
    async fn over(db: &TestDb) -> Self {
        let source = RulesSource::new(Rules::for_test(RateCard::default(), KEY));
        Self { db: db.open(&MIGRATIONS).await, clock: Clock::test(at("2026-03-01T00:00:00Z")), source }
    }

    /// One more program that purges.
    fn purger(&self) -> Purger {
        let batcher = Batcher::new(self.db.clone(), self.clock.clone(), self.source.handle());
        let meter = opentelemetry::global::meter("test");
        let lanes = Lanes::start(LaneSettings::default(), &batcher, &meter, &TaskTracker::new()).unwrap();
        let sealer = bursar_secret::Sealer::from_key(&bursar_secret::Secret::new([7; 32]));
        let jobs =
            bursar_jobs::Jobs::new(self.db.clone(), sealer, bursar_secret::Entropy::seeded(7), self.clock.clone());
        let removals = Removals { db: self.db.clone(), payments: Payments::Sandbox, jobs, clock: self.clock.clone() };
        Purger { db: self.db.clone(), lanes, removals }
    }

    /// The `n`-th account, with many lots and more pages of details than one transaction takes; its owner is purged.
    async fn purged(&self, n: u64) -> OwnerId {
        let owner = OwnerId::Organization(id(n));
        let mut tx = self.db.begin().await.unwrap();
        accounts::open(&mut tx, &[owner], self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let lanes = self.purger().lanes;
        for answer in lanes.many((0..LOTS).map(|it| job(owner, it, grant())).collect()).await.unwrap() {
            answer.unwrap();
        }
        for it in 0..=PAGES {
            lanes.one(job(owner, LOTS + it, charge(it as u64 % 3))).await.unwrap().unwrap();
        }
        let mut tx = self.db.begin().await.unwrap();
        assert!(details::from(&mut tx, owner, 1, usize::MAX).await.unwrap().len() > PAGES);
        accounts::set_standing(&mut tx, owner, Standing::Purged).await.unwrap();
        tx.commit().await.unwrap();
        owner
    }

    async fn is_cleared(&self, owner: OwnerId) {
        let mut tx = self.db.read().await.unwrap();
        let pages = details::from(&mut tx, owner, 1, usize::MAX).await.unwrap();
        assert!(pages.iter().all(|(_, page)| page.is_empty()), "nothing is said");
        let lots = lots::page(&mut tx, owner, i64::MAX, 1_000).await.unwrap();
        assert_eq!(lots.len(), LOTS);
        assert!(lots.iter().all(|lot| lot.remaining.is_zero() && lot.note.is_none()), "nothing is left");
        tx.commit().await.unwrap();
        let verdict = audit::verify(&self.db, KEY, owner, self.clock.now()).await.unwrap();
        assert!(verdict.result.is_ok(), "{:?}", verdict.result);
    }

    async fn booked(&self, owner: OwnerId) -> u64 {
        let account = accounts::find(&mut self.db.read().await.unwrap(), owner).await.unwrap();
        account.unwrap().head.seq
    }
}

/// A service's request, under an id.
fn job(owner: OwnerId, n: usize, command: Command) -> Job {
    let actor = Actor::Service { service: id(4) };
    let name = RequestName::new(&actor, RequestId::parse(format!("r{n}")).unwrap());
    Job { owner, actor, request: Request::new(Some(name), [7; 16], command) }
}

fn grant() -> Command {
    Command::Grant(GrantCommand {
        note: Note::parse("for Smith").ok(),
        ..GrantCommand::new(credits("1"), LotSource::Goodwill)
    })
}

fn charge(member: u64) -> Command {
    Command::Charge(ChargeCommand {
        cost: Cost::Amount(credits("0.1")),
        attribution: Attribution { member: id(member), project: None, model: None },
        labels: Labels::parse([("client".to_owned(), "Smith".to_owned())].into()).unwrap(),
        occurred_at: None,
    })
}

/// Goes on so often and no more; `None` if that was not enough.
async fn cut_off<T>(mut steps: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if steps == 0 {
            return Poll::Ready(None);
        }
        steps -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

engines! {
    async fn a_purge_that_is_cut_off_anywhere_is_finished_by_another(db: TestDb) {
        let bench = Bench::over(&db).await;
        let another = bench.purger();
        let (mut steps, mut found) = (0, BTreeSet::new());
        loop {
            let owner = bench.purged(steps).await;
            let finished = cut_off(steps, bench.purger().clear(owner)).await;
            found.insert(bench.booked(owner).await);
            another.clear(owner).await.unwrap();
            bench.is_cleared(owner).await;
            let booked = bench.booked(owner).await;
            another.clear(owner).await.unwrap();
            assert_eq!(bench.booked(owner).await, booked, "again changes nothing");
            if let Some(finished) = finished {
                finished.unwrap();
                break;
            }
            steps += 1;
        }
        assert!(found.len() > 2, "it was cut off before, within and after what it books: {found:?} in {steps}");
    }
}
