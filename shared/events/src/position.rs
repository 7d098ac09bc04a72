//! Where a service stands in another one's events, moved by whoever holds its rows.
//!
//! Each set of types that a program asks for has a row of its own. During a rolling upgrade programs that ask for different
//! types follow side by side, and one that does not want an event may not move another one over it. What both want takes
//! effect once all the same: whoever comes to it second finds that the other stands behind it already, in rows that the two
//! lock together. (A program that kept no types beside its cursor has a row elsewhere: beside one, an event may be applied
//! twice, which every consumer bears.) What a program asks for that nobody asked for before it learns from a snapshot ([`Enrolled::resume`]).

use bursar_db::{Db, DbError, Engine, Tx, exactly_one, on};
use bursar_time::Clock;

use crate::cursor::Cursor;

const ENROL: &str = "INSERT INTO consumer_positions (source, types, cursor) VALUES ($1, $2, '') \
    ON CONFLICT (source, types) DO NOTHING";
const READ: &str = "SELECT types, cursor FROM consumer_positions WHERE source = $1 ORDER BY types";
/// Everybody's events wait for these rows: a session whose client is gone has them for three seconds at most. One that only
/// took its time between two statements loses nothing by that: its event comes again.
const LOCK_POSTGRES: &str = "SELECT types, cursor FROM consumer_positions, \
    set_config('idle_in_transaction_session_timeout', '3000', true) AS told WHERE source = $1 ORDER BY types \
    FOR UPDATE OF consumer_positions";
/// The same for what is one of many: no statement of it may take longer than five seconds.
const LOCK_BRIEFLY_POSTGRES: &str = "SELECT types, cursor FROM consumer_positions, \
    set_config('idle_in_transaction_session_timeout', '3000', true) AS told, \
    set_config('statement_timeout', '5000', true) AS briefly WHERE source = $1 ORDER BY types \
    FOR UPDATE OF consumer_positions";
const MOVE: &str = "UPDATE consumer_positions SET cursor = $3 WHERE source = $1 AND types = $2";
const LEAVE: &str = "UPDATE consumer_positions SET cursor = '' WHERE source = $1";
/// Where programs stood that kept no types beside it.
const EARLIER: &str = "SELECT cursor FROM consumer_cursors WHERE source = $1";
const KEEP_EARLIER: &str = "INSERT INTO consumer_cursors (source, cursor) VALUES ($1, $2) \
    ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor";

/// Who follows: the source, and the types that are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    source: &'static str,
    /// Sorted, with a space between two; empty for all.
    types: String,
}

impl Place {
    pub(crate) fn new(source: &'static str, types: &[&str]) -> Self {
        let mut types = types.to_vec();
        types.sort_unstable();
        types.dedup();
        Self { source, types: types.join(" ") }
    }
}

/// Where a program begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enrolled {
    /// Its cursor: empty before the first event.
    pub(crate) cursor: String,
    /// It never followed, but programs did that asked for other types, the farthest of them to here: it goes on from there
    /// when a snapshot has told it of what they did not ask for. (Not from the snapshot's end: what happens and is no
    /// state, a snapshot does not tell.)
    pub(crate) resume: Option<String>,
}

/// The rows of a source, as they stand while they are held.
#[derive(Debug)]
pub(crate) struct Stored {
    place: Place,
    /// Where programs stand that ask for the same types.
    pub(crate) cursor: String,
    /// Types and cursor of the others.
    others: Vec<(String, String)>,
}

impl Stored {
    fn of(place: &Place, rows: Vec<(String, String)>) -> Result<Self, DbError> {
        let (own, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(types, _)| *types == place.types);
        let (_, cursor) = own.into_iter().next().ok_or_else(|| DbError::corrupt("a consumer lost its position"))?;
        Ok(Self { place: place.clone(), cursor, others })
    }

    /// Whether a program that asks for other types has applied an event of this type that ends at `next`.
    pub(crate) fn is_done(&self, next: &str, kind: &str) -> bool {
        let source = self.place.source;
        let wants = |types: &str| types.is_empty() || types.split(' ').any(|wanted| wanted == kind);
        let is_behind = |cursor: &str| Lies::of(source, cursor, "", next) == Lies::Ahead;
        self.others.iter().any(|(types, cursor)| wants(types) && is_behind(cursor))
    }

    /// Moves the cursor to the end of an event or the like.
    pub(crate) async fn move_to(&self, tx: &mut Tx, cursor: &str) -> Result<(), DbError> {
        move_row(tx, self.place.source, &self.place.types, cursor).await
    }

