//! A second engine, written separately and as naively as can be.
//!
//! Every single unit of credit is an object that is in exactly one place. Spending moves objects
//! one by one; time passes second by second. There are no sums to get wrong, no order to maintain
//! and nothing shared with the engine under test.

#![expect(clippy::cast_possible_truncation, reason = "a model counts to a few hundred")]

use super::words::{Answer, Ask, HoldIs, Line, again, merge};

/// Where one unit of credit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Remaining,
    Held { hold: usize },
    Spent { charge: usize, serial: u64 },
    Expired,
    Voided,
}

#[derive(Debug, Clone, Copy)]
struct Coin {
    lot: usize,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
struct Lot {
    priority: i32,
    expires: Option<i64>,
    free: bool,
    effective: i64,
    voided: bool,
}

#[derive(Debug, Clone)]
struct Hold {
    is: HoldIs,
    deadline: i64,
    member: u64,
    coins: Vec<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    now: i64,
    serial: u64,
    coins: Vec<Coin>,
    lots: Vec<Lot>,
    holds: Vec<Hold>,
    charges: Vec<u64>,
    answers: Vec<(u8, Ask, Answer)>,
    pub(super) ledger: Vec<Line>,
    pub(super) spent_in_period: u64,
}

impl Model {
    pub(super) fn lot_count(&self) -> usize {
        self.lots.len()
    }

    pub(super) fn hold_count(&self) -> usize {
        self.holds.len()
    }

    pub(super) fn charge_count(&self) -> usize {
        self.charges.len()
    }

    pub(super) fn hold_is(&self, hold: usize) -> HoldIs {
        self.holds[hold].is
    }

    /// How many units of a lot are remaining, held, spent, expired, voided.
    pub(super) fn lot_parts(&self, lot: usize) -> [u64; 5] {
        let mut parts = [0; 5];
        for coin in self.coins.iter().filter(|coin| coin.lot == lot) {
            let part = match coin.place {
                Place::Remaining => 0,
                Place::Held { .. } => 1,
                Place::Spent { .. } => 2,
                Place::Expired => 3,
                Place::Voided => 4,
            };
            parts[part] += 1;
        }
        parts
    }

    /// What a member has spent, net of refunds.
    pub(super) fn spent_by(&self, member: u64) -> u64 {
        let is_theirs = |coin: &&Coin| match coin.place {
            Place::Spent { charge, .. } => self.charges[charge] == member,
            _ => false,
        };
        self.coins.iter().filter(is_theirs).count() as u64
    }

    /// Lets time pass, second by second, and then does what is asked.
    pub(super) fn ask(&mut self, now: i64, key: Option<u8>, ask: &Ask) -> Answer {
        while self.now < now {
            self.now += 1;
            self.fall_due();
        }
        if let Some((_, first, answer)) = self.answers.iter().find(|it| Some(it.0) == key) {
            return if first == ask { again(answer.clone()) } else { Answer::Reused };
        }
        let lines = self.ledger.len();
        let answer = self.carry_out(ask);
        if let Some(key) = key
            && self.ledger.len() > lines
        {
            self.answers.push((key, ask.clone(), answer.clone()));
        }
        answer
    }

    fn carry_out(&mut self, ask: &Ask) -> Answer {
        match *ask {
            Ask::Charge { amount, member } => self.charge(amount, member),
            Ask::Hold { amount, ttl, member } => self.hold(amount, ttl, member),
            Ask::Capture { hold, amount, excess } => self.capture(hold, amount, excess),
            Ask::Release { hold } => self.release(hold),
            Ask::Refund { charge, amount } => self.refund(charge, amount),
            Ask::Grant { amount, priority, free, effective, expires } => {
                let effective = effective.unwrap_or(self.now);
                self.grant(amount, Lot { priority, expires, free, effective, voided: false })
            }
            Ask::Void { lot } => self.void(lot),
            Ask::Sweep => Answer::Swept,
        }
    }

    fn charge(&mut self, amount: u64, member: u64) -> Answer {
        if amount == 0 {
            return Answer::Zero;
        }
        let Some(coins) = self.pick(amount) else {
            return self.short(amount);
        };
        self.charges.push(member);
        self.spend(&coins);
        self.write("CHARGE", amount);
        Answer::Charged { lots: self.group(&coins), left: self.left(), again: false }
    }

