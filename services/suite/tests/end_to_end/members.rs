//! Who may spend, and how soon that changes.

use std::time::{Duration, Instant};

use bursar_proto::{
    billing::v1::{GetBalanceRequest, ListLotsRequest, PurchasePackRequest},
    identity::v1::SwitchContextRequest,
    organization::v1::{GetOrganizationRequest, get_organization_request::Key},
};
use bursar_testkit::{Refusal, refused};
use tonic::{Code, Status};

use crate::support::{
    books::Books,
    given, spend,
    waiting::{PATIENCE, eventually},
    world::World,
};

/// How soon a removal holds in every service.
const REMOVAL_HOLDS_WITHIN: Duration = Duration::from_secs(2);

/// What a status says, without its words.
fn told(status: &Status) -> (Code, String) {
    let refusal = Refusal::of(status);
    (refusal.code, refusal.reason)
}

pub(crate) async fn a_removed_member_is_refused_within_two_seconds_and_pays_nothing_personally(world: World) {
    let team = world.team().with_members(1).with_credits("100").assemble().await;
    let ben = &team.members[0];
    world.grant(&ben.user, "50").await;
    team.charge(ben, "1").await;

    team.remove(ben).await;
    let removed = Instant::now();
    let mut late = 0_u32;
    let refusal = eventually("a removed member's charge is refused", PATIENCE, async || {
        match ben.client().credits().charge(spend(&team.id, "0.01")).await {
            Ok(_) => {
                late += 1;
                None
            }
            Err(status) => Some(told(&status)),
        }
    })
    .await;
    let took = removed.elapsed();
    assert_eq!(refusal, (Code::PermissionDenied, "NOT_A_MEMBER".to_owned()));
    assert!(took < REMOVAL_HOLDS_WITHIN, "refused only after {took:?}");

    // From now on for ever, whatever is asked with the old token.
    for _ in 0..20 {
        let outcome = ben.client().credits().charge(spend(&team.id, "0.01")).await;
        refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER");
    }
    let request = GetBalanceRequest { owner: team.id.clone(), ..Default::default() };
    refused(ben.client().accounts().get_balance(request).await, Code::PermissionDenied, "NOT_A_MEMBER");
    let key = Some(Key::OrganizationId(team.id.clone()));
    let outcome = ben.client().organizations().get_organization(GetOrganizationRequest { key }).await;
    refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER");

    let operator = world.operator().await;
    let personal = Books::audit(&operator, &ben.user).await;
    assert_eq!((personal.available.to_string().as_str(), personal.entries.len()), ("50", 1), "{personal:#?}");
    let shared = Books::audit(&operator, &team.id).await;
    assert_eq!(shared.charges_count(), 1 + late as usize, "only what was accepted before the news came");
}

impl Books {
    fn charges_count(&self) -> usize {
        self.of(bursar_proto::billing::v1::EntryKind::Charge).count()
    }
}

pub(crate) async fn who_is_invited_back_spends_again(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let person = world.person("Ben").await;
    for round in 1..=3 {
        let member = team.admit(&person).await;
        // At once: the new token knows more than billing may have heard.
        team.charge(&member, "1").await;
        team.remove(&person).await;
        eventually("the removal is known", PATIENCE, async || {
            let outcome = member.client().credits().charge(spend(&team.id, "1000")).await;
            (told(&outcome.expect_err("more than there is")).0 == Code::PermissionDenied).then_some(())
        })
        .await;
        let books = Books::audit(&world.operator().await, &team.id).await;
        assert_eq!(books.available.to_string(), (10 - round).to_string(), "round {round}");
    }
}

pub(crate) async fn nothing_falls_back_from_one_context_to_another(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let acting = &team.owner;
    let personal = acting.in_context(&acting.user).await;
    world.grant(&acting.user, "10").await;

    // A token says nothing of other contexts: that its user belongs there billing knows from the event.
    eventually("billing has heard who founded the team", PATIENCE, async || {
        let outcome = personal.client().credits().charge(spend(&team.id, "1")).await;
        (told(&outcome.expect_err("of another context")).1 == "WRONG_CONTEXT").then_some(())
    })
    .await;
    // The same person, two tokens of one session, two pools: each token opens its own only.
    let cases = [(acting, acting.user.as_str()), (&personal, team.id.as_str())];
    for (token, owner) in cases {
        let outcome = token.client().credits().charge(spend(owner, "1")).await;
        let told = refused(outcome, Code::PermissionDenied, "WRONG_CONTEXT");
        let context = told.metadata.get("context").map(String::as_str);
        assert_eq!(context, Some(token.tokens.owner.as_str()), "{told:#?}");
        let request = GetBalanceRequest { owner: owner.to_owned(), ..Default::default() };
        refused(token.client().accounts().get_balance(request).await, Code::PermissionDenied, "WRONG_CONTEXT");
    }
    given(acting.client().credits().charge(spend(&team.id, "1")).await);
    given(personal.client().credits().charge(spend(&acting.user, "2")).await);
    let operator = world.operator().await;
    let left = [Books::audit(&operator, &team.id).await, Books::audit(&operator, &acting.user).await];
    assert_eq!(left.map(|books| books.available.to_string()), ["9", "8"]);
}

/// A pool that somebody else has looks exactly like one that nobody has.
pub(crate) async fn a_stranger_learns_nothing(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let stranger = world.person("Eve").await;
    let nobody = bursar_testkit::organization(77).to_string();
    let mut answers = Vec::new();
    for owner in [team.id.as_str(), nobody.as_str()] {
        let client = stranger.client();
        let balance =
            client.accounts().get_balance(GetBalanceRequest { owner: owner.to_owned(), ..Default::default() }).await;
        let lots = client.accounts().list_lots(ListLotsRequest { owner: owner.to_owned(), ..Default::default() }).await;
        let charge = client.credits().charge(spend(owner, "1")).await;
        let key = Some(Key::OrganizationId(owner.to_owned()));
        let organization = client.organizations().get_organization(GetOrganizationRequest { key }).await;
        let switch = SwitchContextRequest { owner: owner.to_owned() };
        let context = client.contexts().switch_context(switch).await;
        let refusals = [
            Refusal::of(&balance.expect_err("a balance")),
            Refusal::of(&lots.expect_err("lots")),
            Refusal::of(&charge.expect_err("a charge")),
            Refusal::of(&organization.expect_err("an organization")),
            Refusal::of(&context.expect_err("a context")),
        ];
        for refusal in &refusals {
            let is = (refusal.code, refusal.reason.as_str());
            assert_eq!(is, (Code::PermissionDenied, "NOT_A_MEMBER"), "{owner}: {refusal:#?}");
        }
        answers.push(refusals);
    }
    assert_eq!(answers[0], answers[1], "what is there and what is not must look the same");
}

pub(crate) async fn billing_is_for_who_may_manage_it(world: World) {
    let team = world.team().with_members(1).with_credits("1").assemble().await;
    let pack = |payment_method: &str| PurchasePackRequest {
        owner: team.id.clone(),
        pack_id: "starter".to_owned(),
        payment_method: payment_method.to_owned(),
        ..PurchasePackRequest::default()
    };
    let outcome = team.members[0].client().purchases().purchase_pack(pack("sandbox_ok")).await;
    refused(outcome, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let outcome = team.owner.client().purchases().purchase_pack(pack("sandbox_declined")).await;
    refused(outcome, Code::FailedPrecondition, "PAYMENT_DECLINED");
    let books = Books::audit(&world.operator().await, &team.id).await;
    assert_eq!(books.available.to_string(), "1", "neither has bought anything");
}
