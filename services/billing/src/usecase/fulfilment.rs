//! Fulfilment: what a payment bought, delivered in one transaction with what the payment has become, exactly once; and what
//! its refunds and disputes take back of that.
//!
//! A payment's row is locked first, then the subscription's, then the account's, then that of a contract that waits.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, OwnerId, PaymentId, RequestId};
use bursar_money::{Credits, Price};
use bursar_proto::event::v1::event::Payload;
use bursar_time::Timestamp;

use super::allowances;
use super::cashier::Cashier;
use super::rollovers;
use super::subscriptions::{already, changed};
use crate::domain::{
    Account, AccountSettings, Actor, Bought, Command, GrantCommand, Included, LotSource, Month, Note, Origin, Outcome,
    Payment, PaymentState, PercentSet, Quote, Refusal, Request, RequestName, RestoreCommand, Spender, Subscription,
    TakeBackCommand, TakenBack,
};
use crate::error::Error;
use crate::lane::Job;
use crate::store::{accounts, contracts, settings, subscriptions, years};

/// What was delivered: its lot, what it is good for, and what is told of it.
pub(super) type Delivered = (Option<LotId>, Option<Month>, Vec<Payload>);

impl Cashier {
    /// Delivers what was bought, if it is paid and not delivered yet.
    pub(super) async fn fulfil(
        &self,
        tx: &mut Tx,
        payment: &mut Payment,
        spender: Option<Spender>,
    ) -> Result<Vec<Payload>, Error> {
        if !payment.is_to_be_fulfilled() {
            return Ok(Vec::new());
        }
        let now = self.till.clock.now();
        let (lot, month, events) = match &payment.bought {
            Bought::Pack { .. } => (self.deliver_pack(tx, payment, spender).await?, None, Vec::new()),
            Bought::Start { .. } => {
                let new = Subscription::begun(payment, now).ok_or(Error::Failed)?;
                if !subscriptions::insert(tx, &new, None).await? {
                    let live = subscriptions::live(tx, payment.owner).await?;
                    return Err(live.as_ref().map_or(Error::Failed, already));
                }
                let account = self.till.demand_sale_to(tx, payment.owner).await?;
                let lot = self.begin_month(tx, (&new, &account), payment.id, spender).await?;
                (lot, Some(new.paid_period()), vec![changed(&new, &self.catalog.current())])
            }
            Bought::Renewal { .. } => match self.deliver_month(tx, payment, now).await? {
                Some(delivered) => delivered,
                None => return Ok(Vec::new()),
            },
            Bought::Change { .. } => self.deliver_change(tx, payment, spender).await?,
        };
        // A contract that has waited begins here, whoever has heard of the money. Where it waits no more, another one has taken
        // its place, and nobody pays for this one.
        if let Some(id) = payment.bought.contract()
            && !contracts::begun(tx, payment.owner, id).await?
        {
            return Err(Error::ChangeOvertaken);
        }
        payment.invoice = Some(self.invoice(tx, payment, month.as_ref()).await?);
        payment.lot = lot;
        payment.fulfilled_at = Some(now);
        Ok(events)
    }

    /// Begins the month that a payment is for, on the terms that were planned for it: by these it must have been paid, or it
    /// goes back, and the month is asked for anew. `None`: it begins later, and its payment waits for that (`renewals/ahead.rs`).
    async fn deliver_month(&self, tx: &mut Tx, payment: &Payment, now: Timestamp) -> Result<Option<Delivered>, Error> {
        let Bought::Renewal { subscription, period, .. } = &payment.bought else {
            return Err(Error::Failed);
        };
        let live = subscriptions::live(tx, payment.owner).await?;
        let due = live.filter(|it| it.id == *subscription && it.next_month().number == *period);
        let due = due.ok_or(Error::NothingToRenew)?;
        if due.month.end > now {
            return Ok(None);
        }
        let renewed = due.renewed(payment.id.to_string());
        // What is paid for is not paid a second time, and what ends with it not at all.
        if !payment.is_for_month_of(&renewed) || due.is_next_paid() || due.cancel_at_period_end {
            return Err(Error::NothingToRenew);
        }
        // Payments' rows are locked first.
        let rolling = Box::pin(rollovers::payments_of(tx, &due)).await?;
        let rolling = rollovers::lock(tx, rolling).await?;
        if !years::advance(tx, &renewed, &due).await? {
            return Err(Error::NothingToRenew);
        }
        lock_holders(tx, rolling.iter().flat_map(Payment::holders).collect(), payment.owner).await?;
        let account = self.till.demand_sale_to(tx, payment.owner).await?;
        let early = Box::pin(self.in_grace(tx, &due)).await?;
        Box::pin(self.roll_over(tx, (&due, &renewed), rolling)).await?;
        let lot = match early {
            // It is there, and paid from now on.
            Some(lot) if lot.granted == renewed.credits => Some(lot.id),
            other => {
                if other.is_some() {
                    Box::pin(self.void_grace(tx, &due)).await?;
                }
                self.begin_month(tx, (&renewed, &account), payment.id, None).await?
            }
        };
        let tells = renewed.terms() != due.terms();
        let events = tells.then(|| changed(&renewed, &self.catalog.current())).into_iter().collect();
        Ok(Some((lot, Some(renewed.paid_period()), events)))
    }

