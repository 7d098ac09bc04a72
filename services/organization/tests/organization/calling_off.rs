//! An owner who deletes an organization that waits for its plan.

use std::collections::BTreeSet;

use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::OrganizationState::{Active, Deleted, Pending};
use bursar_testkit::{Refusal, auditing, refused, rounds};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::founding::{create, create_soon, creating, jobs, listed, start};
use crate::races::{Checker, race};
use crate::world::{Who, World, delete, get, invite, owned, undelete, until};

const DENIED: Code = Code::PermissionDenied;
const FAILED: Code = Code::FailedPrecondition;

/// An organization that waits for its plan, which billing says nothing about for good.
async fn create_stuck(world: &World, who: &Who, request: proto::CreateOrganizationRequest) -> proto::Organization {
    world.billing.subscribes(who);
    world.billing.is_stuck(who, true);
    let pending = create_soon(who, request).await.expect("answered in time");
    assert_eq!(pending.state(), Pending);
    pending
}

/// Somebody deletes an organization under an id.
async fn delete_as(
    who: &Who,
    organization: &proto::Organization,
    request_id: &str,
) -> Result<proto::Organization, Status> {
    let request = proto::DeleteOrganizationRequest {
        organization_id: organization.id.clone(),
        confirm_slug: organization.slug.clone(),
        request_id: request_id.to_owned(),
    };
    let deleted = who.client.organizations().delete_organization(request).await?;
    Ok(deleted.into_inner().organization.expect("an organization"))
}

/// Demands that nothing is left of an organization, and that its creator's plan is where it was.
async fn never_was(world: &World, ada: &Who, pending: &proto::Organization) {
    refused(get(ada, &pending.id).await, DENIED, "NOT_A_MEMBER");
    assert_eq!((listed(ada).await.len(), world.events().await.len(), world.billing.moves().len()), (0, 0, 0));
}

