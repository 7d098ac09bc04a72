//! The naive model of an account's year: lists and a calendar, nothing of the service's.

use bursar_secret::Entropy;

use super::calendar::{after_months, date};
use super::mind::{AGAIN, Deed, FIRST, KINDS, Kind};
use super::papers::Papers;
use super::plan::Plan;
use super::purse::{Disputed, Part, Purse};
use super::sold::{BUSINESS, ENTERPRISE, PACKS, PRO, SOLO, Sold, Terms, YEARLY, YEARLY_PRO, whole};
use super::taxes::{Bill, COUNTRIES};

/// On how many days after it began or did something, an account does something: never on a boundary, and never before the last
/// attempt at a month that was declined.
const FIRST_DEED: usize = 13;
const BETWEEN_DEEDS: usize = 30;
/// How many days after its boundary a month is tried again that was declined; then the plan lapses.
const RETRIES: [usize; 4] = [1, 3, 5, 7];
/// How many seats more somebody has at most.
const MOST_SEATS: u32 = 5;
/// The days on which a month's last ones are the anchor: 31 December, and 29 and 30 January.
const LAST_DAYS: [usize; 3] = [0, 29, 30];

/// The pack that was bought last.
#[derive(Clone, Debug)]
struct Bought {
    credits: u64,
    bill: Bill,
    /// How many cents of it went back, and for how many credits.
    back: u64,
    taken: u64,
}

/// What somebody's plan leaves to an organization.
#[derive(Debug)]
pub(super) struct Heritage {
    plan: Plan,
    parts: Vec<Part>,
}

/// One account's year.
#[derive(Debug)]
pub(super) struct Life {
    dice: Dice,
    /// `None` where nobody lives yet.
    next_deed: Option<usize>,
    /// What it begins with, and does first.
    first: (Option<&'static Sold>, Option<Kind>),
    plan: Option<Plan>,
    purse: Purse,
    bought: Option<Bought>,
    disputed: Option<Disputed>,
    /// Whether there is an organization that has had nothing of it yet.
    may_move: bool,
    leaves: Option<Heritage>,
    pub(super) papers: Papers,
    did: Vec<(String, Deed)>,
}

#[derive(Debug)]
struct Dice(Entropy);

impl Dice {
    fn below(&self, sides: u64) -> u64 {
        u64::from_le_bytes(self.0.bytes()) % sides
    }

    fn index(&self, sides: usize) -> usize {
        usize::try_from(self.below(u64::try_from(sides).unwrap())).unwrap()
    }
}

impl Life {
    /// The life of the `number`-th account, the first of which is 1.
    pub(super) fn of(number: u64) -> Self {
        let dice = Dice(Entropy::seeded(number));
        let nth = usize::try_from(number).unwrap();
        let starts = if nth.is_multiple_of(4) { LAST_DAYS[nth / 4 % LAST_DAYS.len()] } else { dice.index(31) };
        let (plan, kind) = FIRST[nth % FIRST.len()];
        let nobody = Self::of_nobody(number);
        let first = (Some(plan), Some(kind));
        Self { dice, next_deed: Some(starts), first, may_move: true, papers: Papers::of(nth), ..nobody }
    }

    /// That of the organization which the `number`-th account's plan may become the plan of: in another country.
    pub(super) fn of_nobody(number: u64) -> Self {
        Self {
            dice: Dice(Entropy::seeded(1_000_000 + number)),
            next_deed: None,
            first: (None, None),
            plan: None,
            purse: Purse::default(),
            bought: None,
            disputed: None,
            may_move: false,
            leaves: None,
            papers: Papers::of(usize::try_from(number).unwrap() + 3),
            did: Vec::new(),
        }
    }

    /// What it does today; and what happens to it today before that.
    pub(super) fn deeds(&mut self, day: usize) -> Vec<Deed> {
        let mut deeds = self.passes(day);
        if self.next_deed == Some(day) {
            self.next_deed = Some(day + BETWEEN_DEEDS);
            deeds.extend(self.is_decided(day));
            deeds.extend(self.chooses(day));
        }
        self.did.extend(deeds.iter().map(|deed| (date(day), deed.clone())));
        deeds
    }

