//! Events that could not be read, or that the store refuses for good, or again and again while it takes others: set aside, so
//! that one of them stops neither the feed nor anybody but its owner.
//!
//! An event that is set aside means that what this service knows of the event's owner may be wrong: that owner is
//! *doubted* ([`Feed::doubts`](crate::Feed::doubts)), where its type is one that answers rest on
//! ([`Feed::resting_on`](crate::Feed::resting_on)), until
//!
//! - a program that can read it applies it after all: each program tries once what it finds set aside, so an upgrade is
//!   enough (those that overran one after the other and with rests, since new events wait meanwhile);
//! - a later event tells all that it may have told ([`Consumer::WHOLE`](crate::Consumer::WHOLE));
//! - a snapshot tells the whole state anew;
//! - an operator drops it, or has it tried again ([`discard`], [`try_again`]; the command `events` of each program).
//!
//! An event whose envelope names no owner that can be read belongs to nobody in particular: it may concern every
//! organization, so it counts against all of them.

use std::collections::HashSet;

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::OwnerId;
use bursar_proto::event::v1::Event;
use bursar_time::Timestamp;
use prost::Message as _;

/// The most that are listed at once, and the most by which owners are told apart: with more than that of one source,
/// everybody is doubted.
const LISTED: i64 = 1_000;

const PUT: &str = "INSERT INTO events_set_aside (source, id, owner, type, problem, event, set_aside_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (source, id) DO NOTHING";
const CLEAR: &str = "DELETE FROM events_set_aside WHERE source = $1";
/// SQLite deletes from a table without row ids by the primary key unless it is told by which key to find them.
const CLEAR_TYPE: &str = "DELETE FROM events_set_aside WHERE source = $1 AND id IN \
    (SELECT id FROM events_set_aside WHERE source = $1 AND type = $2)";
const LIST: &str = "SELECT source, id, owner, type, problem, set_aside_at FROM events_set_aside \
    ORDER BY set_aside_at, source, id LIMIT $1";
const OF_SOURCE: &str = "SELECT source, id, owner, type, problem, set_aside_at FROM events_set_aside \
    WHERE source = $1 ORDER BY set_aside_at, id LIMIT $2";
const OF_TYPE: &str = "SELECT source, id, owner, type, problem, set_aside_at FROM events_set_aside \
    WHERE source = $1 AND type = $2 ORDER BY set_aside_at, id LIMIT $3";
const FIND: &str = "SELECT event FROM events_set_aside WHERE source = $1 AND id = $2";
const STILL: &str = "UPDATE events_set_aside SET problem = $3 WHERE source = $1 AND id = $2";
const REMOVE: &str = "DELETE FROM events_set_aside WHERE source = $1 AND id = $2";
const MADE_UP_FOR: &str = "DELETE FROM events_set_aside WHERE source = $1 AND id IN \
    (SELECT id FROM events_set_aside WHERE source = $1 AND owner = $2 AND type = $3)";
const DROP: &str = "DELETE FROM events_set_aside WHERE id = $1";
const AGAIN: &str = "UPDATE events_set_aside SET set_aside_at = CASE WHEN set_aside_at < $2 THEN $2 \
    ELSE set_aside_at + 1 END WHERE id = $1";

/// An event that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SetAside {
    /// The service that told of it.
    pub source: String,
    /// The event's id.
    pub id: String,
    /// Whom it counts against: the text of an owner id, or empty for every organization, where its envelope named no
    /// owner that can be read.
    pub owner: String,
    /// Its type.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// What was wrong with it when it was last tried.
    pub problem: String,
    /// When it was set aside, or an operator last asked for it to be tried again.
    pub set_aside_at: Timestamp,
}

/// What is set aside in a store, the oldest first, at most 1,000.
pub async fn list(tx: &mut Tx) -> Result<Vec<SetAside>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LIST).bind(LISTED).fetch_all(c).await?))
}

/// Drops an event for good: its owner is doubted no more, and whatever it told of is never known here. `false`: there is
/// no such event.
pub async fn discard(tx: &mut Tx, id: &str) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(DROP).bind(id).execute(c).await?.rows_affected()) > 0)
}

/// Has the programs that run try an event once more. `false`: there is no such event.
pub async fn try_again(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(AGAIN).bind(id).bind(now).execute(c).await?.rows_affected()) > 0)
}

/// What is set aside of a source, as far as it is looked at at once.
pub(crate) async fn of_source(db: &Db, source: &str) -> Result<Vec<SetAside>, DbError> {
    Ok(match db {
        Db::Sqlite { read, .. } => {
            sqlx::query_as(OF_SOURCE).bind(source).bind(LISTED).fetch_all(&mut read.acquire().await?).await?
        }
        Db::Postgres(pool) => {
            sqlx::query_as(OF_SOURCE).bind(source).bind(LISTED).fetch_all(&mut pool.acquire().await?).await?
        }
    })
}

