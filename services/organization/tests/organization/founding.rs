//! Creating an organization where that takes a paid plan: the saga, what a crash or a billing that is away makes of it, and
//! what nobody may do meanwhile.

use std::time::Duration;

use bursar_db::{DbError, on};
use bursar_id::{OrganizationId, Role};
use bursar_members::OrganizationCreation;
use bursar_organization::usecase::founding::FOUNDING;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, SnapshotRequest};
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::OrganizationState;
use bursar_rpc::ServiceRole;
use bursar_runtime::Settings;
use bursar_testkit::{Asking, Refusal, TestDb, audited, refused, rounds};
use bursar_time::Span;
use tonic::{Code, Request, Status};

use crate::races::{Checker, TASKS, race, winners};
use crate::vanishing::Host;
use crate::world::{Who, World, get, invite, leave, owned, transfer, until};

pub(crate) fn paid(settings: &mut Settings) {
    settings.policies.organization_creation = OrganizationCreation::PaidPlan;
}

pub(crate) async fn start(db: TestDb) -> World {
    World::start_with(db, paid).await
}

pub(crate) fn creating(name: &str, request_id: &str) -> proto::CreateOrganizationRequest {
    let (name, request_id) = (name.to_owned(), request_id.to_owned());
    proto::CreateOrganizationRequest { name, slug: "acme".to_owned(), request_id }
}

pub(crate) async fn create(
    who: &Who,
    request: proto::CreateOrganizationRequest,
) -> Result<proto::Organization, Status> {
    Ok(who.client.organizations().create_organization(request).await?.into_inner().organization.expect("one"))
}

/// The same by a caller who does not wait long.
pub(crate) async fn create_soon(
    who: &Who,
    request: proto::CreateOrganizationRequest,
) -> Result<proto::Organization, Status> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_millis(1_500));
    Ok(who.client.organizations().create_organization(request).await?.into_inner().organization.expect("one"))
}

pub(crate) async fn listed(who: &Who) -> Vec<String> {
    let listed = who.client.organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
    listed.expect("listed").into_inner().organizations.into_iter().map(|it| it.id).collect()
}

/// The payloads of a snapshot about an organization.
async fn snapshot_of(world: &World, organization: &str) -> Vec<Event> {
    let mut events = world.service(ServiceRole::Billing).organization_events();
    let mut stream = events.snapshot(SnapshotRequest::default()).await.expect("a snapshot").into_inner();
    let mut found = Vec::new();
    while let Some(message) = stream.message().await.expect("an answer") {
        found.extend(message.events.into_iter().filter(|event| event.owner == organization));
    }
    found
}

/// How many organizations a job looks after.
pub(crate) async fn jobs(world: &World) -> i64 {
    let counted: Result<(i64,), DbError> = async {
        let mut tx = world.store.read().await?;
        let count = "SELECT COUNT(*) FROM jobs WHERE kind = $1";
        Ok(on!(&mut tx, c => sqlx::query_as(count).bind(FOUNDING.name()).fetch_one(c).await?))
    }
    .await;
    counted.expect("counted").0
}

/// Demands that one creation was told, in the first person's session, and one membership of hers.
async fn told_once(world: &World, ada: &Who) {
    let created = world.events().await.into_iter().filter_map(|it| match it {
        Payload::OrganizationCreated(created) => Some(created.created_by_session_id),
        _ => None,
    });
    assert_eq!(created.collect::<Vec<_>>(), [crate::world::session(1).to_string()]);
    assert_eq!(world.told_of(ada.user).await.len(), 1);
}

fn state(organization: &proto::Organization) -> OrganizationState {
    organization.state()
}

