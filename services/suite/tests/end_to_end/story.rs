//! A team's life, from signing up to who spent what.

use bursar_proto::{
    billing::v1::{
        AccountSettings, BillingProfile, ListInvoicesRequest, LotSource, PurchasePackRequest, RefundRequest,
        SubscriptionState, UpdateAccountSettingsRequest,
    },
    identity::v1::{ContextKind, ListContextsRequest, RefreshRequest},
    organization::v1::{CreateInvitationRequest, CreateProjectRequest, ListMembersRequest, Role},
};
use bursar_testkit::{Person, refused};
use tonic::Code;

use crate::support::{
    books::Books,
    given, once, spend,
    waiting::{PATIENCE, eventually},
    world::{Team, World, unique},
};

pub(crate) async fn a_team_signs_up_subscribes_invites_spends_and_sees_who_spent_what(world: World) {
    let team = world.team().on_business().with_members(1).assemble().await;
    let (ada, ben) = (&team.owner, &team.members[0]);
    subscribed(&team).await;
    moved_by_itself(&world).await;
    let list = given(ada.client().members().list_members(members_of(&team)).await);
    let roles: Vec<_> = list.members.iter().map(|it| (it.user_id.as_str(), it.role())).collect();
    assert!(roles.contains(&(&ada.user, Role::Owner)) && roles.contains(&(&ben.user, Role::Member)), "{roles:?}");

    let request = CreateProjectRequest { owner: team.id.clone(), name: "Spring".to_owned(), ..Default::default() };
    let project = given(ben.client().projects().create_project(request).await).project.expect("a project").id;
    let film = bursar_proto::billing::v1::ChargeRequest {
        model: "veo-3.1".to_owned(),
        usage: vec![bursar_proto::billing::v1::Usage { meter: String::new(), quantity: "100".to_owned() }],
        project,
        labels: [("scene".to_owned(), "1".to_owned())].into(),
        ..spend(&team.id, "")
    };
    let filmed = given(ben.client().credits().charge(film).await);
    assert_eq!(filmed.balance_after, "900", "100 seconds cost 600 credits");
    team.charge(ada, "0.5").await;

    let pack = PurchasePackRequest {
        owner: team.id.clone(),
        pack_id: "standard".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: unique("pack"),
    };
    let bought = given(ada.client().purchases().purchase_pack(pack.clone()).await);
    let again = given(ada.client().purchases().purchase_pack(pack).await);
    assert_eq!(bought, again, "one purchase under one request id");
    burns_the_allowance_first(&world, &team, ben).await;

    let books = Books::audit(&world.operator().await, &team.id).await;
    assert_eq!(books.available.to_string(), "1399.5");
    let used = |who: &Person| books.usage.get(&who.user).map(ToString::to_string);
    assert_eq!((used(ada), used(ben)), (Some("0.5".to_owned()), Some("1600".to_owned())));
}

fn members_of(team: &Team) -> ListMembersRequest {
    ListMembersRequest { organization_id: team.id.clone(), ..ListMembersRequest::default() }
}

async fn subscribed(team: &Team) {
    let request = bursar_proto::billing::v1::GetSubscriptionRequest { owner: team.id.clone() };
    let found = given(team.owner.client().subscriptions().get_subscription(request).await);
    let found = found.subscription.expect("a subscription");
    let terms = (found.plan_id.as_str(), found.state(), found.credits.as_str(), found.seats);
    assert_eq!(terms, ("business", SubscriptionState::Active, "1500", 10));
}

/// Whoever creates an organization finds the session moved into it.
async fn moved_by_itself(world: &World) {
    let person = world.person("Ann").await;
    let request =
        bursar_proto::organization::v1::CreateOrganizationRequest { name: unique("Own"), ..Default::default() };
    let made = given(person.client().organizations().create_organization(request).await);
    let id = made.organization.expect("an organization").id;
    let mut refresh_token = person.tokens.refresh_token.clone();
    let tokens = eventually("the session is in the new organization", PATIENCE, async || {
        let request = RefreshRequest { refresh_token: refresh_token.clone() };
        let tokens = given(world.anybody().sessions().refresh(request).await).tokens.expect("tokens");
        refresh_token.clone_from(&tokens.refresh_token);
        (tokens.owner == id).then_some(tokens)
    })
    .await;
    let client = world.anybody().with_token(&tokens.access_token);
    let list = given(client.contexts().list_contexts(ListContextsRequest::default()).await);
    let seen: Vec<_> = list.contexts.iter().map(|it| (it.kind(), it.role(), it.current)).collect();
    let personal = (ContextKind::Personal, Role::Unspecified, false);
    assert_eq!(seen, [personal, (ContextKind::Organization, Role::Owner, true)]);
    given(client.accounts().get_balance(balance_of(&id)).await);
}

