//! Many months in one transaction: what a turn of the month consists of, when everybody's is at once.
//!
//! A batch takes what is ordinary: an active subscription one period behind, for whose next month no provider has to be asked for
//! money that takes its time. Nobody has tried to pay that month yet, and it is settled at once; or it was paid for in the hour before
//! it began (`renewals/ahead.rs`), or with its year and what that was changed to since, and nothing of that was taken back. And of
//! whose months nothing rolls over and none is granted before its payment, which are looked up among one account's lots
//! (`usecase/rollovers.rs`, `usecase/grace.rs`). It locks the subscriptions (those that somebody else has locked are being renewed
//! there), then the accounts, decides every grant by the same engine as a month by itself, and on PostgreSQL writes each table's
//! rows with one statement. Grant, payment, invoice and event of a month are in that one transaction, or nothing is. What the rows must be is
//! what the path of one month leaves; everything else (`rest`) goes that path, with whatever it takes.
//!
//! | what | is kept by |
//! |---|---|
//! | each month once | the claim, the subscription's period in the `UPDATE`, the payment's unique thing and attempt, the grant's name |
//! | one account spoils nobody's month | a batch that fails is halved; what fails alone goes the path of one month, and is told of there |
//! | nobody waits for long | [`MOST`] months a transaction; a charge meanwhile waits for the accounts' locks, as for any batch |
//! | no deadlock is anybody else's fault | payments are locked before subscriptions everywhere else: a batch that has to wait for one gives up in a moment, and is halved; a payment that is there it takes only where nobody has it |
//!
//! That is so whichever provider there is: what a provider has to be asked for goes the path of one.
//!
//! Not where tables are distributed by owner, or where nothing is combined: there every month has transactions of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, OwnerId, PaymentId};
use bursar_money::Credits;
use bursar_proto::event::v1::event::Payload;
use bursar_time::Timestamp;

use super::super::asking::{payer_among, token_of};
use super::super::bills::issued as told_of;
use super::super::cashier::note;
use super::super::dues::{asks_provider, thing_after};
use super::super::fulfilment::keep_alerts;
use super::super::invoices::{Draft, during};
use super::super::orders::Till;
use super::super::subscriptions::{SubscriptionUseCases, changed};
use crate::domain::{
    Account, AccountSettings, Actor, Outcome, PaidLot, Payment, PaymentState, Request, SavedMethod, Subscription,
    SubscriptionState,
};
use crate::error::Error;
use crate::lane::Job;
use crate::payment::{PaymentMethod, Thing, ToPay};
use crate::store::{contracts, methods, payments, settings, subscriptions as stored, years};

/// How many months one transaction begins at most: for as long as that takes their accounts are locked.
pub(super) const MOST: usize = 250;

/// How often a year has been changed at most, each time with a payment that has a lot of its own in every month: one change a
/// month is ordinary.
const MOST_CHANGES: u32 = 12;

/// What became of some subscriptions.
#[derive(Debug, Default)]
pub(super) struct Batched {
    /// Months that were begun.
    pub(super) done: usize,
    /// Those of which one month has to be begun by itself.
    pub(super) rest: Vec<Subscription>,
    /// Those that somebody else had in work, who may not have come to an end with them.
    pub(super) taken: Vec<Subscription>,
}

/// What one transaction has made of them.
#[derive(Default)]
struct Made {
    begun: Vec<Subscription>,
    rest: Vec<Subscription>,
    taken: Vec<Subscription>,
}

/// When a month is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// With its year.
    WithYear,
    /// In the hour before it begins: the payment is written down, and nothing is delivered for it yet.
    Ahead,
    /// As it begins.
    Now,
}

/// A month that is to begin.
struct Next {
    from: Subscription,
    renewed: Subscription,
    /// What it is, or was, paid with, and what grants what each of these has paid for.
    paid: Vec<(Payment, Request)>,
    when: When,
}

/// What can begin, by when it is paid for.
#[derive(Default)]
struct Ready {
    with_year: Vec<Subscription>,
    ahead: Vec<(Subscription, PaymentId)>,
    now: Vec<Subscription>,
}

impl Ready {
    fn owners(&self) -> Vec<OwnerId> {
        let ahead = self.ahead.iter().map(|(it, _)| it.owner);
        self.with_year.iter().chain(&self.now).map(|it| it.owner).chain(ahead).collect()
    }
}

impl Next {
    fn jobs(&self) -> impl Iterator<Item = Job> {
        let owner = self.from.owner;
        self.paid.iter().map(move |(_, request)| Job { owner, actor: Actor::Job, request: request.clone() })
    }
}

