//! The naive model of an account's year: lists and a calendar, nothing of the service's.

use bursar_secret::Entropy;

use super::calendar::{after_months, date, year_of};
use super::mind::{AGAIN, Deed, FIRST, KINDS, Kind};
use super::sold::{BUSINESS, ENTERPRISE, PACKS, PRO, SOLO, Sold, Terms, YEARLY, decimal, whole};

/// On how many days after it began or did something, an account does something: never on a boundary, and never before the last
/// attempt at a month that was declined.
const FIRST_DEED: usize = 13;
const BETWEEN_DEEDS: usize = 30;
/// How many days after its boundary a month is tried again that was declined; then the plan lapses.
const RETRIES: [usize; 4] = [1, 3, 5, 7];
/// How many seats more somebody has at most.
const MOST_SEATS: u32 = 5;

#[derive(Clone, Debug)]
struct Plan {
    has: Terms,
    /// What it is when what is paid for ends.
    next: Option<Terms>,
    anchor: usize,
    /// How many months have begun.
    months: usize,
    /// How many months are paid for.
    paid: usize,
    marked: bool,
    /// How many attempts at the next month will be declined, and how many were.
    fails: usize,
    failed: usize,
    /// The month that is over was declined; it is tried again on this day.
    retry: Option<usize>,
    /// The month that is not paid is there already.
    granted: bool,
    /// What of the month that is over is there for the next one, lot by lot, the oldest first.
    over: Vec<u64>,
}

impl Plan {
    fn new(anchor: usize, has: Terms) -> Self {
        Self {
            has,
            next: None,
            anchor,
            months: 0,
            paid: 0,
            marked: false,
            fails: 0,
            failed: 0,
            retry: None,
            granted: false,
            over: Vec::new(),
        }
    }

    fn begin(&self) -> usize {
        after_months(self.anchor, self.months - 1)
    }

    fn end(&self) -> usize {
        after_months(self.anchor, self.months)
    }

    fn paid_end(&self) -> usize {
        after_months(self.anchor, self.paid)
    }
}