/// Whether what is known of an owner may be wrong, as the store has it: something of these types of a source's is set aside that
/// concerns the owner. For a program that follows nobody; of whoever does the feed says so.
pub async fn concerns(tx: &mut Tx, source: &str, types: &[&str], owner: OwnerId) -> Result<bool, DbError> {
    Ok(Owners::of(&of_types(tx, source, types).await?).concern(owner))
}

/// Whom what is set aside of a source puts in doubt, where answers rest on these types, or on all when there are none.
pub(crate) async fn doubts(db: &Db, source: &str, types: &[&str], set_aside: &[SetAside]) -> Result<Doubts, DbError> {
    if types.is_empty() {
        return Ok(Doubts::of(set_aside, set_aside));
    }
    let weighty = if is_cut_off(set_aside) {
        // Those of other types must not hide them.
        of_types(&mut db.read().await?, source, types).await?
    } else {
        set_aside.iter().filter(|it| types.contains(&it.kind.as_str())).cloned().collect()
    };
    Ok(Doubts::of(set_aside, &weighty))
}

async fn of_types(tx: &mut Tx, source: &str, types: &[&str]) -> Result<Vec<SetAside>, DbError> {
    let mut all = Vec::new();
    for kind in types {
        let found: Vec<SetAside> = on!(&mut *tx, c => sqlx::query_as(OF_TYPE)
            .bind(source)
            .bind(*kind)
            .bind(LISTED)
            .fetch_all(c)
            .await?);
        all.extend(found);
    }
    Ok(all)
}

/// Whether there may be more than these.
fn is_cut_off(set_aside: &[SetAside]) -> bool {
    i64::try_from(set_aside.len()).is_ok_and(|count| count >= LISTED)
}

/// Sets an event aside.
pub(crate) async fn put(
    tx: &mut Tx,
    source: &str,
    event: &Event,
    problem: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    // Text that names nobody is nobody's.
    let owner = if event.owner.parse::<OwnerId>().is_ok() { event.owner.as_str() } else { "" };
    on!(tx, c => sqlx::query(PUT)
        .bind(source)
        .bind(&event.id)
        .bind(owner)
        .bind(&event.r#type)
        .bind(problem)
        .bind(event.encode_to_vec())
        .bind(now)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// An event as it was set aside; `None` when it is not (any more).
pub(crate) async fn find(tx: &mut Tx, source: &str, id: &str) -> Result<Option<Event>, DbError> {
    let row: Option<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(FIND).bind(source).bind(id).fetch_optional(c).await?);
    row.map(|(event,)| Event::decode(event.as_slice()).map_err(|error| DbError::corrupt(error.to_string()))).transpose()
}

/// It still cannot be applied, for this reason.
pub(crate) async fn still(tx: &mut Tx, source: &str, id: &str, problem: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(STILL).bind(source).bind(id).bind(problem).execute(c).await?.rows_affected());
    Ok(())
}

/// It was applied after all.
pub(crate) async fn remove(tx: &mut Tx, source: &str, id: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(REMOVE).bind(source).bind(id).execute(c).await?.rows_affected());
    Ok(())
}

/// A later event of this type has told all that those of its owner may have told.
pub(crate) async fn made_up_for(tx: &mut Tx, source: &str, event: &Event) -> Result<bool, DbError> {
    let taken_back = on!(tx, c => sqlx::query(MADE_UP_FOR)
        .bind(source)
        .bind(&event.owner)
        .bind(&event.r#type)
        .execute(c)
        .await?
        .rows_affected());
    Ok(taken_back > 0)
}

/// Takes back what was set aside of these types, or of all when there are none: the state was told anew.
pub(crate) async fn clear(tx: &mut Tx, source: &str, types: &[&str]) -> Result<(), DbError> {
    if types.is_empty() {
        on!(tx, c => sqlx::query(CLEAR).bind(source).execute(c).await?.rows_affected());
    }
    for kind in types {
        on!(&mut *tx, c => sqlx::query(CLEAR_TYPE).bind(source).bind(*kind).execute(c).await?.rows_affected());
    }
    Ok(())
}

/// Of whom what is known may be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    /// How many events are set aside.
    pub(crate) events: usize,
    /// Of whom any is.
    pub(crate) touched: Owners,
    /// Of whom one is that answers rest on.
    pub(crate) doubted: Owners,
}

/// Whom events concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    named: HashSet<OwnerId>,
    /// Some of them name nobody, so they may concern any organization.
    organizations: bool,
    /// There are more than can be told apart.
    everybody: bool,
}

impl Doubts {
    fn of(set_aside: &[SetAside], weighty: &[SetAside]) -> Self {
        Self { events: set_aside.len(), touched: Owners::of(set_aside), doubted: Owners::of(weighty) }
    }
}

impl Owners {
    fn of(set_aside: &[SetAside]) -> Self {
        let owners = || set_aside.iter().map(|it| it.owner.parse().ok());
        Self {
            named: owners().flatten().collect(),
            organizations: owners().any(|owner: Option<OwnerId>| owner.is_none()),
            everybody: is_cut_off(set_aside),
        }
    }

