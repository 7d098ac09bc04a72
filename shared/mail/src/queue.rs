//! The queue: every statement on `mail_queue`.

use bursar_db::{Db, DbError, Tx, exactly_one, on};
use bursar_id::MailId;
use bursar_secret::{Entropy, Sealer};
use bursar_time::{Span, Timestamp};
use sqlx::Row;

use crate::Mail;

const INSERT: &str = "INSERT INTO mail_queue (id, sealed, attempts, next_attempt_at, created_at) \
     VALUES ($1, $2, 0, $3, $3)";
/// One due mail, out of the other couriers' sight until `$2`.
const CLAIM_SQLITE: &str = "UPDATE mail_queue SET attempts = attempts + 1, next_attempt_at = $2 WHERE id = \
     (SELECT id FROM mail_queue WHERE next_attempt_at <= $1 ORDER BY next_attempt_at, id LIMIT 1) \
     RETURNING id, sealed, attempts, created_at";
const CLAIM_POSTGRES: &str = "UPDATE mail_queue SET attempts = attempts + 1, next_attempt_at = $2 WHERE id = \
     (SELECT id FROM mail_queue WHERE next_attempt_at <= $1 ORDER BY next_attempt_at, id LIMIT 1 \
     FOR UPDATE SKIP LOCKED) RETURNING id, sealed, attempts, created_at";
/// Both check the attempt, so that a courier whose claim ran out does not undo a later one's.
const STRIKE: &str = "DELETE FROM mail_queue WHERE id = $1 AND attempts = $2";
const POSTPONE: &str = "UPDATE mail_queue SET next_attempt_at = $3 WHERE id = $1 AND attempts = $2";

/// Queues a mail in the caller's transaction: it is sent if and only if that commits. Call [`crate::Courier::wake`]
/// after the commit to have it sent at once. The address must be one that `bursar_email::Email` takes.
pub async fn queue(
    tx: &mut Tx,
    sealer: &Sealer,
    entropy: &Entropy,
    now: Timestamp,
    mail: &Mail,
) -> Result<MailId, DbError> {
    let id = MailId::from_parts(now.as_millis(), entropy.bytes());
    let clear = serde_json::to_vec(mail).map_err(|error| DbError::corrupt(error.to_string()))?;
    let closed = sealer.seal(entropy, &clear, &bound_to(id));
    exactly_one(on!(tx, c => sqlx::query(INSERT).bind(id).bind(closed).bind(now)
        .execute(c).await?.rows_affected()))?;
    Ok(id)
}

/// A mail that one courier has claimed.
pub(crate) struct Claimed {
    pub(crate) id: MailId,
    /// How often it was claimed, this time included.
    pub(crate) attempts: i64,
    pub(crate) queued_at: Timestamp,
    sealed: Vec<u8>,
}

impl Claimed {
    /// Opens the seal; `None` when the key is another one or the row was tampered with.
    pub(crate) fn open(&self, sealer: &Sealer) -> Option<Mail> {
        let clear = sealer.open(&self.sealed, &bound_to(self.id)).ok()?;
        serde_json::from_slice(clear.expose()).ok()
    }
}

/// Claims the mail that has been due longest, for `lease`.
pub(crate) async fn claim(db: &Db, now: Timestamp, lease: Span) -> Result<Option<Claimed>, DbError> {
    let mut tx = db.begin().await?;
    let until = now.saturating_add(lease);
    let statement = match &tx {
        Tx::Sqlite(_) => CLAIM_SQLITE,
        Tx::Postgres(_) => CLAIM_POSTGRES,
    };
    let claimed = on!(&mut tx, c => {
        let row = sqlx::query(statement).bind(now).bind(until).fetch_optional(c).await?;
        row.map(|row| Ok::<_, sqlx::Error>(Claimed {
            id: row.try_get("id")?,
            sealed: row.try_get("sealed")?,
            attempts: row.try_get("attempts")?,
            queued_at: row.try_get("created_at")?,
        })).transpose()?
    });
    tx.commit().await?;
    Ok(claimed)
}

/// Takes a mail off the queue: it was delivered, or given up.
pub(crate) async fn strike(db: &Db, mail: &Claimed) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, c => sqlx::query(STRIKE).bind(mail.id).bind(mail.attempts).execute(c).await?.rows_affected());
    tx.commit().await
}

/// Puts a mail off until later.
pub(crate) async fn postpone(db: &Db, mail: &Claimed, until: Timestamp) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, c => sqlx::query(POSTPONE).bind(mail.id).bind(mail.attempts).bind(until)
        .execute(c).await?.rows_affected());
    tx.commit().await
}

/// Binds the sealed text to its row, so that no two can be exchanged.
fn bound_to(id: MailId) -> Vec<u8> {
    format!("bursar.mail.v1/{id}").into_bytes()
}
