//! Automatic top-ups: whether an account needs one now, and the pack that is bought then.
//!
//! Whatever takes credits enqueues a job in its own transaction when it leaves the account below what its top-up wants
//! (`lane/top_ups.rs`); so does whoever switches it on, a purchase that is delivered or comes to nothing, and the return
//! of an owner who was suspended. The job **looks** ([`TopUps::look`]): under the lock on the account's row it counts
//! what is there and on its way, when the last attempt began and what this month has cost (`domain/top_up.rs` decides),
//! and writes the next payment down with the attempt. So of any number of jobs and replicas one pays. The payment is
//! known by the crossing and the attempt at it, and from there on it is a purchase like any other (`cashier.rs`): asked
//! for under its id, delivered with its invoice.
//!
//! An attempt that needs the customer has failed like one that was declined; the next one takes its place, and its money goes
//! back should it be paid after all. What was tried and what became of it stands in the audit log.
//!
//! As long as there is too little, it is looked at again: when the cool-down is over, and when the next month begins where the
//! ceiling is reached. A month of the subscription that is being renewed right now is waited for.

use bursar_db::audit::{self, AuditRow, Outcome};
use bursar_db::{DbError, Tx};
use bursar_id::{AuditId, Id, OwnerId, PurchaseId, ServiceAccountId};
use bursar_money::{Credits, Price};
use bursar_proto::event::v1::TopUpStopped;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::Publish;
use bursar_rpc::convert::to_timestamp;
use bursar_time::{Span, Timestamp};

use super::cashier::{Beginning, Cashier, MOST_OPEN};
use crate::domain::{
    Account, AccountSettings, AutoTopUp, Bought, MOST_DECLINES, Pack, Payment, PaymentState, Purchase, Purpose, Rules,
    Stop, SubscriptionState, TopUpSituation, TopUpStep, next_slot,
};
use crate::error::Error;
use crate::lane::{TOP_UP, TopUp, look, view};
use crate::payment::{PaymentMethod, Thing, thing};
use crate::store::top_ups::{self, Begun, Progress};
use crate::store::{accounts, methods, payments, purchases, settings, subscriptions};

/// What an attempt is told as to the audit log.
const PURCHASE: &str = "bursar.billing.v1.PurchaseService/PurchasePack";

/// As what it is told that it was switched off.
const SETTING: &str = "bursar.billing.v1.AccountService/UpdateAccountSettings";

/// Why nothing is bought before the next month.
const CEILING_REACHED: &str = "TOP_UP_CEILING_REACHED";

/// How soon it is looked again whether a month was renewed that is over.
const RENEWED_WITHIN: Span = Span::from_mins(1);

/// Tops accounts up.
#[derive(Clone)]
pub(crate) struct TopUps {
    pub(crate) cashier: Cashier,
    /// How long after an attempt there is no other one.
    pub(crate) cool_down: Span,
}

/// An account that is topped up, locked, with what is known of that.
struct Looked {
    owner: OwnerId,
    account: Account,
    settings: AccountSettings,
    set: AutoTopUp,
    progress: Progress,
    /// The last attempt at the crossing that is looked after, locked.
    last: Option<Payment>,
    now: Timestamp,
}

impl TopUps {
    /// Looks whether an account is to be topped up now, and buys what is needed. Doing it again changes nothing.
    pub(crate) async fn look(&self, TopUp { owner }: TopUp) -> Result<(), Error> {
        let Some(payment) = self.begin(owner).await? else { return Ok(()) };
        let heard = self.cashier.ask(&payment).await?;
        if heard.is_some() {
            self.cashier.hear(payment.id, heard.as_ref()).await?;
        }
        Ok(())
    }

