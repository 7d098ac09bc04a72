//! The turn of a month: whoever spends first after it finds the renewal done, or does it.
//!
//! The engine refuses to spend from an account whose renewal is due and not looked after; the request then comes here. Where
//! the renewal cannot be done at once, or its payment is open, whoever has asked for that, it is waited for a moment
//! ([`PATIENCE`], `RENEWAL_DUE`), and afterwards what the account has pays. One that was declined is not waited for, nor is one
//! whose allowance is there already (`grace.rs`).
//!
//! An account may stay due for long: held for an operator, suspended, or failing. It is looked at once in a moment ([`LOOKED_FOR`])
//! by one of its requests at a time, and nobody else's wait for that. A provider may be silent for much longer than anybody waits:
//! the look goes on without whoever began it, has the owner's turn until it ends, and meanwhile what the account has pays.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bursar_db::Tx;
use bursar_id::OwnerId;
use bursar_time::{Span, Timestamp};
use futures::StreamExt as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::dues::thing_after;
use super::renewals;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Payment, Refusal, Subscription};
use crate::error::Error;
use crate::lane::{Answer, Job, Lanes, Refused};
use crate::store::{accounts, payments, subscriptions};

/// How long after the turn of the month somebody who spends is asked to come again.
const PATIENCE: Span = Span::SECOND;

/// How long a request waits for a provider that is asked for a renewal, for itself or for another one.
const WAIT: Duration = Duration::from_secs(1);

/// How many renewals are done at once for requests, whether these still wait or not.
const AT_ONCE: usize = 4_096;

/// For how long nobody waits for a renewal that was waited for in vain, unless it ends before: longer than a provider is asked.
const SILENT_FOR: Duration = Duration::from_mins(1);

/// How many renewals one batch of requests does side by side.
const SIDE_BY_SIDE: usize = 8;

/// For how long nobody looks again after an account that stays due: what it has pays meanwhile.
const LOOKED_FOR: Duration = Duration::from_secs(1);

/// How many accounts are remembered before those are forgotten that nobody looks after any more.
const REMEMBERED: usize = 1_024;

/// Who looks after whose renewal, and whose was looked after a moment ago and stays due.
struct Looks {
    all: std::sync::Mutex<HashMap<OwnerId, Look>>,
    places: Arc<Semaphore>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { all: std::sync::Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[derive(Default)]
struct Look {
    /// One request of the owner's looks after the renewal, and the others find it done.
    turn: Arc<Mutex<()>>,
    /// Somebody is at it: as long as that is so, whether anybody waits or not.
    at_work: bool,
    stays_due_until: Option<Instant>,
}

impl Looks {
    fn all(&self) -> MutexGuard<'_, HashMap<OwnerId, Look>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, owner: OwnerId, now: Instant) -> Arc<Mutex<()>> {
        let mut all = self.all();
        if all.len() >= REMEMBERED {
            all.retain(|_, look| Arc::strong_count(&look.turn) > 1 || look.stays_due_until.is_some_and(|it| now < it));
        }
        Arc::clone(&all.entry(owner).or_default().turn)
    }

    fn begins(&self, owner: OwnerId) {
        self.all().entry(owner).or_default().at_work = true;
    }

    /// Somebody has waited in vain. Nobody else does as long as the look goes on: its end is what counts then, and may have come.
    fn is_silent(&self, owner: OwnerId, now: Instant) {
        if let Some(look) = self.all().get_mut(&owner).filter(|look| look.at_work) {
            look.stays_due_until = Some(now + SILENT_FOR);
        }
    }

    /// A look has ended; the account stays due or does not.
    fn ends(&self, owner: OwnerId, stays_due_until: Option<Instant>) {
        let mut all = self.all();
        let look = all.entry(owner).or_default();
        (look.at_work, look.stays_due_until) = (false, stays_due_until);
    }

    fn stays_due(&self, owner: OwnerId, now: Instant) -> bool {
        self.all().get(&owner).and_then(|look| look.stays_due_until).is_some_and(|until| now < until)
    }
}

/// The lanes, with the renewals that their requests meet.
#[derive(Clone)]
pub(crate) struct Renewing {
    lanes: Lanes,
    renewals: Due,
}

/// Whatever is due of the owners who spend.
#[derive(Clone)]
struct Due {
    subscriptions: SubscriptionUseCases,
    looks: Arc<Looks>,
}

impl Renewing {
    pub(crate) fn new(lanes: Lanes, subscriptions: SubscriptionUseCases) -> Self {
        Self { lanes, renewals: Due { subscriptions, looks: Arc::default() } }
    }

