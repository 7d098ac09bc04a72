//! Contracts: what operators agree with one customer (`domain/contract.rs`), from now or from a date on.
//!
//! | begins | for an owner | how |
//! |---|---|---|
//! | in the call | without a subscription | as a subscription (`subscriptions.rs`) |
//! | in the call | with one | as a change of it (`changing.rs`): what costs more now, everything else with the next period |
//! | later | any | it waits (`store/contracts.rs`), one for each owner; at its time a job does what the call would have done ([`begin`]) |
//! | with a period that begins by then | with one | it is what that period is paid by ([`plan`]): the renewal looks for it, so that it does not matter which of the two comes first |
//!
//! Whoever has it take effect removes what waits in the same transaction, so it does so once, and of one that was replaced
//! meanwhile nothing comes. Its payment knows which one it is for: where that is delivered, whoever hears of the money, the
//! contract waits no more, and the payment of one that has been replaced goes back. What is refused, or declined, is tried
//! again once a day, and given up after [`MOST_ATTEMPTS`] times; so is what was open, from when it is declined or canceled
//! ([`Cashier::follow_contract`]), or the owner's own order takes its place ([`Superseded`]). An owner who is gone loses what
//! waits; with a subscription moves what it has, and what waits for it.

use std::collections::BTreeSet;

use bursar_db::Tx;
use bursar_id::{OwnerId, PaymentId};
use bursar_jobs::Kind;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Call, Caller, Done, Mutation, Permission, Refusing, ServiceCaller, ServiceRole};
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::access::Allowed;
use super::agreements::{Agreement, Aim, Which, takes_effect};
use super::cashier::{Beginning, Cashier, MOST_OPEN, is_certain};
use super::changing::{Changed, demand_changeable};
use super::dues::thing_after;
use super::orders::enter;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Assortment, Contract, Payment, Refusal, Subscription, SubscriptionState, Terms};
use crate::error::Error;
use crate::payment::{PaymentMethod, thing_of_request};
use crate::store::contracts::{self, Waiting};
use crate::store::{payments, subscriptions};

/// Beginning a contract that waits.
pub(crate) const CONTRACT: Kind<Due> = Kind::new("billing.contract");

/// As what the audit log hears of it.
const METHOD: &str = "bursar.billing.v1.SubscriptionService/SetContract";

/// How long after it was tried in vain it is tried again.
const AGAIN_AFTER: Span = Span::DAY;

/// How often it is tried in all.
const MOST_ATTEMPTS: u32 = 31;

/// Which contract begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Due {
    /// Whose.
    pub(crate) owner: OwnerId,
    /// Which one of those that the owner may have had.
    pub(crate) id: String,
    /// How often it was tried in vain by then: each attempt is a job of its own.
    pub(crate) attempts: u32,
}

/// What an operator sets, or has set.
#[derive(Debug, Clone)]
pub(crate) struct SetContract {
    /// What was agreed.
    pub(crate) deal: Deal,
    /// How it is to be paid; the default for what pays already.
    pub(crate) method: PaymentMethod,
    /// When it begins; `None` for now.
    pub(crate) starts_at: Option<Timestamp>,
}

/// What was agreed.
#[derive(Debug, Clone)]
pub(crate) enum Deal {
    /// What is set now.
    New(Contract),
    /// What has waited, on the terms that were found good then.
    Waited(Box<Waiting>),
}

/// Which contracts were to begin with payments that an order of their owner's takes the place of.
#[derive(Debug, Default)]
pub(super) struct Superseded(BTreeSet<String>);

impl Superseded {
    /// This payment is given up for it.
    pub(super) fn note(&mut self, given_up: &Payment) {
        self.0.extend(given_up.bought.contract().map(str::to_owned));
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The subscription, if there is one.
    pub(crate) subscription: Option<Subscription>,
    /// The payment, where something was due.
    pub(crate) payment: Option<PaymentId>,
    /// The contract, where it waits.
    pub(crate) waits: Option<Waiting>,
}

impl From<Subscription> for Agreed {
    fn from(begun: Subscription) -> Self {
        Self { payment: begun.payment(), subscription: Some(begun), waits: None }
    }
}

impl From<Changed> for Agreed {
    fn from(Changed { subscription, payment }: Changed) -> Self {
        Self { subscription: Some(subscription), payment, waits: None }
    }
}

impl SetContract {
    fn agreed(&self, sold: &Assortment) -> Result<Terms, Error> {
        match &self.deal {
            Deal::New(contract) => Ok(contract.terms(sold.catalog())?),
            Deal::Waited(waits) => Ok(waits.terms.clone()),
        }
    }

