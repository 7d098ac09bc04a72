//! Texts for people, in every service: nothing is what it does not seem to be, nothing is longer than may be, and what is
//! refused is not repeated.

use std::collections::BTreeMap;

use bursar_proto::{
    billing::v1::{
        AccountSettings, BillingProfile, ChargeRequest, GrantCreditsRequest, HoldRequest, UpdateAccountSettingsRequest,
    },
    identity::v1::{CreateServiceAccountRequest, SignUpRequest, SuspendUserRequest, UpdateMeRequest},
    organization::v1::{
        CreateInvitationRequest, CreateItemRequest, CreateOrganizationRequest, CreateProjectRequest,
        SuspendOrganizationRequest, UpdateItemRequest, UpdateOrganizationRequest, UpdateProjectRequest,
    },
};
use bursar_testkit::{Client, PASSWORD, refused};
use tonic::{Code, Status};

use crate::support::{
    given,
    world::{World, unique},
};

/// What nobody sees, what turns the text around it, what controls a terminal, and what is no character.
const SEEMING: &str =
    "\u{200b}\u{200e}\u{200f}\u{202e}\u{2066}\u{feff}\u{2060}\u{ad}\u{ffff}\u{fdd0}\0\u{7f}\u{1b}\u{3164}";

/// How many bytes the long texts have.
const LONG: usize = 10_000;

/// Calls an RPC with these fields of its request, the others as they are by default.
macro_rules! ask {
    ($client:expr, $rpc:ident, $request:ident { $($field:ident: $value:expr),* }) => {
        $client.$rpc($request { $($field: $value,)* ..Default::default() }).await.map(drop)
    };
}

