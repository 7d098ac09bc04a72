//! How often races are run.

/// How many rounds a race is run that one round shows little of: 10, or as many as `BURSAR_TEST_ROUNDS` says.
pub fn rounds() -> u64 {
    let rounds = std::env::var("BURSAR_TEST_ROUNDS").ok();
    rounds.map_or(10, |rounds| rounds.parse().expect("BURSAR_TEST_ROUNDS is a number"))
}
