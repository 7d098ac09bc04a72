//! What the naive model knows of people and prices: who belongs, who may, what a meter costs, and whether two requests
//! are the same.

use std::collections::BTreeSet;

use super::words::{Answer, Ask, Line, Price, Question, Terms, Who, Work};

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

/// Whether the second question may be the first one again, as far as can be told from the line that the first one left
/// and from how much its hold, if it captured one, had reserved: what was erased, and what leaves no trace, is not told
/// apart.
pub(super) fn alike(first: &Ask, second: &Ask, line: &Line, reserved: u64) -> bool {
    match (first, second) {
        (Ask::Charge { work: one, price: some, .. }, Ask::Charge { work: other, price: more, .. }) => {
            one == other && same_price(some, more)
        }
        (Ask::Hold { work: one, amount: some, ttl, .. }, Ask::Hold { work: other, amount: more, ttl: longer, .. }) => {
            one == other && some == more && ttl == longer
        }
        (Ask::Capture { hold: one, price: some, .. }, Ask::Capture { hold: other, price: more, excess }) => {
            let all = Price::Amount(reserved);
            let may_take = more.is_none() || *excess || line.amount <= reserved;
            one == other && may_take && same_price(some.as_ref().unwrap_or(&all), more.as_ref().unwrap_or(&all))
        }
        (Ask::Refund { charge: one, .. }, Ask::Refund { charge: other, amount }) => {
            one == other && amount.is_none_or(|amount| amount == line.amount)
        }
        (Ask::Release { hold: one }, Ask::Release { hold: other })
        | (Ask::Void { lot: one }, Ask::Void { lot: other }) => one == other,
        (Ask::Grant(one), Ask::Grant(other)) => known_terms(one, line.second) == known_terms(other, line.second),
        (Ask::Erase { member: one }, Ask::Erase { member: other }) => one == other,
        _ => false,
    }
}

/// A meter, if it is named, and how many halves of its unit.
type Used = (Option<u8>, u64);

/// Whether both name one amount, or both as much of each meter; a meter without a name may be any.
fn same_price(first: &Price, second: &Price) -> bool {
    match (first, second) {
        (Price::Amount(one), Price::Amount(other)) => one == other,
        (Price::Metered(one), Price::Metered(other)) => {
            let same = |(was, is): (&Used, &Used)| {
                // Only a model with one meter was charged without its name.
                was.1 == is.1 && is.0.is_none_or(|meter| meter == was.0.unwrap_or(0))
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        _ => false,
    }
}

/// What a lot's entry says of what was agreed, apart from remarks.
fn known_terms(terms: &Terms, granted: i64) -> Terms {
    let sorted = |names: &[u8]| names.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let (models, projects) = (sorted(&terms.models), sorted(&terms.projects));
    Terms { effective: Some(terms.effective.unwrap_or(granted)), note: false, models, projects, ..terms.clone() }
}
