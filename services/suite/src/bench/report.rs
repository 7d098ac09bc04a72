//! The table that is printed.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Context as _;

use super::access::PER_SECOND;
use super::hostile::{Way, Work};
use super::load::{Ledger, Measured, What};

/// Collects and prints what was measured.
pub(crate) struct Report {
    measured: Vec<Measured>,
    baselines: Vec<Measured>,
    /// Figures of other programs: a name and charges per second.
    beside: Vec<(String, f64)>,
    /// The most memory that the suite ever had, in bytes; zero when it is not known.
    peak: u64,
}

/// One figure by another, and what it should come to.
struct Ratio {
    name: Cow<'static, str>,
    value: f64,
    wanted: &'static str,
    /// Which bound this is of what nine tenants keep beside the worst one; `None` for the ratios of the other loads.
    bound: Option<Bound>,
}

/// The nine's rate or p99, at what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    figure: &'static str,
    work: Work,
}

/// What the nine should keep: the figure, and what it should come to beside what it is alone.
const KEPT: [(&str, &str); 2] = [("rate", ">= 0.7"), ("p99", "<= 3")];

impl Ratio {
    /// Whether it comes to what is wanted; `None` where that is no bound.
    fn kept(&self) -> Option<bool> {
        let (sign, bound) = self.wanted.split_once(' ')?;
        let bound: f64 = bound.parse().ok()?;
        match sign {
            ">=" => Some(self.value >= bound),
            "<=" => Some(self.value <= bound),
            _ => None,
        }
    }

    /// As a line of the table.
    fn line(&self) -> String {
        let kept = self.kept().map_or("", |kept| if kept { "kept" } else { "missed" });
        format!("{:<78} {:>9.2}   {:<22} {kept}", self.name, self.value, self.wanted).trim_end().to_owned()
    }
}

/// How many of the ways miss each bound of what the nine should keep.
fn missed(ratios: &[Ratio]) -> Vec<String> {
    let mut lines = Vec::new();
    for work in Work::ALL {
        for (figure, wanted) in KEPT {
            let of_bound = ratios.iter().filter(|it| it.bound == Some(Bound { figure, work }));
            let kept: Vec<Option<bool>> = of_bound.map(Ratio::kept).collect();
            let missed = kept.iter().filter(|kept| **kept == Some(false)).count();
            if !kept.is_empty() {
                let (work, ways) = (work.name(), kept.len());
                lines.push(format!("nine tenants' {work}, {figure} {wanted}: missed beside {missed} of {ways} ways"));
            }
        }
    }
    lines
}

fn find(among: &[Measured], what: What) -> Option<&Measured> {
    among.iter().find(|it| it.what == what)
}

impl Report {
    /// A report beside the figures in a file, if one is named.
    pub(crate) fn new(beside: Option<&Path>) -> anyhow::Result<Self> {
        let text = match beside {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => String::new(),
        };
        let line = |line: &str| {
            let (name, rate) = line.split_once('\t')?;
            Some((name.to_owned(), rate.trim().parse().ok()?))
        };
        let beside = text.lines().filter_map(line).collect();
        Ok(Self { measured: Vec::new(), baselines: Vec::new(), beside, peak: 0 })
    }

    /// What the figures were measured on, and the table's head.
    pub(crate) fn machine(what: &str) {
        say(what);
        say(&format!(
            "{:<46} {:>7} {:>12} {:>10} {:>10} {:>12} {:>8} {:>7}",
            "load", "callers", "per second", "p50 ms", "p99 ms", "server µs", "MB", "failed"
        ));
    }

    /// Prints why something was not measured.
    pub(crate) fn note(text: &str) {
        say(text);
    }

    /// Prints and keeps one load's figures.
    pub(crate) fn add(&mut self, measured: Measured) {
        line(&measured.name, &measured);
        self.measured.push(measured);
    }

    /// The same for the baseline of a load.
    pub(crate) fn add_baseline(&mut self, measured: Measured) {
        line(&format!("{}, one transaction each", measured.name), &measured);
        self.baselines.push(measured);
    }

    /// Keeps the most memory that the suite ever had, in bytes.
    pub(crate) fn peak(&mut self, bytes: u64) {
        self.peak = bytes;
    }

