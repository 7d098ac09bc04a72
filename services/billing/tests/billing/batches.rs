//! `BatchCharge`: each charge for itself, in order.

use std::time::{Duration, Instant};

use bursar_proto::billing::v1::BatchChargeOutcome;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_proto::google::rpc::ErrorInfo;
use bursar_testkit::{engines, id, refused};
use prost::Message;
use tonic::Code;

use crate::words::{Spending, Under, batch, spend};
use crate::world::World;

/// What became of one charge: its amount and what was left, or the code and reason.
pub(crate) fn line(outcome: &BatchChargeOutcome) -> String {
    let replayed = if outcome.replayed { " again" } else { "" };
    match outcome.outcome.as_ref().expect("an outcome") {
        Outcome::Charge(charge) => {
            format!("{} of {}, left {}{replayed}", charge.amount, charge.owner, outcome.balance_after)
        }
        Outcome::Status(status) => {
            let info = status.details.iter().find(|detail| detail.type_url.ends_with("ErrorInfo"));
            let info = ErrorInfo::decode(info.expect("an ErrorInfo").value.as_slice()).unwrap();
            assert_eq!((&*info.domain, &*outcome.balance_after), ("bursar", ""));
            format!("{:?} {}", Code::from_i32(status.code), info.reason)
        }
    }
}

engines! {
    async fn each_charge_has_its_own_outcome_in_order(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let ben = world.person_with(2, "3").await;
        let charges = [
            spend(team, "4").by(boss.user),
            spend(ben.owner, "2").by(ben.user),
            spend(team, "7").by(boss.user),
            spend(team, "1").by(id(99)),
            spend(team, "0").by(boss.user),
            spend(ben.owner, "1").by(boss.user),
            spend(team, "6").by(boss.user),
            spend(ben.owner, "1.5").by(ben.user),
        ];
        let outcomes = world.product().batch_charge(batch(charges)).await.unwrap().outcomes;
        let lines: Vec<_> = outcomes.iter().map(line).collect();
        let expected = [
            format!("4 of {team}, left 6"),
            format!("2 of {}, left 1", ben.owner),
            "FailedPrecondition INSUFFICIENT_CREDITS".to_owned(),
            "PermissionDenied NOT_A_MEMBER".to_owned(),
            "InvalidArgument INVALID_FIELDS".to_owned(),
            "PermissionDenied NOT_A_MEMBER".to_owned(),
            format!("6 of {team}, left 0"),
            "FailedPrecondition INSUFFICIENT_CREDITS".to_owned(),
        ];
        assert_eq!(lines, expected);
        world.audit(team).await;
        world.audit(ben.owner).await;
    }

    async fn the_second_of_two_equal_ids_replays_the_first(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let (one, two) = (spend(ana.owner, "4").under("r1"), spend(ana.owner, "2").under("r2"));
        let changed = spend(ana.owner, "1").under("r1");
        let outcomes = ana.batch_charge(batch([one.clone(), one.clone(), two.clone(), changed, one])).await.unwrap().outcomes;
        let owner = ana.owner;
        let lines: Vec<_> = outcomes.iter().map(line).collect();
        let expected = [
            format!("4 of {owner}, left 6"),
            format!("4 of {owner}, left 6 again"),
            format!("2 of {owner}, left 4"),
            "AlreadyExists REQUEST_ID_REUSED".to_owned(),
            format!("4 of {owner}, left 6 again"),
        ];
        assert_eq!(lines, expected);
        // A refused first one leaves the id to the second.
        let outcomes = ana.batch_charge(batch([spend(owner, "9").under("r3"), spend(owner, "1").under("r3")])).await.unwrap().outcomes;
        let lines: Vec<_> = outcomes.iter().map(line).collect();
        assert_eq!(lines, ["FailedPrecondition INSUFFICIENT_CREDITS".to_owned(), format!("1 of {owner}, left 3")]);
        assert_eq!(world.seq(owner).await, 4, "a grant and three charges");
        world.audit(owner).await;
    }

    async fn a_thousand_fit_and_one_more_does_not(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        let charges = |count: usize| batch((0..count).map(|n| spend(ana.owner, "1").under(&format!("r{n}"))));
        for count in [0, 1_001] {
            let answer = refused(ana.batch_charge(charges(count)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(answer.fields, ["charges"], "{count}");
        }
        assert_eq!(world.seq(ana.owner).await, 1, "nothing was written");
        let outcomes = ana.batch_charge(charges(1_000)).await.unwrap().outcomes;
        assert!(outcomes.iter().all(|it| matches!(it.outcome, Some(Outcome::Charge(_)))));
        assert_eq!(outcomes[999].balance_after, "0");
        let again = ana.batch_charge(charges(1_000)).await.unwrap().outcomes;
        let same = outcomes.iter().zip(&again).all(|(first, again)| first.outcome == again.outcome && again.replayed);
        assert!(same, "the whole batch again is the same answer");
        world.audit(ana.owner).await;
    }

    async fn a_user_batches_in_its_own_context_only(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let home = world.person_with(1, "5").await;
        let charges = [spend(team, "1"), spend(home.owner, "1"), spend(world.person(2).owner, "1")];
        let outcomes = boss.batch_charge(batch(charges)).await.unwrap().outcomes;
        let lines: Vec<_> = outcomes.iter().map(line).collect();
        let expected = [
            format!("1 of {team}, left 9"),
            "PermissionDenied WRONG_CONTEXT".to_owned(),
            "PermissionDenied NOT_A_MEMBER".to_owned(),
        ];
        assert_eq!(lines, expected);
        assert_eq!(world.available(home.owner).await, "5", "nothing falls back");
    }

    async fn many_unknown_members_are_waited_for_once(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let strangers = (0..200).map(|n| spend(team, "1").by(id(500 + n)));
        let charges = strangers.chain([spend(team, "1").by(boss.user)]);
        let begun = Instant::now();
        let outcomes = world.product().batch_charge(batch(charges)).await.unwrap().outcomes;
        assert!(begun.elapsed() < Duration::from_mins(1), "a second for the batch, not for each member");
        let strangers = outcomes[..200].iter().all(|it| line(it) == "PermissionDenied NOT_A_MEMBER");
        assert!(strangers, "{:?}", line(&outcomes[0]));
        assert_eq!(line(&outcomes[200]), format!("1 of {team}, left 9"));
    }
}
