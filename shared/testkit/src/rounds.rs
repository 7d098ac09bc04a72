//! How often races are run, and how many random lives are lived.

/// How many rounds a race is run that one round shows little of: 10, or as many as `BURSAR_TEST_ROUNDS` says.
pub fn rounds() -> u64 {
    let rounds = std::env::var("BURSAR_TEST_ROUNDS").ok();
    rounds.map_or(10, |rounds| rounds.parse().expect("BURSAR_TEST_ROUNDS is a number"))
}

/// How many random lives a test has: one, or one for each ten of the rounds that `BURSAR_TEST_ROUNDS` says.
pub fn lives() -> u64 {
    (rounds() / 10).max(1)
}