    /// The figures of other programs, and the ratios that mean something on other machines, too.
    pub(crate) fn end(&self) {
        for (name, rate) in &self.beside {
            say(&format!("{name:<46} {:>7} {rate:>12.0}", ""));
        }
        let ratios = self.ratios();
        if ratios.is_empty() {
            return;
        }
        say(&format!("\n{:<78} {:>9}   {:<22} {}", "ratio", "measured", "wanted", "kept?"));
        for ratio in &ratios {
            say(&ratio.line());
        }
        for line in missed(&ratios) {
            say(&line);
        }
    }

    /// Every ratio of which both sides were measured.
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "figures for people, not amounts")]
    fn ratios(&self) -> Vec<Ratio> {
        let rate = |what: What| find(&self.measured, what).map(Measured::rate);
        let p50 = |what: What| find(&self.measured, what).map(|it| it.p50.as_secs_f64());
        let alone = |what: What| find(&self.baselines, what);
        let beside = |start: &str| self.beside.iter().find(|(name, _)| name.starts_with(start)).map(|(_, rate)| *rate);
        let hand_written = beside("pgbench, hand-written");
        let peak = (self.peak > 0).then_some(self.peak as f64 / 1e6);
        let table: [(&str, Option<f64>, Option<f64>, &str); 17] = [
            ("BatchCharge / pgbench, hand-written transaction", rate(What::Batch), hand_written, ">= 100"),
            ("BatchCharge / Estimate", rate(What::Batch), rate(What::Ceiling), ">= 2.2"),
            ("hot pool / Estimate", rate(What::Hot), rate(What::Ceiling), ">= 0.5"),
            ("hot pool / one transaction each", rate(What::Hot), alone(What::Hot).map(Measured::rate), ">= 30"),
            ("hot pool / pgbench, hand-written transaction", rate(What::Hot), hand_written, ""),
            ("hot pool / pgbench, one statement", rate(What::Hot), beside("pgbench, one statement"), ""),
            ("by the rate card / hot pool", rate(What::Meters), rate(What::Hot), ">= 0.8"),
            ("five limits and alerts / none", rate(What::Limits(5)), rate(What::Limits(0)), ">= 0.8"),
            ("many accounts / hot pool", rate(What::Many), rate(What::Hot), ">= 0.8"),
            ("two replicas / one replica", rate(What::Replicas(2)), rate(What::Replicas(1)), "0.8 wanted, reported"),
            (
                "lone caller, p50 / one transaction each, p50",
                p50(What::Lone),
                alone(What::Lone).map(|it| it.p50.as_secs_f64()),
                "<= 1.0",
            ),
            (
                "GetBalance, p50 on the long / on the short ledger",
                p50(What::Balance(Ledger::Long)),
                p50(What::Balance(Ledger::Short)),
                "about 1",
            ),
            (
                "a year's usage, p50 on the long / on the short ledger",
                p50(What::Usage(Ledger::Long)),
                p50(What::Usage(Ledger::Short)),
                "about 1",
            ),
            ("CheckAccess / 5,000 a second", rate(What::Access), Some(f64::from(PER_SECOND)), ">= 0.99"),
            (
                "CheckAccess at 5,000 a second, p99, ms",
                find(&self.measured, What::Access).map(|it| it.p99.as_secs_f64()),
                Some(1e-3),
                "<= 5",
            ),
            (
                "a receipt of one line as a PDF, p99, ms",
                find(&self.measured, What::Document).map(|it| it.p99.as_secs_f64()),
                Some(1e-3),
                "<= 100",
            ),
            ("peak memory of the suite, MB", peak, Some(1.0), "<= 200"),
        ];
        let both = |(name, a, b, wanted): (&'static str, Option<f64>, Option<f64>, &'static str)| {
            Some(Ratio { name: name.into(), value: a? / b.filter(|it| *it > 0.0)?, wanted, bound: None })
        };
        let worst = |way| Work::ALL.into_iter().flat_map(move |work| self.beside_the_worst(way, work));
        table.into_iter().filter_map(both).chain(Way::ALL.into_iter().flat_map(worst)).collect()
    }

    /// What nine tenants keep of their throughput, and by how much their p99 grows.
    #[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
    fn beside_the_worst(&self, way: Way, work: Work) -> Vec<Ratio> {
        let alone = find(&self.measured, What::Alone(way, work));
        let (Some(alone), Some(beside)) = (alone, find(&self.measured, What::Beside(way, work))) else {
            return Vec::new();
        };
        let values = [beside.rate() / alone.rate(), beside.p99.as_secs_f64() / alone.p99.as_secs_f64()];
        let both = KEPT.into_iter().zip(values).map(|((figure, wanted), value)| Ratio {
            name: format!("nine tenants' {}, {figure} beside {}", work.name(), way.name()).into(),
            value,
            wanted,
            bound: Some(Bound { figure, work }),
        });
        both.collect()
    }

    /// Calls that failed in all loads.
    pub(crate) fn failures(&self) -> u64 {
        self.measured.iter().chain(&self.baselines).map(|it| it.failed).sum()
    }
}

