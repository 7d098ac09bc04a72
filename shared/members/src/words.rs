//! Rows of `members`: the last word about each membership.
//!
//! Ids are bytes here: owners 17, users 16. Nothing is ever deleted but a user's rows when the account ends (where a
//! service wants that), so a membership that was heard of once stays known.

use std::collections::HashMap;

use bursar_db::{Db, DbError, Limited, Tx, on};
use bursar_id::{OwnerId, Role, UserId};
use sqlx::{Postgres, Sqlite};

use crate::json;
use crate::word::Word;

const NAMED_SQLITE: &str = "SELECT m.owner, m.user_id, m.role, m.incarnation, m.version FROM json_each($1) AS r \
    CROSS JOIN members AS m ON m.owner = unhex(r.value ->> 0) AND m.user_id = unhex(r.value ->> 1)";
/// Written so that no plan, whatever it was made on, becomes a scan of the table.
const NAMED_POSTGRES: &str = "SELECT m.owner, m.user_id, m.role, m.incarnation, m.version \
    FROM unnest($1::bytea[], $2::bytea[]) AS r (owner, user_id) CROSS JOIN LATERAL (SELECT * FROM members \
    WHERE members.owner = r.owner AND members.user_id = r.user_id LIMIT 1) AS m";
const LEARN: &str = "INSERT INTO members (owner, user_id, role, incarnation, version) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (owner, user_id) DO UPDATE SET role = excluded.role, incarnation = excluded.incarnation, \
    version = excluded.version WHERE members.incarnation < excluded.incarnation \
    OR (members.incarnation = excluded.incarnation AND members.version < excluded.version)";
const FORGET_USER: &str = "DELETE FROM members WHERE user_id = $1";
const FORGET_SOME_SQLITE: &str = "DELETE FROM members WHERE user_id = $1 AND owner IN \
    (SELECT owner FROM members WHERE user_id = $1 LIMIT $2)";
/// With an array: as a join, each row of the user's would be compared with each that is to go.
const FORGET_SOME_POSTGRES: &str = "DELETE FROM members WHERE user_id = $1 AND owner = ANY(ARRAY\
    (SELECT owner FROM members WHERE user_id = $1 LIMIT $2))";
const ORGANIZATIONS: &str = "SELECT owner FROM members WHERE user_id = $1 AND owner < $2 ORDER BY owner";
const END_BEFORE: &str = "UPDATE members SET role = NULL, incarnation = $1 WHERE incarnation < $1";

const BETWEEN: &str = "SELECT owner, user_id, role, incarnation, version FROM members \
    WHERE (owner, user_id) > ($1, $2) AND (owner, user_id) <= ($3, $4) ORDER BY owner, user_id LIMIT $5";
const DOUBT: &str = "UPDATE members SET incarnation = 0, version = 0 WHERE owner = $1 AND user_id = $2";

/// Every statement, for the test that prepares each on both engines.
#[doc(hidden)]
pub const SQLITE: &[&str] =
    &[NAMED_SQLITE, LEARN, FORGET_USER, FORGET_SOME_SQLITE, ORGANIZATIONS, END_BEFORE, BETWEEN, DOUBT];
/// The same for PostgreSQL.
#[doc(hidden)]
pub const POSTGRES: &[&str] =
    &[NAMED_POSTGRES, LEARN, FORGET_USER, FORGET_SOME_POSTGRES, ORGANIZATIONS, END_BEFORE, BETWEEN, DOUBT];

/// A membership's name.
pub type Name = (OwnerId, UserId);

type Row = (Vec<u8>, Vec<u8>, Option<Role>, i64, i64);

/// A membership's name, and the last word about it.
pub type Words = HashMap<(OwnerId, UserId), Word>;

/// What was last told of these users in these organizations, in a transaction. Whoever is missing was never heard of.
/// One round trip, however many; name each once.
pub async fn named(tx: &mut Tx, members: &[(OwnerId, UserId)]) -> Result<Words, DbError> {
    match tx {
        Tx::Sqlite(t) => named_sqlite(&mut *t, members).await,
        Tx::Postgres(t) => named_postgres(&mut *t, members).await,
    }
}

/// The same outside of any transaction.
pub async fn named_now(db: &Db, members: &[(OwnerId, UserId)]) -> Result<Words, DbError> {
    match db {
        Db::Sqlite { read, .. } => named_sqlite(&mut read.acquire().await?, members).await,
        Db::Postgres(pool) => named_postgres(&mut pool.acquire().await?, members).await,
    }
}

async fn named_sqlite(connection: &mut Limited<Sqlite>, members: &[(OwnerId, UserId)]) -> Result<Words, DbError> {
    let pairs: Vec<String> = members
        .iter()
        .map(|(owner, user)| json::list([owner.to_bytes().as_slice(), user.as_uuid().as_bytes()]))
        .collect();
    let pairs = format!("[{}]", pairs.join(","));
    words(sqlx::query_as(NAMED_SQLITE).bind(pairs).fetch_all(connection).await?)
}

async fn named_postgres(connection: &mut Limited<Postgres>, members: &[(OwnerId, UserId)]) -> Result<Words, DbError> {
    let (owners, users): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
        members.iter().map(|(owner, user)| (owner.to_bytes().to_vec(), user.as_uuid().as_bytes().to_vec())).unzip();
    words(sqlx::query_as(NAMED_POSTGRES).bind(owners).bind(users).fetch_all(connection).await?)
}

