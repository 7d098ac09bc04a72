//! What billing does later, and again and again: booking what has fallen due, renewing subscriptions, rolling usage up, and
//! deleting what is old.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bursar_db::{Db, audit, idempotency};
use bursar_events::retention;
use bursar_jobs::{Failure, Jobs, Lease, Next, Runner, Terms, Work};
use bursar_members::people::{People, Told};
use bursar_runtime::Env;
use bursar_time::{Clock, Span};

use crate::config::Kept;
use crate::error::Error;
use crate::lane::{Lanes, RulesSource, TOP_UP, TopUp};
use crate::store::{limits, refused_moves, webhooks};
use crate::usecase::cashier::{Cashier, Due, PAYMENT};
use crate::usecase::contracts::{self, CONTRACT};
use crate::usecase::farewells::{self, FAREWELL, Farewell};
use crate::usecase::inbox::{self, Inbox, WEBHOOK, Webhook};
use crate::usecase::limits::counting::Counting;
use crate::usecase::limits::counting::following;
use crate::usecase::purges::{self, PURGE, Purger};
use crate::usecase::refunds::{REFUND, Refund};
use crate::usecase::removals::{REMOVAL, Removal, Removals};
use crate::usecase::standings::{self, Change, STANDING};
use crate::usecase::subscriptions::SubscriptionUseCases;
use crate::usecase::top_ups::TopUps;
use crate::usecase::walk::{self, Walk};
use crate::usecase::{invoices, keeping, ownership, policies, renewals, rollups, sweep};

/// How often due expiries and lapsed holds are booked.
const SWEEP_EVERY: Span = Span::from_secs(5);

/// How often subscriptions are looked at whose month is over.
const RENEW_EVERY: Span = Span::from_secs(5);

/// How often it is looked which months begin within the hour.
const PAY_AHEAD_EVERY: Span = Span::MINUTE;

/// How often each replica looks which policies the deployment has: they hold everywhere within two seconds, whichever
/// replica has applied the event that told of them.
const RULES_EVERY: Span = Span::SECOND;

/// How often it is looked whether a day is over whose usage can be rolled up.
const ROLL_UP_EVERY: Span = Span::from_mins(15);

/// How often it is looked whether a program has heard of a former owner that does not know what follows.
const CATCH_UP_EVERY: Span = Span::MINUTE;

/// How often it is looked whether a program has sold something that does not keep what a plan includes.
const KEEP_EVERY: Span = Span::MINUTE;

/// How often it is looked whether a program has changed where an account's days begin that leaves those of its limits as they were.
const FOLLOW_EVERY: Span = Span::from_mins(15);

/// How often it is counted how many events are set aside, and how many subscriptions wait for somebody.
const COUNT_EVERY: Span = Span::MINUTE;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(cause) => cause.into(),
            // Somebody sees it as a dead letter now, and not after a month of attempts.
            never @ Error::Hopeless(_) => Self::Never(never.to_string()),
            other => Self::later(other),
        }
    }
}

