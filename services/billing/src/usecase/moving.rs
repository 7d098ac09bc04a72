//! Moving a subscription: a person's paid plan becomes that of an organization which the person creates (product.md,
//! `PAID_PLAN`; the saga itself is organization's).
//!
//! One transaction ends the subscription at the one owner, begins the same one at the other, voids what is left of the
//! month's allowance here, what a change has added to it included, and grants it there until the same end. The saved
//! payment method that pays for it is copied, what was paid for the month is divided by the credits that stay and those
//! that move, and what is taken back of what the month was paid with is taken back there, too. What an open dispute has
//! taken arrives there as well and is taken there at once, so that a bank gives it back where the month goes on. What
//! holds have reserved of it stays theirs and is void when it comes back, as of any lot that was voided; packs and
//! everything else stay, but that nothing is bought by itself any more: the person's top-up is switched off. A change
//! that waits for the next month goes along, one that waits for its payment does not. A month that is over is renewed
//! first: what moves is paid for. Where that cannot be done in the second after its end, nothing is answered for good
//! (`overdue.rs`); where it was tried and not paid, there is no plan to move (`PLAN_REQUIRED`), and where it waits for an operator
//! (`RENEWAL_HELD`) or could not be begun (`SUBSCRIPTION_PAST_DUE`), there is none to move now: nobody knows how long, and what was
//! made for it would wait as long.
//!
//! Where the organization has a subscription already, by an operator's hand, nothing moves either (`ALREADY_SUBSCRIBED`): it is
//! paid for, and an owner has one plan. That is asked first, whatever plan the person is on, and is answered for good: the
//! organization begins with what it has, and the person's plan is not taken once the other one has ended. Which plan it is does not
//! matter, and neither does what it includes: an operator has chosen it. That it is paid for does. Where its month is over and its
//! end or its renewal is not written, or its payment was declined, nothing is answered for good (`RENEWAL_DUE`): it is paid for soon
//! and stands, or it ends and the person's plan moves. Only a renewal that is held lasts, until an operator decides.
//!
//! It is idempotent by the organization: a subscription moves into one once, and a repetition gets the first answer,
//! however long ago. That there was none to move is an answer, too, and so is that it waits, is not paid or is not needed:
//! organization then removes what it had made, or opens it without, so nothing may move there by a call that was on its way. It
//! stands for as long as there can be one ([`crate::store::refused_moves`]).
//!
//! | what is found | what is answered | for good |
//! |---|---|---|
//! | a plan that moves | the subscription | yes |
//! | none, or one that includes no organizations | `PLAN_REQUIRED` | yes |
//! | one that waits for an operator, or that could not be begun | `RENEWAL_HELD`, `SUBSCRIPTION_PAST_DUE` | yes |
//! | the organization has one that is paid for | `ALREADY_SUBSCRIBED` | yes |
//! | its account has no room: as many lots as may be, or too large a balance | `TOO_MANY_LOTS`, `BALANCE_TOO_LARGE` with `final` | yes |
//! | it was called off | `MOVE_CALLED_OFF` | yes |
//! | a renewal that comes first | `RENEWAL_DUE` | no |
//! | a store that is away, what is not believed, a fault | as anywhere | no |
//!
//! Without room nothing moves although there is a plan, and nobody can make room in what nobody can use yet; the next organization
//! that the person creates has an account of its own. What was written until then is undone, and the refusal is committed by
//! itself, if both accounts are as they were when it was tried: where somebody has booked anything there meanwhile, nothing is
//! answered for good. Metadata `final` tells whoever asks that it stands: a program of before has the same reasons, and
//! remembered nothing.
//!
//! A move is called off by organization, when its creator does not want the organization any more, and that is one request with
//! the move itself: of the two whichever comes first is the answer to both. So what was called off never moves, and of what has
//! moved whoever calls it off learns. Whatever subscription of its own the organization has by then is said instead
//! (`ALREADY_SUBSCRIBED`): who removed that organization would leave it to be paid for by nobody.

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::{Id, LotId, OrganizationId, OwnerId, PaymentId, RequestId, UserId};
use bursar_money::Credits;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};

