//! `GetPolicy` and `UpdatePolicy`, what is told of them, and the snapshot that tells it again.

use bursar_id::Role;
use bursar_members::{AdminBilling, OwnPolicy, Policy, Spending};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{Event, SnapshotRequest, WatchRequest};
use bursar_proto::event_type;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::refused;
use bursar_time::Span;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::purging::{due, purge_of};
use crate::world::{Who, World, delete, transfer};

async fn get(who: &Who, organization: &str) -> Result<proto::GetPolicyResponse, Status> {
    let request = proto::GetPolicyRequest { organization_id: organization.to_owned() };
    Ok(who.client.organizations().get_policy(request).await?.into_inner())
}

async fn update(who: &Who, request: proto::UpdatePolicyRequest) -> Result<proto::UpdatePolicyResponse, Status> {
    Ok(who.client.organizations().update_policy(request).await?.into_inner())
}

/// Sets `policy` in the fields of the mask.
fn setting(organization: &str, policy: proto::Policy, paths: &[&str]) -> proto::UpdatePolicyRequest {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    proto::UpdatePolicyRequest {
        organization_id: organization.to_owned(),
        policy: Some(policy),
        update_mask: (!paths.is_empty()).then_some(FieldMask { paths }),
        request_id: String::new(),
    }
}

fn strict() -> proto::Policy {
    proto::Policy {
        admin_billing: proto::AdminBilling::None.into(),
        usage_visibility: proto::UsageVisibility::Nobody.into(),
        ..proto::Policy::default()
    }
}

/// What has been told about policies, in order.
async fn told(world: &World) -> Vec<Event> {
    let mut client = world.service(ServiceRole::Billing).organization_events();
    let types = [event_type::ORGANIZATION_POLICY_CHANGED, event_type::DEPLOYMENT_POLICY_CHANGED];
    let types = types.map(str::to_owned).to_vec();
    let mut stream = client.watch(WatchRequest { types, ..WatchRequest::default() }).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(Item::Event(event)) = stream.message().await.unwrap().unwrap().item {
        events.push(event);
    }
    events
}