    /// Has a subscription be on the terms from now on that a payment is for, if it stands as it did when that was agreed.
    async fn deliver_change(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        spender: Option<Spender>,
    ) -> Result<Delivered, Error> {
        let Bought::Change { subscription, to, credits, period, after, .. } = &payment.bought else {
            return Err(Error::Failed);
        };
        let live = subscriptions::live(tx, payment.owner).await?;
        let is_as_agreed = |it: &Subscription| {
            (it.id, it.month.number, it.changes) == (*subscription, *period, *after)
                && it.is_changeable(self.till.clock.now())
        };
        let live = live.filter(is_as_agreed).ok_or(Error::ChangeOvertaken)?;
        // Whatever was paid ahead was paid by other terms.
        self.give_up_dues(tx, &live).await?;
        if to.interval != live.interval() {
            return self.deliver_year(tx, (&live, to), payment, spender).await;
        }
        let (month, paid, at) = (live.month, live.paid_period(), payment.created_at);
        let for_month = Quote::due_for_month(payment.net(), &month, &paid, at);
        let new = live.changed(to).having_paid(payment.net(), for_month).map_err(|_| Error::Failed)?;
        if !subscriptions::change(tx, &new).await? {
            return Err(Error::ChangeOvertaken);
        }
        self.till.demand_sale_to(tx, payment.owner).await?;
        let lot = self.add_to_month(tx, &new, *credits, Some((payment.id, for_month)), spender).await?;
        let paid_for = Month { start: at, ..paid };
        Ok((lot, Some(paid_for), vec![changed(&new, &self.catalog.current())]))
    }

    /// Grants what a change adds to the month's allowance: once, and until the month ends. With its payment and what of that is
    /// for the month.
    pub(super) async fn add_to_month(
        &self,
        tx: &mut Tx,
        of: &Subscription,
        credits: Credits,
        payment: Option<(PaymentId, Price)>,
        spender: Option<Spender>,
    ) -> Result<Option<LotId>, Error> {
        let name = match payment {
            Some((payment, _)) => format!("change:{payment}"),
            None => format!("change:{}:{}", of.id, of.changes),
        };
        let (payment, paid) = payment.unzip();
        let request = if credits.is_zero() {
            Request::unnamed(Command::Sweep)
        } else {
            let month = self.grant_of_month(of, payment);
            let origin = Origin { paid, ..month.origin };
            let command = GrantCommand { amount: credits, effective_at: None, origin, ..month };
            self.named(&name, Command::Grant(command))?
        };
        self.booked(tx, of, request.for_member(spender)).await
    }

    /// Grants a pack's credits: at once and for ever, and once for each payment.
    async fn deliver_pack(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        spender: Option<Spender>,
    ) -> Result<Option<LotId>, Error> {
        let Bought::Pack { purchase, pack, credits, scope } = &payment.bought else { return Ok(None) };
        self.till.demand_sale_to(tx, payment.owner).await?;
        let origin = Origin {
            purchase: Some(*purchase),
            payment: Some(payment.id),
            paid: Some(payment.net()),
            ..Origin::default()
        };
        let command = Command::Grant(GrantCommand {
            scope: scope.clone(),
            origin,
            note: Note::parse(pack.as_str()).ok(),
            ..GrantCommand::new(*credits, LotSource::Pack)
        });
        let request = self.named(&format!("pack:{}", payment.id), command)?.for_member(spender);
        self.granted(tx, payment, request).await
    }

