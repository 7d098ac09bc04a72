//! A second engine, written separately and as naively as can be.
//!
//! Every single unit of credit is an object that is in exactly one place. Spending moves objects
//! one by one; time passes second by second. There are no sums to get wrong, no order to maintain
//! and nothing shared with the engine under test.

#![expect(clippy::cast_possible_truncation, reason = "a model counts to a few hundred")]

use std::collections::BTreeMap;

use super::people::{MOST_HOLDS, Part, People, alike, may_settle, price};
use super::words::{Answer, Ask, HoldIs, Kept, Line, Price, Question, Terms, Who, Work, again, merge};

/// Where one unit of credit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
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

#[derive(Debug, Clone)]
struct Lot {
    terms: Terms,
    effective: i64,
    voided: bool,
}

#[derive(Debug, Clone)]
struct Hold {
    is: HoldIs,
    deadline: i64,
    work: Work,
    placed_by: Who,
    coins: Vec<usize>,
}

/// A named question that was carried out, and what was answered.
#[derive(Debug)]
struct Answered {
    question: Question,
    answer: Answer,
    /// Its line in the ledger, where its details stand.
    line: usize,
}

/// What was charged and by which meters used.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) charged: u64,
    pub(super) spent_in_period: u64,
    /// Halves of units and cost, by model and meter.
    pub(super) meters: BTreeMap<(u8, u8), (u64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    now: i64,
    serial: u64,
    coins: Vec<Coin>,
    lots: Vec<Lot>,
    holds: Vec<Hold>,
    charges: Vec<Work>,
    answers: Vec<Answered>,
    pub(super) people: People,
    pub(super) ledger: Vec<Line>,
    pub(super) counted: Counted,
}

/// Looking.
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
            Place::Spent { charge, .. } => self.charges[charge].member == member,
            _ => false,
        };
        self.coins.iter().filter(is_theirs).count() as u64
    }

    /// How much a capture's hold had reserved.
    fn reserved(&self, ask: &Ask) -> u64 {
        match ask {
            Ask::Capture { hold, .. } => self.holds[*hold].coins.len() as u64,
            _ => 0,
        }
    }

    fn is_over(&self, lot: usize) -> bool {
        self.lots[lot].terms.expires.is_some_and(|expires| expires <= self.now)
    }

    fn spendable(&self, coin: &Coin) -> bool {
        coin.place == Place::Remaining && self.lots[coin.lot].effective <= self.now && !self.is_over(coin.lot)
    }

    fn pays_for(&self, coin: &Coin, model: Option<u8>, project: Option<u8>) -> bool {
        let Terms { models, projects, .. } = &self.lots[coin.lot].terms;
        let fits = |names: &[u8], name: Option<u8>| names.is_empty() || name.is_some_and(|name| names.contains(&name));
        fits(models, model) && fits(projects, project)
    }

    /// The next `amount` coins to burn, one after another; if there are not so many, how many there are.
    fn pick(&self, amount: u64, work: Work) -> Result<Vec<usize>, Answer> {
        let may = |coin: &Coin| self.spendable(coin) && self.pays_for(coin, work.model, work.project);
        let mut coins: Vec<usize> = (0..self.coins.len()).filter(|it| may(&self.coins[*it])).collect();
        coins.sort_by_key(|it| {
            let index = self.coins[*it].lot;
            let Lot { terms, effective, .. } = &self.lots[index];
            (terms.priority, terms.expires.unwrap_or(i64::MAX), !terms.free, *effective, index)
        });
        let available = coins.len() as u64;
        coins.truncate(amount as usize);
        if available < amount { Err(Answer::Short { available, required: amount }) } else { Ok(coins) }
    }

    fn group(&self, coins: &[usize]) -> Vec<(usize, u64)> {
        merge(coins.iter().map(|coin| (self.coins[*coin].lot, 1)))
    }

    fn left(&self) -> u64 {
        self.coins.iter().filter(|coin| self.spendable(coin)).count() as u64
    }

    fn held(&self) -> u64 {
        self.coins.iter().filter(|coin| matches!(coin.place, Place::Held { .. })).count() as u64
    }

    fn look(&self, project: Option<u8>, model: Option<u8>) -> Answer {
        let any = project.is_none() && model.is_none();
        let seen = |coin: &&Coin| self.spendable(coin) && (any || self.pays_for(coin, model, project));
        let expiry = |coin: &Coin| self.lots[coin.lot].terms.expires;
        let next = self.coins.iter().filter(seen).filter_map(expiry).min();
        let then = |at| self.coins.iter().filter(seen).filter(|coin| expiry(coin) == Some(at)).count() as u64;
        Answer::Seen {
            available: self.coins.iter().filter(seen).count() as u64,
            held: self.held(),
            spent: self.counted.spent_in_period,
            next: next.map(|at| (at, then(at))),
        }
    }
}

