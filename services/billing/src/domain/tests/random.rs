//! Random command sequences: the engine and the naive model must agree on every answer, every lot,
//! every hold, every usage figure and every line of the ledger. Failures shrink.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::pair::Pair;
use super::steps::steps;
use super::words::{Answer, Who};
use crate::domain::*;

proptest! {
    #![proptest_config(Config { cases: 400, ..Config::default() })]

    #[test]
    fn the_engine_does_what_the_naive_model_does(steps in steps()) {
        Pair::run(&steps);
    }
}

/// What programs have reached so far.
#[derive(Debug, Default)]
struct Reached {
    kinds: BTreeSet<EntryKind>,
    actors: BTreeSet<usize>,
    answers: BTreeSet<String>,
    /// Those that were given a second time.
    again: BTreeSet<String>,
    erased: u64,
}

impl Reached {
    fn note(&mut self, pair: &Pair) {
        self.kinds.extend(pair.world.kinds());
        self.actors.extend(pair.actors());
        self.erased += pair.world.store.verify().unwrap().erased;
        for answer in &pair.answers {
            let text = format!("{answer:?}");
            let name = text.split([' ', '{']).next().unwrap().to_owned();
            if text.contains("again: true") {
                self.again.insert(name.clone());
            }
            self.answers.insert(name);
        }
    }

    fn everything(&self) -> bool {
        // What is owed has sequences of its own (`owing.rs`).
        let all = (EntryKind::ALL.len() - 3, Who::ALL.len(), Answer::KINDS, 7);
        (self.kinds.len(), self.actors.len(), self.answers.len(), self.again.len()) == all && self.erased > 20
    }
}

/// A random test is worth what it reaches.
#[test]
fn random_sequences_reach_every_kind_of_entry_and_every_answer() {
    let mut runner = TestRunner::deterministic();
    let mut reached = Reached::default();
    for _ in 0..400 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        reached.note(&Pair::run(&steps));
        if reached.everything() {
            return;
        }
    }
    panic!("not everything is reached: {reached:?}");
}