/// The lots of a month, for each of what it is paid with, and their credits: there are none where a plan has none.
type Lots = Vec<Option<(LotId, Credits)>>;

/// Months that are granted.
type Granted = Vec<(Next, Lots)>;

/// Whether a month can be begun together with others, by what the subscription says: nothing of the month before rolls over into it,
/// nor is it granted before its payment. What is known of its payment is looked up together with others' ([`apart`]).
pub(super) fn is_ordinary(it: &Subscription, till: &Till) -> bool {
    let (clock, now) = (&till.clock, till.clock.now());
    it.state == SubscriptionState::Active
        && it.is_due(now)
        && !it.cancel_at_period_end
        && it.rollover.is_none()
        && (it.is_next_paid() || !it.may_be_in_grace())
        && !(it.is_next_paid() && it.pending.is_some())
        && (clock.is_test() || !it.is_held(now))
}

/// Begins the next month of each of these, and further ones of what is still due then. What somebody else has in work is left
/// to them.
///
/// # Errors
/// The store cannot be reached, or the clock not be believed: what was begun before stays begun.
pub(super) async fn renew(subscriptions: &SubscriptionUseCases, due: Vec<Subscription>) -> Result<Batched, Error> {
    let (mut batched, till) = (Batched::default(), &subscriptions.till);
    if due.is_empty() {
        return Ok(batched);
    }
    // A contract may begin with the month: that is for the path of one. Whatever is set from now on begins later.
    let agreed: HashSet<_> = contracts::due(&mut till.db.read().await?, till.clock.now()).await?.into_iter().collect();
    let (alone, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|it| agreed.contains(&it.owner));
    batched.rest.extend(alone);
    let (due, asked_for) = apart(till, due).await?;
    batched.rest.extend(asked_for);
    let mut parts = vec![due];
    while let Some(mut part) = parts.pop() {
        if part.len() > MOST {
            parts.push(part.split_off(MOST));
        }
        if part.is_empty() {
            continue;
        }
        match Box::pin(together(subscriptions, &part)).await {
            Ok(made) => {
                batched.done += made.begun.len();
                batched.rest.extend(made.rest);
                batched.taken.extend(made.taken);
                parts.push(made.begun.into_iter().filter(|it| is_ordinary(it, till)).collect());
            }
            // It is nobody's month that is in the way.
            Err(error @ Error::Store(DbError::Unavailable(_) | DbError::Clock(_))) => return Err(error),
            // By itself it is tried once more, and fails with a reason of its own.
            Err(_) if part.len() == 1 => batched.rest.extend(part),
            Err(error) => {
                tracing::debug!(months = part.len(), %error, "months that were begun together failed: by halves");
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
    }
    Ok(batched)
}

/// Those that no provider has to be asked for, and the others, for each of which somebody waits by itself: so nothing is locked for
/// them. Where a provider settles at once, nobody waits for any.
async fn apart(till: &Till, due: Vec<Subscription>) -> Result<(Vec<Subscription>, Vec<Subscription>), Error> {
    if till.payments.pays_at_once() {
        return Ok((due, Vec::new()));
    }
    let asks: Vec<Thing> = due.iter().filter(|it| asks_provider(it)).map(thing_after).collect();
    if asks.is_empty() {
        return Ok((due, Vec::new()));
    }
    let last = payments::last_attempts(&mut till.db.read().await?, &asks).await?;
    let paid: HashSet<Thing> = last.iter().filter(|it| it.is_to_be_fulfilled()).map(|it| it.thing).collect();
    Ok(due.into_iter().partition(|it| !asks_provider(it) || paid.contains(&thing_after(it))))
}

/// One transaction. What it had locked is let go of before anything is tried again, which would find it locked.
async fn together(subscriptions: &SubscriptionUseCases, due: &[Subscription]) -> Result<Made, Error> {
    let mut tx = subscriptions.till.db.begin().await?;
    match attempt(subscriptions, &mut tx, due).await {
        Ok((made, events)) if !made.begun.is_empty() => {
            subscriptions.outbox.commit(tx, events).await?;
            Ok(made)
        }
        Ok((made, _)) => {
            tx.rollback().await?;
            Ok(made)
        }
        Err(error) => {
            // What failed is the reason; a connection that cannot be rolled back is thrown away.
            let _ = tx.rollback().await;
            Err(error)
        }
    }
}

/// All of it but the commit.
async fn attempt(
    subscriptions: &SubscriptionUseCases,
    tx: &mut Tx,
    due: &[Subscription],
) -> Result<(Made, Vec<Payload>), Error> {
    let owners: Vec<OwnerId> = due.iter().map(|it| it.owner).collect();
    let claimed = stored::claim(tx, &owners, subscriptions.till.clock.now()).await?;
    let still: HashMap<_, u32> = due.iter().map(|it| (it.id, it.month.number)).collect();
    let mine: HashSet<_> = claimed.iter().map(|it| it.id).collect();
    let taken = due.iter().filter(|it| !mine.contains(&it.id)).cloned().collect();
    let claimed = claimed.into_iter().filter(|it| still.get(&it.id) == Some(&it.month.number)).collect();
    let (ready, mut rest, accounts) = prepare(subscriptions, tx, claimed).await?;
    let settings = settings::of_owners(tx, &ready.owners()).await?;
    let (mut paid, others) = paid_before(subscriptions, tx, ready.with_year).await?;
    rest.extend(others);
    let (more, others) = paid_ahead(subscriptions, tx, ready.ahead).await?;
    paid.extend(more);
    rest.extend(others);
    let (more, unpaid) = pay(subscriptions, tx, ready.now, &settings).await?;
    paid.extend(more);
    rest.extend(unpaid);
    if paid.is_empty() {
        return Ok((Made { begun: Vec::new(), rest, taken }, Vec::new()));
    }
    let none = AccountSettings::default();
    for owner in paid.iter().map(|it| it.from.owner) {
        if let Some(account) = accounts.get(&owner) {
            keep_alerts(tx, (owner, account), settings.get(&owner).unwrap_or(&none)).await?;
        }
    }
    let jobs: Vec<Job> = paid.iter().flat_map(Next::jobs).collect();
    let booked = subscriptions.till.book_all(tx, &jobs).await?;
    let (granted, others) = with_lots(paid, booked)?;
    rest.extend(others);
    let (begun, events) = write(subscriptions, tx, granted, &settings).await?;
    Ok((Made { begun, rest, taken }, events))
}

/// The months of which everything was booked, with their lots, and those of which nothing was.
fn with_lots(paid: Vec<Next>, booked: Vec<Option<Outcome>>) -> Result<(Granted, Vec<Subscription>), Error> {
    let mut booked = booked.into_iter();
    let (mut granted, mut rest) = (Vec::with_capacity(paid.len()), Vec::new());
    for next in paid {
        let outcomes: Vec<_> = booked.by_ref().take(next.paid.len()).flatten().collect();
        if outcomes.is_empty() {
            rest.push(next.from);
            continue;
        }
        if outcomes.len() < next.paid.len() {
            // All parts of a month are booked or none: by itself it fails once more, and goes the path of one.
            return Err(Error::Failed);
        }
        let lot = |outcome: Outcome| match outcome {
            Outcome::Granted(granted) => Some((granted.lot.id, granted.lot.granted)),
            _ => None,
        };
        granted.push((next, outcomes.into_iter().map(lot).collect()));
    }
    Ok((granted, rest))
}

fn owners_of(next: &[Subscription]) -> Vec<OwnerId> {
    next.iter().map(|it| it.owner).collect()
}

/// Of those that are claimed, those whose month can begin; the others; and the accounts, locked.
async fn prepare(
    subscriptions: &SubscriptionUseCases,
    tx: &mut Tx,
    claimed: Vec<Subscription>,
) -> Result<(Ready, Vec<Subscription>, BTreeMap<OwnerId, Account>), Error> {
    let till = &subscriptions.till;
    let (ordinary, mut rest): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|it| is_ordinary(it, till));
    let may = till.sells_to_these(tx, &owners_of(&ordinary)).await?;
    let things: Vec<Thing> = ordinary.iter().map(thing_after).collect();
    let last = payments::last_attempts(tx, &things).await?.into_iter();
    let last: HashMap<Thing, Payment> = last.map(|it| (it.thing, it)).collect();
    let mut ready = Ready::default();
    for it in ordinary {
        match last.get(&thing_after(&it)) {
            _ if !may.contains_key(&it.owner) => rest.push(it),
            None if it.is_next_paid() => ready.with_year.push(it),
            None => ready.now.push(it),
            Some(paid) if paid.is_to_be_fulfilled() && !it.is_next_paid() => ready.ahead.push((it, paid.id)),
            Some(_) => rest.push(it),
        }
    }
    Ok((ready, rest, may))
}

/// Months of years, with what was paid for these, locked; and those of which something was taken back, which somebody else has
/// in work, or which very many payments have paid for.
async fn paid_before(
    subscriptions: &SubscriptionUseCases,
    tx: &mut Tx,
    due: Vec<Subscription>,
) -> Result<(Vec<Next>, Vec<Subscription>), Error> {
    let ids: Vec<_> = due.iter().filter_map(Subscription::payment).collect();
    let mut whole = lock_whole(tx, &ids).await?;
    // Whoever claimed them sees each change: that is delivered by who has the subscription's row.
    let payer = |it: &Subscription| whole.get(&it.payment()?).map(|payment: &Payment| payment.owner);
    let may_be: Vec<_> = due.iter().filter(|it| it.changes > 0).filter_map(|it| Some((it, payer(it)?))).collect();
    let changed = years::changed(tx, &may_be, i64::from(MOST_CHANGES) + 1).await?;
    let few = changed.values().filter(|it| u32::try_from(it.len()).is_ok_and(|changes| changes <= MOST_CHANGES));
    let more = lock_whole(tx, &few.flatten().copied().collect::<Vec<_>>()).await?;
    whole.extend(more);
    let (mut paid, mut rest) = (Vec::with_capacity(due.len()), Vec::new());
    for from in due {
        let since = changed.get(&from.id).into_iter().flatten().copied();
        // The year's own, and all of the others: nothing less has paid for the month.
        let ids = [from.payment()].into_iter().chain(since.map(Some));
        let payments: Option<Vec<_>> = ids.map(|id| whole.remove(&id?)).collect();
        let Some((payments, renewed)) = payments.zip(from.gone_on()) else {
            rest.push(from);
            continue;
        };
        let payments = subscriptions.cashier.paid_month(&renewed, payments)?;
        paid.push(Next { from, renewed, paid: payments, when: When::WithYear });
    }
    Ok((paid, rest))
}

/// Months that were paid for before they begin, with what was paid for each, locked; and those whose payment somebody else has in
/// work, or something was taken back of, or was made on other terms than they are to begin on.
async fn paid_ahead(
    subscriptions: &SubscriptionUseCases,
    tx: &mut Tx,
    due: Vec<(Subscription, PaymentId)>,
) -> Result<(Vec<Next>, Vec<Subscription>), Error> {
    let ids: Vec<_> = due.iter().map(|(_, id)| *id).collect();
    let locked = if ids.is_empty() { Vec::new() } else { payments::lock_free(tx, &ids).await? };
    let mut locked: HashMap<_, _> = locked.into_iter().map(|it| (it.id, it)).collect();
    let (mut paid, mut rest) = (Vec::with_capacity(due.len()), Vec::new());
    for (from, id) in due {
        let renewed = from.renewed(id.to_string());
        // One of an earlier program has no bill, and what is given back has a document of its own.
        let begins = |it: &Payment| {
            it.is_to_be_fulfilled() && it.taken().is_zero() && it.bill.is_some() && it.is_for_month_of(&renewed)
        };
        let Some(payment) = locked.remove(&id).filter(begins) else {
            rest.push(from);
            continue;
        };
        let request = subscriptions.cashier.allowance(&renewed, Some(id))?;
        paid.push(Next { from, renewed, paid: vec![(payment, request)], when: When::Ahead });
    }
    Ok((paid, rest))
}

/// Those of these payments that were delivered, of which nothing was taken back, and which nobody else has locked; locked.
async fn lock_whole(tx: &mut Tx, ids: &[PaymentId]) -> Result<HashMap<PaymentId, Payment>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let locked = payments::lock_free(tx, ids).await?.into_iter();
    Ok(locked.filter(|it| it.fulfilled_at.is_some() && it.taken().is_zero()).map(|it| (it.id, it)).collect())
}

