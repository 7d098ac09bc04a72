//! The table that is printed.

use std::path::Path;

use anyhow::Context as _;
use bursar_db::Engine;

use super::load::Measured;

/// Collects and prints what was measured.
pub(crate) struct Report {
    measured: Vec<Measured>,
    baselines: Vec<Measured>,
    /// Figures of other programs: a name and charges per second.
    beside: Vec<(String, f64)>,
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
        Ok(Self { measured: Vec::new(), baselines: Vec::new(), beside })
    }

    /// What the figures were measured on, and the table's head.
    pub(crate) fn machine(engine: Engine) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        say(&format!("{engine}, {cores} cores shared by client, server and database; durable commits"));
        say(&format!(
            "{:<34} {:>7} {:>12} {:>10} {:>10} {:>12} {:>8} {:>7}",
            "load", "callers", "per second", "p50 ms", "p99 ms", "server µs", "MB", "failed"
        ));
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

    /// How much faster each load is than its baseline.
    #[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
    pub(crate) fn ratios(&self) {
        for (name, rate) in &self.beside {
            say(&format!("{name:<34} {:>7} {rate:>12.0}", ""));
        }
        for baseline in &self.baselines {
            let Some(measured) = self.measured.iter().find(|it| it.name == baseline.name) else {
                continue;
            };
            let rate = measured.rate() / baseline.rate();
            let p50 = measured.p50.as_secs_f64() / baseline.p50.as_secs_f64();
            say(&format!("{}: {rate:.1}x the rate and {p50:.2}x the p50 of one transaction each", baseline.name));
        }
        let hot = self.measured.iter().find(|it| it.name == "hot pool");
        if let Some(hot) = hot {
            for (name, rate) in &self.beside {
                say(&format!("hot pool: {:.1}x {name}", hot.rate() / rate));
            }
            if let Some(many) = self.measured.iter().find(|it| it.name.ends_with("accounts")) {
                say(&format!("{}: {:.2}x of the hot pool", many.name, many.rate() / hot.rate()));
            }
        }
    }

    /// Calls that failed in all loads.
    pub(crate) fn failures(&self) -> u64 {
        self.measured.iter().chain(&self.baselines).map(|it| it.failed).sum()
    }
}

#[expect(clippy::float_arithmetic, reason = "figures for people, not amounts")]
fn line(name: &str, it: &Measured) {
    say(&format!(
        "{name:<34} {:>7} {:>12.0} {:>10.2} {:>10.2} {:>12.1} {:>8} {:>7}",
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