    fn hold(&mut self, amount: u64, ttl: i64, member: u64) -> Answer {
        if amount == 0 {
            return Answer::Zero;
        }
        if !(1..=86_400).contains(&ttl) {
            return Answer::HoldTime;
        }
        let Some(coins) = self.pick(amount) else {
            return self.short(amount);
        };
        let hold = self.holds.len();
        for coin in &coins {
            self.coins[*coin].place = Place::Held { hold };
        }
        let lots = self.group(&coins);
        self.holds.push(Hold { is: HoldIs::Open, deadline: self.now + ttl, member, coins });
        self.write("HOLD", amount);
        Answer::Held { lots, left: self.left(), again: false }
    }

    fn capture(&mut self, hold: usize, amount: u64, excess: bool) -> Answer {
        let Some(Hold { is, member, coins, .. }) = self.holds.get(hold).cloned() else {
            return Answer::NotFound;
        };
        match is {
            HoldIs::Open => {}
            HoldIs::Captured | HoldIs::Released => return Answer::Settled,
            HoldIs::Lapsed => return Answer::Expired,
        }
        let reserved = coins.len() as u64;
        if amount == 0 {
            return Answer::Zero;
        }
        if amount > reserved && !excess {
            return Answer::AboveHold;
        }
        let over = amount.saturating_sub(reserved);
        let Some(more) = self.pick(over) else {
            return self.short(over);
        };
        let (mut spent, mut back) = (Vec::new(), Vec::new());
        for coin in coins {
            if (spent.len() as u64) < amount {
                spent.push(coin);
            } else {
                back.push(coin);
            }
        }
        spent.extend(more);
        self.charges.push(member);
        self.spend(&spent);
        self.give_back(&back);
        self.holds[hold].is = HoldIs::Captured;
        self.write("CAPTURE", amount);
        Answer::Charged { lots: self.group(&spent), left: self.left(), again: false }
    }

    fn release(&mut self, hold: usize) -> Answer {
        let Some(Hold { is, coins, .. }) = self.holds.get(hold).cloned() else {
            return Answer::NotFound;
        };
        match is {
            HoldIs::Captured => Answer::Settled,
            HoldIs::Released | HoldIs::Lapsed => Answer::Released { is, left: self.left(), again: true },
            HoldIs::Open => {
                self.give_back(&coins);
                self.holds[hold].is = HoldIs::Released;
                self.write("RELEASE", coins.len() as u64);
                Answer::Released { is: HoldIs::Released, left: self.left(), again: false }
            }
        }
    }

    fn refund(&mut self, charge: usize, amount: Option<u64>) -> Answer {
        if charge >= self.charges.len() {
            return Answer::NotFound;
        }
        if amount == Some(0) {
            return Answer::Zero;
        }
        let mut coins: Vec<(u64, usize)> = Vec::new();
        for (index, coin) in self.coins.iter().enumerate() {
            if let Place::Spent { charge: by, serial } = coin.place
                && by == charge
            {
                coins.push((serial, index));
            }
        }
        // Last spent first.
        coins.sort_unstable_by(|a, b| b.cmp(a));
        let left = coins.len() as u64;
        let amount = amount.unwrap_or(left);
        if amount > left || left == 0 {
            return Answer::AboveCharge { left };
        }
        let coins: Vec<usize> = coins.into_iter().take(amount as usize).map(|it| it.1).collect();
        self.give_back(&coins);
        let lost = coins.iter().filter(|it| self.coins[**it].place != Place::Remaining).count();
        self.spent_in_period = self.spent_in_period.saturating_sub(amount);
        self.write("REFUND", amount);
        Answer::Refunded { lots: self.group(&coins), lost: lost as u64, left: self.left(), again: false }
    }