    /// Carries out one request.
    pub(crate) async fn one(&self, job: Job) -> Result<Answer, Error> {
        match self.lanes.one(job).await? {
            Err(Refused::RenewalDue(job)) => {
                self.renewals.renew(job.owner).await?;
                Ok(self.lanes.one(settled(*job)).await?)
            }
            answer => Ok(answer),
        }
    }

    /// Carries out many requests and answers in their order.
    pub(crate) async fn many(&self, jobs: Vec<Job>) -> Result<Vec<Answer>, Error> {
        let mut answers = self.lanes.many(jobs).await?;
        let due: Vec<(usize, Job)> = answers.iter().enumerate().filter_map(due).collect();
        if due.is_empty() {
            return Ok(answers);
        }
        let owners: BTreeSet<OwnerId> = due.iter().map(|(_, job)| job.owner).collect();
        let each = futures::stream::iter(owners).map(async |owner| (owner, self.renewals.renew(owner).await.is_ok()));
        let renewed: HashMap<OwnerId, bool> = each.buffer_unordered(SIDE_BY_SIDE).collect().await;
        let again = due.into_iter().filter(|(_, job)| renewed.get(&job.owner) == Some(&true));
        let (numbers, jobs): (Vec<usize>, Vec<Job>) = again.map(|(number, job)| (number, settled(job))).unzip();
        if !jobs.is_empty() {
            let told = self.lanes.many(jobs).await?;
            numbers.into_iter().zip(told).for_each(|(number, answer)| answers[number] = answer);
        }
        Ok(answers)
    }
}

impl Due {
    /// Brings an owner's subscription up to date, if it has one that is due. What its provider takes too long for goes on without
    /// whoever waits: then what the account has pays.
    ///
    /// # Errors
    /// It could not be done, or its payment is open, and its time has come only just now.
    async fn renew(&self, owner: OwnerId) -> Result<(), Error> {
        if self.looks.stays_due(owner, Instant::now()) {
            return Ok(());
        }
        let mut work = pin!(self.by_itself(owner));
        loop {
            if let Ok(done) = timeout(WAIT, &mut work).await {
                return done;
            }
            // Whoever waits for our own store goes on waiting: it would spend a pack for nothing.
            if self.waits_for_the_provider(owner).await? {
                break;
            }
        }
        tracing::warn!(%owner, "a renewal's provider takes too long: what the account has pays meanwhile");
        self.in_grace(owner).await?;
        self.looks.is_silent(owner, Instant::now());
        Ok(())
    }

