//! Telling anew what plans allow where another catalog says something else of them. What a plan includes is the catalog's to
//! say, also for those who have it already (`GetEntitlements`); the others know it by event, and no subscription changes
//! when a catalog does.

use bursar_db::Db;
use bursar_jobs::{Jobs, Kind};
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::catalogs;
use super::subscriptions::{SubscriptionUseCases, changed};
use crate::domain::{Catalog, Features, KeptCatalog, Plan};
use crate::error::Error;
use crate::store::{catalogs as stored, subscriptions};

/// Telling of everybody who has a plan what it allows now.
pub(crate) const PLAN: Kind<Edited> = Kind::new("billing.plan");

/// Subscriptions that are looked at together.
const PART: i64 = 256;
/// How long after a catalog was first used a program that starts with it looks what it says anew: whoever used it first may
/// have stopped before that was told.
const NEW_FOR: Span = Span::DAY;

/// A plan of which the catalog in use says something else than the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edited {
    /// The plan, by its id.
    pub(crate) plan: String,
}

/// The plans that allow something else now than they did.
pub(super) fn edited<'a>(was: impl Fn(&str) -> Option<&'a Plan>, now: &Catalog) -> Vec<Edited> {
    let differs = |plan: &&Plan| was(plan.id.as_str()).is_some_and(|was| Features::of(was) != Features::of(plan));
    now.plans().iter().filter(differs).map(|plan| Edited { plan: plan.id.to_string() }).collect()
}

/// Has it told of these plans. Of a plan that is waited for already once more.
pub(super) async fn enqueue(db: &Db, jobs: &Jobs, edited: &[Edited], now: Timestamp) -> Result<(), Error> {
    if edited.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    for it in edited {
        jobs.enqueue(&mut tx, PLAN, it, now, Some(&it.plan)).await?;
    }
    tx.commit().await?;
    jobs.wake();
    Ok(())
}

/// What a program looks at when it starts: whether its catalog says something else of plans than the one before, if it is a
/// new one, or not the last one.
pub(crate) async fn begin(db: &Db, jobs: &Jobs, present: &KeptCatalog, now: Timestamp) -> Result<(), Error> {
    let last = stored::latest(&mut db.read().await?, 2).await?;
    let is_present = |row: &stored::CatalogRow| row.version().is_ok_and(|version| version == present.version);
    if last.first().is_some_and(is_present) && present.first_used_at.saturating_add(NEW_FOR) < now {
        return Ok(());
    }
    let Some(row) = last.iter().find(|row| !is_present(row)) else { return Ok(()) };
    match catalogs::read(row) {
        Ok(before) => enqueue(db, jobs, &edited(|id| before.catalog.plan(id), &present.catalog), now).await,
        // A later program has kept it, or it is damaged: selling goes on.
        Err(error) => {
            tracing::warn!(%error, "whether plans allow something else than by the catalog before cannot be told");
            Ok(())
        }
    }
}

/// Tells of everybody who has the plan, and not by a contract, what it allows by the catalog in use.
pub(crate) async fn tell(subscriptions: &SubscriptionUseCases, edited: &Edited) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let mut tx = subscriptions.till.db.begin().await?;
        let part = subscriptions::live_after(&mut tx, &after, PART).await?;
        let Some(last) = part.last() else { return Ok(()) };
        after = last.owner.to_string();
        let sold = subscriptions.catalog.current();
        let mut events = Vec::new();
        for live in part.iter().filter(|it| it.plan.as_str() == edited.plan && it.features.is_none()) {
            // Whoever has changed it meanwhile tells of it.
            if subscriptions::hold(&mut tx, live).await? {
                events.push(changed(live, &sold));
            }
        }
        subscriptions.outbox.commit(tx, events).await?;
    }
}

#[cfg(test)]
mod tests;