    /// Grants the allowance of the subscription's month and begins the month on the account. However often and whenever it
    /// is booked, the month has one lot, with the month's own dates. A plan without credits grants no lot and begins no
    /// month of its own: what is spent then goes on by the month before it, or by the calendar.
    pub(super) async fn begin_month(
        &self,
        tx: &mut Tx,
        (of, account): (&Subscription, &Account),
        payment: PaymentId,
        spender: Option<Spender>,
    ) -> Result<Option<LotId>, Error> {
        let settings = settings::of(tx, of.owner).await?;
        keep_alerts(tx, (of.owner, account), &settings).await?;
        let request = self.allowance(of, Some(payment))?.for_member(spender);
        self.booked(tx, of, request).await
    }

    /// Books what belongs to a subscription's month: the lot that it granted, if it did.
    pub(super) async fn booked(
        &self,
        tx: &mut Tx,
        of: &Subscription,
        request: Request,
    ) -> Result<Option<LotId>, Error> {
        match self.till.book(tx, &Job { owner: of.owner, actor: Actor::Job, request }).await? {
            Outcome::Granted(granted) => Ok(Some(granted.lot.id)),
            _ => Ok(None),
        }
    }

    /// What does that.
    pub(super) fn allowance(&self, of: &Subscription, payment: Option<PaymentId>) -> Result<Request, Error> {
        if of.credits.is_zero() {
            return Ok(Request::unnamed(Command::Sweep));
        }
        let command = Command::Grant(self.grant_of_month(of, payment));
        self.named(&format!("{}:{}", of.id, of.month.number), command)
    }

    pub(super) fn grant_of_month(&self, of: &Subscription, payment: Option<PaymentId>) -> GrantCommand {
        let number = of.month.number;
        let Included { scope, .. } = Included::by(&self.catalog.current(), of);
        GrantCommand {
            amount: of.credits,
            source: LotSource::Allowance,
            priority: 0,
            scope,
            effective_at: Some(of.month.start),
            expires_at: Some(of.month.end),
            origin: Origin {
                subscription: Some((of.id, number)),
                payment,
                paid: Some(of.paid_for_month()),
                ..Origin::default()
            },
            note: Note::parse(of.plan.as_str()).ok(),
            begins: Some(of.counted()),
        }
    }

    /// A request under a name that is the program's own, so that nobody can take it.
    pub(super) fn named(&self, name: &str, command: Command) -> Result<Request, Error> {
        let id = RequestId::parse(name).map_err(|_| Error::Failed)?;
        Ok(Request::new(Some(RequestName::new(&Actor::Job, id)), self.entropy.bytes(), command))
    }

    async fn granted(&self, tx: &mut Tx, payment: &Payment, request: Request) -> Result<Option<LotId>, Error> {
        match self.till.book(tx, &Job { owner: payment.owner, actor: Actor::Job, request }).await? {
            Outcome::Granted(granted) => Ok(Some(granted.lot.id)),
            _ => Err(Error::Failed),
        }
    }

    /// Takes back, or gives back, the credits that follow from what was refunded and disputed of a payment by now: of its own
    /// lots, and of what of them has become another lot's.
    pub(super) async fn follow_money(&self, tx: &mut Tx, payment: &mut Payment) -> Result<(), Error> {
        if payment.state != PaymentState::Paid || payment.fulfilled_at.is_none() {
            return Ok(());
        }
        let mut lots = payment.lots();
        lock_holders(tx, payment.holders(), payment.owner).await?;
        for lot in &mut lots {
            let mut targets = payment.parts_to_take_back(lot).into_iter();
            let mut hops = lot.hops();
            let (mut left, target) = (hops.len(), targets.next().unwrap_or(Credits::ZERO));
            let part = Part { owner: lot.owner, lot: lot.lot, payment: payment.id, left: left > 0 };
            self.follow(tx, part, target, &mut lot.taken_back).await?;
            let mut taken = lot.taken_back.credits;
            for (hop, target) in hops.iter_mut().zip(targets) {
                left = left.saturating_sub(1);
                let part_there = Part { owner: hop.owner, lot: hop.lot, left: left > 0, ..part };
                self.follow(tx, part_there, target, &mut hop.taken_back).await?;
                // What has been given back here is not there to be taken a second time before what has moved is.
                hop.before = hop.before.min(taken);
                taken = hop.taken_back.credits;
            }
            lot.note_hops(hops);
        }
        payment.note_lots(lots);
        Ok(())
    }