/// The runner of billing's jobs.
pub(crate) fn runner(
    jobs: Jobs,
    (db, (rules, people)): (&Db, (Arc<RulesSource>, People<Told>)),
    (lanes, counting): (Lanes, Counting),
    (subscriptions, top_ups, inbox): (SubscriptionUseCases, TopUps, Inbox),
    (kept, env): (Kept, &Env),
) -> Runner {
    let purger = Purger { db: db.clone(), lanes: lanes.clone(), removals: subscriptions.cashier.removals() };
    let steward = Steward(subscriptions.clone(), jobs.clone());
    let mut runner = Runner::new(jobs, &env.meter);
    let known = db.clone();
    runner.here("billing.rules", RULES_EVERY, move || {
        let (db, rules) = (known.clone(), Arc::clone(&rules));
        async move {
            policies::follow(&db, &rules).await?;
            Ok(Next::Finished)
        }
    });
    people.hire(&mut runner, "billing.suspensions");
    let (swept, clock) = (db.clone(), env.clock.clone());
    runner.every("billing.sweep", SWEEP_EVERY, move || {
        let (db, clock, lanes) = (swept.clone(), clock.clone(), lanes.clone());
        async move {
            let booked = sweep::round(&db, &clock, &lanes).await?;
            Ok(if booked > 0 { Next::Again } else { Next::Finished })
        }
    });
    let (owned, clock) = (db.clone(), env.clock.clone());
    runner.every("billing.former-owners", CATCH_UP_EVERY, move || {
        let (db, now) = (owned.clone(), clock.now());
        async move {
            ownership::catch_up(&db, now).await?;
            Ok(Next::Finished)
        }
    });
    let leaving = subscriptions.clone();
    keep(&mut runner, subscriptions.clone());
    follow(&mut runner, counting);
    pay_ahead(&mut runner, subscriptions.clone());
    renew(&mut runner, subscriptions, env);
    roll_up(&mut runner, (db.clone(), env.clock.clone()));
    runner.on(CONTRACT, Terms::PATIENT, Signatory(leaving.clone()));
    // Given up, whoever is gone would go on paying, and nothing would clear the account.
    runner.on(FAREWELL, Terms::PATIENT, Usher(leaving));
    runner.on(STANDING, Terms::PATIENT, steward);
    runner.on(PURGE, purges::TERMS, purger);
    sell(&mut runner, top_ups);
    hear(&mut runner, inbox, env);
    tidy(&mut runner, kept);
    runner
}

/// Writing down what the plans include that earlier programs have sold.
fn keep(runner: &mut Runner, subscriptions: SubscriptionUseCases) {
    let rounds = Arc::new(keeping::Rounds::default());
    runner.every("billing.included", KEEP_EVERY, move || {
        let (subscriptions, rounds) = (subscriptions.clone(), Arc::clone(&rounds));
        async move {
            let SubscriptionUseCases { till, outbox, catalog, .. } = &subscriptions;
            let goes_on = rounds.go_on((&till.db, outbox), &catalog.current(), keeping::PORTION).await?;
            Ok(if goes_on { Next::Again } else { Next::Finished })
        }
    });
}

/// Rolling up the days of usage that are over.
fn roll_up(runner: &mut Runner, (db, clock): (Db, Clock)) {
    let rounds = Arc::new(rollups::Rounds::default());
    runner.every("billing.roll-up", ROLL_UP_EVERY, move || {
        let (db, until, rounds) = (db.clone(), rollups::until(clock.now()), Arc::clone(&rounds));
        async move {
            let goes_on = rounds.go_on(&db, until, walk::ENOUGH).await?;
            Ok(if goes_on { Next::Again } else { Next::Finished })
        }
    });
}

/// Having the days and months of limits begin where those of their accounts do.
fn follow(runner: &mut Runner, counting: Counting) {
    let walk = Arc::new(Walk::default());
    runner.every("billing.limits.zones", FOLLOW_EVERY, move || {
        let (counting, walk) = (counting.clone(), Arc::clone(&walk));
        async move {
            let goes_on = counting.follow_on(&walk, following::PORTION).await?;
            Ok(if goes_on { Next::Again } else { Next::Finished })
        }
    });
}