use self::refusing::{heads, is_first, refuse};
use super::access;
use super::allowances;
use super::asking::payer;
use super::cashier::MOST_OPEN;
use super::dues::thing_after;
use super::grace;
use super::rollovers;
use super::subscriptions::{SubscriptionUseCases, changed};
use super::top_ups;
use crate::domain::{
    Actor, Command, Entitlements, GrantCommand, Lot, Month, Note, Origin, Outcome, Payment, ProductId, Refusal,
    Request, RequestName, SavedMethod, Stop, Subscription, SubscriptionState, VoidCommand, Worth,
};
use crate::error::Error;
use crate::lane::Job;
use crate::payment::PaymentMethod;
use crate::store::{accounts, contracts, methods, payments, subscriptions, years};

mod refusing;

/// How many changes of what is paid for are followed. Each has a lot of its own, and an account has no more of these.
const MOST_CHANGES: i64 = 1_000;

/// Whose subscription becomes whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    /// Who has it.
    pub(crate) from: UserId,
    /// Which organization gets it.
    pub(crate) to: OrganizationId,
    /// It gets it no more, if it has not before.
    pub(crate) is_called_off: bool,
}

impl Move {
    /// Both owners, in their order.
    fn owners(self) -> [OwnerId; 2] {
        let mut both = [OwnerId::User(self.from), OwnerId::Organization(self.to)];
        both.sort_unstable();
        both
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The subscription is the organization's.
    To(Box<Subscription>),
    /// The person has no plan that includes organizations ([`Error::PlanRequired`]), and none moves there any more.
    PlanRequired,
    /// The person's plan waits for an operator ([`Error::RenewalHeld`]), and none moves there any more.
    RenewalHeld,
    /// The next period of the person's plan could not be begun ([`Error::RenewalUnpaid`]), and none moves there any more.
    PastDue,
    /// The organization has a subscription of its own to this plan, which is paid for ([`Error::AlreadySubscribed`]), and none moves
    /// there any more.
    AlreadySubscribed(ProductId),
    /// The organization's account has no room for what the person's month has left ([`Error::NoRoomToMove`]), and none moves there any
    /// more.
    NoRoom(Full),
    /// It was called off before it moved ([`Error::MoveCalledOff`]), and none moves there any more.
    CalledOff,
}

/// Of what an account has no more room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Another lot.
    Lots,
    /// So many credits.
    Balance,
}

impl Full {
    /// Whether this is why a move came to nothing.
    fn of(why: &Error) -> Option<Self> {
        match why {
            Error::Refused(Refusal::TooManyLots) => Some(Self::Lots),
            Error::Refused(Refusal::BalanceTooLarge) => Some(Self::Balance),
            _ => None,
        }
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        match full {
            Full::Lots => Self::TooManyLots,
            Full::Balance => Self::BalanceTooLarge,
        }
    }
}

impl SubscriptionUseCases {
    /// Moves a person's subscription to an organization, or has it move there no more.
    pub(crate) async fn move_subscription(&self, asked: &Asked<Move>) -> Result<Answer<Moved>, Error> {
        let Move { from, to, is_called_off } = *asked.command()?;
        if !is_called_off {
            self.bring_up_to_date(OwnerId::User(from)).await;
        }
        // What was canceled there and is over ends, and is not in the way. Where that fails, it is found due.
        self.bring_up_to_date(OwnerId::Organization(to)).await;
        if is_called_off {
            return self.refuse_to_move(asked, Moved::CalledOff, None).await;
        }
        let mut m = self.mutations.begin(asked).await?;
        let heads = heads(m.tx(), *asked.command()?).await?;
        let done = self.carry_over(&mut m, asked).await;
        let full = done.as_ref().err().and_then(Full::of);
        let moved = self.mutations.end(m, done).await;
        match full {
            // Nothing of it is written.
            Some(full) => self.refuse_to_move(asked, Moved::NoRoom(full), Some(heads)).await,
            None => moved,
        }
    }