    /// Has what was taken back of one lot come to `target`.
    async fn follow(&self, tx: &mut Tx, part: Part, target: Credits, taken: &mut TakenBack) -> Result<(), Error> {
        let (had, Part { lot, payment, .. }) = (*taken, part);
        if target > had.credits {
            let amount = target.saturating_sub(had.credits);
            let take = TakeBackCommand { lot, payment, amount, owed: had.owed };
            let Outcome::TakenAway(away) = self.by_itself(tx, part.owner, Command::TakeBack(take)).await? else {
                return Err(Error::Failed);
            };
            taken.voided = plus(had.voided, away.voided)?;
            taken.owed = plus(had.owed, away.owed)?;
        } else if target < had.credits {
            let amount = had.credits.saturating_sub(target);
            let voided = if part.left { Credits::ZERO } else { had.voided };
            let restore = RestoreCommand { lot, payment, amount, voided, owed: had.owed };
            let Outcome::Restored(restored) = self.by_itself(tx, part.owner, Command::Restore(restore)).await? else {
                return Err(Error::Failed);
            };
            self.grant_anew(tx, part, restored.paid_before).await?;
            let settled = plus(restored.forgiven, restored.paid_before)?;
            taken.voided = had.voided.saturating_sub(restored.returned);
            taken.owed = had.owed.saturating_sub(settled);
        }
        taken.credits = target;
        Ok(())
    }

    /// Grants what a pack has paid of a debt that was none after all, for ever and for the same work. To whoever is purged
    /// nothing can be given any more; what the bank has decided holds all the same.
    async fn grant_anew(&self, tx: &mut Tx, part: Part, amount: Credits) -> Result<(), Error> {
        if amount.is_zero() {
            return Ok(());
        }
        let was = allowances::find(&self.till, tx, part.owner, part.lot).await?;
        let command = Command::Grant(GrantCommand {
            priority: was.terms.priority,
            scope: was.terms.scope.clone(),
            origin: Origin { payment: Some(part.payment), ..Origin::default() },
            note: Note::parse("dispute won").ok(),
            ..GrantCommand::new(amount, LotSource::Adjustment)
        });
        match self.by_itself(tx, part.owner, command).await {
            Err(Error::Refused(Refusal::OrganizationDeleted)) => Ok(()),
            granted => granted.map(drop),
        }
    }

    async fn by_itself(&self, tx: &mut Tx, owner: OwnerId, command: Command) -> Result<Outcome, Error> {
        let request = Request::new(None, self.entropy.bytes(), command);
        self.till.book(tx, &Job { owner, actor: Actor::Job, request }).await
    }
}

/// Locks an account and those with credits of what is paid, where there are several: all at once, in the order in which whoever
/// locks two does.
pub(super) async fn lock_holders(tx: &mut Tx, holders: BTreeSet<OwnerId>, also: OwnerId) -> Result<(), Error> {
    let mut owners = holders;
    owners.insert(also);
    if owners.len() > 1 {
        accounts::lock(tx, &owners.into_iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Has the account, which is locked, say of which percentages of its allowance somebody is to be told, where it does not: a
/// program has set them that tells of none.
pub(super) async fn keep_alerts(
    tx: &mut Tx,
    (owner, account): (OwnerId, &Account),
    settings: &AccountSettings,
) -> Result<(), DbError> {
    let wanted = &settings.allowance_alert_percents;
    if account.alert_at == PercentSet::from(wanted) {
        return Ok(());
    }
    accounts::set_alerts(tx, owner, wanted).await
}

/// A lot with credits of a payment.
#[derive(Clone, Copy)]
struct Part {
    owner: OwnerId,
    lot: LotId,
    payment: PaymentId,
    /// What was left of it is another lot's: nothing comes back to this one, only what became debt is made good.
    left: bool,
}

pub(super) fn plus(one: Credits, other: Credits) -> Result<Credits, Error> {
    one.checked_add(other).ok_or(Error::Failed)
}