/// Answering.
impl Model {
    /// Lets time pass, second by second, and then does what is asked.
    pub(super) fn ask(&mut self, now: i64, question: &Question) -> Answer {
        while self.now < now {
            self.now += 1;
            self.fall_due();
        }
        if !self.people.may_come(question.who) {
            return Answer::NotAMember;
        }
        let (caller, key) = (question.who.caller(), question.key);
        let known = |it: &&Answered| key.is_some() && it.question.key == key && it.question.who.caller() == caller;
        if let Some(first) = self.answers.iter().find(known) {
            let line = &self.ledger[first.line];
            let same = match line.details {
                Kept::Erased => alike(&first.question.ask, &question.ask, line, self.reserved(&first.question.ask)),
                _ => first.question.ask == question.ask,
            };
            return if same { again(first.answer.clone()) } else { Answer::Reused };
        }
        if !self.people.may_be_named(question) {
            return Answer::NotAMember;
        }
        let line = self.ledger.len();
        let answer = self.carry_out(question).unwrap_or_else(|refusal| refusal);
        if key.is_some() && self.ledger.len() > line {
            self.answers.push(Answered { question: question.clone(), answer: answer.clone(), line });
        }
        answer
    }

    fn carry_out(&mut self, question: &Question) -> Result<Answer, Answer> {
        match &question.ask {
            Ask::Charge { price, work, label } => self.charge(question, price, *work, *label),
            Ask::Hold { amount, ttl, work, label } => self.hold(question, *amount, *ttl, *work, *label),
            Ask::Capture { hold, price, excess } => self.capture(question, *hold, price.as_ref(), *excess),
            Ask::Release { hold } => self.release(question, *hold),
            Ask::Refund { charge, amount } => self.refund(question, *charge, *amount),
            Ask::Grant(terms) => self.grant(question, terms),
            Ask::Void { lot } => self.void(question, *lot),
            Ask::Erase { member } => Ok(self.erase(question, *member)),
            Ask::Sweep => Ok(Answer::Swept),
            Ask::Look { project, model } => Ok(self.look(*project, *model)),
        }
    }

    fn charge(&mut self, question: &Question, cost: &Price, work: Work, label: bool) -> Result<Answer, Answer> {
        if !self.people.may_spend(question.who) {
            return Err(Answer::ServicesSpend);
        }
        let (amount, parts) = price(cost, work, self.now)?;
        if amount == 0 {
            return Err(Answer::Zero);
        }
        let coins = self.pick(amount, work)?;
        self.spend(&coins, work, &parts);
        let details = kept(question, Some(work.member), label);
        self.write("CHARGE", question.who, amount, details);
        Ok(Answer::Charged { lots: self.group(&coins), left: self.left(), again: false })
    }

