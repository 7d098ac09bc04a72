//! Bad input: each kind a clear error with its reason, and nothing half-written.

use bursar_id::{ChargeId, HoldId, OwnerId, Role as MemberRole};
use bursar_proto::{
    billing::v1::{
        CaptureRequest, ChargeRequest, GetBalanceRequest, GetChargeRequest, GetHoldRequest, GrantCreditsRequest,
        HoldRequest, ListLedgerEntriesRequest, ListLotsRequest, QueryUsageRequest, RefundRequest, ReleaseRequest,
    },
    identity::v1::{
        GetMeRequest, IssueServiceTokenRequest, RefreshRequest, SignInRequest, SignUpRequest, SwitchContextRequest,
        VerifyEmailRequest,
    },
    organization::v1::{
        AcceptInvitationRequest, CreateInvitationRequest, CreateOrganizationRequest, CreateProjectRequest,
        ListMembersRequest, PreviewInvitationRequest, UpdateMemberRoleRequest,
    },
};
use bursar_testkit::{Issuer, PASSWORD, Person, Refusal, refused};
use bursar_time::Clock;
use tonic::{Code, Status};

use crate::support::{
    books::Books,
    given, once, spend,
    world::{Team, World, unique},
};

/// The reason of a malformed field.
const INVALID: &str = "INVALID_FIELDS";

/// Refused for exactly these fields.
#[track_caller]
fn invalid<T: std::fmt::Debug>(case: &str, outcome: Result<T, Status>, fields: &[&str]) {
    let refusal = Refusal::of(&outcome.expect_err(case));
    let is = (refusal.code, refusal.reason.as_str());
    assert_eq!(is, (Code::InvalidArgument, INVALID), "{case}: {refusal:#?}");
    assert_eq!(refusal.fields, fields, "{case}: {refusal:#?}");
}

/// What was granted is all that is there: no refused call has left a trace.
async fn untouched(world: &World, team: &Team, granted: &str) {
    let books = Books::audit(&world.operator().await, &team.id).await;
    assert_eq!((books.available.to_string().as_str(), books.entries.len()), (granted, 1), "{books:#?}");
}

