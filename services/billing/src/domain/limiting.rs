//! What decisions and loading ask of an account's limits.

use std::sync::Arc;

use bursar_id::{ApiKeyId, UserId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::actor::Actor;
use super::attribution::Attribution;
use super::charge::Charge;
use super::command::{Command, Request};
use super::hold::Hold;
use super::limit::{Limit, LimitSet, LimitSubject, Moment, Open, Subject};
use super::limits::{Limits, Made, Now, UseKey, Used};
use super::refusal::Refusal;
use super::state::AccountState;

/// The work that a request is for, if it names any.
fn named(request: &Request) -> Option<&Attribution> {
    match &request.command {
        Command::Charge(command) => Some(&command.attribution),
        Command::Hold(command) => Some(&command.attribution),
        _ => None,
    }
}

fn of_hold(hold: &Hold) -> Made<'_> {
    Made { work: &hold.terms.attribution, key: hold.terms.placed_by.key(), moment: hold.terms.moment() }
}

fn of_charge(charge: &Charge) -> Made<'_> {
    Made { work: &charge.attribution, key: charge.key, moment: charge.counted }
}

/// Loading.
impl AccountState {
    /// Sets the account's limits. What is used of them must be loaded as well ([`AccountState::needed_use`]).
    pub fn load_limits(&mut self, set: Arc<LimitSet>) {
        self.limits = Limits::of(set);
    }

    /// The account's limits, as far as they are loaded.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Which use of limits must be known to decide these requests at `now`, and what is loaded of holds and charges for
    /// them: load those before.
    pub fn needed_use<'a>(
        &self,
        asked: impl IntoIterator<Item = (&'a Request, &'a Actor)>,
        now: Timestamp,
    ) -> Vec<UseKey> {
        let mut needed = Vec::new();
        if self.limits.set().is_empty() {
            return needed;
        }
        let now = self.windows(now);
        for (request, actor) in asked {
            if let Some(work) = named(request) {
                let keys = self.limits.keys(self.made_now(work, actor.key(), now), now);
                needed.extend(keys.into_iter().map(|(key, _)| key));
            }
        }
        let made = self.holds().map(of_hold).chain(self.charges.values().map(of_charge));
        needed.extend(made.flat_map(|made| self.limits.keys(made, now)).map(|(key, _)| key));
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// Adds what is stored of that. Of the windows that are open at `now` and have nothing stored nothing was used.
    pub fn load_use(&mut self, needed: Vec<UseKey>, found: impl IntoIterator<Item = (UseKey, Used)>, now: Timestamp) {
        for (key, used) in found {
            self.limits.load(key, used);
        }
        let now = self.windows(now);
        for key in needed {
            self.limits.know(key, now);
        }
    }

    /// Whether the use of limits is known that a request by `actor` needs at `now`.
    pub fn knows_use(&self, request: &Request, actor: &Actor, now: Timestamp) -> bool {
        if self.limits.set().is_empty() {
            return true;
        }
        let now = self.windows(now);
        named(request).is_none_or(|work| self.limits.suffice(self.made_now(work, actor.key(), now), now))
    }

    /// How much of a limit is used at `now`, and in which window. Of every member's limit, what `only` has used, or else
    /// that member whom it governs who has used most.
    pub fn used_of(&self, limit: &Limit, only: Option<UserId>, now: Timestamp) -> (i64, Open) {
        let open = self.windows(now).open(limit.window);
        let used = |subject: &Subject| {
            let key = UseKey { subject: subject.clone(), window: limit.window, starts_at: open.starts_at };
            self.limits.used(&key).map_or(0, |it| it.used)
        };
        let used = match (&limit.subject, only) {
            (LimitSubject::One(subject), _) => used(subject),
            (LimitSubject::EveryMember, Some(member)) => used(&Subject::Member(member)),
            (LimitSubject::EveryMember, None) => {
                let theirs = self.limits.all_used().filter(|(key, _)| {
                    key.window == limit.window
                        && key.starts_at == open.starts_at
                        && self.limits.set().governs(limit, &key.subject)
                });
                theirs.map(|(_, it)| it.used).max().unwrap_or(0)
            }
        };
        (used, open)
    }

    fn windows(&self, now: Timestamp) -> Now {
        let now = self.time(now);
        self.limits.now(now, self.account.period.at(now).month)
    }

    fn made_now<'a>(&self, work: &'a Attribution, key: Option<ApiKeyId>, now: Now) -> Made<'a> {
        let period = self.account.period.at(now.at).month.start;
        Made { work, key, moment: Moment { at: now.at, period } }
    }
}

/// Deciding.
impl AccountState {
    fn turn(&mut self, now: Timestamp) -> Now {
        self.limits.turn(now, self.account.period.month)
    }

    /// Whether limits let new work take `amount`.
    pub(super) fn limits_admit(
        &mut self,
        work: &Attribution,
        key: Option<ApiKeyId>,
        amount: Credits,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.limits.set().is_empty() {
            return Ok(());
        }
        let now = self.turn(now);
        self.limits.admit(self.made_now(work, key, now), amount, now)
    }

    /// Counts what new work took.
    pub(super) fn count_new(&mut self, work: &Attribution, key: Option<ApiKeyId>, amount: Credits, now: Timestamp) {
        if !self.limits.set().is_empty() {
            let now = self.turn(now);
            let made = self.made_now(work, key, now);
            self.limits.count(made, amount.micro(), now);
        }
    }

    /// Whether limits let a hold's capture take `excess` more than it reserved: where the hold counts.
    pub(super) fn limits_admit_excess(&mut self, hold: &Hold, excess: Credits, now: Timestamp) -> Result<(), Refusal> {
        if self.limits.set().is_empty() {
            return Ok(());
        }
        let now = self.turn(now);
        self.limits.admit(of_hold(hold), excess, now)
    }

    /// Counts that a hold has ended, and `spent` of it was spent: where the hold counts.
    pub(super) fn count_settled(&mut self, hold: &Hold, spent: Credits, now: Timestamp) {
        if !self.limits.set().is_empty() {
            let now = self.turn(now);
            self.limits.count(of_hold(hold), spent.micro() - hold.terms.amount.micro(), now);
        }
    }

    /// Counts what was given back of a charge, where the charge counts.
    pub(super) fn count_given_back(&mut self, charge: &Charge, amount: Credits, now: Timestamp) {
        if !self.limits.set().is_empty() {
            let now = self.turn(now);
            self.limits.count(of_charge(charge), -amount.micro(), now);
        }
    }
}
