//! Deleting what nobody can use any more, in bounded batches so that no transaction is long.

use bursar_db::{DbError, Engine, Tx, on};
use bursar_time::{Span, Timestamp, furthest_end, latest_beginning};

use crate::config::LONGEST_LINK;

/// How long a session that has ended is kept, so that its owner and whoever looks into an incident can see it.
const KEEP_ENDED: Span = Span::from_days(30);

/// How long a place from where somebody signed in is remembered.
pub const KEEP_PLACES: Span = Span::from_days(90);

/// The first of what a column says is over, up to the age of the last of so many: by that column's index alone, whatever the
/// planner makes of a limit that it does not know.
macro_rules! first {
    ($table:literal, $column:literal, $is_over:literal) => {
        concat!(
            $column,
            $is_over,
            " AND ",
            $column,
            " <= (SELECT MAX(first.ends) FROM (SELECT ",
            $column,
            " AS ends FROM ",
            $table,
            " WHERE ",
            $column,
            $is_over,
            " ORDER BY ",
            $column,
            " LIMIT $2) AS first)"
        )
    };
}

/// What deletes these.
macro_rules! over {
    ($table:literal, $column:literal, $is_over:literal) => {
        concat!("DELETE FROM ", $table, " WHERE ", first!($table, $column, $is_over))
    };
}

/// The same on PostgreSQL, of what nobody else holds at the moment: whoever deletes many rows waits for none of them, since whoever
/// holds one may want another (of a refresh two throttles are held, and then a session). What was changed meanwhile and is not
/// over any more stays.
macro_rules! over_free {
    ($table:literal, $key:literal, $column:literal, $is_over:literal) => {
        free!($table, $key, first!($table, $column, $is_over))
    };
}

/// What deletes on PostgreSQL which of these rows nobody else holds.
macro_rules! free {
    ($table:literal, $key:literal, $($which:tt)+) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ",
            $key,
            " = ANY(ARRAY(SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE ",
            $($which)+,
            " FOR UPDATE SKIP LOCKED))"
        )
    };
}

/// Which sessions a clock that was ahead wrote. No session that may be believed ends after one that may not be, unless that has its
/// greatest age then: it is looked for among those that end last. Whoever is ahead also ends after that.
macro_rules! sessions_ahead {
    () => {
        "last_used_at > $1 AND expires_at >= (SELECT MIN(first.ends) FROM (SELECT expires_at AS ends FROM sessions \
         WHERE expires_at > $1 ORDER BY expires_at DESC LIMIT $2) AS first)"
    };
}

/// What deletes some of the tokens of these sessions, however many there are. On PostgreSQL the sessions are locked first, but for
/// those that somebody else holds: who prolongs one meanwhile keeps its tokens, the rotated ones too, by which a reuse is known.
macro_rules! tokens_of {
    (sqlite, $($which:tt)+) => {
        concat!(
            "DELETE FROM refresh_tokens WHERE digest IN (SELECT digest FROM refresh_tokens \
             WHERE session_id IN (SELECT id FROM sessions WHERE ",
            $($which)+,
            ") LIMIT $2)"
        )
    };
    // As arrays: no plan, whatever it is made on, reads all tokens to join them.
    (postgres, $($which:tt)+) => {
        concat!(
            "DELETE FROM refresh_tokens WHERE digest = ANY(ARRAY(SELECT digest FROM refresh_tokens \
             WHERE session_id = ANY(ARRAY(SELECT id FROM sessions WHERE ",
            $($which)+,
            " FOR UPDATE SKIP LOCKED)) LIMIT $2))"
        )
    };
}

pub(super) const REFRESH_TOKENS: &str = over!("refresh_tokens", "expires_at", " <= $1");
pub(super) const SESSIONS: &str = over!("sessions", "expires_at", " <= $1");
pub(super) const SESSIONS_AHEAD: &str = concat!("DELETE FROM sessions WHERE ", sessions_ahead!());
pub(super) const ENDED_SESSIONS: &str = over!("sessions", "ended_at", " <= $1");
pub(super) const REFRESH_TOKENS_POSTGRES: &str = over_free!("refresh_tokens", "digest", "expires_at", " <= $1");
pub(super) const SESSIONS_POSTGRES: &str = over_free!("sessions", "id", "expires_at", " <= $1");
pub(super) const SESSIONS_AHEAD_POSTGRES: &str = free!("sessions", "id", sessions_ahead!());
pub(super) const ENDED_SESSIONS_POSTGRES: &str = over_free!("sessions", "id", "ended_at", " <= $1");
pub(super) const TOKENS_OF_SESSIONS_SQLITE: &str = tokens_of!(sqlite, "expires_at <= $1 ORDER BY expires_at LIMIT $2");
pub(super) const TOKENS_OF_SESSIONS_POSTGRES: &str =
    tokens_of!(postgres, "expires_at <= $1 ORDER BY expires_at LIMIT $2");
pub(super) const TOKENS_OF_SESSIONS_AHEAD_SQLITE: &str = tokens_of!(sqlite, sessions_ahead!());
pub(super) const TOKENS_OF_SESSIONS_AHEAD_POSTGRES: &str = tokens_of!(postgres, sessions_ahead!());
pub(super) const TOKENS_OF_ENDED_SESSIONS_SQLITE: &str =
    tokens_of!(sqlite, "ended_at <= $1 ORDER BY ended_at LIMIT $2");
