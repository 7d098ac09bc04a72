//! The engine and the naive model side by side: the same question to both, and all that they keep compared.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a model counts to a few hundred"
)]

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::{ChargeId, HoldId, Id, LotId};
use bursar_money::{Credits, Quantity};
use bursar_time::Span;

use super::holding::looked;
use super::model::Model;
use super::people::{MOST_HOLDS, named};
use super::steps::{For, Lot as NewLot, Step, What};
use super::words::{Answer, Ask, HoldIs, Kept, Line, Price, Question, Terms, Who, Work, merge};
use super::world::{World, at, id, membership, meter, model, project, rules};
use crate::domain::*;

/// The engine and the model side by side.
pub(super) struct Pair {
    pub(super) world: World,
    model: Model,
    now: i64,
    /// Named questions so far, for retries.
    asked: Vec<Question>,
    pub(super) answers: Vec<Answer>,
    lots: Vec<LotId>,
    holds: Vec<HoldId>,
    charges: Vec<ChargeId>,
}

/// The model's prices in the engine's words.
fn rules_of_the_model() -> Rules {
    let price = |name: &str, meters| ModelPrice { model: model(name), display_name: name.to_owned(), meters };
    let first = vec![meter("meter0", "0.000002", Some(("0.000003", 130))), meter("meter1", "0.000001", None)];
    let second = vec![meter("meter0", "0.000005", Some(("0.000001", 110)))];
    let rates = RateCard::new([price("model0", first), price("model1", second)]);
    Rules { rates, max_open_holds: MOST_HOLDS as u32, ..rules() }
}

/// Running.
impl Pair {
    pub(super) fn run(steps: &[Step]) -> Self {
        // Begins at second 100, so that grants may have begun before.
        let mut pair = Self {
            world: World::new(rules_of_the_model()),
            model: Model::default(),
            now: 100,
            asked: Vec::new(),
            answers: Vec::new(),
            lots: Vec::new(),
            holds: Vec::new(),
            charges: Vec::new(),
        };
        for user in 1..3 {
            pair.world.store.members.insert(id(user), membership(true, 1));
        }
        for step in steps {
            pair.step(step);
        }
        pair.world.forget();
        pair.compare();
        let erased = pair.model.ledger.iter().filter(|line| line.details == Kept::Erased).count();
        let audit = pair.world.store.verify().unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!(audit.erased, erased as u64, "erased");
        pair
    }

    fn step(&mut self, step: &Step) {
        self.now += step.wait;
        if step.write {
            self.world.write();
            self.compare();
        }
        if step.reload {
            self.world.forget();
        }
        if let Some(question) = self.question(step) {
            self.ask(question);
        }
    }

    /// What a step asks; nothing if it changes the world around the account.
    fn question(&mut self, step: &Step) -> Option<Question> {
        match step.what {
            What::Retry { nth } => {
                // Counted from the end: a recent question is repeated most often.
                let count = self.asked.len().max(1);
                return self.asked.get(count - 1 - nth % count).cloned();
            }
            What::Move { user } => {
                let person = self.model.people.user(user);
                person.truth = (!person.truth.0, person.truth.1 + 1);
            }
            What::Tell { user } => {
                let person = self.model.people.user(user);
                person.told = Some(person.truth);
                let (belongs, version) = person.truth;
                self.world.store.members.insert(id(user), membership(belongs, version));
            }
            What::Refresh { user } => {
                let person = self.model.people.user(user);
                person.token = person.truth;
            }
            What::Policy { services_only } => {
                self.model.people.services_spend = services_only;
                let spending = if services_only { Spending::Services } else { Spending::UsersAndServices };
                self.world.change_rules(|rules| rules.spending = spending);
            }
            // The program looks, whoever asked for it.
            What::Look { project, model } => {
                return Some(Question { who: Who::Job, key: None, ask: Ask::Look { project, model } });
            }
            ref what => return Some(Question { who: step.who, key: step.key, ask: self.resolve(what) }),
        }
        None
    }

