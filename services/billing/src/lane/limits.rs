//! The limits of a batch's accounts: loading what decisions need of them, and the events that tell of alerts, those of
//! allowances among them.

use std::collections::HashMap;
use std::sync::Arc;

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_proto::event::v1::LimitAlert as Told;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::convert::to_timestamp;
use bursar_time::Timestamp;

use super::allowances;
use super::job::Job;
use super::load::States;
use crate::domain::{AccountState, Changes, LimitAlert, Subject, Total, UseKey, Used};
use crate::store::limits;
use crate::store::write::Unsaved;

/// Loads the limits of the accounts that have any, and how much of them is used as far as these jobs need it, and what is
/// loaded of holds and charges. Nothing is asked where no account has any.
pub(super) async fn load(tx: &mut Tx, jobs: &[&Job], states: &mut States, now: Timestamp) -> Result<(), DbError> {
    let mut owners: Vec<OwnerId> =
        states.values().filter(|state| state.account().limits > 0).map(AccountState::owner).collect();
    if owners.is_empty() {
        return Ok(());
    }
    owners.sort_unstable();
    for (owner, set) in limits::of(tx, &owners).await? {
        if let Some(state) = states.get_mut(&owner) {
            state.load_limits(Arc::new(set));
        }
    }
    let mut asked: HashMap<OwnerId, Vec<&Job>> = HashMap::new();
    for job in jobs {
        asked.entry(job.owner).or_default().push(job);
    }
    let mut needed: Vec<(OwnerId, UseKey)> = Vec::new();
    for owner in &owners {
        let Some(state) = states.get(owner) else { continue };
        let theirs = asked.remove(owner).unwrap_or_default();
        let theirs = theirs.into_iter().map(|job| (&job.request, &job.actor));
        needed.extend(state.needed_use(theirs, now).into_iter().map(|key| (*owner, key)));
    }
    if needed.is_empty() {
        return Ok(());
    }
    let mut found: HashMap<OwnerId, Vec<(UseKey, Used)>> = HashMap::new();
    for (owner, key, used) in limits::used(tx, &needed).await? {
        found.entry(owner).or_default().push((key, used));
    }
    let mut keys: HashMap<OwnerId, Vec<UseKey>> = HashMap::new();
    for (owner, key) in needed {
        keys.entry(owner).or_default().push(key);
    }
    for (owner, keys) in keys {
        if let Some(state) = states.get_mut(&owner) {
            state.load_use(keys, found.remove(&owner).unwrap_or_default(), now);
        }
    }
    Ok(())
}

/// All limits of one account and all that is known of their use at `now`, for readers.
pub(super) async fn load_all(tx: &mut Tx, state: &mut AccountState, now: Timestamp) -> Result<(), DbError> {
    let owner = state.owner();
    let Some(set) = limits::of(tx, &[owner]).await?.remove(&owner) else { return Ok(()) };
    state.load_limits(Arc::new(set));
    let used = limits::used_after(tx, owner, now).await?;
    state.load_use(Vec::new(), used, now);
    Ok(())
}

/// The events that tell of what was decided, in its order.
pub(super) fn events(unsaved: &[Unsaved]) -> Vec<Payload> {
    let each = |changes: &Changes| {
        let limits = changes.alerts.iter().map(|alert| told(changes.owner, alert));
        let allowance = changes.allowance_alerts.iter().map(|alert| allowances::told(changes.owner, alert));
        limits.chain(allowance).collect::<Vec<_>>()
    };
    unsaved.iter().flat_map(|it| each(&it.changes)).collect()
}

fn told(owner: OwnerId, alert: &LimitAlert) -> Payload {
    let LimitAlert { limit, subject, percents, used, open } = alert;
    let member = match subject {
        Subject::Member(user) => user.to_string(),
        _ => String::new(),
    };
    Payload::LimitAlert(Told {
        owner: owner.to_string(),
        limit_id: limit.id.to_string(),
        subject: limit.subject.to_string(),
        member,
        window: limit.window.as_str().to_owned(),
        mode: limit.mode.as_str().to_owned(),
        amount: limit.amount.to_string(),
        used: Total(*used).to_string(),
        percents: percents.iter().copied().map(u32::from).collect(),
        starts_at: Some(to_timestamp(open.starts_at)),
        resets_at: Some(to_timestamp(open.ends_at)),
    })
}