    /// The turn of the month, or another attempt at it.
    fn passes(&mut self, day: usize) -> Vec<Deed> {
        let left = self.purse.ends(day);
        let Some(mut plan) = self.plan.take() else { return Vec::new() };
        let ends = plan.retry.is_none() && plan.end() == day;
        if !ends && plan.retry != Some(day) {
            self.plan = Some(plan);
            return Vec::new();
        }
        if ends {
            Self::month_is_over(&mut plan, left);
        }
        let is_paid = plan.months < plan.paid;
        if plan.marked && !is_paid {
            return Vec::new();
        }
        if plan.fails > 0 && !is_paid {
            return self.is_declined(plan);
        }
        self.begins_a_month(&mut plan, day);
        self.plan = Some(plan);
        Vec::new()
    }

    /// Nothing is left of a month, but what rolls over into the next one, if that comes: the newest first, up to the plan's cap.
    fn month_is_over(plan: &mut Plan, left: Vec<u64>) {
        let mut room = plan.has.of.rollover;
        for lot in left.into_iter().rev() {
            let part = lot.min(room);
            room -= part;
            if part > 0 {
                plan.over.insert(0, part);
            }
        }
    }

    /// The month after the one that is over is not paid: it is tried again, or was for the last time.
    fn is_declined(&mut self, mut plan: Plan) -> Vec<Deed> {
        plan.fails -= 1;
        let deeds = if plan.fails == 0 { vec![Deed::CardIsMended] } else { Vec::new() };
        plan.retry = RETRIES.get(plan.failed).map(|days| plan.end() + days);
        plan.failed += 1;
        if plan.retry.is_none() {
            // What is left of a month that nobody has paid is void.
            self.purse.voids();
            return deeds;
        }
        if plan.has.of.in_grace && !plan.granted {
            plan.granted = true;
            self.purse.grants(plan.has.credits(), plan.end(), after_months(plan.anchor, plan.months + 1));
        }
        self.plan = Some(plan);
        deeds
    }

    fn chooses(&mut self, day: usize) -> Vec<Deed> {
        let Some(plan) = self.plan.take() else { return vec![self.subscribes(day)] };
        let from = self.first.1.take().and_then(|kind| KINDS.iter().position(|it| *it == kind));
        let from = from.unwrap_or_else(|| self.dice.index(KINDS.len()));
        let kind = KINDS[from..].iter().chain(&KINDS[..from]).copied().find(|kind| self.may(*kind, &plan)).unwrap();
        self.does(kind, plan, day)
    }

    fn subscribes(&mut self, day: usize) -> Deed {
        let sold = self.first.0.take().unwrap_or_else(|| AGAIN[self.dice.index(AGAIN.len())]);
        self.begins(day, sold);
        if *sold == ENTERPRISE { Deed::Agrees } else { Deed::Subscribes(sold.id) }
    }

    /// A plan begins today.
    fn begins(&mut self, day: usize, sold: &'static Sold) {
        let mut plan = Plan::new(day, sold.into());
        self.begins_a_month(&mut plan, day);
        self.plan = Some(plan);
        self.next_deed = Some(day + FIRST_DEED);
    }

