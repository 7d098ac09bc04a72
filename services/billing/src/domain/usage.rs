//! Usage: what was spent, by hour, member, project and model.
//!
//! Aggregates move in the charge's own transaction, so a report reads as many rows as there are
//! hours and names in it, however many charges there were.

use std::cmp::Ordering;

use bursar_id::UserId;
use bursar_money::{Credits, Quantity};
use bursar_time::Timestamp;

use super::attribution::{Attribution, ModelName, ProjectName};

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

/// What an aggregate counts. Net use is `charged - refunded`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Charged, by charges and captures, in micro-credits.
    pub charged: i64,
    /// Refunded in this hour, whenever it was charged, in micro-credits.
    pub refunded: i64,
    /// How many charges and captures.
    pub charges: i64,
    /// The sum of their quantities in millionths of the model's unit; refunds do not lower it.
    pub quantity: i64,
}

impl UsageTotals {
    pub(super) fn charge(&mut self, amount: Credits, attribution: &Attribution) {
        let quantity = attribution.quantity.map_or(0, Quantity::millionths);
        self.charged = self.charged.saturating_add(amount.micro());
        self.charges = self.charges.saturating_add(1);
        self.quantity = self.quantity.saturating_add(quantity);
    }

    pub(super) fn refund(&mut self, amount: Credits) {
        self.refunded = self.refunded.saturating_add(amount.micro());
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