    fn grant(&mut self, amount: u64, lot: Lot) -> Answer {
        if amount == 0 {
            return Answer::Zero;
        }
        if lot.expires.is_some_and(|expires| expires <= lot.effective) {
            return Answer::EmptyValidity;
        }
        for _ in 0..amount {
            self.coins.push(Coin { lot: self.lots.len(), place: Place::Remaining });
        }
        self.lots.push(lot);
        self.write("GRANT", amount);
        let left = self.left();
        self.fall_due();
        Answer::Granted { left, again: false }
    }

    fn void(&mut self, lot: usize) -> Answer {
        let Some(terms) = self.lots.get(lot).copied() else {
            return Answer::NotFound;
        };
        if terms.voided {
            return Answer::LotVoided;
        }
        if self.is_over(lot) {
            return Answer::LotExpired;
        }
        self.lots[lot].voided = true;
        let amount = self.move_remaining(lot, Place::Voided);
        self.write("VOID", amount);
        Answer::Voided { amount, left: self.left(), again: false }
    }

    /// What this second brings by itself: lots first, then holds.
    fn fall_due(&mut self) {
        for lot in 0..self.lots.len() {
            if self.is_over(lot) {
                let amount = self.move_remaining(lot, Place::Expired);
                if amount > 0 {
                    self.write("EXPIRE", amount);
                }
            }
        }
        for hold in 0..self.holds.len() {
            let Hold { is, deadline, coins, .. } = self.holds[hold].clone();
            if is == HoldIs::Open && deadline <= self.now {
                self.give_back(&coins);
                self.holds[hold].is = HoldIs::Lapsed;
                self.write("HOLD_LAPSED", coins.len() as u64);
            }
        }
    }

    fn is_over(&self, lot: usize) -> bool {
        self.lots[lot].expires.is_some_and(|expires| expires <= self.now)
    }

    fn move_remaining(&mut self, lot: usize, to: Place) -> u64 {
        let mut moved = 0;
        for coin in &mut self.coins {
            if coin.lot == lot && coin.place == Place::Remaining {
                coin.place = to;
                moved += 1;
            }
        }
        moved
    }

    fn spendable(&self, coin: &Coin) -> bool {
        let lot = &self.lots[coin.lot];
        coin.place == Place::Remaining && lot.effective <= self.now && !self.is_over(coin.lot)
    }

    /// The next `amount` coins to burn, one after another; `None` if there are not so many.
    fn pick(&self, amount: u64) -> Option<Vec<usize>> {
        let mut coins: Vec<usize> = (0..self.coins.len()).filter(|it| self.spendable(&self.coins[*it])).collect();
        coins.sort_by_key(|it| {
            let index = self.coins[*it].lot;
            let lot = &self.lots[index];
            (lot.priority, lot.expires.unwrap_or(i64::MAX), !lot.free, lot.effective, index)
        });
        coins.truncate(amount as usize);
        (coins.len() as u64 == amount).then_some(coins)
    }

    fn short(&self, required: u64) -> Answer {
        let available = self.coins.iter().filter(|coin| self.spendable(coin)).count() as u64;
        Answer::Short { available, required }
    }

    fn spend(&mut self, coins: &[usize]) {
        let charge = self.charges.len() - 1;
        for coin in coins {
            self.serial += 1;
            self.coins[*coin].place = Place::Spent { charge, serial: self.serial };
        }
        self.spent_in_period += coins.len() as u64;
    }

    fn give_back(&mut self, coins: &[usize]) {
        for coin in coins {
            let lot = self.coins[*coin].lot;
            self.coins[*coin].place = if self.lots[lot].voided {
                Place::Voided
            } else if self.is_over(lot) {
                Place::Expired
            } else {
                Place::Remaining
            };
        }
    }

    fn group(&self, coins: &[usize]) -> Vec<(usize, u64)> {
        merge(coins.iter().map(|coin| (self.coins[*coin].lot, 1)))
    }

    fn left(&self) -> u64 {
        self.coins.iter().filter(|coin| coin.place == Place::Remaining).count() as u64
    }

    fn write(&mut self, kind: &'static str, amount: u64) {
        let held = |coin: &&Coin| matches!(coin.place, Place::Held { .. });
        let held = self.coins.iter().filter(held).count() as u64;
        self.ledger.push((kind, self.now, amount, self.left(), held));
    }
}