bursar_testkit::engines! {
    async fn an_owner_deletes_what_waits_for_its_plan_and_it_never_was(db: TestDb) {
        let world = start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let pending = create_stuck(&world, &ada, creating("Acme", "r1")).await;
        assert_eq!(owned(&world, &ada, 1).await, 1, "she may not leave with it");
        let ada = world.who(1);
        world.billing.subscribes(&ben);
        refused(create(&ben, creating("Acme", "r1")).await, Code::AlreadyExists, "SLUG_TAKEN");
        let (gone, rows) = auditing(&world.store, delete_as(&ada, &pending, "d1")).await;
        let gone = gone.expect("deleted");
        assert_eq!((gone.state(), &gone.id, &gone.slug, gone.role()), (Deleted, &pending.id, &pending.slug, proto::Role::Owner));
        assert!(gone.purge_at.is_some(), "there is no grace");
        never_was(&world, &ada, &pending).await;
        let rows: Vec<_> = rows.iter().map(|row| (row.method.as_str(), row.target.as_deref(), row.outcome.as_str(), row.request_id.as_deref())).collect();
        assert_eq!(rows, [("bursar.organization.v1.OrganizationService/DeleteOrganization", Some(pending.id.as_str()), "DONE", Some("d1"))]);
        // Nothing is left to repeat it on, or to take it back.
        refused(delete_as(&ada, &pending, "d1").await, DENIED, "NOT_A_MEMBER");
        refused(undelete(&ada, &pending.id).await, DENIED, "NOT_A_MEMBER");
        // The slug is free, and the plan is hers; the job finds nothing to do.
        world.billing.is_stuck(&ada, false);
        assert_eq!(create(&ben, creating("Acme", "r1")).await.expect("the slug is free").slug, "acme");
        // A client that asks for it still has not heard of that, and makes nothing of it.
        for _ in 0..2 {
            refused(create(&ada, creating("Acme", "r1")).await, FAILED, "CREATION_CALLED_OFF");
        }
        assert_eq!((listed(&ada).await.len(), world.billing.moves().len()), (0, 1), "her plan stays where it is");
        let other = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Other", "r2") };
        let made = create(&ada, other).await.expect("the plan is there");
        assert_eq!(made.state(), Active);
        until("no job looks after any", async || {
            world.advance(Span::MINUTE);
            jobs(&world).await == 0
        })
        .await;
        assert!(get(&world.who(1), &pending.id).await.is_err(), "it stays away");
    }

    async fn whoever_called_a_creation_off_owns_nothing_and_may_leave(db: TestDb) {
        let world = World::start_with(db, |settings| {
            crate::founding::paid(settings);
            settings.organizations.max_created_per_day = 1;
        })
        .await;
        let ada = world.who(1);
        for _ in 0..2 {
            let pending = create_stuck(&world, &ada, creating("Acme", "")).await;
            delete(&ada, &pending).await.expect("deleted, and not counted");
            world.billing.is_stuck(&ada, false);
        }
        assert_eq!(owned(&world, &ada, 1).await, 0);
    }

    async fn calling_off_refuses_whom_and_what_it_must_and_changes_nothing(db: TestDb) {
        let world = start(db).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let pending = create_stuck(&world, &ada, creating("Acme", "r1")).await;
        refused(delete(&eve, &pending).await, DENIED, "NOT_A_MEMBER");
        let ago = world.clock.now().saturating_sub(Span::from_mins(11));
        let old = world.issuer.user(ada.user).authenticated_at(ago).at(world.clock.now());
        let old = Who { client: world.anybody.with_token(&old), ..ada.clone() };
        refused(delete(&old, &pending).await, FAILED, "REAUTHENTICATION_REQUIRED");
        let other = proto::Organization { slug: "umbra".to_owned(), ..pending.clone() };
        let bad = refused(delete(&ada, &other).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["confirm_slug"]);
        refused(delete_as(&ada, &pending, "\n").await, Code::InvalidArgument, "INVALID_FIELDS");
        // Whether it may be removed is billing's to say.
        world.billing.set_away(true);
        let away = refused(delete(&ada, &pending).await, Code::Unavailable, "PEER_UNAVAILABLE");
        assert!(away.retryable, "{away:?}");
        world.billing.set_away(false);
        world.billing.set_of_before(true);
        let before = refused(delete(&ada, &pending).await, Code::Unavailable, "PEER_UNAVAILABLE");
        assert!(before.retryable, "{before:?}");
        world.billing.set_of_before(false);
        assert_eq!(get(&ada, &pending.id).await.expect("as before"), pending);
        world.billing.is_stuck(&ada, false);
        assert_eq!(create(&ada, creating("Acme", "r1")).await.expect("finished").id, pending.id, "nothing was called off");
    }

    /// The plan has moved, and nobody has heard of it yet: it is no longer the creation that ends.
    async fn what_has_its_plan_by_then_is_active_and_deleted_as_any_other(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        world.billing.subscribes(&ada);
        world.billing.set_deaf(true);
        let pending = create_soon(&ada, creating("Acme", "r1")).await.expect("answered in time");
        assert_eq!((pending.state(), world.billing.moves().len()), (Pending, 1));
        world.billing.set_deaf(false);
        let (outcome, rows) = auditing(&world.store, delete_as(&ada, &pending, "d1")).await;
        refused(outcome, FAILED, "ORGANIZATION_FOUNDED");
        let rows: BTreeSet<_> = rows.iter().map(|row| (row.outcome.as_str(), row.reason.as_deref())).collect();
        let expected = [("DONE", None), ("REFUSED", Some("ORGANIZATION_FOUNDED"))];
        assert_eq!(rows, expected.into(), "the creation, and who would have ended it");
        let active = get(&ada, &pending.id).await.expect("hers");
        assert_eq!((active.state(), world.told_of(ada.user).await.len()), (Active, 1));
        invite(&ada, &pending.id, "eve@example.com", Role::Member).await.expect("it can be used");
        // Who asks for its end knows by now that it has a plan: that is another request.
        refused(delete_as(&ada, &active, "d1").await, FAILED, "ORGANIZATION_FOUNDED");
        assert_eq!(get(&ada, &pending.id).await.expect("hers").state(), Active);
        let deleted = delete_as(&ada, &active, "d2").await.expect("deleted");
        assert_eq!(deleted.state(), Deleted);
        assert_eq!(delete_as(&ada, &active, "d2").await.expect("replayed"), deleted);
        refused(delete_as(&ada, &active, "d1").await, FAILED, "ORGANIZATION_FOUNDED");
        assert_eq!(undelete(&ada, &pending.id).await.expect("within the grace").state(), Active);
        refused(delete_as(&ada, &active, "d1").await, FAILED, "ORGANIZATION_FOUNDED");
    }

    /// The call that would have called it off was cut off, and so was its answer; somebody else opens it meanwhile.
    async fn a_repetition_of_what_was_to_call_off_never_deletes_what_was_founded(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        for (n, by_job) in [(1, false), (2, true)] {
            let (request_id, word) = (format!("d{n}"), format!("r{n}"));
            let request = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Acme", &word) };
            world.billing.subscribes(&ada);
            world.billing.set_deaf(true);
            let pending = create_soon(&ada, request.clone()).await.expect("answered in time");
            refused(delete_as(&ada, &pending, &request_id).await, Code::Unavailable, "PEER_UNAVAILABLE");
            world.billing.set_deaf(false);
            if by_job {
                world.advance(Span::from_secs(11));
            } else {
                create(&ada, request).await.expect("opened");
            }
            let ada = world.who(1);
            until("it is opened", async || get(&ada, &pending.id).await.expect("hers").state() == Active).await;
            for _ in 0..2 {
                refused(delete_as(&ada, &pending, &request_id).await, FAILED, "ORGANIZATION_FOUNDED");
            }
            assert_eq!(get(&ada, &pending.id).await.expect("hers").state(), Active);
        }
    }

    /// Billing has heard it, and its answer was lost: who finishes it says who wanted that, once.
    async fn what_billing_has_called_off_unheard_is_removed_by_the_job_and_told_once(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let pending = create_stuck(&world, &ada, creating("Acme", "r1")).await;
        world.billing.set_deaf(true);
        refused(delete_as(&ada, &pending, "d1").await, Code::Unavailable, "PEER_UNAVAILABLE");
        world.billing.set_deaf(false);
        let ((), rows) = auditing(&world.store, async {
            until("it is removed", async || {
                world.advance(Span::from_secs(11));
                get(&world.who(1), &pending.id).await.is_err()
            })
            .await;
            until("no job looks after any", async || {
                world.advance(Span::MINUTE);
                jobs(&world).await == 0
            })
            .await;
        })
        .await;
        let rows: Vec<_> = rows.iter().map(|row| (row.method.as_str(), row.target.as_deref(), row.outcome.as_str(), row.request_id.as_deref())).collect();
        assert_eq!(rows, [("bursar.organization.v1.OrganizationService/DeleteOrganization", Some(pending.id.as_str()), "DONE", Some("d1"))]);
        let ada = world.who(1);
        never_was(&world, &ada, &pending).await;
        refused(create(&ada, creating("Acme", "r1")).await, FAILED, "CREATION_CALLED_OFF");
        assert!(world.billing.moves().is_empty(), "nothing moves by a repetition");
    }

    /// Who deletes it and repeats that, repetitions of the call that creates it, and the job. Each of the two requests has one answer.
    async fn of_calling_off_and_finishing_at_once_exactly_one_takes_effect(db: TestDb) {
        let world = start(db).await;
        let checker = Checker::of(&world).await;
        for round in 1..=rounds() {
            let ada = world.who(round);
            let request = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Acme", &format!("r{round}")) };
            let pending = create_stuck(&world, &ada, request.clone()).await;
            world.billing.is_stuck(&ada, false);
            world.advance(Span::from_secs(11));
            let outcomes = race(32, |n| {
                let (ada, pending, request) = (ada.clone(), pending.clone(), request.clone());
                async move { (n, if n % 16 == 0 { delete_as(&ada, &pending, "d1").await } else { create(&ada, request).await }) }
            })
            .await;
            let has_moved = world.billing.moves().iter().any(|(_, to)| *to == pending.id);
            let (deleted, made): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(n, _)| n % 16 == 0);
            for (_, made) in made {
                match made {
                    Ok(made) => assert!(has_moved && made.id == pending.id, "{made:?}"),
                    Err(status) => {
                        assert_eq!((Refusal::of(&status).reason.as_str(), has_moved), ("CREATION_CALLED_OFF", false), "{status:?}");
                    }
                }
            }
            let deleted: Vec<_> = deleted.into_iter().map(|(_, it)| it.map(|it| it.state()).map_err(|it| Refusal::of(&it).reason)).collect();
            let reasons: BTreeSet<_> = deleted.iter().filter_map(|it| it.as_ref().err().map(String::as_str)).collect();
            match get(&ada, &pending.id).await {
                // Opened before the deletion came, which is an ordinary one then; or before billing was asked to call it off.
                Ok(left) if has_moved => {
                    let expected = if deleted.iter().any(Result::is_ok) { Deleted } else { Active };
                    assert_eq!(left.state(), expected, "{deleted:?}");
                    let mut answers = deleted.iter().map(|it| it.as_ref().map_err(String::as_str));
                    let expected = if expected == Deleted { Ok(&Deleted) } else { Err("ORGANIZATION_FOUNDED") };
                    assert!(answers.all(|it| it == expected), "one answer to one request: {deleted:?}");
                    let again = delete_as(&ada, &pending, "d1").await.map(|it| it.state()).map_err(|it| Refusal::of(&it).reason);
                    assert_eq!(Some(&again), deleted.first(), "and the same to its repetition");
                }
                left => {
                    assert!(!has_moved, "{left:?}");
                    refused(left, DENIED, "NOT_A_MEMBER");
                    assert!(deleted.contains(&Ok(Deleted)), "{deleted:?}");
                    // A twin who came when nothing was left any more.
                    assert!(reasons.iter().all(|it| *it == "NOT_A_MEMBER"), "{reasons:?}");
                }
            }
        }
        checker.ends().await;
    }
}
