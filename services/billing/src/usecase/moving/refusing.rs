//! What is answered for good to who asks to move a subscription, or to have it move no more, where none moves.

use std::collections::BTreeMap;

use bursar_db::Tx;
use bursar_id::OwnerId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, IdempotencyKey, Kept, Mutation};

use super::{Move, Moved};
use crate::domain::{LedgerHead, Refusal};
use crate::error::Error;
use crate::store::{accounts, refused_moves, subscriptions};
use crate::usecase::subscriptions::SubscriptionUseCases;

/// Where the ledgers of those end who have an account.
pub(super) type Heads = BTreeMap<OwnerId, LedgerHead>;

impl SubscriptionUseCases {
    /// Has nothing move any more, for this reason; unless something has, or it was refused before, or what the reason was found in
    /// has changed since.
    pub(super) async fn refuse_to_move(
        &self,
        asked: &Asked<Move>,
        why: Moved,
        found_in: Option<Heads>,
    ) -> Result<Answer<Moved>, Error> {
        let mut m = self.mutations.begin(asked).await?;
        let done = stop(&mut m, asked, why, found_in).await;
        self.mutations.end(m, done).await
    }
}

/// Whether nothing was answered before about this organization.
pub(super) async fn is_first(m: &mut Mutation, asked: &Asked<Move>, to: OwnerId) -> Result<bool, Error> {
    m.admit(to);
    if m.open(asked).await?.is_none() {
        return Ok(false);
    }
    if let Some(request) = asked.key().and_then(IdempotencyKey::digest)
        && let Some(kept) = kept(m, to, request).await?
    {
        m.recall(asked, kept)?;
        return Ok(false);
    }
    Ok(true)
}

/// The ends of both ledgers as they are, without a lock.
pub(super) async fn heads(tx: &mut Tx, moving: Move) -> Result<Heads, Error> {
    let mut heads = Heads::new();
    for owner in moving.owners() {
        heads.extend(accounts::find(tx, owner).await?.map(|account| (owner, account.head)));
    }
    Ok(heads)
}

/// Refuses for good what nothing was answered to before, if both ledgers end where they did when the reason was found.
async fn stop(
    m: &mut Mutation,
    asked: &Asked<Move>,
    why: Moved,
    found_in: Option<Heads>,
) -> Result<Done<Moved, Payload>, Error> {
    let moving = *asked.command()?;
    let to = OwnerId::Organization(moving.to);
    if !is_first(m, asked, to).await? {
        return Ok(Done::Replay);
    }
    let now = m.now();
    let why = match subscriptions::live(m.tx(), to).await? {
        // Called off, paid for or not: it is ended with the organization, and nobody would end it if that never was.
        Some(own) if why == Moved::CalledOff || own.is_paid_for(now) => Moved::AlreadySubscribed(own.plan),
        Some(_unpaid) => return Err(Refusal::RenewalDue.into()),
        None => why,
    };
    if let Some(heads) = found_in {
        let mut locked = Heads::new();
        for owner in moving.owners() {
            let accounts = accounts::lock(m.tx(), &[owner]).await?;
            locked.extend(accounts.into_iter().map(|(owner, account)| (owner, account.head)));
        }
        if locked != heads {
            return Err(Error::Unavailable);
        }
    }
    refuse(m, asked, to, why).await
}

/// What was answered when this was asked before, whatever it was.
async fn kept(m: &mut Mutation, to: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, Error> {
    match subscriptions::kept(m.tx(), to, request).await? {
        Some(kept) => Ok(Some(kept)),
        None => Ok(refused_moves::kept(m.tx(), to, request).await?),
    }
}

/// There is nothing to move, and nothing moves there any more.
pub(super) async fn refuse(
    m: &mut Mutation,
    asked: &Asked<Move>,
    to: OwnerId,
    why: Moved,
) -> Result<Done<Moved, Payload>, Error> {
    let now = m.now();
    if let Some(kept) = asked.keep(&why) {
        refused_moves::insert(m.tx(), to, &kept, now).await?;
    }
    m.refuse_for_good();
    Ok(Done::New(why, Vec::new()))
}
