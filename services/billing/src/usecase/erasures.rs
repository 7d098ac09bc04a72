//! Erasing personal details: what entries, holds and lots say in free text goes for good, and the ledger says so.

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_secret::Entropy;

use super::access::Allowed;
use super::credits::{Asked, answered, job};
use crate::domain::{Command, Erased, Outcome};
use crate::error::Error;
use crate::lane::Lanes;
use crate::store::{accounts, details};

/// How many pages of details one transaction takes: a member of years is erased in portions, and others go on.
const PORTION: i64 = 64;

/// Erases details.
#[derive(Clone)]
pub(crate) struct ErasureUseCases {
    pub(crate) lanes: Lanes,
    pub(crate) db: Db,
    pub(crate) entropy: Entropy,
}

impl ErasureUseCases {
    /// Books the ERASE entry and then removes what it excuses. Cut off in between, the same request goes on: the entry
    /// is replayed, and what is gone already is not there to be removed.
    pub(crate) async fn erase(&self, allowed: Allowed, erasure: Asked<Option<UserId>>) -> Result<Erased, Error> {
        let (owner, member) = (allowed.owner, erasure.command);
        if accounts::find(&mut self.db.read().await?, owner).await?.is_none() {
            return Err(Error::NotFound("account"));
        }
        let job = job(allowed, &self.entropy, erasure.request_id, Command::Erase { member });
        let Outcome::Erased(erased) = answered(self.lanes.one(job).await?)? else {
            return Err(Error::Failed);
        };
        let mut next = Some(1);
        while let Some(from) = next {
            next = self.portion(owner, &erased, from).await?;
        }
        Ok(erased)
    }

    /// One transaction of removing, from entry number `from` on; says where to go on.
    async fn portion(&self, owner: OwnerId, erased: &Erased, from: u64) -> Result<Option<u64>, Error> {
        let mut tx = self.db.begin().await?;
        let next = details::erase(&mut tx, owner, erased.member, (from, erased.entry), PORTION).await?;
        tx.commit().await?;
        Ok(next)
    }
}