    fn ask(&mut self, question: Question) {
        let answer = self.engine(&question);
        let expected = self.model.ask(self.now, &question);
        assert_eq!(answer, expected, "{question:?} at {}", self.now);
        self.answers.push(answer);
        if question.key.is_some() {
            self.asked.push(question);
        }
    }

    /// One more than there are stands for something that does not exist.
    fn resolve(&self, what: &What) -> Ask {
        let named = |it: &For| Work { member: it.member, project: it.project, model: it.model };
        match what {
            What::Charge { price, work } => Ask::Charge { price: price.clone(), work: named(work), label: work.label },
            What::Hold { amount, ttl, work } => {
                Ask::Hold { amount: *amount, ttl: *ttl, work: named(work), label: work.label }
            }
            What::Capture { hold, price, excess } => {
                Ask::Capture { hold: recent(*hold, self.holds.len()), price: price.clone(), excess: *excess }
            }
            What::Release { hold } => Ask::Release { hold: recent(*hold, self.holds.len()) },
            What::Refund { charge, amount } => {
                Ask::Refund { charge: recent(*charge, self.charges.len()), amount: *amount }
            }
            What::Grant(lot) => Ask::Grant(self.terms(lot)),
            What::Void { lot } => Ask::Void { lot: recent(*lot, self.lots.len()) },
            What::Erase { member } => Ask::Erase { member: *member },
            _ => Ask::Sweep,
        }
    }

    fn terms(&self, lot: &NewLot) -> Terms {
        let effective = lot.effective.map(|offset| self.now + offset);
        Terms {
            amount: lot.amount,
            priority: lot.priority,
            free: lot.free,
            models: lot.models.clone(),
            projects: lot.projects.clone(),
            effective,
            expires: lot.lasts.map(|lasts| effective.unwrap_or(self.now) + lasts),
            note: lot.note,
        }
    }
}

/// The same question in the engine's words, and its answer in the model's.
impl Pair {
    fn engine(&mut self, question: &Question) -> Answer {
        let now = at(self.now as u64);
        if let Ask::Look { project: of, model: with } = question.ask {
            let (of, with) = (of.map(project_name), with.map(model_name));
            let seen = looked(&self.world, now).balance(now, with.as_ref(), of.as_ref());
            let (balance, _) = self.world.balance(now, with.as_ref(), of.as_ref());
            assert_eq!(seen, balance, "before what is due is booked, and after");
            let second = |expiry: Expiry| (expiry.at.since(at(0)).as_secs() as i64, count(expiry.amount));
            return Answer::Seen {
                available: count(balance.available),
                held: count(balance.held),
                spent: balance.spent_this_period as u64,
                next: balance.next_expiry.map(second),
            };
        }
        let actor = actor(question.who);
        let name = question.key.map(|key| RequestName::new(&actor, format!("k{key}").parse().unwrap()));
        let salt = [self.answers.len() as u8; 16];
        let request = Request::new(name, salt, self.command(&question.ask)).for_member(self.spender(question));
        let result = self.world.run(&request, &actor, now);
        if let Ok(outcome) = &result {
            self.learn(outcome);
        }
        result.map_or_else(|refusal| refused(&refusal), |outcome| self.answer(&outcome))
    }

    fn spender(&self, question: &Question) -> Option<Spender> {
        if let Some(user) = question.who.shows() {
            let (belongs, version) = self.model.people.users[usize::from(user != 1)].token;
            return Some(Spender { user: id(user), token: Some(membership(belongs, version)) });
        }
        named(question).map(|member| Spender { user: id(member), token: None })
    }