pub(super) const TOKENS_OF_ENDED_SESSIONS_POSTGRES: &str =
    tokens_of!(postgres, "ended_at <= $1 ORDER BY ended_at LIMIT $2");
pub(super) const VERIFICATIONS: &str = over!("email_verifications", "expires_at", " <= $1");
pub(super) const VERIFICATIONS_AHEAD: &str = over!("email_verifications", "expires_at", " > $1");
pub(super) const THROTTLES: &str = over!("throttles", "drained_at", " <= $1");
pub(super) const VERIFICATIONS_POSTGRES: &str = over_free!("email_verifications", "digest", "expires_at", " <= $1");
pub(super) const THROTTLES_POSTGRES: &str = over_free!("throttles", "bucket", "drained_at", " <= $1");
pub(super) const PLACES: &str = over!("sign_in_places", "last_at", " <= $1");
pub(super) const PLACES_AHEAD: &str = over!("sign_in_places", "last_at", " > $1");

/// A table with rows that time makes useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perishable {
    /// Refresh tokens past their expiry; rotated ones are kept until then, to know a reuse.
    RefreshTokens,
    /// Sessions past their expiry, whether they ended earlier or not.
    Sessions,
    /// Sessions that a clock gave which was far ahead: they are not believed, and would not be over for as long.
    SessionsAhead,
    /// Sessions that have ended long ago, though their refresh tokens would still live.
    EndedSessions,
    /// Verifications past their expiry.
    Verifications,
    /// Verifications that a clock dated which was far ahead: nobody can follow them.
    VerificationsAhead,
    /// Buckets that have drained.
    Throttles,
    /// Places from where nobody has signed in for long.
    Places,
    /// Places that a clock noted which was far ahead: they are not believed, and would not be long ago for as long.
    PlacesAhead,
}

impl Perishable {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RefreshTokens,
        Self::Sessions,
        Self::SessionsAhead,
        Self::EndedSessions,
        Self::Verifications,
        Self::VerificationsAhead,
        Self::Throttles,
        Self::Places,
        Self::PlacesAhead,
    ];

    const fn statement(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Self::RefreshTokens, Engine::Sqlite) => REFRESH_TOKENS,
            (Self::RefreshTokens, Engine::Postgres) => REFRESH_TOKENS_POSTGRES,
            (Self::Sessions, Engine::Sqlite) => SESSIONS,
            (Self::Sessions, Engine::Postgres) => SESSIONS_POSTGRES,
            (Self::SessionsAhead, Engine::Sqlite) => SESSIONS_AHEAD,
            (Self::SessionsAhead, Engine::Postgres) => SESSIONS_AHEAD_POSTGRES,
            (Self::EndedSessions, Engine::Sqlite) => ENDED_SESSIONS,
            (Self::EndedSessions, Engine::Postgres) => ENDED_SESSIONS_POSTGRES,
            (Self::Verifications, Engine::Sqlite) => VERIFICATIONS,
            (Self::Verifications, Engine::Postgres) => VERIFICATIONS_POSTGRES,
            (Self::VerificationsAhead, _) => VERIFICATIONS_AHEAD,
            (Self::Throttles, Engine::Sqlite) => THROTTLES,
            (Self::Throttles, Engine::Postgres) => THROTTLES_POSTGRES,
            (Self::Places, _) => PLACES,
            (Self::PlacesAhead, _) => PLACES_AHEAD,
        }
    }

    /// What deletes the tokens of the sessions that go first.
    const fn tokens(self, engine: Engine) -> Option<&'static str> {
        Some(match (self, engine) {
            (Self::Sessions, Engine::Sqlite) => TOKENS_OF_SESSIONS_SQLITE,
            (Self::Sessions, Engine::Postgres) => TOKENS_OF_SESSIONS_POSTGRES,
            (Self::SessionsAhead, Engine::Sqlite) => TOKENS_OF_SESSIONS_AHEAD_SQLITE,
            (Self::SessionsAhead, Engine::Postgres) => TOKENS_OF_SESSIONS_AHEAD_POSTGRES,
            (Self::EndedSessions, Engine::Sqlite) => TOKENS_OF_ENDED_SESSIONS_SQLITE,
            (Self::EndedSessions, Engine::Postgres) => TOKENS_OF_ENDED_SESSIONS_POSTGRES,
            _ => return None,
        })
    }
}

/// Deletes up to `limit` rows that are of no use at `now`, and more only of one age; says how many it deleted. Sessions go when
/// their tokens have gone, as many at a time: one would take along all that it has. On PostgreSQL what somebody else holds stays
/// for the next time, but for places and what a clock far ahead dated.
pub async fn delete(tx: &mut Tx, what: Perishable, now: Timestamp, limit: i64) -> Result<u64, DbError> {
    let since = match what {
        Perishable::EndedSessions => now.saturating_sub(KEEP_ENDED),
        Perishable::Places => now.saturating_sub(KEEP_PLACES),
        Perishable::SessionsAhead | Perishable::PlacesAhead => latest_beginning(now),
        Perishable::VerificationsAhead => furthest_end(LONGEST_LINK, now),
        _ => now,
    };
    if let Some(tokens) = what.tokens(tx.engine()) {
        let gone = on!(&mut *tx, c => sqlx::query(tokens).bind(since).bind(limit).execute(c).await?.rows_affected());
        if gone >= limit.unsigned_abs() {
            return Ok(gone);
        }
    }
    let statement = what.statement(tx.engine());
    Ok(on!(tx, c => sqlx::query(statement).bind(since).bind(limit).execute(c).await?.rows_affected()))
}
