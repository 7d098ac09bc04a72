//! How often races are run, and how many random lives are lived.

use crate::TestDb;

/// How many rounds a race is run that one round shows little of: 10, or as many as `BURSAR_TEST_ROUNDS` says.
pub fn rounds() -> u64 {
    let rounds = std::env::var("BURSAR_TEST_ROUNDS").ok();
    rounds.map_or(10, |rounds| rounds.parse().expect("BURSAR_TEST_ROUNDS is a number"))
}

/// How many random lives a test has: two, or two for each ten of the rounds that `BURSAR_TEST_ROUNDS` says, or as many as
/// `BURSAR_TEST_LIVES` says.
pub fn lives() -> u64 {
    let lives = std::env::var("BURSAR_TEST_LIVES").ok();
    lives.map_or_else(|| (rounds() / 5).max(2), |lives| lives.parse().expect("BURSAR_TEST_LIVES is a number"))
}

/// Lives as many as a test has, one after the other, each on an empty database; `live` is told its number, from zero up.
pub async fn each_life(mut db: TestDb, live: impl AsyncFn(&TestDb, u64)) {
    for number in 0..lives() {
        if number > 0 {
            db = db.another().await;
        }
        live(&db, number).await;
    }
}
