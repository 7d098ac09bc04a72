//! Spending, reserving, settling, giving back, granting and voiding: one request to the lanes each.

use std::sync::Arc;

use bursar_db::Db;
use bursar_id::{ChargeId, HoldId, Id, LotId, OwnerId, RefundId, RequestId};
use bursar_money::Credits;
use bursar_rpc::{Caller, Problem};
use bursar_secret::Entropy;
use bursar_time::{Clock, Span, Timestamp};

use super::access::{Access, Allowed};
use crate::domain::{
    Attribution, CaptureCommand, Catalog, Charge, ChargeCommand, Charged, Command, GrantCommand, Granted, Held, Hold,
    HoldCommand, HoldState, Lot, ModelName, Outcome, Pricing, RefundCommand, Refunded, Released, Request, RequestKey,
    VoidCommand, Voided,
};
use crate::error::Error;
use crate::lane::{Answer, Job, Lanes, charges};
use crate::store::{holds, ledger, lots};

/// The scope of request ids that callers choose: they belong to the account, whoever calls. The
/// program's own grants have scopes of their own, so nobody can take their ids.
const CALLERS: &str = "r";

/// What a charge costs, as its caller said it.
#[derive(Debug, Clone)]
pub(crate) enum Cost {
    /// So many credits.
    Amount(Credits),
    /// What the rate card says for the attribution's model and quantity.
    RateCard,
}

/// One charge to make.
#[derive(Debug, Clone)]
pub(crate) struct NewCharge {
    pub(crate) cost: Cost,
    pub(crate) attribution: Attribution,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) request_id: Option<RequestId>,
}

/// One hold to place.
#[derive(Debug, Clone)]
pub(crate) struct NewHold {
    pub(crate) amount: Credits,
    pub(crate) ttl: Span,
    pub(crate) attribution: Attribution,
    pub(crate) request_id: Option<RequestId>,
}

/// The operations on credits.
#[derive(Clone)]
pub(crate) struct CreditUseCases {
    pub(crate) access: Access,
    pub(crate) lanes: Lanes,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) catalog: Arc<Catalog>,
}

impl CreditUseCases {
    /// Makes one charge.
    pub(crate) async fn charge(&self, allowed: Allowed, charge: NewCharge) -> Result<Charged, Error> {
        let job = self.charge_job(allowed, charge)?;
        charged(self.lanes.one(job).await?)
    }

