//! Who calls, and what there is: of an organization, of a stranger's personal context, and of every caller's own.

use std::collections::BTreeMap;

use bursar_id::{UserId, kinds};
use bursar_proto::access::{CallerKind, MethodRule};
use bursar_proto::billing::v1::{
    GrantCreditsRequest, HoldRequest, LimitMode, LimitSubject, LimitWindow, LotSource, PurchasePackRequest,
    SetLimitRequest, limit_subject::Subject,
};
use bursar_proto::identity::v1::{
    CreateServiceAccountRequest, IssueServiceTokenRequest, SuspendUserRequest, SwitchContextRequest,
};
use bursar_proto::organization::v1::{
    CreateInvitationRequest, CreateItemRequest, CreateProjectRequest, DeleteOrganizationRequest,
    GetOrganizationRequest, Role, SuspendOrganizationRequest, UpdateMemberRoleRequest, UploadContentRequest,
    get_organization_request::Key,
};
use bursar_proto::testing::v1::SaveMethodRequest;
use bursar_testkit::{Client, Person, Refusal, id};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio_stream as stream;
use tonic::{Request, Status};

use crate::acting::everywhere;
use crate::support::{
    given, spend,
    waiting::{PATIENCE, eventually},
    world::{Team, World, unique},
};

/// One of each sort of thing, by the name of the sort in the table.
pub(crate) type Things = BTreeMap<&'static str, String>;

/// Somebody who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    /// Nobody has none.
    pub(crate) token: Option<String>,
    /// The token of a user for whom a service calls.
    pub(crate) behind: Option<String>,
    /// The role of a service that calls for nobody.
    pub(crate) role: Option<&'static str>,
    /// What is the caller's own, or of the owner for whom a service works.
    pub(crate) own: Things,
}

/// Another one, whose ids are sent.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) theirs: Things,
    /// The same sorts of things, of which none exists.
    pub(crate) nobodys: Things,
    /// Whether it is an organization that is closed to everybody.
    pub(crate) closed: bool,
}

/// Everybody and everything.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) anybody: Client,
    /// An owner first.
    pub(crate) callers: Vec<Caller>,
    /// An organization that is open first.
    pub(crate) targets: Vec<Target>,
}

impl Stage {
    /// Sets the stage: two organizations and four people of whom each has something of everything.
    pub(crate) async fn set(world: &World) -> Self {
        let operator = world.operator().await;
        let (theirs, [former, left, suspended]) = Box::pin(another(world, &operator)).await;
        let zoe = world.person("Zoe").await;
        let mut targets = vec![
            Target::organization("of another organization", of_team(world, &operator, &theirs).await),
            Target::personal("of a stranger's own", of_person(world, &operator, &zoe).await),
        ];
        for (name, reason) in CLOSED {
            targets.push(Target { closed: true, ..Box::pin(closed(world, &operator, name, reason)).await });
        }
        let (mut callers, product) = Box::pin(insiders(world, &operator)).await;
        targets[0].theirs.insert("service", product);
        let stranger = world.person("Stan").await;
        let strangers = of_person(world, &operator, &stranger).await;
        callers.push(Caller::of("a stranger", &stranger, &strangers));
        let formers = of_person(world, &operator, &former).await;
        callers.push(Caller::of("a former member", &former, &formers));
        callers.push(Caller::of("a former member with the old token", &left, &formers));
        callers.push(Caller::of("a suspended member", &suspended, &strangers));
        callers.push(Caller { name: "nobody", token: None, behind: None, role: None, own: strangers });
        Self { anybody: world.anybody().clone(), callers, targets }
    }
}

/// The organizations that are closed, and what is told to those who belong there.
const CLOSED: [(&str, &str); 2] = [
    ("of an organization that is suspended", "ORGANIZATION_SUSPENDED"),
    ("of an organization that is deleted", "ORGANIZATION_DELETED"),
];

