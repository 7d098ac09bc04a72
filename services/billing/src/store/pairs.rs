//! Lists of (owner, something) pairs, as each engine takes them.

use std::fmt::Display;

use bursar_id::OwnerId;

use super::json::JsonRows;

/// For SQLite: a list of two-element lists.
pub(crate) fn json<T: Display>(pairs: &[(OwnerId, T)]) -> String {
    let mut rows = JsonRows::with_capacity(pairs.len() * 70);
    for (owner, other) in pairs {
        rows.row(|row| {
            row.word(owner).text(&other.to_string());
        });
    }
    rows.finish()
}

/// For PostgreSQL: two columns.
pub(crate) fn columns<T: Display>(pairs: &[(OwnerId, T)]) -> (Vec<OwnerId>, Vec<String>) {
    pairs.iter().map(|(owner, other)| (*owner, other.to_string())).unzip()
}
