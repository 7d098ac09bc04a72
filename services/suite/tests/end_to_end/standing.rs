//! Users who are suspended and operators who act for users, in every service.

use std::time::{Duration, Instant};

use bursar_money::Credits;
use bursar_proto::billing::v1::{
    CaptureRequest, GetEntitlementsRequest, HoldRequest, PurchasePackRequest, SubscribeRequest,
};
use bursar_proto::identity::v1::{
    DeleteMeRequest, IssueUserTokenRequest, SignInRequest, SuspendUserRequest, SwitchContextRequest,
    UnsuspendUserRequest,
};
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_proto::organization::v1::{
    AuditEvent, CreateItemRequest, DeleteOrganizationRequest, GetOrganizationRequest, GetPreferencesRequest,
    ListAuditEventsRequest, UndeleteOrganizationRequest, UpdateOrganizationRequest, UpdatePreferencesRequest,
    UploadContentRequest,
};
use bursar_testkit::{Client, PASSWORD, Person, Refusal, refused};
use sha2::{Digest as _, Sha256};
use tokio_stream as stream;
use tonic::{Code, Status};

use crate::acting::everywhere;
use crate::exporting::export;
use crate::support::{
    books::Books,
    given, spend,
    waiting::{PATIENCE, eventually},
    world::World,
};

/// How soon a suspension, or the end of an account, holds in every service.
const HOLDS_WITHIN: Duration = Duration::from_secs(2);

pub(crate) async fn a_suspended_user_is_refused_in_every_service_within_two_seconds(world: World) {
    let team = world.team().with_members(1).with_credits("10").assemble().await;
    let (ben, operator) = (&team.members[0], world.operator().await);
    team.charge(ben, "1").await;
    let suspend = SuspendUserRequest { user_id: ben.user.clone(), ..Default::default() };
    given(operator.users().suspend_user(suspend).await);
    let suspended = Instant::now();
    for client in [ben.client().clone(), operator.for_user(&ben.tokens.access_token)] {
        eventually("every service refuses who is suspended", PATIENCE, async || {
            let outcomes = everywhere(&client, &team.id).await;
            let is_refused = |outcome: &Result<(), Status>| {
                outcome.as_ref().is_err_and(|status| Refusal::of(status).reason == "USER_SUSPENDED")
            };
            outcomes.iter().all(|(_, outcome)| is_refused(outcome)).then_some(())
        })
        .await;
    }
    let took = suspended.elapsed();
    assert!(took < HOLDS_WITHIN, "only after {took:?}");
    let charge = ben.client().credits().charge(spend(&team.id, "1")).await;
    refused(charge, Code::PermissionDenied, "USER_SUSPENDED");
    let sign_in = SignInRequest { email: ben.email.clone(), password: PASSWORD.to_owned(), ..Default::default() };
    refused(world.anybody().sessions().sign_in(sign_in).await, Code::PermissionDenied, "USER_SUSPENDED");
    team.charge(&team.owner, "1").await;

    let unsuspend = UnsuspendUserRequest { user_id: ben.user.clone(), ..Default::default() };
    given(operator.users().unsuspend_user(unsuspend).await);
    let back = Person::sign_in(world.anybody(), &ben.email).await;
    let back = eventually("the team can be entered again", PATIENCE, async || {
        let switch = SwitchContextRequest { owner: team.id.clone() };
        back.client().contexts().switch_context(switch).await.ok().map(|answer| answer.into_inner().tokens)
    })
    .await
    .expect("tokens");
    let back = world.anybody().with_token(&back.access_token);
    eventually("what the user had is there", PATIENCE, async || back.credits().charge(spend(&team.id, "1")).await.ok())
        .await;
}