    fn command(&self, ask: &Ask) -> Command {
        let second = |second: i64| at(second as u64);
        match ask {
            Ask::Charge { price, work, label } => Command::Charge(ChargeCommand {
                cost: cost(price),
                attribution: attribution(*work),
                labels: labels(*label),
                occurred_at: None,
            }),
            Ask::Hold { amount, ttl, work, label } => Command::Hold(HoldCommand {
                amount: units(*amount),
                ttl: Span::from_secs(*ttl as u64),
                attribution: attribution(*work),
                labels: labels(*label),
            }),
            Ask::Capture { hold, price, excess } => Command::Capture(CaptureCommand {
                hold: one_of(&self.holds, *hold),
                cost: price.as_ref().map(cost),
                allow_excess: *excess,
            }),
            Ask::Release { hold } => Command::Release { hold: one_of(&self.holds, *hold) },
            Ask::Refund { charge, amount } => {
                Command::Refund(RefundCommand { charge: one_of(&self.charges, *charge), amount: amount.map(units) })
            }
            Ask::Grant(terms) => Command::Grant(GrantCommand {
                amount: units(terms.amount),
                source: if terms.free { LotSource::Promotion } else { LotSource::Allowance },
                priority: terms.priority,
                scope: scope(terms),
                effective_at: terms.effective.map(second),
                expires_at: terms.expires.map(second),
                origin: Origin::default(),
                note: terms.note.then(|| Note::parse("a remark").unwrap()),
                begins: None,
            }),
            Ask::Void { lot } => Command::Void(VoidCommand { lot: one_of(&self.lots, *lot), note: None }),
            Ask::Erase { member } => Command::Erase { member: member.map(id) },
            Ask::Sweep | Ask::Look { .. } => Command::Sweep,
        }
    }

    /// Numbers what was made, in the order of its making.
    fn learn(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Charged(it) if !it.replayed => self.charges.push(it.charge.id),
            Outcome::Held(it) if !it.replayed => self.holds.push(it.hold.id),
            Outcome::Granted(it) if !it.replayed => self.lots.push(it.lot.id),
            _ => {}
        }
    }

    fn lots(&self, allocations: &[Allocation]) -> Vec<(usize, u64)> {
        let index = |lot: LotId| self.lots.iter().position(|it| *it == lot).unwrap();
        merge(allocations.iter().map(|it| (index(it.lot), count(it.amount))))
    }

    fn answer(&self, outcome: &Outcome) -> Answer {
        match outcome {
            Outcome::Charged(it) => {
                if let Some(metered) = &it.charge.metered {
                    let parts = Credits::checked_sum(metered.components.iter().map(|part| part.amount));
                    assert_eq!(parts, Some(it.charge.amount), "components add up");
                }
                let lots = self.lots(&it.charge.allocations);
                Answer::Charged { lots, left: count(it.balance_after), again: it.replayed }
            }
            Outcome::Held(it) => Answer::Held {
                lots: self.lots(&it.hold.terms.earmarks),
                left: count(it.balance_after),
                again: it.replayed,
            },
            Outcome::Released(it) => {
                Answer::Released { is: hold_is(it.hold.state), left: count(it.balance_after), again: it.replayed }
            }
            Outcome::Refunded(it) => Answer::Refunded {
                lots: self.lots(&it.refund.allocations),
                lost: count(it.refund.lost),
                left: count(it.balance_after),
                again: it.replayed,
            },
            Outcome::Granted(it) => Answer::Granted { left: count(it.balance_after), again: it.replayed },
            Outcome::Voided(it) => {
                Answer::Voided { amount: count(it.amount), left: count(it.balance_after), again: it.replayed }
            }
            Outcome::Erased(it) => Answer::Erased { again: it.replayed },
            Outcome::TakenAway(_) | Outcome::Restored(_) => panic!("nobody asked for that"),
            Outcome::Swept { .. } => Answer::Swept,
        }
    }
}

