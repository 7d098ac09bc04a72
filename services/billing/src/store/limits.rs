//! Limits, and how much of them is used in each window.

use std::collections::{BTreeMap, HashMap};

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::{Id, LimitId, OwnerId, Uuid};
use bursar_money::Credits;
use bursar_time::{Timestamp, Zone};
use sqlx::AssertSqlSafe;

use super::json::JsonRows;
use super::{accounts, bulk, keys, sql, sql_one, sql_write, unreadable};
use crate::domain::{Limit, LimitMode, LimitSet, LimitSubject, LimitWindow, Percents, REACH, Subject, UseKey, Used};

/// Sets a limit, or sets it again.
const PUT: &str = "INSERT INTO limits (owner, id, subject, span, mode, amount, alerts, zone, set_at, set_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (owner, subject, span, mode) DO UPDATE SET amount = excluded.amount, alerts = excluded.alerts, zone = excluded.zone, set_at = excluded.set_at, set_by = excluded.set_by";
/// The days and months of all limits begin where the account's do.
const MOVE: &str = "UPDATE limits SET zone = $2 WHERE owner = $1 AND zone <> $2";
const DELETE: &str = "DELETE FROM limits WHERE owner = $1 AND id = $2";
const DELETE_ALL: &str = "DELETE FROM limits WHERE owner = $1";
/// Accounts with limits, a page at a time.
const OWNERS_AFTER: &str = "SELECT DISTINCT owner FROM limits WHERE owner > $1 ORDER BY owner LIMIT $2";
/// How many limits an account has; what is remembered of it counts no more.
const COUNT: &str = "UPDATE accounts SET limits = (SELECT COUNT(*) FROM limits WHERE limits.owner = accounts.owner), terms = terms + 1 WHERE owner = $1";
const FORGET_USE: &str = "DELETE FROM limit_uses WHERE owner = $1 AND span = $2 AND subject >= $3 AND subject < $4";
const FORGET_ALL_USE: &str = "DELETE FROM limit_uses WHERE owner = $1";
/// All use in windows that end after a time, in the order of their keys, a portion at a time.
const USE_AFTER: &str = "SELECT owner, subject, span, starts_at, ends_at, used, peak, retold FROM limit_uses
     WHERE owner = $1 AND ends_at > $2 AND (subject, span, starts_at) > ($3, $4, $5) ORDER BY subject, span, starts_at LIMIT $6";
/// From now on everything is reached for the first time in windows that are open.
const REARM: &str = "UPDATE limit_uses SET peak = used, retold = 0
     WHERE owner = $1 AND span = $2 AND subject >= $3 AND subject < $4 AND ends_at > $5 AND (peak <> used OR retold <> 0)";
/// Windows that are over, whosever, the oldest first.
const OVER: &str = "SELECT owner, subject, span, starts_at, ends_at, used, peak, retold FROM limit_uses WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2 OFFSET $3";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 11] = [
    ("PUT", PUT),
    ("MOVE", MOVE),
    ("DELETE", DELETE),
    ("DELETE_ALL", DELETE_ALL),
    ("OWNERS_AFTER", OWNERS_AFTER),
    ("COUNT", COUNT),
    ("FORGET_USE", FORGET_USE),
    ("FORGET_ALL_USE", FORGET_ALL_USE),
    ("USE_AFTER", USE_AFTER),
    ("REARM", REARM),
    ("OVER", OVER),
];

#[derive(sqlx::FromRow)]
struct LimitRow {
    owner: Vec<u8>,
    id: Uuid,
    subject: Vec<u8>,
    span: i64,
    mode: i64,
    amount: Credits,
    alerts: String,
    zone: String,
}

impl LimitRow {
    fn read(self) -> Result<(OwnerId, Limit, Zone), DbError> {
        let percents: Result<Vec<u32>, _> =
            self.alerts.split(',').filter(|it| !it.is_empty()).map(str::parse).collect();
        let mode = LimitMode::ALL.into_iter().find(|mode| i64::from(*mode as u8) == self.mode);
        let limit = Limit {
            id: Id::from_uuid(self.id),
            subject: LimitSubject::from_bytes(&self.subject).ok_or_else(|| unreadable("a limit's subject is none"))?,
            window: read_window(self.span)?,
            mode: mode.ok_or_else(|| unreadable("a limit has an unknown mode"))?,
            amount: self.amount,
            alerts: Percents::parse(&percents.map_err(unreadable)?).map_err(unreadable)?,
        };
        Ok((keys::read_owner(&self.owner)?, limit, self.zone.parse().map_err(unreadable)?))
    }
}