impl Caller {
    fn of(name: &'static str, who: &Person, own: &Things) -> Self {
        Self { name, token: Some(who.tokens.access_token.clone()), behind: None, role: None, own: own.clone() }
    }

    /// Whether there is something to ask: services ask what is for them, those that call for a user what is for users.
    pub(crate) fn may_ask(&self, rule: &MethodRule) -> bool {
        let is_for_users = self.behind.is_none() || rule.admits(CallerKind::User);
        is_for_users && self.role.is_none_or(|role| rule.service_roles.contains(&role))
    }

    /// A request of the caller's.
    pub(crate) fn request(&self, message: Vec<u8>) -> Request<Bytes> {
        let mut request = Request::new(Bytes::from(message));
        for (header, token) in [("authorization", &self.token), ("bursar-user-authorization", &self.behind)] {
            if let Some(token) = token {
                request.metadata_mut().insert(header, format!("Bearer {token}").parse().expect("a header"));
            }
        }
        request
    }
}

impl Target {
    /// One whose slug is as long as nobody's.
    fn organization(name: &'static str, theirs: Things) -> Self {
        let mut nobodys = nothing(&id::<kinds::Organization>(77).to_string());
        nobodys.insert("slug", "x".repeat(theirs["slug"].len()));
        Self { name, theirs, nobodys, closed: false }
    }

    fn personal(name: &'static str, theirs: Things) -> Self {
        let mut nobodys = nothing(&id::<kinds::User>(77).to_string());
        nobodys.insert("slug", "nobodys-slug".to_owned());
        Self { name, theirs, nobodys, closed: false }
    }
}

/// Whether somebody is refused for this reason.
fn is_told(outcome: &Result<(), Status>, reason: &str) -> bool {
    outcome.as_ref().is_err_and(|status| Refusal::of(status).reason == reason)
}

/// An organization with something of everything that was closed afterwards.
async fn closed(world: &World, operator: &Client, name: &'static str, reason: &str) -> Target {
    let team = world.team().with_members(1).assemble().await;
    let target = Target::organization(name, of_team(world, operator, &team).await);
    let (organization_id, client) = (team.id.clone(), team.owner.client());
    if reason == "ORGANIZATION_SUSPENDED" {
        let suspend = SuspendOrganizationRequest { organization_id, ..Default::default() };
        given(operator.organizations().suspend_organization(suspend).await);
    } else {
        let confirm_slug = target.theirs["slug"].clone();
        let delete = DeleteOrganizationRequest { organization_id, confirm_slug, ..Default::default() };
        given(client.organizations().delete_organization(delete).await);
    }
    eventually("it is known that it is closed", PATIENCE, async || {
        let switch = SwitchContextRequest { owner: team.id.clone() };
        let entered = client.contexts().switch_context(switch).await.map(drop);
        let spent = client.credits().charge(spend(&team.id, "1")).await.map(drop);
        [entered, spent].iter().all(|outcome| is_told(outcome, reason)).then_some(())
    })
    .await;
    target
}

/// The organization that is none of the callers' own; a former member of it at home and with the token from before, and one
/// who is suspended.
async fn another(world: &World, operator: &Client) -> (Team, [Person; 3]) {
    let team = world.team().with_members(1).assemble().await;
    let former = world.person("Fay").await;
    let left = team.admit(&former).await;
    team.remove(&former).await;
    let suspended = team.admit(&world.person("Sue").await).await;
    let suspend = SuspendUserRequest { user_id: suspended.user.clone(), ..Default::default() };
    given(operator.users().suspend_user(suspend).await);
    eventually("it is known who left and who is suspended", PATIENCE, async || {
        let told = everywhere(suspended.client(), &team.id).await;
        let spent = left.client().credits().charge(spend(&team.id, "1")).await.map(drop);
        let is_known =
            is_told(&spent, "NOT_A_MEMBER") && told.iter().all(|(_, outcome)| is_told(outcome, "USER_SUSPENDED"));
        is_known.then_some(())
    })
    .await;
    (team, [former, left, suspended])
}