    async fn carry_over(&self, m: &mut Mutation, asked: &Asked<Move>) -> Result<Done<Moved, Payload>, Error> {
        let Move { from, to, .. } = *asked.command()?;
        let (from, to) = (OwnerId::User(from), OwnerId::Organization(to));
        if !is_first(m, asked, to).await? {
            return Ok(Done::Replay);
        }
        let now = m.now();
        if let Some(own) = subscriptions::live(m.tx(), to).await? {
            if !own.is_paid_for(now) {
                return Err(Refusal::RenewalDue.into());
            }
            return refuse(m, asked, to, Moved::AlreadySubscribed(own.plan)).await;
        }
        let live = subscriptions::live(m.tx(), from).await?;
        let Some(live) = live.filter(|it| self.includes_organizations(it)) else {
            return refuse(m, asked, to, Moved::PlanRequired).await;
        };
        let why = self.overdue(m.tx(), &live, now).await?;
        if why.is_none() && live.state != SubscriptionState::Active {
            return refuse(m, asked, to, Moved::PlanRequired).await;
        }
        m.about(&live.id);
        match why {
            Some(Error::RenewalHeld) => return refuse(m, asked, to, Moved::RenewalHeld).await,
            Some(Error::RenewalUnpaid) => return refuse(m, asked, to, Moved::PastDue).await,
            Some(why) => return Err(why),
            None => {}
        }
        // Payments' rows are locked first, then the subscription's, then the accounts'.
        let paid_with = self.payments_of_month(m, &live).await?;
        let (ended, moved) = live.moved(to, now);
        if !subscriptions::end(m.tx(), &ended).await? {
            return match subscriptions::live(m.tx(), from).await? {
                Some(_renewed) => Err(Refusal::RenewalDue.into()),
                None => refuse(m, asked, to, Moved::PlanRequired).await,
            };
        }
        // Not before it is certain that it moves: a refusal is kept, with whatever was written.
        let payment_method = self.carry_method(m, (from, &live.payment_method), to).await?;
        let mut moved = Subscription { payment_method, ..moved };
        if let Some(named) = moved.pending.as_mut().and_then(|it| it.paid_with.as_mut()) {
            *named = self.carry_method(m, (from, named.as_str()), to).await?;
        }
        let kept = asked.keep(&Moved::To(Box::new(moved.clone())));
        if !subscriptions::insert(m.tx(), &moved, kept.as_ref()).await? {
            // It was subscribed at this very moment: who asks again is answered by that, and what was written here is not kept.
            return Err(Error::Unavailable);
        }
        self.carry_credits(m, (&moved, from), paid_with, access::actor(asked.caller())?).await?;
        top_ups::switch_off(m.tx(), from, Stop::SubscriptionMoved, now).await?;
        if let Some(waits) = contracts::of(m.tx(), from).await? {
            let method = self.carry_named(m, (from, &waits.method), to).await?;
            self.carry_contract(m, waits, (from, to, method)).await?;
        }
        let events = vec![self.ended(&ended)?, changed(&moved, &self.catalog.current())];
        Ok(Done::New(Moved::To(Box::new(moved)), events))
    }

    /// Takes the credits of the month along, and notes with its payments where they went. What an open dispute withholds of
    /// one arrives, and is taken there.
    async fn carry_credits(
        &self,
        m: &mut Mutation,
        (moved, from): (&Subscription, OwnerId),
        paid_with: Vec<Payment>,
        actor: Actor,
    ) -> Result<(), Error> {
        let withheld: BTreeMap<LotId, Credits> = paid_with.iter().flat_map(Payment::all_withheld).collect();
        let carried = self.carry_allowance(m, (moved, from), &withheld, actor).await?;
        for mut payment in paid_with {
            let (mut lots, mut has_moved, mut takes) = (payment.lots(), false, false);
            for lot in &mut lots {
                let present = lot.present();
                let Some((here, there, credits)) = carried.iter().find(|(here, ..)| present == *here).copied() else {
                    continue;
                };
                let withheld_here = payment.withheld(lot);
                lot.go_on((moved.owner, there), credits, withheld_here);
                has_moved = true;
                takes |= withheld.contains_key(&here);
            }
            if !has_moved {
                continue;
            }
            payment.note_lots(lots);
            if takes {
                self.cashier.follow_money(m.tx(), &mut payment).await?;
            }
            payments::update(m.tx(), &payment).await?;
        }
        Ok(())
    }