fn read_window(number: i64) -> Result<LimitWindow, DbError> {
    let found = LimitWindow::ALL.into_iter().find(|window| i64::from(*window as u8) == number);
    found.ok_or_else(|| unreadable("a limit has an unknown window"))
}

/// A window's column.
pub(super) fn window(window: LimitWindow) -> i64 {
    i64::from(window as u8)
}

fn alerts(limit: &Limit) -> String {
    limit.alerts.as_slice().iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// The limits of these owners, each in the order of ids. Owners without any are missing.
pub(crate) async fn of(tx: &mut Tx, owners: &[OwnerId]) -> Result<HashMap<OwnerId, LimitSet>, DbError> {
    let rows: Vec<LimitRow> = match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::LIMITS_OF.sqlite).bind(keys::owner_list(owners)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let [owner] = owners => {
            sqlx::query_as(sql_one::LIMITS_OF).bind(keys::owner(*owner)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            sqlx::query_as(sql::LIMITS_OF.postgres).bind(keys::owners(owners)).fetch_all(&mut **t).await?
        }
    };
    let mut found: HashMap<OwnerId, (Vec<Limit>, Zone)> = HashMap::new();
    for row in rows {
        let (owner, limit, zone) = row.read()?;
        let (limits, known) = found.entry(owner).or_default();
        limits.push(limit);
        *known = zone;
    }
    Ok(found.into_iter().map(|(owner, (limits, zone))| (owner, LimitSet::new(limits, zone))).collect())
}

#[derive(sqlx::FromRow)]
struct UseRow {
    owner: Vec<u8>,
    subject: Vec<u8>,
    span: i64,
    starts_at: Timestamp,
    ends_at: Timestamp,
    used: i64,
    peak: i64,
    retold: i64,
}

impl UseRow {
    fn read(self) -> Result<(OwnerId, UseKey, Used), DbError> {
        let subject = Subject::from_bytes(&self.subject).ok_or_else(|| unreadable("a use has no subject"))?;
        let key = UseKey { subject, window: read_window(self.span)?, starts_at: self.starts_at };
        let retold = u32::try_from(self.retold).map_err(unreadable)?;
        // A program that knows no peaks may have written last.
        let used = Used { ends_at: self.ends_at, used: self.used, peak: self.peak.max(self.used), retold };
        Ok((keys::read_owner(&self.owner)?, key, used))
    }
}

/// What is stored of these uses. Of windows that begin at the same instants there may come more.
pub(crate) async fn used(tx: &mut Tx, named: &[(OwnerId, UseKey)]) -> Result<Vec<(OwnerId, UseKey, Used)>, DbError> {
    let subjects = || named.iter().map(|(_, key)| key.subject.to_bytes()).collect::<Vec<_>>();
    let starts = || named.iter().map(|(_, key)| key.starts_at.as_micros()).collect::<Vec<_>>();
    let rows: Vec<UseRow> = match tx {
        Tx::Sqlite(t) => {
            let mut rows = JsonRows::with_capacity(named.len() * 130);
            for (owner, key) in named {
                rows.row(|row| {
                    row.hex(&owner.to_bytes()).hex(&key.subject.to_bytes()).number(window(key.window));
                    row.number(key.starts_at.as_micros());
                });
            }
            sqlx::query_as(sql::LIMITS_USED.sqlite).bind(rows.finish()).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(named) => {
            let used = sqlx::query_as(sql_one::LIMITS_USED).bind(keys::owner(owner)).bind(subjects());
            used.bind(starts()).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let owners: Vec<_> = named.iter().map(|(owner, _)| keys::owner(*owner)).collect();
            let windows: Vec<_> = named.iter().map(|(_, key)| window(key.window)).collect();
            let used = sqlx::query_as(sql::LIMITS_USED.postgres).bind(owners).bind(subjects());
            used.bind(windows).bind(starts()).fetch_all(&mut **t).await?
        }
    };
    rows.into_iter().map(UseRow::read).collect()
}

/// All use of an account in windows that end after `now`.
pub(crate) async fn used_after(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<Vec<(UseKey, Used)>, DbError> {
    let (mut found, most) = (Vec::new(), i64::try_from(PORTION).unwrap_or(i64::MAX));
    let mut last = (Vec::new(), i64::MIN, i64::MIN);
    loop {
        let rows: Vec<UseRow> = on!(tx, c => sqlx::query_as(USE_AFTER).bind(keys::owner(owner)).bind(now)
            .bind(&last.0).bind(last.1).bind(last.2).bind(most).fetch_all(c).await?);
        let whole = rows.len() == PORTION;
        if let Some(row) = rows.last() {
            last = (row.subject.clone(), row.span, row.starts_at.as_micros());
        }
        for row in rows {
            let (_, key, used) = row.read()?;
            found.push((key, used));
        }
        if !whole {
            return Ok(found);
        }
    }
}

/// Sets a limit of an account that is locked; one for the same subject, window and mode is set again and keeps its id. Days
/// and months of all its limits begin as in `zone` from now on.
pub(crate) async fn put(
    tx: &mut Tx,
    owner: OwnerId,
    limit: &Limit,
    (zone, now, by): (&Zone, Timestamp, &str),
) -> Result<(), DbError> {
    let (subject, mode) = (limit.subject.to_bytes(), i64::from(limit.mode as u8));
    on!(tx, c => sqlx::query(PUT).bind(keys::owner(owner)).bind(keys::uuid(limit.id)).bind(subject)
        .bind(window(limit.window)).bind(mode).bind(limit.amount).bind(alerts(limit)).bind(zone.name()).bind(now).bind(by)
        .execute(c).await?.rows_affected());
    move_to(tx, owner, zone).await
}

/// Has the days and months of all limits of an account that is locked begin as in `zone` from now on.
pub(crate) async fn move_to(tx: &mut Tx, owner: OwnerId, zone: &Zone) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(MOVE).bind(keys::owner(owner)).bind(zone.name()).execute(c).await?.rows_affected());
    count(tx, owner).await
}

/// Deletes a limit of an account that is locked. Says whether there was one.
pub(crate) async fn delete(tx: &mut Tx, owner: OwnerId, id: LimitId) -> Result<bool, DbError> {
    let deleted = on!(tx, c => sqlx::query(DELETE).bind(keys::owner(owner)).bind(keys::uuid(id))
        .execute(c).await?.rows_affected());
    count(tx, owner).await?;
    Ok(deleted > 0)
}

/// The owners after `after` whose accounts have limits, in the order of owners.
pub(crate) async fn owners_after(tx: &mut Tx, after: Option<OwnerId>, most: i64) -> Result<Vec<OwnerId>, DbError> {
    let after = after.map(keys::owner).unwrap_or_default();
    let rows: Vec<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(OWNERS_AFTER).bind(after).bind(most).fetch_all(c).await?);
    rows.iter().map(|(owner,)| keys::read_owner(owner)).collect()
}