/// An organization's people, and the services that work for it; and the id of one of these.
async fn insiders(world: &World, operator: &Client) -> (Vec<Caller>, String) {
    let team = world.team().with_members(2).assemble().await;
    let (owner, [admin, member]) = (&team.owner, [&team.members[1], &team.members[0]]);
    let promote = UpdateMemberRoleRequest {
        organization_id: team.id.clone(),
        user_id: admin.user.clone(),
        role: Role::Admin.into(),
        ..Default::default()
    };
    given(owner.client().members().update_member_role(promote).await);
    let (admin, home) = (admin.in_context(&team.id).await, owner.in_context(&owner.user).await);
    let own = of_team(world, operator, &team).await;
    let request = CreateServiceAccountRequest {
        display_name: "Product".to_owned(),
        role: "product".to_owned(),
        ..Default::default()
    };
    let product = given(operator.service_accounts().create_service_account(request).await);
    let of_operator = world.deployment().operator();
    let accounts = [
        ("the operator", "operator", of_operator.client_id, of_operator.client_secret),
        ("a service of the product", "product", product.client_id.clone(), product.client_secret),
    ];
    let mut callers = vec![
        Caller::of("an owner", owner, &own),
        Caller::of("an owner in the personal context", &home, &own),
        Caller::of("an Admin", &admin, &own),
        Caller::of("a Member", member, &own),
    ];
    for (name, role, client_id, client_secret) in accounts {
        let request = IssueServiceTokenRequest { client_id, client_secret };
        let token = given(world.anybody().service_accounts().issue_service_token(request).await).access_token;
        let mut own = own.clone();
        own.insert("service", product.client_id.clone());
        callers.push(Caller { name, token: Some(token), behind: None, role: Some(role), own });
    }
    // The product's is the last one.
    let through = callers.last().and_then(|caller| caller.token.clone());
    let behind = Some(owner.tokens.access_token.clone());
    callers.push(Caller { name: "an owner through a service of the product", token: through, behind, role: None, own });
    (callers, product.client_id)
}

/// Ids that are well-formed, and nobody's.
fn nothing(account: &str) -> Things {
    let user: UserId = id(77);
    Things::from([
        ("account", account.to_owned()),
        ("charge", id::<kinds::Charge>(77).to_string()),
        ("hold", id::<kinds::Hold>(77).to_string()),
        ("invitation", id::<kinds::Invitation>(77).to_string()),
        ("invoice", id::<kinds::Invoice>(77).to_string()),
        ("item", id::<kinds::Item>(77).to_string()),
        ("limit", id::<kinds::Limit>(77).to_string()),
        ("lot", id::<kinds::Lot>(77).to_string()),
        ("method", id::<kinds::PaymentMethod>(77).to_string()),
        ("organization", id::<kinds::Organization>(77).to_string()),
        ("payment", id::<kinds::Payment>(77).to_string()),
        ("project", id::<kinds::Project>(77).to_string()),
        ("purchase", id::<kinds::Purchase>(77).to_string()),
        ("service", id::<kinds::ServiceAccount>(77).to_string()),
        ("session", id::<kinds::Session>(77).to_string()),
        ("template", id::<kinds::Item>(78).to_string()),
        ("user", user.to_string()),
    ])
}

/// What an organization has; its user is its first member.
async fn of_team(world: &World, operator: &Client, team: &Team) -> Things {
    let mut things = of_context(world, operator, &team.owner, &team.id).await;
    let client = team.owner.client();
    let key = Some(Key::OrganizationId(team.id.clone()));
    let found = given(client.organizations().get_organization(GetOrganizationRequest { key }).await);
    let invite = CreateInvitationRequest {
        organization_id: team.id.clone(),
        email: format!("{}@example.com", unique("invited")),
        role: Role::Member.into(),
        ..Default::default()
    };
    let invited = given(client.invitations().create_invitation(invite).await);
    things.extend([
        ("user", team.members[0].user.clone()),
        ("organization", team.id.clone()),
        ("slug", found.organization.expect("an organization").slug),
        ("invitation", invited.invitation.expect("an invitation").id),
    ]);
    things
}

