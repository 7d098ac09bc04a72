//! Mail as two kinds of job: queued in the caller's transaction, delivered by the runner. What comes by the thousand has a
//! kind of its own, so that nobody who waits for a link stands behind it.

use bursar_db::{DbError, Tx};
use bursar_id::{MailId, OwnerId};
use bursar_jobs::{Failure, Jobs, Kind, Lease, Next, Runner, Terms, Work};
use bursar_time::Timestamp;
use lettre::message::Mailbox;

use crate::{Mail, MailError, Transport};

/// A mail to be delivered.
const MAIL: Kind<Mail> = Kind::new("mail");

/// One of many that come at once, and that nobody waits for.
const BULK: Kind<Mail> = Kind::new("mail.bulk");

/// An SMTP conversation may take several times the twenty seconds of one answer.
const TERMS: Terms = Terms { limit: std::time::Duration::from_mins(2), at_once: 4, ..Terms::DEFAULT };

/// Fewer at once: the server has the same room for all mail.
const BULK_TERMS: Terms = Terms { at_once: 2, ..TERMS };

/// Queues a mail in the caller's transaction: it is sent if and only if that commits. Call [`Jobs::wake`] after the
/// commit to have it sent at once. The address must be one that `bursar_email::Email` takes.
///
/// A mail is somebody's, whoever it goes to: the organization's or the person's whose affair it is, with whom it ends.
pub async fn queue(jobs: &Jobs, tx: &mut Tx, now: Timestamp, mail: &Mail, owner: OwnerId) -> Result<(), DbError> {
    jobs.enqueue_for(tx, MAIL, mail, now, (&recipient(&mail.to), &owner.to_string())).await
}

/// Queues a mail of which many may come at once, like [`queue`]: it keeps none waiting that was queued by that.
pub async fn queue_bulk(jobs: &Jobs, tx: &mut Tx, now: Timestamp, mail: &Mail, owner: OwnerId) -> Result<(), DbError> {
    jobs.enqueue_for(tx, BULK, mail, now, (&recipient(&mail.to), &owner.to_string())).await
}

/// Forgets whatever waits to be sent to an address, or was given up, whose holder is gone: it is neither sent nor revived. Says
/// how much. What an earlier program queued does not say to whom.
pub async fn forget(jobs: &Jobs, tx: &mut Tx, address: &str) -> Result<u64, DbError> {
    let (whose, mut gone) = (recipient(address), 0);
    for kind in [MAIL, BULK] {
        gone += jobs.forget_those_of(tx, kind, &whose).await?;
    }
    Ok(gone)
}

/// Forgets up to `limit` of what waits to be sent in the affairs of an owner who has ended, or was given up, whatever addresses
/// it is for: an invoice's may be nobody's who is known. Says how much; less than `limit`: that was all. Of what an earlier
/// program queued nobody knows whose it is.
pub async fn forget_owned(jobs: &Jobs, tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<u64, DbError> {
    let (owner, mut gone) = (owner.to_string(), 0_u64);
    for kind in [MAIL, BULK] {
        let left = limit.saturating_sub(i64::try_from(gone).unwrap_or(i64::MAX));
        gone += jobs.forget_owned(tx, kind, &owner, left).await?;
    }
    Ok(gone)
}

/// Two spellings of one address are one recipient, as `bursar_email::fold` has it.
fn recipient(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// Delivers queued mail.
#[derive(Clone, Debug)]
pub struct Courier {
    transport: Transport,
    from: Mailbox,
}

impl Courier {
    /// A courier. `from` is the sender: `no-reply@example.com` or `Bursar <no-reply@…>`.
    pub fn new(transport: Transport, from: &str) -> Result<Self, MailError> {
        let from = from.parse().map_err(|error: lettre::address::AddressError| MailError::From(error.to_string()))?;
        Ok(Self { transport, from })
    }

    /// Has a runner deliver mail by this courier, in bulk and not.
    pub fn hire(self, runner: &mut Runner) {
        runner.on(MAIL, TERMS, self.clone());
        runner.on(BULK, BULK_TERMS, self);
    }
}

impl Work for Courier {
    type Payload = Mail;

    /// A mail is named and dated after its job, so that each attempt writes the same.
    async fn run(&self, lease: &Lease, mail: Mail) -> Result<Next, Failure> {
        let id = MailId::from_uuid(lease.id().as_uuid());
        self.transport.deliver(id, lease.enqueued_at(), &self.from, &mail).await?;
        Ok(Next::Finished)
    }
}
