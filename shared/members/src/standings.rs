//! Rows of `standings`: how organizations and people stand, as organization's and identity's events told last.
//!
//! Organization's and identity's own stores hold the standings of what is theirs elsewhere; this table is what each knows of
//! the other's.

use std::collections::HashMap;

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::{OwnerId, UserId};

use crate::named::{Named, Row};
use crate::standing::Standing;
use crate::words::stored;

const NAMED: Named = Named {
    sqlite: "SELECT owner, standing FROM standings WHERE owner IN (SELECT unhex(value) FROM json_each($1)) \
        AND standing <> 'ACTIVE'",
    postgres: "SELECT owner, standing FROM standings WHERE owner = any($1) AND standing <> 'ACTIVE'",
};
const LEARN: &str = "INSERT INTO standings (owner, standing, incarnation, version) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (owner) DO UPDATE SET standing = excluded.standing, incarnation = excluded.incarnation, \
    version = excluded.version WHERE standings.incarnation < excluded.incarnation \
    OR (standings.incarnation = excluded.incarnation AND standings.version < excluded.version)";
const FORGET: &str = "DELETE FROM standings WHERE owner = $1";
/// A range of owners is a kind of them: its first byte.
const FORGET_BEFORE: &str = "DELETE FROM standings WHERE owner >= $1 AND owner < $2 AND incarnation < $3";
const BETWEEN: &str = "SELECT owner, standing, version FROM standings WHERE owner > $1 AND owner <= $2 \
    ORDER BY owner LIMIT $3";
const DOUBT: &str = "UPDATE standings SET incarnation = 0, version = 0 WHERE owner = $1";

/// Of people.
const SUSPENDED: &str = "SELECT owner FROM standings WHERE owner > $1 AND owner < $2 AND standing = 'SUSPENDED' \
    ORDER BY owner LIMIT $3";

/// Every statement, for the test that prepares each on both engines.
#[doc(hidden)]
pub const SQLITE: &[&str] = &[NAMED.sqlite, LEARN, FORGET, FORGET_BEFORE, SUSPENDED, BETWEEN, DOUBT];
/// The same for PostgreSQL.
#[doc(hidden)]
pub const POSTGRES: &[&str] = &[NAMED.postgres, LEARN, FORGET, FORGET_BEFORE, SUSPENDED, BETWEEN, DOUBT];

/// The standings of those owners that are not active.
pub type Standings = HashMap<OwnerId, Standing>;

/// How these owners stand, in a transaction: whoever is missing is active. One round trip, however many.
pub async fn of(tx: &mut Tx, owners: &[OwnerId]) -> Result<Standings, DbError> {
    standings(NAMED.of(tx, keys(owners)).await?)
}

/// The same outside of any transaction.
pub async fn of_now(db: &Db, owners: &[OwnerId]) -> Result<Standings, DbError> {
    standings(NAMED.of_now(db, keys(owners)).await?)
}

fn keys(owners: &[OwnerId]) -> Vec<Vec<u8>> {
    owners.iter().map(|owner| owner.to_bytes().to_vec()).collect()
}

fn standings(rows: Vec<Row>) -> Result<Standings, DbError> {
    rows.into_iter().map(|(owner, standing)| read(&owner, &standing)).collect()
}

fn read(owner: &[u8], standing: &str) -> Result<(OwnerId, Standing), DbError> {
    let owner = OwnerId::from_bytes(owner).ok_or_else(|| DbError::corrupt("an owner of standings is none"))?;
    let standing = Standing::of_word(standing).ok_or_else(|| DbError::corrupt(format!("the standing of {owner}")))?;
    Ok((owner, standing))
}

/// What is known of the owners after one and up to another, active ones too, with the version of the word, in the order of
/// their bytes (organizations first), at most `limit`; `None` is the beginning, and the end.
pub async fn between(
    tx: &mut Tx,
    (after, last): (Option<OwnerId>, Option<OwnerId>),
    limit: i64,
) -> Result<Vec<(OwnerId, Standing, u64)>, DbError> {
    let after = after.map_or_else(Vec::new, |owner| owner.to_bytes().to_vec());
    let last = last.map_or_else(|| vec![0xff; 17], |owner| owner.to_bytes().to_vec());
    let rows: Vec<(Vec<u8>, String, i64)> =
        on!(tx, c => sqlx::query_as(BETWEEN).bind(after).bind(last).bind(limit).fetch_all(c).await?);
    let told = |(owner, standing, version): (Vec<u8>, String, i64)| {
        read(&owner, &standing).map(|(owner, standing)| (owner, standing, version.unsigned_abs()))
    };
    rows.into_iter().map(told).collect()
}

/// Has any word hold against what is known of how an owner stands: it is wrong. Nothing else changes until one comes.
pub async fn doubt(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(DOUBT).bind(owner.to_bytes().as_slice()).execute(c).await?.rows_affected());
    Ok(())
}

/// The people who are suspended, after one, in the order of their ids, at most `limit`.
pub(crate) async fn suspended(tx: &mut Tx, after: Option<UserId>, limit: u16) -> Result<Vec<UserId>, DbError> {
    let (from, to) = Kind::People.range();
    let after = after.map_or_else(|| from.to_vec(), |user| OwnerId::User(user).to_bytes().to_vec());
    let rows: Vec<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(SUSPENDED)
        .bind(after).bind(to.as_slice()).bind(i64::from(limit)).fetch_all(c).await?);
    let person = |(owner,): (Vec<u8>,)| match OwnerId::from_bytes(&owner) {
        Some(OwnerId::User(user)) => Ok(user),
        _ => Err(DbError::corrupt("a person in standings is none")),
    };
    rows.into_iter().map(person).collect()
}

/// Remembers how an owner stands, unless something later is known.
pub async fn learn(
    tx: &mut Tx,
    owner: OwnerId,
    standing: Standing,
    (incarnation, version): (u64, u64),
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(LEARN)
        .bind(owner.to_bytes().as_slice())
        .bind(standing.as_str())
        .bind(stored(incarnation))
        .bind(stored(version))
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Forgets how somebody stood whose account has ended; whether anything was known.
pub async fn forget(tx: &mut Tx, owner: OwnerId) -> Result<bool, DbError> {
    let known = on!(tx, c => sqlx::query(FORGET).bind(owner.to_bytes().as_slice()).execute(c).await?.rows_affected());
    Ok(known > 0)
}

/// Whose standings to forget: those that organization tells of, or those that identity does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Organizations,
    People,
}

impl Kind {
    /// From which bytes of an owner to which: those that begin with the kind's byte ([`OwnerId::to_bytes`]).
    const fn range(self) -> ([u8; 1], [u8; 1]) {
        match self {
            Self::Organizations => ([0], [1]),
            Self::People => ([1], [2]),
        }
    }
}

/// Forgets the standings of which no word of this incarnation or a later one told: they are active again.
pub(crate) async fn forget_before(tx: &mut Tx, kind: Kind, incarnation: u64) -> Result<(), DbError> {
    let (from, to) = kind.range();
    on!(tx, c => sqlx::query(FORGET_BEFORE)
        .bind(from.as_slice())
        .bind(to.as_slice())
        .bind(stored(incarnation))
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}