/// Where billing refuses for good, for this reason: neither the call nor the job leaves anything.
async fn nothing_is_left(db: TestDb, code: Code, reason: &'static str) -> Refusal {
    let world = start(db).await;
    let (ada, cem) = (world.who(1), world.who(3));
    for who in [&ada, &cem] {
        world.billing.subscribes(who);
        world.billing.holds(who, reason);
    }
    let told = refused(create(&ada, creating("Acme", "r1")).await, code, reason);
    assert_eq!(world.events().await, [], "nobody has heard of it");
    assert_eq!((listed(&ada).await.len(), owned(&world, &ada, 1).await), (0, 0), "she may leave");
    world.billing.set_away(true);
    let pending = create_soon(&cem, creating("Acme", "r1")).await.expect("the slug is free");
    assert_eq!(state(&pending), OrganizationState::Pending);
    world.billing.set_away(false);
    let removed = async || {
        world.advance(Span::MINUTE);
        get(&world.who(3), &pending.id).await.is_err()
    };
    until("it is removed", removed).await;
    until("no job looks after any", async || {
        world.advance(Span::MINUTE);
        jobs(&world).await == 0
    })
    .await;
    // Another one takes the slug; and once the plan is resumed it moves, under the same id.
    let ben = world.who(2);
    world.billing.subscribes(&ben);
    assert_eq!(create(&ben, creating("Acme", "r1")).await.expect("created").slug, "acme");
    let cem = world.who(3);
    world.billing.resumes(&cem);
    let other = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Other", "r1") };
    let made = create(&cem, other).await.expect("created");
    assert_eq!(state(&made), OrganizationState::Active);
    assert_ne!(made.id, pending.id);
    let moved: Vec<_> = world.billing.moves().into_iter().map(|(from, _)| from).collect();
    assert_eq!(moved, [ben.user.to_string(), cem.user.to_string()]);
    told
}