/// Deletes all limits of an account, and what was used of them.
pub(crate) async fn delete_all(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    for statement in [DELETE_ALL, FORGET_ALL_USE] {
        on!(tx, c => sqlx::query(statement).bind(keys::owner(owner)).execute(c).await?.rows_affected());
    }
    count(tx, owner).await
}

async fn count(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(COUNT).bind(keys::owner(owner)).execute(c).await?.rows_affected());
    Ok(())
}

/// Replaces what is stored of the use of these subjects, in whatever window of a kind.
pub(crate) async fn replace_use(
    tx: &mut Tx,
    owner: OwnerId,
    about: &[(LimitSubject, LimitWindow)],
    used: &BTreeMap<UseKey, Used>,
) -> Result<(), DbError> {
    for (subject, span) in about {
        let (first, behind) = range(subject);
        on!(tx, c => sqlx::query(FORGET_USE).bind(keys::owner(owner)).bind(window(*span)).bind(first).bind(behind)
            .execute(c).await?.rows_affected());
    }
    let used: Vec<_> = used.iter().map(|(key, used)| (key.clone(), *used)).collect();
    save_use(tx, owner, &used).await
}

/// Alerts of a limit that is set are told whatever use of its subject has reached before.
pub(crate) async fn rearm(
    tx: &mut Tx,
    owner: OwnerId,
    (subject, span): (&LimitSubject, LimitWindow),
    now: Timestamp,
) -> Result<(), DbError> {
    let (first, behind) = range(subject);
    on!(tx, c => sqlx::query(REARM).bind(keys::owner(owner)).bind(window(span)).bind(first).bind(behind).bind(now)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// From which subject's bytes to before which this is about: with every member all members.
fn range(subject: &LimitSubject) -> (Vec<u8>, Vec<u8>) {
    let first = match subject {
        LimitSubject::EveryMember => {
            let member = Subject::Member(Id::from_uuid(Uuid::nil())).to_bytes();
            return (vec![member[0]], vec![member[0] + 1]);
        }
        LimitSubject::One(subject) => subject.to_bytes(),
    };
    let mut behind = first.clone();
    behind.push(0);
    (first, behind)
}

async fn save_use(tx: &mut Tx, owner: OwnerId, used: &[(UseKey, Used)]) -> Result<(), DbError> {
    match tx {
        Tx::Sqlite(t) => {
            for part in bulk::parts(used) {
                let mut query = sqlx::query(AssertSqlSafe(bulk::for_rows(sql_write::SAVE_LIMITS_USED, part.len())));
                for (key, used) in part {
                    query = query
                        .bind(keys::owner(owner))
                        .bind(key.subject.to_bytes())
                        .bind(window(key.window))
                        .bind(key.starts_at)
                        .bind(used.ends_at)
                        .bind(used.used)
                        .bind(used.peak)
                        .bind(i64::from(used.retold));
                }
                query.execute(&mut **t).await?;
            }
        }
        Tx::Postgres(t) => {
            if !used.is_empty() {
                let rows: Vec<(OwnerId, &(UseKey, Used))> = used.iter().map(|it| (owner, it)).collect();
                let query = sqlx::query(sql_one::SAVE_LIMITS_USED).bind(keys::owner(owner));
                super::write::bind_used(query, &rows).execute(&mut **t).await?;
            }
        }
    }
    Ok(())
}

/// Rows that are looked for at once, and that one transaction forgets at most.
const PORTION: usize = 500;

/// Forgets the use in windows that are over for so long that nothing can count there any more, in small transactions, each
/// for one account, which is locked as whoever counts there locks it. Returns how many. Safe to run on several replicas at
/// once, and to interrupt.
pub(crate) async fn prune(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    let (mut total, mut stay) = (0, 0);
    loop {
        let (found, gone) = prune_portion(db, now, stay).await?;
        total += gone;
        // What stays is found again before the rest.
        stay += (found as u64).saturating_sub(gone);
        if found < PORTION {
            return Ok(total);
        }
    }
}

/// Forgets a portion after so many that stay: how many there were to be forgotten, and how many of them nobody else forgot.
async fn prune_portion(db: &Db, now: Timestamp, stay: u64) -> Result<(usize, u64), DbError> {
    let stay = i64::try_from(stay).unwrap_or(i64::MAX);
    let (before, most) = (now.saturating_sub(REACH), i64::try_from(PORTION).unwrap_or(i64::MAX));
    let mut tx = db.read().await?;
    let rows: Vec<UseRow> =
        on!(&mut tx, c => sqlx::query_as(OVER).bind(before).bind(most).bind(stay).fetch_all(c).await?);
    drop(tx);
    let (found, mut gone) = (rows.len(), 0);
    let mut over: BTreeMap<OwnerId, Vec<UseKey>> = BTreeMap::new();
    for row in rows {
        let (owner, key, _) = row.read()?;
        over.entry(owner).or_default().push(key);
    }
    for (owner, keys) in over {
        // Whose row is locked or cannot be read keeps no others' use.
        match forget_of(db, owner, &keys).await {
            Ok(some) => gone += some,
            Err(error) => tracing::warn!(%owner, %error, "use of limits that is over stays for now"),
        }
    }
    Ok((found, gone))
}

async fn forget_of(db: &Db, owner: OwnerId, named: &[UseKey]) -> Result<u64, DbError> {
    let mut tx = db.begin().await?;
    accounts::lock(&mut tx, &[owner]).await?;
    let gone = forget(&mut tx, owner, named).await?;
    tx.commit().await?;
    Ok(gone)
}

async fn forget(tx: &mut Tx, owner: OwnerId, named: &[UseKey]) -> Result<u64, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => {
            let mut rows = JsonRows::with_capacity(named.len() * 130);
            for key in named {
                rows.row(|row| {
                    row.hex(&key.subject.to_bytes()).number(window(key.window)).number(key.starts_at.as_micros());
                });
            }
            let forget = sqlx::query(sql::FORGET_USES.sqlite).bind(keys::owner(owner)).bind(rows.finish());
            forget.execute(&mut **t).await?.rows_affected()
        }
        Tx::Postgres(t) => {
            let subjects: Vec<_> = named.iter().map(|key| key.subject.to_bytes()).collect();
            let spans: Vec<_> = named.iter().map(|key| window(key.window)).collect();
            let starts: Vec<_> = named.iter().map(|key| key.starts_at.as_micros()).collect();
            let forget = sqlx::query(sql::FORGET_USES.postgres).bind(keys::owner(owner));
            forget.bind(subjects).bind(spans).bind(starts).execute(&mut **t).await?.rows_affected()
        }
    })
}

