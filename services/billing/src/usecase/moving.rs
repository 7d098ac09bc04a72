//! Moving a subscription: a person's paid plan becomes that of an organization which the person creates (product.md,
//! `PAID_PLAN`; the saga itself is organization's).
//!
//! One transaction ends the subscription at the one owner, begins the same one at the other, voids what is left of the
//! month's allowance here and grants it there until the same end. The saved payment method that pays for it is copied, and
//! what is taken back of the month's payment is taken back there, too. What holds have reserved of it stays theirs and is void
//! when it comes back, as of any lot that was voided; packs and everything else stay. A month that is over is renewed
//! first: what moves is paid for.
//!
//! It is idempotent by the organization: a subscription moves into one once, and a repetition gets the first answer,
//! however long ago. That there was none to move is an answer, too: organization then removes what it had made, so nothing
//! may move there by a call that was on its way. It stands for as long as there can be one ([`refused_moves`]).

use bursar_id::{Id, LotId, OrganizationId, OwnerId, RequestId, UserId};
use bursar_money::Credits;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, IdempotencyKey, Kept, Mutation};

use super::access;
use super::allowances;
use super::asking::payer;
use super::renewals;
use super::subscriptions::{SubscriptionUseCases, already, changed};
use crate::domain::{
    Actor, Command, GrantCommand, Lot, Moved as MovedCredits, Note, Origin, Outcome, Refusal, Request, RequestName,
    SavedMethod, Subscription, SubscriptionState, TakenBack, VoidCommand,
};
use crate::error::Error;
use crate::lane::Job;
use crate::payment::PaymentMethod;
use crate::store::{accounts, methods, payments, refused_moves, subscriptions};

/// Whose subscription becomes whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    /// Who has it.
    pub(crate) from: UserId,
    /// Which organization gets it.
    pub(crate) to: OrganizationId,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The subscription is the organization's.
    To(Box<Subscription>),
    /// The person has no plan that includes organizations ([`Error::PlanRequired`]), and none moves there any more.
    PlanRequired,
}

impl SubscriptionUseCases {
    /// Moves a person's subscription to an organization.
    pub(crate) async fn move_subscription(&self, asked: &Asked<Move>) -> Result<Answer<Moved>, Error> {
        let Move { from, .. } = *asked.command()?;
        self.pay_what_is_due(OwnerId::User(from)).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.carry_over(&mut m, asked).await;
        self.mutations.end(m, done).await
    }

    /// Renews the owner's subscription if its month is over. Where that fails the transaction finds it due.
    async fn pay_what_is_due(&self, owner: OwnerId) {
        let renewed = async {
            let live = subscriptions::live(&mut self.till.db.read().await?, owner).await?;
            match live.filter(|it| it.is_due(self.till.clock.now())) {
                Some(due) => renewals::catch_up(self, due).await,
                None => Ok(0),
            }
        };
        if let Err(error) = renewed.await {
            tracing::warn!(%owner, %error, "a renewal that a move waits for failed");
        }
    }

    async fn carry_over(&self, m: &mut Mutation, asked: &Asked<Move>) -> Result<Done<Moved, Payload>, Error> {
        let Move { from, to } = *asked.command()?;
        let (from, to) = (OwnerId::User(from), OwnerId::Organization(to));
        m.admit(to);
        if m.open(asked).await?.is_none() {
            return Ok(Done::Replay);
        }
        if let Some(request) = asked.key().and_then(IdempotencyKey::digest)
            && let Some(kept) = kept(m, to, request).await?
        {
            m.recall(asked, kept)?;
            return Ok(Done::Replay);
        }
        let live = subscriptions::live(m.tx(), from).await?;
        let live = live.filter(|it| it.state == SubscriptionState::Active && self.includes_organizations(it));
        let Some(live) = live else { return refuse(m, asked, to).await };
        m.about(&live.id);
        if live.is_due(m.now()) {
            return Err(Refusal::RenewalDue.into());
        }
        // A payment's row is locked first, then the subscription's, then the accounts'.
        let payment = match live.payment() {
            Some(id) => payments::lock(m.tx(), id).await?,
            None => None,
        };
        let (ended, moved) = live.moved(to, m.now());
        if !subscriptions::end(m.tx(), &ended).await? {
            return match subscriptions::live(m.tx(), from).await? {
                Some(_renewed) => Err(Refusal::RenewalDue.into()),
                None => refuse(m, asked, to).await,
            };
        }
        // Not before it is certain that it moves: a refusal is kept, with whatever was written.
        let moved = Subscription { payment_method: self.carry_method(m, &live, to).await?, ..moved };
        let kept = asked.keep(&Moved::To(Box::new(moved.clone())));
        if !subscriptions::insert(m.tx(), &moved, kept.as_ref()).await? {
            let live = subscriptions::live(m.tx(), to).await?;
            return Err(live.as_ref().map_or(Error::Failed, already));
        }
        let carried = self.carry_allowance(m, &moved, from, access::actor(asked.caller())?).await?;
        if let Some(mut payment) = payment
            && let Some((_, there, credits)) = carried.into_iter().find(|(here, ..)| payment.lot == Some(*here))
        {
            let before = payment.taken_back.credits;
            payment.moved =
                Some(MovedCredits { owner: to, lot: there, credits, before, taken_back: TakenBack::default() });
            payments::update(m.tx(), &payment).await?;
        }
        let events = vec![self.ended(&ended)?, changed(&moved, &moved.plan, moved.seats)];
        Ok(Done::New(Moved::To(Box::new(moved)), events))
    }