/// What somebody has in the personal context.
async fn of_person(world: &World, operator: &Client, who: &Person) -> Things {
    of_context(world, operator, who, &who.user).await
}

async fn of_context(world: &World, operator: &Client, who: &Person, owner: &str) -> Things {
    let signed_in = Person::sign_in(world.anybody(), &who.email).await.tokens.session_id;
    let mut things = Things::from([("account", owner.to_owned()), ("user", who.user.clone()), ("session", signed_in)]);
    things.extend(credits(operator, who.client(), owner).await);
    things.extend(purchases(world, who.client(), owner).await);
    things.extend(work(who.client(), owner).await);
    things
}

async fn credits(operator: &Client, client: &Client, owner: &str) -> [(&'static str, String); 4] {
    let owner = || owner.to_owned();
    let grant = GrantCreditsRequest {
        owner: owner(),
        amount: "100".to_owned(),
        source: LotSource::Promotion.into(),
        ..Default::default()
    };
    let lot = given(operator.credits().grant_credits(grant).await).lot.expect("a lot").id;
    let charge = given(client.credits().charge(spend(&owner(), "1")).await).charge.expect("a charge").id;
    let hold = HoldRequest { owner: owner(), amount: "1".to_owned(), ..Default::default() };
    let hold = given(client.credits().hold(hold).await).hold.expect("a hold").id;
    let limit = SetLimitRequest {
        owner: owner(),
        subject: Some(LimitSubject { subject: Some(Subject::EveryMember(true)) }),
        window: LimitWindow::Day.into(),
        amount: "1000".to_owned(),
        mode: LimitMode::Hard.into(),
        ..Default::default()
    };
    let limit = given(client.limits().set_limit(limit).await).limit.expect("a limit").id;
    [("lot", lot), ("charge", charge), ("hold", hold), ("limit", limit)]
}

async fn purchases(world: &World, client: &Client, owner: &str) -> [(&'static str, String); 4] {
    let save = SaveMethodRequest {
        owner: owner.to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        exp_month: 12,
        exp_year: 9_999,
    };
    let method = given(world.anybody().sandbox().save_method(save).await).payment_method.expect("a method").id;
    let buy = PurchasePackRequest {
        owner: owner.to_owned(),
        pack_id: "starter".to_owned(),
        payment_method: method.clone(),
        ..Default::default()
    };
    let bought = given(client.purchases().purchase_pack(buy).await);
    let payment = bought.payment.expect("a payment");
    let purchase = bought.purchase.expect("a purchase").id;
    [("method", method), ("purchase", purchase), ("payment", payment.id), ("invoice", payment.invoice_id)]
}

async fn work(client: &Client, owner: &str) -> [(&'static str, String); 3] {
    let project = CreateProjectRequest { owner: owner.to_owned(), name: "Work".to_owned(), ..Default::default() };
    let project = given(client.projects().create_project(project).await).project.expect("a project").id;
    let item = async |kind: &str| {
        let item = CreateItemRequest {
            owner: owner.to_owned(),
            kind: kind.to_owned(),
            name: "Work".to_owned(),
            ..Default::default()
        };
        given(client.libraries().create_item(item).await).item.expect("an item").id
    };
    let (template, asset) = (item("project_template").await, item("brand_asset").await);
    let content = UploadContentRequest {
        item_id: asset.clone(),
        size: 4,
        sha256: hex::encode(Sha256::digest(b"work")),
        chunk: b"work".to_vec(),
        ..Default::default()
    };
    given(client.libraries().upload_content(stream::iter([content])).await);
    [("project", project), ("template", template), ("item", asset)]
}