#[cfg(test)]
mod tests {
    use bursar_testkit::{at, engines, id};
    use bursar_time::Span;

    use super::*;
    use crate::store::MIGRATIONS;

    /// Has the database refuse to delete this owner's use.
    async fn refuse_to_forget(db: &Db, owner: OwnerId) {
        let mut tx = db.begin().await.unwrap();
        let statements = match &tx {
            Tx::Sqlite(_) => vec![format!(
                "CREATE TRIGGER stuck BEFORE DELETE ON limit_uses WHEN OLD.owner = x'{}' BEGIN SELECT RAISE(ABORT, 'stuck'); END",
                hex::encode(owner.to_bytes())
            )],
            Tx::Postgres(_) => vec![
                "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stuck'; END $$"
                    .to_owned(),
                format!(
                    "CREATE TRIGGER stuck BEFORE DELETE ON limit_uses FOR EACH ROW WHEN (OLD.owner = '\\x{}') EXECUTE FUNCTION stuck()",
                    hex::encode(owner.to_bytes())
                ),
            ],
        };
        for statement in statements {
            on!(&mut tx, c => sqlx::query(sqlx::AssertSqlSafe(statement.clone())).execute(c).await.unwrap().rows_affected());
        }
        tx.commit().await.unwrap();
    }

