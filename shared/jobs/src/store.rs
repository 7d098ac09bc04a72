//! Every statement on the table `jobs`.
//!
//! Whoever has taken a job proves it by the number of the lease, which only grows: whoever comes late changes nothing.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::JobId;
use bursar_time::{Clock, Span, Timestamp};
use sqlx::Row;

use crate::{DeadLetter, Lease};

/// How long dead letters are kept.
pub const KEEP_DEAD: Span = Span::from_days(30);

/// Rows that a statement of housekeeping changes at most.
pub(crate) const BATCH: i64 = 500;

const INSERT: &str = "INSERT INTO jobs \
     (id, kind, unique_key, sealed, attempts, lease, leased, asked, due_at, enqueued_at, owner) \
     VALUES ($1, $2, $3, $4, 0, 0, 0, 1, $5, $6, $7) \
     ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL AND dead_at IS NULL DO UPDATE \
     SET asked = jobs.asked + 1, due_at = CASE \
     WHEN jobs.leased = 0 AND excluded.due_at < jobs.due_at THEN excluded.due_at ELSE jobs.due_at END";
const ENROL: &str = "INSERT INTO jobs \
     (id, kind, unique_key, sealed, attempts, lease, leased, asked, due_at, enqueued_at) \
     VALUES ($1, $2, $3, $4, 0, 0, 0, 1, $5, $6) \
     ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL AND dead_at IS NULL DO NOTHING";
const FIRST_DUE_SQLITE: &str = "SELECT value, \
     (SELECT min(due_at) FROM jobs WHERE kind = value AND dead_at IS NULL) FROM json_each($1)";
const FIRST_DUE_POSTGRES: &str = "SELECT known.kind, \
     (SELECT min(due_at) FROM jobs WHERE jobs.kind = known.kind AND dead_at IS NULL) FROM unnest($1::text[]) AS known (kind)";
/// Those that have been due longest, but not those that this very replica still works on: after a leap of a test clock
/// their leases may have lapsed.
const TAKE_SQLITE: &str = "UPDATE jobs SET attempts = attempts + 1, lease = lease + 1, leased = 1, due_at = $3 \
     WHERE id IN (SELECT id FROM jobs WHERE kind = $1 AND dead_at IS NULL AND due_at <= $2 \
     AND id NOT IN (SELECT value FROM json_each($5)) ORDER BY due_at, id LIMIT $4) \
     RETURNING id, sealed, attempts, lease, asked, enqueued_at";
const TAKE_POSTGRES: &str = "WITH due AS MATERIALIZED (SELECT id FROM jobs WHERE kind = $1 AND dead_at IS NULL \
     AND due_at <= $2 AND id <> ALL ($5) ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED) \
     UPDATE jobs SET attempts = attempts + 1, lease = lease + 1, leased = 1, due_at = $3 \
     FROM due WHERE jobs.id = due.id \
     RETURNING jobs.id, sealed, attempts, lease, asked, enqueued_at";
const FINISH: &str = "DELETE FROM jobs WHERE id = $1 AND lease = $2 AND leased = 1 AND asked = $3";
/// Back to work: after a failure, or after a part of the work.
const PUT_BACK: &str = "UPDATE jobs SET attempts = $4, leased = 0, due_at = $5, failure = $6 \
     WHERE id = $1 AND lease = $2 AND leased = 1 AND asked = $3";
const BURY: &str = "UPDATE jobs SET leased = 0, dead_at = $4, failure = $5 \
     WHERE id = $1 AND lease = $2 AND leased = 1 AND asked = $3";
/// It was asked for again meanwhile: whatever came of the attempt, it is a new job now.
const ONCE_MORE: &str = "UPDATE jobs SET attempts = 0, leased = 0, due_at = $3, failure = $4 \
     WHERE id = $1 AND lease = $2 AND leased = 1";
const DEAD: &str = "SELECT id, kind, attempts, failure, enqueued_at, dead_at FROM jobs WHERE dead_at IS NOT NULL \
     ORDER BY dead_at DESC, id DESC LIMIT $1";