    /// Moves the cursor to where all is told again, the last word last, to `cursor`: a snapshot may have told what was so
    /// before what those applied who are farther. They go back.
    pub(crate) async fn begin_again(&self, tx: &mut Tx, cursor: &str) -> Result<(), DbError> {
        self.move_to(tx, cursor).await?;
        for (types, other) in &self.others {
            if Lies::of(self.place.source, other, "", cursor) == Lies::Ahead {
                move_row(tx, self.place.source, types, cursor).await?;
            }
        }
        Ok(())
    }
}

/// Where this program stands; at the beginning when nobody followed the source for it.
pub(crate) async fn enrol(db: &Db, place: &Place) -> Result<Enrolled, DbError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, c => sqlx::query(ENROL).bind(place.source).bind(&place.types).execute(c).await?.rows_affected());
    let stored = Stored::of(place, read(&mut tx, READ, place.source).await?)?;
    let earlier = earlier(&mut tx, place.source).await?;
    tx.commit().await?;
    let others = stored.others.iter().map(|(_, cursor)| cursor).chain(&earlier);
    let resume = farthest(place.source, others).filter(|_| stored.cursor.is_empty());
    let resume = resume.map(|cursor| cursor.text(place.source));
    Ok(Enrolled { cursor: stored.cursor, resume })
}

/// Begins a transaction that holds every cursor of the source; says where they stand.
pub(crate) async fn lock(db: &Db, clock: &Clock, place: &Place) -> Result<(Tx, Stored), DbError> {
    lock_by(LOCK_POSTGRES, db, clock, place).await
}

/// The same for what one event brings about, for which everybody else's wait: on PostgreSQL its statements are ended after five
/// seconds ([`DbError::TimedOut`]). (On SQLite those of whoever writes wait for the file alone.)
pub(crate) async fn lock_briefly(db: &Db, clock: &Clock, place: &Place) -> Result<(Tx, Stored), DbError> {
    lock_by(LOCK_BRIEFLY_POSTGRES, db, clock, place).await
}

async fn lock_by(postgres: &'static str, db: &Db, clock: &Clock, place: &Place) -> Result<(Tx, Stored), DbError> {
    // What an event brings about is written down with a time: by a clock that is not to be decided by it waits.
    clock.believed()?;
    let mut tx = db.begin().await?;
    let stored = Stored::of(place, hold(&mut tx, postgres, place.source).await?)?;
    Ok((tx, stored))
}

/// Where programs stand in a source's events, whatever types they ask for.
pub(crate) async fn all(tx: &mut Tx, source: &str) -> Result<Vec<String>, DbError> {
    Ok(read(tx, READ, source).await?.into_iter().map(|(_, cursor)| cursor).collect())
}

/// Takes every program back to before its first event; each goes on from where the farthest stood, once a snapshot has told
/// it of everything before (see [`Enrolled::resume`]); where none stood anywhere, from the beginning.
pub(crate) async fn leave(tx: &mut Tx, source: &str) -> Result<(), DbError> {
    let stood = hold(tx, LOCK_POSTGRES, source).await?;
    let earlier = earlier(tx, source).await?;
    let farthest = farthest(source, stood.iter().map(|(_, cursor)| cursor).chain(&earlier));
    let cursor = farthest.unwrap_or(Cursor { incarnation: 1, seq: 0, event: None }).text(source);
    on!(&mut *tx, c => sqlx::query(KEEP_EARLIER).bind(source).bind(cursor).execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(LEAVE).bind(source).execute(c).await?.rows_affected());
    Ok(())
}

/// Whether a program that stands somewhere was taken back ([`leave`]).
pub(crate) async fn was_left(db: &Db, place: &Place) -> Result<bool, DbError> {
    let rows = read(&mut db.read().await?, READ, place.source).await?;
    Ok(rows.iter().any(|(types, cursor)| *types == place.types && cursor.is_empty()))
}

async fn move_row(tx: &mut Tx, source: &str, types: &str, cursor: &str) -> Result<(), DbError> {
    let moved = on!(tx, c => sqlx::query(MOVE).bind(source).bind(types).bind(cursor).execute(c).await?.rows_affected());
    exactly_one(moved)
}

/// Holds every row of a source until the transaction ends.
async fn hold(tx: &mut Tx, postgres: &'static str, source: &str) -> Result<Vec<(String, String)>, DbError> {
    // On SQLite the transaction is the only writer already.
    let statement = match tx.engine() {
        Engine::Sqlite => READ,
        Engine::Postgres => postgres,
    };
    read(tx, statement, source).await
}

