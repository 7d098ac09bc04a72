//! Who has a subscription, and who had it: the same one is with each owner to whom it has moved. And when one that had ended with
//! its owner went on again.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_time::Timestamp;

use super::sql::Both;
use super::{column, unreadable};
use crate::domain::{Prepaid, Subscription};

/// A clock that stands still may say it twice of one end.
const NOTE_RETURN: &str = "INSERT INTO subscription_returns (subscription_id, owner, ended_at, returned_at) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (subscription_id, owner, ended_at) DO UPDATE SET returned_at = excluded.returned_at";

pub(super) const STAYS: Both = Both {
    sqlite: "SELECT id, owner, prepaid, ended_at FROM subscriptions WHERE id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT id, owner, prepaid, ended_at FROM subscriptions WHERE id = ANY ($1::text[])",
};

pub(super) const RETURNS: Both = Both {
    sqlite: "SELECT subscription_id, ended_at, returned_at FROM subscription_returns \
        WHERE subscription_id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT subscription_id, ended_at, returned_at FROM subscription_returns \
        WHERE subscription_id = ANY ($1::text[])",
};

/// Every statement here that is the same on both engines, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 1] = [("NOTE_RETURN", NOTE_RETURN)];

/// A subscription with one of those who have it, or had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stay {
    /// Which one.
    pub(crate) subscription: SubscriptionId,
    /// Whose it is, or was.
    pub(crate) owner: OwnerId,
    /// Until when it is paid for there; as in [`Subscription::prepaid`].
    pub(crate) prepaid: Option<Prepaid>,
    /// When it ended there, or moved on.
    pub(crate) ended_at: Option<Timestamp>,
}

type Row = (SubscriptionId, OwnerId, Option<String>, Option<Timestamp>);

/// Notes that a subscription, as it was when it had ended with its owner, goes on since `at`.
pub(crate) async fn note_return(tx: &mut Tx, ended: &Subscription, at: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(NOTE_RETURN)
        .bind(ended.id).bind(ended.owner).bind(ended.ended_at).bind(at)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// These subscriptions with each of their owners, in any order.
pub(crate) async fn stays(tx: &mut Tx, of: &[SubscriptionId]) -> Result<Vec<Stay>, DbError> {
    let rows: Vec<Row> = match tx {
        Tx::Sqlite(t) => sqlx::query_as(STAYS.sqlite).bind(list(of)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => {
            sqlx::query_as(STAYS.postgres).bind(column(of, ToString::to_string)).fetch_all(&mut **t).await?
        }
    };
    rows.into_iter().map(read).collect()
}

fn read((subscription, owner, prepaid, ended_at): Row) -> Result<Stay, DbError> {
    let prepaid = prepaid.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?;
    Ok(Stay { subscription, owner, prepaid, ended_at })
}

/// From when until when these had ended, each time that one of them went on again, in any order.
pub(crate) async fn returns(
    tx: &mut Tx,
    of: &[SubscriptionId],
) -> Result<Vec<(SubscriptionId, Timestamp, Timestamp)>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(RETURNS.sqlite).bind(list(of)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => {
            sqlx::query_as(RETURNS.postgres).bind(column(of, ToString::to_string)).fetch_all(&mut **t).await?
        }
    })
}

/// Ids as SQLite takes a list.
fn list(of: &[SubscriptionId]) -> String {
    serde_json::Value::from(column(of, ToString::to_string)).to_string()
}