    fn which(&self) -> Which<'_> {
        match &self.deal {
            Deal::New(_) => Which::New,
            Deal::Waited(waits) => Which::of(waits),
        }
    }
}

impl Agreement for SetContract {
    fn terms(&self, sold: &Assortment) -> Result<Terms, Error> {
        self.agreed(sold)
    }

    fn method(&self) -> &PaymentMethod {
        &self.method
    }

    fn contract(&self) -> Option<Which<'_>> {
        Some(self.which())
    }
}

impl Aim for SetContract {
    fn terms(&self, sold: &Assortment, live: Option<&Subscription>, now: Timestamp) -> Result<Terms, Error> {
        let terms = self.agreed(sold)?;
        demand_changeable(live.ok_or(Error::NoSubscription)?, now)?;
        Ok(terms)
    }

    fn contract(&self) -> Option<(Which<'_>, &PaymentMethod)> {
        Some((self.which(), &self.method))
    }
}

impl SubscriptionUseCases {
    /// Has an owner's subscription be what was agreed: now, or from a date on.
    pub(crate) async fn set_contract(
        &self,
        owner: OwnerId,
        asked: &Asked<SetContract>,
    ) -> Result<Answer<Agreed>, Error> {
        let now = self.till.clock.now();
        // What is malformed is refused where it would be kept, in the order in which everything is.
        let waits = asked.command().map_or(true, |set| set.starts_at.is_some_and(|at| at > now));
        if !waits {
            return self.take_effect(owner, asked).await;
        }
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.keep(&mut m, owner, asked, standing).await;
        let kept = self.mutations.end(m, done).await?;
        self.cashier.jobs.wake();
        Ok(kept)
    }

    /// The owner's contract that begins later.
    pub(crate) async fn contract_of(&self, owner: OwnerId) -> Result<Option<Waiting>, Error> {
        Ok(contracts::of(&mut self.till.db.read().await?, owner).await?)
    }

    /// Begins a subscription by it, or changes the one that there is. What this very request has begun goes on as it began.
    async fn take_effect(&self, owner: OwnerId, asked: &Asked<SetContract>) -> Result<Answer<Agreed>, Error> {
        // Whether there is one to change may depend on what is due.
        let standing = self.admitted(asked.caller(), owner).await;
        let mut tx = self.till.db.read().await?;
        let live = subscriptions::live(&mut tx, owner).await?;
        let begun = payments::last_attempt(&mut tx, thing_of_request(asked.key(), "")).await?;
        tx.commit().await?;
        if live.is_none() || begun.is_some_and(|it: Payment| !it.came_to_nothing()) {
            Box::pin(self.begin_by(owner, asked, standing)).await
        } else {
            Box::pin(self.change_by(owner, asked, standing)).await
        }
    }