const REVIVE: &str = "UPDATE jobs SET attempts = 0, due_at = $2, dead_at = NULL WHERE id = $1 AND dead_at IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.kind = jobs.kind \
     AND other.unique_key = jobs.unique_key AND other.dead_at IS NULL)";
const DEPTHS: &str = "SELECT kind, count(CASE WHEN dead_at IS NULL THEN 1 END), count(dead_at), \
     min(CASE WHEN dead_at IS NULL AND leased = 0 THEN due_at END) FROM jobs GROUP BY kind";
/// Jobs that are due later than they can be by their terms: a lease, a wait between two attempts, the next round of
/// something periodic, or what was enqueued, by a clock that was ahead.
const CATCH: &str = "UPDATE jobs SET due_at = $3, enqueued_at = CASE WHEN enqueued_at > $3 THEN $3 ELSE enqueued_at END \
     WHERE kind = $1 AND dead_at IS NULL AND due_at > $2 \
     AND (leased = 1 OR attempts > 0 OR unique_key = $4 OR enqueued_at > $2)";
/// What is asked twice holds also for one that somebody has revived between the two.
const FORGET: &str = "DELETE FROM jobs WHERE dead_at < $1 AND id IN \
     (SELECT id FROM jobs WHERE dead_at < $1 ORDER BY dead_at LIMIT $2)";
/// Dead letters that a clock dated which was far ahead. Kept until its time has come, they would stand before all others meanwhile.
/// What is asked twice holds also for one that somebody has revived between the two.
const REDATE_DEAD: &str = "UPDATE jobs SET dead_at = $2 WHERE dead_at > $1 AND id IN \
     (SELECT id FROM jobs WHERE dead_at > $1 ORDER BY dead_at LIMIT $3)";
/// Those that are not dead, by the index on their keys.
const FORGET_LIVE_OF: &str = "DELETE FROM jobs WHERE kind = $1 AND unique_key >= $2 AND unique_key < $3 \
     AND unique_key IS NOT NULL AND dead_at IS NULL";
/// Dead letters have an index of their own, since many may have one key.
const FORGET_DEAD_OF: &str = "DELETE FROM jobs WHERE kind = $1 AND unique_key >= $2 AND unique_key < $3 \
     AND unique_key IS NOT NULL AND dead_at IS NOT NULL";
/// Dead or not, in portions: nobody says how many an owner has.
const FORGET_OWNED: &str = "DELETE FROM jobs WHERE id IN \
     (SELECT id FROM jobs WHERE kind = $1 AND owner = $2 AND owner IS NOT NULL LIMIT $3)";
/// What is asked twice holds also for rows that somebody has changed between the two.
const BURY_STRANGERS_SQLITE: &str = "UPDATE jobs SET leased = 0, dead_at = $1, failure = $4 \
     WHERE dead_at IS NULL AND due_at < $2 AND id IN (SELECT id FROM jobs WHERE dead_at IS NULL AND due_at < $2 \
     AND kind NOT IN (SELECT value FROM json_each($3)) LIMIT $5)";
const BURY_STRANGERS_POSTGRES: &str = "UPDATE jobs SET leased = 0, dead_at = $1, failure = $4 \
     WHERE dead_at IS NULL AND due_at < $2 AND id IN (SELECT id FROM jobs WHERE dead_at IS NULL AND due_at < $2 \
     AND kind <> ALL ($3) LIMIT $5)";
/// The rows of what was periodic once carry nothing.
const DROP_RETIRED_SQLITE: &str = "DELETE FROM jobs WHERE dead_at IS NULL AND due_at < $1 AND id IN \
     (SELECT id FROM jobs WHERE dead_at IS NULL AND due_at < $1 AND unique_key = $4 \
     AND kind NOT IN (SELECT value FROM json_each($2)) LIMIT $3)";
