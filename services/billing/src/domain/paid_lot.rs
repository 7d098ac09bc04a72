//! The lots with the credits of a payment: one, or one for each month of a year that has begun.
//!
//! What refunds and disputes take of a payment they take of each of its lots in the same proportion, of those that are granted
//! later, too.
//!
//! What is left of a lot may become another one's: that of an organization to which the subscription moves, or, where it rolls
//! over, of the next month. Such lots follow one another as often as that happens, and what is taken back is taken where the
//! credits are.

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
    /// What of its credits has become another lot's.
    pub moved: Option<Moved>,
}

/// A lot that has, or had, some of these credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station {
    /// Whose it is.
    pub owner: OwnerId,
    /// The lot.
    pub lot: LotId,
    /// How many of the credits came to it.
    pub credits: Credits,
    /// What was taken back of them there.
    pub taken_back: TakenBack,
}

impl PaidLot {
    /// One of which nothing was taken back.
    pub fn new(owner: OwnerId, lot: LotId, credits: Credits) -> Self {
        Self { owner, lot, credits, taken_back: TakenBack::default(), moved: None }
    }

    /// What became of what was left of it, one lot after the other.
    pub fn hops(&self) -> Vec<Moved> {
        let mut hops: Vec<Moved> = self.moved.iter().cloned().collect();
        let on = hops.first_mut().map(|first| std::mem::take(&mut first.on)).unwrap_or_default();
        hops.extend(on);
        hops
    }

    /// Notes what became of it: the same, in the same order.
    pub fn note_hops(&mut self, hops: Vec<Moved>) {
        let mut hops = hops.into_iter();
        let Some(first) = hops.next() else { return };
        self.moved = Some(Moved { on: hops.collect(), ..first });
    }

    /// It, and the lots that have had its credits since, one after the other.
    pub fn stations(&self) -> Vec<Station> {
        let Self { owner, lot, credits, taken_back, .. } = *self;
        let stop = |Moved { owner, lot, credits, taken_back, .. }: Moved| Station { owner, lot, credits, taken_back };
        let first = Station { owner, lot, credits, taken_back };
        std::iter::once(first).chain(self.hops().into_iter().map(stop)).collect()
    }

    /// As it was when only so many of those had become of it.
    #[must_use]
    pub fn with_hops(&self, hops: usize) -> Self {
        let mut before = Self { moved: None, ..self.clone() };
        before.note_hops(self.hops().into_iter().take(hops).collect());
        before
    }

    /// The lot that has what is left of its credits.
    pub fn present(&self) -> LotId {
        self.hops().last().map_or(self.lot, |hop| hop.lot)
    }

    /// What was taken back of the lot that has what is left of its credits, and was neither left there nor used: it had lapsed, or
    /// was voided before.
    pub fn taken_of_nobody(&self) -> Credits {
        let TakenBack { credits, voided, owed, .. } = self.hops().last().map_or(self.taken_back, |hop| hop.taken_back);
        credits.saturating_sub(voided).saturating_sub(owed)
    }