    /// One transaction: the contract that waits, in the place of whichever did, and the job that begins it.
    async fn keep(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<SetContract>,
        standing: Result<Allowed, Error>,
    ) -> Result<Done<Agreed, Payload>, Error> {
        let Some((set, _)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        let terms = set.agreed(&self.catalog.current())?;
        let starts_at = set.starts_at.ok_or(Error::Failed)?;
        let method = match &set.method {
            PaymentMethod::Default => String::new(),
            named => self.cashier.means_at(m.tx(), owner, named, starts_at).await?,
        };
        if let Some(replaced) = contracts::of(m.tx(), owner).await? {
            self.give_up_payments_of(m.tx(), owner, &replaced).await?;
        }
        self.till.demand_sale_to(m.tx(), owner).await?;
        let (id, set_by) = (hex::encode(self.entropy.bytes::<16>()), asked.caller().scope());
        let waits = Waiting { id, terms, method, starts_at, set_by, attempts: 0 };
        let now = m.now();
        contracts::put(m.tx(), owner, &waits, now).await?;
        self.cashier.begin_later(m.tx(), owner, &waits, starts_at).await?;
        let subscription = subscriptions::live(m.tx(), owner).await?;
        if let Some(live) = &subscription {
            m.about(&live.id);
        }
        Ok(Done::New(Agreed { subscription, payment: None, waits: Some(waits) }, Vec::new()))
    }

    /// Nobody waits any more for the money of a contract in whose place another one comes: before an account is locked.
    async fn give_up_payments_of(&self, tx: &mut Tx, owner: OwnerId, replaced: &Waiting) -> Result<(), Error> {
        let mut waiting = payments::waiting(tx, owner, i64::from(MOST_OPEN)).await?;
        waiting.retain(|it| it.bought.contract() == Some(replaced.id.as_str()));
        // The contract itself waits no more: there is nothing to put off.
        self.cashier.give_up_these(tx, waiting, &mut Superseded::default()).await.map(drop)
    }

    /// What waits goes where the subscription goes, to be paid with `method` there, unless something waits there already: whoever it
    /// was agreed with would have a second subscription by it.
    pub(super) async fn carry_contract(
        &self,
        m: &mut Mutation,
        waits: Waiting,
        (from, to, method): (OwnerId, OwnerId, String),
    ) -> Result<(), Error> {
        contracts::forget(m.tx(), from).await?;
        if contracts::of(m.tx(), to).await?.is_some() {
            return Ok(());
        }
        let (id, now) = (hex::encode(self.entropy.bytes::<16>()), m.now());
        let waits = Waiting { id, method, attempts: 0, ..waits };
        contracts::put(m.tx(), to, &waits, now).await?;
        self.cashier.begin_later(m.tx(), to, &waits, waits.starts_at).await
    }

    /// It was refused. Where its payment was declined, that is noted with the payment.
    async fn try_again(&self, owner: OwnerId, tried: &Waiting, refused: &Error) -> Result<(), Error> {
        let mut tx = self.till.db.begin().await?;
        self.cashier.put_off(&mut tx, owner, tried, refused).await?;
        Ok(tx.commit().await?)
    }
}

impl Cashier {
    /// Learns for a contract that waits what has become of the payment that it was to begin with, in the transaction that learns
    /// it: where that has come to nothing, at once or long after it was asked for, the contract is put off. What begins has
    /// removed it (`fulfilment.rs`). After the account is locked, if it is: its row comes last.
    pub(super) async fn follow_contract(
        &self,
        tx: &mut Tx,
        (before, payment): (&Payment, &Payment),
        why: &Error,
    ) -> Result<(), Error> {
        let Some(id) = payment.bought.contract() else { return Ok(()) };
        if before.came_to_nothing() || !payment.came_to_nothing() {
            return Ok(());
        }
        match contracts::of(tx, payment.owner).await?.filter(|it| it.id == id) {
            Some(tried) => self.put_off(tx, payment.owner, &tried, why).await,
            None => Ok(()),
        }
    }

    /// What waits still of contracts whose payments were given up for an order of their owner's is asked for again tomorrow: asked
    /// for at once it would take that order's place in turn. Once that order is booked; a contract's row comes last.
    pub(super) async fn put_off_superseded(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        Superseded(given_up): &Superseded,
    ) -> Result<(), Error> {
        if given_up.is_empty() {
            return Ok(());
        }
        match contracts::of(tx, owner).await?.filter(|it| given_up.contains(&it.id)) {
            Some(tried) => self.put_off(tx, owner, &tried, &Error::ChangeOvertaken).await,
            None => Ok(()),
        }
    }

    /// It was tried in vain: it is tried again tomorrow, or given up. Each attempt is noted once: the job that has made it, or
    /// makes it still, finds another one, and begins nothing that would count as that ([`Cashier::demand_uncounted`]).
    async fn put_off(&self, tx: &mut Tx, owner: OwnerId, tried: &Waiting, refused: &Error) -> Result<(), Error> {
        if !contracts::note(tx, owner, tried).await? {
            return Ok(());
        }
        let next = Waiting { attempts: tried.attempts.saturating_add(1), ..tried.clone() };
        if next.attempts < MOST_ATTEMPTS {
            self.begin_later(tx, owner, &next, self.till.clock.now().saturating_add(AGAIN_AFTER)).await?;
            tracing::warn!(%owner, attempts = next.attempts, %refused, "a contract could not begin: again tomorrow");
        } else {
            contracts::begun(tx, owner, &tried.id).await?;
            tracing::error!(%owner, attempts = next.attempts, %refused, "a contract could not begin and is given up");
        }
        Ok(())
    }

    /// Nobody is asked for the money of a contract that waits no more, or whose attempt was counted after whoever makes it had
    /// looked: the next one is due another day. An attempt is counted in the transaction in which its payment comes to nothing, so
    /// whoever has found that finds it counted.
    pub(super) async fn demand_uncounted(&self, tx: &mut Tx, new: &Beginning) -> Result<(), Error> {
        let Some(id) = new.bought.contract() else { return Ok(()) };
        let waits = contracts::of(tx, new.owner).await?;
        let is_as_seen = waits.is_some_and(|it| it.id == id && it.attempts == new.tried_before);
        if is_as_seen { Ok(()) } else { Err(Error::ChangeOvertaken) }
    }

