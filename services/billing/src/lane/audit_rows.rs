//! The audit rows of requests of which the audit log is told: what operators grant and void, and what is erased. They are
//! written in the transaction that carries the requests out, so none is lost and none tells of what did not come about.

use bursar_db::audit::{self, AuditRow};
use bursar_id::AuditId;
use bursar_time::Timestamp;

use super::job::{Answer, Job};
use crate::domain::Outcome;

/// The rows of what was decided at `now`; where no request asks for one, nothing but a look at each. What repeats an
/// earlier answer, or finds a lot void already, is no second call.
pub(super) fn rows<'a>(decided: impl Iterator<Item = (&'a Job, &'a Answer)>, now: Timestamp) -> Vec<AuditRow> {
    decided.filter_map(|(job, answer)| row(job, answer, now)).collect()
}

/// The row of what was decided at `now`.
pub(super) fn row(job: &Job, answer: &Answer, now: Timestamp) -> Option<AuditRow> {
    let call = job.request.told.as_ref()?;
    let target = target(job, answer.as_ref().ok()?)?;
    Some(AuditRow {
        id: AuditId::from_parts(now.as_millis(), call.row),
        at: now,
        owner: Some(job.owner),
        actor: call.actor.clone(),
        on_behalf_of: call.on_behalf_of.clone(),
        method: call.method.to_owned(),
        target: Some(target),
        outcome: audit::Outcome::Done,
        reason: None,
        request_id: job.request.name.as_ref().map(|name| name.id.as_str().to_owned()),
    })
}

/// What it was done to: the lot, or the member whose details go; where they belong to no member, the account.
fn target(job: &Job, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Granted(granted) if !granted.replayed => Some(granted.lot.id.to_string()),
        Outcome::Voided(voided) if !voided.replayed => Some(voided.lot.to_string()),
        Outcome::Erased(erased) if !erased.replayed => {
            Some(erased.member.map_or_else(|| job.owner.to_string(), |member| member.to_string()))
        }
        _ => None,
    }
}