/// Comparing.
impl Pair {
    fn compare(&self) {
        self.compare_ledger();
        let store = &self.world.store;
        assert_eq!(store.lots.len(), self.model.lot_count(), "number of lots");
        for (index, lot) in self.lots.iter().map(|id| &store.lots[id]).enumerate() {
            let parts = [lot.remaining, lot.held, lot.spent, lot.expired, lot.voided];
            assert_eq!(parts.map(count), self.model.lot_parts(index), "lot {index}: {lot:?}");
        }
        assert_eq!(store.holds.len(), self.model.hold_count(), "number of holds");
        for (index, hold) in self.holds.iter().map(|id| &store.holds[id]).enumerate() {
            assert_eq!(hold_is(hold.state), self.model.hold_is(index), "hold {index}");
        }
        assert_eq!(self.charges.len(), self.model.charge_count(), "number of charges");
        let open = store.holds.values().filter(|hold| hold.state == HoldState::Open);
        assert_eq!(store.account.open_holds as usize, open.clone().count(), "open holds");
        let first = open.map(|hold| hold.deadline).min();
        assert!(first.is_none() || store.account.next_lapse.is_some_and(|next| Some(next) <= first), "the next lapse");
        self.compare_totals();
    }

    fn compare_ledger(&self) {
        let line = |entry: &Entry| Line {
            kind: entry.kind().as_str(),
            second: entry.at.since(at(0)).as_secs() as i64,
            who: Who::ALL.into_iter().find(|who| actor(*who) == entry.actor).unwrap(),
            amount: count(entry.amount),
            remaining: count(entry.available_after),
            spendable: count(entry.spendable_after),
            held: count(entry.held_after),
            details: match (entry.details_digest, &entry.details) {
                (None, _) => Kept::Nothing,
                (Some(_), None) => Kept::Erased,
                (Some(_), Some(details)) => Kept::Of(details.member.map(|member| member.timestamp_millis())),
            },
        };
        let ledger: Vec<Line> = self.world.store.ledger().iter().map(line).collect();
        assert_eq!(ledger, self.model.ledger, "the ledger");
    }

    fn compare_totals(&self) {
        let (store, counted) = (&self.world.store, &self.model.counted);
        for member in 1..3 {
            let of_member = store.usage.iter().filter(|(key, _)| key.member == id(member));
            let net: i64 = of_member.map(|(_, it)| it.charged - it.refunded).sum();
            assert_eq!(net as u64, self.model.spent_by(member), "usage of member {member}");
        }
        let used = store.meters.iter().map(|(key, it)| {
            let number = |name: &str| name.as_bytes()[5] - b'0';
            let name = (number(key.model.as_str()), number(key.meter.as_str()));
            (name, ((it.quantity / 500_000) as u64, it.charged as u64))
        });
        assert_eq!(used.collect::<BTreeMap<_, _>>(), counted.meters, "usage by meters");
        assert_eq!(store.account.charged as u64, counted.charged, "charged in all");
        assert_eq!(store.account.period.spent as u64, counted.spent_in_period, "spent in the period");
    }

    /// The kinds of actors who booked something.
    pub(super) fn actors(&self) -> BTreeSet<usize> {
        let place = |who: &Actor| Who::ALL.iter().position(|it| actor(*it) == *who).unwrap();
        self.world.store.ledger().iter().map(|entry| place(&entry.actor)).collect()
    }
}

fn recent(raw: usize, count: usize) -> usize {
    // Mostly something recent, now and then something that does not exist.
    if raw == 8 || count == 0 { count } else { count - 1 - raw % count }
}

/// What has that number, or an id that leads nowhere.
fn one_of<K>(ids: &[Id<K>], index: usize) -> Id<K> {
    ids.get(index).copied().unwrap_or_else(|| id(9))
}

fn units(amount: u64) -> Credits {
    Credits::from_micro(amount as i64).unwrap()
}

fn count(amount: Credits) -> u64 {
    amount.micro() as u64
}

