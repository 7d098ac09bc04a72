//! Spending, reserving, settling, giving back, granting and voiding: one request to the lanes each.
//!
//! What is done has its entry in the ledger, which of spending is all that tells of it. Granting and voiding have a row of the
//! audit log beside it, in the same transaction ([`told_job`]), and what an operator is refused of them has a row, too
//! ([`CreditUseCases::told`]).

use bursar_db::{Db, Tx};
use bursar_events::Outbox;
use bursar_id::{ChargeId, HoldId, OwnerId, RequestId, UserId};
use bursar_rpc::{Call, Mutations, Page, PageRequest, Problem, Refusing as _};
use bursar_secret::Entropy;
use bursar_time::{Clock, Span, Timestamp};

use super::access::{Access, Allowed};
use super::boundary::Renewing;
use super::catalogs::CatalogHandle;
use crate::domain::{
    Attribution, CaptureCommand, CatalogVersion, Charge, ChargeCommand, Charged, Command, GrantCommand, Granted, Held,
    Hold, HoldCommand, HoldState, Lot, MeterUse, ModelName, Outcome, Priced, RefundCommand, Refunded, Refusal,
    Released, Request, RequestName, ToldCall, VoidCommand, Voided,
};
use crate::error::Error;
use crate::lane::{Answer, Job, RulesHandle, charges};
use crate::store::{accounts, holds, ledger, lots};

/// The operations on credits.
#[derive(Clone)]
pub(crate) struct CreditUseCases {
    pub(crate) access: Access,
    pub(crate) lanes: Renewing,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) rules: RulesHandle,
    /// What scopes may name.
    pub(crate) catalog: CatalogHandle,
    pub(crate) mutations: Mutations<Outbox>,
}

/// What is asked and the caller's own id for it.
#[derive(Debug, Clone)]
pub(crate) struct Asked<C> {
    pub(crate) command: C,
    pub(crate) request_id: Option<RequestId>,
}

impl CreditUseCases {
    /// Has the audit log hear of what an operator was refused about an owner's credits.
    pub(crate) async fn told<T>(&self, call: &Call, owner: OwnerId, outcome: Result<T, Error>) -> Result<T, Error> {
        match outcome {
            Err(error) if error.reason().is_some() => Err(self.mutations.refused(call, owner, error).await),
            outcome => outcome,
        }
    }

    /// Makes one charge.
    pub(crate) async fn charge(&self, allowed: Allowed, charge: Asked<ChargeCommand>) -> Result<Charged, Error> {
        let job = self.job(allowed, charge.request_id, Command::Charge(charge.command));
        charged(self.lanes.one(job).await?)
    }

    /// How long a hold may last in this deployment.
    pub(crate) fn longest_hold(&self) -> Span {
        self.rules.current().max_hold
    }

    /// Makes many charges, each for itself; answers in their order. What was refused before it came
    /// here is passed through.
    pub(crate) async fn charge_each(
        &self,
        charges: Vec<Result<(Allowed, Asked<ChargeCommand>), Error>>,
    ) -> Result<Vec<Result<Charged, Error>>, Error> {
        let mut jobs = Vec::with_capacity(charges.len());
        let admitted: Vec<Result<(), Error>> = charges
            .into_iter()
            .map(|charge| {
                let (allowed, Asked { command, request_id }) = charge?;
                jobs.push(self.job(allowed, request_id, Command::Charge(command)));
                Ok(())
            })
            .collect();
        let mut answers = if jobs.is_empty() { Vec::new() } else { self.lanes.many(jobs).await? }.into_iter();
        let each = |admitted: Result<(), Error>| match admitted {
            Ok(()) => charged(answers.next().ok_or(Error::Failed)?),
            Err(refused) => Err(refused),
        };
        Ok(admitted.into_iter().map(each).collect())
    }

    /// Places a hold.
    pub(crate) async fn hold(&self, allowed: Allowed, hold: Asked<HoldCommand>) -> Result<Held, Error> {
        match self.run(allowed, hold.request_id, Command::Hold(hold.command)).await? {
            Outcome::Held(placed) => Ok(placed),
            _ => Err(Error::Failed),
        }
    }