pub(crate) async fn bad_tokens(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let user = team.owner.user.parse().expect("a user id");
    let OwnerId::Organization(organization) = team.id.parse().expect("an owner id") else { panic!("{}", team.id) };
    let now = Clock::system().now();
    // Signed with a key that is not identity's, under whatever name.
    let foreign = Issuer::stranger().member(user, organization, MemberRole::Owner).at(now);
    let good = &team.owner.tokens.access_token;
    let (head, signature) = good.rsplit_once('.').expect("a signed token");
    let (header, claims) = head.split_once('.').expect("three parts");
    let unsigned = format!("{head}.");
    let forged = format!("{header}.{}A.{signature}", &claims[..claims.len() - 1]);
    let refresh = &team.owner.tokens.refresh_token;
    let cases = [
        ("foreign", foreign.as_str()),
        ("unsigned", &unsigned),
        ("forged", &forged),
        ("cut", head),
        ("a refresh token", refresh),
        ("garbage", "garbage"),
        ("empty", ""),
    ];
    for (case, token) in cases {
        let client = world.anybody().with_token(token);
        let outcomes = [
            client.credits().charge(spend(&team.id, "1")).await.map(drop),
            client.users().get_me(GetMeRequest {}).await.map(drop),
            client.members().list_members(ListMembersRequest::default()).await.map(drop),
        ];
        for outcome in outcomes {
            let refusal = Refusal::of(&outcome.expect_err(case));
            assert_eq!(refusal.code, Code::Unauthenticated, "{case}: {refusal:#?}");
            let reasons = ["TOKEN_INVALID", "TOKEN_MISSING"];
            assert!(reasons.contains(&refusal.reason.as_str()), "{case}: {refusal:#?}");
            assert!(token.is_empty() || !refusal.message.contains(token), "{case}: the message repeats the token");
        }
    }
    let anybody = world.anybody();
    refused(anybody.credits().charge(spend(&team.id, "1")).await, Code::Unauthenticated, "TOKEN_MISSING");
    // A good token of the wrong kind of caller.
    let grant = GrantCreditsRequest { owner: team.id.clone(), amount: "1".to_owned(), source: 3, ..Default::default() };
    let outcome = team.owner.client().credits().grant_credits(grant).await;
    refused(outcome, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    let outcome = world.operator().await.users().get_me(GetMeRequest {}).await;
    refused(outcome, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    untouched(&world, &team, "10").await;
}

pub(crate) async fn bad_ids(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let ada = team.owner.client();
    let overflowing = format!("org_{}", "z".repeat(26));
    let shouted = team.id.to_uppercase();
    let cut = &team.id[..team.id.len() - 1];
    for owner in ["", "org", "org_", "abc", cut, &overflowing, &shouted, "prj_00000000000000000000000001", "org_\u{e9}"]
    {
        let case = format!("owner {owner:?}");
        // Billing takes a user's empty owner for the token's context.
        if !owner.is_empty() {
            invalid(&case, ada.credits().charge(spend(owner, "1")).await, &["owner"]);
            let balance = GetBalanceRequest { owner: owner.to_owned(), ..Default::default() };
            invalid(&case, ada.accounts().get_balance(balance).await, &["owner"]);
        }
        let switch = SwitchContextRequest { owner: owner.to_owned() };
        invalid(&case, ada.contexts().switch_context(switch).await, &["owner"]);
        let project = CreateProjectRequest { owner: owner.to_owned(), name: "A".to_owned(), ..Default::default() };
        invalid(&case, ada.projects().create_project(project).await, &["owner"]);
    }
    let hold = HoldRequest { owner: team.id.clone(), amount: "4".to_owned(), ..HoldRequest::default() };
    let hold_id = given(ada.credits().hold(hold).await).hold.expect("a hold").id;
    let charge_id = team.charge(&team.owner, "1").await.charge.expect("a charge").id;

    // Another team's things are to this one as if they were not there.
    let others = world.team().with_credits("10").assemble().await;
    let (eve, operator) = (others.owner.client(), world.operator().await);
    let (absent_hold, absent_charge): (HoldId, ChargeId) = (bursar_testkit::id(9), bursar_testkit::id(9));
    let (absent_hold, absent_charge) = (absent_hold.to_string(), absent_charge.to_string());
    let mut told = Vec::new();
    for (hold_id, charge_id) in [(&hold_id, &charge_id), (&absent_hold, &absent_charge)] {
        let (owner, hold_id, charge_id) = (String::new(), hold_id.clone(), charge_id.clone());
        let hold = GetHoldRequest { hold_id: hold_id.clone(), owner: owner.clone() };
        let charge = GetChargeRequest { charge_id: charge_id.clone(), owner: owner.clone() };
        let capture = CaptureRequest { hold_id: hold_id.clone(), amount: "1".to_owned(), ..Default::default() };
        let release = ReleaseRequest { hold_id, owner: owner.clone(), ..Default::default() };
        let refund = RefundRequest { charge_id, owner: others.id.clone(), ..RefundRequest::default() };
        told.push([
            refused(eve.credits().get_hold(hold).await, Code::NotFound, "NOT_FOUND"),
            refused(eve.credits().get_charge(charge).await, Code::NotFound, "NOT_FOUND"),
            refused(eve.credits().capture(capture).await, Code::NotFound, "NOT_FOUND"),
            refused(eve.credits().release(release).await, Code::NotFound, "NOT_FOUND"),
            refused(operator.credits().refund(refund).await, Code::NotFound, "NOT_FOUND"),
        ]);
    }
    assert_eq!(told[0], told[1], "what somebody else has and what nobody has must look the same");
    let bad = GetHoldRequest { hold_id: "hld_1".to_owned(), ..GetHoldRequest::default() };
    invalid("a malformed hold", ada.credits().get_hold(bad).await, &["hold_id"]);
    let bad = CreateInvitationRequest { organization_id: "x".to_owned(), ..Default::default() };
    invalid_among("a malformed organization", ada.invitations().create_invitation(bad).await, "organization_id");
    untouched(&world, &others, "10").await;
}

/// Refused for this field, perhaps among others.
#[track_caller]
fn invalid_among<T: std::fmt::Debug>(case: &str, outcome: Result<T, Status>, field: &str) {
    let refusal = Refusal::of(&outcome.expect_err(case));
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, INVALID), "{case}: {refusal:#?}");
    assert!(refusal.fields.iter().any(|it| it == field), "{case}: {refusal:#?}");
}