    /// Whether that is possible with a plan that is paid.
    fn may(&self, kind: Kind, plan: &Plan) -> bool {
        let Terms { of, more } = plan.has;
        let is_open = !plan.marked && plan.next.is_none();
        match kind {
            Kind::Spends
            | Kind::Buys
            | Kind::Regrets
            | Kind::RegretsAPart
            | Kind::IsDisputed
            | Kind::TopsUp
            | Kind::Emigrates
            | Kind::CancelsNow => true,
            // By one payment for one month, of one's own, which brought one lot.
            Kind::RegretsTheMonth | Kind::RegretsAPartOfTheMonth => {
                let is_plain = of.months == 1 && of.rollover == 0 && !of.in_grace && *of != ENTERPRISE;
                is_plain && plan.brings.len() == 1 && plan.bill.is_some()
            }
            Kind::Moves => self.may_move && of.moves,
            Kind::CancelsAtTheEnd | Kind::CancelsAndResumes => !plan.marked,
            Kind::Resumes => plan.marked,
            // A year's end may be far away, and whoever subscribes anew until then pays with a card that works. A contract is
            // paid with none.
            Kind::Recovers | Kind::Lapses => !plan.marked && of.months == 1 && *of != ENTERPRISE,
            Kind::AddsSeats => is_open && plan.has.sells_seats() && more < MOST_SEATS,
            Kind::RemovesSeats => is_open && more > 0,
            Kind::Upgrades => is_open && [&BUSINESS, &SOLO, &YEARLY].contains(&of),
            Kind::Downgrades => is_open && [&BUSINESS, &PRO, &YEARLY_PRO].contains(&of),
            Kind::ToAYear => is_open && *of == BUSINESS && more == 0,
            Kind::ToMonths => is_open && of.months == 12,
        }
    }

    /// Does it, with the plan that it has until then.
    fn does(&mut self, kind: Kind, mut plan: Plan, day: usize) -> Vec<Deed> {
        let deeds = match kind {
            Kind::Spends => vec![self.spends()],
            Kind::Buys => vec![self.buys(day), self.spends()],
            Kind::Regrets => vec![self.buys(day), self.regrets(day, None)],
            Kind::RegretsAPart => self.regrets_a_part(day),
            Kind::RegretsTheMonth => self.regrets_the_month(&mut plan, day, &[None]),
            Kind::RegretsAPartOfTheMonth => self.regrets_a_part_of_the_month(&mut plan, day),
            Kind::IsDisputed => vec![self.buys(day), self.spends(), self.is_disputed(), self.spends()],
            Kind::TopsUp => vec![self.tops_up(day)],
            Kind::Emigrates => vec![self.emigrates()],
            Kind::Moves => {
                // Of the month some is spent before, or all of it.
                let mut deeds = vec![self.spends(), self.spends()];
                self.may_move = false;
                self.leaves = Some(Heritage { plan: Plan { bill: None, ..plan }, parts: self.purse.gives_away() });
                deeds.push(Deed::Moves);
                return deeds;
            }
            Kind::CancelsAtTheEnd => {
                plan.marked = true;
                vec![Deed::CancelsAtTheEnd]
            }
            Kind::CancelsAndResumes => vec![Deed::CancelsAtTheEnd, Deed::Resumes],
            Kind::Resumes => {
                plan.marked = false;
                vec![Deed::Resumes]
            }
            Kind::CancelsNow => {
                self.purse.voids();
                return vec![Deed::CancelsNow];
            }
            Kind::Recovers => {
                plan.fails = 1 + self.dice.index(RETRIES.len());
                vec![Deed::CardFails]
            }
            Kind::Lapses => {
                plan.fails = 1 + RETRIES.len();
                vec![Deed::CardFails]
            }
            Kind::AddsSeats | Kind::RemovesSeats => vec![self.sets_seats(kind, &mut plan, day)],
            Kind::Upgrades | Kind::Downgrades => vec![self.changes(kind, &mut plan, day)],
            Kind::ToAYear => {
                // What is left of the month that was paid for stays beside, until it ends.
                self.begins(day, &YEARLY);
                return vec![Deed::Changes(YEARLY.id)];
            }
            Kind::ToMonths => {
                plan.next = Some((&BUSINESS).into());
                vec![Deed::Changes(BUSINESS.id)]
            }
        };
        self.plan = Some(plan);
        deeds
    }

