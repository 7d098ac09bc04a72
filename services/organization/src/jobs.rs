//! What organization does later, and again and again: mail, also of invoices, seeing off people whose accounts were deleted,
//! erasing what deleted organizations had and what was deleted of libraries, looking for organizations that lost their owner,
//! telling of what programs of before told of nothing, asking about what they were not told, and deleting what is old.

use std::sync::Arc;

use bursar_db::{DbError, audit, idempotency};
use bursar_events::retention;
use bursar_jobs::{Failure, Lease, Next, Runner, Terms, Work};
use bursar_mail::Courier;
use bursar_members::people::{People, Told};
use bursar_notices::Biller;
use bursar_rpc::problem::reason_of;
use bursar_runtime::Env;
use bursar_time::Span;
use tokio::sync::Mutex;

use crate::Error;
use crate::store::mail_counts;
use crate::usecase::departures::{DEPARTURE, Departure};
use crate::usecase::forgetting::{FORGETTING, Forgetting, Forgotten};
use crate::usecase::founding::{FOUNDING, Founding};
use crate::usecase::invoices::INVOICE;
use crate::usecase::purging::{PURGE, Purge};
use crate::usecase::{ERASURE, Erasure, Organization};

/// How often organizations are looked for that have lost their owner.
const LOOK_EVERY: Span = Span::from_mins(5);

/// How often some projects are told of that were not.
const TELL_EVERY: Span = Span::from_secs(10);

/// How often billing is asked about some plans that were not told whole.
const LEARN_EVERY: Span = Span::from_secs(10);

/// Of organizations without an owner this many are named and counted.
const MOST: i64 = 100;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(cause) => cause.into(),
            other => Self::later(other),
        }
    }
}

/// The runner of organization's jobs.
pub(crate) fn runner(organization: &Organization, people: People<Told>, courier: Courier, env: &Env) -> Runner {
    let mut runner = Runner::new(organization.parts().jobs.clone(), &env.meter);
    courier.hire(&mut runner);
    // Given up, these would leave somebody half gone, an organization half purged or waiting for a plan, room taken by what
    // nobody sees, or an invoice that nobody is told of, for ever.
    runner.on(DEPARTURE, Terms::PATIENT, Usher(organization.clone()));
    runner.on(FORGETTING, Terms::PATIENT, Forgetter(organization.clone()));
    runner.on(PURGE, Terms::PATIENT, Undertaker(organization.clone()));
    runner.on(ERASURE, Terms::PATIENT, Eraser(organization.clone()));
    runner.on(FOUNDING, Terms::PATIENT, Founder(organization.clone()));
    runner.on(INVOICE, Terms::PATIENT, Biller(organization.clone()));
    let freer = organization.clone();
    runner.every("slugs.free", Span::HOUR, move || {
        let freer = freer.clone();
        async move {
            let now = freer.parts().clock.believed().map_err(DbError::from)?;
            Ok(if freer.free_slugs(now).await? { Next::Again } else { Next::Finished })
        }
    });
    let (gauge, looker) = (env.meter.u64_gauge("bursar.organizations.ownerless"), organization.clone());
    let gauge = gauge.with_description("Organizations whose owner deleted the account: there should be none.").build();
    runner.here("organization.ownerless", LOOK_EVERY, move || {
        let (organization, gauge) = (looker.clone(), gauge.clone());
        async move {
            let found = organization.ownerless(MOST).await?;
            for (id, owner) in &found {
                tracing::error!(organization = %id, %owner, "an organization has lost its owner: see `ownerless mend`");
            }
            gauge.record(found.len() as u64, &[]);
            Ok(Next::Finished)
        }
    });
    people.hire(&mut runner, "organization.suspensions");
    let (gauge, contents) = (env.meter.u64_gauge("bursar.content.reached"), organization.parts().contents.clone());
    let gauge =
        gauge.with_description("Whether the object store answered when it was last looked for: 1 or 0.").build();
    runner.here("content.look", Span::from_secs(30), move || {
        let (contents, gauge) = (contents.clone(), gauge.clone());
        async move {
            gauge.record(u64::from(contents.look_for().await), &[]);
            Ok(Next::Finished)
        }
    });
    let collector = organization.clone();
    runner.every("library.collect", Span::from_mins(10), move || {
        let collector = collector.clone();
        async move { Ok(if collector.collect_objects().await? { Next::Again } else { Next::Finished }) }
    });
    let teller = organization.clone();
    runner.every("projects.tell", TELL_EVERY, move || {
        let teller = teller.clone();
        async move {
            // However many there are: what else is told does not wait behind all of them.
            teller.tell_of_projects().await?;
            Ok(Next::Finished)
        }
    });
    learn_plans(&mut runner, organization);
    let kept = organization.parts().config.audit_retention;
    runner.tidy("requests.forget", |db, now| async move { idempotency::prune(&db, now).await });
    runner.tidy("mail_counts.forget", |db, now| async move { mail_counts::forget(&db, now).await });
    runner.tidy("audit.forget", move |db, now| async move { audit::forget(&db, now, kept).await });
    runner.tidy("outbox.forget", |db, now| async move { retention::forget(&db, now).await });
    runner
}

