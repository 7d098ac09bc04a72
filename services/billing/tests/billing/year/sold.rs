//! What is sold, as the model knows it: money in cents, credits in millionths.

use super::calendar::date;

const CREDIT: u64 = 1_000_000;

/// A plan.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sold {
    pub(super) id: &'static str,
    /// For how many months one payment is.
    pub(super) months: usize,
    cents: u64,
    credits: u64,
    seats: u32,
    /// What one seat more costs and brings.
    seat: (u64, u64),
    /// Whether a month is granted at its boundary though it is not paid.
    pub(super) in_grace: bool,
    /// How much of a month is there for the next one, too.
    pub(super) rollover: u64,
}

const PLAN: Sold = Sold {
    id: "",
    months: 1,
    cents: 10_000,
    credits: 1_500 * CREDIT,
    seats: 10,
    seat: (0, 0),
    in_grace: false,
    rollover: 0,
};

pub(super) static BUSINESS: Sold = Sold { id: "business", seat: (1_000, 150 * CREDIT), ..PLAN };
pub(super) static SOLO: Sold = Sold { id: "solo", cents: 1_000, credits: 100 * CREDIT, seats: 1, ..PLAN };
pub(super) static PRO: Sold = Sold { id: "pro", cents: 30_000, credits: 5_500 * CREDIT, seats: 20, ..PLAN };
pub(super) static LENIENT: Sold = Sold { id: "lenient", in_grace: true, ..PLAN };
pub(super) static ROLLING: Sold = Sold { id: "rolling", rollover: 500 * CREDIT, ..PLAN };
/// By a contract.
pub(super) static ENTERPRISE: Sold =
    Sold { id: "enterprise", cents: 90_000, credits: 20_000 * CREDIT, seats: 60, ..PLAN };
/// By the year, with as many credits each month.
pub(super) static YEARLY: Sold = Sold { id: "yearly", months: 12, cents: 100_000, ..PLAN };

/// The packs by name, price and credits.
pub(super) const PACKS: [(&str, u64, u64); 3] =
    [("starter", 2_000, 300 * CREDIT), ("standard", 10_000, 1_500 * CREDIT), ("premium", 20_000, 3_000 * CREDIT)];

/// What somebody has of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) of: &'static Sold,
    /// Seats beside the plan's own.
    pub(super) more: u32,
}

impl From<&'static Sold> for Terms {
    fn from(of: &'static Sold) -> Self {
        Self { of, more: 0 }
    }
}

impl Terms {
    pub(super) fn seats(self) -> u32 {
        self.of.seats + self.more
    }

    /// What one payment comes to.
    fn cents(self) -> u64 {
        self.of.cents + u64::from(self.more) * self.of.seat.0
    }

    /// A month's allowance.
    pub(super) fn credits(self) -> u64 {
        self.of.credits + u64::from(self.more) * self.of.seat.1
    }

    /// Whether it costs more than another plan by the same interval.
    pub(super) fn is_dearer_than(self, other: Self) -> bool {
        self.cents() > other.cents()
    }

    /// The lines of the invoice for a whole interval.
    pub(super) fn lines(self, from: usize, to: usize) -> String {
        let of = format!("{} to {}", date(from), date(to));
        let plan = format!("SUBSCRIPTION 1 × {} {of}", self.of.cents);
        if self.more == 0 { plan } else { format!("{plan}, SEATS {} × {} {of}", self.more, self.of.seat.0) }
    }

    /// The line of the invoice for a change from other terms in the midst of a month, and the credits that come with it: of the
    /// differences the part of the month that is left, rounded down to a cent and to a millionth.
    pub(super) fn instead_of(self, had: Self, (begin, day, end): (usize, usize, usize)) -> (String, u64) {
        let part = |difference: u64| difference * number(end - day) / number(end - begin);
        let kind = if self.of == had.of { "SEATS" } else { "SUBSCRIPTION" };
        let due = part(self.cents() - had.cents());
        (format!("{kind} 1 × {due} {} to {}", date(day), date(end)), part(self.credits().saturating_sub(had.credits())))
    }
}

fn number(days: usize) -> u64 {
    u64::try_from(days).unwrap()
}

/// So many millionths as a decimal.
pub(super) fn decimal(millionths: u64) -> String {
    let text = format!("{}.{:06}", millionths / CREDIT, millionths % CREDIT);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// So many whole credits in millionths.
pub(super) fn whole(credits: u64) -> u64 {
    credits * CREDIT
}