    fn sets_seats(&mut self, kind: Kind, plan: &mut Plan, day: usize) -> Deed {
        let had = plan.has.more;
        let more = if kind == Kind::AddsSeats {
            MOST_SEATS.min(had + 1 + u32::try_from(self.dice.below(2)).unwrap())
        } else {
            had / 2
        };
        let to = Terms { more, ..plan.has };
        self.becomes(plan, day, to);
        Deed::SetsSeats(to.seats())
    }

    fn changes(&mut self, kind: Kind, plan: &mut Plan, day: usize) -> Deed {
        let to = match (kind, plan.has.of.id) {
            (_, "yearly") => &YEARLY_PRO,
            (_, "yearly-pro") => &YEARLY,
            (Kind::Upgrades, "solo") | (_, "pro") => &BUSINESS,
            (Kind::Upgrades, _) => &PRO,
            _ => &SOLO,
        };
        self.becomes(plan, day, to.into());
        Deed::Changes(to.id)
    }

    /// It is on other terms by the same interval: at once where they cost more, else when what is paid for ends.
    fn becomes(&mut self, plan: &mut Plan, day: usize, to: Terms) {
        if !to.is_dearer_than(plan.has) {
            plan.next = Some(to);
            return;
        }
        let (line, credits) = to.instead_of(plan.has, day, (plan.month(), plan.paid_for()));
        self.papers.invoiced(day, vec![line]);
        self.purse.grants(credits, day, plan.end());
        // Each month that is paid for already has as much more.
        plan.brings.push(to.more_than(plan.has));
        plan.has = to;
    }

    fn begins_a_month(&mut self, plan: &mut Plan, day: usize) {
        let (from, to) = (after_months(plan.anchor, plan.months), after_months(plan.anchor, plan.months + 1));
        if plan.months == plan.paid {
            plan.has = plan.next.take().unwrap_or(plan.has);
            plan.paid += plan.has.of.months;
            plan.brings = vec![plan.has.credits()];
            plan.bill = Some(self.papers.invoiced(day, plan.has.lines(from, plan.paid_end())));
        }
        for part in std::mem::take(&mut plan.over) {
            // It counts from when its month began, so it is spent before the allowance.
            self.purse.grants(part, plan.month().0, to);
        }
        (plan.failed, plan.retry) = (0, None);
        plan.months += 1;
        if !std::mem::take(&mut plan.granted) {
            for credits in &plan.brings {
                self.purse.grants(*credits, from, to);
            }
        }
    }

    fn spends(&mut self) -> Deed {
        let credits = 1 + self.dice.below(2_500);
        Deed::Spends { credits, enough: self.purse.spends(whole(credits)) }
    }

    fn buys(&mut self, day: usize) -> Deed {
        Deed::Buys(self.is_sold(day))
    }

    fn tops_up(&mut self, day: usize) -> Deed {
        Deed::TopsUp(self.is_sold(day))
    }

    /// A pack. Gives its name.
    fn is_sold(&mut self, day: usize) -> &'static str {
        let (pack, price, credits) = PACKS[self.dice.index(PACKS.len())];
        let bill = self.papers.invoiced(day, vec![(format!("PACK 1 × {price} once"), price)]);
        self.purse.buys(credits, day);
        self.bought = Some(Bought { credits, bill, back: 0, taken: 0 });
        pack
    }

    /// So many cents of the last pack go back, or all that are left; and of its credits as great a part, rounded up.
    fn regrets(&mut self, day: usize, cents: Option<u64>) -> Deed {
        let Bought { credits, bill, back, taken } = self.bought.take().unwrap();
        let now = cents.unwrap_or(bill.gross() - back);
        self.papers.noted(day, &bill.credit(back, now));
        let gone = (credits * (back + now)).div_ceil(bill.gross());
        self.purse.loses(gone - taken);
        self.bought = Some(Bought { credits, bill, back: back + now, taken: gone });
        Deed::Regrets(cents)
    }