    /// Grants the month that waits for its payment, where the plan says so.
    async fn in_grace(&self, owner: OwnerId) -> Result<(), Error> {
        let Due { subscriptions: SubscriptionUseCases { till, cashier, .. }, .. } = self;
        let mut tx = till.db.begin().await?;
        if let Some(due) = subscriptions::live(&mut tx, owner).await?.filter(|it| it.is_due(till.clock.now())) {
            cashier.grant_in_grace(&mut tx, &due).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Whether it is a provider's answer that a renewal waits for.
    async fn waits_for_the_provider(&self, owner: OwnerId) -> Result<bool, Error> {
        let till = &self.subscriptions.till;
        if till.payments.pays_at_once() {
            return Ok(false);
        }
        if self.looks.places.available_permits() == 0 {
            // Nobody would get a place before it answers.
            return Ok(true);
        }
        let mut tx = till.db.read().await?;
        let Some(live) = subscriptions::live(&mut tx, owner).await? else { return Ok(false) };
        let last = payments::last_attempt(&mut tx, thing_after(&live)).await?;
        Ok(last.as_ref().is_some_and(Payment::is_open))
    }

    /// Looks after an owner's renewal when the turn comes, in a task that has the turn until it ends, whoever waits for it.
    async fn by_itself(&self, owner: OwnerId) -> Result<(), Error> {
        let turn = self.looks.turn(owner, Instant::now()).lock_owned().await;
        let place = Arc::clone(&self.looks.places).acquire_owned().await;
        // Whoever waits for the turn may find that somebody has looked meanwhile.
        if self.looks.stays_due(owner, Instant::now()) {
            return Ok(());
        }
        self.looks.begins(owner);
        let due = self.clone();
        let work = async move {
            let _held = (place, turn);
            let looked = due.look_after(owner).await;
            // A test clock lets an operator's word and what follows it happen in one moment.
            let stays_due = matches!(looked, Ok(Looked::StaysDue)) && !due.subscriptions.till.clock.is_test();
            due.looks.ends(owner, stays_due.then(|| Instant::now() + LOOKED_FOR));
            looked.map(drop)
        };
        tokio::spawn(work.in_current_span()).await.map_err(|_| Error::Failed)?
    }

    async fn look_after(&self, owner: OwnerId) -> Result<Looked, Error> {
        let till = &self.subscriptions.till;
        let now = till.clock.now();
        let mut tx = till.db.read().await?;
        if is_there(&mut tx, owner, now).await? {
            // Somebody else has seen to it meanwhile.
            return Ok(Looked::Settled);
        }
        let live = subscriptions::live(&mut tx, owner).await?;
        tx.commit().await?;
        if let Some(due) = live.filter(|it| it.is_due(now)) {
            if renewals::is_held(&self.subscriptions, &due).await? {
                // The clock that says so may be wrong. Meanwhile what the account has pays.
                return Ok(Looked::StaysDue);
            }
            let fresh = is_fresh(&due, now);
            if let Err(error) = Box::pin(renewals::catch_up(&self.subscriptions, due)).await {
                tracing::warn!(%owner, %error, "a renewal that somebody waits for failed");
                // Somebody else may have renewed it, or it was granted before its payment, which nobody waits for.
                if is_there(&mut till.db.read().await?, owner, now).await? {
                    return Ok(Looked::Settled);
                }
                return if fresh { Err(Refusal::RenewalDue.into()) } else { Ok(Looked::StaysDue) };
            }
        }
        let mut tx = till.db.read().await?;
        let live = subscriptions::live(&mut tx, owner).await?;
        if live.as_ref().is_some_and(|it| it.is_due(now)) {
            // It may not be renewed now, or somebody else is at it.
            return Ok(Looked::StaysDue);
        }
        if live.as_ref().is_some_and(Subscription::may_be_in_grace) {
            let renews_at = accounts::find(&mut tx, owner).await?.and_then(|account| account.renews_at);
            if renews_at.is_some_and(|renewal| now < renewal) {
                // What is not paid yet is there.
                return Ok(Looked::Settled);
            }
        }
        if let Some(unpaid) = live
            && self.is_awaited(&mut tx, &unpaid).await?
        {
            return Err(Refusal::RenewalDue.into());
        }
        tx.commit().await?;
        // Where nothing renews it (any more), nobody needs to. Of what somebody else has renewed meanwhile the next time stays.
        let mut tx = till.db.begin().await?;
        accounts::no_renewal(&mut tx, owner, now).await?;
        tx.commit().await?;
        Ok(Looked::Settled)
    }

    /// Whether the payment of a month that has begun only just now is open: it may be paid at any moment. By the time as it is
    /// then: a provider may have been asked meanwhile.
    async fn is_awaited(&self, tx: &mut Tx, from: &Subscription) -> Result<bool, Error> {
        if !is_fresh(from, self.subscriptions.till.clock.now()) {
            return Ok(false);
        }
        let last = payments::last_attempt(tx, thing_after(from)).await?;
        Ok(last.as_ref().is_some_and(Payment::is_open))
    }
}

/// Whether an account has what was due, or nothing is.
async fn is_there(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<bool, Error> {
    let renews_at = accounts::find(tx, owner).await?.and_then(|account| account.renews_at);
    Ok(renews_at.is_none_or(|renewal| now < renewal))
}

/// Whether a subscription's month has ended only just now.
fn is_fresh(from: &Subscription, now: Timestamp) -> bool {
    (from.month.end..from.month.end.saturating_add(PATIENCE)).contains(&now)
}

/// What became of a renewal that somebody looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// It is done, or nothing is due.
    Settled,
    /// It may not be done now, or could not be: what the account has pays.
    StaysDue,
}

fn due((number, answer): (usize, &Answer)) -> Option<(usize, Job)> {
    match answer {
        Err(Refused::RenewalDue(job)) => Some((number, Job::clone(job))),
        _ => None,
    }
}

fn settled(job: Job) -> Job {
    Job { request: job.request.with_renewal_settled(), ..job }
}

#[cfg(test)]
mod tests {
    use bursar_secret::Secret;
    use bursar_testkit::{credits, engines, personal};
    use bursar_time::Clock;

    use super::*;
    use crate::domain::{News, SubscriptionState};
    use crate::payment::Payments;
    use crate::payment::stripe::{Account, Stripe};
    use crate::usecase::shop::Shop;

    const LENIENT: &str = r#"
[[plans]]
id = "lenient"
name = "Lenient"
price = "10.00 USD"
credits = "100"
grant_in_grace = true
seats = 1
"#;

    /// Whatever is due, of owners whose provider can be asked for nothing.
    fn failing(shop: &Shop) -> Due {
        let (url, key, timeout) = ("http://127.0.0.1:1".to_owned(), Secret::from("sk_test_none"), WAIT);
        let account = Account { url, key, timeout, return_url: "https://example.com/back".to_owned() };
        let payments = Payments::Stripe(Arc::new(Stripe::new(account).unwrap()));
        let mut subscriptions = shop.subscriptions.clone();
        subscriptions.till.payments = payments.clone();
        subscriptions.cashier.till.payments = payments;
        Due { subscriptions, looks: Arc::default() }
    }

    engines! {
        /// What waits for an operator may do so for weeks, and its owner spends all the while.
        async fn who_is_held_is_remembered_and_who_is_renewed_is_not(db: TestDb) {
            let clock = Clock::system();
            let shop = Shop::open_by(&db, clock.clone()).await;
            let (held, other) = (personal(1), personal(2));
            let due = Due { subscriptions: shop.subscriptions.clone(), looks: Arc::default() };
            let remembered = |owner| due.looks.all().get(&owner).is_some_and(|look| look.stays_due_until.is_some());
            shop.subscribe(held, "business", "sandbox_ok", "").await.unwrap();
            clock.skew(Span::from_days(40).as_micros());
            shop.subscribe(other, "business", "sandbox_ok", "").await.unwrap();
            clock.skew(Span::from_days(72).as_micros());
            for owner in [held, other] {
                due.renew(owner).await.unwrap();
            }
            assert!(remembered(held) && !remembered(other));
            let months = [held, other].map(async |owner| shop.subscriptions.get(owner).await.unwrap().month.number);
            assert_eq!(futures::future::join_all(months).await, [0, 1]);
        }

        /// Whoever spends first asks for it, or the round has; each is told that it is due as long as it may be paid at any moment.
        async fn an_open_payment_is_waited_for_a_second_and_one_that_is_declined_is_not(db: TestDb) {
            let shop = Shop::open(&db, "2026-01-01T00:00:00Z").await;
            let [declined, asks, asked] = [1, 2, 3].map(personal);
            for owner in [declined, asks, asked] {
                shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
            }
            shop.set("2026-02-01T00:00:00Z");
            let due = Due { subscriptions: shop.subscriptions.clone(), looks: Arc::default() };
            let is_waited_for = async |owner| match due.renew(owner).await {
                Ok(()) => false,
                Err(Error::Refused(Refusal::RenewalDue)) => true,
                Err(error) => panic!("{error}"),
            };
            shop.pays_with("sandbox_declined").await;
            assert!(!is_waited_for(declined).await, "what it has pays");
            shop.pays_with("sandbox_pending").await;
            assert!(is_waited_for(asks).await);
            assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().failed, 0);
            for owner in [declined, asks, asked] {
                assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, SubscriptionState::PastDue);
            }
            for millis in [998, 1] {
                assert!(is_waited_for(asks).await && is_waited_for(asked).await);
                assert!(!is_waited_for(declined).await);
                assert_eq!(shop.count("accounts WHERE renews_at IS NOT NULL").await, 2, "they stay due");
                shop.clock.advance(Span::from_millis(millis)).unwrap();
            }
            let from = shop.subscriptions.get(asked).await.unwrap();
            let open = payments::last_attempt(&mut shop.db.read().await.unwrap(), thing_after(&from)).await.unwrap();
            shop.payments.told(open.unwrap().id, News::Paid).await.unwrap();
            assert!(!is_waited_for(asked).await, "its money has come");
            assert_eq!(shop.available(asked).await, credits("1500"));
            assert!(is_waited_for(asks).await, "its first second is not over");
            shop.clock.advance(Span::from_millis(1)).unwrap();
            assert!(!is_waited_for(asks).await, "what it has pays");
            assert_eq!(shop.count("accounts WHERE renews_at IS NOT NULL").await, 1, "nobody looks again");
        }

        async fn what_is_granted_before_its_payment_is_waited_for_by_nobody(db: TestDb) {
            let shop = Shop::selling(&db, "2026-01-01T00:00:00Z", LENIENT).await;
            let owner = personal(1);
            shop.subscribe(owner, "lenient", "sandbox_ok", "").await.unwrap();
            shop.pays_with("sandbox_pending").await;
            shop.set("2026-02-01T00:00:00Z");
            let due = Due { subscriptions: shop.subscriptions.clone(), looks: Arc::default() };
            for _ in 0..2 {
                due.renew(owner).await.unwrap();
                assert_eq!(shop.available(owner).await, credits("100"));
            }
            assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, SubscriptionState::PastDue);
        }

