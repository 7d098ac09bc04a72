//! What a payment provider has told by itself: its webhooks.

use bursar_db::{Db, DbError, Tx, exactly_one, on};
use bursar_id::PaymentId;
use bursar_time::{Span, Timestamp};

use super::unreadable;

/// How long an event is remembered that was settled. The provider signs each delivery anew, and repeats one for days;
/// one that comes later than this is worked off once more, which changes nothing.
pub(crate) const KEEP: Span = Span::from_days(30);

const PUT: &str = "INSERT INTO webhooks (id, kind, state, body, deliveries, problem, received_at, settled_at) \
     VALUES ($1, $2, $3, $4, 1, $5, $6, $7) \
     ON CONFLICT (id) DO UPDATE SET deliveries = webhooks.deliveries + 1 RETURNING state, deliveries";
const AGAIN: &str = "UPDATE webhooks SET state = 'WAITING', body = COALESCE($2, body), problem = NULL, settled_at = NULL \
     WHERE id = $1 AND state = 'ASIDE' AND COALESCE($2, body) IS NOT NULL";
const WAITING: &str = "SELECT kind, body FROM webhooks WHERE id = $1 AND state = 'WAITING'";
const SETTLE: &str = "UPDATE webhooks SET state = $2, problem = $3, settled_at = $4, \
     body = CASE WHEN $2 = 'ASIDE' THEN body END WHERE id = $1 AND state = 'WAITING'";
const ASIDE: &str = "SELECT id, kind, problem, received_at, deliveries FROM webhooks WHERE state = 'ASIDE' \
     AND received_at >= $1 ORDER BY received_at, id LIMIT $2";
const DROP: &str =
    "UPDATE webhooks SET state = 'IGNORED', body = NULL, settled_at = $2 WHERE id = $1 AND state = 'ASIDE'";
/// One that an earlier program has heard decided has no name, and what is heard of later may be another one.
const TAKE: &str = "UPDATE payments SET dispute_id = $2 WHERE id = $1 \
     AND (dispute_id = $2 OR (dispute_id IS NULL AND dispute NOT IN ('WON', 'LOST')))";
/// Up to the age of the last of so many: more only of one age.
const FORGET: &str = "DELETE FROM webhooks WHERE settled_at <= (SELECT MAX(oldest.settled_at) FROM \
     (SELECT settled_at FROM webhooks WHERE settled_at < $1 ORDER BY settled_at LIMIT $2) AS oldest)";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 8] = [
    ("PUT", PUT),
    ("AGAIN", AGAIN),
    ("WAITING", WAITING),
    ("SETTLE", SETTLE),
    ("ASIDE", ASIDE),
    ("DROP", DROP),
    ("TAKE", TAKE),
    ("FORGET", FORGET),
];

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookState {
    /// A job will work it off.
    Waiting,
    /// It was.
    Done,
    /// It is about nothing that matters here.
    Ignored,
    /// Somebody has to look at it.
    Aside,
}

impl WebhookState {
    /// Whether nobody has to do anything about it any more.
    fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Ignored)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Done => "DONE",
            Self::Ignored => "IGNORED",
            Self::Aside => "ASIDE",
        }
    }
}

/// An event that has come.
#[derive(Clone)]
pub(crate) struct NewWebhook<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) state: WebhookState,
    pub(crate) body: Option<&'a str>,
    pub(crate) problem: Option<&'a str>,
}

/// An event that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WebhookAside {
    /// The provider's id of it.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Why.
    pub problem: Option<String>,
    /// When it came first.
    pub received_at: Timestamp,
    /// How often it has come.
    pub deliveries: i64,
}

/// Writes down that an event has come. Whether it is to be worked off: not if it came before, unless it was set aside and comes
/// in a form that can be read.
pub(crate) async fn put(tx: &mut Tx, new: &NewWebhook<'_>, now: Timestamp) -> Result<bool, DbError> {
    let settled_at = new.state.is_settled().then_some(now);
    let (state, deliveries): (String, i64) = on!(tx, c => sqlx::query_as(PUT)
        .bind(new.id).bind(new.kind).bind(new.state.as_str()).bind(new.body).bind(new.problem).bind(now).bind(settled_at)
        .fetch_one(c).await?);
    if deliveries == 1 {
        return Ok(new.state == WebhookState::Waiting);
    }
    if state != WebhookState::Aside.as_str() || new.state != WebhookState::Waiting {
        return Ok(false);
    }
    again(tx, new.id, new.body).await
}

/// Has an event worked off that was set aside, as it is or as it came again. `false`: there is none such, or nothing is kept of
/// it.
pub(crate) async fn again(tx: &mut Tx, id: &str, body: Option<&str>) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(AGAIN).bind(id).bind(body).execute(c).await?.rows_affected()) == 1)
}