    engines! {
        async fn windows_that_are_over_are_forgotten_in_portions(db: TestDb) {
            let db = db.open(&MIGRATIONS).await;
            let now = at("2026-03-10T12:00:00Z");
            let over = now.saturating_sub(REACH);
            let of = |member: usize, ends_at: Timestamp| {
                let subject = Subject::Member(id(member as u64));
                let key = UseKey { subject, window: LimitWindow::Hour, starts_at: ends_at.saturating_sub(Span::HOUR) };
                (key, Used::of(7, ends_at))
            };
            let (many, few) = (OwnerId::User(id(1)), OwnerId::User(id(2)));
            let mut uses: Vec<_> = (0..3 * PORTION).map(|member| of(member, over)).collect();
            uses.push(of(1, over.saturating_add(Span::HOUR)));
            let mut tx = db.begin().await.unwrap();
            save_use(&mut tx, many, &uses).await.unwrap();
            save_use(&mut tx, few, &[of(1, over), of(1, now)]).await.unwrap();
            tx.commit().await.unwrap();
            let (found, gone) = prune_portion(&db, now, 0).await.unwrap();
            assert_eq!((found, gone), (PORTION, PORTION as u64), "no more at once");
            assert_eq!(prune(&db, now).await.unwrap(), 2 * PORTION as u64 + 1);
            assert_eq!(prune(&db, now).await.unwrap(), 0);
            for (owner, left) in [(many, 1), (few, 1)] {
                let mut tx = db.read().await.unwrap();
                assert_eq!(used_after(&mut tx, owner, Timestamp::MIN).await.unwrap().len(), left, "what may still be counted in");
            }
        }

        async fn an_owner_whose_use_cannot_be_forgotten_keeps_no_others(db: TestDb) {
            let db = db.open(&MIGRATIONS).await;
            let now = at("2026-03-10T12:00:00Z");
            let of = |member: usize, ends_at: Timestamp| {
                let subject = Subject::Member(id(member as u64));
                (UseKey { subject, window: LimitWindow::Hour, starts_at: ends_at.saturating_sub(Span::HOUR) }, Used::of(7, ends_at))
            };
            let (stuck, other) = (OwnerId::User(id(1)), OwnerId::User(id(2)));
            let (first, then) = (now.saturating_sub(REACH).saturating_sub(Span::HOUR), now.saturating_sub(REACH));
            let uses: Vec<_> = (0..2 * PORTION).map(|member| of(member, first)).collect();
            let mut tx = db.begin().await.unwrap();
            save_use(&mut tx, stuck, &uses).await.unwrap();
            save_use(&mut tx, other, &[of(1, then)]).await.unwrap();
            tx.commit().await.unwrap();
            refuse_to_forget(&db, stuck).await;
            assert_eq!(prune(&db, now).await.unwrap(), 1, "the other's alone");
            for (owner, left) in [(stuck, 2 * PORTION), (other, 0)] {
                let mut tx = db.read().await.unwrap();
                assert_eq!(used_after(&mut tx, owner, Timestamp::MIN).await.unwrap().len(), left, "{owner}");
            }
        }
    }
}
