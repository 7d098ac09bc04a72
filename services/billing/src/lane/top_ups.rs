//! Accounts that fell below what their top-up wants: a job looks at each, enqueued in the transaction that took the credits.
//! Whether anything is bought then is not for a lane to say.

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_jobs::{Jobs, Kind};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::write::Unsaved;

/// Looking whether an account is to be topped up.
pub(crate) const TOP_UP: Kind<TopUp> = Kind::new("billing.top-up");

/// Which account to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TopUp {
    /// Whose it is.
    pub(crate) owner: OwnerId,
}

/// Has an account looked at, now: however often that is asked for, once.
pub(crate) async fn look(jobs: &Jobs, tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<(), DbError> {
    jobs.enqueue(tx, TOP_UP, &TopUp { owner }, now, Some(&owner.to_string())).await
}

/// The accounts that fell below it.
pub(super) fn crossed(unsaved: &[Unsaved]) -> impl Iterator<Item = OwnerId> {
    unsaved.iter().filter(|it| it.changes.crossed).map(|it| it.changes.owner)
}