pub(crate) async fn bad_amounts(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let ada = team.owner.client();
    let operator = world.operator().await;
    let digits = "1".repeat(30);
    let amounts = [
        "",
        "-1",
        "1e3",
        "0.0000001",
        digits.as_str(),
        "0",
        "0.000000",
        "+1",
        " 1",
        "1 ",
        "1.",
        ".5",
        "1,5",
        "NaN",
        "infinity",
        "0x1",
        "1_000",
        "\u{0661}",
        "1000000000001",
    ];
    for amount in amounts {
        let case = format!("amount {amount:?}");
        invalid(&case, ada.credits().charge(spend(&team.id, amount)).await, &["amount"]);
        let hold = HoldRequest { owner: team.id.clone(), amount: amount.to_owned(), ..HoldRequest::default() };
        invalid(&case, ada.credits().hold(hold).await, &["amount"]);
        let grant = GrantCreditsRequest {
            owner: team.id.clone(),
            amount: amount.to_owned(),
            source: 3,
            ..GrantCreditsRequest::default()
        };
        invalid(&case, operator.credits().grant_credits(grant).await, &["amount"]);
    }
    // Every bad field is told at once.
    let many = ChargeRequest {
        model: "x".repeat(129),
        request_id: "x".repeat(129),
        labels: (0..10_000).map(|number| (format!("label-{number}"), "x".to_owned())).collect(),
        ..spend(&team.id, "-1")
    };
    let fields = ["amount", "labels", "model", "request_id"];
    invalid("four at once", ada.credits().charge(many).await, &fields);
    untouched(&world, &team, "10").await;
}

pub(crate) async fn bad_numbers_of_enums(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let ada = team.owner.client();
    let operator = world.operator().await;
    for number in [-1, 99, i32::MAX] {
        let case = format!("number {number}");
        let invitation = CreateInvitationRequest {
            organization_id: team.id.clone(),
            email: "x@example.com".to_owned(),
            role: number,
            ..CreateInvitationRequest::default()
        };
        invalid(&case, ada.invitations().create_invitation(invitation).await, &["role"]);
        let role = UpdateMemberRoleRequest {
            organization_id: team.id.clone(),
            user_id: team.owner.user.clone(),
            role: number,
            ..UpdateMemberRoleRequest::default()
        };
        invalid_among(&case, ada.members().update_member_role(role).await, "role");
        let grant = GrantCreditsRequest {
            owner: team.id.clone(),
            amount: "1".to_owned(),
            source: number,
            ..GrantCreditsRequest::default()
        };
        invalid(&case, operator.credits().grant_credits(grant).await, &["source"]);
        let ledger = ListLedgerEntriesRequest { owner: team.id.clone(), kinds: vec![number], ..Default::default() };
        invalid(&case, ada.accounts().list_ledger_entries(ledger).await, &["kinds"]);
        let now = bursar_rpc::convert::to_timestamp(Clock::system().now());
        let usage = QueryUsageRequest {
            owner: team.id.clone(),
            from: Some(prost_types::Timestamp::default()),
            to: Some(now),
            group_by: vec![number],
            interval: number,
            ..QueryUsageRequest::default()
        };
        invalid(&case, ada.usage().query_usage(usage).await, &["group_by", "interval"]);
    }
    untouched(&world, &team, "10").await;
}

