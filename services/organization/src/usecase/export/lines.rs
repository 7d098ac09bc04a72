//! What an export says of each thing: JSON objects whose fields are called as in the API. Nothing secret.

use bursar_db::audit::AuditRow;
use bursar_proto::billing::v1::UsageRow;
use bursar_rpc::convert::required_timestamp;
use bursar_time::Timestamp;
use serde_json::{Map, Value, json};

use super::super::{Item, PolicyView};
use crate::Error;
use crate::store::invitations::InvitationRow;
use crate::store::memberships::MemberRow;
use crate::store::organizations::OrganizationRow;
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
        "policy": policies.policy,
        "own_policy": policies.own,
    })
}

pub(super) fn member(row: &MemberRow) -> Value {
    json!({
        "user_id": row.user_id.to_string(),
        "role": row.role.as_str(),
        "email": row.email,
        "display_name": row.display_name,
        "joined_at": time(row.joined_at),
    })
}

pub(super) fn invitation(row: &InvitationRow, now: Timestamp) -> Result<Value, Error> {
    Ok(json!({
        "id": row.id.to_string(),
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
        "name": row.name,
        "description": row.description,
        "created_by": row.created_by.to_string(),
        "assigned_to": row.assigned_to.to_string(),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    })
}

pub(super) fn item(item: Item) -> Value {
    let content = item.content.map(|content| {
        json!({ "size": content.size, "media_type": content.media_type, "sha256": hex::encode(content.sha256) })
    });
    json!({
        "id": item.id.to_string(),
        "kind": item.kind,
        "name": item.name,
        "document": item.document,
        "parent": item.parent.map(|id| id.to_string()),
        "project": item.project.map(|id| id.to_string()),
        "content": content,
        "secrets_set": item.secrets_set,
        "created_by": item.created_by.to_string(),
        "created_at": time(item.created_at),
        "updated_at": time(item.updated_at),
    })
}

pub(super) fn audited(row: &AuditRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "at": time(row.at),
        "actor": row.actor,
        "on_behalf_of": row.on_behalf_of,
        "method": row.method,
        "target": row.target,
        "outcome": row.outcome.as_str(),
        "reason": row.reason,
        "request_id": row.request_id,
    })
}

/// What billing says of one day; what it leaves empty is left out.
pub(super) fn usage(row: UsageRow) -> Result<Value, Error> {
    let wrong = |_| Error::Internal("billing told of usage without a day");
    let day = required_timestamp(row.interval_start).map_err(wrong)?;
    let mut line = Map::new();
    line.insert("day".to_owned(), Value::from(time(day)));
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
        line.insert("charges".to_owned(), Value::from(row.count));
    }
    Ok(Value::Object(line))
}

fn time(time: Timestamp) -> String {
    time.to_rfc3339()
}
