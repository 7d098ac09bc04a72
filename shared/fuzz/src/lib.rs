//! Fuzzing of what reads other people's bytes: no panic, no hang, and whatever else a target claims. A dev-dependency only.
//!
//! A target is a test that gives [`fuzz`] a few good inputs and what to do with a bad one. The inputs are good ones with
//! edits: bits turned, bytes put in and taken out, parts repeated and joined with parts of others, lengths that lie. They
//! are made by `proptest` from fixed seeds, so every run tries the same ones in the same order and shrinks what fails;
//! a run that lasts longer only tries more. Each target has two seconds in the test command and as many as
//! `BURSAR_TEST_FUZZ_SECONDS` says, one that writes into a store on each engine:
//!
//! ```text
//! BURSAR_TEST_FUZZ_SECONDS=600 cargo test --workspace fuzz_
//! ```
//!
//! Names of targets begin with `fuzz_`. What a decoder means by good input belongs into its own tests, not here.
#![allow(clippy::panic, clippy::print_stderr, reason = "a helper of tests fails by panicking and tells how it went")]

mod edit;
mod watch;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use edit::{Edit, edits};
use watch::Watch;

/// How long a target runs where nobody says otherwise.
const USUALLY: Duration = Duration::from_secs(2);
/// How many inputs come from one seed; the time is looked at in between.
const ROUND: u32 = 256;
/// The longest input that is made; what is bounded by the transport needs no more.
const LONGEST: usize = 64 * 1024;

/// Tries edited samples, and bytes that never were a sample, until the time is over.
///
/// # Panics
/// `decode` panicked: with the input shrunk to what still makes it panic, as hexadecimal digits. It ends the process
/// where `decode` has not come back from one input after 30 seconds.
pub fn fuzz<S: AsRef<[u8]>>(name: &'static str, samples: &[S], decode: impl Fn(&[u8])) {
    let samples: Vec<Vec<u8>> = samples.iter().map(|sample| sample.as_ref().to_vec()).collect();
    let watch = Watch::over(name);
    let (begun, enough) = (Instant::now(), how_long());
    let mut tried: u64 = 0;
    for seed in 0.. {
        let mut runner = TestRunner::new(Config {
            cases: ROUND,
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        });
        let outcome = runner.run(&(any::<Index>(), edits()), |(which, edits)| {
            let input = make(&samples, which, &edits);
            watch.begin(&input);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decode(&input)));
            watch.end();
            outcome.map_err(|panic| TestCaseError::fail(said(&*panic)))
        });
        if let Err(TestError::Fail(why, (which, edits))) = outcome {
            panic!("{name} (seed {seed}): {why}\ninput: {}", hex::encode(make(&samples, which, &edits)));
        }
        tried += u64::from(ROUND);
        if begun.elapsed() >= enough {
            break;
        }
    }
    eprintln!("{name}: {tried} inputs in {:.1} s", begun.elapsed().as_secs_f64());
}

/// A sample with edits. One choice in so many is no sample at all.
fn make(samples: &[Vec<u8>], which: Index, edits: &[Edit]) -> Vec<u8> {
    let mut input = samples.get(which.index(samples.len() + 1)).cloned().unwrap_or_default();
    for edit in edits {
        edit.apply(&mut input, samples);
        input.truncate(LONGEST);
    }
    input
}

fn how_long() -> Duration {
    let asked = std::env::var("BURSAR_TEST_FUZZ_SECONDS").ok();
    asked.map_or(USUALLY, |seconds| {
        let seconds = seconds.parse();
        Duration::from_secs(seconds.unwrap_or_else(|why| panic!("BURSAR_TEST_FUZZ_SECONDS: {why}")))
    })
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_breaks_a_decoder_is_found_and_shrunk() {
        let found = std::panic::catch_unwind(|| {
            fuzz("fragile", &["a sample of some length"], |input| {
                assert!(!input.contains(&0xff), "it has the byte that breaks it");
            });
        });
        let told = said(&*found.expect_err("the byte is found"));
        assert!(told.contains("it has the byte that breaks it"), "{told}");
        let input = told.rsplit("input: ").next().unwrap_or_default();
        assert!(input.contains("ff") && input.len() <= 2 * "a sample of some length".len() + 2, "not shrunk: {told}");
    }

    #[test]
    fn every_run_tries_the_same() {
        let run = || {
            let (seen, left) = (RefCell::new(Vec::new()), Cell::new(ROUND));
            fuzz("the same", &["one", "two"], |input| {
                if left.get() > 0 {
                    left.set(left.get() - 1);
                    seen.borrow_mut().push(input.to_vec());
                }
            });
            seen.into_inner()
        };
        let first = run();
        assert_eq!(first, run());
        let different: BTreeSet<_> = first.into_iter().collect();
        assert!(different.len() > 128, "only {} of {ROUND} are different", different.len());
    }
}