fn actor(who: Who) -> Actor {
    match who {
        Who::User(user) => Actor::User { user: id(user), session: id(user) },
        Who::Key(user) => Actor::ApiKey { key: id(user), user: id(user) },
        Who::Operator { operator, user } => {
            Actor::OperatorOnBehalf { operator: id(operator), user: id(user), session: id(user) }
        }
        Who::Service(service) => Actor::Service { service: id(service) },
        Who::Behalf { service, user } => {
            Actor::ServiceOnBehalf { service: id(service), user: id(user), session: id(user) }
        }
        Who::Job => Actor::Job,
    }
}

fn model_name(number: u8) -> ModelName {
    model(&format!("model{number}"))
}

fn project_name(number: u8) -> ProjectName {
    project(&format!("project{number}"))
}

fn attribution(work: Work) -> Attribution {
    Attribution { member: id(work.member), project: work.project.map(project_name), model: work.model.map(model_name) }
}

fn scope(terms: &Terms) -> Scope {
    let models = terms.models.iter().map(|it| model_name(*it));
    Scope::new(models, terms.projects.iter().map(|it| project_name(*it))).unwrap_or_default()
}

fn labels(label: bool) -> Labels {
    Labels::parse(label.then(|| ("say".to_owned(), "something".to_owned())).into_iter().collect()).unwrap()
}

fn cost(price: &Price) -> Cost {
    let used = |(meter, halves): &(Option<u8>, u64)| MeterUse {
        meter: meter.map(|number| MeterName::parse(&format!("meter{number}")).unwrap()),
        quantity: Quantity::from_millionths(*halves as i64 * 500_000).unwrap(),
    };
    match price {
        Price::Amount(amount) => Cost::Amount(units(*amount)),
        Price::Metered(usage) => Cost::Metered(usage.iter().map(used).collect()),
    }
}

fn hold_is(state: HoldState) -> HoldIs {
    match state {
        HoldState::Open => HoldIs::Open,
        HoldState::Captured => HoldIs::Captured,
        HoldState::Released => HoldIs::Released,
        HoldState::Lapsed => HoldIs::Lapsed,
    }
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::NotAMember => Answer::NotAMember,
        Refusal::RequestIdReused => Answer::Reused,
        Refusal::OrganizationSuspended
        | Refusal::OrganizationDeleted
        | Refusal::OrganizationPending
        | Refusal::UserSuspended => panic!("the model's owner is active"),
        Refusal::FeedStale => panic!("the model's feeds are fresh"),
        Refusal::RenewalDue => panic!("the model has no subscriptions"),
        Refusal::LimitReached(_) => panic!("the model has no limits"),
        Refusal::OrganizationRequired => panic!("the model's account is an organization's"),
        Refusal::SpendingByServicesOnly => Answer::ServicesSpend,
        Refusal::RefundByServicesOnly => Answer::ServicesRefund,
        Refusal::HoldNotFound | Refusal::ChargeNotFound | Refusal::LotNotFound => Answer::NotFound,
        Refusal::HoldNotYours => Answer::NotYours,
        Refusal::HoldSettled => Answer::Settled,
        Refusal::HoldExpired { .. } => Answer::Expired,
        Refusal::LotEmpty => Answer::LotEmpty,
        Refusal::NoModel => Answer::NoModel,
        Refusal::Rate(_) => Answer::NoPrice,
        Refusal::ZeroAmount => Answer::Zero,
        Refusal::HoldTimeOutOfRange { .. } => Answer::HoldTime,
        Refusal::EmptyValidity => Answer::EmptyValidity,
        Refusal::CaptureAboveHold { .. } => Answer::AboveHold,
        Refusal::RefundAboveCharge { left, .. } => Answer::AboveCharge { left: count(*left) },
        Refusal::TooManyHolds { .. } => Answer::ManyHolds,
        Refusal::InsufficientCredits { available, required } => {
            Answer::Short { available: count(*available), required: count(*required) }
        }
        Refusal::BalanceTooLarge | Refusal::TotalsFull | Refusal::TooManyLots | Refusal::Inconsistent(_) => {
            panic!("{refusal}")
        }
    }
}
