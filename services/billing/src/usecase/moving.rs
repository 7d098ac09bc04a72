//! Moving a subscription: a person's paid plan becomes that of an organization which the person creates (product.md,
//! `PAID_PLAN`; the saga itself is organization's).
//!
//! One transaction ends the subscription at the one owner, begins the same one at the other, voids what is left of the
//! month's allowance here and grants it there until the same end. What holds have reserved of it stays theirs and is void
//! when it comes back, as of any lot that was voided; packs and everything else stay. A month that is over is renewed
//! first: what moves is paid for.
//!
//! It is idempotent by the organization: a subscription moves into one once, and a repetition gets the first answer,
//! however long ago. That there was none to move is an answer, too: organization then removes what it had made, so nothing
//! may move there by a call that was on its way.

use bursar_id::{OrganizationId, OwnerId, RequestId, UserId};
use bursar_money::Credits;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, IdempotencyKey, Mutation};

use super::access;
use super::renewals;
use super::subscriptions::{SubscriptionUseCases, already, changed};
use crate::domain::{
    Actor, Command, GrantCommand, Lot, Note, Origin, Outcome, Refusal, Request, RequestName, Subscription, VoidCommand,
};
use crate::error::Error;
use crate::lane::{Job, Refused};
use crate::store::{accounts, lots, subscriptions};

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
    To(Subscription),
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
            && let Some(kept) = subscriptions::kept(m.tx(), to, request).await?
        {
            m.recall(asked, kept)?;
            return Ok(Done::Replay);
        }
        let live = subscriptions::live(m.tx(), from).await?.filter(|it| self.includes_organizations(it));
        let Some(live) = live else { return Ok(refused(m)) };
        m.about(&live.id);
        if live.is_due(m.now()) {
            return Err(Refusal::RenewalDue.into());
        }
        let (ended, moved) = live.moved(to, m.now());
        // Before any account, as renewals do.
        if !subscriptions::end(m.tx(), &ended).await? {
            return match subscriptions::live(m.tx(), from).await? {
                Some(_renewed) => Err(Refusal::RenewalDue.into()),
                None => Ok(refused(m)),
            };
        }
        let kept = asked.keep(&Moved::To(moved.clone()));
        if !subscriptions::insert(m.tx(), &moved, kept.as_ref()).await? {
            let live = subscriptions::live(m.tx(), to).await?;
            return Err(live.as_ref().map_or(Error::Failed, already));
        }
        self.carry_allowance(m, &moved, from, access::actor(asked.caller())?).await?;
        let events = vec![self.ended(&ended)?, changed(&moved, &moved.plan, moved.seats)];
        Ok(Done::New(Moved::To(moved), events))
    }

    /// Whether the plan has what creating an organization takes. Of a plan that is no longer in the catalog nobody can say.
    fn includes_organizations(&self, subscription: &Subscription) -> bool {
        self.catalog.plan(subscription.plan.as_str()).is_some_and(|plan| plan.organization)
    }

    /// Takes what is left of the month's allowance along, and the month itself.
    async fn carry_allowance(
        &self,
        m: &mut Mutation,
        moved: &Subscription,
        from: OwnerId,
        actor: Actor,
    ) -> Result<(), Error> {
        let (to, now) = (moved.owner, m.now());
        // The event of a new organization may not have come yet.
        accounts::open(m.tx(), &[to], now).await?;
        let mut both = [from, to];
        both.sort_unstable();
        for owner in both {
            accounts::lock(m.tx(), &[owner]).await?;
        }
        let mut begun = false;
        let live = lots::live(m.tx(), &[from]).await?;
        for lot in live.into_iter().map(|(_, lot)| lot).filter(|lot| moved.includes(lot)) {
            let left = self.take_away(m, &lot, (from, to), actor).await?;
            if !left.is_zero() {
                let request = self.named(&lot, actor, arriving(moved, &lot, from, left))?;
                self.till.book(m.tx(), &Job { owner: to, actor, request }).await?;
                begun = true;
            }
        }
        // Nobody who spends looks for the renewal here any more.
        accounts::no_renewal(m.tx(), from, moved.month.end).await?;
        if !begun && !moved.credits.is_zero() {
            accounts::begin_period(m.tx(), to, moved.started_at, &moved.month).await?;
        }
        Ok(())
    }

    /// Voids a lot at its owner's; says how much was left of it.
    async fn take_away(
        &self,
        m: &mut Mutation,
        lot: &Lot,
        (from, to): (OwnerId, OwnerId),
        actor: Actor,
    ) -> Result<Credits, Error> {
        let note = Note::parse(&format!("moved to {to}")).ok();
        let request = self.named(lot, actor, Command::Void(VoidCommand { lot: lot.id, note }))?;
        match self.till.batcher.apply(m.tx(), &Job { owner: from, actor, request }).await? {
            Ok(Outcome::Voided(voided)) => Ok(voided.amount),
            // By the ledger's own time it has expired.
            Err(Refused::Rule(Refusal::LotEmpty)) => Ok(Credits::ZERO),
            Ok(_) => Err(Error::Failed),
            Err(refused) => Err(refused.into()),
        }
    }

    /// A request under a name that a lot's move alone can have, at either owner.
    fn named(&self, lot: &Lot, actor: Actor, command: Command) -> Result<Request, Error> {
        let id = RequestId::parse(format!("moved:{}", lot.id)).map_err(|_| Error::Failed)?;
        Ok(Request::new(Some(RequestName::new(&actor, id)), self.entropy.bytes(), command))
    }
}

fn refused(m: &mut Mutation) -> Done<Moved, Payload> {
    m.refuse_for_good("PLAN_REQUIRED");
    Done::New(Moved::PlanRequired, Vec::new())
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