const DROP_RETIRED_POSTGRES: &str = "DELETE FROM jobs WHERE dead_at IS NULL AND due_at < $1 AND id IN \
     (SELECT id FROM jobs WHERE dead_at IS NULL AND due_at < $1 AND unique_key = $4 AND kind <> ALL ($2) LIMIT $3)";

/// The key of the one row that something periodic has; no job's.
pub(crate) const PERIODIC: &str = "";

/// What was written of a job that somebody had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// What was said.
    AsSaid,
    /// It was asked for again meanwhile, so it is done once more, at once.
    OnceMore,
    /// Nothing: somebody else has it.
    Lost,
}

/// A job to be written.
pub(crate) struct NewJob<'a> {
    pub(crate) id: JobId,
    pub(crate) kind: &'static str,
    pub(crate) unique: Option<&'a str>,
    pub(crate) owner: Option<&'a str>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) run_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// A job that was taken: the lease, and the payload still sealed.
pub(crate) struct Taken {
    pub(crate) lease: Lease,
    pub(crate) sealed: Vec<u8>,
}

/// What is to be taken.
pub(crate) struct Wanted<'a> {
    pub(crate) kind: &'static str,
    pub(crate) now: Timestamp,
    /// Until when they are out of the others' sight.
    pub(crate) until: Timestamp,
    pub(crate) limit: usize,
    /// Jobs that this replica works on.
    pub(crate) but: &'a [JobId],
}

/// How many jobs of a kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Depth {
    /// Waiting, or in somebody's hands.
    pub(crate) waiting: u64,
    /// Given up.
    pub(crate) dead: u64,
    /// When the first of those that nobody works on becomes due, or has.
    pub(crate) first_due: Option<Timestamp>,
}

/// A list as SQLite takes it.
fn json<T: serde::Serialize>(list: &[T]) -> Result<String, DbError> {
    serde_json::to_string(list).map_err(|error| DbError::corrupt(error.to_string()))
}

/// Writes a job, or has the one with the same unique key done once more.
pub(crate) async fn insert(tx: &mut Tx, job: &NewJob<'_>) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT).bind(job.id).bind(job.kind).bind(job.unique).bind(&job.sealed)
        .bind(job.run_at).bind(job.now).bind(job.owner).execute(c).await?.rows_affected()))
}

/// Writes the row of something periodic, unless it is there.
pub(crate) async fn enrol(tx: &mut Tx, job: &NewJob<'_>) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(ENROL).bind(job.id).bind(job.kind).bind(job.unique).bind(&job.sealed)
        .bind(job.run_at).bind(job.now).execute(c).await?.rows_affected());
    Ok(())
}