    /// A third of what a pack cost; and perhaps what is left of it, too, after some of that was spent.
    fn regrets_a_part(&mut self, day: usize) -> Vec<Deed> {
        let bought = self.buys(day);
        let third = self.bought.as_ref().unwrap().bill.gross().div_ceil(3);
        let mut deeds = vec![bought, self.regrets(day, Some(third))];
        if self.dice.below(2) == 0 {
            deeds.extend([self.spends(), self.regrets(day, None)]);
        }
        deeds
    }

    /// So many cents of what the month cost go back, after some of it was spent, or all that are left; and of its credits as great a
    /// part, rounded up.
    fn regrets_the_month(&mut self, plan: &mut Plan, day: usize, parts: &[Option<u64>]) -> Vec<Deed> {
        let (bill, credits) = (plan.bill.take().unwrap(), plan.brings[0]);
        let (mut back, mut taken, mut deeds) = (0, 0, vec![self.spends()]);
        for cents in parts {
            let now = cents.unwrap_or(bill.gross() - back);
            self.papers.noted(day, &bill.credit(back, now));
            back += now;
            let gone = (credits * back).div_ceil(bill.gross());
            self.purse.loses_of_the_month(plan.month(), gone - taken);
            taken = gone;
            deeds.extend([Deed::RegretsTheMonth(*cents), self.spends()]);
        }
        deeds
    }

    /// A third of what the month cost; and perhaps what is left of it, too.
    fn regrets_a_part_of_the_month(&mut self, plan: &mut Plan, day: usize) -> Vec<Deed> {
        let third = plan.bill.as_ref().map(|bill| bill.gross().div_ceil(3));
        let parts = [third, None];
        let count = if self.dice.below(2) == 0 { 1 } else { parts.len() };
        self.regrets_the_month(plan, day, &parts[..count])
    }

    /// What the last pack cost is the bank's for as long as it is not decided, and its credits are taken.
    fn is_disputed(&mut self) -> Deed {
        let credits = self.bought.as_ref().unwrap().credits;
        self.disputed = Some(self.purse.loses(credits));
        Deed::IsDisputed
    }

    fn is_decided(&mut self, day: usize) -> Option<Deed> {
        let disputed = self.disputed.take()?;
        let won = self.dice.below(2) == 0;
        if won {
            self.purse.has_again(disputed);
        } else {
            let Bought { bill, .. } = self.bought.as_ref().unwrap();
            self.papers.noted(day, &bill.credit(0, bill.gross()));
        }
        Some(Deed::IsDecided { won })
    }

    fn emigrates(&mut self) -> Deed {
        self.papers.country = &COUNTRIES[self.dice.index(COUNTRIES.len())];
        Deed::Emigrates(self.papers.country.code)
    }

    /// What its plan leaves today, where somebody else has that now.
    pub(super) fn leaves(&mut self) -> Option<Heritage> {
        self.leaves.take()
    }

    /// It has somebody else's plan from today on, and does something at once: every other one spends of what has come.
    pub(super) fn takes_over(&mut self, heritage: Heritage, day: usize) {
        let Heritage { plan, parts } = heritage;
        self.purse.takes_over(&parts);
        self.plan = Some(plan);
        self.first.1 = (self.dice.below(2) == 0).then_some(Kind::Spends);
        self.next_deed = Some(day);
    }

    pub(super) fn lots(&self) -> Vec<String> {
        self.purse.lots()
    }

    pub(super) fn invoices(&self) -> Vec<String> {
        self.papers.sorted()
    }

    pub(super) fn subscription(&self) -> Option<String> {
        let plan = self.plan.as_ref().filter(|plan| plan.retry.is_none())?;
        let marked = if plan.marked { " and no longer" } else { "" };
        let of = format!("{} for {}", plan.has.of.id, plan.has.seats());
        Some(format!("{of} until {}, paid until {}{marked}", date(plan.end()), date(plan.paid_end())))
    }

    /// The credits there are, in millionths.
    pub(super) fn available(&self) -> u64 {
        self.purse.available()
    }
}
