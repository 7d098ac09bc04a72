//! Rows of `audit`, a shared table that `bursar_db::audit` writes: organization lists everybody's.

use bursar_db::audit::{AuditRow, Outcome};
use bursar_db::{DbError, Tx, on};
use bursar_id::{AuditId, OwnerId};
use bursar_time::Timestamp;

use crate::domain::audit::{Actor, Method, Target};

// Both compare and order by the whole key of the index, the owner as well: were the owner a condition of its own,
// PostgreSQL would at times walk through everybody's rows by their age instead.

/// The rows of a page that match the filters, of those from the one named by `$4` and `$5` on, newest first.
pub(super) const LIST: &str = "SELECT id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id \
    FROM audit WHERE (owner, at, id) < ($1, $2, $3) AND (owner, at, id) >= ($1, $4, $5) \
    AND ($6 = '' OR actor = $6 OR on_behalf_of = $6) \
    AND ($7 = '' OR method = $7 OR (method >= $8 AND method < $9)) \
    AND ($10 = '' OR target = $10) AND ($11 = '' OR outcome = $11) \
    ORDER BY owner DESC, at DESC, id DESC LIMIT $12";
/// The last row that a page looks at, if there are so many.
pub(super) const EDGE: &str = "SELECT at, id FROM audit WHERE (owner, at, id) < ($1, $2, $3) \
    AND (owner, at, id) >= ($1, $4, '') ORDER BY owner DESC, at DESC, id DESC LIMIT 1 OFFSET $5";

/// A row's place in the order of time.
pub type Place = (Timestamp, AuditId);

/// Which rows to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Done by this one, or in this user's name.
    pub actor: Option<Actor>,
    /// By this RPC, or by any of this service.
    pub method: Option<Method>,
    /// Done to this.
    pub target: Option<Target>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
}

impl Filter {
    /// Whether it may pass over rows between `from` and `to`.
    fn is_picky(&self) -> bool {
        self.actor.is_some() || self.method.is_some() || self.target.is_some() || self.outcome.is_some()
    }

    /// Before which place the page after `after` begins.
    fn before(&self, after: Option<&Place>) -> (Timestamp, String) {
        match after {
            Some((at, id)) => (*at, id.to_string()),
            None => (self.to.unwrap_or(Timestamp::MAX), String::new()),
        }
    }
}

/// What was found of a page.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rows, newest first.
    pub rows: Vec<AuditRow>,
    /// The last place that was looked at, where there may be more behind it.
    pub edge: Option<Place>,
}

/// Up to `limit` of an owner's rows that match, after a place in the order from the newest to the oldest. Looks at no more
/// than `scan` rows, however few match.
pub async fn list(
    tx: &mut Tx,
    owner: OwnerId,
    filter: &Filter,
    after: Option<&Place>,
    (limit, scan): (i64, i64),
) -> Result<Found, DbError> {
    let (at, id) = filter.before(after);
    let from = filter.from.unwrap_or(Timestamp::MIN);
    let edge: Option<Place> = if filter.is_picky() {
        on!(tx, c => sqlx::query_as(EDGE)
            .bind(owner).bind(at).bind(&id).bind(from).bind(scan - 1).fetch_optional(c).await?)
    } else {
        None
    };
    let (last_at, last_id) = edge.map_or_else(|| (from, String::new()), |(at, id)| (at, id.to_string()));
    let actor = filter.actor.as_ref().map_or("", Actor::as_str);
    let method = filter.method.as_ref().map_or("", Method::as_str);
    let (first, end) = filter.method.as_ref().map(Method::range).unwrap_or_default();
    let target = filter.target.as_ref().map_or("", Target::as_str);
    let outcome = filter.outcome.map_or("", Outcome::as_str);
    let rows = on!(tx, c => sqlx::query_as(LIST)
        .bind(owner).bind(at).bind(&id).bind(last_at).bind(&last_id)
        .bind(actor).bind(method).bind(&first).bind(&end).bind(target).bind(outcome).bind(limit)
        .fetch_all(c).await?);
    Ok(Found { rows, edge })
}
