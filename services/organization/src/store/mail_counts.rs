//! Rows of `mail_counts`: when what is rationed by the day was done, by a subject. Invitations that a sender mailed, that an
//! address got (of all, of one organization and of one sender), and that came from a network address or a network (of addresses a print is kept alone); nominations in an organization, and
//! mails of another owner; alerts of its limits and of its allowance; top-ups of it that stopped, each and all; organizations
//! that somebody created; invoices, each and all of an organization.

use bursar_db::{Db, DbError, Tx, exactly_one, on};
use bursar_time::{CLOCKS_APART, Span, Timestamp};

/// The update changes nothing: it takes the row's lock, and makes both engines answer with the row.
pub(super) const LOCK: &str = "INSERT INTO mail_counts (subject, sent, last_at) VALUES ($1, $2, $3) \
    ON CONFLICT (subject) DO UPDATE SET last_at = mail_counts.last_at RETURNING sent";
pub(super) const SET: &str = "UPDATE mail_counts SET sent = $2, last_at = $3 WHERE subject = $1";
pub(super) const ERASE: &str = "DELETE FROM mail_counts WHERE subject = $1";
/// What is asked twice holds also for a subject about which something is sent between the two: it would be as if nothing had been.
pub(super) const FORGET: &str = "DELETE FROM mail_counts WHERE last_at <= $1 AND subject IN \
    (SELECT subject FROM mail_counts WHERE last_at <= $1 ORDER BY last_at LIMIT $2)";
/// What a clock wrote that was ahead; it would be kept until then.
pub(super) const FORGET_AHEAD: &str = "DELETE FROM mail_counts WHERE last_at > $1 AND subject IN \
    (SELECT subject FROM mail_counts WHERE last_at > $1 ORDER BY last_at LIMIT $2)";

/// When mails were sent about a subject after `since`, the oldest first; kept from changing until the transaction ends. An
/// instant that lies further ahead of `now` than clocks may be apart was written by a wrong clock, and says nothing.
pub async fn sent_after(
    tx: &mut Tx,
    subject: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<Timestamp>, DbError> {
    let nothing: &[u8] = &[];
    let (sent,): (Vec<u8>,) =
        on!(tx, c => sqlx::query_as(LOCK).bind(subject).bind(nothing).bind(now).fetch_one(c).await?);
    let read = |instant: &[u8; 8]| Timestamp::from_micros(i64::from_be_bytes(*instant)).map_err(super::unreadable);
    let (instants, rest) = sent.as_chunks();
    if !rest.is_empty() {
        return Err(super::unreadable("half an instant"));
    }
    let instants: Vec<Timestamp> = instants.iter().map(read).collect::<Result<_, _>>()?;
    let counts = |instant: &Timestamp| *instant > since && instant.since(now) <= CLOCKS_APART;
    Ok(instants.into_iter().filter(counts).collect())
}

/// Writes when mails were sent about a subject.
pub async fn set(tx: &mut Tx, subject: &str, sent: &[Timestamp], now: Timestamp) -> Result<(), DbError> {
    let bytes: Vec<u8> = sent.iter().flat_map(|instant| instant.as_micros().to_be_bytes()).collect();
    exactly_one(on!(tx, c => sqlx::query(SET).bind(subject).bind(bytes).bind(now).execute(c).await?.rows_affected()))
}

/// Forgets what was counted about a subject.
pub async fn erase(tx: &mut Tx, subject: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(ERASE).bind(subject).execute(c).await?.rows_affected());
    Ok(())
}

/// Forgets subjects about which nothing was sent for a day, or by a clock that was ahead, in small transactions. Returns how
/// many. Safe to run on several replicas at once, and to interrupt.
pub async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    let old = bursar_db::forget_before(db, FORGET, now.saturating_sub(Span::DAY)).await?;
    Ok(old + bursar_db::forget_before(db, FORGET_AHEAD, now.saturating_add(CLOCKS_APART)).await?)
}
