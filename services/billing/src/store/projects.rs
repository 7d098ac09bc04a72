//! Which projects owners have: what organization told last of each. One that is gone stays, so that no earlier word that comes
//! late brings it back.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx, on};
use bursar_id::{Id, OwnerId, ProjectId, Uuid};

use super::json::JsonRows;
use super::keys;
use super::sql::Both;

const FIND: &str = "SELECT deleted FROM projects WHERE owner = $1 AND id = $2";
/// The order of the table's key; by its first column, too, that every plan may begin there.
const MADE_AFTER: &str = "SELECT owner, id FROM projects WHERE owner >= $1 AND (owner, id) > ($1, $2) AND deleted = 0
     ORDER BY owner, id LIMIT $3";
const FORGET_ALL: &str = "DELETE FROM projects WHERE owner = $1";
const FORGET_BEFORE: &str = "DELETE FROM projects WHERE incarnation < $1";

macro_rules! learn {
    ($rows:literal) => {
        concat!(
            "INSERT INTO projects (owner, id, deleted, incarnation) ",
            $rows,
            " ON CONFLICT (owner, id) DO UPDATE SET deleted = excluded.deleted, incarnation = excluded.incarnation
             WHERE projects.incarnation < excluded.incarnation
                 OR (projects.incarnation = excluded.incarnation AND projects.deleted < excluded.deleted)"
        )
    };
}

pub(super) const LEARN: Both = Both {
    sqlite: learn!("SELECT $1, unhex(value), $3, $4 FROM json_each($2) WHERE true"),
    postgres: learn!("SELECT $1, u.id, $3, $4 FROM unnest($2::uuid[]) AS u (id)"),
};
pub(super) const FORGET: Both = Both {
    sqlite: "DELETE FROM projects WHERE owner = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
    postgres: "DELETE FROM projects WHERE owner = $1 AND id = ANY ($2::uuid[])",
};

/// Every statement here that is the same on both engines, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 4] =
    [("FIND", FIND), ("MADE_AFTER", MADE_AFTER), ("FORGET_ALL", FORGET_ALL), ("FORGET_BEFORE", FORGET_BEFORE)];

/// What becomes of a project, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was made.
    Made,
    /// It is gone.
    Deleted,
}

/// Remembers what was told of an owner's projects in this incarnation, of each unless something later is known.
pub(crate) async fn learn(
    tx: &mut Tx,
    (owner, ids): (OwnerId, &[ProjectId]),
    fate: Fate,
    incarnation: u64,
) -> Result<(), DbError> {
    let (owner, ids) = (keys::owner(owner), each_once(ids));
    let (deleted, incarnation) = (i64::from(fate == Fate::Deleted), stored(incarnation));
    match tx {
        Tx::Sqlite(t) => {
            let learn = sqlx::query(LEARN.sqlite).bind(owner).bind(list(&ids)).bind(deleted).bind(incarnation);
            learn.execute(&mut **t).await?;
        }
        Tx::Postgres(t) => {
            let learn = sqlx::query(LEARN.postgres).bind(owner).bind(ids).bind(deleted).bind(incarnation);
            learn.execute(&mut **t).await?;
        }
    }
    Ok(())
}

/// What was last told of an owner's project; `None` when it was never heard of.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId, id: ProjectId) -> Result<Option<Fate>, DbError> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(FIND).bind(keys::owner(owner)).bind(keys::uuid(id))
        .fetch_optional(c).await?);
    Ok(row.map(|(deleted,)| if deleted == 0 { Fate::Made } else { Fate::Deleted }))
}

/// The projects that there are after the given one, whosever they are, in the order of owners and ids.
pub(crate) async fn made_after(
    tx: &mut Tx,
    after: Option<(OwnerId, ProjectId)>,
    limit: i64,
) -> Result<Vec<(OwnerId, ProjectId)>, DbError> {
    let (owner, id) =
        after.map_or_else(|| (Vec::new(), Uuid::nil()), |(owner, id)| (keys::owner(owner), keys::uuid(id)));
    let rows: Vec<(Vec<u8>, Uuid)> =
        on!(tx, c => sqlx::query_as(MADE_AFTER).bind(owner).bind(id).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(|(owner, id)| Ok((keys::read_owner(&owner)?, Id::from_uuid(id)))).collect()
}

/// Forgets what was told of an owner's projects, so that whatever is told next counts.
pub(crate) async fn forget(tx: &mut Tx, owner: OwnerId, ids: &[ProjectId]) -> Result<(), DbError> {
    let (owner, ids) = (keys::owner(owner), each_once(ids));
    match tx {
        Tx::Sqlite(t) => {
            sqlx::query(FORGET.sqlite).bind(owner).bind(list(&ids)).execute(&mut **t).await?;
        }
        Tx::Postgres(t) => {
            sqlx::query(FORGET.postgres).bind(owner).bind(ids).execute(&mut **t).await?;
        }
    }
    Ok(())
}

/// Forgets all projects of an owner who is gone.
pub(crate) async fn forget_all(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET_ALL).bind(keys::owner(owner)).execute(c).await?.rows_affected());
    Ok(())
}

/// Forgets the projects of which no word of this incarnation or a later one told.
pub(crate) async fn forget_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET_BEFORE).bind(stored(incarnation)).execute(c).await?.rows_affected());
    Ok(())
}

fn stored(incarnation: u64) -> i64 {
    i64::try_from(incarnation).unwrap_or(i64::MAX)
}

/// The projects' columns: a statement may write no row twice, and whoever writes many does so in one order.
fn each_once(ids: &[ProjectId]) -> Vec<Uuid> {
    let ids: BTreeSet<Uuid> = ids.iter().map(|id| keys::uuid(*id)).collect();
    ids.into_iter().collect()
}

/// For SQLite: the same as one text.
fn list(ids: &[Uuid]) -> String {
    let mut list = JsonRows::with_capacity(ids.len() * 36);
    for id in ids {
        list.hex(id.as_bytes());
    }
    list.finish()
}