    fn hold(&mut self, question: &Question, amount: u64, ttl: i64, work: Work, label: bool) -> Result<Answer, Answer> {
        if !self.people.may_spend(question.who) {
            return Err(Answer::ServicesSpend);
        }
        if amount == 0 {
            return Err(Answer::Zero);
        }
        if !(1..=86_400).contains(&ttl) {
            return Err(Answer::HoldTime);
        }
        if self.holds.iter().filter(|hold| hold.is == HoldIs::Open).count() >= MOST_HOLDS {
            return Err(Answer::ManyHolds);
        }
        let coins = self.pick(amount, work)?;
        let hold = self.holds.len();
        for coin in &coins {
            self.coins[*coin].place = Place::Held { hold };
        }
        let lots = self.group(&coins);
        let deadline = self.now + ttl;
        self.holds.push(Hold { is: HoldIs::Open, deadline, work, placed_by: question.who, coins });
        let details = kept(question, Some(work.member), label);
        self.write("HOLD", question.who, amount, details);
        Ok(Answer::Held { lots, left: self.left(), again: false })
    }

    fn open(&self, question: &Question, hold: usize) -> Result<Hold, Answer> {
        let hold = self.holds.get(hold).ok_or(Answer::NotFound)?;
        if may_settle(question.who, hold.placed_by) { Ok(hold.clone()) } else { Err(Answer::NotYours) }
    }

    fn capture(
        &mut self,
        question: &Question,
        hold: usize,
        cost: Option<&Price>,
        excess: bool,
    ) -> Result<Answer, Answer> {
        let Hold { is, work, coins, .. } = self.open(question, hold)?;
        match is {
            HoldIs::Open => {}
            HoldIs::Captured | HoldIs::Released => return Err(Answer::Settled),
            HoldIs::Lapsed => return Err(Answer::Expired),
        }
        let reserved = coins.len() as u64;
        let (amount, parts) = cost.map_or(Ok((reserved, Vec::new())), |cost| price(cost, work, self.now))?;
        if amount == 0 {
            return Err(Answer::Zero);
        }
        if amount > reserved && !excess {
            return Err(Answer::AboveHold);
        }
        let more = self.pick(amount.saturating_sub(reserved), work)?;
        let (mut spent, mut back) = (Vec::new(), Vec::new());
        for coin in coins {
            if (spent.len() as u64) < amount {
                spent.push(coin);
            } else {
                back.push(coin);
            }
        }
        spent.extend(more);
        self.spend(&spent, work, &parts);
        self.give_back(&back);
        self.holds[hold].is = HoldIs::Captured;
        self.write("CAPTURE", question.who, amount, kept(question, Some(work.member), false));
        Ok(Answer::Charged { lots: self.group(&spent), left: self.left(), again: false })
    }

    fn release(&mut self, question: &Question, hold: usize) -> Result<Answer, Answer> {
        let Hold { is, work, coins, .. } = self.open(question, hold)?;
        match is {
            HoldIs::Captured => Err(Answer::Settled),
            HoldIs::Released | HoldIs::Lapsed => Ok(Answer::Released { is, left: self.left(), again: true }),
            HoldIs::Open => {
                self.give_back(&coins);
                self.holds[hold].is = HoldIs::Released;
                self.write("RELEASE", question.who, coins.len() as u64, kept(question, Some(work.member), false));
                Ok(Answer::Released { is: HoldIs::Released, left: self.left(), again: false })
            }
        }
    }

    fn refund(&mut self, question: &Question, charge: usize, amount: Option<u64>) -> Result<Answer, Answer> {
        if question.who.user().is_some() {
            return Err(Answer::ServicesRefund);
        }
        let work = *self.charges.get(charge).ok_or(Answer::NotFound)?;
        if amount == Some(0) {
            return Err(Answer::Zero);
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
            return Err(Answer::AboveCharge { left });
        }
        let coins: Vec<usize> = coins.into_iter().take(amount as usize).map(|it| it.1).collect();
        self.give_back(&coins);
        let lost = coins.iter().filter(|it| self.coins[**it].place != Place::Remaining).count();
        self.counted.spent_in_period = self.counted.spent_in_period.saturating_sub(amount);
        self.write("REFUND", question.who, amount, kept(question, Some(work.member), false));
        Ok(Answer::Refunded { lots: self.group(&coins), lost: lost as u64, left: self.left(), again: false })
    }