    /// Settles a hold, wholly or in part.
    pub(crate) async fn capture(&self, allowed: Allowed, capture: Asked<CaptureCommand>) -> Result<Charged, Error> {
        charged(self.lanes.one(self.job(allowed, capture.request_id, Command::Capture(capture.command))).await?)
    }

    /// Gives a hold back.
    pub(crate) async fn release(&self, allowed: Allowed, hold: Asked<HoldId>) -> Result<Released, Error> {
        match self.run(allowed, hold.request_id, Command::Release { hold: hold.command }).await? {
            Outcome::Released(released) => Ok(released),
            _ => Err(Error::Failed),
        }
    }

    /// Gives a charge back, wholly or in part.
    pub(crate) async fn refund(&self, allowed: Allowed, refund: Asked<RefundCommand>) -> Result<Refunded, Error> {
        match self.run(allowed, refund.request_id, Command::Refund(refund.command)).await? {
            Outcome::Refunded(refunded) => Ok(refunded),
            _ => Err(Error::Failed),
        }
    }

    /// A charge as it is now.
    pub(crate) async fn get_charge(&self, viewer: Allowed, id: ChargeId) -> Result<Charge, Error> {
        let mut tx = self.db.read().await?;
        let found = charges(&mut tx, &self.rules.current(), &[(viewer.owner, id)]).await?;
        let mut visible = found.into_iter().filter(|(_, charge)| may_see(viewer, &charge.attribution));
        visible.next().map(|(_, charge)| charge).ok_or(Error::NotFound("charge"))
    }

    /// The time that the account's requests are decided at: now, but never behind its ledger.
    async fn time(&self, tx: &mut Tx, owner: OwnerId) -> Result<Timestamp, Error> {
        let now = self.clock.now();
        Ok(accounts::find(tx, owner).await?.map_or(now, |account| now.max(account.head.at)))
    }

    /// A hold as it is now; past its deadline it counts as lapsed, booked or not.
    pub(crate) async fn get_hold(&self, viewer: Allowed, id: HoldId) -> Result<Hold, Error> {
        let mut tx = self.db.read().await?;
        let seq = self.rules.current().key.seq(viewer.owner, id).ok_or(Error::NotFound("hold"))?;
        let found = holds::named(&mut tx, &[(viewer.owner, seq)]).await?;
        let visible = |hold: &Hold| hold.id == id && may_see(viewer, &hold.terms.attribution);
        let mut hold = found.into_iter().map(|(_, hold)| hold).find(visible).ok_or(Error::NotFound("hold"))?;
        if hold.state == HoldState::Open && hold.deadline <= self.time(&mut tx, viewer.owner).await? {
            hold.state = HoldState::Lapsed;
            hold.settled_at = Some(hold.deadline);
        }
        Ok(hold)
    }

    /// The holds that are open now, those that lapse soonest first; with a member that member's.
    ///
    /// It needs no place among what is costly. A page reads what is open of one account behind the last page, which is never
    /// more than an account may have open (`billing.open_holds_max`); what was settled or has lapsed is not in that range of
    /// the index. The member is looked for in the rows of the page alone: where few are the member's, pages are short.
    pub(crate) async fn open_holds(
        &self,
        owner: OwnerId,
        member: Option<UserId>,
        page: &PageRequest<(Timestamp, u64)>,
    ) -> Result<Page<Hold>, Error> {
        let mut tx = self.db.read().await?;
        // What has lapsed by now is not open, whether that is booked or not.
        let now = (self.time(&mut tx, owner).await?, u64::MAX);
        let after = page.after().map_or(now, |last| now.max(*last));
        let rows = holds::open(&mut tx, owner, after, page.limit()).await?;
        let page = page.page(rows, |hold| (hold.deadline, hold.number))?;
        Ok(page.only(|hold| member.is_none_or(|member| hold.terms.attribution.member == member)))
    }

    /// What this usage of a model costs now, and by which catalog.
    pub(crate) fn estimate(&self, model: &ModelName, usage: &[MeterUse]) -> Result<(Priced, CatalogVersion), Error> {
        let rules = self.rules.current();
        let priced = rules.rates.price(model, usage, self.clock.now()).map_err(Refusal::from)?;
        Ok((priced, rules.catalog_version))
    }