/// A field that has a text, and what is answered where it has it.
type Answered = (&'static str, Result<(), Status>);

/// Who writes texts, and to what they belong.
struct Writer {
    anybody: Client,
    ada: Client,
    operator: Client,
    user: String,
    team: String,
    project: String,
    item: String,
}

impl Writer {
    async fn of(world: &World) -> Self {
        let team = world.team().with_credits("10").assemble().await;
        let (ada, operator) = (team.owner.client().clone(), world.operator().await);
        let project = CreateProjectRequest { owner: team.id.clone(), name: "A".to_owned(), ..Default::default() };
        let project = given(ada.projects().create_project(project).await).project.expect("made").id;
        let item = CreateItemRequest {
            owner: team.id.clone(),
            kind: "agent".to_owned(),
            name: "A".to_owned(),
            ..Default::default()
        };
        let item = given(ada.libraries().create_item(item).await).item.expect("made").id;
        let (anybody, user) = (world.anybody().clone(), team.owner.user.clone());
        Self { anybody, ada, operator, user, team: team.id, project, item }
    }

    /// What every service answers to a text, wherever one is given.
    async fn write(&self, text: &str) -> Vec<Answered> {
        let mut answered = self.in_identity(text).await;
        answered.extend(self.in_organization(text).await);
        answered.extend(self.in_projects_and_libraries(text).await);
        answered.extend(self.in_billing(text).await);
        answered
    }

    async fn in_identity(&self, text: &str) -> Vec<Answered> {
        let (text, password) = (|| text.to_owned(), || PASSWORD.to_owned());
        let email = format!("{}@example.com", unique("eve"));
        let named = SignUpRequest { email, password: password(), display_name: text() };
        let reached = SignUpRequest {
            email: format!("{}@example.com", text()),
            password: password(),
            display_name: "Eve".to_owned(),
        };
        vec![
            ("display_name", self.anybody.users().sign_up(named).await.map(drop)),
            ("email", self.anybody.users().sign_up(reached).await.map(drop)),
            ("display_name", ask!(self.ada.users(), update_me, UpdateMeRequest { display_name: text() })),
            (
                "display_name",
                ask!(
                    self.operator.service_accounts(),
                    create_service_account,
                    CreateServiceAccountRequest { display_name: text(), role: "product".to_owned() }
                ),
            ),
            (
                "reason",
                ask!(
                    self.operator.users(),
                    suspend_user,
                    SuspendUserRequest { user_id: self.user.clone(), reason: text() }
                ),
            ),
        ]
    }

    async fn in_organization(&self, text: &str) -> Vec<Answered> {
        let (text, team) = (|| text.to_owned(), || self.team.clone());
        let (organizations, a) = (|| self.ada.organizations(), || "A".to_owned());
        let address = || format!("{}@example.com", text());
        vec![
            ("name", ask!(organizations(), create_organization, CreateOrganizationRequest { name: text() })),
            ("slug", ask!(organizations(), create_organization, CreateOrganizationRequest { name: a(), slug: text() })),
            (
                "name",
                ask!(
                    organizations(),
                    update_organization,
                    UpdateOrganizationRequest { organization_id: team(), name: text() }
                ),
            ),
            (
                "slug",
                ask!(
                    organizations(),
                    update_organization,
                    UpdateOrganizationRequest { organization_id: team(), slug: text() }
                ),
            ),
            (
                "email",
                ask!(
                    self.ada.invitations(),
                    create_invitation,
                    CreateInvitationRequest { organization_id: team(), email: address(), role: 3 }
                ),
            ),
            (
                "reason",
                ask!(
                    self.operator.organizations(),
                    suspend_organization,
                    SuspendOrganizationRequest { organization_id: team(), reason: text() }
                ),
            ),
        ]
    }

    async fn in_projects_and_libraries(&self, text: &str) -> Vec<Answered> {
        let (text, owner) = (|| text.to_owned(), || self.team.clone());
        let (projects, a) = (|| self.ada.projects(), || "A".to_owned());
        let (project, agent) = (|| self.project.clone(), "agent".to_owned());
        vec![
            ("name", ask!(projects(), create_project, CreateProjectRequest { owner: owner(), name: text() })),
            (
                "description",
                ask!(
                    projects(),
                    create_project,
                    CreateProjectRequest { owner: owner(), name: a(), description: text() }
                ),
            ),
            ("name", ask!(projects(), update_project, UpdateProjectRequest { project_id: project(), name: text() })),
            (
                "description",
                ask!(projects(), update_project, UpdateProjectRequest { project_id: project(), description: text() }),
            ),
            (
                "name",
                ask!(
                    self.ada.libraries(),
                    create_item,
                    CreateItemRequest { owner: owner(), kind: agent, name: text() }
                ),
            ),
            (
                "name",
                ask!(self.ada.libraries(), update_item, UpdateItemRequest { item_id: self.item.clone(), name: text() }),
            ),
        ]
    }

    async fn in_billing(&self, text: &str) -> Vec<Answered> {
        let (text, owner, amount) = (|| text.to_owned(), || self.team.clone(), || "1".to_owned());
        let labels = || BTreeMap::from([("scene".to_owned(), text())]);
        let credits = || self.ada.credits();
        let mut answered = vec![
            ("labels", ask!(credits(), charge, ChargeRequest { owner: owner(), amount: amount(), labels: labels() })),
            ("labels", ask!(credits(), hold, HoldRequest { owner: owner(), amount: amount(), labels: labels() })),
            ("project", ask!(credits(), charge, ChargeRequest { owner: owner(), amount: amount(), project: text() })),
            ("model", ask!(credits(), charge, ChargeRequest { owner: owner(), amount: amount(), model: text() })),
            (
                "note",
                ask!(
                    self.operator.credits(),
                    grant_credits,
                    GrantCreditsRequest { owner: owner(), amount: amount(), source: 3, note: text() }
                ),
            ),
        ];
        let address = format!("{}@example.com", text());
        let profiles = [
            ("name", BillingProfile { name: text(), ..Default::default() }),
            ("address_lines[0]", BillingProfile { address_lines: vec![text()], ..Default::default() }),
            ("country", BillingProfile { country: text(), ..Default::default() }),
            ("tax_id", BillingProfile { tax_id: text(), ..Default::default() }),
            ("order_number", BillingProfile { order_number: text(), ..Default::default() }),
            ("invoice_mail", BillingProfile { invoice_mail: address, ..Default::default() }),
        ];
        for (field, profile) in profiles {
            let settings = Some(AccountSettings { billing_profile: Some(profile), ..Default::default() });
            let update = UpdateAccountSettingsRequest { owner: owner(), settings, ..Default::default() };
            answered.push((field, self.ada.accounts().update_account_settings(update).await.map(drop)));
        }
        answered
    }
}

/// Each of these is refused for its field alone.
fn refused_for_their_fields(answered: Vec<Answered>, text: &str) {
    for (number, (field, outcome)) in answered.into_iter().enumerate() {
        let case = format!("case {number}, {field}, {:?}", &text[..text.len().min(9)]);
        let status = outcome.expect_err(&case);
        let shown = format!("{} {}", status.message(), String::from_utf8_lossy(status.details()));
        assert!(!shown.contains(text) && !shown.contains(&"q".repeat(9)), "{case}: it comes back: {shown}");
        let refusal = refused::<()>(Err(status), Code::InvalidArgument, "INVALID_FIELDS");
        let last = |told: &String| told == field || told.ends_with(&format!(".{field}"));
        assert!(refusal.fields.len() == 1 && refusal.fields.iter().all(last), "{case}: {refusal:#?}");
    }
}

pub(crate) async fn names_are_what_they_seem(world: World) {
    let writer = Writer::of(&world).await;
    for c in SEEMING.chars() {
        let text = format!("Ad{c}a");
        refused_for_their_fields(writer.write(&text).await, &text);
    }
    // The same name is written in one way.
    let cafe = CreateOrganizationRequest { name: "  Cafe\u{301}\u{a0} Nord ".to_owned(), ..Default::default() };
    let created = writer.ada.organizations().create_organization(cafe).await;
    assert_eq!(given(created).organization.expect("made").name, "Caf\u{e9} Nord");
    for slug in
        ["xn--80ak6aa92e", "sso", "oauth", "console", "internal", "payments", "webmaster", "noreply", "postmaster"]
    {
        let request = CreateOrganizationRequest { name: "A".to_owned(), slug: slug.to_owned(), ..Default::default() };
        let outcome = writer.ada.organizations().create_organization(request).await;
        let refusal = refused(outcome, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(refusal.fields, ["slug"], "{slug}");
    }
}

pub(crate) async fn no_text_is_longer_than_may_be_and_none_comes_back(world: World) {
    let writer = Writer::of(&world).await;
    let text = "q".repeat(LONG);
    refused_for_their_fields(writer.write(&text).await, &text);
}