/// Renewing subscriptions: one replica at a time looks after everything that is due, and all of them begin months together.
fn renew(runner: &mut Runner, subscriptions: SubscriptionUseCases, env: &Env) {
    let (told, helping) = (Arc::new([0, 0].map(AtomicUsize::new)), subscriptions.clone());
    let (walk, left) = (Arc::new(renewals::Walk::default()), Arc::new(renewals::Left::default()));
    count_waiting(runner, subscriptions.clone(), env);
    runner.every("billing.renewals", RENEW_EVERY, move || {
        let (subscriptions, told, walk) = (subscriptions.clone(), Arc::clone(&told), Arc::clone(&walk));
        async move {
            let round = renewals::next_round(&subscriptions, &walk).await?;
            if round.goes_on {
                return Ok(Next::Again);
            }
            let is_new = |told: &AtomicUsize, now: usize| told.swap(now, Ordering::Relaxed) != now && now > 0;
            if is_new(&told[0], round.held) {
                let held = round.held;
                tracing::warn!(held, "subscriptions are more than one period behind: `renewals list` shows them");
            }
            if is_new(&told[1], round.late) {
                let late = round.late;
                tracing::error!(
                    late,
                    "subscriptions are a week late, and nobody says whether they are paid: `renewals list` shows them"
                );
            }
            match round.failed {
                0 => Ok(Next::Finished),
                failed => Err(Failure::Passing(format!("{failed} renewals failed"))),
            }
        }
    });
    runner.here("billing.renewals.together", RENEW_EVERY, move || {
        let (subscriptions, left) = (helping.clone(), Arc::clone(&left));
        async move {
            renewals::help(&subscriptions, &left).await?;
            Ok(Next::Finished)
        }
    });
}

/// Counting the subscriptions that wait for somebody, in each replica: what only whoever did the last round has counted, the others
/// would go on telling as it was when they did one.
fn count_waiting(runner: &mut Runner, subscriptions: SubscriptionUseCases, env: &Env) {
    let held = env
        .meter
        .u64_gauge("billing.renewals.held")
        .with_unit("{subscription}")
        .with_description("Subscriptions that are more than one period behind and wait for `renewals resume`.")
        .build();
    let late = env
        .meter
        .u64_gauge("billing.renewals.late")
        .with_unit("{subscription}")
        .with_description(
            "Subscriptions whose provider says for a week neither that they are paid nor that they are not.",
        )
        .build();
    runner.here("billing.renewals.waiting", COUNT_EVERY, move || {
        let (subscriptions, held, late) = (subscriptions.clone(), held.clone(), late.clone());
        async move {
            let waiting = renewals::waiting(&subscriptions).await?;
            held.record(waiting.held as u64, &[]);
            late.record(waiting.late as u64, &[]);
            Ok(Next::Finished)
        }
    });
}

/// Asking for months before they begin, where that takes its time.
fn pay_ahead(runner: &mut Runner, subscriptions: SubscriptionUseCases) {
    if subscriptions.till.payments.pays_at_once() {
        return;
    }
    runner.every("billing.renewals.ahead", PAY_AHEAD_EVERY, move || {
        let subscriptions = subscriptions.clone();
        async move {
            let goes_on = renewals::ahead::pay(&subscriptions).await?;
            Ok(if goes_on { Next::Again } else { Next::Finished })
        }
    });
}

/// Taking money and giving it back.
fn sell(runner: &mut Runner, top_ups: TopUps) {
    // A provider may be away for days, or repeat for one that it has failed.
    runner.on(PAYMENT, Terms::PATIENT, Watchman(top_ups.cashier.clone()));
    runner.on(REFUND, Terms::PATIENT, Returner(top_ups.cashier.clone()));
    runner.on(REMOVAL, Terms::PATIENT, Remover(top_ups.cashier.removals()));
    runner.on(TOP_UP, Terms::DEFAULT, Replenisher(top_ups));
}

/// Working off what the payment provider tells by itself, and telling what nobody can.
fn hear(runner: &mut Runner, inbox: Inbox, env: &Env) {
    let db = inbox.0.cashier.till.db.clone();
    runner.on(WEBHOOK, inbox::TERMS, Listener(inbox));
    let aside = env
        .meter
        .u64_gauge("billing.webhooks.aside")
        .with_unit("{event}")
        .with_description("Events of the payment provider that somebody has to look at (`webhooks list`).")
        .build();
    runner.here("billing.webhooks.aside", COUNT_EVERY, move || {
        let (db, aside) = (db.clone(), aside.clone());
        async move {
            aside.record(inbox::aside(&db).await?.len() as u64, &[]);
            Ok(Next::Finished)
        }
    });
}

