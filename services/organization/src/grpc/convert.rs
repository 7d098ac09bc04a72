//! Between the API's messages and what the use cases work with.

use std::fmt::Display;
use std::str::FromStr;

use bursar_email::Email;
use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_proto::billing::v1::Feature;
use bursar_proto::organization::v1 as proto;
pub(super) use bursar_rpc::convert::field;
use bursar_rpc::convert::{ConvertError, role, to_optional_role, to_role, to_timestamp};
use bursar_rpc::document::to_struct;
use bursar_rpc::{Problem, Violations};

use crate::domain::entitlements::Entitlements;
use crate::domain::etag;
use crate::domain::invitation::{State, over_limit};
use crate::domain::kind::Kind;
use crate::domain::standing::Standing;
use crate::store::memberships::MemberRow;
use crate::store::organizations::{FoundOrganization, OrganizationOfUser, OrganizationRow};
use crate::store::projects::ProjectRow;
use crate::usecase::departures::Owned;
use crate::usecase::{Content, InvitationView, Item, as_told};

/// Reads a field that has to be known before anybody can be authorized, and may be empty.
pub(super) fn optional_field<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<Option<T>, Problem> {
    if text.is_empty() { Ok(None) } else { field(name, text).map(Some) }
}

/// The organization a request is about.
pub(super) fn organization_id(text: &str) -> Result<OrganizationId, Problem> {
    field("organization_id", text)
}

/// The context a request is about.
pub(super) fn owner(text: &str) -> Result<OwnerId, Problem> {
    field("owner", text)
}

/// The role of an invitation or a change: Admin or Member.
pub(super) fn lesser_role(violations: &mut Violations, number: i32) -> Option<Role> {
    match role(number) {
        Ok(role @ (Role::Admin | Role::Member)) => Some(role),
        Ok(Role::Owner) | Err(_) => {
            violations.add("role", "must be ROLE_ADMIN or ROLE_MEMBER");
            None
        }
    }
}

/// An address that mail can be delivered to.
pub(super) fn email(violations: &mut Violations, text: &str) -> Option<Email> {
    violations.check("email", Email::parse(text))
}

/// What is kept of each outcome for a repetition: the message of the API, which its RPC puts into a response.
mod stored {
    use bursar_rpc::Stored;

    use super::{FoundOrganization, InvitationView, Item, MemberRow, OrganizationOfUser, Owned, ProjectRow, proto};
    use crate::usecase::{CallingOff, Created, Revealed};

    /// What the plan allows is for who may see billing: a repetition is told of it as it may be then.
    impl Stored for OrganizationOfUser {
        type Message = proto::Organization;
        fn to_message(&self) -> proto::Organization {
            proto::Organization { entitlements: None, ..super::organization(self.clone()) }
        }
    }

    /// What is kept for its creator is in no context that ends with it. What it is called is kept with itself alone: a
    /// repetition is told it from there.
    impl Stored for Created {
        type Message = proto::Organization;
        fn to_message(&self) -> proto::Organization {
            proto::Organization { name: String::new(), slug: String::new(), ..self.0.to_message() }
        }
    }

    /// That a creation is to be called off is kept in the words of an answer that no deletion has: it is pending.
    impl Stored for CallingOff {
        type Message = proto::Organization;
        fn to_message(&self) -> proto::Organization {
            let state = proto::OrganizationState::Pending.into();
            proto::Organization { id: self.organization.to_string(), state, ..Default::default() }
        }
    }

    impl Stored for FoundOrganization {
        type Message = proto::FoundOrganization;
        fn to_message(&self) -> proto::FoundOrganization {
            super::found(self.clone())
        }
    }

    /// What the person is called and reached by is kept with the person alone: a repetition is told it from there.
    impl Stored for MemberRow {
        type Message = proto::Member;
        fn to_message(&self) -> proto::Member {
            proto::Member { email: String::new(), display_name: String::new(), ..super::member(self.clone()) }
        }
    }

