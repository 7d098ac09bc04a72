//! The producer's side: putting jobs into the table.

use std::sync::Arc;

use bursar_db::{Db, DbError, Tx};
use bursar_id::JobId;
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_time::{Clock, Timestamp};
use serde::Serialize;
use tokio::sync::Notify;

use crate::{Kind, store};

/// As what the prints of those are made whom jobs are for.
const SOMEBODYS: &str = "jobs of somebody";
/// As what the prints of those are made whose jobs are.
const OWNED: &str = "jobs of an owner";

/// The jobs of one store. Cheap to clone; all clones wake the same [`crate::Runner`].
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    sealer: Sealer,
    entropy: Entropy,
    clock: Clock,
    bell: Notify,
}

impl Jobs {
    /// The jobs in `db`, sealed by `sealer`.
    pub fn new(db: Db, sealer: Sealer, entropy: Entropy, clock: Clock) -> Self {
        Self(Arc::new(Inner { db, sealer, entropy, clock, bell: Notify::new() }))
    }

    /// Enqueues a job in the caller's transaction: it is done, not before `run_at`, if and only if that commits. Call
    /// [`Jobs::wake`] after the commit to have it done at once; otherwise it is found within a second.
    ///
    /// Of the jobs of a kind that wait or are worked on, only one has the same `unique` key. If there is one, no
    /// other is made, its payload stays, and it is done once more from its beginning after this commit, not later than
    /// `run_at` demands: what was asked for while it ran is not lost, nor does it wait because that attempt failed. The
    /// empty key is not a job's.
    ///
    /// The payload must be serializable as JSON ([`DbError::Corrupt`] otherwise).
    pub async fn enqueue<P: Serialize>(
        &self,
        tx: &mut Tx,
        kind: Kind<P>,
        payload: &P,
        run_at: Timestamp,
        unique: Option<&str>,
    ) -> Result<(), DbError> {
        let now = self.0.clock.now();
        let id = JobId::from_parts(now.as_millis(), self.0.entropy.bytes());
        self.put(tx, (id, now), (kind, payload), (run_at, unique, None)).await
    }

    /// Enqueues a job of which there may be any number, as [`Jobs::enqueue`] does, and which goes with two: `whom` it is for,
    /// for [`Jobs::forget_those_of`], and `whose` it is, for [`Jobs::forget_owned`]. What stands for them beside the job are
    /// keyed prints.
    pub async fn enqueue_for<P: Serialize>(
        &self,
        tx: &mut Tx,
        kind: Kind<P>,
        payload: &P,
        run_at: Timestamp,
        (whom, whose): (&str, &str),
    ) -> Result<(), DbError> {
        let now = self.0.clock.now();
        let id = JobId::from_parts(now.as_millis(), self.0.entropy.bytes());
        // No two have one key: each has its own id in it.
        let (unique, owner) = (format!("{}/{id}", self.print(SOMEBODYS, whom)), self.print(OWNED, whose));
        self.put(tx, (id, now), (kind, payload), (run_at, Some(&unique), Some(&owner))).await
    }

    /// Takes the jobs of a kind off the table that were enqueued for somebody, whether they wait or are dead letters: none of
    /// them is done, nor can be revived. One that is worked on at this moment may be done. Says how many.
    pub async fn forget_those_of<P>(&self, tx: &mut Tx, kind: Kind<P>, whom: &str) -> Result<u64, DbError> {
        let print = self.print(SOMEBODYS, whom);
        // Ids follow after a slash, and `0` after that.
        store::forget_those_of(tx, kind.name(), (&format!("{print}/"), &format!("{print}0"))).await
    }

    /// Takes up to `limit` jobs of a kind off the table that are somebody's, whoever they are for; the same holds of them. Says how
    /// many; fewer than `limit`: these were all.
    pub async fn forget_owned<P>(&self, tx: &mut Tx, kind: Kind<P>, whose: &str, limit: i64) -> Result<u64, DbError> {
        store::forget_owned(tx, kind.name(), &self.print(OWNED, whose), limit).await
    }

    async fn put<P: Serialize>(
        &self,
        tx: &mut Tx,
        (id, now): (JobId, Timestamp),
        (kind, payload): (Kind<P>, &P),
        (run_at, unique, owner): (Timestamp, Option<&str>, Option<&str>),
    ) -> Result<(), DbError> {
        let clear = serde_json::to_vec(payload).map_err(|error| DbError::corrupt(error.to_string()))?;
        let sealed = self.seal(id, &clear);
        store::insert(tx, &store::NewJob { id, kind: kind.name(), unique, owner, sealed, run_at, now }).await
    }

    /// What stands for somebody beside jobs, as what they are to them.
    fn print(&self, as_what: &str, whose: &str) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0.sealer.print(as_what, whose)))
    }

    /// Says that a job was committed: it is looked for now.
    pub fn wake(&self) {
        self.0.bell.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.0.bell.notified().await;
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    /// Sees to it that the row of something periodic is there.
    pub(crate) async fn enrol(&self, name: &'static str) -> Result<(), DbError> {
        let now = self.0.clock.now();
        let id = JobId::from_parts(now.as_millis(), self.0.entropy.bytes());
        let sealed = self.seal(id, b"null");
        let mut tx = self.0.db.begin().await?;
        let job =
            store::NewJob { id, kind: name, unique: Some(store::PERIODIC), owner: None, sealed, run_at: now, now };
        store::enrol(&mut tx, &job).await?;
        tx.commit().await
    }

    fn seal(&self, id: JobId, clear: &[u8]) -> Vec<u8> {
        self.0.sealer.seal(&self.0.entropy, clear, &bound_to(id))
    }

    /// Opens a payload; `None` when the key is another one or the row was tampered with.
    pub(crate) fn open(&self, id: JobId, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        self.0.sealer.open(sealed, &bound_to(id)).ok()
    }
}

/// Binds a sealed payload to its row, so that no two can be exchanged.
fn bound_to(id: JobId) -> Vec<u8> {
    format!("bursar.job.v1/{id}").into_bytes()
}