    fn grant(&mut self, question: &Question, terms: &Terms) -> Result<Answer, Answer> {
        let effective = terms.effective.unwrap_or(self.now);
        if terms.amount == 0 {
            return Err(Answer::Zero);
        }
        if terms.expires.is_some_and(|expires| expires <= effective) {
            return Err(Answer::EmptyValidity);
        }
        for _ in 0..terms.amount {
            self.coins.push(Coin { lot: self.lots.len(), place: Place::Remaining });
        }
        self.lots.push(Lot { terms: terms.clone(), effective, voided: false });
        self.write("GRANT", question.who, terms.amount, kept(question, None, terms.note));
        let left = self.left();
        self.fall_due();
        Ok(Answer::Granted { left, again: false })
    }

    fn void(&mut self, question: &Question, lot: usize) -> Result<Answer, Answer> {
        let Lot { voided, .. } = self.lots.get(lot).ok_or(Answer::NotFound)?;
        if *voided {
            return Ok(Answer::Voided { amount: 0, left: self.left(), again: true });
        }
        let [remaining, held, ..] = self.lot_parts(lot);
        if self.is_over(lot) || remaining + held == 0 {
            return Err(Answer::LotEmpty);
        }
        self.lots[lot].voided = true;
        let amount = self.move_remaining(lot, Place::Voided);
        self.write("VOID", question.who, amount, kept(question, None, false));
        Ok(Answer::Voided { amount, left: self.left(), again: false })
    }

    fn erase(&mut self, question: &Question, member: Option<u64>) -> Answer {
        for line in &mut self.ledger {
            if line.details == Kept::Of(member) {
                line.details = Kept::Erased;
            }
        }
        self.write("ERASE", question.who, 0, kept(question, None, false));
        Answer::Erased { again: false }
    }
}

/// Moving coins.
impl Model {
    /// What this second brings by itself: lots first, then holds.
    fn fall_due(&mut self) {
        for lot in 0..self.lots.len() {
            if self.is_over(lot) {
                let amount = self.move_remaining(lot, Place::Expired);
                if amount > 0 {
                    self.write("EXPIRE", Who::Job, amount, Kept::Nothing);
                }
            }
        }
        for hold in 0..self.holds.len() {
            let Hold { is, deadline, coins, .. } = self.holds[hold].clone();
            if is == HoldIs::Open && deadline <= self.now {
                self.give_back(&coins);
                self.holds[hold].is = HoldIs::Lapsed;
                self.write("HOLD_LAPSED", Who::Job, coins.len() as u64, Kept::Nothing);
            }
        }
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

    fn spend(&mut self, coins: &[usize], work: Work, parts: &[Part]) {
        let charge = self.charges.len();
        self.charges.push(work);
        for coin in coins {
            self.serial += 1;
            self.coins[*coin].place = Place::Spent { charge, serial: self.serial };
        }
        self.counted.charged += coins.len() as u64;
        self.counted.spent_in_period += coins.len() as u64;
        for (meter, halves, cost) in parts {
            let model = work.model.expect("only a model has meters");
            let counted = self.counted.meters.entry((model, *meter)).or_default();
            *counted = (counted.0 + halves, counted.1 + cost);
        }
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

    fn write(&mut self, kind: &'static str, who: Who, amount: u64, details: Kept) {
        let remaining = self.coins.iter().filter(|coin| coin.place == Place::Remaining).count() as u64;
        let (second, spendable, held) = (self.now, self.left(), self.held());
        self.ledger.push(Line { kind, second, who, amount, remaining, spendable, held, details });
    }
}

/// The details of what a question books, for `member`.
fn kept(question: &Question, member: Option<u64>, text: bool) -> Kept {
    if question.key.is_some() || text { Kept::Of(member) } else { Kept::Nothing }
}
