//! Requests that take effect once: the caller's request id is claimed in the transaction of its effect.
//!
//! ```text
//! begin → claim ─ Replay(answer) → answer it again, write nothing
//!               ├ Mismatch       → refuse: the id belongs to another request
//!               └ New            → do the work → settle(answer) → commit
//! ```
//!
//! A request that fails rolls its claim back, so a refusal never burns an id. Answers are kept for [`KEEP`];
//! after that the same id is a new request.

use bursar_time::{Span, Timestamp, latest_beginning};

use crate::{Db, DbError, Tx, exactly_one, forget_before, in_portions, on};

/// How long an answer can be replayed.
pub const KEEP: Span = Span::from_days(30);

/// How often a claim is tried when each time the answer that was in its way is forgotten before it is read.
const CLAIMS: usize = 8;

const CLAIM: &str = "INSERT INTO requests (scope, request_id, method, body_hash, response, created_at) \
     VALUES ($1, $2, $3, $4, NULL, $5) ON CONFLICT (scope, request_id) DO NOTHING";
const FIND: &str = "SELECT method, body_hash, response FROM requests WHERE scope = $1 AND request_id = $2";
const SETTLE: &str = "UPDATE requests SET response = $3 WHERE scope = $1 AND request_id = $2 AND response IS NULL";
const AMEND: &str = "UPDATE requests SET response = $4 \
     WHERE scope = $1 AND request_id = $2 AND created_at = $3 AND response IS NOT NULL";
const FORGET: &str = "DELETE FROM requests WHERE scope = $1 AND request_id = $2";
const FORGET_ALL_OF: &str = "DELETE FROM requests \
     WHERE response IS NOT NULL AND (scope = $1 OR (scope >= $2 AND scope < $3))";
const FORGET_SOME_OF: &str = "DELETE FROM requests WHERE (scope, request_id) IN (SELECT scope, request_id FROM requests \
     WHERE response IS NOT NULL AND (scope = $1 OR (scope >= $2 AND scope < $3)) LIMIT $4)";
const FORGET_SOME_IN: &str = "DELETE FROM requests WHERE (scope, request_id) IN (SELECT scope, request_id FROM requests \
     WHERE response IS NOT NULL AND scope = $1 LIMIT $2)";
/// One step in the key, however many answers there are.
const NEXT_SCOPE: &str = "SELECT MIN(scope) FROM requests WHERE scope >= $1 AND scope < $2";
const PRUNE: &str = "DELETE FROM requests WHERE (scope, request_id) IN \
     (SELECT scope, request_id FROM requests WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
const REDATE: &str = "UPDATE requests SET created_at = $3 WHERE (scope, request_id) IN \
     (SELECT scope, request_id FROM requests WHERE created_at > $1 ORDER BY created_at LIMIT $2)";

/// What became of a claimed request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Never seen: do the work, then [`settle`].
    New,
    /// The same request was answered before: this is the answer.
    Replay(Vec<u8>),
    /// The id was used for another method or another body.
    Mismatch,
}

/// Claims a request id within `scope` (whose id it is: two callers' equal ids never meet).
///
/// A twin that runs at the same time waits here until the first commits, and then gets its answer; or until the
/// first rolls back, and is then the new one.
pub async fn claim(
    tx: &mut Tx,
    scope: &str,
    request_id: &str,
    method: &str,
    body_hash: &[u8],
    now: Timestamp,
) -> Result<Claim, DbError> {
    for _ in 0..CLAIMS {
        let inserted = on!(&mut *tx, c => sqlx::query(CLAIM)
            .bind(scope).bind(request_id).bind(method).bind(body_hash).bind(now)
            .execute(c).await?.rows_affected());
        if inserted == 1 {
            return Ok(Claim::New);
        }
        let found: Option<(String, Vec<u8>, Option<Vec<u8>>)> =
            on!(&mut *tx, c => sqlx::query_as(FIND).bind(scope).bind(request_id).fetch_optional(c).await?);
        // What was in the way was forgotten since: the id is free again.
        let Some((its_method, its_hash, response)) = found else { continue };
        if its_method != method || its_hash != body_hash {
            return Ok(Claim::Mismatch);
        }
        return match response {
            Some(answer) => Ok(Claim::Replay(answer)),
            None => Err(DbError::corrupt("a request was claimed and committed without an answer")),
        };
    }
    Err(DbError::Serialization)
}

