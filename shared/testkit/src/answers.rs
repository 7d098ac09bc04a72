//! Looking into what a store keeps for repetitions.

use bursar_db::{Db, on};

const ALL: &str = "SELECT response FROM requests WHERE response IS NOT NULL";

/// How many answers a store keeps in which this text stands; the empty one stands in all of them.
///
/// # Panics
/// When they cannot be read.
pub async fn answers_with(db: &Db, text: &str) -> usize {
    let mut tx = db.read().await.expect("the store can be read");
    let answers: Vec<(Vec<u8>,)> =
        on!(&mut tx, c => sqlx::query_as(ALL).fetch_all(c).await.expect("the answers can be read"));
    let holds = |answer: &[u8]| text.is_empty() || answer.windows(text.len()).any(|part| part == text.as_bytes());
    answers.iter().filter(|(answer,)| holds(answer)).count()
}