/// The payments of the months, paid; and those that are not settled at once.
async fn pay(
    subscriptions: &SubscriptionUseCases,
    tx: &mut Tx,
    due: Vec<Subscription>,
    settings: &HashMap<OwnerId, AccountSettings>,
) -> Result<(Vec<Next>, Vec<Subscription>), Error> {
    let by_saved =
        |it: &&Subscription| !matches!(PaymentMethod::from_stored(it.next_method()), PaymentMethod::Named(_));
    let owners: Vec<OwnerId> = due.iter().filter(by_saved).map(|it| it.owner).collect();
    let mut saved: HashMap<OwnerId, Vec<SavedMethod>> = HashMap::with_capacity(owners.len());
    for method in if owners.is_empty() { Vec::new() } else { methods::of_owners(tx, &owners).await? } {
        saved.entry(method.owner).or_default().push(method);
    }
    let cashier = &subscriptions.cashier;
    let (mut paid, mut rest) = (Vec::with_capacity(due.len()), Vec::new());
    for from in due {
        let country = settings.get(&from.owner).and_then(|it| it.profile.country);
        let methods = saved.get(&from.owner).map(Vec::as_slice).unwrap_or_default();
        let mut payment = cashier.first_due(&from, country)?;
        let heard = token(&payment, methods, cashier.till.clock.now()).and_then(|token| {
            let (key, amount) = (payment.id, payment.amount);
            let to_pay = ToPay { key, amount, token: &token, attended: false, given_up: false };
            cashier.till.payments.pay_at_once(&to_pay)
        });
        note(&mut payment, heard.as_ref());
        if payment.state != PaymentState::Paid {
            rest.push(from);
            continue;
        }
        let renewed = from.renewed(payment.id.to_string());
        let request = cashier.allowance(&renewed, Some(payment.id))?;
        paid.push(Next { from, renewed, paid: vec![(payment, request)], when: When::Now });
    }
    Ok((paid, rest))
}