        async fn what_was_granted_when_its_provider_failed_is_spent_at_once(db: TestDb) {
            let shop = Shop::selling(&db, "2026-01-01T00:00:00Z", LENIENT).await;
            let [lenient, strict] = [1, 2].map(personal);
            shop.subscribe(lenient, "lenient", "sandbox_ok", "").await.unwrap();
            shop.subscribe(strict, "business", "sandbox_ok", "").await.unwrap();
            shop.set("2026-02-01T00:00:00Z");
            let due = failing(&shop);
            due.renew(lenient).await.expect("its month is there");
            assert_eq!(shop.available(lenient).await, credits("100"));
            let waits = due.renew(strict).await;
            assert!(matches!(waits, Err(Error::Refused(Refusal::RenewalDue))), "{waits:?}");
            shop.clock.advance(PATIENCE).unwrap();
            due.renew(strict).await.expect("what it has pays");
            for owner in [lenient, strict] {
                assert_eq!(shop.subscriptions.get(owner).await.unwrap().month.number, 0, "nobody has paid for it");
                shop.assert_sound(owner).await;
            }
        }
    }

    /// An account that stays due for long is looked at once in a moment, and holds up nobody but itself.
    #[test]
    fn who_stays_due_is_looked_after_once_in_a_moment_and_by_itself() {
        let (looks, now) = (Looks::default(), Instant::now());
        let (one, other) = (personal(1), personal(2));
        let turn = looks.turn(one, now);
        let _busy = turn.try_lock().unwrap();
        assert!(looks.turn(one, now).try_lock().is_err(), "one request of an owner's at a time");
        assert!(looks.turn(other, now).try_lock().is_ok(), "and nobody else waits for it");
        looks.ends(one, Some(now + LOOKED_FOR));
        assert!(looks.stays_due(one, now) && !looks.stays_due(other, now));
        assert!(!looks.stays_due(one, now + LOOKED_FOR), "afterwards it is looked at again");
    }