fn balance_of(owner: &str) -> bursar_proto::billing::v1::GetBalanceRequest {
    bursar_proto::billing::v1::GetBalanceRequest { owner: owner.to_owned(), ..Default::default() }
}

/// 899.5 are left of the allowance and 1,500 in the pack; 1,400 take all of the first. Of those 400 return.
async fn burns_the_allowance_first(world: &World, team: &Team, ben: &Person) {
    let lots = given(ben.client().accounts().get_balance(balance_of(&team.id)).await).lots;
    let order: Vec<_> = lots.iter().map(|lot| (lot.source(), lot.remaining.as_str())).collect();
    assert_eq!(order, [(LotSource::Allowance, "899.5"), (LotSource::Pack, "1500")]);
    let charged = team.charge(ben, "1400").await;
    let charge = charged.charge.expect("a charge");
    let taken: Vec<_> = charge.allocations.iter().map(|it| (it.lot_id.as_str(), it.amount.as_str())).collect();
    assert_eq!(taken, [(lots[0].id.as_str(), "899.5"), (lots[1].id.as_str(), "500.5")]);
    let request = RefundRequest {
        owner: team.id.clone(),
        charge_id: charge.id,
        amount: Some("400".to_owned()),
        request_id: unique("refund"),
    };
    let refunded = given(world.operator().await.credits().refund(request).await);
    let returned: Vec<_> = refunded.refund.expect("a refund").allocations;
    let returned: Vec<_> = returned.iter().map(|it| (it.lot_id.as_str(), it.amount.as_str())).collect();
    assert_eq!(returned, [(lots[1].id.as_str(), "400")], "last spent first");
}

/// What billing issues is mailed by organization to a team's owner, and by identity to the address that a person has named.
pub(crate) async fn invoices_are_mailed_to_whom_they_are_for(world: World) {
    let team = world.team().on_business().assemble().await;
    let person = world.person("Ann").await;
    let books = format!("{}@example.com", unique("books"));
    let profile = BillingProfile { invoice_mail: books.clone(), ..BillingProfile::default() };
    let settings = UpdateAccountSettingsRequest {
        owner: person.user.clone(),
        settings: Some(AccountSettings { billing_profile: Some(profile), ..AccountSettings::default() }),
        ..UpdateAccountSettingsRequest::default()
    };
    given(person.client().accounts().update_account_settings(settings).await);
    let pack = PurchasePackRequest {
        owner: person.user.clone(),
        pack_id: "starter".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: unique("pack"),
    };
    given(person.client().purchases().purchase_pack(pack).await);
    for (who, owner, address) in [(&team.owner, &team.id, &team.owner.email), (&person, &person.user, &books)] {
        let list = ListInvoicesRequest { owner: owner.clone(), ..ListInvoicesRequest::default() };
        let number = given(who.client().invoices().list_invoices(list).await).invoices.remove(0).number;
        eventually("its mail", PATIENCE, async || {
            let mails = world.deployment().mailbox().to(address);
            (mails.iter().filter(|mail| mail.text.contains(&number)).count() == 1).then_some(())
        })
        .await;
    }
}

/// Free has five seats: an owner, a member and three invitations fill them.
pub(crate) async fn seats_come_from_the_plan(world: World) {
    let team = world.team().with_members(1).assemble().await;
    for _ in 0..3 {
        team.invite(&format!("{}@example.com", unique("guest"))).await;
    }
    let invite = |email: &str| CreateInvitationRequest {
        organization_id: team.id.clone(),
        email: email.to_owned(),
        role: Role::Member.into(),
        ..CreateInvitationRequest::default()
    };
    let ada = team.owner.client();
    let outcome = ada.invitations().create_invitation(invite("late@example.com")).await;
    let told = refused(outcome, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
    assert_eq!(told.metadata.get("seats").map(String::as_str), Some("5"), "{told:#?}");
    let business = bursar_proto::billing::v1::SubscribeRequest {
        owner: team.id.clone(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..Default::default()
    };
    given(ada.subscriptions().subscribe(business).await);
    given(ada.invitations().create_invitation(invite("late@example.com")).await);
    let charge = once(&unique("own"), spend(&team.id, "1"));
    assert!(!given(ada.credits().charge(charge).await).replayed);
}