/// When the first job of each of these kinds is due; kinds without any are left out.
pub(crate) async fn first_due(tx: &mut Tx, kinds: &[&'static str]) -> Result<Vec<(String, Timestamp)>, DbError> {
    let rows: Vec<(String, Option<Timestamp>)> = match tx {
        Tx::Sqlite(t) => sqlx::query_as(FIRST_DUE_SQLITE).bind(json(kinds)?).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(FIRST_DUE_POSTGRES).bind(kinds).fetch_all(&mut **t).await?,
    };
    Ok(rows.into_iter().filter_map(|(kind, due)| Some((kind, due?))).collect())
}

/// Takes due jobs of one kind, those that have been due longest; they come in the order of their ids.
pub(crate) async fn take(tx: &mut Tx, wanted: &Wanted<'_>, clock: &Clock) -> Result<Vec<Taken>, DbError> {
    macro_rules! taken {
        ($rows:expr) => {
            $rows
                .iter()
                .map(|row| {
                    Ok::<_, sqlx::Error>(Taken {
                        lease: Lease {
                            id: row.try_get("id")?,
                            number: row.try_get("lease")?,
                            asked: row.try_get("asked")?,
                            attempt: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
                            enqueued_at: row.try_get("enqueued_at")?,
                            clock: clock.clone(),
                            finished: std::sync::atomic::AtomicBool::new(false),
                        },
                        sealed: row.try_get("sealed")?,
                    })
                })
                .collect::<Result<Vec<_>, _>>()?
        };
    }
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let but: Vec<String> = wanted.but.iter().map(ToString::to_string).collect();
    let mut taken = match tx {
        Tx::Sqlite(t) => taken!(
            sqlx::query(TAKE_SQLITE)
                .bind(wanted.kind)
                .bind(wanted.now)
                .bind(wanted.until)
                .bind(limit)
                .bind(json(&but)?)
                .fetch_all(&mut **t)
                .await?
        ),
        Tx::Postgres(t) => taken!(
            sqlx::query(TAKE_POSTGRES)
                .bind(wanted.kind)
                .bind(wanted.now)
                .bind(wanted.until)
                .bind(limit)
                .bind(&but)
                .fetch_all(&mut **t)
                .await?
        ),
    };
    taken.sort_by_key(|taken| taken.lease.id);
    Ok(taken)
}

/// Takes a job off the table, unless it was asked for again meanwhile.
pub(crate) async fn finish(tx: &mut Tx, lease: &Lease) -> Result<Settled, DbError> {
    let gone = on!(&mut *tx, c => sqlx::query(FINISH).bind(lease.id).bind(lease.number).bind(lease.asked)
        .execute(c).await?.rows_affected());
    if gone == 1 { Ok(Settled::AsSaid) } else { once_more(tx, lease, None).await }
}

/// Puts a job back until `due_at`, unless it was asked for again meanwhile: whoever did does not wait for that.
pub(crate) async fn put_back(
    tx: &mut Tx,
    lease: &Lease,
    attempts: u32,
    due_at: Timestamp,
    failure: Option<&str>,
) -> Result<Settled, DbError> {
    let rows = on!(&mut *tx, c => sqlx::query(PUT_BACK).bind(lease.id).bind(lease.number).bind(lease.asked)
        .bind(i64::from(attempts)).bind(due_at).bind(failure).execute(c).await?.rows_affected());
    if rows == 1 { Ok(Settled::AsSaid) } else { once_more(tx, lease, failure).await }
}

/// Makes a job a dead letter, unless it was asked for again meanwhile: that request would be buried with it.
pub(crate) async fn bury(tx: &mut Tx, lease: &Lease, now: Timestamp, failure: &str) -> Result<Settled, DbError> {
    let rows = on!(&mut *tx, c => sqlx::query(BURY).bind(lease.id).bind(lease.number).bind(lease.asked)
        .bind(now).bind(failure).execute(c).await?.rows_affected());
    if rows == 1 { Ok(Settled::AsSaid) } else { once_more(tx, lease, Some(failure)).await }
}

/// Has a job that was asked for again meanwhile done from its beginning, at once.
async fn once_more(tx: &mut Tx, lease: &Lease, failure: Option<&str>) -> Result<Settled, DbError> {
    let rows = on!(tx, c => sqlx::query(ONCE_MORE).bind(lease.id).bind(lease.number).bind(lease.clock.now())
        .bind(failure).execute(c).await?.rows_affected());
    Ok(if rows == 1 { Settled::OnceMore } else { Settled::Lost })
}

/// The latest dead letters.
pub(crate) async fn dead(tx: &mut Tx, limit: u32) -> Result<Vec<DeadLetter>, DbError> {
    on!(tx, c => {
        let rows = sqlx::query(DEAD).bind(i64::from(limit)).fetch_all(c).await?;
        rows.iter().map(|row| Ok(DeadLetter {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
            reason: row.try_get::<Option<String>, _>("failure")?.unwrap_or_default(),
            enqueued_at: row.try_get("enqueued_at")?,
            dead_at: row.try_get("dead_at")?,
        })).collect()
    })
}

/// Makes a dead letter a new job.
pub(crate) async fn revive(tx: &mut Tx, id: JobId, now: Timestamp) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(REVIVE).bind(id).bind(now).execute(c).await?.rows_affected()) == 1)
}