/// Stores the answer of a request claimed in this transaction.
pub async fn settle(tx: &mut Tx, scope: &str, request_id: &str, response: &[u8]) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(SETTLE)
        .bind(scope).bind(request_id).bind(response)
        .execute(c).await?.rows_affected()))
}

/// Puts another answer in the place of one that was committed before, of what was claimed at this time: what it began has come to
/// nothing, and a repetition is told so instead of beginning it anew. Says whether the answer was kept still; one under the
/// same id of another time is another request's.
pub async fn amend(
    tx: &mut Tx,
    scope: &str,
    request_id: &str,
    claimed_at: Timestamp,
    response: &[u8],
) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(AMEND)
        .bind(scope).bind(request_id).bind(claimed_at).bind(response)
        .execute(c).await?.rows_affected())
        == 1)
}

/// Forgets the answer of a request that came to nothing after all: the same id is a new request.
pub async fn forget(tx: &mut Tx, scope: &str, request_id: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(scope).bind(request_id).execute(c).await?.rows_affected());
    Ok(())
}

/// The scopes of somebody in each context: ids of contexts follow after a slash, and `0` after that.
fn contexts_of(scope: &str) -> (String, String) {
    (format!("{scope}/"), format!("{scope}0"))
}

/// Forgets up to `limit` of what somebody was answered, in whatever context, who is gone; says how many.
pub async fn forget_some_of(tx: &mut Tx, scope: &str, limit: i64) -> Result<u64, DbError> {
    let (first, end) = contexts_of(scope);
    Ok(on!(tx, c => sqlx::query(FORGET_SOME_OF).bind(scope).bind(&first).bind(&end).bind(limit)
        .execute(c).await?.rows_affected()))
}

/// Forgets all that somebody was answered, in whatever context, who is gone; not what this transaction is about to answer. For a
/// service in which nobody gets many answers; elsewhere [`forget_some_of`] has an end.
pub async fn forget_all_of(tx: &mut Tx, scope: &str) -> Result<(), DbError> {
    let (first, end) = contexts_of(scope);
    on!(tx, c => sqlx::query(FORGET_ALL_OF).bind(scope).bind(&first).bind(&end).execute(c).await?.rows_affected());
    Ok(())
}

/// Forgets up to `limit` of what was answered in one context to those whose scopes begin with `kind`; says how many. Each of that
/// kind who was answered anything anywhere is looked at, so it must be a kind of which there are few: services.
pub async fn forget_some_in(tx: &mut Tx, kind: &str, context: &str, limit: i64) -> Result<u64, DbError> {
    let (mut first, end) = (kind.to_owned(), format!("{kind}~"));
    let (mut forgotten, mut left) = (0_u64, limit);
    while left > 0 {
        let (next,): (Option<String>,) =
            on!(&mut *tx, c => sqlx::query_as(NEXT_SCOPE).bind(&first).bind(&end).fetch_one(c).await?);
        let Some(next) = next else { break };
        let actor = next.split('/').next().unwrap_or_default();
        let scope = format!("{actor}/{context}");
        let gone = on!(&mut *tx, c => sqlx::query(FORGET_SOME_IN).bind(&scope).bind(left)
            .execute(c).await?.rows_affected());
        forgotten = forgotten.saturating_add(gone);
        left = left.saturating_sub(i64::try_from(gone).unwrap_or(i64::MAX));
        (_, first) = contexts_of(actor);
    }
    Ok(forgotten)
}

/// Forgets the answers that are older than [`KEEP`], in small transactions. Returns how many. Safe to run on several
/// replicas at once, and to interrupt.
///
/// What a clock dated that was far ahead is kept as long from now on: it would stay until that clock's time has come, and
/// forgotten at once it would let a repetition take effect twice.
pub async fn prune(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    in_portions(db, REDATE, (latest_beginning(now), now)).await?;
    forget_before(db, PRUNE, now.saturating_sub(KEEP)).await
}