bursar_testkit::engines! {
    async fn an_owner_sets_policies_and_takes_them_back(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let default = proto::Policy::from(Policy::default());
        for who in [&ada, &ben] {
            let seen = get(who, &acme).await.expect("every member sees them");
            assert_eq!((seen.policy, seen.own), (Some(default.clone()), Some(FieldMask::default())));
        }
        let set = update(&ada, setting(&acme, strict(), &[])).await.expect("set");
        let proto::Policy { admin_billing, usage_visibility, .. } = strict();
        let expected = proto::Policy { admin_billing, usage_visibility, ..default };
        assert_eq!(set.policy, Some(expected.clone()), "what is not named stays");
        assert_eq!(set.own.unwrap().paths, ["admin_billing", "usage_visibility"]);
        let seen = get(&ben, &acme).await.expect("seen");
        assert_eq!((seen.policy, seen.own.unwrap().paths.len()), (Some(expected), 2));
        update(&ada, setting(&acme, strict(), &[])).await.expect("no change is one, too");
        let back = update(&ada, setting(&acme, proto::Policy::default(), &["admin_billing"])).await.expect("taken back");
        assert_eq!(back.policy.unwrap().admin_billing(), proto::AdminBilling::Manage);
        assert_eq!(back.own.unwrap().paths, ["usage_visibility"]);
        let events = told(&world).await;
        let versions: Vec<_> = events.iter().map(|event| match &event.payload {
            Some(Payload::DeploymentPolicyChanged(changed)) => (event.owner.clone(), changed.version),
            Some(Payload::OrganizationPolicyChanged(changed)) => (event.owner.clone(), changed.version),
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(versions, [(String::new(), 1), (acme.clone(), 1), (acme.clone(), 2)], "each change once");
        let Some(Payload::OrganizationPolicyChanged(last)) = &events[2].payload else { panic!("another") };
        let own = OwnPolicy::try_from(last.policy.as_ref().unwrap()).unwrap();
        assert_eq!((own.admin_billing, own.usage_visibility.is_some()), (None, true));
    }

    async fn policies_and_a_transfer_are_the_owners_who_has_just_signed_in(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let request = setting(&acme, strict(), &[]);
        refused(update(&ben, request.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let eve = world.who(9);
        refused(update(&eve, request.clone()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&eve, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&ada, "x").await, Code::InvalidArgument, "INVALID_FIELDS");
        let signed_in = |minutes| {
            let ago = world.clock.now().checked_sub(Span::from_mins(minutes)).expect("a time");
            let token = world.issuer.user(ada.user).authenticated_at(ago).at(world.clock.now());
            Who { client: world.anybody.with_token(&token), ..ada.clone() }
        };
        refused(
            update(&signed_in(11), request.clone()).await,
            Code::FailedPrecondition,
            "REAUTHENTICATION_REQUIRED",
        );
        get(&signed_in(11), &acme).await.expect("looking needs no fresh proof");
        update(&signed_in(10), request).await.expect("ten minutes are recent");
        // What a policy needs, giving the organization away does as well.
        let given = transfer(&signed_in(11), &acme, ben.user).await;
        refused(given, Code::FailedPrecondition, "REAUTHENTICATION_REQUIRED");
        transfer(&signed_in(10), &acme, ben.user).await.expect("ten minutes are recent");
    }

    async fn updating_refuses_what_is_wrong_and_takes_effect_once(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let odd = proto::Policy { admin_billing: 77, ..proto::Policy::default() };
        let bad = refused(update(&ada, setting(&acme, odd, &[])).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["policy.admin_billing"]);
        for path in ["spending", "colour"] {
            let bad = update(&ada, setting(&acme, strict(), &[path])).await;
            assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["update_mask"]);
        }
        let keyed = proto::UpdatePolicyRequest { request_id: "r1".to_owned(), ..setting(&acme, strict(), &[]) };
        let first = update(&ada, keyed.clone()).await.expect("set");
        update(&ada, setting(&acme, proto::Policy::default(), &["admin_billing"])).await.expect("taken back");
        assert_eq!(update(&ada, keyed.clone()).await.expect("the first answer again"), first);
        let other = proto::UpdatePolicyRequest { update_mask: Some(FieldMask { paths: vec!["*".into()] }), ..keyed };
        refused(update(&ada, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }

    async fn the_deployments_policies_are_told_when_the_settings_change(db: TestDb) {
        let deployment = Policy { admin_billing: AdminBilling::View, spending: Spending::Services, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = deployment).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        assert_eq!(get(&ada, &acme).await.expect("seen").policy, Some(deployment.into()));
        let events = told(&world).await;
        assert_eq!(events.len(), 1);
        let Some(Payload::DeploymentPolicyChanged(changed)) = &events[0].payload else { panic!("another") };
        assert_eq!((changed.policy.clone(), changed.version, events[0].owner.as_str()), (Some(deployment.into()), 1, ""));
        world.starts_again(|settings| settings.policies = deployment).await;
        assert_eq!(told(&world).await.len(), 1, "nothing new");
        world.starts_again(|settings| settings.policies = Policy::default()).await;
        let events = told(&world).await;
        let Some(Payload::DeploymentPolicyChanged(changed)) = &events[1].payload else { panic!("another") };
        assert_eq!((changed.policy.clone(), changed.version), (Some(Policy::default().into()), 2));
    }

    async fn a_snapshot_tells_what_the_events_told(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        // Two of one instant would have no order.
        world.advance(Span::SECOND);
        let umbra = world.create(&ada, "Umbra").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        update(&ada, setting(&umbra, strict(), &[])).await.expect("set");
        let request = proto::LeaveOrganizationRequest { organization_id: acme.clone(), ..Default::default() };
        ben.client.members().leave_organization(request).await.expect("left");
        let mut client = world.service(ServiceRole::Billing).organization_events();
        let mut answers = client.snapshot(SnapshotRequest::default()).await.unwrap().into_inner();
        let (mut told, mut cursor) = (Vec::new(), String::new());
        while let Some(answer) = answers.message().await.unwrap() {
            cursor = answer.cursor;
            told.extend(answer.events.into_iter().map(|event| (event.owner, event.payload.unwrap())));
        }
        let said: Vec<String> = told.iter().map(|(owner, payload)| match payload {
            Payload::DeploymentPolicyChanged(it) => format!("{owner}the deployment has {}", it.version),
            Payload::OrganizationCreated(it) => format!("{} {}", it.name, it.created_by_session_id),
            Payload::OrganizationPolicyChanged(it) => format!("{} {:?}", it.organization_id == umbra, it.policy.as_ref().unwrap().admin_billing()),
            Payload::MembershipChanged(it) => {
                format!("{} {} {:?} {}", it.organization_id == acme, it.user_id == ben.user.to_string(), it.role(), it.version)
            }
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(said[..4], ["the deployment has 1", "Acme ", "Umbra ", "true None"]);
        let mut members = said[4..].to_vec();
        members.sort();
        assert_eq!(members, ["false false Owner 1", "true false Owner 1", "true true Unspecified 2"]);
        // Nothing but signs of life follows its cursor.
        let mut rest = client.watch(WatchRequest { cursor, ..WatchRequest::default() }).await.unwrap().into_inner();
        let first = rest.message().await.unwrap().unwrap();
        assert!(matches!(first.item, Some(Item::Heartbeat(_))), "{first:?}");
    }

    async fn a_purge_takes_policies_back_and_says_so_before_it_is_over(db: TestDb) {
        let world = World::start(db).await;
        let (ada, organization) = (world.who(1), world.at_rest().await);
        let [strange, plain] = ["Acme", "Plain"].map(|name| world.create(&ada, name));
        let (strange, plain) = (strange.await, plain.await);
        update(&ada, setting(&strange.id, strict(), &[])).await.expect("set");
        for acme in [&strange, &plain] {
            delete(&ada, acme).await.expect("deleted");
            let erased = organization.purge(purge_of(acme), due(&world)).await;
            assert!(matches!(erased, Ok(false)), "{erased:?}");
        }
        let of_strange = told(&world).await.into_iter().filter(|event| event.owner == strange.id);
        let policies: Vec<Payload> = of_strange.map(|event| event.payload.unwrap()).collect();
        let [_, Payload::OrganizationPolicyChanged(last)] = policies.as_slice() else { panic!("{policies:?}") };
        assert_eq!((last.policy.clone(), last.version), (Some(proto::Policy::default()), 2));
        assert!(told(&world).await.iter().all(|event| event.owner != plain.id), "where nothing was set nothing is taken back");
        let last = world.events().await.into_iter().rfind(|event| event.owner() == strange.id);
        assert!(matches!(last, Some(Payload::OrganizationStandingChanged(_))), "the last word of all: {last:?}");
        let mut tx = world.store.read().await.expect("a snapshot");
        assert_eq!(bursar_members::policies::between(&mut tx, (None, None), 10).await.expect("read"), []);
    }

    async fn an_access_check_names_the_incarnation(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let check = async || {
            let request = proto::CheckAccessRequest { organization_id: acme.clone(), user_id: ada.user.to_string() };
            let answer = world.service(ServiceRole::Identity).members().check_access(request).await;
            let answer = answer.unwrap().into_inner();
            (answer.incarnation, answer.version)
        };
        assert_eq!(check().await, (1, 1));
        let now = world.clock.now();
        bursar_events::begin_incarnation(&world.store, now).await.unwrap();
        assert_eq!(check().await, (now.as_micros().unsigned_abs(), 1));
    }
}
