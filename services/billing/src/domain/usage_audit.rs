//! Whether the stored usage totals are what the entries say, total by total, in memory that grows with neither.
//!
//! Each total has a weight: a keyed digest of what it counts for (the hour, the member, the project, the model; or the
//! hour, the model and the meter). The sum of amount × weight over all entries must be that over all stored totals. Two sets of totals
//! that differ anywhere, credits moved from one member to another included, have the same sum only by a chance of one in
//! 2⁶⁴ for whoever does not know the installation's key.

use bursar_id::OwnerId;

use super::attribution::{Attribution, ModelName};
use super::entry::{CaptureEvent, ChargeEvent, Entry, EntryKind, Event};
use super::operation::OperationKey;
use super::usage::{MeterKey, MeterTotals, UsageKey, UsageTotals};

/// Weighted sums of what totals count, modulo 2¹²⁸.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums([u128; 3]);

impl Sums {
    fn add(&mut self, weight: u128, counts: [i64; 3]) {
        for (sum, count) in self.0.iter_mut().zip(counts) {
            // Counts are never negative; one that is, by hand, changes the sum like any other wrong one.
            *sum = sum.wrapping_add(weight.wrapping_mul(u128::from(count.cast_unsigned())));
        }
    }
}

/// Counts entries on one side and stored totals on the other.
#[derive(Debug, Clone)]
pub struct UsageAudit {
    owner: OwnerId,
    key: OperationKey,
    booked: Sums,
    hours: Sums,
    whole_days: Sums,
    days: Sums,
    metered: Sums,
    meters: Sums,
    /// All that meters may have counted, by the entries.
    counted: [i128; 2],
    /// A meter says that it has counted as much as one can; what came after is not in its total.
    full: bool,
}

impl UsageAudit {
    /// Of `owner`'s usage. `key` is the installation's for operation ids.
    pub fn new(owner: OwnerId, key: OperationKey) -> Self {
        let none = Sums::default();
        let (booked, hours, whole_days, days, metered, meters) = (none, none, none, none, none, none);
        Self { owner, key, booked, hours, whole_days, days, metered, meters, counted: [0; 2], full: false }
    }

    /// An entry. `work` is for whom and for what it was: of a capture what its hold says, of a refund what its charge does.
    pub fn entry(&mut self, entry: &Entry, work: Option<&Attribution>) {
        let Some(work) = work else { return };
        let mut totals = UsageTotals::default();
        match entry.kind() {
            EntryKind::Charge | EntryKind::Capture => totals.charge(entry.amount),
            EntryKind::Refund => totals.refund(entry.amount),
            _ => return,
        }
        let of = UsageKey::of(entry.at, work);
        self.booked.add(self.weight(&of), counts(&totals));
        let (Event::Charge(ChargeEvent { metered, .. }) | Event::Capture(CaptureEvent { metered, .. })) = &entry.event
        else {
            return;
        };
        for component in metered.iter().flat_map(|it| &it.components) {
            let Some(model) = work.model.clone() else { continue };
            let mut counted = MeterTotals::default();
            counted.count(component);
            for (all, more) in self.counted.iter_mut().zip([counted.charged, counted.quantity]) {
                *all = all.saturating_add(i128::from(more));
            }
            let key = MeterKey { hour: of.hour, model, meter: component.meter.clone() };
            self.metered.add(self.meter_weight(&key), [counted.charged, counted.quantity, 0]);
        }
    }

    /// A stored hour. `rolled_up`: the stored days count it, too.
    pub fn hour(&mut self, key: &UsageKey, totals: &UsageTotals, rolled_up: bool) {
        self.hours.add(self.weight(key), counts(totals));
        if rolled_up {
            let day = UsageKey { hour: key.hour.start_of_day(), ..key.clone() };
            self.whole_days.add(self.weight(&day), counts(totals));
        }
    }

    /// A stored day.
    pub fn day(&mut self, key: &UsageKey, totals: &UsageTotals) {
        self.days.add(self.weight(key), counts(totals));
    }

    /// What a meter counted in an hour, as stored.
    pub fn meter(&mut self, key: &MeterKey, totals: &MeterTotals) {
        self.full |= totals.quantity == i64::MAX || totals.charged == i64::MAX;
        self.meters.add(self.meter_weight(key), [totals.charged, totals.quantity, 0]);
    }

    /// Whether every stored total is what the entries say.
    pub fn agrees(&self) -> bool {
        // Only entries enough to fill one make that believable.
        let full = self.full && self.counted.iter().any(|all| *all >= i128::from(i64::MAX));
        self.booked == self.hours && self.whole_days == self.days && (full || self.metered == self.meters)
    }

    fn weight(&self, key: &UsageKey) -> u128 {
        let hour = key.hour.as_micros().to_be_bytes();
        let project = key.project.as_ref().map_or("", |it| it.as_str());
        let model = key.model.as_ref().map_or("", ModelName::as_str);
        let member = key.member.as_uuid();
        let parts = [&hour[..], member.as_bytes(), project.as_bytes(), model.as_bytes()];
        self.key.weight(self.owner, "usage", &parts)
    }

    fn meter_weight(&self, key: &MeterKey) -> u128 {
        let hour = key.hour.as_micros().to_be_bytes();
        let parts = [&hour[..], key.model.as_str().as_bytes(), key.meter.as_str().as_bytes()];
        self.key.weight(self.owner, "meter", &parts)
    }
}

fn counts(totals: &UsageTotals) -> [i64; 3] {
    [totals.charged, totals.refunded, totals.charges]
}
