//! Two billings on one PostgreSQL (a SQLite file has one process), charging the same accounts under load.

use std::time::{Duration, Instant};

use bursar_id::Role;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LimitWindow::Day;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, TestDb, postgres};
use tonic::Status;

use crate::limit_races::race_from;
use crate::races::at_once;
use crate::words::{Spending as _, Under, batch, free, limit, limits_of, reserve, settle, spend};

use crate::world::World;

#[test]
fn two_instances_stay_exact_under_load() {
    postgres::run(async |db: TestDb| {
        let world = World::on(db).await;
        let other = world.another_instance().await;
        let here =
            [world.person_with(1, "60").await, world.person_with(2, "60").await, world.person_with(3, "60").await];
        let there = here.clone().map(|person| world.through(&other, &person));
        for round in 0..4_usize {
            let racers =
                (0..60_usize).map(|n| {
                    let side = if n % 2 == 0 { &here } else { &there };
                    let person = side[(n / 2) % 3].clone();
                    async move {
                        let owner = person.owner;
                        // Each id is used on both sides.
                        let id = format!("{round}-{}", n / 2);
                        match (n / 6) % 3 {
                            0 => drop(person.charge(spend(owner, "1").under(&id)).await.unwrap()),
                            1 => {
                                let hold = person.hold(reserve(owner, "2").under(&id)).await.unwrap().hold.unwrap();
                                let captured = person.capture(settle(&hold, "1").under(&format!("{id}-c"))).await;
                                captured.unwrap();
                                person.release(free(&hold)).await.unwrap_err();
                            }
                            _ => {
                                let charges = (0..20).map(|one| spend(owner, "0.05").under(&format!("{id}-{one}")));
                                let outcomes = person.batch_charge(batch(charges)).await.unwrap().outcomes;
                                assert!(outcomes.iter().all(|it| matches!(
                                    &it.outcome,
                                    Some(pb::batch_charge_outcome::Outcome::Charge(_))
                                )));
                            }
                        }
                    }
                });
            at_once(racers).await;
            for person in &here {
                world.audit(person.owner).await;
            }
        }
        // Ten ids a round and account, each worth one credit, each used twice.
        for person in &here {
            assert_eq!(world.available(person.owner).await, "20");
        }
    });
}

/// How many members come, each in a race of its own.
const MEMBERS: usize = 25;

/// Who has waited so long has waited for a word that had come already.
const WAITED_OUT: Duration = Duration::from_millis(900);

/// Of two replicas that hear of an event at once one applies it, and the other must not leave those waiting who asked it.
#[test]
fn a_service_charges_for_a_new_member_at_once_through_either_replica() {
    postgres::run(async |db: TestDb| {
        let world = World::on(db).await;
        let other = world.another_instance().await;
        let (team, _) = world.organization_with(1, "1000").await;
        let there = world.service_through(&other, ServiceRole::Product);
        let mut late = 0;
        for n in 0..MEMBERS as u64 {
            let member = bursar_testkit::id(500 + n);
            // Two words, so that whoever loses the first finds the other one ahead of it.
            world.announce(team, bursar_testkit::id(900 + n), Some(Role::Member), 1).await;
            world.announce(team, member, Some(Role::Member), 1).await;
            let charges = [world.product(), there.clone()].map(|product| async move {
                let begun = Instant::now();
                product.charge(spend(team, "1").by(member)).await.unwrap();
                begun.elapsed()
            });
            late += usize::from(at_once(charges).await.into_iter().any(|took| took >= WAITED_OUT));
        }
        // Whoever loses a race waits a second each time; a machine that is busy makes somebody late now and then.
        assert!(late < MEMBERS / 2, "for {late} of {MEMBERS} members somebody waited");
        world.audit(team).await;
    });
}

#[test]
fn one_request_id_on_two_instances_is_one_charge() {
    postgres::run(async |db: TestDb| {
        let world = World::on(db).await;
        let other = world.another_instance().await;
        for round in 0..5_u64 {
            // The account opens in the middle of the race.
            let here = world.person(10 + round);
            let there = world.through(&other, &here);
            let grants = [world.operator(), world.operator_through(&other)].map(|operator| {
                let request = crate::words::grant(here.owner, "10").under("g");
                async move { operator.granted(request).await }
            });
            let lots = at_once(grants).await;
            assert_eq!(lots[0], lots[1], "one lot");
            let answers = at_once((0..32).map(|n| {
                let person = if n % 2 == 0 { here.clone() } else { there.clone() };
                async move { person.charge(spend(person.owner, "3").under("r")).await.unwrap() }
            }))
            .await;
            assert!(answers.iter().all(|answer| answer.charge == answers[0].charge), "one charge");
            let last =
                at_once((0..16).map(|n| {
                    let person = if n % 2 == 0 { here.clone() } else { there.clone() };
                    async move {
                        person.charge(spend(person.owner, "2")).await.map_err(|status| Refusal::of(&status).reason)
                    }
                }))
                .await;
            assert_eq!(last.iter().filter(|it| it.is_ok()).count(), 3, "exactly what the last 7 credits pay");
            world.audit(here.owner).await;
        }
    });
}

#[test]
fn two_replicas_keep_one_limit() {
    postgres::run(async |db: TestDb| {
        let world = World::on(db).await;
        let other = world.another_instance().await;
        for round in 1..4_u64 {
            let here = world.person_with(round, "10000").await;
            let there = world.through(&other, &here);
            // Both remember the account from before there was a limit, and one of them sets it.
            here.charged(spend(here.owner, "1")).await;
            there.charged(spend(here.owner, "1")).await;
            let set = there.limited(limit(here.owner, &format!("member {}", here.user), Day, "2")).await;
            assert_eq!(set.used, "2");
            let reason = |outcome: Result<pb::ChargeResponse, Status>| Refusal::of(&outcome.unwrap_err()).reason;
            assert_eq!(reason(here.charge(spend(here.owner, "0.000001")).await), "LIMIT_REACHED");
            here.limited(limit(here.owner, &format!("member {}", here.user), Day, "42")).await;
            there.charged(spend(here.owner, "2")).await;
            let callers = (0..64).map(|n| if n % 2 == 0 { here.clone() } else { there.clone() }).collect();
            here.limited(limit(here.owner, &format!("member {}", here.user), Day, "44")).await;
            let before = world.operator().list_limits(limits_of(here.owner)).await.unwrap().limits[0].used.clone();
            assert_eq!(before, "4");
            race_from(&world, callers, 4_000_000, 44_000_000).await;
        }
    });
}