/// One account's year.
#[derive(Clone, Debug)]
pub(super) struct Life {
    dice: Dice,
    next_deed: usize,
    /// What it begins with, and does first.
    first: (Option<&'static Sold>, Option<Kind>),
    plan: Option<Plan>,
    allowance: u64,
    /// What is left of what was rolled over into the month, lot by lot, the oldest first.
    rolled: Vec<u64>,
    /// What is left of a month that was paid for before a year began in it, and when it ends.
    beside: (u64, usize),
    /// What is left of each pack, the oldest first.
    packs: Vec<u64>,
    lots: Vec<String>,
    invoices: Vec<String>,
    /// How many invoices and credit notes there are, and of which year.
    numbered: (usize, usize, usize),
    did: Vec<(String, Deed)>,
}

#[derive(Clone, Debug)]
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
        let starts = dice.index(31);
        let (plan, kind) = FIRST[usize::try_from(number).unwrap() % FIRST.len()];
        Self {
            dice,
            next_deed: starts,
            first: (Some(plan), Some(kind)),
            plan: None,
            allowance: 0,
            rolled: Vec::new(),
            beside: (0, 0),
            packs: Vec::new(),
            lots: Vec::new(),
            invoices: Vec::new(),
            numbered: (0, 0, 0),
            did: Vec::new(),
        }
    }

    /// What it does today; and what happens to it today before that.
    pub(super) fn deeds(&mut self, day: usize) -> Vec<Deed> {
        let mut deeds = self.passes(day);
        if day == self.next_deed {
            self.next_deed = day + BETWEEN_DEEDS;
            let chosen = self.chooses(day);
            deeds.extend(chosen);
        }
        self.did.extend(deeds.iter().map(|deed| (date(day), deed.clone())));
        deeds
    }

    /// The turn of the month, or another attempt at it.
    fn passes(&mut self, day: usize) -> Vec<Deed> {
        if self.beside.1 == day {
            self.beside.0 = 0;
        }
        let Some(mut plan) = self.plan.take() else { return Vec::new() };
        let ends = plan.retry.is_none() && plan.end() == day;
        if !ends && plan.retry != Some(day) {
            self.plan = Some(plan);
            return Vec::new();
        }
        if ends {
            self.month_is_over(&mut plan);
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
    fn month_is_over(&mut self, plan: &mut Plan) {
        let left = std::iter::once(std::mem::take(&mut self.allowance)).chain(self.rolled.drain(..).rev());
        let mut room = plan.has.of.rollover;
        for lot in left {
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
            self.allowance = 0;
            return deeds;
        }
        if plan.has.of.in_grace && !plan.granted {
            plan.granted = true;
            self.grants(plan.has.credits(), plan.end(), after_months(plan.anchor, plan.months + 1));
        }
        self.plan = Some(plan);
        deeds
    }

    fn chooses(&mut self, day: usize) -> Vec<Deed> {
        let Some(plan) = self.plan.take() else { return vec![self.subscribes(day)] };
        let from = self.first.1.take().and_then(|kind| KINDS.iter().position(|it| *it == kind));
        let from = from.unwrap_or_else(|| self.dice.index(KINDS.len()));
        let kind = KINDS[from..].iter().chain(&KINDS[..from]).copied().find(|kind| Self::may(*kind, &plan)).unwrap();
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
        self.next_deed = day + FIRST_DEED;
    }

    /// Whether that is possible with a plan that is paid.
    fn may(kind: Kind, plan: &Plan) -> bool {
        let Terms { of, more } = plan.has;
        let is_open = !plan.marked && plan.next.is_none();
        match kind {
            Kind::Spends | Kind::Buys | Kind::Regrets | Kind::RegretsAPart | Kind::TopsUp | Kind::CancelsNow => true,
            Kind::CancelsAtTheEnd | Kind::CancelsAndResumes => !plan.marked,
            Kind::Resumes => plan.marked,
            // A year's end may be far away, and whoever subscribes anew until then pays with a card that works. A contract is
            // paid with none.
            Kind::Recovers | Kind::Lapses => !plan.marked && of.months == 1 && *of != ENTERPRISE,
            Kind::AddsSeats => is_open && *of == BUSINESS && more < MOST_SEATS,
            Kind::RemovesSeats => is_open && more > 0,
            Kind::Upgrades => is_open && (*of == BUSINESS || *of == SOLO),
            Kind::Downgrades => is_open && (*of == BUSINESS || *of == PRO),
            Kind::ToAYear => is_open && *of == BUSINESS && more == 0,
            Kind::ToMonths => is_open && *of == YEARLY,
        }
    }

    /// Does it, with the plan that it has until then.
    fn does(&mut self, kind: Kind, mut plan: Plan, day: usize) -> Vec<Deed> {
        let deeds = match kind {
            Kind::Spends => vec![self.spends()],
            Kind::Buys => vec![self.buys(day), self.spends()],
            Kind::Regrets => vec![self.regrets(day)],
            Kind::RegretsAPart => vec![self.regrets_a_part(day)],
            Kind::TopsUp => vec![self.tops_up(day)],
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
                self.allowance = 0;
                self.beside.0 = 0;
                self.rolled.clear();
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
            Kind::AddsSeats => {
                let more = plan.has.more + 1 + u32::try_from(self.dice.below(2)).unwrap();
                let has = plan.has;
                self.becomes(&mut plan, day, Terms { more: more.min(MOST_SEATS), ..has });
                vec![Deed::SetsSeats(plan.has.seats())]
            }
            Kind::RemovesSeats => {
                let fewer = Terms { more: plan.has.more / 2, ..plan.has };
                self.becomes(&mut plan, day, fewer);
                vec![Deed::SetsSeats(fewer.seats())]
            }
            Kind::Upgrades | Kind::Downgrades => {
                let to = match (kind, plan.has.of.id) {
                    (Kind::Upgrades, "solo") | (_, "pro") => &BUSINESS,
                    (Kind::Upgrades, _) => &PRO,
                    _ => &SOLO,
                };
                self.becomes(&mut plan, day, to.into());
                vec![Deed::Changes(to.id)]
            }
            Kind::ToAYear => {
                self.beside = (std::mem::take(&mut self.allowance), plan.end());
                self.begins(day, &YEARLY);
                return vec![Deed::Changes("yearly")];
            }
            Kind::ToMonths => {
                plan.next = Some((&BUSINESS).into());
                vec![Deed::Changes("business")]
            }
        };
        self.plan = Some(plan);
        deeds
    }

    /// It is on other terms by the month: at once where they cost more, else when the month ends.
    fn becomes(&mut self, plan: &mut Plan, day: usize, to: Terms) {
        if !to.is_dearer_than(plan.has) {
            plan.next = Some(to);
            return;
        }
        let (line, credits) = to.instead_of(plan.has, (plan.begin(), day, plan.end()));
        self.invoiced(day, &line);
        self.grants(credits, day, plan.end());
        plan.has = to;
    }

    fn begins_a_month(&mut self, plan: &mut Plan, day: usize) {
        let (from, to) = (after_months(plan.anchor, plan.months), after_months(plan.anchor, plan.months + 1));
        if plan.months == plan.paid {
            plan.has = plan.next.take().unwrap_or(plan.has);
            plan.paid += plan.has.of.months;
            self.invoiced(day, &plan.has.lines(from, plan.paid_end()));
        }
        for part in std::mem::take(&mut plan.over) {
            // It is older than the allowance, so it is spent before.
            self.lots.push(format!("ALLOWANCE {} {} {}", decimal(part), date(plan.begin()), date(to)));
            self.rolled.push(part);
        }
        (plan.failed, plan.retry) = (0, None);
        plan.months += 1;
        if !std::mem::take(&mut plan.granted) {
            self.grants(plan.has.credits(), from, to);
        }
    }

    /// So much more is there of the month's allowance.
    fn grants(&mut self, credits: u64, from: usize, to: usize) {
        self.allowance += credits;
        self.lots.push(format!("ALLOWANCE {} {} {}", decimal(credits), date(from), date(to)));
    }

    fn spends(&mut self) -> Deed {
        let credits = 1 + self.dice.below(2_500);
        let mut rest = whole(credits);
        let enough = rest <= self.available();
        if enough {
            // What ends first pays first.
            let rolled = std::iter::once(&mut self.beside.0).chain(&mut self.rolled);
            for part in rolled.chain([&mut self.allowance]).chain(&mut self.packs) {
                let taken = rest.min(*part);
                *part -= taken;
                rest -= taken;
            }
        }
        Deed::Spends { credits, enough }
    }

    fn bought(&mut self, day: usize) -> (&'static str, u64, u64) {
        let (pack, price, credits) = PACKS[self.dice.index(PACKS.len())];
        self.lots.push(format!("PACK {} {} never", decimal(credits), date(day)));
        self.invoiced(day, &format!("PACK 1 × {price} once"));
        (pack, price, credits)
    }

    fn buys(&mut self, day: usize) -> Deed {
        let (pack, _, credits) = self.bought(day);
        self.packs.push(credits);
        Deed::Buys(pack)
    }

    fn tops_up(&mut self, day: usize) -> Deed {
        let (pack, _, credits) = self.bought(day);
        self.packs.push(credits);
        Deed::TopsUp(pack)
    }

    /// The credit note has the invoice's line.
    fn regrets(&mut self, day: usize) -> Deed {
        let (pack, price, _) = self.bought(day);
        self.given_back(&format!("PACK 1 × {price} once"));
        Deed::Regrets(pack)
    }

    /// A third of the price, and as much of the credits, both rounded up. The credit note has one line for all that is given back.
    fn regrets_a_part(&mut self, day: usize) -> Deed {
        let (pack, price, credits) = self.bought(day);
        let back = price.div_ceil(3);
        self.given_back(&format!("CREDIT 1 × {back} once"));
        self.packs.push(credits - (credits * back).div_ceil(price));
        Deed::RegretsAPart(pack, back)
    }

    fn given_back(&mut self, line: &str) {
        self.numbered.2 += 1;
        let (year, _, notes) = self.numbered;
        self.invoices.push(format!("C-{year}-{notes:04} {line}"));
    }

    fn invoiced(&mut self, day: usize, lines: &str) {
        let year = year_of(day);
        if self.numbered.0 != year {
            self.numbered = (year, 0, 0);
        }
        self.numbered.1 += 1;
        let (year, invoices, _) = self.numbered;
        self.invoices.push(format!("{year}-{invoices:04} {lines}"));
    }

    pub(super) fn lots(&self) -> Vec<String> {
        let mut lots = self.lots.clone();
        lots.sort();
        lots
    }

    pub(super) fn invoices(&self) -> Vec<String> {
        let mut invoices = self.invoices.clone();
        invoices.sort();
        invoices
    }

    pub(super) fn subscription(&self) -> Option<String> {
        let plan = self.plan.as_ref().filter(|plan| plan.retry.is_none())?;
        let marked = if plan.marked { " and no longer" } else { "" };
        let of = format!("{} for {}", plan.has.of.id, plan.has.seats());
        Some(format!("{of} until {}, paid until {}{marked}", date(plan.end()), date(plan.paid_end())))
    }

    /// The credits there are, in millionths.
    pub(super) fn available(&self) -> u64 {
        self.beside.0 + self.allowance + self.rolled.iter().chain(&self.packs).sum::<u64>()
    }
}