    /// Whether the plan has what creating an organization takes. Of a plan that is no longer in the catalog nobody can say.
    fn includes_organizations(&self, subscription: &Subscription) -> bool {
        self.catalog.plan(subscription.plan.as_str()).is_some_and(|plan| plan.organization)
    }

    /// The payment method that goes on paying, as the new owner's own: whatever becomes of the person's, the organization's
    /// stays until it is removed there.
    async fn carry_method(&self, m: &mut Mutation, live: &Subscription, to: OwnerId) -> Result<String, Error> {
        let method = PaymentMethod::from_stored(&live.payment_method);
        if let PaymentMethod::Named(name) = method {
            return Ok(name);
        }
        // Where nothing pays here, the organization's default does, once it has one.
        let Some(saved) = payer(m.tx(), live.owner, &method).await? else { return Ok(String::new()) };
        let is_default = methods::default(m.tx(), to).await?.is_none();
        let (id, created_at) = (Id::from_parts(m.now().as_millis(), self.entropy.bytes()), m.now());
        methods::insert(m.tx(), &SavedMethod { id, owner: to, is_default, created_at, ..saved }).await?;
        Ok(id.to_string())
    }

    /// Takes what is left of the month's allowance along, and the month itself. Gives what has moved: from which lot, to
    /// which, and how much.
    async fn carry_allowance(
        &self,
        m: &mut Mutation,
        moved: &Subscription,
        from: OwnerId,
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
        let mut carried = Vec::new();
        for lot in allowances::of_month(m.tx(), from, moved).await? {
            let note = Note::parse(&format!("moved to {to}")).ok();
            let request = self.named(&lot, actor, Command::Void(VoidCommand { lot: lot.id, note }))?;
            let left = allowances::void_rest(&self.till, m.tx(), &Job { owner: from, actor, request }).await?;
            if !left.is_zero() {
                let request = self.named(&lot, actor, arriving(moved, &lot, from, left))?;
                let Outcome::Granted(granted) = self.till.book(m.tx(), &Job { owner: to, actor, request }).await?
                else {
                    return Err(Error::Failed);
                };
                carried.push((lot.id, granted.lot.id, left));
            }
        }
        // Nobody who spends looks for the renewal here any more.
        accounts::no_renewal(m.tx(), from, moved.month.end).await?;
        if carried.is_empty() && !moved.credits.is_zero() {
            accounts::begin_period(m.tx(), to, moved.started_at, &moved.month).await?;
        }
        Ok(carried)
    }

    /// A request under a name that a lot's move alone can have, at either owner.
    fn named(&self, lot: &Lot, actor: Actor, command: Command) -> Result<Request, Error> {
        let id = RequestId::parse(format!("moved:{}", lot.id)).map_err(|_| Error::Failed)?;
        Ok(Request::new(Some(RequestName::new(&actor, id)), self.entropy.bytes(), command))
    }
}

/// What was answered when this was asked before, whatever it was.
async fn kept(m: &mut Mutation, to: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, Error> {
    match subscriptions::kept(m.tx(), to, request).await? {
        Some(kept) => Ok(Some(kept)),
        None => Ok(refused_moves::kept(m.tx(), to, request).await?),
    }
}

/// There is nothing to move, and nothing moves there any more.
async fn refuse(m: &mut Mutation, asked: &Asked<Move>, to: OwnerId) -> Result<Done<Moved, Payload>, Error> {
    let now = m.now();
    if let Some(kept) = asked.keep(&Moved::PlanRequired) {
        refused_moves::insert(m.tx(), to, &kept, now).await?;
    }
    m.refuse_for_good();
    Ok(Done::New(Moved::PlanRequired, Vec::new()))
}

/// What grants the rest of a lot to the subscription's new owner, as it was agreed, and begins the month there.
fn arriving(moved: &Subscription, lot: &Lot, from: OwnerId, amount: Credits) -> Command {
    Command::Grant(GrantCommand {
        amount,
        source: lot.terms.source,
        priority: lot.terms.priority,
        scope: lot.terms.scope.clone(),
        effective_at: Some(lot.terms.effective_at),
        expires_at: lot.terms.expires_at,
        origin: Origin { moved_from: Some(from), ..lot.terms.origin },
        note: Note::parse(moved.plan.as_str()).ok(),
        begins: Some((moved.started_at, moved.month.number)),
    })
}
