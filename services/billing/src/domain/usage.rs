//! Usage: what was spent, by hour, member, project and model; and by hour, model and meter.
//!
//! Aggregates move in the charge's own transaction, so a report reads as many rows as there are
//! hours and names in it, however many charges there were.

use std::cmp::Ordering;
use std::fmt;

use bursar_id::UserId;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::attribution::{Attribution, ModelName, ProjectName};
use super::rates::{Component, MeterName};

/// Which aggregate a charge belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageKey {
    /// The start of the UTC hour in which it was booked. Deliberately not when the caller says the
    /// work occurred: that could rewrite a month that has been reported and invoiced.
    pub hour: Timestamp,
    /// Who spent.
    pub member: UserId,
    /// For which project.
    pub project: Option<ProjectName>,
    /// With which model.
    pub model: Option<ModelName>,
}

impl UsageKey {
    /// The aggregate of a charge or refund that is booked at `at`.
    pub(super) fn of(at: Timestamp, attribution: &Attribution) -> Self {
        Self {
            hour: at.start_of_hour(),
            member: attribution.member,
            project: attribution.project.clone(),
            model: attribution.model.clone(),
        }
    }
}

impl Ord for UsageKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hour
            .cmp(&other.hour)
            .then_with(|| self.member.cmp(&other.member))
            .then_with(|| self.project.cmp(&other.project))
            .then_with(|| self.model.cmp(&other.model))
    }
}

impl PartialOrd for UsageKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What an aggregate counts. Net use is `charged - refunded`. An account stops charging before any sum overflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Charged, by charges and captures, in micro-credits.
    pub charged: i64,
    /// Refunded in this hour, whenever it was charged, in micro-credits.
    pub refunded: i64,
    /// How many charges and captures.
    pub charges: i64,
}

impl UsageTotals {
    /// Adds other totals to these.
    pub fn add(&mut self, other: &Self) {
        self.charged = self.charged.saturating_add(other.charged);
        self.refunded = self.refunded.saturating_add(other.refunded);
        self.charges = self.charges.saturating_add(other.charges);
    }

    /// What is left of the charges: less than nothing where more was given back here than charged.
    pub fn net(&self) -> i64 {
        self.charged.saturating_sub(self.refunded)
    }

    pub(super) fn charge(&mut self, amount: Credits) {
        self.add(&Self { charged: amount.micro(), refunded: 0, charges: 1 });
    }

    pub(super) fn refund(&mut self, amount: Credits) {
        self.add(&Self { charged: 0, refunded: amount.micro(), charges: 0 });
    }
}

/// A sum of amounts or quantities in millionths, as text: it may be above what a single one can be, and a net one below
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total(pub i64);

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, sum) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let text = format!("{sign}{}.{:06}", sum / 1_000_000, sum % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// By how much a stored aggregate grows. Nothing in it is ever negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDelta {
    /// Which aggregate.
    pub key: UsageKey,
    /// What to add to it.
    pub add: UsageTotals,
}

/// Which aggregate of a meter a charge belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeterKey {
    /// The start of the UTC hour in which it was booked.
    pub hour: Timestamp,
    /// The model.
    pub model: ModelName,
    /// Its meter.
    pub meter: MeterName,
}

/// What an aggregate of a meter counts, gross of refunds: what was used stays used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterTotals {
    /// The sum of quantities in millionths of the meter's unit. Quantities are the caller's word: their sum stays at
    /// the greatest number rather than fail a charge.
    pub quantity: i64,
    /// What they cost, in micro-credits.
    pub charged: i64,
}

impl MeterTotals {
    /// Adds other totals to these.
    pub fn add(&mut self, other: &Self) {
        self.quantity = self.quantity.saturating_add(other.quantity);
        self.charged = self.charged.saturating_add(other.charged);
    }

    pub(super) fn count(&mut self, component: &Component) {
        let quantity = component.quantity.millionths();
        self.add(&Self { quantity, charged: component.amount.micro() });
    }
}

/// By how much a stored aggregate of a meter grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterDelta {
    /// Which aggregate.
    pub key: MeterKey,
    /// What to add to it.
    pub add: MeterTotals,
}
