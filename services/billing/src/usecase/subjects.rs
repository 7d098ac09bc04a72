//! What limits may be about. Members are told by organization, and so are projects; models have a price in the catalog. But
//! charges may name any project, by a name of the product's own, and one of an amount any model: so what was charged for or
//! with before is known, too. Whatever else is named is a slip of the pen, and a limit on it would never hold.

#[cfg(test)]
mod tests;

use bursar_db::{Db, DbError, Tx};
use bursar_id::{OwnerId, ProjectId};
use bursar_members::words;
use tokio::time::Instant;

use super::access::Access;
use crate::domain::{LimitSubject, ProjectName, RateCard, Refusal, Subject};
use crate::error::Error;
use crate::store::projects::{self, Fate};
use crate::store::{limits, members, usage};

/// Remembers what organization told of an owner's projects in this incarnation. Of a person who is gone nothing is remembered:
/// that the projects are gone as well may be told after everything else of the account was erased.
pub(crate) async fn learn(
    tx: &mut Tx,
    (owner, ids): (OwnerId, &[ProjectId]),
    fate: Fate,
    incarnation: u64,
) -> Result<(), DbError> {
    let is_gone = match owner.user() {
        Some(user) => words::named(tx, &[(owner, user)]).await?.values().any(|word| word.role.is_none()),
        None => false,
    };
    if is_gone {
        projects::forget(tx, owner, ids).await
    } else {
        projects::learn(tx, (owner, ids), fate, incarnation).await
    }
}

/// Demands that what a first limit shall be about is known, by the rate card in force. `is_stale`: organization may have told of
/// it since, and nobody heard; then it is not said that there is no such thing.
pub(super) async fn demand(
    tx: &mut Tx,
    owner: OwnerId,
    subject: &LimitSubject,
    rates: &RateCard,
    is_stale: bool,
) -> Result<(), Error> {
    let LimitSubject::One(subject) = subject else { return Ok(()) };
    // Whether it is known, and whether organization alone can tell of it and never did.
    let (known, untold, what) = match subject {
        Subject::Member(user) => {
            let told = members::named(tx, &[(owner, *user)]).await?;
            let word = told.get(&(owner, *user));
            let belongs = word.is_some_and(|word| word.role.is_some());
            let untold = word.is_none() && owner.organization().is_some();
            (belongs || owner == OwnerId::User(*user), untold, "member")
        }
        Subject::Project(name) => {
            let id = told_by(name);
            let told = match id {
                Some(id) => projects::find(tx, owner, id).await?,
                None => None,
            };
            let known = told == Some(Fate::Made) || usage::names_project(tx, owner, name).await?;
            (known, id.is_some() && told.is_none(), "project")
        }
        Subject::Model(name) => {
            (rates.get(name).is_some() || usage::names_model(tx, owner, name).await?, false, "model")
        }
        // Which keys there are identity alone knows.
        Subject::Key(_) => return Ok(()),
    };
    match (known, untold && is_stale) {
        (true, _) => Ok(()),
        (false, true) => Err(Refusal::FeedStale.into()),
        (false, false) => Err(Error::NotFound(what)),
    }
}

/// Waits for the event that tells of a project, no longer than `until`, where nothing at all is known of one that organization
/// may have made.
pub(super) async fn wait_for_project(
    (access, db): (&Access, &Db),
    owner: OwnerId,
    name: &ProjectName,
    until: Instant,
) -> Result<(), Error> {
    let Some(id) = told_by(name) else { return Ok(()) };
    if !access.hears() {
        return Ok(());
    }
    // Most are told of; whether one is used otherwise costs more to find out.
    if told(db, owner, id).await?.is_none() && !is_used(&mut db.read().await?, owner, name).await? {
        access.wait_for(until, || told(db, owner, id)).await?;
    }
    Ok(())
}

/// What organization has told of a project.
async fn told(db: &Db, owner: OwnerId, id: ProjectId) -> Result<Option<Fate>, Error> {
    Ok(projects::find(&mut db.read().await?, owner, id).await?)
}

/// Whether a project may be limited whatever is told of it.
async fn is_used(tx: &mut Tx, owner: OwnerId, name: &ProjectName) -> Result<bool, DbError> {
    let set = limits::of(tx, &[owner]).await?.remove(&owner);
    let is_about = |subject: &LimitSubject| matches!(subject, LimitSubject::One(Subject::Project(it)) if it == name);
    let is_limited = set.is_some_and(|set| set.limits().iter().any(|limit| is_about(&limit.subject)));
    Ok(is_limited || usage::names_project(tx, owner, name).await?)
}

/// The id by which organization tells of a project; `None` where the name is the product's own.
fn told_by(name: &ProjectName) -> Option<ProjectId> {
    name.as_str().parse().ok()
}