/// How many jobs there are, by the kind's name.
pub(crate) async fn depths(tx: &mut Tx) -> Result<Vec<(String, Depth)>, DbError> {
    let rows: Vec<(String, i64, i64, Option<Timestamp>)> = on!(tx, c => sqlx::query_as(DEPTHS).fetch_all(c).await?);
    let depth = |waiting: i64, dead: i64, first_due| Depth {
        waiting: waiting.unsigned_abs(),
        dead: dead.unsigned_abs(),
        first_due,
    };
    Ok(rows.into_iter().map(|(kind, waiting, dead, first_due)| (kind, depth(waiting, dead, first_due))).collect())
}

/// Makes due at `now` those jobs of a kind that are due later than `latest`, which no clock that is right can have written;
/// says how many.
pub(crate) async fn catch(tx: &mut Tx, kind: &str, latest: Timestamp, now: Timestamp) -> Result<u64, DbError> {
    Ok(
        on!(tx, c => sqlx::query(CATCH).bind(kind).bind(latest).bind(now).bind(PERIODIC).execute(c).await?.rows_affected()),
    )
}

/// Has up to [`BATCH`] dead letters have died at `now` that died later than `latest`; says how many.
pub(crate) async fn redate(tx: &mut Tx, latest: Timestamp, now: Timestamp) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(REDATE_DEAD).bind(latest).bind(now).bind(BATCH).execute(c).await?.rows_affected()))
}

/// Deletes up to [`BATCH`] dead letters that died before `before`; says how many.
pub(crate) async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(FORGET).bind(before).bind(BATCH).execute(c).await?.rows_affected()))
}

/// Deletes the jobs of a kind whose keys begin with the first of these, and end before the second; says how many.
pub(crate) async fn forget_those_of(
    tx: &mut Tx,
    kind: &'static str,
    (first, end): (&str, &str),
) -> Result<u64, DbError> {
    let mut gone = 0;
    for statement in [FORGET_LIVE_OF, FORGET_DEAD_OF] {
        gone += on!(&mut *tx, c => sqlx::query(statement).bind(kind).bind(first).bind(end)
            .execute(c).await?.rows_affected());
    }
    Ok(gone)
}

/// Deletes up to `limit` jobs of a kind that are an owner's; says how many.
pub(crate) async fn forget_owned(tx: &mut Tx, kind: &'static str, owner: &str, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(FORGET_OWNED).bind(kind).bind(owner).bind(limit).execute(c).await?.rows_affected()))
}

/// Deletes up to [`BATCH`] rows of what was periodic, has been due since before `before` and is of no kind that this program
/// knows; says how many.
pub(crate) async fn drop_retired(tx: &mut Tx, known: &[&'static str], before: Timestamp) -> Result<u64, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query(DROP_RETIRED_SQLITE)
            .bind(before)
            .bind(json(known)?)
            .bind(BATCH)
            .bind(PERIODIC)
            .execute(&mut **t)
            .await?
            .rows_affected(),
        Tx::Postgres(t) => sqlx::query(DROP_RETIRED_POSTGRES)
            .bind(before)
            .bind(known)
            .bind(BATCH)
            .bind(PERIODIC)
            .execute(&mut **t)
            .await?
            .rows_affected(),
    })
}

/// Makes dead letters of up to [`BATCH`] jobs that have been due since before `before` and are of no kind that this program
/// knows; says of how many.
pub(crate) async fn bury_strangers(
    tx: &mut Tx,
    known: &[&'static str],
    before: Timestamp,
    now: Timestamp,
) -> Result<u64, DbError> {
    const REASON: &str = "no program has known this kind of job for a long time";
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query(BURY_STRANGERS_SQLITE)
            .bind(now)
            .bind(before)
            .bind(json(known)?)
            .bind(REASON)
            .bind(BATCH)
            .execute(&mut **t)
            .await?
            .rows_affected(),
        Tx::Postgres(t) => sqlx::query(BURY_STRANGERS_POSTGRES)
            .bind(now)
            .bind(before)
            .bind(known)
            .bind(REASON)
            .bind(BATCH)
            .execute(&mut **t)
            .await?
            .rows_affected(),
    })
}

