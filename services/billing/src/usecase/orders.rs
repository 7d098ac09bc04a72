//! What subscribing and buying a pack have in common: an order, its payment, and what becomes of the
//! payment when nothing could be sold after all.

use bursar_db::{Db, DbError, Tx};
use bursar_id::OwnerId;
use bursar_money::Price;
use bursar_rpc::{Asked, IdempotencyKey, Kept, Mutation};
use bursar_time::Clock;

use super::access::Allowed;
use crate::domain::{Outcome, Refusal};
use crate::error::Error;
use crate::lane::{Batcher, Job};
use crate::payment::{Payment, PaymentKey, PaymentMethod, Payments, Settlement};
use crate::store::accounts;

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
pub(super) fn up_to_date(allowed: &Allowed) -> Result<(), Refusal> {
    if allowed.stale && allowed.spender.is_some() { Err(Refusal::FeedStale) } else { Ok(()) }
}

/// An order before any money is taken: the caller's standing, and the answer that the request got before, however long
/// ago (`kept`); `None` if there is one.
pub(super) async fn open<'a>(
    m: &mut Mutation,
    owner: OwnerId,
    asked: &'a Asked<Order>,
    standing: Result<Allowed, Error>,
    kept: impl AsyncFnOnce(&mut Tx, OwnerId, [u8; 16]) -> Result<Option<Kept>, DbError>,
) -> Result<Option<&'a Order>, Error> {
    let allowed = admit(m, owner, standing)?;
    let Some(order) = m.open(asked).await? else { return Ok(None) };
    if let Some(request) = asked.key().and_then(IdempotencyKey::digest)
        && let Some(kept) = kept(m.tx(), owner, request).await?
    {
        m.recall(asked, kept)?;
        return Ok(None);
    }
    up_to_date(&allowed)?;
    Ok(Some(order))
}

/// Takes money and books what it bought.
#[derive(Clone)]
pub(crate) struct Till {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) payments: Payments,
    pub(crate) batcher: Batcher,
}

impl Till {
    /// Nobody buys credits for an account that may have none in this deployment, or whose owner is not active.
    pub(super) async fn may_sell_to(&self, tx: &mut Tx, owner: OwnerId) -> Result<(), Error> {
        self.may_have_credits(owner)?;
        let account = accounts::find(tx, owner).await?;
        Ok(account.and_then(|account| Refusal::of_standing(owner, account.standing)).map_or(Ok(()), Err)?)
    }

    /// The same when it is booked: the account stays locked, so that its owner stands as was found until the end.
    pub(super) async fn demand_sale_to(&self, tx: &mut Tx, owner: OwnerId) -> Result<(), Error> {
        accounts::lock(tx, &[owner]).await?;
        self.may_sell_to(tx, owner).await
    }

    fn may_have_credits(&self, owner: OwnerId) -> Result<(), Refusal> {
        let may = owner.organization().is_some() || self.batcher.rules().personal_accounts;
        if may { Ok(()) } else { Err(Refusal::OrganizationRequired) }
    }

    /// Takes the order's payment; `attempt` is the id of what it is to become.
    pub(super) fn pay(&self, asked: &Asked<Order>, amount: Price, attempt: &str) -> Result<Settlement, Error> {
        let key = PaymentKey::of_request(asked.key(), attempt);
        Ok(self.payments.pay(&Payment { key, amount, method: &asked.command()?.method }))
    }

    /// Gives the payment back if it is certain that nothing was sold. Where it is not (the store did not answer), the
    /// same request asked again is the same payment.
    pub(super) fn after<R>(&self, booked: Result<R, Error>, settlement: &Settlement) -> Result<R, Error> {
        let certain = match &booked {
            Ok(_) | Err(Error::Store(_)) => false,
            Err(Error::Problem(problem)) => problem.is_refusal(),
            Err(_) => true,
        };
        if let (true, Settlement::Paid { reference }) = (certain, settlement) {
            self.payments.give_back(reference);
        }
        booked
    }

    /// Carries out one request on an account as part of a larger transaction.
    pub(super) async fn book(&self, tx: &mut Tx, job: &Job) -> Result<Outcome, Error> {
        let answer = self.batcher.apply(tx, job).await?;
        Ok(answer?)
    }
}