/// Forgetting what is old.
fn tidy(runner: &mut Runner, kept: Kept) {
    runner.tidy("requests.forget", |db, now| async move { idempotency::prune(&db, now).await });
    runner.tidy("billing.refused_moves.forget", |db, now| async move { refused_moves::forget(&db, now).await });
    runner.tidy("billing.webhooks.forget", |db, now| async move { webhooks::forget(&db, now).await });
    runner.tidy("limits.forget", |db, now| async move { limits::prune(&db, now).await });
    runner.tidy("audit.forget", move |db, now| async move { audit::forget(&db, now, kept.audit).await });
    runner.tidy("invoices.forget", move |db, now| async move { invoices::forget(&db, now, kept.profiles).await });
    runner.tidy("outbox.forget", |db, now| async move { retention::forget(&db, now).await });
}

/// Sees off people whose accounts were deleted.
struct Usher(SubscriptionUseCases);

impl Work for Usher {
    type Payload = Farewell;

    async fn run(&self, _lease: &Lease, farewell: Farewell) -> Result<Next, Failure> {
        farewells::see_off(&self.0, farewell).await?;
        Ok(Next::Finished)
    }
}

/// Begins contracts at their time.
struct Signatory(SubscriptionUseCases);

impl Work for Signatory {
    type Payload = contracts::Due;

    async fn run(&self, _lease: &Lease, due: contracts::Due) -> Result<Next, Failure> {
        Box::pin(contracts::begin(&self.0, &due)).await?;
        Ok(Next::Finished)
    }
}

/// Looks after payments whose callers may have lost them.
struct Watchman(Cashier);

impl Work for Watchman {
    type Payload = Due;

    async fn run(&self, _lease: &Lease, due: Due) -> Result<Next, Failure> {
        self.0.look_after(due).await?;
        Ok(Next::Finished)
    }
}

/// Gives money back.
struct Returner(Cashier);

impl Work for Returner {
    type Payload = Refund;

    async fn run(&self, _lease: &Lease, refund: Refund) -> Result<Next, Failure> {
        self.0.give_back(&refund).await?;
        Ok(Next::Finished)
    }
}

/// Has the provider forget payment methods.
struct Remover(Removals);

impl Work for Remover {
    type Payload = Removal;

    async fn run(&self, _lease: &Lease, removal: Removal) -> Result<Next, Failure> {
        self.0.forget(&removal).await?;
        Ok(Next::Finished)
    }
}

/// Works off what the payment provider tells by itself.
struct Listener(Inbox);

impl Work for Listener {
    type Payload = Webhook;

    async fn run(&self, lease: &Lease, webhook: Webhook) -> Result<Next, Failure> {
        self.0.work(&webhook, lease.attempt() >= inbox::TERMS.attempts).await?;
        Ok(Next::Finished)
    }
}

/// Tops accounts up that have too few credits.
struct Replenisher(TopUps);

impl Work for Replenisher {
    type Payload = TopUp;

    async fn run(&self, _lease: &Lease, account: TopUp) -> Result<Next, Failure> {
        self.0.look(account).await?;
        Ok(Next::Finished)
    }
}

/// Does what an owner's standing asks for.
struct Steward(SubscriptionUseCases, Jobs);

impl Work for Steward {
    type Payload = Change;

    async fn run(&self, _lease: &Lease, change: Change) -> Result<Next, Failure> {
        standings::settle(&self.0, &self.1, change).await?;
        Ok(Next::Finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Trouble;

    #[test]
    fn what_can_never_be_done_is_not_tried_again() {
        let failure = |trouble: Trouble| Failure::from(Error::from(trouble));
        assert!(matches!(failure(Trouble::Never("another amount was paid")), Failure::Never(_)));
        // A key may be put right, and a provider comes back.
        for passes in
            [Trouble::Refused("401 Unauthorized".to_owned()), Trouble::Busy(429), Trouble::Silent("not in time")]
        {
            assert!(matches!(failure(passes), Failure::Later(_)));
        }
    }
}