#[cfg(test)]
mod tests {
    use bursar_db::{Db, Engine, Migrations, PoolOptions};
    use bursar_testkit::plans::{analyze, fill, numbers, plan, scans};
    use sqlx::{Executor as _, SqlSafeStr as _};

    use super::*;

    const BOTH: [&str; 15] = [
        INSERT,
        ENROL,
        FINISH,
        PUT_BACK,
        BURY,
        ONCE_MORE,
        DEAD,
        REVIVE,
        DEPTHS,
        CATCH,
        FORGET,
        REDATE_DEAD,
        FORGET_LIVE_OF,
        FORGET_DEAD_OF,
        FORGET_OWNED,
    ];
    const SQLITE: [&str; 4] = [FIRST_DUE_SQLITE, TAKE_SQLITE, BURY_STRANGERS_SQLITE, DROP_RETIRED_SQLITE];
    const POSTGRES: [&str; 4] = [FIRST_DUE_POSTGRES, TAKE_POSTGRES, BURY_STRANGERS_POSTGRES, DROP_RETIRED_POSTGRES];

    bursar_testkit::engines! {
        async fn every_statement_can_be_prepared(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let mut tx = db.begin().await.unwrap();
            let own = match db.engine() {
                Engine::Sqlite => SQLITE,
                Engine::Postgres => POSTGRES,
            };
            for statement in BOTH.into_iter().chain(own) {
                on!(&mut tx, c => { c.prepare(statement.into_sql_str()).await.unwrap(); });
            }
        }

        /// In the transaction in which somebody is forgotten, whoever's mails are given up or wait.
        async fn what_is_somebodys_is_found_by_its_key_however_many_dead_letters_there_are(db: TestDb) {
            db.open(&Migrations::SHARED).await.close().await;
            let options = PoolOptions { index_plans: true, ..PoolOptions::default() };
            let db = Db::open(&db.store_url(), &Migrations::SHARED, &options).await.unwrap();
            let sealed = if db.engine() == Engine::Sqlite { "CAST('x' AS BLOB)" } else { "convert_to('x', 'UTF8')" };
            let rows = format!(
                "INSERT INTO jobs (id, kind, unique_key, sealed, attempts, lease, leased, asked, due_at, enqueued_at, dead_at, owner) {} \
                 SELECT 'job_' || n, CASE WHEN n % 10 < 5 THEN 'mail' ELSE 'mail.bulk' END, \
                 CASE WHEN n % 7 < 5 THEN n || '/job' END, {sealed}, 0, 0, 0, 1, n, n, CASE WHEN n % 4 < 3 THEN n END, \
                 CASE WHEN n % 7 < 5 THEN 'owner' || (n % 900) END FROM c",
                numbers(1, 4_000)
            );
            fill(&db, &[rows]).await;
            analyze(&db, "").await;
            for (statement, index) in [(FORGET_LIVE_OF, "jobs_unique"), (FORGET_DEAD_OF, "jobs_dead_key")] {
                let plan = plan(&db, statement).await;
                assert!(plan.contains(index) && scans(&db, &plan, &[]).await.is_empty(), "{statement}:\n{plan}");
                // SQLite says what it compares in an index with question marks, PostgreSQL by a word.
                let by_key = |line: &str| line.contains("unique_key>?") || (line.contains("Index Cond") && line.contains("unique_key"));
                assert!(plan.lines().any(by_key), "the key is not compared in the index: {statement}:\n{plan}");
            }
            let plan = plan(&db, FORGET_OWNED).await;
            assert!(plan.contains("jobs_owner") && scans(&db, &plan, &[]).await.is_empty(), "{FORGET_OWNED}:\n{plan}");
        }
    }
}
