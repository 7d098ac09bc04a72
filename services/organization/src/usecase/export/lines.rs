//! What an export says of each thing: JSON objects whose fields are called as in the API's message of that thing. Nothing
//! secret. Who reads one long after does so by FORMAT and the API's reference, so neither the store's columns nor what is
//! serialized elsewhere decides a name here, but for audit rows: [`AuditRow::to_json`] names their fields for good.

use bursar_db::audit::AuditRow;
use bursar_members::{OwnPolicy, Policy};
use bursar_proto::billing::v1::UsageRow;
use bursar_rpc::convert::required_timestamp;
use bursar_time::{Span, Timestamp};
use serde_json::{Map, Value, json};

use super::super::preferences::shown;
use super::super::{Item, PolicyView, as_told};
use crate::Error;
use crate::domain::etag;
use crate::store::invitations::InvitationRow;
use crate::store::memberships::MemberRow;
use crate::store::organizations::OrganizationRow;
use crate::store::preferences::MemberPreferencesRow;
use crate::store::projects::ProjectRow;

/// The format of what is exported. A field or a file more is no other format.
pub(super) const FORMAT: u32 = 1;

pub(super) fn organization(row: &OrganizationRow, policies: PolicyView) -> Value {
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "slug": row.slug,
        "owner_user_id": row.owner_user_id.to_string(),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        "etag": etag::of(row.version),
        "state": as_told(row.life.standing).as_str(),
        "purge_at": row.life.standing.deletion().map(|deletion| time(deletion.purge_at)),
        "policy": policy(policies.policy),
        "own": names(policies.own),
    })
}

/// Every policy that there is, by hand: a new one does not compile until it is here.
fn policy(policy: Policy) -> Value {
    let Policy {
        admin_billing,
        usage_visibility,
        balance_visibility,
        second_factor,
        transfer,
        spending,
        personal_workspace,
        organization_creation,
        deletion_grace,
        credit_unit,
    } = policy;
    json!({
        "admin_billing": admin_billing,
        "usage_visibility": usage_visibility,
        "balance_visibility": balance_visibility,
        "second_factor": second_factor,
        "transfer": transfer,
        "spending": spending,
        "personal_workspace": personal_workspace,
        "organization_creation": organization_creation,
        "deletion_grace": seconds(deletion_grace.span()),
        "credit_unit": { "singular": credit_unit.singular.as_str(), "plural": credit_unit.plural.as_str() },
    })
}

/// The names of the policies that an organization has set.
fn names(own: OwnPolicy) -> Vec<&'static str> {
    let OwnPolicy { admin_billing, usage_visibility, balance_visibility, second_factor, transfer } = own;
    let set = [
        ("admin_billing", admin_billing.is_some()),
        ("usage_visibility", usage_visibility.is_some()),
        ("balance_visibility", balance_visibility.is_some()),
        ("second_factor", second_factor.is_some()),
        ("transfer", transfer.is_some()),
    ];
    set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

pub(super) fn member(row: &MemberRow) -> Value {
    json!({
        "organization_id": row.organization_id.to_string(),
        "user_id": row.user_id.to_string(),
        "role": row.role.as_str(),
        "email": row.email,
        "display_name": row.display_name,
        "joined_at": time(row.joined_at),
        "etag": etag::of(row.version),
    })
}

pub(super) fn preferences(row: &MemberPreferencesRow) -> Result<Value, Error> {
    let preferences = shown(&row.preferences)?;
    Ok(json!({
        "user_id": row.user_id.to_string(),
        "preferences": preferences.document,
        "etag": etag::of(preferences.version),
    }))
}

pub(super) fn invitation(row: &InvitationRow, now: Timestamp) -> Result<Value, Error> {
    Ok(json!({
        "id": row.id.to_string(),
        "organization_id": row.organization_id.to_string(),
        "email": row.email,
        "role": row.role.as_str(),
        "state": row.state_at(now)?.as_str(),
        "invited_by": row.invited_by.to_string(),
        "created_at": time(row.created_at),
        "expires_at": time(row.expires_at),
    }))
}

pub(super) fn project(row: &ProjectRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "owner": row.owner.to_string(),
        "name": row.name,
        "description": row.description,
        "created_by": row.created_by.to_string(),
        "assigned_to": row.assigned_to.to_string(),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        "etag": etag::of(row.version),
    })
}

pub(super) fn item(item: Item) -> Value {
    let content = item.content.map(|content| {
        json!({ "size": content.size, "media_type": content.media_type, "sha256": hex::encode(content.sha256) })
    });
    json!({
        "id": item.id.to_string(),
        "owner": item.owner.to_string(),
        "kind": item.kind,
        "name": item.name,
        "document": item.document,
        "parent": item.parent.map(|id| id.to_string()),
        "project": item.project.map(|id| id.to_string()),
        "content": content,
        "secrets_set": item.secrets_set,
        "created_by": item.created_by.to_string(),
        "etag": etag::of(item.version),
        "created_at": time(item.created_at),
        "updated_at": time(item.updated_at),
    })
}