    /// The address is kept with the invitation alone.
    impl Stored for InvitationView {
        type Message = proto::Invitation;
        fn to_message(&self) -> proto::Invitation {
            proto::Invitation { email: String::new(), ..super::invitation(self.clone()) }
        }
    }

    impl Stored for Owned {
        type Message = proto::ConfirmDepartureResponse;
        fn to_message(&self) -> proto::ConfirmDepartureResponse {
            let organization_ids = self.first.iter().map(ToString::to_string).collect();
            proto::ConfirmDepartureResponse { organizations: self.count, organization_ids }
        }
    }

    /// What an item says is kept with the item alone, and ends with it: a repetition is told it from there.
    impl Stored for Item {
        type Message = proto::Item;
        fn to_message(&self) -> proto::Item {
            let (id, owner, etag) = (self.id.to_string(), self.owner.to_string(), super::etag::of(self.version));
            proto::Item { id, owner, etag, ..Default::default() }
        }
    }

    /// Nothing is kept of what is secret.
    impl Stored for Revealed {
        type Message = ();
        fn to_message(&self) {}
    }

    /// What a project says is kept with the project alone, and ends with it: a repetition is told it from there.
    impl Stored for ProjectRow {
        type Message = proto::Project;
        fn to_message(&self) -> proto::Project {
            super::project_alone(super::project(self.clone()))
        }
    }
}

/// An organization as a member sees it.
pub(super) fn organization(of_user: OrganizationOfUser) -> proto::Organization {
    let OrganizationOfUser { organization: row, role, seating, nominee } = of_user;
    let over_limit = over_limit(seating.taken(), seating.seats());
    let entitlements = seating.entitlements().map(|it| entitlements(&it));
    proto::Organization {
        role: to_optional_role(role).into(),
        over_limit,
        nominee_user_id: nominee.nominee_user_id.map(|user| user.to_string()).unwrap_or_default(),
        nominated_until: nominee.nominated_until.map(to_timestamp),
        entitlements,
        ..organization_row(row)
    }
}

/// What a plan allows. Features of which a later billing has told have no number here yet.
pub(super) fn entitlements(allowed: &Entitlements) -> proto::OrganizationEntitlements {
    let known = |name: &str| Feature::from_str_name(&format!("FEATURE_{name}")).map(i32::from);
    proto::OrganizationEntitlements {
        plan_id: allowed.plan.as_str().to_owned(),
        seats: allowed.seats,
        features: allowed.features.names().filter_map(known).collect(),
    }
}

/// An organization as an operator sees it, who has no role there.
pub(super) fn found(found: FoundOrganization) -> proto::FoundOrganization {
    let standing = found.organization.life.standing;
    proto::FoundOrganization {
        suspension_reason: found.suspension_reason,
        deleted_at: standing.deletion().map(|deletion| to_timestamp(deletion.at)),
        purged: matches!(standing, Standing::Purged(_)),
        organization: Some(organization_row(found.organization)),
    }
}

fn organization_row(row: OrganizationRow) -> proto::Organization {
    proto::Organization {
        id: row.id.to_string(),
        name: row.name,
        slug: row.slug,
        owner_user_id: row.owner_user_id.to_string(),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        etag: etag::of(row.version),
        state: standing(row.life.standing).into(),
        purge_at: row.life.standing.deletion().map(|deletion| to_timestamp(deletion.purge_at)),
        ..Default::default()
    }
}

/// Where an organization is in its life, as everybody is told.
pub(super) fn standing(standing: Standing) -> proto::OrganizationState {
    as_told(standing).to_state().0
}

/// A member.
pub(super) fn member(row: MemberRow) -> proto::Member {
    proto::Member {
        organization_id: row.organization_id.to_string(),
        user_id: row.user_id.to_string(),
        role: to_role(row.role).into(),
        email: row.email,
        display_name: row.display_name,
        joined_at: Some(to_timestamp(row.joined_at)),
        etag: etag::of(row.version),
    }
}

