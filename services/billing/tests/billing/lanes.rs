//! The queue in front of the ledger: full, deserted, poisoned.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bursar_db::Engine;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_testkit::{Refusal, engines, refused};
use tokio::task::JoinSet;
use tonic::Code;

use crate::races::at_once;
use crate::words::{Spending, Under, batch, spend};
use crate::world::World;

/// Polls a call so many times and then drops it, as a caller does who hangs up.
pub(crate) async fn hang_up_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = polled {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Fills one owner's share, which is eight of sixteen places, behind an account that is locked.
async fn full(world: World) {
    let (ana, ben) = (world.person_with(1, "100").await, world.person_with(2, "100").await);
    let in_the_way = world.block(ana.owner).await;
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let (ana, request) = (ana.clone(), spend(ana.owner, "1").under(&format!("r{n}")));
        calls.spawn(async move { ana.charge(request).await });
    }
    for _ in 0..12 {
        let outcome = calls.join_next().await.unwrap().unwrap();
        let full = refused(outcome, Code::ResourceExhausted, "OVERLOADED");
        assert!(full.retryable, "with RetryInfo: {full:?}");
    }
    let many = ana.batch_charge(batch((0..9).map(|_| spend(ana.owner, "1")))).await;
    assert!(refused(many, Code::ResourceExhausted, "OVERLOADED").retryable);
    // For somebody else there is room, and on PostgreSQL, where an account is locked alone, time as well.
    let his = ben.batch_charge(batch((0..4).map(|_| spend(ben.owner, "1"))));
    let mut his = pin!(his);
    if world.engine() == Engine::Postgres {
        assert_eq!(his.as_mut().await.unwrap().outcomes.len(), 4);
        in_the_way.rollback().await.unwrap();
    } else {
        let told = poll_fn(|context| Poll::Ready(his.as_mut().poll(context))).await;
        assert!(told.is_pending(), "{told:?}");
        in_the_way.rollback().await.unwrap();
        assert_eq!(his.await.unwrap().outcomes.len(), 4);
    }
    for _ in 0..8 {
        calls.join_next().await.unwrap().unwrap().expect("those that waited are carried out");
    }
    assert_eq!((&*world.available(ana.owner).await, &*world.available(ben.owner).await), ("92", "96"));
    ana.charged(spend(ana.owner, "1")).await;
    world.audit(ana.owner).await;
}

engines! {
    async fn a_full_queue_says_so_and_loses_nothing(db: TestDb) {
        full(World::with(db, |settings| settings.billing.queue_max = 16).await).await;
    }

    async fn a_batch_that_many_lanes_have_no_room_for_is_turned_away_whole(db: TestDb) {
        full(World::with(db, |settings| (settings.billing.queue_max, settings.billing.lanes) = (16, 4)).await).await;
    }

    async fn hanging_up_neither_loses_nor_doubles_a_charge(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        ana.charged(spend(ana.owner, "1")).await;
        let (mut hung_up, mut carried_out) = (0, 0);
        for polls in 0..40_usize {
            let request = || spend(ana.owner, "1").under(&format!("r{polls}"));
            // Not 40 times as long a wait as it seems: most calls need few polls.
            if hang_up_after(polls % 8, ana.charge(request())).await.is_none() {
                hung_up += 1;
                carried_out += usize::from(ana.charge(request()).await.unwrap().replayed);
            }
        }
        assert_eq!(world.available(ana.owner).await, "59", "one for each id");
        assert!(hung_up > 0 && carried_out > 0, "of {hung_up} deserted calls {carried_out} were carried out");
        world.audit(ana.owner).await;
    }

    async fn a_deserted_queue_is_still_worked_off(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        ana.charged(spend(ana.owner, "1")).await;
        let in_the_way = world.block(ana.owner).await;
        for n in 0..10 {
            let request = spend(ana.owner, "1").under(&format!("r{n}"));
            assert!(hang_up_after(3, ana.charge(request)).await.is_none(), "nothing can be answered yet");
        }
        in_the_way.rollback().await.unwrap();
        let again = at_once((0..10).map(|n| {
            let (ana, request) = (ana.clone(), spend(ana.owner, "1").under(&format!("r{n}")));
            async move { ana.charge(request).await.unwrap().replayed }
        }))
        .await;
        assert!(again.iter().all(|replayed| *replayed), "each was carried out for nobody: {again:?}");
        assert_eq!(world.available(ana.owner).await, "89");
        world.audit(ana.owner).await;
    }

    async fn a_poisonous_request_fails_alone(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person_with(1, "100").await, world.person_with(2, "100").await);
        // Something that the database refuses and no validation sees.
        let poison = match world.engine() {
            Engine::Postgres => "ALTER TABLE usage_hours ADD CONSTRAINT poison CHECK (project <> 'poison')",
            Engine::Sqlite => "CREATE TRIGGER poison BEFORE INSERT ON usage_hours WHEN NEW.project = 'poison'
                BEGIN SELECT RAISE(ABORT, 'poison'); END",
        };
        world.by_hand(poison).await.unwrap();
        let charges = (0..9).map(|n| {
            let charge = spend(ana.owner, "1").under(&format!("r{n}"));
            if n % 4 == 2 { charge.for_project("poison") } else { charge }
        });
        let outcomes = ana.batch_charge(batch(charges.clone())).await.unwrap().outcomes;
        for (n, outcome) in outcomes.iter().enumerate() {
            match outcome.outcome.as_ref().unwrap() {
                Outcome::Charge(_) => assert_ne!(n % 4, 2, "{n}"),
                Outcome::Status(status) => assert_eq!((n % 4, Code::from_i32(status.code)), (2, Code::Internal), "{n}"),
            }
        }
        assert_eq!(world.available(ana.owner).await, "93");

        // Callers who know nothing of one another share a batch with it, too.
        let in_the_way = world.block(ana.owner).await;
        let mut calls = JoinSet::new();
        for n in 0..24 {
            let person = if n % 2 == 0 { &ana } else { &ben };
            let request = spend(person.owner, "1").under(&format!("s{n}"));
            let request = if n % 6 == 5 { request.for_project("poison") } else { request };
            let person = person.clone();
            calls.spawn(async move { (n, person.charge(request).await) });
        }
        tokio::task::yield_now().await;
        in_the_way.rollback().await.unwrap();
        while let Some(call) = calls.join_next().await {
            let (n, outcome) = call.unwrap();
            if n % 6 == 5 {
                let status = outcome.unwrap_err();
                let failed = Refusal::of(&status);
                assert_eq!((failed.code, &*failed.reason), (Code::Internal, "INTERNAL"), "{n}");
                assert!(!failed.message.contains("poison"), "nothing of the database gets out: {failed:?}");
            } else {
                outcome.unwrap_or_else(|status| panic!("{n} must not suffer: {status:?}"));
            }
        }
        assert_eq!((&*world.available(ana.owner).await, &*world.available(ben.owner).await), ("81", "92"));
        for owner in [ana.owner, ben.owner] {
            world.audit(owner).await;
        }
    }
}