/// The provider's name for what a payment is paid with, if that can pay.
fn token(payment: &Payment, saved: &[SavedMethod], now: Timestamp) -> Option<String> {
    let method = PaymentMethod::from_stored(&payment.method);
    if let PaymentMethod::Named(name) = method {
        return Some(name);
    }
    if payment.amount.is_zero() {
        // Nobody is asked for nothing.
        return Some(String::new());
    }
    token_of(payer_among(saved, &method, now), now).ok().map(str::to_owned)
}

/// Writes what was decided of months whose lots are granted: those that have begun, and what is to be told.
async fn write(
    subscriptions: &SubscriptionUseCases,
    tx: &mut Tx,
    granted: Granted,
    settings: &HashMap<OwnerId, AccountSettings>,
) -> Result<(Vec<Subscription>, Vec<Payload>), Error> {
    let (cashier, now) = (&subscriptions.cashier, subscriptions.till.clock.now());
    let months: Vec<_> = granted.iter().map(|(it, _)| (it.renewed.clone(), it.from.clone())).collect();
    if stored::renew_many(tx, &months).await? != months.len() {
        return Err(Error::NothingToRenew);
    }
    let draft = |(it, _): &(Next, Lots)| {
        let (payment, _) = it.paid.first()?;
        let bill = during(payment.bill.clone()?, &it.renewed.paid_period());
        Some(Draft { owner: it.from.owner, bill, payment: payment.id, at: now })
    };
    let new = granted.iter().filter(|(it, _)| it.when != When::WithYear);
    let drafts = new.map(draft).collect::<Option<Vec<_>>>().ok_or(Error::Failed)?;
    let mut issued = cashier.till.invoices.issue_all(tx, drafts, settings).await?.into_iter();
    let (mut begun, mut events) = (Vec::with_capacity(granted.len()), Vec::new());
    let (mut paid, mut ahead, mut years) = (Vec::new(), Vec::new(), Vec::new());
    let sold = subscriptions.catalog.current();
    for (it, lots) in granted {
        if it.renewed.terms() != it.from.terms() {
            events.push(changed(&it.renewed, &sold));
        }
        for ((mut payment, _), lot) in it.paid.into_iter().zip(lots) {
            if it.when == When::WithYear {
                payment.months.extend(lot.map(|(lot, credits)| PaidLot::new(it.renewed.owner, lot, credits)));
                years.push(payment);
                continue;
            }
            let (lot, invoice) = (lot.map(|(lot, _)| lot), issued.next().ok_or(Error::Failed)?.id);
            events.push(told_of(it.from.owner, invoice));
            let delivered = Payment { lot, invoice: Some(invoice.id), fulfilled_at: Some(now), ..payment };
            let whose = if it.when == When::Ahead { &mut ahead } else { &mut paid };
            whose.push(delivered);
        }
        begun.push(it.renewed);
    }
    years::note_months(tx, &years).await?;
    let delivered = years::deliver_months(tx, &ahead).await?;
    if delivered != ahead.len() || payments::insert_renewals(tx, &paid).await? != paid.len() {
        // Somebody who spends has begun to pay one of them meanwhile.
        return Err(Error::NothingToRenew);
    }
    Ok((begun, events))
}
