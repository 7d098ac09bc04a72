//! A database host that vanishes without a word, at every step there is; on PostgreSQL. Whoever had something under way
//! hears within a bound that nobody knows, others are served again, and the same request id has the one answer.

use std::time::{Duration, Instant};

use bursar_runtime::Service;
use bursar_testkit::{Proxy, TestDb, Vanish, postgres};
use tonic::{Code, Status};

use crate::words::{Under, balance_of, reserve, settle, spend};
use crate::world::{Person, World};

/// How much longer than usually others wait until they are served by new connections. What is usual is measured beside it: the
/// machine may be busy with other tests.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);
/// How long a call may take whose answer was lost: a transaction's limit and those of what was tried after it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// A world whose first billing reaches its store through the proxy; what looks at the books does not.
async fn behind(proxy: &Proxy, db: TestDb) -> World {
    let direct = db.store_url();
    let mut world = World::with(db, |settings| {
        settings.stores[Service::Billing] = proxy.store_url();
        settings.postgres.acquire_timeout = Duration::from_secs(5);
        settings.limits.deadline = Duration::from_secs(15);
    })
    .await;
    world.settings.stores[Service::Billing] = direct;
    world.store = bursar_billing::open(&world.settings).await.expect("opens");
    world
}

/// Asks until the answer is one: what is unknown or not possible at the moment is asked again, under the same id.
async fn until_answered<T>(mut ask: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let since = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(status) => {
                let again = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                assert!(again && since.elapsed() < Duration::from_mins(1), "{status:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// What the host vanishes under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// A charge that is decided in memory: one statement.
    Charge,
    /// A capture: lock, load, write, commit.
    Capture,
}

/// Each of these people charges, one after the other.
async fn spend_all(people: &[Person], request_id: &str) {
    for person in people {
        until_answered(async || person.charge(spend(person.owner, "1").under(request_id)).await).await;
    }
}

/// One operation, one step at which the host vanishes; says whether it did before the operation was done.
async fn vanishes(world: &World, proxy: &Proxy, others: &[Person], n: u64, what: Work, vanish: Vanish) -> bool {
    let named = format!("{what:?} {vanish:?}");
    let ana = world.person_with(n, "100").await;
    let owner = ana.owner;
    ana.charged(spend(owner, "1").under("before")).await;
    let hold = ana.held(reserve(owner, "10").under("hold")).await;
    proxy.arm(vanish);
    let began = Instant::now();
    let ask = async || match what {
        Work::Charge => ana.charge(spend(owner, "5").under("it")).await.map(|it| it.charge.unwrap().id),
        Work::Capture => ana.capture(settle(&hold, "5").under("it")).await.map(|it| it.charge.unwrap().id),
    };
    let watched = async {
        // From the moment at which the host is gone.
        let gone = loop {
            if proxy.has_vanished() {
                break Instant::now();
            }
            if began.elapsed() > Duration::from_secs(1) {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        spend_all(others, &named).await;
        Some(gone.elapsed())
    };
    let (told, others_after) = tokio::join!(ask(), watched);
    let took = began.elapsed();
    assert!(took < ANSWERED_WITHIN, "{named}: {took:?}");
    let happened = !proxy.disarm();
    if let Some(after) = others_after {
        let again = Instant::now();
        spend_all(others, &format!("{named} usually")).await;
        let usual = again.elapsed();
        assert!(after < OTHERS_WITHIN + usual, "{named}: others were served after {after:?}, usually {usual:?}");
    }
    if let Err(status) = &told {
        assert!(happened && is_unknown(status), "{named}: {status:?}");
    }
    let once = until_answered(&ask).await;
    // Whoever takes a connection that nobody used meanwhile finds out that it is lost, and comes again.
    assert_eq!(until_answered(&ask).await, once, "{named}: the one answer");
    assert!(told.is_err() || told.unwrap() == once, "{named}");
    let left = match what {
        Work::Charge => ("84", "10"),
        Work::Capture => ("94", "0"),
    };
    let balance = until_answered(async || ana.get_balance(balance_of(owner)).await).await;
    assert_eq!((&*balance.available, &*balance.held), left, "{named}: once");
    world.audit(owner).await;
    happened
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_batch_loses_and_doubles_nothing() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        let world = Box::pin(behind(&proxy, db)).await;
        let others = [world.person_with(1, "1000").await, world.person_with(2, "1000").await];
        let mut n = 10;
        for what in [Work::Charge, Work::Capture] {
            for seen in [false, true] {
                let mut after = 0;
                while vanishes(&world, &proxy, &others, n, what, Vanish { after, seen }).await {
                    after += 1;
                    n += 1;
                    assert!(after < 40, "{what:?} has only so many steps");
                }
                n += 1;
                assert!(after >= 1, "{what:?} has at least one step");
            }
        }
        for other in &others {
            world.audit(other.owner).await;
        }
    });
}

#[test]
fn a_replica_that_vanishes_with_locks_keeps_others_waiting_for_a_moment_only() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        let world = Box::pin(behind(&proxy, db)).await;
        let replica = world.instance_with(|_| ()).await;
        let [ana, ben] = [world.person_with(1, "100").await, world.person_with(2, "100").await];
        let hold = ana.held(reserve(ana.owner, "10")).await;
        let [ana_there, ben_there] = [world.through(&replica, &ana), world.through(&replica, &ben)];
        ben_there.charged(spend(ben.owner, "1")).await;
        // The capture has locked the account when its host goes: at its second step or at a later one.
        proxy.arm(Vanish { after: 2, seen: true });
        let lost = ana.capture(settle(&hold, "5").under("it"));
        let others = async {
            let begun = Instant::now();
            while !proxy.has_vanished() {
                assert!(begun.elapsed() < Duration::from_secs(10), "a capture has that many steps");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let hers = ana_there.capture(settle(&hold, "5").under("it"));
            let his = async |round: &str| {
                let since = Instant::now();
                for n in 0..20 {
                    let served = ben_there.charge(spend(ben.owner, "1").under(&format!("{round}{n}"))).await;
                    served.expect("served beside it");
                }
                since.elapsed()
            };
            let (hers, beside) = tokio::join!(hers, his("beside"));
            (hers, beside, his("usually").await)
        };
        let (lost, (hers, beside, usual)) = tokio::join!(lost, others);
        assert!(beside < OTHERS_WITHIN + usual, "others were served after {beside:?}, usually {usual:?}");
        for told in [lost.map(drop), hers.map(drop)] {
            assert!(told.as_ref().err().is_none_or(is_unknown), "{told:?}");
        }
        // Later, when the server has missed the replica, the account is free again.
        let once = until_answered(async || ana_there.capture(settle(&hold, "5").under("it")).await).await;
        let again = until_answered(async || ana.capture(settle(&hold, "5").under("it")).await).await;
        assert_eq!(once.charge, again.charge);
        assert_eq!(world.available(ana.owner).await, "95");
        assert_eq!(world.available(ben.owner).await, "59");
        world.audit(ana.owner).await;
        world.audit(ben.owner).await;
    });
}
