//! The lots with the credits of a payment: one, or one for each month of a year that has begun.
//!
//! What refunds and disputes take of a payment they take of each of its lots in the same proportion, of those that are granted
//! later, too.

use std::collections::BTreeSet;

use bursar_id::{LotId, OwnerId};
use bursar_money::{Credits, Price};
use serde::{Deserialize, Serialize};

use super::payment::{Dispute, Moved, Payment, TakenBack};

/// One of them, with what was taken back of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidLot {
    /// Whose it is: the payment's owner, or whose the subscription is since.
    pub owner: OwnerId,
    /// The lot.
    pub lot: LotId,
    /// How many credits were granted by it.
    pub credits: Credits,
    /// What was taken back of its credits, without those that have moved.
    pub taken_back: TakenBack,
    /// What of its credits has moved to another owner.
    pub moved: Option<Moved>,
}

impl PaidLot {
    /// One of which nothing was taken back.
    pub fn new(owner: OwnerId, lot: LotId, credits: Credits) -> Self {
        Self { owner, lot, credits, taken_back: TakenBack::default(), moved: None }
    }
}

impl Payment {
    /// Its lots, in the order in which they were granted.
    pub fn lots(&self) -> Vec<PaidLot> {
        let first = self.lot.map(|lot| PaidLot {
            owner: self.owner,
            lot,
            credits: self.bought.credits(),
            taken_back: self.taken_back,
            moved: self.moved.clone(),
        });
        first.into_iter().chain(self.months.iter().cloned()).collect()
    }

    /// Who has lots with its credits, or with what of them has moved.
    pub fn holders(&self) -> BTreeSet<OwnerId> {
        let both = |lot: PaidLot| [Some(lot.owner), lot.moved.map(|moved| moved.owner)].into_iter().flatten();
        self.lots().into_iter().flat_map(both).collect()
    }

    /// Notes what has become of its lots: the same, in the same order.
    pub fn note_lots(&mut self, lots: Vec<PaidLot>) {
        let mut lots = lots.into_iter();
        if self.lot.is_some()
            && let Some(first) = lots.next()
        {
            self.taken_back = first.taken_back;
            self.moved = first.moved;
        }
        self.months = lots.collect();
    }

    /// How many of so many of its credits the money comes to that was taken back.
    pub fn share_to_take_back(&self, credits: Credits) -> Credits {
        self.share(credits, self.taken())
    }

    /// How many of so many of its credits so much of its money comes to: ⌈credits × taken ÷ paid⌉.
    fn share(&self, credits: Credits, taken: Price) -> Credits {
        let (taken, paid) = (i128::from(taken.micros()), i128::from(self.amount.micros()));
        if paid <= 0 {
            return Credits::ZERO;
        }
        // At most 10^18 times 10^18: below 2^127. A share of at most one is at most the whole.
        let share = (i128::from(credits.micro()) * taken + paid - 1) / paid;
        i64::try_from(share).ok().and_then(|micro| Credits::from_micro(micro).ok()).unwrap_or(credits).min(credits)
    }

    /// How many are to be taken back of a lot, and how many of what of it has moved. What moved was unspent, so that goes
    /// first; what was taken back before it moved stays where it was.
    pub fn parts_to_take_back(&self, lot: &PaidLot) -> (Credits, Credits) {
        let all = self.share_to_take_back(lot.credits);
        let Some(moved) = &lot.moved else { return (all, Credits::ZERO) };
        let there = all.saturating_sub(moved.before).min(moved.credits);
        (all.saturating_sub(there), there)
    }

    /// What was voided of a lot while a dispute is not decided, and may come back by that: without what refunds come to, which
    /// never does.
    pub fn withheld(&self, lot: &PaidLot) -> Credits {
        match self.dispute {
            Dispute::Open => {
                let refunded = self.share(lot.credits, self.at_most_all(self.refunded));
                lot.taken_back.voided.saturating_sub(refunded).min(lot.taken_back.credits)
            }
            Dispute::None | Dispute::Won | Dispute::Lost => Credits::ZERO,
        }
    }

    /// Whether all of it is gone for good: nothing is granted for it any more.
    pub fn is_gone(&self) -> bool {
        !self.amount.is_zero() && self.given_back() == self.amount
    }
}