    /// Writes down the purchase that is needed, if one is.
    async fn begin(&self, owner: OwnerId) -> Result<Option<Payment>, Error> {
        let mut tx = self.cashier.till.db.begin().await?;
        let Some(it) = self.lock(&mut tx, owner).await? else { return Ok(None) };
        match self.cashier.till.may_sell_to(&mut tx, owner).await {
            Ok(()) => {}
            // Suspended: it is looked at again once that is over.
            Err(Error::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.is_being_renewed(&mut tx, &it).await? {
            self.later(&mut tx, owner, next_slot(it.now, RENEWED_WITHIN)).await?;
            tx.commit().await?;
            return Ok(None);
        }
        let Some(pack) = self.pack(&it.set) else { return self.stop(tx, owner, Stop::NoPack).await };
        let situation = self.situation(&mut tx, &it).await?;
        match it.set.next(pack.price, &situation, self.cool_down, it.now) {
            TopUpStep::Enough => Ok(None),
            TopUpStep::Wait(until) => {
                self.later(&mut tx, owner, until).await?;
                tx.commit().await?;
                Ok(None)
            }
            TopUpStep::Ceiling(until) => self.wait_for_month(tx, &it, until).await,
            TopUpStep::Buy => match method(&mut tx, owner, &it.set.method, it.now).await? {
                Some(method) => self.buy(tx, it, pack, method).await,
                None => self.stop(tx, owner, Stop::NoMethod).await,
            },
        }
    }

    /// Locks the account, if it is to be topped up: a payment's row first, as everywhere.
    async fn lock(&self, tx: &mut Tx, owner: OwnerId) -> Result<Option<Looked>, Error> {
        let now = self.cashier.till.clock.now();
        let progress = top_ups::of(tx, owner).await?;
        let last = match payments::last_attempt(tx, thing_of(owner, progress.crossing)).await? {
            Some(last) => payments::lock(tx, last.id).await?,
            None => None,
        };
        let Some((_, account)) = accounts::lock(tx, &[owner]).await?.pop() else { return Ok(None) };
        if top_ups::of(tx, owner).await? != progress {
            // Whoever was faster has looked, or has it looked at again.
            return Ok(None);
        }
        let settings = settings::of(tx, owner).await?;
        let Some(set) = settings.top_up.clone().filter(|it| it.enabled) else { return Ok(None) };
        Ok(Some(Looked { owner, account, settings, set, progress, last, now }))
    }

    /// Whether the subscription's month is over and the next one about to be paid: its allowance may be enough.
    async fn is_being_renewed(&self, tx: &mut Tx, it: &Looked) -> Result<bool, Error> {
        if it.account.renews_at.is_none_or(|renewal| it.now < renewal) {
            return Ok(false);
        }
        let is_test = self.cashier.till.clock.is_test();
        let live = subscriptions::live(tx, it.owner).await?;
        // One that was tried already, that ends or that waits for an operator grants nothing soon.
        Ok(live.is_some_and(|live| {
            live.state == SubscriptionState::Active
                && live.is_due(it.now)
                && (!live.cancel_at_period_end || live.is_next_paid())
                && (is_test || !live.is_held(it.now))
        }))
    }

    /// The pack that is bought, if it is still for sale, in the ceiling's currency.
    fn pack(&self, set: &AutoTopUp) -> Option<Pack> {
        let pack = self.cashier.catalog.current().catalog().pack(set.pack.as_str()).cloned();
        pack.filter(|pack| pack.price.currency() == set.ceiling.currency())
    }

    async fn situation(&self, tx: &mut Tx, it: &Looked) -> Result<TopUpSituation, Error> {
        let till = &self.cashier.till;
        let rules = till.batcher.rules();
        let state = view(tx, &rules, it.owner, it.now).await?.ok_or(Error::NotFound("account"))?;
        let available = state.balance(state.time(it.now), None, None).available;
        let open = payments::waiting(tx, it.owner, i64::from(MOST_OPEN)).await?;
        // What waits for the customer may wait for ever.
        let on_its_way = open.iter().filter(|payment| {
            payment.bought.purpose() == Purpose::Purchase && payment.state != PaymentState::RequiresAction
        });
        let pending = on_its_way.map(|payment| payment.bought.credits());
        let pending = Credits::checked_sum(pending).unwrap_or(Credits::MAX);
        let (month, month_end) = it.settings.zone.month(it.now);
        // An attempt that needs the customer is given up for the next one, and of one that came to nothing the money goes back.
        let is_given_up = |last: &&Payment| last.state == PaymentState::RequiresAction || last.came_to_nothing();
        let given_up = it.last.as_ref().filter(is_given_up).map(|last| last.id);
        let spent = top_ups::spent(tx, it.owner, (month, it.set.ceiling.currency()), given_up).await?;
        let live = state.lots().filter(|lot| lot.is_live()).count();
        Ok(TopUpSituation {
            available,
            pending: pending.saturating_sub(state.account().debt),
            has_room: live < Rules::MAX_LIVE_LOTS && open.len() < MOST_OPEN as usize,
            attempted_at: it.progress.attempted_at,
            spent,
            month_end,
        })
    }

    /// Nothing more is bought in this month: the audit log hears so, once.
    async fn wait_for_month(&self, mut tx: Tx, it: &Looked, until: Timestamp) -> Result<Option<Payment>, Error> {
        let mut events = Vec::new();
        if it.progress.capped_until != Some(until) {
            top_ups::put(&mut tx, it.owner, Progress { capped_until: Some(until), ..it.progress }).await?;
            let about = (it.set.set_by.as_str(), None);
            events.push(self.cashier.audit(&mut tx, it.owner, (PURCHASE, about), Some(CEILING_REACHED)).await?);
        }
        self.later(&mut tx, it.owner, until).await?;
        self.cashier.outbox.commit(tx, events).await?;
        Ok(None)
    }

    /// Writes the next payment down, and that it was tried.
    async fn buy(&self, mut tx: Tx, it: Looked, pack: Pack, method: String) -> Result<Option<Payment>, Error> {
        let Looked { owner, progress, set, now, .. } = it;
        let again = now.saturating_add(self.cool_down);
        let (crossing, attempt) = self.next_attempt(&mut tx, progress.crossing, it.last).await?;
        let purchase: PurchaseId = Id::from_parts(now.as_millis(), self.cashier.entropy.bytes());
        let bought = Bought::Pack { purchase, pack: pack.id, credits: pack.credits, scope: pack.scope };
        let bill = self.cashier.bill(&mut tx, owner, &bought, (pack.price, None)).await?;
        let new = Beginning {
            owner,
            bought,
            amount: pack.price,
            seats: None,
            method: PaymentMethod::from_stored(&method),
            thing: thing_of(owner, crossing),
            tried_before: 0,
            started_by: ServiceAccountId::BILLING.to_string(),
        };
        let payment = self.cashier.created(new, bill, (method, attempt), now);
        if !payments::insert(&mut tx, &payment).await? {
            return Ok(None);
        }
        if let Some(purchase) = Purchase::of(&payment) {
            purchases::insert(&mut tx, &purchase).await?;
        }
        top_ups::begin(&mut tx, (owner, payment.id), payment.net(), &set.set_by, now).await?;
        top_ups::put(&mut tx, owner, Progress { crossing, attempted_at: Some(now), ..progress }).await?;
        self.cashier.look_later(&mut tx, payment.id, now).await?;
        self.later(&mut tx, owner, again).await?;
        tx.commit().await?;
        Ok(Some(payment))
    }

    /// Which attempt at which crossing is the next. What came to nothing, and what waits for the customer, is tried anew: should
    /// it be paid after all, its money goes back.
    async fn next_attempt(&self, tx: &mut Tx, crossing: u32, last: Option<Payment>) -> Result<(u32, u32), Error> {
        let Some(mut last) = last else { return Ok((crossing, 1)) };
        if last.is_open() && last.state == PaymentState::RequiresAction {
            self.cashier.give_up(tx, &mut last, None).await?;
        } else if last.came_to_nothing() && !last.returned {
            last.returned = true;
            payments::update(tx, &last).await?;
        }
        let next = |number: u32| number.checked_add(1).ok_or(Error::Failed);
        Ok(if last.came_to_nothing() { (crossing, next(last.attempt)?) } else { (next(crossing)?, 1) })
    }

    /// Switches it off because it cannot go on.
    async fn stop(&self, mut tx: Tx, owner: OwnerId, why: Stop) -> Result<Option<Payment>, Error> {
        let events = self.cashier.stop_top_up(&mut tx, owner, why).await?;
        self.cashier.outbox.commit(tx, events).await?;
        Ok(None)
    }

    /// Has the account looked at again at a time, once for each.
    async fn later(&self, tx: &mut Tx, owner: OwnerId, at: Timestamp) -> Result<(), DbError> {
        let key = format!("{owner}:{}", at.as_micros());
        self.cashier.jobs.enqueue(tx, TOP_UP, &TopUp { owner }, at, Some(&key)).await
    }
}

/// What payments mean for top-ups.
impl Cashier {
    /// Learns for an account's top-up what has become of one of its purchases, in the transaction that learns it: which attempts
    /// failed, and that it is looked at again where something did not come.
    pub(super) async fn follow_top_up(
        &self,
        tx: &mut Tx,
        before: &Payment,
        payment: &Payment,
    ) -> Result<Vec<Payload>, Error> {
        if payment.state == before.state && payment.fulfilled_at == before.fulfilled_at {
            return Ok(Vec::new());
        }
        self.look_at_top_up(tx, payment).await?;
        if payment.bought.purpose() != Purpose::Purchase || payment.state == PaymentState::Created {
            return Ok(Vec::new());
        }
        let Some(was) = top_ups::begun(tx, payment.id).await? else { return Ok(Vec::new()) };
        accounts::lock(tx, &[payment.owner]).await?;
        let failure = why_failed(payment);
        // Nobody waits for one that is given up.
        let failed =
            matches!(payment.state, PaymentState::Declined | PaymentState::RequiresAction) && !payment.returned;
        let counts = failed && !was.counted;
        let mut events = Vec::new();
        if counts || !was.told {
            let purchase = payment.bought.purchase().map(|id| id.to_string());
            let about = (was.set_by.as_str(), purchase);
            events.push(self.audit(tx, payment.owner, (PURCHASE, about), failure).await?);
        }
        top_ups::note(tx, payment.id, &Begun { told: true, counted: was.counted || counts, ..was }).await?;
        let progress = top_ups::of(tx, payment.owner).await?;
        if payment.fulfilled_at.is_some() && before.fulfilled_at.is_none() {
            top_ups::put(tx, payment.owner, Progress { declines: 0, ..progress }).await?;
        } else if counts {
            let declines = progress.declines.saturating_add(1);
            top_ups::put(tx, payment.owner, Progress { declines, ..progress }).await?;
            if declines >= MOST_DECLINES {
                events.extend(self.stop_top_up(tx, payment.owner, Stop::Declined).await?);
            }
        }
        Ok(events)
    }

    /// Has the account of a purchase looked at that was counted on, if it is topped up: what did not come is missing, and what
    /// came may be too little by now. Nothing that was spent meanwhile was a crossing.
    pub(super) async fn look_at_top_up(&self, tx: &mut Tx, payment: &Payment) -> Result<(), Error> {
        let failed = payment.came_to_nothing() || payment.state == PaymentState::RequiresAction;
        let settled = failed || payment.fulfilled_at.is_some();
        if payment.bought.purpose() != Purpose::Purchase || !settled {
            return Ok(());
        }
        let account = accounts::find(tx, payment.owner).await?;
        if account.is_some_and(|account| account.top_up_below.is_some()) {
            // The account before the job, as whoever takes its credits does.
            accounts::lock(tx, &[payment.owner]).await?;
            look(&self.jobs, tx, payment.owner, self.till.clock.now()).await?;
        }
        Ok(())
    }

    /// Switches a top-up off that cannot go on: whoever had switched it on is told, and the audit log.
    async fn stop_top_up(&self, tx: &mut Tx, owner: OwnerId, why: Stop) -> Result<Vec<Payload>, Error> {
        let now = self.till.clock.now();
        let Some(off) = switch_off(tx, owner, why, now).await? else { return Ok(Vec::new()) };
        let stopped = TopUpStopped {
            owner: owner.to_string(),
            set_by: off.set_by.clone(),
            reason: why.to_string(),
            pack_id: off.pack.to_string(),
            at: Some(to_timestamp(now)),
        };
        tracing::info!(%owner, %why, "its top-up cannot go on: it is switched off");
        let about = (off.set_by.as_str(), Some(owner.to_string()));
        Ok(vec![self.audit(tx, owner, (SETTING, about), None).await?, Payload::TopUpStopped(stopped)])
    }

    /// Writes into the audit log what the program does for whoever switched a top-up on, or why it does not; gives what
    /// organization is told of it.
    async fn audit(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        (method, (set_by, target)): (&str, (&str, Option<String>)),
        refused: Option<&str>,
    ) -> Result<Payload, DbError> {
        let now = self.till.clock.now();
        let row = AuditRow {
            id: AuditId::from_parts(now.as_millis(), self.entropy.bytes()),
            at: now,
            owner: Some(owner),
            actor: ServiceAccountId::BILLING.to_string(),
            on_behalf_of: Some(set_by.to_owned()),
            method: method.to_owned(),
            target,
            outcome: if refused.is_some() { Outcome::Refused } else { Outcome::Done },
            reason: refused.map(str::to_owned),
            request_id: None,
        };
        audit::record(tx, &row).await?;
        Ok(self.outbox.audited(&row))
    }
}

/// Switches an account's top-up off, if it is on; gives what it was. Nothing but a manager switches it on again.
pub(crate) async fn switch_off(
    tx: &mut Tx,
    owner: OwnerId,
    why: Stop,
    now: Timestamp,
) -> Result<Option<AutoTopUp>, DbError> {
    accounts::lock(tx, &[owner]).await?;
    let Some(off) = settings::of(tx, owner).await?.stopped(why) else { return Ok(None) };
    settings::put(tx, owner, &off, now).await?;
    accounts::set_top_up(tx, owner, None).await?;
    Ok(off.top_up)
}

/// Has what was set of a top-up hold from now on, on an account that is locked: decisions go by the threshold, and where it is
/// on, it is looked at once, whatever was tried before.
pub(super) async fn set(
    tx: &mut Tx,
    jobs: &bursar_jobs::Jobs,
    owner: OwnerId,
    below: Option<Credits>,
    now: Timestamp,
) -> Result<(), DbError> {
    accounts::set_top_up(tx, owner, below).await?;
    let progress = top_ups::of(tx, owner).await?;
    let anew = Progress { declines: 0, capped_until: None, ..progress };
    if anew != progress {
        top_ups::put(tx, owner, anew).await?;
    }
    match below {
        Some(_) => look(jobs, tx, owner, now).await,
        None => Ok(()),
    }
}

/// Why an attempt has failed, as the audit log is told.
fn why_failed(payment: &Payment) -> Option<&'static str> {
    match payment.state {
        PaymentState::Declined => Some("PAYMENT_DECLINED"),
        PaymentState::RequiresAction => Some("PAYMENT_REQUIRES_ACTION"),
        PaymentState::Canceled => Some("PAYMENT_CANCELED"),
        PaymentState::Created | PaymentState::Pending | PaymentState::Paid => None,
    }
}

/// The name under which a payment's method is written down; `None` where there is none any more, or it serves no more. Not by
/// [`Cashier::means_at`], by which whoever names a method is refused at once also where its card has expired: nobody names one
/// here, and such a card is a decline like others, since its bank may replace it. One decline switches nothing off.
async fn method(tx: &mut Tx, owner: OwnerId, set: &str, now: Timestamp) -> Result<Option<String>, DbError> {
    let saved = match PaymentMethod::from_stored(set) {
        PaymentMethod::Named(name) => return Ok(Some(name)),
        PaymentMethod::Saved(id) => methods::find(tx, owner, id).await?.filter(|it| it.serves_at(now)),
        PaymentMethod::Default => methods::default(tx, owner, now).await?,
    };
    Ok(saved.map(|it| it.id.to_string()))
}

/// What a crossing is as something to be paid for.
fn thing_of(owner: OwnerId, crossing: u32) -> Thing {
    thing(&format!("top-up:{owner}:{crossing}"))
}

/// What a top-up must be to be switched on: of a pack that there is, with a ceiling that lets it be bought.
pub(super) fn fits(ceiling: Price, pack: &Pack) -> bool {
    ceiling.currency() == pack.price.currency() && ceiling.micros() >= pack.price.micros()
}

#[cfg(test)]
mod tests;