    /// What the month was paid with, locked: the month itself, or its year, what that was changed to since, and what paid for what
    /// was rolled over, though a dispute may have taken all of its lot. Nobody waits for another change any more; one that is paid
    /// at this moment finds that the subscription has ended here, or this one finds that it is not any more what it was.
    async fn payments_of_month(&self, m: &mut Mutation, live: &Subscription) -> Result<Vec<Payment>, Error> {
        let waiting = payments::waiting_changes(m.tx(), live.owner, i64::from(MOST_OPEN)).await?;
        // What was paid ahead of the next month: the organization pays that.
        let ahead = payments::last_attempt(m.tx(), thing_after(live)).await?;
        let given_up: BTreeSet<_> = waiting.into_iter().chain(ahead).map(|it| it.id).collect();
        let lots = allowances::of_month(m.tx(), live.owner, live).await?;
        let mut paid: BTreeSet<_> = live.payment().into_iter().chain(given_up.iter().copied()).collect();
        for lot in &lots {
            paid.extend(grace::paid_with(m.tx(), lot).await?);
        }
        paid.extend(rollovers::paid_for_month(m.tx(), live).await?);
        paid.extend(years::changes_since(m.tx(), live.owner, (live.id, live.paid_from()), MOST_CHANGES).await?);
        // All of them at once, in their order: whoever begins a month of the year meanwhile locks some of the same.
        let mut locked = Vec::with_capacity(paid.len());
        for id in paid {
            locked.extend(payments::lock(m.tx(), id).await?);
        }
        for payment in locked.iter_mut().filter(|it| given_up.contains(&it.id)) {
            if !payment.returned && payment.fulfilled_at.is_none() {
                self.cashier.give_up(m.tx(), payment, None).await?;
            }
        }
        Ok(locked)
    }

    /// Whether the plan has what creating an organization takes, for sale or not.
    fn includes_organizations(&self, subscription: &Subscription) -> bool {
        Entitlements::by(&self.catalog.current(), subscription).features.organizations
    }

    /// The payment method that goes on paying, as the new owner's own: whatever becomes of the person's, the organization's
    /// stays until it is removed there.
    async fn carry_method(
        &self,
        m: &mut Mutation,
        (from, stored): (OwnerId, &str),
        to: OwnerId,
    ) -> Result<String, Error> {
        let method = PaymentMethod::from_stored(stored);
        if let PaymentMethod::Named(name) = method {
            return Ok(name);
        }
        // Where nothing pays here, the organization's default does, once it has one.
        let now = m.now();
        let Some(saved) = payer(m.tx(), from, &method, now).await? else { return Ok(String::new()) };
        let theirs = methods::of_owners(m.tx(), &[to]).await?;
        // What has come with something else that moves is there: whoever removes a card has removed it, and not one of several.
        let is_same = |it: &&SavedMethod| it.token == saved.token && it.card == saved.card && it.serves_at(now);
        if let Some(same) = theirs.iter().find(is_same) {
            return Ok(same.id.to_string());
        }
        let is_default = !theirs.iter().any(|it| it.is_default && it.serves_at(now));
        let (id, created_at) = (Id::from_parts(now.as_millis(), self.entropy.bytes()), now);
        methods::insert(m.tx(), &SavedMethod { id, owner: to, is_default, created_at, ..saved }).await?;
        Ok(id.to_string())
    }

    /// The same of what pays once a contract begins: nothing where nothing was named. Of one that was removed its name stays, so
    /// that the contract is refused there as it would have been here, and nobody chooses for its owner how it is paid.
    async fn carry_named(
        &self,
        m: &mut Mutation,
        (from, stored): (OwnerId, &str),
        to: OwnerId,
    ) -> Result<String, Error> {
        match PaymentMethod::from_stored(stored) {
            PaymentMethod::Default => Ok(String::new()),
            PaymentMethod::Saved(id) if methods::find(m.tx(), from, id).await?.is_none() => Ok(stored.to_owned()),
            PaymentMethod::Saved(_) | PaymentMethod::Named(_) => self.carry_method(m, (from, stored), to).await,
        }
    }