    /// Makes many charges, each for itself; answers in their order. What was refused before it came
    /// here is passed through.
    pub(crate) async fn charge_each(
        &self,
        charges: Vec<Result<(Allowed, NewCharge), Error>>,
    ) -> Result<Vec<Result<Charged, Error>>, Error> {
        let mut jobs = Vec::with_capacity(charges.len());
        let admitted: Vec<Result<(), Error>> = charges
            .into_iter()
            .map(|charge| {
                let (allowed, charge) = charge?;
                jobs.push(self.charge_job(allowed, charge)?);
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

    fn charge_job(&self, allowed: Allowed, charge: NewCharge) -> Result<Job, Error> {
        let (amount, pricing) = match charge.cost {
            Cost::Amount(amount) => (amount, Pricing::Named),
            Cost::RateCard => (self.priced(&charge.attribution)?, Pricing::RateCard),
        };
        let command = Command::Charge(ChargeCommand {
            charge: self.id(),
            amount,
            pricing,
            attribution: Arc::new(charge.attribution),
            occurred_at: charge.occurred_at,
        });
        Ok(job(allowed, request(charge.request_id.as_ref(), command)))
    }

    /// What the rate card asks for the model and quantity.
    fn priced(&self, attribution: &Attribution) -> Result<Credits, Error> {
        let (Some(model), Some(quantity)) = (&attribution.model, attribution.quantity) else {
            return Err(Error::ModelNotFound(String::new()));
        };
        self.catalog.rates().estimate(model, quantity).map_err(|_| Error::ModelNotFound(model.to_string()))
    }

    /// Places a hold.
    pub(crate) async fn hold(&self, allowed: Allowed, hold: NewHold) -> Result<Held, Error> {
        let NewHold { amount, ttl, attribution, request_id } = hold;
        let command = HoldCommand { hold: self.id(), amount, ttl, attribution: Arc::new(attribution) };
        match self.run(allowed, request_id.as_ref(), Command::Hold(command)).await? {
            Outcome::Held(placed) => Ok(placed),
            _ => Err(Error::Failed),
        }
    }

    /// Settles a hold, wholly or in part.
    pub(crate) async fn capture(
        &self,
        allowed: Allowed,
        hold: HoldId,
        (amount, allow_excess): (Credits, bool),
        request_id: Option<RequestId>,
    ) -> Result<Charged, Error> {
        let command = CaptureCommand { hold, charge: self.id(), amount, allow_excess };
        charged(self.lanes.one(job(allowed, request(request_id.as_ref(), Command::Capture(command)))).await?)
    }

    /// Gives a hold back.
    pub(crate) async fn release(&self, allowed: Allowed, hold: HoldId) -> Result<Released, Error> {
        match self.run(allowed, None, Command::Release { hold }).await? {
            Outcome::Released(released) => Ok(released),
            _ => Err(Error::Failed),
        }
    }

    /// Gives a charge back, wholly or in part.
    pub(crate) async fn refund(
        &self,
        allowed: Allowed,
        charge: ChargeId,
        amount: Option<Credits>,
        request_id: Option<RequestId>,
    ) -> Result<Refunded, Error> {
        let refund: RefundId = self.id();
        let command = Command::Refund(RefundCommand { charge, refund, amount });
        match self.run(allowed, request_id.as_ref(), command).await? {
            Outcome::Refunded(refunded) => Ok(refunded),
            _ => Err(Error::Failed),
        }
    }

    /// A charge as it is now.
    pub(crate) async fn get_charge(
        &self,
        caller: &Caller,
        owner: Option<OwnerId>,
        id: ChargeId,
    ) -> Result<(OwnerId, Charge), Error> {
        let owner = self.owner_of_charge(caller, owner, id).await?;
        let viewer = self.viewer(caller, owner).await?;
        let mut tx = self.db.read().await?;
        let found = charges(&mut tx, &[(owner, id)]).await?;
        let visible = |(_, charge): &(OwnerId, Charge)| may_see(viewer, &charge.attribution);
        found.into_iter().next().filter(visible).ok_or(Error::NotFound("charge"))
    }

    /// A hold as it is now; past its deadline it counts as lapsed, booked or not.
    pub(crate) async fn get_hold(
        &self,
        caller: &Caller,
        owner: Option<OwnerId>,
        id: HoldId,
    ) -> Result<(OwnerId, Hold), Error> {
        let owner = self.owner_of_hold(caller, owner, id).await?;
        let viewer = self.viewer(caller, owner).await?;
        let mut tx = self.db.read().await?;
        let found = holds::named(&mut tx, &[(owner, id)]).await?;
        let visible = |(_, hold): &(OwnerId, Hold)| may_see(viewer, &hold.attribution);
        let (owner, mut hold) = found.into_iter().next().filter(visible).ok_or(Error::NotFound("hold"))?;
        if hold.state == HoldState::Open && hold.deadline <= self.clock.now() {
            hold.state = HoldState::Lapsed;
            hold.settled_at = Some(hold.deadline);
        }
        Ok((owner, hold))
    }

    /// What a quantity of a model costs, by the unit it is sold in.
    pub(crate) fn estimate(
        &self,
        model: &ModelName,
        quantity: bursar_money::Quantity,
    ) -> Result<(Credits, crate::domain::ModelPrice), Error> {
        let rates = self.catalog.rates();
        let unknown = || Error::ModelNotFound(model.to_string());
        let price = rates.get(model).ok_or_else(unknown)?;
        Ok((rates.estimate(model, quantity).map_err(|_| unknown())?, price.clone()))
    }

    /// Grants a lot.
    pub(crate) async fn grant(
        &self,
        owner: OwnerId,
        grant: impl FnOnce(LotId) -> GrantCommand,
        request_id: Option<RequestId>,
    ) -> Result<Granted, Error> {
        let grant = grant(self.id());
        let late = grant.expires_at.is_some_and(|expires_at| expires_at <= self.clock.now());
        let request = request(request_id.as_ref(), Command::Grant(grant));
        if late && !self.is_known(owner, &request).await? {
            return Err(Problem::invalid_field("expires_at", "must be after now").into());
        }
        match answered(self.lanes.one(Job::new(owner, request)).await?)? {
            Outcome::Granted(granted) => Ok(granted),
            _ => Err(Error::Failed),
        }
    }

    /// Whether something was booked under this request's id: then it is answered as it was then.
    async fn is_known(&self, owner: OwnerId, request: &Request) -> Result<bool, Error> {
        let Some(key) = &request.key else {
            return Ok(false);
        };
        Ok(!ledger::by_key(&mut self.db.read().await?, &[(owner, key.as_str())]).await?.is_empty())
    }

    /// Voids what remains of a lot; answers with the lot as it is afterwards.
    pub(crate) async fn void(
        &self,
        owner: Option<OwnerId>,
        command: VoidCommand,
        request_id: Option<RequestId>,
    ) -> Result<(Lot, Voided), Error> {
        let lot = command.lot;
        let missing = || Error::NotFound("lot");
        let owner = match owner {
            Some(owner) => owner,
            None => lots::owner_of(&mut self.db.read().await?, lot).await?.ok_or_else(missing)?,
        };
        let request = request(request_id.as_ref(), Command::Void(command));
        let Outcome::Voided(voided) = answered(self.lanes.one(Job::new(owner, request)).await?)? else {
            return Err(Error::Failed);
        };
        let found = lots::named(&mut self.db.read().await?, &[(owner, lot)]).await?;
        let (_, lot) = found.into_iter().next().ok_or_else(missing)?;
        Ok((lot, voided))
    }

    async fn run(&self, allowed: Allowed, request_id: Option<&RequestId>, command: Command) -> Result<Outcome, Error> {
        answered(self.lanes.one(job(allowed, request(request_id, command))).await?)
    }

    /// May the caller settle this hold? Whether it is the user's own is decided with the rest.
    pub(crate) async fn on_hold(
        &self,
        caller: &Caller,
        owner: Option<OwnerId>,
        hold: HoldId,
    ) -> Result<Allowed, Error> {
        let owner = self.owner_of_hold(caller, owner, hold).await?;
        self.actor(caller, owner).await
    }

    /// May the caller refund this charge? Whether it is the user's own is decided with the rest.
    pub(crate) async fn on_charge(
        &self,
        caller: &Caller,
        owner: Option<OwnerId>,
        charge: ChargeId,
    ) -> Result<Allowed, Error> {
        let owner = self.owner_of_charge(caller, owner, charge).await?;
        self.actor(caller, owner).await
    }

    /// A service acts on whatever it names; a user on its own, or by its role.
    async fn actor(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        if caller.user().is_err() { Ok(Allowed::service(owner)) } else { self.access.act(caller, owner).await }
    }

    /// The same for looking. Gives its connection back before anything else is read: whoever waits for one must not
    /// keep another from others.
    async fn viewer(&self, caller: &Caller, owner: OwnerId) -> Result<Allowed, Error> {
        if caller.user().is_err() { Ok(Allowed::service(owner)) } else { self.access.to(caller, owner).await }
    }

    async fn owner_of_hold(&self, caller: &Caller, named: Option<OwnerId>, hold: HoldId) -> Result<OwnerId, Error> {
        match known_owner(caller, named, "hold")? {
            Some(owner) => Ok(owner),
            None => holds::owner_of(&mut self.db.read().await?, hold).await?.ok_or(Error::NotFound("hold")),
        }
    }

    async fn owner_of_charge(
        &self,
        caller: &Caller,
        named: Option<OwnerId>,
        charge: ChargeId,
    ) -> Result<OwnerId, Error> {
        match known_owner(caller, named, "charge")? {
            Some(owner) => Ok(owner),
            None => ledger::owner_of(&mut self.db.read().await?, charge).await?.ok_or(Error::NotFound("charge")),
        }
    }

    fn id<K>(&self) -> Id<K> {
        Id::from_parts(self.clock.now().as_millis(), self.entropy.bytes())
    }
}

/// Members see what is their own; more takes a role.
fn may_see(viewer: Allowed, made: &Attribution) -> bool {
    viewer.sees || viewer.member == Some(made.member)
}

/// The owner that the caller named or acts for. A user who names another owner finds no `kind` there.
fn known_owner(caller: &Caller, named: Option<OwnerId>, kind: &'static str) -> Result<Option<OwnerId>, Error> {
    match caller.user() {
        Ok(user) if named.is_some_and(|owner| owner != user.context) => Err(Error::NotFound(kind)),
        Ok(user) => Ok(Some(user.context)),
        Err(_) => Ok(named),
    }
}

fn request(id: Option<&RequestId>, command: Command) -> Request {
    Request::new(id.map(|id| RequestKey::new(CALLERS, id)), command)
}

fn job(allowed: Allowed, request: Request) -> Job {
    Job { owner: allowed.owner, member: allowed.spender, acting: allowed.acting, period: None, request }
}

fn answered(answer: Answer) -> Result<Outcome, Error> {
    Ok(answer?)
}

fn charged(answer: Answer) -> Result<Charged, Error> {
    match answered(answer)? {
        Outcome::Charged(charged) => Ok(charged),
        _ => Err(Error::Failed),
    }
}