/// Has billing asked about plans that were not told whole: a program of before may run beside this one for a while.
fn learn_plans(runner: &mut Runner, organization: &Organization) {
    let (learner, place) = (organization.clone(), Arc::new(Mutex::new(None)));
    runner.every("plans.learn", LEARN_EVERY, move || {
        let (learner, place) = (learner.clone(), Arc::clone(&place));
        async move {
            // However many there are: billing has others to answer.
            let mut after = place.lock().await;
            *after = learner.learn_plans(*after).await?;
            Ok(Next::Finished)
        }
    });
}

/// Sees off people whose accounts were deleted.
struct Usher(Organization);

impl Work for Usher {
    type Payload = Departure;

    async fn run(&self, _lease: &Lease, departure: Departure) -> Result<Next, Failure> {
        let more = self.0.see_off(departure).await?;
        Ok(if more { Next::Again } else { Next::Finished })
    }
}

/// Erases addresses of people whose accounts were deleted.
struct Forgetter(Organization);

impl Work for Forgetter {
    type Payload = Forgetting;

    async fn run(&self, _lease: &Lease, forgetting: Forgetting) -> Result<Next, Failure> {
        match self.0.forget_address(forgetting).await? {
            Forgotten::All => Ok(Next::Finished),
            Forgotten::Some => Ok(Next::Again),
            Forgotten::Nothing => Err(Failure::later("whether the account ends is not known yet")),
        }
    }
}

/// Erases what deleted organizations had.
struct Undertaker(Organization);

impl Work for Undertaker {
    type Payload = Purge;

    async fn run(&self, _lease: &Lease, purge: Purge) -> Result<Next, Failure> {
        let now = self.0.parts().clock.believed().map_err(DbError::from)?;
        let more = self.0.purge(purge, now).await?;
        Ok(if more { Next::Again } else { Next::Finished })
    }
}

/// Erases what was deleted of libraries.
struct Eraser(Organization);

impl Work for Eraser {
    type Payload = Erasure;

    async fn run(&self, _lease: &Lease, erasure: Erasure) -> Result<Next, Failure> {
        let now = self.0.parts().clock.believed().map_err(DbError::from)?;
        let more = self.0.erase_deleted(erasure, now).await?;
        Ok(if more { Next::Again } else { Next::Finished })
    }
}

/// Finishes organizations that wait for a plan.
struct Founder(Organization);

impl Work for Founder {
    type Payload = Founding;

    async fn run(&self, _lease: &Lease, founding: Founding) -> Result<Next, Failure> {
        match self.0.finish(founding).await {
            // Where billing has refused for good it is removed.
            Ok(()) | Err(Error::Refused(_)) => Ok(Next::Finished),
            Err(Error::Billing(status)) => {
                // Some of what it may say waits for a person, who reads this.
                let reason = reason_of(&status).unwrap_or_else(|| "without a reason".to_owned());
                Err(Failure::Later(format!("billing answered {:?}: {reason}", status.code())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bursar_runtime::Settings;
    use bursar_secret::Entropy;
    use bursar_time::Clock;

    use super::*;

    #[tokio::test]
    async fn what_would_stay_half_done_for_ever_is_tried_for_long() {
        let directory = tempfile::tempdir().expect("a folder");
        let settings = Settings::for_test(directory.path());
        crate::migrate(&settings, None).await.expect("migrated");
        let organization = crate::at_rest(&settings).await.expect("opened");
        let transport = settings.mail_transport().expect("a folder for mail");
        let courier = Courier::new(transport, &settings.mail.from).expect("a sender");
        let people = People::known(Told(organization.parts().db.clone())).await.expect("nobody is suspended");
        let env = Env::for_test(Clock::system(), Entropy::system());
        let runner = runner(&organization, people, courier, &env);
        for kind in [DEPARTURE.name(), FORGETTING.name(), PURGE.name(), ERASURE.name(), FOUNDING.name(), INVOICE.name()]
        {
            assert_eq!(runner.terms(kind), Some(Terms::PATIENT), "{kind}");
        }
    }
}
