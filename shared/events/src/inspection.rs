//! Looking from outside at how far a service has followed another one's events, and having it learn all of it anew; for
//! the check of all stores. The two stores are opened by whoever looks, beside the programs that run on them.

use bursar_db::{Db, DbError, Tx};

use crate::aside::{self, SetAside};
use crate::incarnation::{Around, Fit};
use crate::position;

/// How far somebody has followed a source, as the source judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything that follows is there to be told.
    Follows,
    /// The source has told nothing yet.
    NothingToFollow,
    /// Nothing was ever followed, or all of it is to be learned anew.
    Nowhere,
    /// At this cursor, whose successors the source does not keep, or which is of an earlier incarnation: a snapshot comes.
    Late(String),
    /// At this cursor, whose event the source does not have: it was restored.
    Unknown(String),
    /// At what is no cursor of the source.
    Unreadable(String),
}

/// How far the programs on `consumer` have followed `source`, whose store is `told`: those that have come farthest.
pub async fn progress(consumer: &Db, source: &str, told: &Db) -> Result<Progress, DbError> {
    let texts = position::all(&mut consumer.read().await?, source).await?;
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    let Some(farthest) = position::farthest(source, &texts) else {
        if let Some(text) = texts.into_iter().next() {
            return Ok(Progress::Unreadable(text));
        }
        let begins = Around::head(told).await?;
        return Ok(if begins.seq == 0 { Progress::NothingToFollow } else { Progress::Nowhere });
    };
    let fit = Around::number(told, farthest.seq).await?.judge(&farthest);
    Ok(match fit {
        Fit::Fits => Progress::Follows,
        Fit::Late => Progress::Late(farthest.text(source)),
        Fit::Unknown => Progress::Unknown(farthest.text(source)),
    })
}

/// Has every program that follows `source` on this store load a snapshot before it goes on from where it stood: what the
/// source tells then holds again, as far as nothing later is known of it here. Those that run notice within a few seconds,
/// others when they start.
pub async fn relearn(tx: &mut Tx, source: &str) -> Result<(), DbError> {
    position::leave(tx, source).await
}

/// What is set aside on this store of what `source` told, the oldest first, at most 1,000.
pub async fn set_aside(db: &Db, source: &str) -> Result<Vec<SetAside>, DbError> {
    aside::of_source(db, source).await
}
