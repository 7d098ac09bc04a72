//! Limits under many callers at once: never exceeded by a millionth, whoever counts.

use std::sync::Arc;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LimitWindow::Day;
use bursar_testkit::{Refusal, engines, rounds};
use tokio::sync::Barrier;
use tonic::Status;

use crate::races::at_once;
use crate::words::{free, limit, limits_of, reserve, settle, spend};
use crate::world::{Person, World};

/// One caller's attempt to take a little: charging, or reserving and settling, or reserving and giving back. Gives how many
/// millionths were taken for good.
async fn take(person: &Person, n: usize) -> i64 {
    let reached = |status: Status| {
        let reason = Refusal::of(&status).reason;
        assert_eq!(reason, "LIMIT_REACHED");
    };
    match n % 4 {
        0 | 1 => match person.charge(spend(person.owner, "1.000003")).await {
            Ok(_) => 1_000_003,
            Err(status) => {
                reached(status);
                0
            }
        },
        2 => match person.hold(reserve(person.owner, "2.5")).await {
            Ok(held) => {
                let excess =
                    pb::CaptureRequest { allow_excess: true, ..settle(&held.hold.clone().unwrap(), "2.750001") };
                match person.capture(excess).await {
                    Ok(_) => 2_750_001,
                    Err(status) => {
                        reached(status);
                        person.captured(settle(&held.hold.unwrap(), "1")).await;
                        1_000_000
                    }
                }
            }
            Err(status) => {
                reached(status);
                0
            }
        },
        _ => {
            match person.hold(reserve(person.owner, "3")).await {
                Ok(held) => drop(person.release(free(&held.hold.unwrap())).await.unwrap()),
                Err(status) => reached(status),
            }
            0
        }
    }
}

async fn race(world: &World, callers: Vec<Person>, amount: &str) {
    let owner = callers[0].owner;
    let (barrier, most) = (Arc::new(Barrier::new(callers.len())), amount.parse::<i64>().unwrap() * 1_000_000);
    let last = callers[0].clone();
    let taken = at_once(callers.into_iter().enumerate().map(|(n, person)| {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            let mut taken = 0;
            for round in 0..4 {
                taken += take(&person, n + round).await;
            }
            taken
        }
    }))
    .await;
    let mut taken: i64 = taken.into_iter().sum();
    assert!(taken <= most, "{taken} millionths of {most} were taken");
    // What others held when the last of them were refused was given back: whoever comes alone gets all of it.
    loop {
        match take(&last, 0).await {
            0 => break,
            more => taken += more,
        }
    }
    assert!((0..1_000_003).contains(&(most - taken)), "and only so much was left: {taken} of {most}");
    let limits = world.operator().list_limits(limits_of(owner)).await.unwrap().limits;
    let used: bursar_money::Credits = limits[0].used.parse().unwrap();
    assert_eq!(used.micro(), taken, "what is told to be used is what was taken");
    world.audit(owner).await;
}

engines! {
    async fn sixty_four_callers_never_exceed_a_limit_by_a_millionth(db: TestDb) {
        let world = World::on(db).await;
        // Each of them has four attempts, and what is left is taken one by one: fewer rounds show as much.
        for round in 1..=(rounds() / 3).max(3) {
            let ana = world.person_with(round, "10000").await;
            let set = limit(ana.owner, &format!("member {}", ana.user), Day, "40");
            ana.limited(pb::SetLimitRequest { alert_percents: vec![50, 90], ..set }).await;
            race(&world, vec![ana.clone(); 64], "40").await;
            let told = world.alerts().await.into_iter().filter(|it| it.owner == ana.owner.to_string());
            let fifty = told.filter(|it| it.percents.contains(&50)).count();
            assert!(fifty >= 1, "it was crossed");
        }
    }

    async fn sixty_four_callers_cross_a_percentage_once(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10000").await;
        let set = limit(ana.owner, "every", Day, "100");
        ana.limited(pb::SetLimitRequest { alert_percents: vec![25, 50, 75], ..set }).await;
        let barrier = Arc::new(Barrier::new(64));
        at_once((0..64).map(|_| {
            let (ana, barrier) = (ana.clone(), Arc::clone(&barrier));
            async move {
                barrier.wait().await;
                ana.charged(spend(ana.owner, "1")).await;
            }
        }))
        .await;
        let told: Vec<_> = world.alerts().await.into_iter().map(|it| (it.percents, it.used)).collect();
        assert_eq!(told, [(vec![25], "25".to_owned()), (vec![50], "50".to_owned())]);
        world.audit(ana.owner).await;
    }

    // While others charge, a limit is set, set again and deleted: whenever it holds, it holds.
    async fn a_limit_that_is_set_while_others_charge_has_counted_all_of_them(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100000000").await;
        let me = format!("member {}", ana.user);
        // The same account again and again: each limit has to count what was charged before it as well.
        for round in 1..=i64::try_from(rounds()).expect("not that many") {
            let chargers = at_once((0..24).map(|n| {
                let (ana, me) = (ana.clone(), me.clone());
                async move {
                    if n == 12 {
                        let set = ana.limited(limit(ana.owner, &me, Day, "100000000")).await;
                        return set.used.parse::<bursar_money::Credits>().unwrap().micro();
                    }
                    for _ in 0..10 {
                        ana.charged(spend(ana.owner, "1")).await;
                    }
                    0
                }
            }))
            .await;
            let limits = ana.list_limits(limits_of(ana.owner)).await.unwrap().limits;
            assert_eq!(limits[0].used, (230 * round).to_string(), "every charge is counted once");
            assert!(chargers[12] <= 230_000_000 * round);
            let gone = pb::DeleteLimitRequest {
                owner: ana.owner.to_string(),
                limit_id: limits[0].id.clone(),
                request_id: String::new(),
            };
            ana.delete_limit(gone).await.unwrap();
        }
        world.audit(ana.owner).await;
    }
}

pub(crate) async fn race_from(world: &World, callers: Vec<Person>, before: i64, most: i64) {
    let owner = callers[0].owner;
    let taken = at_once(callers.into_iter().enumerate().map(|(n, person)| async move {
        let mut taken = 0;
        for round in 0..4 {
            taken += take(&person, n + round).await;
        }
        taken
    }))
    .await;
    let taken = before + taken.into_iter().sum::<i64>();
    assert!(taken <= most, "{taken} millionths of {most} were taken");
    let limits = world.operator().list_limits(limits_of(owner)).await.unwrap().limits;
    let used: bursar_money::Credits = limits[0].used.parse().unwrap();
    assert_eq!(used.micro(), taken);
    world.audit(owner).await;
}
