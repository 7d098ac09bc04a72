//! Erasing personal details: what entries, holds and lots say in free text goes for good, and the ledger says so.

use std::collections::BTreeMap;

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_rpc::Call;
use bursar_secret::Entropy;

use super::access::Allowed;
use super::credits::{Asked, answered, told_job};
use crate::domain::{Command, Erased, Outcome};
use crate::error::Error;
use crate::lane::Lanes;
use crate::store::{accounts, details};

/// How many pages of details one transaction takes: a member of years is erased in portions, and others go on.
const PORTION: usize = 64;

/// Erases details.
#[derive(Clone)]
pub(crate) struct ErasureUseCases {
    pub(crate) lanes: Lanes,
    pub(crate) db: Db,
    pub(crate) entropy: Entropy,
}

impl ErasureUseCases {
    /// Books the ERASE entry and then removes what it excuses. Cut off in between, the same request goes on: the entry
    /// is replayed, and what is gone already is not there to be removed. The audit log is told with the entry.
    pub(crate) async fn erase(
        &self,
        call: &Call,
        allowed: Allowed,
        erasure: Asked<Option<UserId>>,
    ) -> Result<Erased, Error> {
        let (owner, member) = (allowed.owner, erasure.command);
        if accounts::find(&mut self.db.read().await?, owner).await?.is_none() {
            return Err(Error::NotFound("account"));
        }
        let job = told_job(call, allowed, &self.entropy, erasure.request_id, Command::Erase { member });
        let Outcome::Erased(erased) = answered(self.lanes.one(job).await?)? else {
            return Err(Error::Failed);
        };
        remove(&self.db, owner, &[(erased.member, erased.entry)].into()).await?;
        Ok(erased)
    }
}

/// Removes what belongs to each of these members (`None`: to no member) from the entries before the number of the entry that
/// says so, and with it the copies in holds and lots. Where it is several, they are all whose something is there before the
/// first of those entries. Cut off anywhere, it may be done again.
pub(super) async fn remove(db: &Db, owner: OwnerId, erased: &BTreeMap<Option<UserId>, u64>) -> Result<(), Error> {
    let mut next = Some(1);
    while let Some(from) = next {
        next = remove_some(db, owner, erased, from).await?;
    }
    Ok(())
}

/// One transaction of it, from entry number `from` on; says where to go on. The account is locked: a page is read, changed
/// and put back as a whole, and two erasures at once would each bring back what the other removed.
async fn remove_some(
    db: &Db,
    owner: OwnerId,
    erased: &BTreeMap<Option<UserId>, u64>,
    from: u64,
) -> Result<Option<u64>, Error> {
    let (Some(first), Some(last)) = (erased.values().min(), erased.values().max()) else { return Ok(None) };
    let mut tx = db.begin().await?;
    accounts::lock(&mut tx, &[owner]).await?;
    let pages = details::from(&mut tx, owner, from, PORTION).await?;
    let next = match pages.last() {
        Some((page, _)) if pages.len() == PORTION && page < last => Some(page + 1),
        _ => None,
    };
    let changed = pages.into_iter().filter_map(|(last, mut page)| page.erase(erased).then_some((last, page)));
    details::replace(&mut tx, owner, &changed.collect::<Vec<_>>()).await?;
    let copies = (from, next.unwrap_or(*first).min(*first));
    let mut whose = erased.keys();
    match (whose.next(), whose.next()) {
        (Some(Some(member)), None) => details::erase_hold_labels(&mut tx, owner, *member, copies).await?,
        (Some(None), None) => details::erase_lot_notes(&mut tx, owner, copies).await?,
        _ => {
            details::erase_all_hold_labels(&mut tx, owner, copies).await?;
            details::erase_lot_notes(&mut tx, owner, copies).await?;
        }
    }
    tx.commit().await?;
    Ok(next)
}