pub(crate) async fn bad_texts(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let ada = team.owner.client();
    for request_id in ["x".repeat(129), "tab\tbed".to_owned(), "nul\0".to_owned()] {
        let charge = once(&request_id, spend(&team.id, "1"));
        invalid(&format!("{request_id:?}"), ada.credits().charge(charge).await, &["request_id"]);
    }
    for (name, slug, field) in [("", "", "name"), ("A", "-a-", "slug"), ("A", "ab", "slug"), ("A", "admin", "slug")] {
        let request = CreateOrganizationRequest { name: name.to_owned(), slug: slug.to_owned(), ..Default::default() };
        let outcome = ada.organizations().create_organization(request).await;
        invalid(&format!("name {name:?}, slug {slug:?}"), outcome, &[field]);
    }
    for email in ["", "nobody", "a@", "@b.org", "a@b@c.org", "a b@c.org"] {
        let invitation = CreateInvitationRequest {
            organization_id: team.id.clone(),
            email: email.to_owned(),
            role: 3,
            ..CreateInvitationRequest::default()
        };
        invalid(&format!("{email:?}"), ada.invitations().create_invitation(invitation).await, &["email"]);
        let sign_up =
            SignUpRequest { email: email.to_owned(), password: PASSWORD.to_owned(), display_name: "Eve".to_owned() };
        invalid(&format!("{email:?}"), world.anybody().users().sign_up(sign_up).await, &["email"]);
    }
    let lots = ListLotsRequest { owner: team.id.clone(), page_token: "made up".to_owned(), ..Default::default() };
    refused(ada.accounts().list_lots(lots).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    untouched(&world, &team, "10").await;
}

pub(crate) async fn bad_credentials(world: World) {
    let person = world.person("Ada").await;
    let anybody = world.anybody();
    let sign_in = |email: &str, password: &str| SignInRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        ..SignInRequest::default()
    };
    let unknown = format!("{}@example.com", unique("nobody"));
    let wrong = anybody.sessions().sign_in(sign_in(&person.email, "not the password")).await;
    let absent = anybody.sessions().sign_in(sign_in(&unknown, PASSWORD)).await;
    let wrong = refused(wrong, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let absent = refused(absent, Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert_eq!(wrong, absent, "nobody learns which addresses have an account");
    let token = "A".repeat(43);
    let outcome = anybody.users().verify_email(VerifyEmailRequest { token: token.clone() }).await;
    refused(outcome, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
    let outcome = anybody.sessions().refresh(RefreshRequest { refresh_token: token.clone() }).await;
    refused(outcome, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    let operator = world.deployment().operator();
    let request = IssueServiceTokenRequest { client_id: operator.client_id, client_secret: token.clone() };
    let outcome = anybody.service_accounts().issue_service_token(request).await;
    refused(outcome, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let accept = AcceptInvitationRequest { token, ..AcceptInvitationRequest::default() };
    let outcome = person.client().invitations().accept_invitation(accept).await;
    refused(outcome, Code::NotFound, "NOT_FOUND");

    // A mailed token in the wrong hands: it is good for its address only.
    let team = world.team().assemble().await;
    let invited = world.person("Ben").await;
    team.invite(&invited.email).await;
    let token = world.deployment().mailbox().next_token(&invited.email).await;
    let accept = AcceptInvitationRequest { token, ..AcceptInvitationRequest::default() };
    let outcome = person.client().invitations().accept_invitation(accept.clone()).await;
    refused(outcome, Code::PermissionDenied, "INVITATION_EMAIL_MISMATCH");
    given(invited.client().invitations().accept_invitation(accept).await);
}

/// A token that is cut short at either end, longer than it was, and changed at places all over it by as little as can be.
fn damaged(token: &str) -> Vec<String> {
    let flipped = (0..token.len()).step_by(5).chain([token.len() - 1]).map(|at| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'B' { b'A' } else { b'B' };
        String::from_utf8(bytes).expect("ASCII")
    });
    let [cut, headless, longer] = [&token[..token.len() - 1], &token[1..], &format!("{token}A")].map(str::to_owned);
    flipped.chain([cut, headless, longer, token[..token.len() / 2].to_owned()]).collect()
}

pub(crate) async fn tokens_that_are_cut_or_changed_are_nobodys(world: World) {
    let team = world.team().assemble().await;
    let invited = world.person("Ben").await;
    team.invite(&invited.email).await;
    let invitation = world.deployment().mailbox().next_token(&invited.email).await;
    for token in damaged(&invitation) {
        let accept = AcceptInvitationRequest { token: token.clone(), ..AcceptInvitationRequest::default() };
        let outcome = invited.client().invitations().accept_invitation(accept).await;
        refused(outcome, Code::NotFound, "NOT_FOUND");
        let preview = PreviewInvitationRequest { token };
        refused(world.anybody().invitations().preview_invitation(preview).await, Code::NotFound, "NOT_FOUND");
    }
    for refresh_token in damaged(&invited.tokens.refresh_token) {
        let outcome = world.anybody().sessions().refresh(RefreshRequest { refresh_token }).await;
        refused(outcome, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
    }
    for token in damaged(&invited.tokens.access_token) {
        let outcome = world.anybody().with_token(&token).users().get_me(GetMeRequest {}).await;
        refused(outcome, Code::Unauthenticated, "TOKEN_INVALID");
    }
    let name = unique("zoe");
    let email = format!("{name}@example.com");
    Person::sign_up(world.anybody(), &name, &email).await;
    let proof = world.deployment().mailbox().next_token(&email).await;
    for token in damaged(&proof) {
        let outcome = world.anybody().users().verify_email(VerifyEmailRequest { token }).await;
        refused(outcome, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
    }
    // None of it has hurt the good ones.
    given(world.anybody().users().verify_email(VerifyEmailRequest { token: proof }).await);
    let accept = AcceptInvitationRequest { token: invitation, ..AcceptInvitationRequest::default() };
    given(invited.client().invitations().accept_invitation(accept).await);
    let refresh_token = invited.tokens.refresh_token.clone();
    given(world.anybody().sessions().refresh(RefreshRequest { refresh_token }).await);
}

pub(crate) async fn oversized_messages(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let ada = team.owner.client();
    let labels = [("big".to_owned(), "x".repeat(5 * 1024 * 1024))];
    let big = ChargeRequest { labels: labels.into(), ..spend(&team.id, "1") };
    let status = ada.credits().charge(big).await.expect_err("five megabytes");
    refused::<()>(Err(status), Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    let sign_up = SignUpRequest { display_name: "x".repeat(5 * 1024 * 1024), ..SignUpRequest::default() };
    let status = world.anybody().users().sign_up(sign_up).await.expect_err("five megabytes");
    refused::<()>(Err(status), Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    untouched(&world, &team, "10").await;
    // The same connection goes on.
    team.charge(&team.owner, "1").await;
}