/// The type of an event that waits, and what is kept of it.
pub(crate) async fn waiting(tx: &mut Tx, id: &str) -> Result<Option<(String, String)>, DbError> {
    let row: Option<(String, Option<String>)> = on!(tx, c => sqlx::query_as(WAITING).bind(id).fetch_optional(c).await?);
    let lacks = || unreadable("an event waits of which nothing is kept");
    row.map(|(kind, body)| Ok((kind, body.ok_or_else(lacks)?))).transpose()
}

/// Says what became of an event that waits. Somebody else may have said so before.
pub(crate) async fn settle(
    tx: &mut Tx,
    id: &str,
    (state, problem): (WebhookState, Option<&str>),
    now: Timestamp,
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(SETTLE)
        .bind(id).bind(state.as_str()).bind(problem).bind(state.is_settled().then_some(now)).execute(c).await?.rows_affected());
    Ok(())
}

/// What is set aside, the oldest first, at most so many.
pub(crate) async fn aside(tx: &mut Tx, most: i64) -> Result<Vec<WebhookAside>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(ASIDE).bind(Timestamp::MIN).bind(most).fetch_all(c).await?))
}

/// Has an event that was set aside be one that does not matter.
pub(crate) async fn discard(tx: &mut Tx, id: &str, now: Timestamp) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(DROP).bind(id).bind(now).execute(c).await?.rows_affected()))
}

/// Has a payment's dispute be this one, by the provider's name for it, if it has none yet. Whether it is this one.
pub(crate) async fn take_dispute(tx: &mut Tx, payment: PaymentId, dispute: &str) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(TAKE).bind(payment).bind(dispute).execute(c).await?.rows_affected()) == 1)
}

/// Forgets events that were settled longer than [`KEEP`] ago, in small transactions; how many. What is set aside stays.
pub(crate) async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    bursar_db::forget_before(db, FORGET, now.saturating_sub(KEEP)).await
}

#[cfg(test)]
mod tests {
    use bursar_testkit::{at, engines};

    use super::*;
    use crate::store::MIGRATIONS;

    const NOW: &str = "2026-01-15T12:00:00Z";

    fn new(id: &'static str, state: WebhookState) -> NewWebhook<'static> {
        NewWebhook { id, kind: "payment_intent.succeeded", state, body: Some("{}"), problem: None }
    }

    engines! {
        async fn an_event_is_worked_off_once_and_looked_at_again_when_it_was_set_aside(db: TestDb) {
            let db = db.open(&MIGRATIONS).await;
            let mut tx = db.begin().await.unwrap();
            let event = new("evt_1", WebhookState::Waiting);
            let puts = [true, false, false];
            for expected in puts {
                assert_eq!(put(&mut tx, &event, at(NOW)).await.unwrap(), expected);
            }
            assert!(waiting(&mut tx, "evt_1").await.unwrap().is_some());
            settle(&mut tx, "evt_1", (WebhookState::Aside, Some("why")), at(NOW)).await.unwrap();
            assert_eq!(waiting(&mut tx, "evt_1").await.unwrap(), None);
            let there = aside(&mut tx, 10).await.unwrap();
            assert_eq!((there.len(), there[0].problem.as_deref(), there[0].deliveries), (1, Some("why"), 3));
            assert!(put(&mut tx, &event, at(NOW)).await.unwrap(), "sent again, it is looked at again");
            settle(&mut tx, "evt_1", (WebhookState::Done, None), at(NOW)).await.unwrap();
            assert!(!put(&mut tx, &event, at(NOW)).await.unwrap());
            assert!(!again(&mut tx, "evt_1", None).await.unwrap(), "it is done");
            assert!(discard(&mut tx, "evt_1", at(NOW)).await.is_err());
            let unread = NewWebhook { body: None, ..new("evt_2", WebhookState::Aside) };
            assert!(!put(&mut tx, &unread, at(NOW)).await.unwrap());
            assert!(!again(&mut tx, "evt_2", None).await.unwrap(), "nothing is kept of it");
            assert!(put(&mut tx, &new("evt_2", WebhookState::Waiting), at(NOW)).await.unwrap());
            tx.commit().await.unwrap();
        }

        async fn what_is_settled_is_forgotten_and_what_is_set_aside_stays(db: TestDb) {
            let db = db.open(&MIGRATIONS).await;
            let mut tx = db.begin().await.unwrap();
            for event in [
                new("evt_1", WebhookState::Ignored),
                new("evt_2", WebhookState::Aside),
                new("evt_3", WebhookState::Waiting),
            ] {
                put(&mut tx, &event, at(NOW)).await.unwrap();
            }
            tx.commit().await.unwrap();
            let later = at(NOW).saturating_add(KEEP);
            assert_eq!(forget(&db, later).await.unwrap(), 0);
            let later = later.saturating_add(Span::SECOND);
            assert_eq!(forget(&db, later).await.unwrap(), 1);
            let mut tx = db.begin().await.unwrap();
            assert_eq!(aside(&mut tx, 10).await.unwrap().len(), 1);
            discard(&mut tx, "evt_2", at(NOW)).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(forget(&db, later).await.unwrap(), 1);
        }
    }
}