/// Where programs stood that kept no types beside it.
async fn earlier(tx: &mut Tx, source: &str) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(EARLIER).bind(source).fetch_optional(c).await?);
    Ok(row.map(|(cursor,)| cursor))
}

/// The farthest of these cursors; those that are none of the source's do not count.
pub(crate) fn farthest<'a>(source: &str, cursors: impl IntoIterator<Item = &'a String>) -> Option<Cursor> {
    let cursors = cursors.into_iter().filter_map(|text| Cursor::parse(source, text));
    cursors.max_by_key(|cursor| (cursor.incarnation, cursor.seq))
}

async fn read(tx: &mut Tx, statement: &'static str, source: &str) -> Result<Vec<(String, String)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(statement).bind(source).fetch_all(c).await?))
}

/// How the stored cursor lies to a stream that stands somewhere else and has received what comes next in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// Another replica has applied what was received.
    Ahead,
    /// Another replica has gone on, over what this stream has nothing of: what was received comes next.
    Between,
    /// Neither: the source or this store was restored, or another program follows other events.
    Elsewhere,
}

impl Lies {
    /// Of a stream of this source that stands at `position` and has received what ends at `next`.
    pub(crate) fn of(source: &str, stored: &str, position: &str, next: &str) -> Self {
        let parse = |text| Cursor::parse(source, text);
        let (Some(stored), Some(next)) = (parse(stored), parse(next)) else { return Self::Elsewhere };
        let from = match position {
            "" => 0,
            text => match parse(text) {
                Some(from) if from.incarnation == next.incarnation => from.seq,
                _ => return Self::Elsewhere,
            },
        };
        let other_event =
            stored.seq == next.seq && stored.event.is_some() && next.event.is_some() && stored.event != next.event;
        if stored.incarnation != next.incarnation || stored.seq < from || other_event {
            Self::Elsewhere
        } else if stored.seq >= next.seq {
            Self::Ahead
        } else {
            Self::Between
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bursar_db::Migrations;
    use bursar_id::EventId;
    use bursar_time::Timestamp;

    use super::*;

    bursar_testkit::engines! {
        async fn whoever_is_to_learn_anew_loads_a_snapshot_and_goes_on_from_where_it_stood(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let clock = Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap());
            let place = Place::new("billing", &["a"]);
            enrol(&db, &place).await.unwrap();
            let at = |seq: u64| format!("billing-1-{seq}-{}", EventId::from_parts(seq, [0; 10]));
            for (stood, goes_on) in [("nonsense".to_owned(), "billing-1-0".to_owned()), (at(7), at(7))] {
                let (mut tx, stored) = lock(&db, &clock, &place).await.unwrap();
                stored.move_to(&mut tx, &stood).await.unwrap();
                tx.commit().await.unwrap();
                assert!(!was_left(&db, &place).await.unwrap(), "{stood}");
                let mut tx = db.begin().await.unwrap();
                leave(&mut tx, "billing").await.unwrap();
                tx.commit().await.unwrap();
                assert!(was_left(&db, &place).await.unwrap(), "{stood}");
                let again = Enrolled { cursor: String::new(), resume: Some(goes_on) };
                assert_eq!(enrol(&db, &place).await.unwrap(), again, "{stood}");
            }
        }

        async fn who_vanishes_with_the_positions_has_them_for_a_moment_only(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let clock = Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap());
            let place = Place::new("billing", &["a"]);
            enrol(&db, &place).await.unwrap();
            let bounds = async |tx: &mut Tx| {
                let Tx::Postgres(held) = tx else { return None };
                let show = "SELECT current_setting('idle_in_transaction_session_timeout'), \
                    current_setting('statement_timeout')";
                Some(sqlx::query_as::<_, (String, String)>(show).fetch_one(&mut **held).await.unwrap())
            };
            let (mut vanished, _) = lock_briefly(&db, &clock, &place).await.unwrap();
            let Some((idle, statement)) = bounds(&mut vanished).await else { return };
            assert_eq!((&*idle, &*statement), ("3s", "5s"));
            // Nothing is heard of it any more; anybody else would have the rows for ten seconds.
            let (mut tx, _) = tokio::time::timeout(Duration::from_secs(8), lock(&db, &clock, &place)).await.unwrap().unwrap();
            let (idle, statement) = bounds(&mut tx).await.unwrap();
            assert_eq!(idle, "3s");
            assert_ne!(statement, "5s", "the end of a snapshot is no single event");
            tx.commit().await.unwrap();
            drop(vanished);
            // The connection's next transaction has its own.
            let mut tx = db.begin().await.unwrap();
            assert_eq!(bounds(&mut tx).await.unwrap().0, "10s");
        }

        async fn whoever_asks_for_other_types_has_a_position_of_its_own(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let clock = Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap());
            let at = |seq: u64| format!("billing-1-{seq}-{}", EventId::from_parts(seq, [0; 10]));
            let stands = async |place: &Place| enrol(&db, place).await.unwrap();
            let move_to = async |place: &Place, cursor: String| {
                let (mut tx, stored) = lock(&db, &clock, place).await.unwrap();
                stored.move_to(&mut tx, &cursor).await.unwrap();
                tx.commit().await.unwrap();
            };
            let [old, new] = [&["b", "a"][..], &["c", "b", "a"]].map(|types| Place::new("billing", types));
            let nowhere = Enrolled { cursor: String::new(), resume: None };
            assert_eq!(stands(&old).await, nowhere, "nobody has followed: everything comes");
            move_to(&old, at(5)).await;
            assert_eq!(stands(&Place::new("billing", &["a", "b"])).await.cursor, at(5), "in whatever order");
            assert_eq!(stands(&Place::new("identity", &["a", "b"])).await, nowhere, "another source");
            assert_eq!(stands(&new).await, Enrolled { cursor: String::new(), resume: Some(at(5)) });
            // While a snapshot is loaded, the old program goes on; what it applied is told once more to both.
            move_to(&old, at(9)).await;
            let (mut tx, stored) = lock(&db, &clock, &new).await.unwrap();
            for (seq, kind, done) in [(9, "a", true), (9, "c", false), (9, "aa", false), (10, "a", false)] {
                assert_eq!(stored.is_done(&at(seq), kind), done, "{seq} {kind}");
            }
            assert!(!stored.is_done(&at(9).replacen("-1-", "-2-", 1), "a"), "another incarnation");
            stored.begin_again(&mut tx, &at(5)).await.unwrap();
            tx.commit().await.unwrap();
            for place in [&old, &new] {
                assert_eq!(stands(place).await, Enrolled { cursor: at(5), resume: None });
            }
            // Whoever is behind stays there.
            move_to(&new, at(8)).await;
            let (mut tx, stored) = lock(&db, &clock, &new).await.unwrap();
            stored.begin_again(&mut tx, &at(7)).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!((stands(&old).await.cursor, stands(&new).await.cursor), (at(5), at(7)));
            let all = Place::new("billing", &[]);
            assert_eq!(stands(&all).await.resume, Some(at(7)), "the farthest");
            move_to(&all, at(8)).await;
            let (_, stored) = lock(&db, &clock, &new).await.unwrap();
            assert!(stored.is_done(&at(8), "c"), "it asks for all");
        }
    }

    #[test]
    fn who_has_lost_a_race_knows_whether_to_go_on() {
        let text = |incarnation, seq, event: u64| {
            let event = (event > 0).then(|| EventId::from_parts(event, [0; 10]));
            Cursor { incarnation, seq, event }.text("billing")
        };
        let at = |seq: i64| text(1, seq, seq.unsigned_abs());
        let (here, next) = (at(4), at(7));
        for (name, stored, position, expected) in [
            ("it has applied this one", at(7), &here, Lies::Ahead),
            ("and others", at(20), &here, Lies::Ahead),
            ("a heartbeat took it on", at(5), &here, Lies::Between),
            ("a heartbeat took it on from the beginning", at(5), &String::new(), Lies::Between),
            ("it is ahead from the beginning", at(7), &String::new(), Lies::Ahead),
            ("this store was restored", at(3), &here, Lies::Elsewhere),
            ("nothing was ever applied", String::new(), &here, Lies::Elsewhere),
            ("the source was restored", text(2, 5, 5), &here, Lies::Elsewhere),
            ("and gave out the number again", text(1, 7, 99), &here, Lies::Elsewhere),
            ("the stream is of another incarnation", at(7), &text(2, 4, 4), Lies::Elsewhere),
            ("another service's", "x-1-7".to_owned(), &here, Lies::Elsewhere),
        ] {
            assert_eq!(Lies::of("billing", &stored, position, &next), expected, "{name}");
        }
    }
}
