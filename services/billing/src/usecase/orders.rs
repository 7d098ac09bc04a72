//! What subscribing and buying a pack have in common: an order, who may give it, and to whom anything is sold; and with what
//! every other mutation of an account begins, too (`enter`). How it is paid is in `cashier.rs`.

use std::collections::BTreeMap;

use bursar_db::{Db, DbError, Tx};
use bursar_id::{OwnerId, PaymentId};
use bursar_members::words::{self, Words};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, Done, IdempotencyKey, Kept, Mutation, Stored};
use bursar_time::Clock;

use super::access::Allowed;
use super::invoices::Invoices;
use crate::domain::{Account, Outcome, Refusal};
use crate::error::Error;
use crate::lane::{Batcher, Job};
use crate::payment::{PaymentMethod, Payments};
use crate::store::{accounts, payments};

/// What somebody wants to buy.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The plan's or pack's id.
    pub(crate) product: String,
    /// How it is to be paid.
    pub(crate) method: PaymentMethod,
}

/// The caller's standing with the owner's account. Whoever is refused for another reason than being a stranger belongs
/// there. It is looked up before the mutation begins, which needs a connection of its own.
pub(super) fn admit(m: &mut Mutation, owner: OwnerId, standing: Result<Allowed, Error>) -> Result<Allowed, Error> {
    if !matches!(standing, Err(Error::NotAMember)) {
        m.admit(owner);
    }
    standing
}

/// Nobody buys by a membership that may not be so any more. An operator buys by no membership.
fn up_to_date(allowed: &Allowed) -> Result<(), Refusal> {
    if allowed.stale && allowed.spender.is_some() { Err(Refusal::FeedStale) } else { Ok(()) }
}

/// What was asked, and how its caller stands, where nothing stands against that by what is known now; `None` where it was carried
/// out before.
pub(super) async fn enter<'a, C>(
    m: &mut Mutation,
    owner: OwnerId,
    asked: &'a Asked<C>,
    standing: Result<Allowed, Error>,
) -> Result<Option<(&'a C, Allowed)>, Error> {
    let allowed = admit(m, owner, standing)?;
    let Some(command) = m.open(asked).await? else { return Ok(None) };
    up_to_date(&allowed)?;
    Ok(Some((command, allowed)))
}

/// What of these people's own accounts was told: of the living nothing, of whoever is gone that they do not belong to it
/// (`farewells.rs`).
async fn told_of(tx: &mut Tx, owners: &[OwnerId]) -> Result<Words, DbError> {
    let people: Vec<_> = owners.iter().filter_map(|owner| Some((*owner, owner.user()?))).collect();
    if people.is_empty() { Ok(Words::default()) } else { words::named(tx, &people).await }
}

/// An order before any money is taken: the caller's standing, and the answer that the request got before, however long
/// ago (`kept`); `None` if there is one.
pub(super) async fn open<'a, C>(
    m: &mut Mutation,
    owner: OwnerId,
    asked: &'a Asked<C>,
    standing: Result<Allowed, Error>,
    kept: impl AsyncFnOnce(&mut Tx, OwnerId, [u8; 16]) -> Result<Option<Kept>, DbError>,
) -> Result<Option<&'a C>, Error> {
    let allowed = admit(m, owner, standing)?;
    let Some(order) = m.open(asked).await? else { return Ok(None) };
    if let Some(request) = asked.key().and_then(IdempotencyKey::digest) {
        // What was sold before there were payments has it itself.
        let kept = match payments::kept(m.tx(), owner, request).await? {
            Some(kept) => Some(kept),
            None => kept(m.tx(), owner, request).await?,
        };
        if let Some(kept) = kept {
            m.recall(asked, kept)?;
            return Ok(None);
        }
    }
    up_to_date(&allowed)?;
    Ok(Some(order))
}

