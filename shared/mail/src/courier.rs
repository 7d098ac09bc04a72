//! The background task that delivers what is queued.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::{Db, DbError};
use bursar_secret::Sealer;
use bursar_time::{Clock, Span};
use lettre::message::Mailbox;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::queue::{Claimed, claim, postpone, strike};
use crate::transport::Failure;
use crate::{MailError, Transport};

/// How long a claimed mail is out of sight of other couriers. Longer than any delivery takes; a mail whose courier
/// died is tried again after it.
const LEASE: Span = Span::from_mins(5);

/// The wait before the second attempt; it doubles with each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Span = Span::from_secs(10);

/// The longest wait between two attempts.
const LONGEST_WAIT: Span = Span::HOUR;

/// A mail is given up after this many attempts, which takes a little over a day.
const MAX_ATTEMPTS: i64 = 34;

/// How often the queue is looked at without being woken: finds what other replicas left and what has become due.
const LOOK_EVERY: Span = Span::SECOND;

/// Rest after the store failed.
const STORE_REST: Duration = Duration::from_secs(2);

/// Delivers queued mail. Cheap to clone; every clone wakes the same one. Any number of replicas may run one each.
#[derive(Debug, Clone)]
pub struct Courier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    sealer: Sealer,
    clock: Clock,
    transport: Transport,
    from: Mailbox,
    bell: Notify,
}

impl Courier {
    /// A courier for one service's queue. `from` is the sender: `no-reply@example.com` or `Bursar <no-reply@…>`.
    /// Nothing is delivered before [`Courier::run`].
    pub fn new(db: Db, sealer: Sealer, clock: Clock, transport: Transport, from: &str) -> Result<Self, MailError> {
        let from = from.parse().map_err(|error: lettre::address::AddressError| MailError::From(error.to_string()))?;
        Ok(Self(Arc::new(Inner { db, sealer, clock, transport, from, bell: Notify::new() })))
    }

    /// Says that mail was committed: it is delivered now instead of within a second.
    pub fn wake(&self) {
        self.0.bell.notify_one();
    }

    /// Delivers until `shutdown`. A delivery under way is finished; if it is cut off, the mail is delivered again.
    pub async fn run(self, shutdown: CancellationToken) {
        let inner = &self.0;
        while !shutdown.is_cancelled() {
            match inner.deliver_one().await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = inner.bell.notified() => {}
                        () = inner.clock.sleep(LOOK_EVERY) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the mail queue cannot be read");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(STORE_REST) => {}
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Takes one due mail through to its end or to its next attempt. `false` when none is due.
    async fn deliver_one(&self) -> Result<bool, DbError> {
        let Some(mail) = claim(&self.db, self.clock.now(), LEASE).await? else {
            return Ok(false);
        };
        match self.hand_over(&mail).await {
            Ok(()) => {
                tracing::debug!(id = %mail.id, attempts = mail.attempts, "mail delivered");
                strike(&self.db, &mail).await?;
            }
            Err(Failure::Later(reason)) if mail.attempts < MAX_ATTEMPTS => {
                let wait = wait_after(mail.attempts);
                tracing::warn!(id = %mail.id, attempts = mail.attempts, reason, "mail not delivered, trying again later");
                postpone(&self.db, &mail, self.clock.now().saturating_add(wait)).await?;
            }
            Err(Failure::Later(reason) | Failure::Never(reason)) => {
                tracing::error!(id = %mail.id, attempts = mail.attempts, reason, "mail given up");
                strike(&self.db, &mail).await?;
            }
        }
        Ok(true)
    }

    async fn hand_over(&self, mail: &Claimed) -> Result<(), Failure> {
        let Some(letter) = mail.open(&self.sealer) else {
            // Kept for the usual time: the operator may have started with the wrong key file.
            return Err(Failure::Later("the queued mail cannot be unsealed: another master key?".to_owned()));
        };
        self.transport.deliver(mail.id, mail.queued_at, &self.from, &letter).await
    }
}

/// 10 s, 20 s, 40 s … 1 h.
fn wait_after(attempts: i64) -> Span {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_last_a_day() {
        let seconds: Vec<u64> = (1..=11).map(|attempts| wait_after(attempts).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        let total: u64 = (1..MAX_ATTEMPTS).map(|attempts| wait_after(attempts).as_secs()).sum();
        assert!((24 * 3600..27 * 3600).contains(&total), "{total} s");
    }
}
