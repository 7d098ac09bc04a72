//! What may be done so often a day (within any 24 hours), counted by a subject: whose doing it is, or whom it reaches.

use std::fmt;

use bursar_db::{DbError, Tx};
use bursar_id::UserId;
use bursar_time::{Span, Timestamp};

use crate::store::mail_counts;

/// How far back is counted.
const DAY: Span = Span::DAY;

/// Whether one more may be done today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ration {
    /// It may, and so many after it.
    Left(u32),
    /// It would be one too many for so long.
    Over(Span),
}

/// Counts one more about each of these subjects, with how many there may be of each, unless it would be one too many about any
/// of them: then nothing is counted. The subjects stay locked until the transaction ends; who names several names them in the
/// same order as everybody.
pub(super) async fn rationed(tx: &mut Tx, subjects: &[(String, u32)], now: Timestamp) -> Result<Ration, DbError> {
    let (mut counted, mut least) = (Vec::new(), u32::MAX);
    for (subject, most) in subjects {
        let mut done = mail_counts::sent_after(tx, subject, now.saturating_sub(DAY), now).await?;
        let left = most.saturating_sub(u32::try_from(done.len()).unwrap_or(u32::MAX));
        if left == 0 {
            let first = done.iter().min().copied().unwrap_or(now);
            return Ok(Ration::Over(first.saturating_add(DAY).since(now)));
        }
        least = least.min(left - 1);
        done.push(now);
        counted.push((subject, done));
    }
    for (subject, done) in counted {
        mail_counts::set(tx, subject, &done, now).await?;
    }
    Ok(Ration::Left(least))
}

/// The same of one subject: how long to wait where it would be one too many.
pub(super) async fn ration(tx: &mut Tx, subject: &str, most: u32, now: Timestamp) -> Result<Option<Span>, DbError> {
    Ok(match rationed(tx, &[(subject.to_owned(), most)], now).await? {
        Ration::Left(_) => None,
        Ration::Over(wait) => Some(wait),
    })
}

/// As what the mails to an address are counted.
pub(super) fn to_address(email_key: &str) -> String {
    format!("to:{}", bursar_email::digest(email_key))
}

/// The same of one organization's, or of one sender's. No address has a space in it.
pub(super) fn to_address_by(email_key: &str, one: &impl fmt::Display) -> String {
    to_address(&format!("{email_key} {one}"))
}

/// As what the organizations are counted that somebody creates.
pub(super) fn creations(user: UserId) -> String {
    format!("created:{user}")
}

/// Gives back what was counted about a subject at an instant, and came to nothing. The subject stays locked until the
/// transaction ends.
pub(super) async fn give_back(tx: &mut Tx, subject: &str, counted: Timestamp, now: Timestamp) -> Result<(), DbError> {
    let mut done = mail_counts::sent_after(tx, subject, now.saturating_sub(DAY), now).await?;
    if let Some(at) = done.iter().position(|instant| *instant == counted) {
        done.remove(at);
        mail_counts::set(tx, subject, &done, now).await?;
    }
    Ok(())
}