#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
fn line(name: &str, it: &Measured) {
    say(&format!(
        "{name:<46} {:>7} {:>12.0} {:>10.2} {:>10.2} {:>12.1} {:>8} {:>7}",
        it.callers,
        it.rate(),
        it.p50.as_secs_f64() * 1e3,
        it.p99.as_secs_f64() * 1e3,
        it.cpu_each(),
        it.memory / 1_000_000,
        it.failed
    ));
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ratio(value: f64, wanted: &'static str, bound: Option<Bound>) -> Ratio {
        Ratio { name: "a ratio".into(), value, wanted, bound }
    }

    #[test]
    fn what_is_wanted_is_kept_or_missed() {
        for (value, wanted, kept) in [
            (0.7, ">= 0.7", Some(true)),
            (0.69, ">= 0.7", Some(false)),
            (3.0, "<= 3", Some(true)),
            (3.01, "<= 3", Some(false)),
            // Nothing was done: that keeps nothing.
            (f64::NAN, ">= 0.7", Some(false)),
            (f64::NAN, "<= 3", Some(false)),
            (9.0, "about 1", None),
            (0.5, "0.8 wanted, reported", None),
            (0.5, "", None),
        ] {
            let ratio = ratio(value, wanted, None);
            assert_eq!(ratio.kept(), kept, "{value} {wanted}");
            let (says_kept, says_missed) = (ratio.line().ends_with(" kept"), ratio.line().ends_with(" missed"));
            assert_eq!((says_kept, says_missed), (kept == Some(true), kept == Some(false)), "{}", ratio.line());
        }
    }

    #[test]
    fn misses_are_counted_by_bound() {
        let of = |figure, work| Some(Bound { figure, work });
        let ratios = [
            ratio(0.5, ">= 0.7", of("rate", Work::Charge)),
            ratio(0.9, ">= 0.7", of("rate", Work::Charge)),
            ratio(2.0, "<= 3", of("p99", Work::Read)),
            // Of another load: it is no way.
            ratio(0.1, ">= 100", None),
        ];
        let expected = [
            "nine tenants' charges, rate >= 0.7: missed beside 1 of 2 ways",
            "nine tenants' reads, p99 <= 3: missed beside 0 of 1 ways",
        ];
        assert_eq!(missed(&ratios), expected);
    }

    /// One call took so long.
    fn measured(what: What, p99: Duration) -> Measured {
        let server = super::super::server::Usage { cpu: p99 };
        let (name, p50, elapsed) = (String::new(), p99, p99);
        let (callers, done, failed, memory) = (1, 1, 0, 0);
        Measured { what, name, callers, done, failed, elapsed, p50, p99, server, memory }
    }

    #[test]
    fn a_receipt_of_one_line_is_allowed_no_time_for_a_thousand() {
        for (took, kept) in [(100, true), (101, false)] {
            let mut report = Report::new(None).unwrap();
            report.measured.push(measured(What::Document, Duration::from_millis(took)));
            let ratios = report.ratios();
            let [receipt] = &ratios[..] else { panic!("{}", ratios.len()) };
            assert_eq!((receipt.name.contains("one line"), receipt.kept()), (true, Some(kept)), "{}", receipt.line());
        }
    }

    #[test]
    fn every_way_has_its_lines() {
        let mut report = Report::new(None).unwrap();
        for way in Way::ALL {
            for what in Work::ALL.into_iter().flat_map(|work| [What::Alone(way, work), What::Beside(way, work)]) {
                report.measured.push(measured(what, Duration::from_secs(1)));
            }
        }
        let ratios = report.ratios();
        assert_eq!(ratios.len(), Way::ALL.len() * Work::ALL.len() * KEPT.len());
        assert!(ratios.iter().all(|ratio| ratio.kept() == Some(true)), "each is as it is alone");
        assert_eq!(missed(&ratios).len(), Work::ALL.len() * KEPT.len());
    }
}
