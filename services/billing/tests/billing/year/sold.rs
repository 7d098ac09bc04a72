//! What is sold, as the model knows it: money in cents, credits in millionths.

use super::calendar::date;
use super::taxes::Line;

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
    /// Whether it includes organizations, so that it may become one's.
    pub(super) moves: bool,
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
    moves: true,
};

pub(super) static BUSINESS: Sold = Sold { id: "business", seat: (1_000, 150 * CREDIT), ..PLAN };
pub(super) static SOLO: Sold = Sold { id: "solo", cents: 1_000, credits: 100 * CREDIT, seats: 1, moves: false, ..PLAN };
pub(super) static PRO: Sold = Sold { id: "pro", cents: 30_000, credits: 5_500 * CREDIT, seats: 20, ..PLAN };
pub(super) static LENIENT: Sold = Sold { id: "lenient", in_grace: true, ..PLAN };
pub(super) static ROLLING: Sold = Sold { id: "rolling", rollover: 500 * CREDIT, ..PLAN };
/// By a contract.
pub(super) static ENTERPRISE: Sold =
    Sold { id: "enterprise", cents: 90_000, credits: 20_000 * CREDIT, seats: 60, moves: false, ..PLAN };
/// By the year, with as many credits each month.
pub(super) static YEARLY: Sold =
    Sold { id: "yearly", months: 12, cents: 100_000, seat: (10_000, 150 * CREDIT), ..PLAN };
/// A year that no month divides, nor any tax.
pub(super) static YEARLY_PRO: Sold =
    Sold { id: "yearly-pro", months: 12, cents: 299_999, credits: 5_500 * CREDIT, seats: 20, ..PLAN };

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

    /// Whether more of its seats are sold.
    pub(super) fn sells_seats(self) -> bool {
        self.of.seat.0 > 0
    }

    /// The lines of the invoice for a whole interval.
    pub(super) fn lines(self, from: usize, to: usize) -> Vec<Line> {
        let of = format!("{} to {}", date(from), date(to));
        let (price, (more, seat)) = (self.of.cents, (self.more, self.of.seat.0));
        let plan = (format!("SUBSCRIPTION 1 × {price} {of}"), price);
        let seats = (format!("SEATS {more} × {seat} {of}"), u64::from(more) * seat);
        if more == 0 { vec![plan] } else { vec![plan, seats] }
    }

    /// The line of the invoice for a change from other terms in the midst of what is paid for, and the credits that come with it:
    /// of the price's difference the part of that time that is left, rounded down to a cent, and of that of the credits the part
    /// of the month, rounded down to a millionth.
    pub(super) fn instead_of(self, had: Self, day: usize, (month, paid): (Days, Days)) -> (Line, u64) {
        let part = |difference: u64, (begin, end): Days| difference * number(end - day) / number(end - begin);
        let kind = if self.of == had.of { "SEATS" } else { "SUBSCRIPTION" };
        let due = part(self.cents() - had.cents(), paid);
        let line = format!("{kind} 1 × {due} {} to {}", date(day), date(paid.1));
        ((line, due), part(self.more_than(had), month))
    }

    /// How many more credits a month has than by other terms.
    pub(super) fn more_than(self, had: Self) -> u64 {
        self.credits().saturating_sub(had.credits())
    }
}

/// From one day until another one begins.
pub(super) type Days = (usize, usize);

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
