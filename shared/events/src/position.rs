//! Where a service stands in another one's events: a row for each source, locked by whoever moves it.

use bursar_db::{Db, DbError, Engine, Tx, exactly_one, on};
use bursar_time::Clock;
use sqlx::Row;

use crate::cursor::Cursor;

const ENROL: &str = "INSERT INTO consumer_cursors (source, cursor) VALUES ($1, '') ON CONFLICT (source) DO NOTHING";
const READ: &str = "SELECT cursor FROM consumer_cursors WHERE source = $1";
const LOCK_POSTGRES: &str = "SELECT cursor FROM consumer_cursors WHERE source = $1 FOR UPDATE";
const MOVE: &str = "UPDATE consumer_cursors SET cursor = $2 WHERE source = $1";

/// Where this service stands; at the beginning when it never followed the source.
pub(crate) async fn enrol(db: &Db, source: &str) -> Result<String, DbError> {
    let mut tx = db.begin().await?;
    on!(&mut tx, c => sqlx::query(ENROL).bind(source).execute(c).await?.rows_affected());
    let cursor = read(&mut tx, READ, source).await?;
    tx.commit().await?;
    Ok(cursor)
}

/// Begins a transaction that holds the cursor; says where it stands.
pub(crate) async fn lock(db: &Db, clock: &Clock, source: &str) -> Result<(Tx, String), DbError> {
    // What an event brings about is written down with a time: by a clock that is not to be decided by it waits.
    clock.believed()?;
    let mut tx = db.begin().await?;
    // On SQLite the transaction is the only writer already.
    let lock = match tx.engine() {
        Engine::Sqlite => READ,
        Engine::Postgres => LOCK_POSTGRES,
    };
    let stored = read(&mut tx, lock, source).await?;
    Ok((tx, stored))
}

/// Moves the cursor, which [`lock`] holds.
pub(crate) async fn move_to(tx: &mut Tx, source: &str, cursor: &str) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(MOVE).bind(source).bind(cursor).execute(c).await?.rows_affected()))
}

async fn read(tx: &mut Tx, statement: &'static str, source: &str) -> Result<String, DbError> {
    Ok(on!(tx, c => sqlx::query(statement).bind(source).fetch_one(c).await?.try_get(0)?))
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
    use bursar_id::EventId;

    use super::*;

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