/// What a payment has made for a request, and what is told of that. The answer is kept with the payment, where [`open`] finds it.
pub(super) async fn made<C, T: Stored>(
    m: &mut Mutation,
    payment: PaymentId,
    asked: &Asked<C>,
    (made, events): (T, Vec<Payload>),
) -> Result<Done<T, Payload>, Error> {
    if let Some(kept) = asked.keep(&made) {
        payments::keep(m.tx(), payment, &kept).await?;
    }
    Ok(Done::New(made, events))
}

/// Takes money and books what it bought.
#[derive(Clone)]
pub(crate) struct Till {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) payments: Payments,
    pub(crate) batcher: Batcher,
    pub(crate) invoices: Invoices,
}

impl Till {
    /// Nobody buys credits for an account that may have none in this deployment, whose owner is not active, or whose person
    /// is gone.
    ///
    /// # Errors
    /// [`Error::Refused`]; what it means for what was begun before: [`super::renewals::passes`].
    pub(super) async fn may_sell_to(&self, tx: &mut Tx, owner: OwnerId) -> Result<(), Error> {
        let account = accounts::find(tx, owner).await?;
        self.sells_to(tx, owner, account.as_ref()).await
    }

    /// The same when it is booked: the account stays locked, so that its owner stands as was found until the end. It is
    /// opened for that, so of two who come first one waits for the other. Gives it as it is.
    pub(super) async fn demand_sale_to(&self, tx: &mut Tx, owner: OwnerId) -> Result<Account, Error> {
        accounts::open(tx, &[owner], self.clock.now()).await?;
        let (_, account) = accounts::lock(tx, &[owner]).await?.pop().ok_or(Error::Failed)?;
        self.sells_to(tx, owner, Some(&account)).await?;
        Ok(account)
    }

    /// The accounts of those of these owners to whom something may be sold, when it is booked: they stay locked until the end,
    /// as with [`Till::demand_sale_to`].
    pub(super) async fn sells_to_these(
        &self,
        tx: &mut Tx,
        owners: &[OwnerId],
    ) -> Result<BTreeMap<OwnerId, Account>, Error> {
        let mut locked = accounts::lock(tx, owners).await?;
        if locked.len() < owners.len() {
            accounts::open(tx, owners, self.clock.now()).await?;
            locked = accounts::lock(tx, owners).await?;
        }
        let told = told_of(tx, owners).await?;
        let may = |(owner, account): &(OwnerId, Account)| self.why_not(*owner, &told, Some(account)).is_none();
        Ok(locked.into_iter().filter(may).collect())
    }

    /// Carries out requests on several accounts, in their order, as part of a larger transaction. `None`: it cannot be carried
    /// out here, or was refused.
    pub(super) async fn book_all(&self, tx: &mut Tx, jobs: &[Job]) -> Result<Vec<Option<Outcome>>, Error> {
        let answers = self.batcher.apply_all(tx, jobs).await?;
        Ok(answers.into_iter().map(|answer| answer.and_then(Result::ok)).collect())
    }

    async fn sells_to(&self, tx: &mut Tx, owner: OwnerId, account: Option<&Account>) -> Result<(), Error> {
        let told = told_of(tx, &[owner]).await?;
        self.why_not(owner, &told, account).map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Why nothing may be sold to an owner, by what was told of people's own accounts.
    fn why_not(&self, owner: OwnerId, told: &Words, account: Option<&Account>) -> Option<Refusal> {
        if owner.organization().is_none() && !self.batcher.rules().personal_accounts {
            return Some(Refusal::OrganizationRequired);
        }
        let own = owner.user().and_then(|user| told.get(&(owner, user)));
        if own.is_some_and(|word| word.role.is_none()) {
            return Some(Refusal::NotAMember);
        }
        account.and_then(|account| Refusal::of_standing(owner, account.standing))
    }

    /// Carries out one request on an account as part of a larger transaction.
    pub(super) async fn book(&self, tx: &mut Tx, job: &Job) -> Result<Outcome, Error> {
        let answer = self.batcher.apply(tx, job).await?;
        Ok(answer?)
    }
}