    /// Grants a lot.
    pub(crate) async fn grant(
        &self,
        call: &Call,
        allowed: Allowed,
        grant: Asked<GrantCommand>,
    ) -> Result<Granted, Error> {
        let flaw = self.flaw(&grant.command);
        let job = told_job(call, allowed, &self.entropy, grant.request_id, Command::Grant(grant.command));
        if let Some(flaw) = flaw
            && !self.is_known(allowed.owner, &job.request).await?
        {
            return Err(flaw.into());
        }
        match answered(self.lanes.one(job).await?)? {
            Outcome::Granted(granted) => Ok(granted),
            _ => Err(Error::Failed),
        }
    }

    /// What may be wrong with a grant today and have been right when it was made first.
    fn flaw(&self, grant: &GrantCommand) -> Option<Problem> {
        if grant.expires_at.is_some_and(|expires_at| expires_at <= self.clock.now()) {
            return Some(Problem::invalid_field("expires_at", "must be after now"));
        }
        let sold = self.catalog.current();
        let model = sold.catalog().unlisted(&grant.scope).next()?;
        Some(Problem::invalid_field("scope.models", format!("names {model}, which the catalog does not have")))
    }

    /// Whether something was booked under this request's id: then it is answered as it was then.
    async fn is_known(&self, owner: OwnerId, request: &Request) -> Result<bool, Error> {
        let Some(key) = request.key() else {
            return Ok(false);
        };
        Ok(!ledger::by_key(&mut self.db.read().await?, &[(owner, key)]).await?.is_empty())
    }

    /// Voids what remains of a lot; answers with the lot as it is afterwards.
    pub(crate) async fn void(
        &self,
        call: &Call,
        allowed: Allowed,
        void: Asked<VoidCommand>,
    ) -> Result<(Lot, Voided), Error> {
        let (owner, lot) = (allowed.owner, void.command.lot);
        let job = told_job(call, allowed, &self.entropy, void.request_id, Command::Void(void.command));
        let Outcome::Voided(voided) = answered(self.lanes.one(job).await?)? else {
            return Err(Error::Failed);
        };
        let seq = self.rules.current().key.seq(owner, lot).ok_or(Error::NotFound("lot"))?;
        let found = lots::named(&mut self.db.read().await?, &[(owner, seq)]).await?;
        let (_, lot) = found.into_iter().next().ok_or(Error::NotFound("lot"))?;
        Ok((lot, voided))
    }

    async fn run(&self, allowed: Allowed, id: Option<RequestId>, command: Command) -> Result<Outcome, Error> {
        answered(self.lanes.one(self.job(allowed, id, command)).await?)
    }

    fn job(&self, allowed: Allowed, id: Option<RequestId>, command: Command) -> Job {
        job(allowed, &self.entropy, id, command)
    }
}

/// What a lane gets of a caller's request: ids belong to the actor.
pub(super) fn job(allowed: Allowed, entropy: &Entropy, id: Option<RequestId>, command: Command) -> Job {
    let Allowed { owner, actor, spender, stale, .. } = allowed;
    let name = id.map(|id| RequestName::new(&actor, id));
    Job {
        owner,
        actor,
        request: Request::new(name, entropy.bytes(), command).for_member(spender).under_stale_feed(stale),
    }
}

/// The same for a call that is no spending: when it is carried out, the audit log is told, but for a caller of whom nothing
/// is known.
pub(super) fn told_job(
    call: &Call,
    allowed: Allowed,
    entropy: &Entropy,
    id: Option<RequestId>,
    command: Command,
) -> Job {
    let job = job(allowed, entropy, id, command);
    let Some((actor, on_behalf_of)) = call.caller().names() else { return job };
    let told = ToldCall { method: call.method(), actor, on_behalf_of, row: entropy.bytes() };
    Job { request: job.request.told_as(told), ..job }
}

/// Members see what is their own; more takes a role.
fn may_see(viewer: Allowed, made: &Attribution) -> bool {
    viewer.sees || viewer.member == Some(made.member)
}

pub(super) fn answered(answer: Answer) -> Result<Outcome, Error> {
    Ok(answer?)
}

fn charged(answer: Answer) -> Result<Charged, Error> {
    match answered(answer)? {
        Outcome::Charged(charged) => Ok(charged),
        _ => Err(Error::Failed),
    }
}
