//! What the naive model knows of people and prices: who belongs, who may, what a meter costs, and whether two requests
//! are the same.

use super::words::{Answer, Ask, Price, Question, Who, Work};

/// How many holds may be open in the model's account.
pub(super) const MOST_HOLDS: usize = 2;

/// Whether somebody belongs, in which version of the membership.
type Word = (bool, u64);

/// One user's membership: how it is, what billing was told, and what the user's token says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) truth: Word,
    pub(super) told: Option<Word>,
    pub(super) token: Word,
}

impl Default for Person {
    fn default() -> Self {
        Self { truth: (true, 1), told: Some((true, 1)), token: (true, 1) }
    }
}

/// Users 1 and 2, and what they and others may do.
#[derive(Debug, Clone, Default)]
pub(super) struct People {
    pub(super) users: [Person; 2],
    pub(super) services_spend: bool,
}

impl People {
    pub(super) fn user(&mut self, user: u64) -> &mut Person {
        if user == 1 { &mut self.users[0] } else { &mut self.users[1] }
    }

    fn told(&self, user: u64) -> Option<Word> {
        self.users[usize::from(user != 1)].told
    }

    /// Whether whoever shows a token or key belongs: the newer word counts.
    pub(super) fn may_come(&self, who: Who) -> bool {
        let Some(user) = who.shows() else { return true };
        let token = self.users[usize::from(user != 1)].token;
        match self.told(user) {
            Some((belongs, version)) if version >= token.1 => belongs,
            _ => token.0,
        }
    }

    /// Whether the member whom a service names belongs.
    pub(super) fn may_be_named(&self, question: &Question) -> bool {
        named(question).is_none_or(|member| self.told(member).is_some_and(|(belongs, _)| belongs))
    }

    pub(super) fn may_spend(&self, who: Who) -> bool {
        !self.services_spend || who.user().is_none()
    }
}

/// The member whom a service without a token names.
pub(super) fn named(question: &Question) -> Option<u64> {
    match (question.who, &question.ask) {
        (Who::Service(_), Ask::Charge { work, .. } | Ask::Hold { work, .. }) => Some(work.member),
        _ => None,
    }
}

/// Whether `who` may settle what `placer` placed.
pub(super) fn may_settle(who: Who, placer: Who) -> bool {
    match who.user() {
        Some(user) => placer.user() == Some(user),
        None => true,
    }
}

/// What each meter costs by the unit at a second: model 0 has two meters, model 1 has one, and no other has a price.
/// Some change at second 130 and some at 110.
pub(super) fn rate(model: u8, meter: u8, now: i64) -> Option<u64> {
    match (model, meter) {
        (0, 0) => Some(if now < 130 { 2 } else { 3 }),
        (0, 1) => Some(1),
        (1, 0) => Some(if now < 110 { 5 } else { 1 }),
        _ => None,
    }
}

/// A meter, how many halves of its unit were used, and what that costs.
pub(super) type Part = (u8, u64, u64);

/// What work costs, and what of it each meter.
pub(super) fn price(price: &Price, work: Work, now: i64) -> Result<(u64, Vec<Part>), Answer> {
    let usage = match price {
        Price::Amount(amount) => return Ok((*amount, Vec::new())),
        Price::Metered(usage) => usage,
    };
    let model = work.model.ok_or(Answer::NoModel)?;
    let mut parts: Vec<Part> = Vec::new();
    for (meter, halves) in usage {
        // Without a name only where there is just one meter.
        let meter = meter.or((model == 1).then_some(0)).ok_or(Answer::NoPrice)?;
        let rate = rate(model, meter, now).ok_or(Answer::NoPrice)?;
        if parts.iter().any(|part| part.0 == meter) {
            return Err(Answer::NoPrice);
        }
        // Half a unit is never free.
        let cost = (0..*halves).fold(0, |cost, _| cost + rate);
        parts.push((meter, *halves, cost / 2 + cost % 2));
    }
    if parts.is_empty() {
        return Err(Answer::NoPrice);
    }
    Ok((parts.iter().map(|part| part.2).sum(), parts))
}

/// Whether the second question is the first one again, as far as can be told without what was erased.
pub(super) fn alike(first: &Ask, second: &Ask) -> bool {
    match (first, second) {
        (Ask::Charge { work: one, .. }, Ask::Charge { work: other, .. }) => one == other,
        (Ask::Hold { work: one, amount: some, .. }, Ask::Hold { work: other, amount: more, .. }) => {
            one == other && some == more
        }
        (Ask::Capture { hold: one, .. }, Ask::Capture { hold: other, .. })
        | (Ask::Release { hold: one }, Ask::Release { hold: other })
        | (Ask::Refund { charge: one, .. }, Ask::Refund { charge: other, .. })
        | (Ask::Void { lot: one }, Ask::Void { lot: other }) => one == other,
        (Ask::Grant(one), Ask::Grant(other)) => one.amount == other.amount,
        (Ask::Erase { member: one }, Ask::Erase { member: other }) => one == other,
        _ => false,
    }
}
