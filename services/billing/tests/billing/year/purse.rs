//! What the model has of credits: lots of a plan that end, packs that never do, and what is owed of these.

use super::calendar::date;
use super::sold::{Days, decimal};

/// What is left of a lot of a plan's, and from when until when it is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    left: u64,
    from: usize,
    to: usize,
}

/// What a bank decides about: which pack it is, and what was taken of that and was owed for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disputed {
    pack: usize,
    taken: u64,
    owed: u64,
}

/// One account's.
#[derive(Clone, Debug, Default)]
pub(super) struct Purse {
    /// What there is of the plan.
    parts: Vec<Part>,
    /// What is left of each pack, the oldest first.
    packs: Vec<u64>,
    /// What was spent of packs and months whose money went back: the next pack pays it.
    debt: u64,
    /// Every lot there was.
    lots: Vec<String>,
}

impl Purse {
    /// So much more is there of the plan's.
    pub(super) fn grants(&mut self, left: u64, from: usize, to: usize) {
        self.parts.push(Part { left, from, to });
        self.lots.push(format!("ALLOWANCE {} {} {}", decimal(left), date(from), date(to)));
    }

    /// What ends today is gone. Gives what was left of it, the oldest first.
    pub(super) fn ends(&mut self, day: usize) -> Vec<u64> {
        self.put_in_order();
        let (over, rest): (Vec<_>, Vec<_>) = self.parts.drain(..).partition(|part| part.to <= day);
        self.parts = rest;
        over.iter().map(|part| part.left).collect()
    }

    /// Nothing is left of the plan's.
    pub(super) fn voids(&mut self) {
        self.parts.clear();
    }

    /// Somebody else has what is left of the plan's from now on.
    pub(super) fn gives_away(&mut self) -> Vec<Part> {
        self.parts.drain(..).filter(|part| part.left > 0).collect()
    }

    /// It was somebody else's.
    pub(super) fn takes_over(&mut self, parts: &[Part]) {
        for part in parts {
            self.grants(part.left, part.from, part.to);
        }
    }

    /// Spends so much, or nothing where there is less.
    pub(super) fn spends(&mut self, credits: u64) -> bool {
        if credits > self.available() {
            return false;
        }
        self.put_in_order();
        let mut rest = credits;
        for left in self.parts.iter_mut().map(|part| &mut part.left).chain(&mut self.packs) {
            let taken = rest.min(*left);
            *left -= taken;
            rest -= taken;
        }
        true
    }

    /// What ends first pays first, then what began first, then what came first.
    fn put_in_order(&mut self) {
        self.parts.sort_by_key(|part| (part.to, part.from));
    }

    /// There is a pack, which pays what is owed before anybody spends of it.
    pub(super) fn buys(&mut self, credits: u64, day: usize) {
        self.lots.push(format!("PACK {} {} never", decimal(credits), date(day)));
        let paid = credits.min(self.debt);
        self.debt -= paid;
        self.packs.push(credits - paid);
    }

    /// So many of the last pack's credits are taken back: what is left of them, and what was spent is owed.
    pub(super) fn loses(&mut self, credits: u64) -> Disputed {
        let pack = self.packs.len() - 1;
        let taken = credits.min(self.packs[pack]);
        let owed = credits - taken;
        self.packs[pack] -= taken;
        self.debt += owed;
        Disputed { pack, taken, owed }
    }

    /// So many of a month's credits are taken back, likewise.
    pub(super) fn loses_of_the_month(&mut self, month: Days, credits: u64) {
        let part = self.parts.iter_mut().find(|part| (part.from, part.to) == month).expect("the month's allowance");
        let taken = credits.min(part.left);
        part.left -= taken;
        self.debt += credits - taken;
    }

    /// A bank has decided that they stay.
    pub(super) fn has_again(&mut self, disputed: Disputed) {
        self.packs[disputed.pack] += disputed.taken;
        self.debt -= disputed.owed;
    }

    pub(super) fn lots(&self) -> Vec<String> {
        let mut lots = self.lots.clone();
        lots.sort();
        lots
    }

    /// The credits there are, in millionths.
    pub(super) fn available(&self) -> u64 {
        self.parts.iter().map(|part| part.left).chain(self.packs.iter().copied()).sum()
    }
}