    /// What is left of it is so many credits of another lot from now on. What was taken back before stays where it was, but for
    /// what goes `along`: that is taken back there.
    pub fn go_on(&mut self, (owner, lot): (OwnerId, LotId), credits: Credits, along: Credits) {
        let mut hops = self.hops();
        let last = hops.last_mut().map_or(&mut self.taken_back, |hop| &mut hop.taken_back);
        last.credits = last.credits.saturating_sub(along);
        let before = last.credits;
        hops.push(Moved { owner, lot, credits, before, taken_back: TakenBack::default(), on: Vec::new() });
        self.note_hops(hops);
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
        self.lots().iter().flat_map(PaidLot::stations).map(|it| it.owner).collect()
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

    /// How many are to be taken back of a lot, and of each that has had its credits since ([`PaidLot::stations`]). What moved was
    /// unspent, so that goes first; what was taken back before it moved stays where it was.
    pub fn parts_to_take_back(&self, lot: &PaidLot) -> Vec<Credits> {
        divided(self.share_to_take_back(lot.credits), lot)
    }

    /// The same of so much of its money that is given back, whatever a dispute has taken besides.
    pub fn parts_given_back(&self, lot: &PaidLot, given_back: Price) -> Vec<Credits> {
        divided(self.share(lot.credits, self.at_most_all(given_back)), lot)
    }

    /// What was voided where a lot's credits are while a dispute is not decided, and may come back by that: without what refunds
    /// come to, which never does.
    pub fn withheld(&self, lot: &PaidLot) -> Credits {
        match self.dispute {
            Dispute::Open => {
                let refunded = divided(self.share(lot.credits, self.at_most_all(self.refunded)), lot);
                let refunded = refunded.last().copied().unwrap_or(Credits::ZERO);
                let taken = lot.stations().last().map_or(lot.taken_back, |it| it.taken_back);
                taken.voided.saturating_sub(refunded).min(taken.credits)
            }
            Dispute::None | Dispute::Won | Dispute::Lost => Credits::ZERO,
        }
    }

    /// The same of each of its lots of which anything is withheld, under the lot that has what is left of its credits.
    pub fn all_withheld(&self) -> Vec<(LotId, Credits)> {
        let of_lot = |lot: &PaidLot| (lot.present(), self.withheld(lot));
        self.lots().iter().map(of_lot).filter(|(_, credits)| !credits.is_zero()).collect()
    }

    /// Whether all of it is gone for good: nothing is granted for it any more.
    pub fn is_gone(&self) -> bool {
        !self.amount.is_zero() && self.given_back() == self.amount
    }
}

/// So many credits of a lot, divided among it and those that have had its credits since.
fn divided(all: Credits, lot: &PaidLot) -> Vec<Credits> {
    let (mut parts, mut left) = (Vec::new(), all);
    for hop in lot.hops() {
        let there = left.saturating_sub(hop.before).min(hop.credits);
        parts.push(left.saturating_sub(there));
        left = there;
    }
    parts.push(left);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micro(it: i64) -> Credits {
        Credits::from_micro(it).unwrap()
    }

    fn owner(n: u8) -> OwnerId {
        OwnerId::User(bursar_id::Id::from_parts(1, [n; 10]))
    }

    fn lot(n: u8) -> LotId {
        bursar_id::Id::from_parts(2, [n; 10])
    }

    #[test]
    fn what_goes_on_is_taken_first_and_where_it_is() {
        let mut it = PaidLot::new(owner(1), lot(0), micro(1_500));
        it.taken_back.credits = micro(300);
        it.go_on((owner(1), lot(1)), micro(500), Credits::ZERO);
        it.go_on((owner(2), lot(2)), micro(200), Credits::ZERO);
        assert_eq!(it.present(), lot(2));
        let places: Vec<_> = it.stations().into_iter().map(|at| (at.owner, at.lot, at.credits)).collect();
        let expected =
            [(owner(1), lot(0), micro(1_500)), (owner(1), lot(1), micro(500)), (owner(2), lot(2), micro(200))];
        assert_eq!(places, expected);
        // What is to be taken back in all, and of that at each place: the first 300 were taken before anything went on.
        for (all, parts) in [
            (0, [0, 0, 0]),
            (300, [300, 0, 0]),
            (450, [300, 0, 150]),
            (600, [300, 100, 200]),
            (800, [300, 300, 200]),
            (1_500, [1_000, 300, 200]),
        ] {
            assert_eq!(divided(micro(all), &it), parts.map(micro), "{all}");
        }
        let stored = serde_json::to_string(&it).unwrap();
        assert_eq!(serde_json::from_str::<PaidLot>(&stored).unwrap(), it);
        // What earlier programs have stored went on once at most.
        let once = stored.split(",\"on\":[").next().unwrap().to_owned() + "}}";
        assert_eq!(serde_json::from_str::<PaidLot>(&once).unwrap().hops().len(), 1);
    }

    #[test]
    fn what_is_withheld_goes_along() {
        let mut it = PaidLot::new(owner(1), lot(0), micro(1_500));
        it.go_on((owner(1), lot(1)), micro(500), Credits::ZERO);
        let mut hops = it.hops();
        hops[0].taken_back.credits = micro(120);
        it.note_hops(hops);
        it.go_on((owner(2), lot(2)), micro(400), micro(100));
        let before: Vec<_> = it.hops().iter().map(|hop| (hop.before, hop.taken_back.credits)).collect();
        assert_eq!(before, [(micro(0), micro(20)), (micro(20), micro(0))]);
    }

    proptest! {
        /// However often what was left went on: all is taken somewhere, and nowhere more than came there.
        #[test]
        fn parts_are_all_of_it(
            credits in 1_i64..10_000,
            hops in prop::collection::vec((0_i64..10_000, 0_i64..10_000), 0..5),
            all in 0_i64..10_000,
        ) {
            let mut it = PaidLot::new(owner(1), lot(0), micro(credits));
            let mut left = credits;
            for (n, (before, goes)) in (1..).zip(hops) {
                let before = before % (left + 1);
                let mut known = it.hops();
                let taken = known.last_mut().map_or(&mut it.taken_back, |hop| &mut hop.taken_back);
                taken.credits = micro(before);
                it.note_hops(known);
                left = goes % (left - before + 1);
                it.go_on((owner(1), lot(n)), micro(left), Credits::ZERO);
            }
            let all = micro(all % (credits + 1));
            let parts = divided(all, &it);
            prop_assert_eq!(Credits::checked_sum(parts.iter().copied()), Some(all));
            for (part, at) in parts.iter().zip(it.stations()) {
                prop_assert!(*part <= at.credits);
            }
        }
    }
}
