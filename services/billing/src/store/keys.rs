//! Owners, ids and lists of them, as each engine takes them.
//!
//! In the tables of the credit path an owner is 17 bytes and an id its UUID. PostgreSQL takes lists as arrays, SQLite
//! as one JSON text with bytes in hexadecimal.

use bursar_db::DbError;
use bursar_id::{Id, OwnerId, Uuid};

use super::json::JsonRows;
use super::unreadable;

/// An owner's column.
pub(crate) fn owner(owner: OwnerId) -> Vec<u8> {
    owner.to_bytes().to_vec()
}

/// Reads an owner's column.
pub(crate) fn read_owner(bytes: &[u8]) -> Result<OwnerId, DbError> {
    OwnerId::from_bytes(bytes).ok_or_else(|| unreadable("an owner's bytes are none"))
}

/// A column of owners.
pub(crate) fn owners(of: &[OwnerId]) -> Vec<Vec<u8>> {
    of.iter().copied().map(owner).collect()
}

/// The one owner of all these, if it is one.
pub(crate) fn one_owner<T>(named: &[(OwnerId, T)]) -> Option<OwnerId> {
    let (first, _) = named.first()?;
    named.iter().all(|(owner, _)| owner == first).then_some(*first)
}

/// A column of UUIDs.
pub(crate) fn uuids(named: &[(OwnerId, Uuid)]) -> Vec<Uuid> {
    named.iter().map(|(_, uuid)| *uuid).collect()
}

/// A column of ledger numbers.
pub(crate) fn numbers(named: &[(OwnerId, u64)]) -> Vec<i64> {
    named.iter().map(|(_, seq)| number(*seq)).collect()
}

/// An id's column.
pub(crate) fn uuid<K>(id: Id<K>) -> Uuid {
    id.as_uuid()
}

/// A ledger number in its stored form. Numbers are gapless, so none ever comes near the limit.
pub(crate) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Reads a ledger number.
pub(crate) fn read_number(seq: i64) -> Result<u64, DbError> {
    u64::try_from(seq).map_err(unreadable)
}

/// For SQLite: a list of owners.
pub(crate) fn owner_list(of: &[OwnerId]) -> String {
    let mut list = JsonRows::with_capacity(of.len() * 38);
    for owner in of {
        list.hex(&owner.to_bytes());
    }
    list.finish()
}

/// For SQLite: a list of (owner, ledger number).
pub(crate) fn number_list(of: &[(OwnerId, u64)]) -> String {
    let mut rows = JsonRows::with_capacity(of.len() * 60);
    for (owner, seq) in of {
        rows.row(|row| {
            row.hex(&owner.to_bytes()).number(number(*seq));
        });
    }
    rows.finish()
}

/// For PostgreSQL: the same as two columns.
pub(crate) fn number_columns(of: &[(OwnerId, u64)]) -> (Vec<Vec<u8>>, Vec<i64>) {
    of.iter().map(|(of, seq)| (owner(*of), number(*seq))).unzip()
}

/// For SQLite: a list of (owner, UUID).
pub(crate) fn uuid_list(of: &[(OwnerId, Uuid)]) -> String {
    let mut rows = JsonRows::with_capacity(of.len() * 74);
    for (owner, uuid) in of {
        rows.row(|row| {
            row.hex(&owner.to_bytes()).hex(uuid.as_bytes());
        });
    }
    rows.finish()
}

/// For PostgreSQL: the same as two columns.
pub(crate) fn uuid_columns(of: &[(OwnerId, Uuid)]) -> (Vec<Vec<u8>>, Vec<Uuid>) {
    of.iter().map(|(of, uuid)| (owner(*of), *uuid)).unzip()
}