    /// Takes what is left of the month's allowance along, with what is withheld of a lot, and the month itself. Gives what has
    /// moved: from which lot, to which, and how much.
    async fn carry_allowance(
        &self,
        m: &mut Mutation,
        (moved, from): (&Subscription, OwnerId),
        withheld: &BTreeMap<LotId, Credits>,
        actor: Actor,
    ) -> Result<Vec<(LotId, LotId, Credits)>, Error> {
        let (to, now) = (moved.owner, m.now());
        // The event of a new organization may not have come yet.
        accounts::open(m.tx(), &[to], now).await?;
        let mut both = [from, to];
        both.sort_unstable();
        for owner in both {
            accounts::lock(m.tx(), &[owner]).await?;
        }
        let mut lots = allowances::of_month(m.tx(), from, moved).await?;
        // All of it may be withheld. What is over, of a year's months before this one, stays where it was.
        for lot in withheld.keys() {
            if lots.iter().all(|it| it.id != *lot) {
                let found = allowances::find(&self.till, m.tx(), from, *lot).await?;
                lots.extend(Some(found).filter(|it| it.terms.expires_at.is_none_or(|end| now < end)));
            }
        }
        let mut carried = Vec::new();
        for lot in lots {
            let note = Note::parse(&format!("moved to {to}")).ok();
            let request = self.named(&lot, actor, Command::Void(VoidCommand { lot: lot.id, note }))?;
            let left = allowances::void_rest(&self.till, m.tx(), &Job { owner: from, actor, request }).await?;
            let withheld = withheld.get(&lot.id).copied().unwrap_or(Credits::ZERO);
            let arrives = left.checked_add(withheld).ok_or(Error::Failed)?;
            if !arrives.is_zero() {
                let payment = grace::paid_with(m.tx(), &lot).await?;
                let request = self.named(&lot, actor, arriving(moved, (&lot, payment), from, arrives))?;
                let Outcome::Granted(granted) = self.till.book(m.tx(), &Job { owner: to, actor, request }).await?
                else {
                    return Err(Error::Failed);
                };
                carried.push((lot.id, granted.lot.id, arrives));
            }
        }
        // Nobody who spends looks for the renewal here any more.
        accounts::no_renewal(m.tx(), from, moved.month.end).await?;
        if carried.is_empty() && !moved.credits.is_zero() {
            let (anchor, number) = moved.counted();
            accounts::begin_period(m.tx(), to, anchor, &Month { number, ..moved.month }).await?;
        }
        Ok(carried)
    }

    /// A request under a name that a lot's move alone can have, at either owner.
    fn named(&self, lot: &Lot, actor: Actor, command: Command) -> Result<Request, Error> {
        let id = RequestId::parse(format!("moved:{}", lot.id)).map_err(|_| Error::Failed)?;
        Ok(Request::new(Some(RequestName::new(&actor, id)), self.entropy.bytes(), command))
    }
}

/// What grants the rest of a lot to the subscription's new owner, as it was agreed, with its part of what was paid, and begins
/// the month there.
fn arriving(
    moved: &Subscription,
    (lot, payment): (&Lot, Option<PaymentId>),
    from: OwnerId,
    amount: Credits,
) -> Command {
    let along = |paid| Worth::moving_along(paid, lot.granted.micro(), amount.micro());
    let paid = lot.terms.origin.paid.map(along);
    Command::Grant(GrantCommand {
        amount,
        source: lot.terms.source,
        priority: lot.terms.priority,
        scope: lot.terms.scope.clone(),
        effective_at: Some(lot.terms.effective_at),
        expires_at: lot.terms.expires_at,
        origin: Origin { moved_from: Some(from), payment, paid, ..lot.terms.origin },
        note: Note::parse(moved.plan.as_str()).ok(),
        begins: Some(moved.counted()),
    })
}

#[cfg(test)]
mod tests;