pub(super) fn audited(row: &AuditRow) -> Value {
    Value::Object(row.to_json())
}

/// What billing says of one day; what it leaves empty is left out.
pub(super) fn usage(row: UsageRow) -> Result<Value, Error> {
    let wrong = |_| Error::Internal("billing told of usage without a day");
    let start = required_timestamp(row.interval_start).map_err(wrong)?;
    let mut line = Map::new();
    line.insert("interval_start".to_owned(), Value::from(time(start)));
    let told = [
        ("member", row.member),
        ("project", row.project),
        ("model", row.model),
        ("meter", row.meter),
        ("quantity", row.quantity),
        ("charged", row.charged),
        ("refunded", row.refunded),
        ("net", row.net),
    ];
    let told = told.into_iter().filter(|(_, text)| !text.is_empty());
    line.extend(told.map(|(name, text)| (name.to_owned(), Value::from(text))));
    if row.count > 0 {
        line.insert("count".to_owned(), Value::from(row.count));
    }
    Ok(Value::Object(line))
}

fn time(time: Timestamp) -> String {
    time.to_rfc3339()
}

fn seconds(span: Span) -> String {
    let (whole, rest) = (span.as_secs(), span.as_micros() % 1_000_000);
    if rest == 0 { format!("{whole}s") } else { format!("{whole}.{rest:06}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::standing::Standing;
    use crate::store::preferences::PreferencesRow;
    use crate::store::standings::Life;
    use bursar_id::{OrganizationId, Role, UserId};
    use bursar_members::{CreditUnit, Transfer};
    use bursar_rpc::convert::to_timestamp;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).unwrap()
    }

    fn user(n: u64) -> UserId {
        UserId::from_parts(n, [0; 10])
    }

    /// What is written once is read for ever: a change of any of it is another FORMAT, unless something is added.
    #[test]
    fn lines_are_as_they_were() {
        let organization = OrganizationId::from_parts(1, [0; 10]);
        let row = OrganizationRow {
            id: organization,
            name: "Acme".to_owned(),
            slug: "acme".to_owned(),
            owner_user_id: user(1),
            version: 3,
            created_at: at(0),
            updated_at: at(60),
            life: Life { standing: Standing::Active, version: 0 },
        };
        let own = OwnPolicy { transfer: Some(Transfer::NomineeAccepts), ..OwnPolicy::default() };
        let policy = Policy { credit_unit: CreditUnit::WORDS, ..own.over(&Policy::default()) };
        let said = super::organization(&row, PolicyView { policy, own });
        let expected = r#"{"created_at":"1970-01-01T00:00:00Z","etag":"v3","id":"ORG","name":"Acme","owner_user_id":"USR",
            "own":["transfer"],"policy":{"admin_billing":"MANAGE","balance_visibility":"EVERYONE",
            "credit_unit":{"plural":"words","singular":"word"},"deletion_grace":"604800s","organization_creation":"ANYONE",
            "personal_workspace":"ON","second_factor":"OPTIONAL","spending":"USERS_AND_SERVICES",
            "transfer":"NOMINEE_ACCEPTS","usage_visibility":"MANAGERS"},"purge_at":null,"slug":"acme","state":"ACTIVE",
            "updated_at":"1970-01-01T00:01:00Z"}"#;
        let golden = |text: &str| {
            let text = text.replace("ORG", &organization.to_string()).replace("USR", &user(1).to_string());
            serde_json::from_str::<Value>(&text).unwrap()
        };
        assert_eq!(said, golden(expected), "{said}");

        let member = super::member(&MemberRow {
            organization_id: organization,
            user_id: user(1),
            role: Role::Owner,
            email: "u1@example.com".to_owned(),
            display_name: "Ada".to_owned(),
            version: 2,
            joined_at: at(0),
        });
        let expected = r#"{"organization_id":"ORG","user_id":"USR","role":"OWNER","email":"u1@example.com",
            "display_name":"Ada","joined_at":"1970-01-01T00:00:00Z","etag":"v2"}"#;
        assert_eq!(member, golden(expected));

        let preferences = PreferencesRow { document: r#"{"theme":"dark"}"#.to_owned(), version: 5 };
        let preferences = super::preferences(&MemberPreferencesRow { user_id: user(1), preferences }).unwrap();
        assert_eq!(preferences, golden(r#"{"user_id":"USR","preferences":{"theme":"dark"},"etag":"v5"}"#));

        let row = UsageRow {
            interval_start: Some(to_timestamp(at(0))),
            model: "large".to_owned(),
            charged: "2.5".to_owned(),
            count: 4,
            ..UsageRow::default()
        };
        let expected = r#"{"interval_start":"1970-01-01T00:00:00Z","model":"large","charged":"2.5","count":4}"#;
        assert_eq!(usage(row).unwrap(), golden(expected));
    }
}