    async fn begin_later(&self, tx: &mut Tx, owner: OwnerId, it: &Waiting, at: Timestamp) -> Result<(), Error> {
        let due = Due { owner, id: it.id.clone(), attempts: it.attempts };
        let key = format!("{}:{}", it.id, it.attempts);
        Ok(self.jobs.enqueue(tx, CONTRACT, &due, at, Some(&key)).await?)
    }
}

/// Begins a contract at its time, if it waits still. Doing it again changes nothing.
pub(crate) async fn begin(subscriptions: &SubscriptionUseCases, due: &Due) -> Result<(), Error> {
    let Due { owner, id, attempts } = due;
    // Where a period begins with it, it is what that is paid by.
    subscriptions.bring_up_to_date(*owner).await;
    let waits = subscriptions.contract_of(*owner).await?.filter(|it| it.id == *id && it.attempts == *attempts);
    let Some(waits) = waits else { return Ok(()) };
    match subscriptions.take_effect(*owner, &as_asked(&waits)?).await {
        Ok(_) => Ok(()),
        // Something else happens to the subscription at this moment, or its renewal comes first; or nobody can ever say what
        // became of its payment, and whoever looks after that gives it up, and counts it.
        Err(
            other @ (Error::ChangeOvertaken
            | Error::Refused(Refusal::RenewalDue)
            | Error::RenewalUnpaid
            | Error::RenewalHeld
            | Error::Hopeless(_)),
        ) => Err(other),
        Err(refused) if refused.reason().is_some() => subscriptions.try_again(*owner, &waits, &refused).await,
        Err(error) => Err(error),
    }
}

/// What whoever has set it asks for now, under an id that no caller can know.
fn as_asked(waits: &Waiting) -> Result<Asked<SetContract>, Error> {
    let account = waits.set_by.parse().map_err(|_| Error::Failed)?;
    let caller = Caller::Service(ServiceCaller {
        account,
        role: ServiceRole::Operator,
        on_behalf_of: None,
        permission: Permission::Operate,
    });
    let deal = Deal::Waited(Box::new(waits.clone()));
    let set = SetContract { deal, method: PaymentMethod::from_stored(&waits.method), starts_at: None };
    let id = format!("contract:{}", waits.id);
    Ok(Asked::read(Call::new(caller, METHOD), &id, &(), |(), _| Some(set)))
}

/// What has become of a subscription whose next period is to be paid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Planned {
    /// No contract begins with that.
    Nothing,
    /// It is what a contract says from then on.
    Made(Box<Subscription>),
    /// Somebody else has moved, changed or ended it.
    Overtaken,
}

/// Whether a contract that waits is what the next period of a subscription is paid by.
pub(super) fn begins_with_next(waits: &Waiting, from: &Subscription) -> bool {
    waits.starts_at <= from.next_month().start
        && waits.terms.price.currency() == from.price.currency()
        && from.state == SubscriptionState::Active
}

/// Has the next period of a subscription, which nobody has tried to pay yet, be what a contract says that begins by then.
pub(super) async fn plan(
    subscriptions: &SubscriptionUseCases,
    from: &Subscription,
    waits: Option<Waiting>,
) -> Result<Planned, Error> {
    let till = &subscriptions.till;
    let Some(waits) = waits.filter(|it| begins_with_next(it, from)) else { return Ok(Planned::Nothing) };
    let mut tx = till.db.begin().await?;
    if payments::last_attempt(&mut tx, thing_after(from)).await?.is_some() {
        return Ok(Planned::Nothing);
    }
    let named = PaymentMethod::from_stored(&waits.method);
    let to = match subscriptions.cashier.paid_with(&mut tx, from, (waits.terms.clone(), Some(&named))).await {
        Ok(to) => to,
        // What was to pay it cannot any more: the job says so.
        Err(refused) if is_certain(&refused) => return Ok(Planned::Nothing),
        Err(error) => return Err(error),
    };
    let planned = from.planning(Some(to));
    if !subscriptions::change(&mut tx, &planned).await? {
        return Ok(Planned::Overtaken);
    }
    till.demand_sale_to(&mut tx, from.owner).await?;
    match takes_effect(Some(Which::of(&waits)), None, &mut tx, from.owner).await {
        Err(Error::ChangeOvertaken) => return Ok(Planned::Overtaken),
        done => done?,
    }
    tx.commit().await?;
    tracing::info!(subscription = %planned.id, "its next period begins by a contract");
    Ok(Planned::Made(Box::new(planned)))
}

#[cfg(test)]
pub(super) mod tests;
