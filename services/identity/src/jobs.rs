//! What identity does later, and again and again: mail, also of people's invoices, the rotation of the signing keys, finishing
//! departures, ending accounts whose address nobody has proven, and deleting what is old.

use bursar_db::{audit, idempotency};
use bursar_events::retention;
use bursar_jobs::{Failure, Lease, Next, Runner, Terms, Work};
use bursar_mail::Courier;
use bursar_notices::Biller;
use bursar_runtime::Env;
use bursar_time::Span;

use crate::Error;
use crate::usecase::Identity;
use crate::usecase::departures::{Course, DEPARTURE, Leaving};
use crate::usecase::invoices::INVOICE;
use crate::usecase::signing::LOOK_AGAIN;

/// How often what has perished is deleted.
const PRUNE_EVERY: Span = Span::HOUR;
/// How often it is looked whether whoever is about to end has a job that sees to it.
const LOOK_AFTER_EVERY: Span = Span::HOUR;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(cause) => cause.into(),
            other => Self::later(other),
        }
    }
}

/// The runner of identity's jobs.
pub(crate) fn runner(identity: &Identity, courier: Courier, env: &Env) -> Runner {
    let parts = identity.parts();
    let mut runner = Runner::new(parts.jobs.clone(), &env.meter);
    courier.hire(&mut runner);
    // Given up, an account would stay about to end for ever.
    runner.on(DEPARTURE, Terms::PATIENT, Farewell(identity.clone()));
    // Given up, nobody would be told of a document that is there.
    runner.on(INVOICE, Terms::PATIENT, Biller(identity.clone()));
    let signer = parts.signer.clone();
    runner.every("identity.keys", LOOK_AGAIN, move || {
        let signer = signer.clone();
        async move {
            signer.look_again().await?;
            Ok(Next::Finished)
        }
    });
    parts.people.clone().hire(&mut runner, "identity.suspensions");
    // What another replica has made must be known here before it signs.
    let signer = parts.signer.clone();
    runner.here("identity.key_ring", LOOK_AGAIN, move || {
        let signer = signer.clone();
        async move {
            signer.load_again().await?;
            Ok(Next::Finished)
        }
    });
    let pruner = identity.clone();
    runner.every("identity.prune", PRUNE_EVERY, move || {
        let identity = pruner.clone();
        async move {
            let more = identity.prune().await?;
            Ok(if more { Next::Again } else { Next::Finished })
        }
    });
    let ender = identity.clone();
    runner.every("identity.unproven", PRUNE_EVERY, move || {
        let identity = ender.clone();
        async move {
            let more = identity.end_unproven().await?;
            Ok(if more { Next::Again } else { Next::Finished })
        }
    });
    let keeper = identity.clone();
    runner.every("identity.departures", LOOK_AFTER_EVERY, move || {
        let identity = keeper.clone();
        async move {
            identity.look_after_all().await?;
            Ok(Next::Finished)
        }
    });
    let kept = parts.config.audit_retention;
    runner.tidy("requests.forget", |db, now| async move { idempotency::prune(&db, now).await });
    runner.tidy("audit.forget", move |db, now| async move { audit::forget(&db, now, kept).await });
    runner.tidy("outbox.forget", |db, now| async move { retention::forget(&db, now).await });
    runner
}

/// Finishes departures that nobody has finished, or takes them back.
struct Farewell(Identity);

impl Work for Farewell {
    type Payload = Leaving;

    async fn run(&self, _lease: &Lease, leaving: Leaving) -> Result<Next, Failure> {
        Ok(match self.0.finish_departure(leaving).await? {
            Course::Ended | Course::Over => Next::Finished,
            Course::Clearing => Next::Again,
        })
    }
}

#[cfg(test)]
mod tests {
    use bursar_rpc::Transport;
    use bursar_runtime::{Each, Peers, Settings};
    use bursar_secret::Entropy;
    use bursar_time::Clock;

    use super::*;
    use crate::Config;

    #[tokio::test]
    async fn what_would_stay_half_done_for_ever_is_tried_for_long() {
        let directory = tempfile::tempdir().expect("a folder");
        let settings = Settings::for_test(directory.path());
        crate::migrate(&settings, None).await.expect("migrated");
        let db = crate::open_migrated(&settings).await.expect("opened");
        let env = Env::for_test(Clock::system(), Entropy::system());
        let (config, peers) = (Config::of(&settings), Peers::new(Each::of(|_| Transport::late().0)));
        let identity = crate::over(&settings, config, db, &peers, &env).await.expect("made");
        let transport = settings.mail_transport().expect("a folder for mail");
        let courier = Courier::new(transport, &settings.mail.from).expect("a sender");
        let runner = runner(&identity, courier, &env);
        for kind in [DEPARTURE.name(), INVOICE.name()] {
            assert_eq!(runner.terms(kind), Some(Terms::PATIENT), "{kind}");
        }
    }
}