fn words(rows: Vec<Row>) -> Result<Words, DbError> {
    rows.into_iter().map(word).collect()
}

fn word((owner, user, role, incarnation, version): Row) -> Result<(Name, Word), DbError> {
    let owner = OwnerId::from_bytes(&owner).ok_or_else(|| unreadable("an owner of members is none"))?;
    let user = uuid::Uuid::from_slice(&user).map_err(unreadable)?;
    let incarnation = u64::try_from(incarnation).map_err(unreadable)?;
    let version = u64::try_from(version).map_err(unreadable)?;
    Ok(((owner, UserId::from_uuid(user)), Word { role, incarnation, version }))
}

/// Remembers a word, unless a later one is known.
pub async fn learn(tx: &mut Tx, owner: OwnerId, user: UserId, word: Word) -> Result<(), DbError> {
    let (owner, user) = (owner.to_bytes(), user.as_uuid());
    on!(tx, c => sqlx::query(LEARN)
        .bind(owner.as_slice())
        .bind(user.as_bytes().as_slice())
        .bind(word.role)
        .bind(stored(word.incarnation))
        .bind(stored(word.version))
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Remembers what was just answered of a membership, and gives what holds: an event may have told of something later while
/// the answer was on its way.
///
/// That somebody has no role holds also where the answer names no version, or the one of the role that was told: nobody
/// belongs to an organization that is purged, though that changes no membership.
pub async fn later(tx: &mut Tx, name: Name, live: Word) -> Result<Word, DbError> {
    learn(tx, name.0, name.1, live).await?;
    let held = named(tx, &[name]).await?.remove(&name).unwrap_or(live);
    let told_since = live.version > 0 && (held.incarnation, held.version) > (live.incarnation, live.version);
    Ok(if live.role.is_none() && !told_since { Word { role: None, ..held } } else { held })
}

/// Forgets everything about a user whose account has ended.
pub async fn forget(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    let user = user.as_uuid();
    on!(tx, c => sqlx::query(FORGET_USER).bind(user.as_bytes().as_slice()).execute(c).await?.rows_affected());
    Ok(())
}

/// The same, up to `limit` memberships at a time; says how many.
pub async fn forget_some(tx: &mut Tx, user: UserId, limit: i64) -> Result<u64, DbError> {
    let user = user.as_uuid();
    let user = user.as_bytes().as_slice();
    Ok(match tx {
        Tx::Sqlite(t) => {
            let query = sqlx::query(FORGET_SOME_SQLITE).bind(user).bind(limit);
            query.execute(&mut **t).await?.rows_affected()
        }
        Tx::Postgres(t) => {
            let query = sqlx::query(FORGET_SOME_POSTGRES).bind(user).bind(limit);
            query.execute(&mut **t).await?.rows_affected()
        }
    })
}

/// The organizations in which anything was ever told of a user, in the order of their bytes.
pub async fn organizations_of(tx: &mut Tx, user: UserId) -> Result<Vec<OwnerId>, DbError> {
    // People come after all organizations.
    let (user, people) = (user.as_uuid(), [1_u8]);
    let rows: Vec<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(ORGANIZATIONS)
        .bind(user.as_bytes().as_slice())
        .bind(people.as_slice())
        .fetch_all(c)
        .await?);
    let organization =
        |(owner,): &(Vec<u8>,)| OwnerId::from_bytes(owner).ok_or_else(|| unreadable("an owner of members is none"));
    rows.iter().map(organization).collect()
}

/// Ends every membership that no word of this incarnation or a later one told of. A token that says otherwise is of an
/// earlier one.
pub(crate) async fn end_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(END_BEFORE).bind(stored(incarnation)).execute(c).await?.rows_affected());
    Ok(())
}

/// The last words about the memberships after one and up to another, in the order of their names, at most `limit`; `None`
/// is the beginning, and the end. Also of people's own accounts, which come after all organizations'.
pub async fn between(
    tx: &mut Tx,
    (after, last): (Option<Name>, Option<Name>),
    limit: i64,
) -> Result<Vec<(Name, Word)>, DbError> {
    let bytes = |name: Option<Name>, otherwise: &[u8]| match name {
        Some((owner, user)) => (owner.to_bytes().to_vec(), user.as_uuid().as_bytes().to_vec()),
        None => (otherwise.to_vec(), otherwise.to_vec()),
    };
    let ((owner, user), (last_owner, last_user)) = (bytes(after, &[]), bytes(last, &[0xff; 17]));
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(BETWEEN)
        .bind(owner)
        .bind(user)
        .bind(last_owner)
        .bind(last_user)
        .bind(limit)
        .fetch_all(c)
        .await?);
    rows.into_iter().map(word).collect()
}

/// Has any word hold against what is known of a membership, whatever its version: it is wrong. Nothing else changes until
/// one comes.
pub async fn doubt(tx: &mut Tx, (owner, user): Name) -> Result<(), DbError> {
    let (owner, user) = (owner.to_bytes(), user.as_uuid());
    on!(tx, c => sqlx::query(DOUBT)
        .bind(owner.as_slice())
        .bind(user.as_bytes().as_slice())
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// A number as it is stored; none of ours is as large as that.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unreadable(error: impl std::fmt::Display) -> DbError {
    DbError::corrupt(error.to_string())
}