/// An invitation, without its token.
pub(super) fn invitation(view: InvitationView) -> proto::Invitation {
    let InvitationView { invitation: row, state } = view;
    proto::Invitation {
        id: row.id.to_string(),
        organization_id: row.organization_id.to_string(),
        email: row.email,
        role: to_role(row.role).into(),
        state: to_state(state).into(),
        invited_by: row.invited_by.to_string(),
        created_at: Some(to_timestamp(row.created_at)),
        expires_at: Some(to_timestamp(row.expires_at)),
    }
}

/// The state of an invitation.
pub(super) fn to_state(state: State) -> proto::InvitationState {
    match state {
        State::Pending => proto::InvitationState::Pending,
        State::Accepted => proto::InvitationState::Accepted,
        State::Declined => proto::InvitationState::Declined,
        State::Revoked => proto::InvitationState::Revoked,
        State::Expired => proto::InvitationState::Expired,
    }
}

/// The state by which a list is filtered; unspecified is every state.
pub(super) fn state(number: i32) -> Result<Option<State>, &'static str> {
    match proto::InvitationState::try_from(number) {
        Ok(proto::InvitationState::Unspecified) => Ok(None),
        Ok(proto::InvitationState::Pending) => Ok(Some(State::Pending)),
        Ok(proto::InvitationState::Accepted) => Ok(Some(State::Accepted)),
        Ok(proto::InvitationState::Declined) => Ok(Some(State::Declined)),
        Ok(proto::InvitationState::Revoked) => Ok(Some(State::Revoked)),
        Ok(proto::InvitationState::Expired) => Ok(Some(State::Expired)),
        Err(_) => Err("must be a state of an invitation"),
    }
}

/// The role by which a list is filtered; unspecified is every role.
pub(super) fn role_filter(number: i32) -> Result<Option<Role>, ConvertError> {
    bursar_rpc::convert::optional_role(number)
}

/// A project.
pub(super) fn project(row: ProjectRow) -> proto::Project {
    proto::Project {
        id: row.id.to_string(),
        owner: row.owner.to_string(),
        name: row.name,
        description: row.description,
        created_by: row.created_by.to_string(),
        assigned_to: row.assigned_to.to_string(),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        etag: etag::of(row.version),
    }
}

/// Which project it was, in which state, and nothing of what it said.
pub(super) fn project_alone(project: proto::Project) -> proto::Project {
    proto::Project { id: project.id, owner: project.owner, etag: project.etag, ..Default::default() }
}

/// A kind of items.
pub(super) fn kind(kind: Kind) -> proto::Kind {
    let schema = kind.schema.and_then(|schema| schema.value().as_object().cloned());
    proto::Kind {
        name: kind.name,
        parents: kind.parents.into_iter().collect(),
        may_stand_alone: kind.may_stand_alone,
        has_content: kind.has_content,
        schema: schema.map(to_struct),
        secret_fields: kind.secret_fields.into_iter().collect(),
    }
}

/// An item of a library.
pub(super) fn item(item: Item) -> proto::Item {
    proto::Item {
        id: item.id.to_string(),
        owner: item.owner.to_string(),
        kind: item.kind,
        name: item.name,
        document: Some(to_struct(item.document)),
        parent: item.parent.map(|id| id.to_string()).unwrap_or_default(),
        project: item.project.map(|id| id.to_string()).unwrap_or_default(),
        content: item.content.map(content),
        secrets_set: item.secrets_set,
        created_by: item.created_by.to_string(),
        etag: etag::of(item.version),
        created_at: Some(to_timestamp(item.created_at)),
        updated_at: Some(to_timestamp(item.updated_at)),
    }
}

/// Which item it was, in which state, and nothing of what it said.
pub(super) fn item_alone(item: proto::Item) -> proto::Item {
    proto::Item { id: item.id, owner: item.owner, etag: item.etag, ..Default::default() }
}

/// An item's content.
pub(super) fn content(content: Content) -> proto::Content {
    proto::Content { size: content.size, media_type: content.media_type, sha256: hex::encode(content.sha256) }
}