/// Everything that takes money or credits of an owner's.
async fn spending(client: &Client, owner: &str) -> [(&'static str, Result<(), Status>); 4] {
    let (owner, amount, method) = (owner.to_owned(), "0.01".to_owned(), "sandbox_ok".to_owned());
    let hold = HoldRequest { owner: owner.clone(), amount, ..Default::default() };
    let pack_id = "starter".to_owned();
    let pack =
        PurchasePackRequest { owner: owner.clone(), pack_id, payment_method: method.clone(), ..Default::default() };
    let plan_id = "business".to_owned();
    let plan = SubscribeRequest { owner: owner.clone(), plan_id, payment_method: method, ..Default::default() };
    [
        ("Charge", client.credits().charge(spend(&owner, "0.01")).await.map(drop)),
        ("Hold", client.credits().hold(hold).await.map(drop)),
        ("PurchasePack", client.purchases().purchase_pack(pack).await.map(drop)),
        ("Subscribe", client.subscriptions().subscribe(plan).await.map(drop)),
    ]
}

pub(crate) async fn who_deletes_the_account_pays_nothing_within_two_seconds_though_the_token_is_valid(world: World) {
    let team = world.team().with_members(1).with_credits("10").assemble().await;
    let (ben, operator) = (&team.members[0], world.operator().await);
    let home = ben.in_context(&ben.user).await;
    world.grant(&ben.user, "10").await;
    for (rpc, outcome) in spending(home.client(), &ben.user).await {
        outcome.unwrap_or_else(|status| panic!("{rpc} before: {status:?}"));
    }
    let handed_on = operator.for_user(&home.tokens.access_token);
    given(handed_on.credits().charge(spend(&ben.user, "0.01")).await);
    team.charge(ben, "1").await;

    given(home.client().users().delete_me(DeleteMeRequest::default()).await);
    let deleted = Instant::now();
    // The person is, and not the token, which is good for minutes.
    let is_refused = |outcome: &Result<(), Status>| {
        outcome.as_ref().is_err_and(|status| Refusal::of(status).reason == "NOT_A_MEMBER")
    };
    eventually("nothing takes money any more", PATIENCE, async || {
        let mut outcomes = Vec::from(spending(home.client(), &ben.user).await);
        outcomes.push(("a service's", handed_on.credits().charge(spend(&ben.user, "0.01")).await.map(drop)));
        outcomes.push(("a team's", ben.client().credits().charge(spend(&team.id, "0.01")).await.map(drop)));
        outcomes.iter().all(|(_, outcome)| is_refused(outcome)).then_some(())
    })
    .await;
    let took = deleted.elapsed();
    assert!(took < HOLDS_WITHIN, "only after {took:?}");
    team.charge(&team.owner, "1").await;
    Books::audit(&operator, &team.id).await;
}

pub(crate) async fn an_operator_acts_for_a_user_in_every_service_under_both_names(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let (ada, operator) = (&team.owner, world.operator().await);
    let request = IssueUserTokenRequest {
        user_id: ada.user.clone(),
        owner: team.id.clone(),
        reason: "ticket 7".to_owned(),
        ..Default::default()
    };
    let token = given(operator.users().issue_user_token(request).await).access_token;
    let acting = world.anybody().with_token(&token);
    let rename = UpdateOrganizationRequest {
        organization_id: team.id.clone(),
        name: "By the operator".to_owned(),
        ..Default::default()
    };
    given(acting.organizations().update_organization(rename).await);
    let charged = given(acting.credits().charge(spend(&team.id, "1")).await).charge.expect("a charge");
    let actor = charged.actor.expect("an actor");
    assert!(actor.service.starts_with("svc_") && actor.user == ada.user, "{actor:?}");
    let pack = PurchasePackRequest {
        owner: team.id.clone(),
        pack_id: "starter".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..Default::default()
    };
    refused(acting.purchases().purchase_pack(pack).await, Code::PermissionDenied, "ACTING_NOT_ALLOWED");
    let home = SwitchContextRequest { owner: ada.user.clone() };
    refused(acting.contexts().switch_context(home).await, Code::PermissionDenied, "ACTING_NOT_ALLOWED");
    let look = GetPreferencesRequest { organization_id: team.id.clone(), ..Default::default() };
    given(ada.client().members().get_preferences(look.clone()).await);
    refused(acting.members().get_preferences(look).await, Code::PermissionDenied, "ACTING_NOT_ALLOWED");
    let prefer = UpdatePreferencesRequest { organization_id: team.id.clone(), ..Default::default() };
    refused(acting.members().update_preferences(prefer).await, Code::PermissionDenied, "ACTING_NOT_ALLOWED");

    // The organization's own log tells of both, wherever it was done.
    let both = |row: &&AuditEvent| row.actor == actor.service && row.on_behalf_of == ada.user;
    let methods = ["identity.v1.UserService/IssueUserToken", "organization.v1.OrganizationService/UpdateOrganization"];
    eventually("both rows are listed", PATIENCE, async || {
        let list = ListAuditEventsRequest { organization_id: team.id.clone(), ..Default::default() };
        let events = given(ada.client().audit().list_audit_events(list).await).events;
        let told = |method: &&str| events.iter().filter(both).any(|row| row.method.ends_with(*method));
        methods.iter().all(told).then_some(())
    })
    .await;
}

/// An item of an organization's library whose content is `x`.
async fn with_content(who: &Person, organization: &str) -> String {
    let (owner, kind, name) = (organization.to_owned(), "brand_asset".to_owned(), "Logo".to_owned());
    let new = CreateItemRequest { owner, kind, name, ..Default::default() };
    let item_id = given(who.client().libraries().create_item(new).await).item.expect("an item").id;
    let (sha256, chunk, size) = (hex::encode(Sha256::digest(b"x")), b"x".to_vec(), 1);
    let content = UploadContentRequest { item_id: item_id.clone(), size, sha256, chunk, ..Default::default() };
    given(who.client().libraries().upload_content(stream::iter([content])).await);
    item_id
}

pub(crate) async fn a_deleted_organization_spends_nothing_within_two_seconds_until_it_is_back(world: World) {
    let team = world.team().with_credits("10").on_business().assemble().await;
    let (ada, operator) = (&team.owner, world.operator().await);
    let reserve = |amount: &str| HoldRequest {
        owner: team.id.clone(),
        amount: amount.to_owned(),
        member: ada.user.clone(),
        ..Default::default()
    };
    let hold = given(operator.credits().hold(reserve("5")).await).hold.expect("a hold");
    let asset = with_content(ada, &team.id).await;
    let key = Some(Key::OrganizationId(team.id.clone()));
    let found = given(ada.client().organizations().get_organization(GetOrganizationRequest { key }).await);
    let delete = DeleteOrganizationRequest {
        organization_id: team.id.clone(),
        confirm_slug: found.organization.expect("an organization").slug,
        ..Default::default()
    };
    given(ada.client().organizations().delete_organization(delete).await);
    let deleted = Instant::now();
    let token = world.anybody().with_token(&ada.tokens.access_token);
    let mut charged = Credits::whole(5);
    let reason = eventually("a charge is refused", PATIENCE, async || {
        match token.credits().charge(spend(&team.id, "0.01")).await {
            Ok(_) => {
                charged = charged.checked_add("0.01".parse().expect("credits")).expect("credits");
                None
            }
            Err(status) => Some(Refusal::of(&status).reason),
        }
    })
    .await;
    assert_eq!(reason, "ORGANIZATION_DELETED");
    eventually("nobody enters it", PATIENCE, async || {
        let switch = SwitchContextRequest { owner: team.id.clone() };
        ada.client().contexts().switch_context(switch).await.err()
    })
    .await;
    let took = deleted.elapsed();
    assert!(took < HOLDS_WITHIN, "only after {took:?}");
    refused(operator.credits().hold(reserve("1")).await, Code::PermissionDenied, "ORGANIZATION_DELETED");
    let plan = GetEntitlementsRequest { owner: team.id.clone() };
    eventually("its subscription has ended", PATIENCE, async || {
        let entitled = given(operator.subscriptions().get_entitlements(plan.clone()).await);
        (entitled.plan_id == "free").then_some(())
    })
    .await;
    // What was begun for it is settled.
    let settle = CaptureRequest { owner: team.id.clone(), hold_id: hold.id, ..Default::default() };
    given(operator.credits().capture(settle).await);

    // Meanwhile its owner takes it home, with what billing counted and what the library has.
    let home = ada.in_context(&ada.user).await;
    let usage = export(&home, &team.id, "usage.ndjson").await;
    let line = format!("\"charged\":\"{charged}\"");
    assert!(
        usage.contains(&ada.user) && usage.contains(&line),
        "{line} (all that was accepted before the news came): {usage}"
    );
    assert_eq!(export(&home, &team.id, &format!("library/content/{asset}")).await, "x");
    let undelete = UndeleteOrganizationRequest { organization_id: team.id.clone(), ..Default::default() };
    given(home.client().organizations().undelete_organization(undelete).await);
    eventually("the team spends again", PATIENCE, async || token.credits().charge(spend(&team.id, "1")).await.ok())
        .await;
    eventually("its subscription goes on", PATIENCE, async || {
        let entitled = given(operator.subscriptions().get_entitlements(plan.clone()).await);
        (entitled.plan_id == "business").then_some(())
    })
    .await;
    Books::audit(&operator, &team.id).await;
}
