//! What a guide says, sentence by sentence, and the steps of its walk-through that show it.
//!
//! A checklist is a table in the guide's page beside its module: `| number | quotation | steps |`, each step in backquotes
//! by its name. A sentence without a step says in its third column what it waits for; one of which a part waits says so behind
//! its steps: `; waits for …`.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};

/// A guide's sentences in their order.
#[derive(Debug)]
pub(super) struct Checklist(Vec<Sentence>);

/// One of them.
#[derive(Debug)]
struct Sentence {
    quotation: String,
    /// The names of the steps that show it.
    steps: BTreeSet<String>,
    /// What it waits for, or a part of it; empty when the steps show all of it.
    waits_for: String,
}

/// A sentence by its number, and the name of a step that has shown it.
pub(super) type Shown = (u32, String);

impl Checklist {
    /// Reads the table of a page. Its rows are numbered from 1 without gaps.
    pub(super) fn read(page: &str) -> anyhow::Result<Self> {
        let mut sentences = Vec::new();
        for row in page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")) {
            let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
            let [number, quotation, shown_by] = cells[..] else { anyhow::bail!("a row of three columns: {row}") };
            let Ok(number) = number.parse::<usize>() else { continue };
            ensure!(number == sentences.len() + 1, "row {number} stands at place {}", sentences.len() + 1);
            ensure!(!quotation.is_empty() && !shown_by.is_empty(), "row {number} says too little");
            let steps: BTreeSet<String> = shown_by.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let part = shown_by.rsplit_once("; waits for ").map_or("", |(_, waits_for)| waits_for);
            let waits_for = if steps.is_empty() { shown_by } else { part }.to_owned();
            sentences.push(Sentence { quotation: quotation.to_owned(), steps, waits_for });
        }
        ensure!(!sentences.is_empty(), "the page has no checklist");
        Ok(Self(sentences))
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &Sentence)> {
        (1..).zip(&self.0)
    }

    /// What the guide says at a number that a step shows.
    pub(super) fn quotation(&self, number: u32) -> anyhow::Result<&str> {
        let found = self.numbered().find(|(it, _)| *it == number);
        found.map(|(_, sentence)| sentence.quotation.as_str()).with_context(|| format!("the checklist has no {number}"))
    }

    /// How many sentences there are, and how many of them have steps.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|sentence| !sentence.steps.is_empty()).count())
    }

    /// The sentences that wait, or of which a part does: number, quotation and what for.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u32, &str, &str)> {
        let waiting = self.numbered().filter(|(_, sentence)| !sentence.waits_for.is_empty());
        waiting.map(|(number, sentence)| (number, sentence.quotation.as_str(), sentence.waits_for.as_str()))
    }

    /// Where the table and a performance differ, a line each: steps that the table names and nobody played for the
    /// sentence, and steps that were played for it and the table does not name.
    pub(super) fn differences(&self, shown: &BTreeSet<Shown>) -> Vec<String> {
        let named = |(number, sentence): (u32, &Sentence)| {
            sentence.steps.iter().map(move |step| (number, step.clone())).collect::<Vec<_>>()
        };
        let named: BTreeSet<Shown> = self.numbered().flat_map(named).collect();
        let unplayed = named.difference(shown).map(|(number, step)| format!("{number}: no step “{step}” showed it"));
        let unnamed = shown.difference(&named);
        let unnamed =
            unnamed.map(|(number, step)| format!("{number}: “{step}” shows it, and the table does not say so"));
        unplayed.chain(unnamed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Words.\n\n| no | the guide says | shown by |\n|---|---|---|\n| 1 | “one pool” | `Ben pays`, `Ada pays` |\n\
        | 2 | “one invoice” | issue 10: invoices |\n| 3 | “they leave” | `Ben leaves` |\n";

    fn shown(steps: &[(u32, &str)]) -> BTreeSet<Shown> {
        steps.iter().map(|(number, step)| (*number, (*step).to_owned())).collect()
    }

    #[test]
    fn a_checklist_and_a_performance_must_agree_both_ways() {
        let list = Checklist::read(PAGE).expect("a checklist");
        assert_eq!(list.counts(), (3, 2));
        assert_eq!(list.waiting().collect::<Vec<_>>(), [(2, "“one invoice”", "issue 10: invoices")]);
        assert_eq!(list.quotation(3).expect("a sentence"), "“they leave”");
        assert!(list.quotation(0).is_err() && list.quotation(4).is_err());
        let all = shown(&[(1, "Ada pays"), (1, "Ben pays"), (3, "Ben leaves")]);
        assert_eq!(list.differences(&all), [""; 0]);
        let other = shown(&[(1, "Ada pays"), (2, "Ben pays"), (3, "Ben leaves"), (4, "Ben leaves")]);
        assert_eq!(
            list.differences(&other),
            [
                "1: no step “Ben pays” showed it",
                "2: “Ben pays” shows it, and the table does not say so",
                "4: “Ben leaves” shows it, and the table does not say so",
            ]
        );
    }

    #[test]
    fn a_sentence_may_be_shown_in_part() {
        let list = Checklist::read("| 1 | “seats, and more” | `forty seats`, `a seat`; waits for a later issue |");
        let list = list.expect("a checklist");
        assert_eq!(
            (list.counts(), list.waiting().collect::<Vec<_>>()),
            ((1, 1), vec![(1, "“seats, and more”", "a later issue")])
        );
        assert_eq!(list.differences(&shown(&[(1, "forty seats"), (1, "a seat")])), [""; 0]);
    }

    #[test]
    fn rows_are_whole_and_numbered_without_gaps() {
        for bad in ["", "| 2 | “a” | `b` |", "| 1 | “a” |", "| 1 | “a” |  |", "| 1 | “a” | `b` | c |"] {
            assert!(Checklist::read(bad).is_err(), "{bad:?}");
        }
    }
}
