//! What an organization's plan allows is billing's to decide, and read from organization, which hears of each change.

use bursar_proto::billing::v1::{
    CancelAt, CancelRequest, Feature, GetEntitlementsRequest, SetContractRequest, SubscribeRequest,
};
use bursar_proto::google::r#type::Money;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_proto::organization::v1::{GetOrganizationRequest, OrganizationEntitlements};
use bursar_testkit::Person;

use crate::support::{
    given,
    waiting::{PATIENCE, settles},
    world::{Team, World},
};

/// What organization shows somebody of the plan.
async fn shown(who: &Person, team: &Team) -> Option<OrganizationEntitlements> {
    let key = Some(Key::OrganizationId(team.id.clone()));
    let found = given(who.client().organizations().get_organization(GetOrganizationRequest { key }).await);
    found.organization.expect("an organization").entitlements
}

/// Soon this is shown to the owner; billing answers the same to services.
async fn comes_to(world: &World, team: &Team, plan: &str, seats: u32, features: &[Feature]) {
    let features: Vec<i32> = features.iter().map(|it| i32::from(*it)).collect();
    let expected = OrganizationEntitlements { plan_id: plan.to_owned(), seats, features };
    settles(&format!("{plan} is shown"), PATIENCE, async || {
        let shown = shown(&team.owner, team).await;
        if shown.as_ref() == Some(&expected) { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await;
    let of = GetEntitlementsRequest { owner: team.id.clone() };
    let answered = given(world.operator().await.subscriptions().get_entitlements(of).await);
    assert_eq!((answered.plan_id, answered.seats, answered.features), (expected.plan_id, seats, expected.features));
}

pub(crate) async fn what_a_plan_allows_is_read_from_organization_as_it_changes(world: World) {
    let team = world.team().with_members(1).assemble().await;
    let subscribe = SubscribeRequest {
        owner: team.id.clone(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..Default::default()
    };
    given(team.owner.client().subscriptions().subscribe(subscribe).await);
    comes_to(&world, &team, "business", 10, &[Feature::Organizations]).await;
    assert_eq!(shown(&team.members[0], &team).await, None, "a member does not see billing");
    let cancel = CancelRequest { owner: team.id.clone(), at: CancelAt::Now.into(), ..Default::default() };
    given(team.owner.client().subscriptions().cancel(cancel).await);
    comes_to(&world, &team, "free", 5, &[]).await;
    let contract = SetContractRequest {
        owner: team.id.clone(),
        plan_id: "enterprise".to_owned(),
        credits: "20000".to_owned(),
        seats: 60,
        price: Some(Money { currency_code: "USD".to_owned(), units: 900, nanos: 0 }),
        features: vec![Feature::SingleSignOn.into()],
        ..Default::default()
    };
    given(world.operator().await.subscriptions().set_contract(contract).await);
    comes_to(&world, &team, "enterprise", 60, &[Feature::SingleSignOn]).await;
}