bursar_testkit::engines! {
    async fn a_plan_moves_and_the_organization_is_active(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        world.billing.subscribes(&ada);
        let made = create(&ada, creating("Acme", "r1")).await.expect("created");
        assert_eq!((state(&made), made.slug.as_str(), made.role()), (OrganizationState::Active, "acme", proto::Role::Owner));
        assert_eq!(world.billing.moves(), [(ada.user.to_string(), made.id.clone())]);
        assert_eq!(create(&ada, creating("Acme", "r1")).await.expect("replayed"), made);
        refused(create(&ada, creating("Other", "r1")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(get(&ada, &made.id).await.expect("hers"), made);
        assert_eq!(listed(&ada).await.join(","), made.id);
        told_once(&world, &ada).await;
        let rows = audited(&world.store).await;
        let rows: Vec<_> = rows.iter().map(|row| (row.method.as_str(), row.target.as_deref(), row.outcome.as_str(), row.request_id.as_deref())).collect();
        assert_eq!(rows, [("bursar.organization.v1.OrganizationService/CreateOrganization", Some(made.id.as_str()), "DONE", Some("r1"))]);
        // The job finds nothing to do.
        assert_eq!(jobs(&world).await, 1, "it looks after it later");
        world.advance(Span::MINUTE);
        until("the job is done", async || jobs(&world).await == 0).await;
        invite(&ada, &made.id, "ben@example.com", Role::Member).await.expect("it can be used");
        assert_eq!(world.billing.moves().len(), 1);
        told_once(&world, &ada).await;
    }

    async fn without_a_plan_nothing_is_left_of_it(db: TestDb) {
        let world = start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let before = audited(&world.store).await.len();
        refused(create(&ada, creating("Acme", "r1")).await, Code::FailedPrecondition, "PLAN_REQUIRED");
        assert_eq!(world.events().await, [], "nobody has heard of it");
        assert_eq!((listed(&ada).await.len(), owned(&world, &ada, 1).await), (0, 0));
        assert_eq!(audited(&world.store).await.len(), before + 1, "the departure's row alone");
        // The slug is free, and so is the request id, for another body too.
        world.billing.subscribes(&ben);
        let his = create(&ben, creating("Acme", "r1")).await.expect("created");
        assert_eq!((state(&his), his.slug.as_str()), (OrganizationState::Active, "acme"));
        let cem = world.who(3);
        refused(create(&cem, proto::CreateOrganizationRequest { slug: String::new(), ..creating("Acme", "r1") }).await, Code::FailedPrecondition, "PLAN_REQUIRED");
        world.billing.subscribes(&cem);
        let other = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Another", "r1") };
        assert_eq!(state(&create(&cem, other).await.expect("created")), OrganizationState::Active);
        // Nothing moves where nothing is any more.
        let moved: Vec<_> = world.billing.moves().into_iter().map(|(from, _)| from).collect();
        assert_eq!(moved, [ben.user.to_string(), cem.user.to_string()]);
    }

    /// Its creator's plan goes on by an operator's word alone, and nothing waits for that: neither in the call nor in the job.
    async fn where_the_plan_waits_for_an_operator_nothing_is_left_of_it(db: TestDb) {
        Box::pin(nothing_is_left(db, Code::FailedPrecondition, "RENEWAL_HELD")).await;
    }

    /// The next month of its creator's plan could not be begun, and nobody knows when it will be.
    async fn where_the_plan_waits_for_its_payment_nothing_is_left_of_it(db: TestDb) {
        Box::pin(nothing_is_left(db, Code::FailedPrecondition, "SUBSCRIPTION_PAST_DUE")).await;
    }

    /// Nobody can make room in the account of what nobody can use; the next one has an account of its own.
    async fn where_its_account_has_no_room_nothing_is_left_of_it(db: TestDb) {
        let told = Box::pin(nothing_is_left(db, Code::ResourceExhausted, "TOO_MANY_LOTS")).await;
        assert_eq!(told.metadata.get("limit").map(String::as_str), Some("1000"));
    }

    async fn where_it_would_have_too_many_credits_nothing_is_left_of_it(db: TestDb) {
        Box::pin(nothing_is_left(db, Code::FailedPrecondition, "BALANCE_TOO_LARGE")).await;
    }

    /// Operators have subscribed it by hand: neither the call nor the job waits for the end of that, and neither takes more.
    async fn what_has_a_plan_of_its_own_is_active_with_it_and_its_creators_stays(db: TestDb) {
        let world = start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        for who in [&ada, &ben] {
            world.billing.subscribes(who);
            world.billing.holds(who, "ALREADY_SUBSCRIBED");
        }
        let made = create(&ada, creating("Acme", "r1")).await.expect("created");
        assert_eq!((state(&made), made.slug.as_str(), made.role()), (OrganizationState::Active, "acme", proto::Role::Owner));
        assert_eq!(create(&ada, creating("Acme", "r1")).await.expect("replayed"), made);
        told_once(&world, &ada).await;
        invite(&ada, &made.id, "eve@example.com", Role::Member).await.expect("it can be used");
        world.billing.set_away(true);
        let other = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Other", "r1") };
        let pending = create_soon(&ben, other).await.expect("answered in time");
        assert_eq!(state(&pending), OrganizationState::Pending);
        world.billing.set_away(false);
        until("it is active", async || {
            world.advance(Span::MINUTE);
            get(&world.who(2), &pending.id).await.expect("his").state() == OrganizationState::Active
        })
        .await;
        until("no job looks after any", async || {
            world.advance(Span::MINUTE);
            jobs(&world).await == 0
        })
        .await;
        assert_eq!(world.told_of(ben.user).await.len(), 1, "told once");
        assert!(world.billing.moves().is_empty(), "their own plans stay where they are");
        // So each may be taken along by the next organization.
        let ben = world.who(2);
        world.billing.resumes(&ben);
        let next = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Next", "r2") };
        let next = create(&ben, next).await.expect("created");
        assert_eq!(world.billing.moves(), [(ben.user.to_string(), next.id)]);
    }

    async fn a_creation_that_came_to_nothing_is_not_counted(db: TestDb) {
        let world = World::start_with(db, |settings| {
            paid(settings);
            settings.organizations.max_created_per_day = 2;
        }).await;
        let ada = world.who(1);
        let request = || proto::CreateOrganizationRequest { slug: String::new(), ..creating("Acme", "") };
        for made in 0..2 {
            for _ in 0..3 {
                refused(create(&ada, request()).await, Code::FailedPrecondition, "PLAN_REQUIRED");
            }
            world.billing.subscribes(&ada);
            let organization = create(&ada, request()).await.expect("created");
            assert_eq!(state(&organization), OrganizationState::Active, "after {made}");
        }
        // Those that came to something are; and of attempts there are ten times as many.
        refused(create(&ada, request()).await, Code::ResourceExhausted, "TOO_MANY_ORGANIZATIONS");
        let ben = world.who(2);
        for _ in 0..20 {
            refused(create(&ben, request()).await, Code::FailedPrecondition, "PLAN_REQUIRED");
        }
        refused(create(&ben, request()).await, Code::ResourceExhausted, "TOO_MANY_ORGANIZATIONS");
    }

    async fn while_billing_is_away_it_is_pending_and_nobody_can_use_it(db: TestDb) {
        let world = start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        world.billing.subscribes(&ada);
        world.billing.set_away(true);
        let pending = create_soon(&ada, creating("Acme", "r1")).await.expect("answered in time");
        assert_eq!(state(&pending), OrganizationState::Pending);
        let id = pending.id.as_str();
        assert_eq!(create_soon(&ada, creating("Acme", "r1")).await.expect("replayed"), pending);
        assert_eq!(get(&ada, id).await.expect("she sees it"), pending);
        refused(get(&ben, id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        // As if it were not there.
        let acting = world.acting(&ada, id);
        let denied = Code::PermissionDenied;
        assert_eq!(listed(&ada).await, Vec::<String>::new());
        refused(invite(&ada, id, "eve@example.com", Role::Member).await, denied, "NOT_A_MEMBER");
        refused(leave(&ada, id).await, denied, "NOT_A_MEMBER");
        refused(transfer(&ada, id, ben.user).await, denied, "NOT_A_MEMBER");
        let rename = proto::UpdateOrganizationRequest { organization_id: id.to_owned(), name: "B".to_owned(), ..Default::default() };
        refused(ada.client.organizations().update_organization(rename).await, denied, "NOT_A_MEMBER");
        let list = proto::ListMembersRequest { organization_id: id.to_owned(), ..Default::default() };
        refused(ada.client.members().list_members(list).await, denied, "NOT_A_MEMBER");
        let policy = proto::GetPolicyRequest { organization_id: id.to_owned() };
        refused(ada.client.organizations().get_policy(policy).await, denied, "NOT_A_MEMBER");
        let project = proto::CreateProjectRequest { owner: id.to_owned(), name: "P".to_owned(), ..Default::default() };
        refused(acting.client.projects().create_project(project).await, denied, "NOT_A_MEMBER");
        refused(crate::library::create(&acting.client, crate::library::item(id, "agent", "A")).await, denied, "NOT_A_MEMBER");
        let audit = proto::ListAuditEventsRequest { organization_id: id.to_owned(), ..Default::default() };
        refused(ada.client.audit().list_audit_events(audit).await, denied, "NOT_A_MEMBER");
        let export = proto::ExportOrganizationRequest { organization_id: id.to_owned(), ..Default::default() };
        refused(ada.client.organizations().export_organization(export).await.map(drop), denied, "NOT_A_MEMBER");
        let access = proto::CheckAccessRequest { organization_id: id.to_owned(), user_id: ada.user.to_string() };
        let access = world.service(ServiceRole::Product).members().check_access(access).await.expect("asked").into_inner();
        assert!(!access.member);
        // Its slug is taken, it counts as owned, and nobody is told of it.
        world.billing.subscribes(&ben);
        refused(create_soon(&ben, creating("Acme", "")).await, Code::AlreadyExists, "SLUG_TAKEN");
        assert_eq!(owned(&world, &ada, 1).await, 1);
        assert_eq!((world.events().await.len(), snapshot_of(&world, id).await.len()), (0, 0));
        // Billing comes back, and the job finishes it.
        world.billing.set_away(false);
        let active = async || {
            world.advance(Span::MINUTE);
            get(&world.who(1), id).await.expect("hers").state() == OrganizationState::Active
        };
        until("it is active", active).await;
        let ada = world.who(1);
        let replayed = create(&ada, creating("Acme", "r1")).await.expect("replayed");
        assert_eq!(replayed, proto::Organization { state: OrganizationState::Active.into(), ..pending.clone() });
        assert_eq!(world.billing.moves(), [(ada.user.to_string(), id.to_owned())]);
        assert_eq!(world.told_of(ada.user).await.len(), 1);
        assert_eq!(snapshot_of(&world, id).await.len(), 2, "the organization and its owner");
        invite(&ada, id, "eve@example.com", Role::Member).await.expect("it can be used");
    }

    async fn a_refusal_that_the_job_hears_frees_slug_and_request_id(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        world.billing.set_away(true);
        let pending = create_soon(&ada, creating("Acme", "r1")).await.expect("pending");
        world.billing.set_away(false);
        let removed = async || {
            world.advance(Span::MINUTE);
            get(&world.who(1), &pending.id).await.is_err()
        };
        until("it is removed", removed).await;
        let ada = world.who(1);
        refused(get(&ada, &pending.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        world.billing.subscribes(&ada);
        let made = create(&ada, creating("Other", "r1")).await.expect("both are free");
        assert_eq!((state(&made), made.slug.as_str()), (OrganizationState::Active, "acme"));
        assert_ne!(made.id, pending.id);
    }

    /// Killed between any two steps, the call is one that was cut off: what it had done stands, and what it had not is done by
    /// whoever comes next.
    async fn what_is_cut_off_is_finished_by_who_comes_next(db: TestDb) {
        let world = start(db).await;
        for (n, lost) in [(1, false), (2, true)] {
            let who = world.who(n);
            world.billing.subscribes(&who);
            // Before billing was asked; or after the plan has moved, and before that was known.
            if lost { world.billing.set_deaf(true) } else { world.billing.set_away(true) }
            let request = proto::CreateOrganizationRequest { slug: String::new(), ..creating("Acme", "r1") };
            let pending = create_soon(&who, request.clone()).await.expect("pending");
            assert_eq!(state(&pending), OrganizationState::Pending);
            world.billing.set_away(false);
            world.billing.set_deaf(false);
            // The repetition finishes it at once.
            let made = create(&who, request).await.expect("finished");
            assert_eq!((state(&made), &made.id), (OrganizationState::Active, &pending.id));
            let of_hers = world.billing.moves().into_iter().filter(|(from, _)| *from == who.user.to_string());
            assert_eq!(of_hers.count(), 1, "one plan moved once");
            assert_eq!(world.told_of(who.user).await.len(), 1, "told once");
        }
    }

    async fn of_two_creations_at_once_from_one_plan_exactly_one_succeeds(db: TestDb) {
        let world = start(db).await;
        let checker = Checker::of(&world).await;
        for round in 1..=rounds() {
            let ada = world.who(round);
            world.billing.subscribes(&ada);
            let outcomes = race(TASKS, |n| {
                let (ada, request) = (ada.clone(), proto::CreateOrganizationRequest { slug: String::new(), ..creating("Acme", &format!("r{}", n / 2)) });
                async move { create(&ada, request).await }
            }).await;
            let made = winners(outcomes, Code::FailedPrecondition, "PLAN_REQUIRED");
            // It and perhaps its twin.
            assert!(!made.is_empty() && made.iter().all(|it| it.id == made[0].id), "{made:?}");
            assert!(made.iter().all(|it| state(it) == OrganizationState::Active));
            assert_eq!(listed(&ada).await.join(","), made[0].id);
            assert_eq!(owned(&world, &ada, 1).await, 1);
            assert_eq!(world.billing.moves().len(), usize::try_from(round).expect("few"));
        }
        checker.ends().await;
    }
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_paid_creation_loses_and_doubles_nothing() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let host = Host::start(db, Duration::from_secs(3), paid).await;
        let create = async |asking: Asking<'_>| {
            let n = asking.request_id.bytes().fold(asking.person, |hash, byte| hash * 31 % 1_000_003 + u64::from(byte));
            let who = host.who(&asking, n);
            host.world.billing.subscribes_once(&who);
            let request = proto::CreateOrganizationRequest {
                name: "Acme".to_owned(),
                request_id: asking.request_id.to_owned(),
                ..Default::default()
            };
            let made = create(&who, request).await?;
            // Still pending is no answer yet.
            if made.state() == OrganizationState::Pending {
                return Err(Status::unavailable("pending"));
            }
            made.id.parse::<OrganizationId>().map(|id| id.to_string()).map_err(|_| Status::internal("no id"))
        };
        host.at_every_step(create).await;
        let moves = host.world.billing.moves();
        let people: std::collections::BTreeSet<_> = moves.iter().map(|(from, _)| from).collect();
        assert_eq!(people.len(), moves.len(), "one plan of each moved once");
    });
}
