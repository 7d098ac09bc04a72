//! Many at once: what must happen exactly once does, and the books agree after every round.

use std::collections::BTreeSet;

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{Refusal, engines, rounds};
use bursar_time::Span;
use tonic::Status;

use crate::words::{Granting, Holding, Under, free, give_back, give_back_part, grant, reserve, settle, spend};
use crate::world::World;

/// Runs all of them at once and gives their outcomes in the order of their making.
pub(crate) async fn at_once<T, F>(racers: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let racers: Vec<_> = racers.into_iter().map(tokio::spawn).collect();
    let mut outcomes = Vec::with_capacity(racers.len());
    for racer in racers {
        outcomes.push(racer.await.unwrap());
    }
    outcomes
}

/// The reason of each refusal, and how many succeeded.
fn count<T>(outcomes: &[Result<T, Status>]) -> (usize, BTreeSet<String>) {
    let reasons = outcomes.iter().filter_map(|it| it.as_ref().err()).map(|status| Refusal::of(status).reason);
    (outcomes.iter().filter(|it| it.is_ok()).count(), reasons.collect())
}

engines! {
    async fn sixty_four_racers_on_one_request_id_make_one_charge(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        for round in 0..rounds() {
            let seq = world.seq(ana.owner).await;
            let id = format!("round-{round}");
            let answers = at_once((0..64).map(|_| {
                let (ana, request) = (ana.clone(), spend(ana.owner, "3").under(&id));
                async move { ana.charge(request).await.unwrap() }
            }))
            .await;
            assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1, "one of them made it");
            for answer in &answers {
                let (charge, balance) = (&answer.charge, &answer.balance_after);
                assert_eq!((charge, balance), (&answers[0].charge, &answers[0].balance_after), "64 equal answers");
            }
            assert_eq!(world.seq(ana.owner).await, seq + 1);
            world.audit(ana.owner).await;
        }
    }

    async fn of_racers_on_the_last_credits_exactly_as_many_as_fit_succeed(db: TestDb) {
        let world = World::on(db).await;
        for (round, (available, amount, fit)) in [("10", "3", 3), ("7.000001", "7", 1), ("20", "1", 20), ("0.5", "0.6", 0)].into_iter().enumerate() {
            let ana = world.person_with(10 + round as u64, available).await;
            let outcomes = at_once((0..32).map(|n| {
                let (ana, request) = (ana.clone(), spend(ana.owner, amount).under(&format!("r{n}")));
                async move { ana.charge(request).await }
            }))
            .await;
            let (succeeded, reasons) = count(&outcomes);
            assert_eq!(succeeded, fit, "of {available} credits at {amount} each");
            assert!(reasons.iter().eq(["INSUFFICIENT_CREDITS"]), "{reasons:?}");
            world.audit(ana.owner).await;
        }
    }

    async fn capture_release_and_deadline_have_one_winner(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let mut endings = BTreeSet::new();
        for round in 0..12 {
            let before = world.balance(ana.owner).await;
            let hold = ana.held(reserve(ana.owner, "5").lasting(Span::MINUTE)).await;
            let (capturing, releasing, clock) = (ana.clone(), ana.clone(), world.clock.clone());
            let (capture, release) = (settle(&hold, "4"), free(&hold));
            let captured = async move { capturing.capture(capture).await };
            let released = async move { releasing.release(release).await };
            let deadline = async move {
                // In one round of two there is none.
                if round % 2 == 0 {
                    clock.advance(Span::MINUTE).unwrap();
                }
            };
            // Who is first in line changes from round to round.
            let (captured, released, ()) = if round % 3 == 0 {
                let (released, captured, ()) = tokio::join!(tokio::spawn(released), tokio::spawn(captured), deadline);
                (captured.unwrap(), released.unwrap(), ())
            } else {
                let (captured, released, ()) = tokio::join!(tokio::spawn(captured), tokio::spawn(released), deadline);
                (captured.unwrap(), released.unwrap(), ())
            };
            let state = ana.hold_now(&hold).await.state();
            let after = world.balance(ana.owner).await;
            let spent = match state {
                pb::HoldState::Captured => 4,
                pb::HoldState::Released | pb::HoldState::Lapsed => 0,
                other => panic!("{other:?} is no ending"),
            };
            assert_eq!(captured.is_ok(), state == pb::HoldState::Captured, "{captured:?}");
            assert_eq!(released.is_ok(), state != pb::HoldState::Captured, "{released:?}");
            let number = |text: &str| text.parse::<i64>().unwrap();
            assert_eq!(number(&after.available), number(&before.available) - spent);
            assert_eq!(after.held, "0");
            endings.insert(format!("{state:?}"));
            world.audit(ana.owner).await;
        }
        assert!(endings.len() > 1, "the rounds must not all end alike: {endings:?}");
    }

    async fn concurrent_refunds_never_exceed_the_charge(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        for round in 0..4 {
            let charge = ana.charged(spend(ana.owner, "10")).await;
            let outcomes = at_once((0..24).map(|n| {
                let (product, charge) = (world.product(), charge.clone());
                // Some want all that is left, most a part.
                let request = if n % 8 == 7 { give_back(&charge) } else { give_back_part(&charge, "3") };
                let request = request.under(&format!("{round}-{n}"));
                async move { product.refund(request).await }
            }))
            .await;
            let (succeeded, reasons) = count(&outcomes);
            assert!(succeeded >= 1 && reasons.iter().eq(["REFUND_ABOVE_CHARGE"]), "{succeeded} {reasons:?}");
            let refunded = ana.charge_now(&charge).await.refunded;
            assert!(["9", "10"].contains(&refunded.as_str()), "{refunded}");
            world.audit(ana.owner).await;
            world.product().refund(give_back(&charge)).await.ok();
            assert_eq!(ana.charge_now(&charge).await.refunded, "10");
            assert_eq!(world.available(ana.owner).await, "100");
        }
    }

    async fn at_the_instant_of_expiry_a_charge_is_before_or_after(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        for round in 0..6 {
            let lot = world.operator().granted(grant(ana.owner, "20").expiring(world.in_(Span::MINUTE))).await;
            world.passes(Span::from_secs(59));
            let racers = (0..16).map(|n| {
                let (ana, clock) = (ana.clone(), world.clock.clone());
                async move {
                    if n == 8 {
                        clock.advance(Span::SECOND).unwrap();
                    }
                    ana.charge(spend(ana.owner, "1")).await
                }
            });
            let (succeeded, reasons) = count(&at_once(racers).await);
            assert!(reasons.iter().all(|reason| reason == "INSUFFICIENT_CREDITS"), "{reasons:?}");
            assert_eq!(world.available(ana.owner).await, "0", "round {round}");
            // Booked by whoever comes next.
            ana.charge(spend(ana.owner, "1")).await.unwrap_err();
            crate::world::until("the expiry is booked", async || {
                let lots = ana.list_lots(crate::words::lots_of(ana.owner)).await.unwrap().lots;
                lots[0].remaining == "0"
            })
            .await;
            let lots = ana.list_lots(crate::words::lots_of(ana.owner)).await.unwrap().lots;
            assert_eq!(lots[0].id, lot.id);
            assert_eq!((&lots[0].spent, &lots[0].expired), (&succeeded.to_string(), &(20 - succeeded).to_string()));
            world.audit(ana.owner).await;
        }
    }

    async fn everything_at_once_stays_exact(db: TestDb) {
        let world = World::on(db).await;
        let people = [world.person_with(1, "50").await, world.person_with(2, "50").await, world.person_with(3, "50").await];
        for round in 0..4_usize {
            let racers = (0..48_usize).map(|n| {
                let (person, operator) = (people[n % 3].clone(), world.operator());
                let id = format!("{round}-{n}");
                async move {
                    let owner = person.owner;
                    match (n / 3) % 4 {
                        0 => drop(person.charge(spend(owner, "2.5").under(&id)).await),
                        1 => {
                            if let Ok(hold) = person.hold(reserve(owner, "3").under(&id)).await {
                                let hold = hold.hold.unwrap();
                                let (captured, _) = tokio::join!(person.capture(settle(&hold, "1")), person.release(free(&hold)));
                                drop(captured);
                            }
                        }
                        2 => {
                            if let Ok(charge) = person.charge(spend(owner, "4").under(&id)).await {
                                operator.refund(give_back(&charge.charge.unwrap())).await.unwrap();
                            }
                        }
                        _ => drop(operator.granted(grant(owner, "1").under(&id)).await),
                    }
                }
            });
            at_once(racers).await;
            for person in &people {
                world.audit(person.owner).await;
            }
        }
    }
}
