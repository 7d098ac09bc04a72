//! `audit.recorded`: a service's audit rows on their way to organization, which lists everybody's.

use bursar_db::Tx;
use bursar_db::audit::{self, AuditRow};
use bursar_id::OwnerId;
use bursar_proto::event::v1::AuditRecorded;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::convert::{timestamp, to_timestamp};

use crate::Unapplied;

/// The event that tells of a row.
pub(crate) fn recorded(row: &AuditRow) -> Payload {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Payload::AuditRecorded(AuditRecorded {
        id: row.id.to_string(),
        at: Some(to_timestamp(row.at)),
        owner: row.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        actor: row.actor.clone(),
        on_behalf_of: text(&row.on_behalf_of),
        method: row.method.clone(),
        target: text(&row.target),
        outcome: row.outcome.to_string(),
        reason: text(&row.reason),
        request_id: text(&row.request_id),
    })
}

/// Adds the row that an event tells of to this service's log. One that is there already stays as it is.
pub async fn learn(tx: &mut Tx, told: &AuditRecorded) -> Result<(), Unapplied> {
    let row = read(told).ok_or_else(|| Unapplied::unreadable("an audit row is malformed"))?;
    Ok(audit::record(tx, &row).await?)
}

fn read(told: &AuditRecorded) -> Option<AuditRow> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let owner = match told.owner.as_str() {
        "" => None,
        owner => Some(owner.parse::<OwnerId>().ok()?),
    };
    Some(AuditRow {
        id: told.id.parse().ok()?,
        at: timestamp(told.at?).ok()?,
        owner,
        actor: told.actor.clone(),
        on_behalf_of: text(&told.on_behalf_of),
        method: told.method.clone(),
        target: text(&told.target),
        outcome: told.outcome.parse().ok()?,
        reason: text(&told.reason),
        request_id: text(&told.request_id),
    })
}

#[cfg(test)]
mod tests {
    use bursar_db::audit::Outcome;
    use bursar_testkit::{START, at, id, personal};

    use super::*;

    #[test]
    fn a_row_goes_there_and_back() {
        let refused = AuditRow {
            id: id(1),
            at: at(START),
            owner: Some(personal(2)),
            actor: "svc_1".to_owned(),
            on_behalf_of: Some("usr_1".to_owned()),
            method: "a/B".to_owned(),
            target: Some("pur_1".to_owned()),
            outcome: Outcome::Refused,
            reason: Some("ROLE_NOT_ALLOWED".to_owned()),
            request_id: Some("r1".to_owned()),
        };
        let bare = AuditRow {
            owner: None,
            on_behalf_of: None,
            target: None,
            outcome: Outcome::Done,
            reason: None,
            request_id: None,
            ..refused.clone()
        };
        for row in [refused, bare] {
            let Payload::AuditRecorded(told) = recorded(&row) else { panic!("another event") };
            assert_eq!(read(&told), Some(row.clone()));
            for broken in [
                AuditRecorded { id: "aud_1".to_owned(), ..told.clone() },
                AuditRecorded { at: None, ..told.clone() },
                AuditRecorded { owner: "me".to_owned(), ..told.clone() },
                AuditRecorded { outcome: "MAYBE".to_owned(), ..told.clone() },
            ] {
                assert_eq!(read(&broken), None, "{broken:?}");
            }
        }
    }
}