    /// Whoever has waited in vain spares the others that, as long as somebody is at it.
    #[test]
    fn nobody_waits_for_what_was_waited_for_in_vain_until_it_ends() {
        let (looks, now, one) = (Looks::default(), Instant::now(), personal(1));
        looks.is_silent(one, now);
        assert!(!looks.stays_due(one, now), "nobody is at it");
        looks.begins(one);
        assert!(!looks.stays_due(one, now), "it may end at once");
        looks.is_silent(one, now);
        assert!(looks.stays_due(one, now + SILENT_FOR / 2) && !looks.stays_due(one, now + SILENT_FOR));
        looks.ends(one, None);
        looks.is_silent(one, now);
        assert!(!looks.stays_due(one, now), "what is done is found done");
    }

    #[test]
    fn accounts_that_nobody_looks_after_any_more_are_forgotten() {
        let (looks, now) = (Looks::default(), Instant::now());
        let waited_for = looks.turn(personal(0), now);
        looks.ends(personal(1), Some(now + 2 * LOOKED_FOR));
        for n in 2..3 * REMEMBERED as u64 {
            drop(looks.turn(personal(n), now));
        }
        let all = looks.all();
        assert!(all.len() <= REMEMBERED, "{}", all.len());
        assert!(all.contains_key(&personal(1)) && Arc::ptr_eq(&all[&personal(0)].turn, &waited_for));
    }
}