    pub(crate) fn concern(&self, owner: OwnerId) -> bool {
        self.everybody || self.named.contains(&owner) || (self.organizations && owner.organization().is_some())
    }
}

#[cfg(test)]
mod tests {
    use bursar_db::{Engine, Migrations, PoolOptions};
    use bursar_testkit::plans::{analyze, fill, numbers, plan, scans};

    use super::*;

    #[test]
    fn an_event_counts_against_its_owner_or_against_every_organization() {
        let of = |owner: String| SetAside {
            source: "organization".to_owned(),
            id: "evt_1".to_owned(),
            owner,
            kind: "x".to_owned(),
            problem: "y".to_owned(),
            set_aside_at: Timestamp::EPOCH,
        };
        let team = |n| OwnerId::Organization(bursar_id::Id::from_parts(n, [0; 10]));
        let ada = OwnerId::User(bursar_id::Id::from_parts(1, [0; 10]));
        let concerned = |owners: &Owners| [team(1), team(2), ada].map(|owner| owners.concern(owner));
        assert_eq!(concerned(&Owners::of(&[])), [false; 3]);
        assert_eq!(concerned(&Owners::of(&[of(team(1).to_string())])), [true, false, false]);
        assert_eq!(concerned(&Owners::of(&[of(ada.to_string())])), [false, false, true]);
        assert_eq!(concerned(&Owners::of(&[of(String::new())])), [true, true, false]);
        assert_eq!(concerned(&Owners::of(&vec![of(team(1).to_string()); 1_000])), [true; 3]);
    }

    bursar_testkit::engines! {
        async fn however_many_no_answer_rests_on_those_that_one_does_are_found(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let person = |n| OwnerId::User(bursar_id::Id::from_parts(n, [0; 10]));
            let event = |n: u64, kind: &str, owner: OwnerId| Event {
                id: format!("evt_{n}"),
                owner: owner.to_string(),
                r#type: kind.to_owned(),
                ..Event::default()
            };
            let mut tx = db.begin().await.unwrap();
            for n in 1..=1_000 {
                put(&mut tx, "identity", &event(n, "noted", person(n)), "odd", Timestamp::EPOCH).await.unwrap();
            }
            let left = event(2_000, "left", person(2_000));
            put(&mut tx, "identity", &left, "odd", Timestamp::EPOCH).await.unwrap();
            tx.commit().await.unwrap();
            let set_aside = of_source(&db, "identity").await.unwrap();
            assert_eq!(set_aside.len(), 1_000);
            let doubts = doubts(&db, "identity", &["left", "stays"], &set_aside).await.unwrap();
            assert_eq!([1, 2_000].map(|n| doubts.doubted.concern(person(n))), [false, true]);
            assert_eq!([1, 2_000].map(|n| doubts.touched.concern(person(n))), [true, true], "more than are told apart");
            let mut tx = db.read().await.unwrap();
            for (n, kind, expected) in [(1, "left", false), (2_000, "left", true), (2_000, "stays", false), (1, "noted", true)] {
                let found = concerns(&mut tx, "identity", &[kind], person(n)).await.unwrap();
                assert_eq!(found, expected, "{n}, {kind}");
            }
            assert!(!concerns(&mut tx, "billing", &["left"], person(2_000)).await.unwrap(), "of another source");
        }

        /// Each look, once a second, reads what it gives, however much more is set aside; so does each event that is applied.
        async fn what_followers_look_for_is_found_in_its_order_by_an_index(db: TestDb) {
            db.open(&Migrations::SHARED).await.close().await;
            let options = PoolOptions { index_plans: true, ..PoolOptions::default() };
            let db = Db::open(&db.store_url(), &Migrations::SHARED, &options).await.unwrap();
            let event = if db.engine() == Engine::Sqlite { "CAST('x' AS BLOB)" } else { "convert_to('x', 'UTF8')" };
            let rows = format!(
                "INSERT INTO events_set_aside (source, id, owner, type, problem, event, set_aside_at) {} \
                 SELECT CASE n % 2 WHEN 0 THEN 'identity' ELSE 'billing' END, 'evt_' || n, 'usr_' || n, \
                 CASE WHEN n % 50 < 2 THEN 'left' ELSE 'noted' END, 'odd', {event}, n FROM c",
                numbers(1, 4_000)
            );
            fill(&db, &[rows]).await;
            analyze(&db, "").await;
            for (statement, index) in [
                (OF_SOURCE, "events_set_aside_source"),
                (OF_TYPE, "events_set_aside_type"),
                (MADE_UP_FOR, "events_set_aside_owner_type"),
                (CLEAR_TYPE, "events_set_aside_type"),
            ] {
                let plan = plan(&db, statement).await;
                assert!(plan.contains(index) && scans(&db, &plan, &[]).await.is_empty(), "{statement}:\n{plan}");
                assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{statement}:\n{plan}");
            }
        }
    }
}
