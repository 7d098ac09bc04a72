//! The naive model of an account's year: lists and a calendar, nothing of the service's.

use bursar_secret::Entropy;

use super::calendar::{after_months, date, year_of};

const PLAN_CREDITS: u64 = 1_500;
const PLAN_PRICE: u64 = 100;
/// By the year, with as many credits each month.
const YEAR_PRICE: u64 = 1_000;
/// The packs by name, price and credits.
const PACKS: [(&str, u64, u64); 3] = [("starter", 20, 300), ("standard", 100, 1_500), ("premium", 200, 3_000)];
/// On how many days after it began or did something, an account does something: never on a boundary or the day after.
const FIRST_DEED: usize = 13;
const BETWEEN_DEEDS: usize = 30;

/// What an account does on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Subscribes(&'static str),
    /// From months to a year at once, or from a year to months at its end.
    Changes(&'static str),
    Spends {
        credits: u64,
        enough: bool,
    },
    Buys(&'static str),
    /// Buys a pack and has the money given back.
    Regrets(&'static str),
    CancelsAtTheEnd,
    Resumes,
    CancelsNow,
    /// What pays the next month will be declined.
    CardFails,
    CardIsMended,
}

/// For how long a plan is paid at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pays {
    Months,
    Year,
    /// By the month once the year is over.
    YearOnce,
}

#[derive(Clone, Debug)]
struct Plan {
    anchor: usize,
    /// How many months have begun.
    months: usize,
    marked: bool,
    card_fails: bool,
    pays: Pays,
    /// How many months are paid for.
    paid: usize,
    /// The month that is over was declined; it is tried again on this day.
    retry: Option<usize>,
}

impl Plan {
    fn new(anchor: usize, pays: Pays) -> Self {
        Self { anchor, months: 0, marked: false, card_fails: false, pays, paid: 0, retry: None }
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
    plan: Option<Plan>,
    allowance: u64,
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
    pub(super) fn of(number: u64) -> Self {
        let dice = Dice(Entropy::seeded(number));
        let starts = dice.index(31);
        Self {
            dice,
            next_deed: starts,
            plan: None,
            allowance: 0,
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
        if plan.retry.is_some_and(|retry| retry == day) {
            plan.retry = None;
            self.begins_a_month(&mut plan, day);
        } else if plan.retry.is_none() && plan.end() == day {
            self.allowance = 0;
            let paid = plan.months < plan.paid;
            if plan.marked && !paid {
                return Vec::new();
            }
            if plan.card_fails && !paid {
                plan.card_fails = false;
                plan.retry = Some(day + 1);
                self.plan = Some(plan);
                return vec![Deed::CardIsMended];
            }
            self.begins_a_month(&mut plan, day);
        }
        self.plan = Some(plan);
        Vec::new()
    }

    fn chooses(&mut self, day: usize) -> Vec<Deed> {
        let Some(mut plan) = self.plan.take() else {
            let yearly = self.dice.below(3) == 0;
            let mut plan = Plan::new(day, if yearly { Pays::Year } else { Pays::Months });
            self.begins_a_month(&mut plan, day);
            self.plan = Some(plan);
            self.next_deed = day + FIRST_DEED;
            return vec![Deed::Subscribes(if yearly { "yearly" } else { "business" })];
        };
        let mut keeps = true;
        let deeds = match self.dice.below(16) {
            0..4 => vec![self.spends()],
            4..7 => vec![self.buys(day), self.spends()],
            7 | 8 => vec![self.regrets(day)],
            9 if !plan.marked => {
                plan.marked = true;
                vec![Deed::CancelsAtTheEnd]
            }
            10 if !plan.marked => vec![Deed::CancelsAtTheEnd, Deed::Resumes],
            11 if plan.marked => {
                plan.marked = false;
                vec![Deed::Resumes]
            }
            12 => {
                self.allowance = 0;
                self.beside.0 = 0;
                keeps = false;
                vec![Deed::CancelsNow]
            }
            // A year's end may be far away, and whoever subscribes anew until then pays with a card that works.
            13 if !plan.marked && plan.pays == Pays::Months => {
                plan.card_fails = true;
                vec![Deed::CardFails]
            }
            13 if !plan.marked && plan.pays == Pays::Year => {
                plan.pays = Pays::YearOnce;
                vec![Deed::Changes("business")]
            }
            14 if !plan.marked && plan.pays == Pays::Months => {
                self.beside = (self.allowance, plan.end());
                plan = Plan::new(day, Pays::Year);
                self.begins_a_month(&mut plan, day);
                self.next_deed = day + FIRST_DEED;
                vec![Deed::Changes("yearly")]
            }
            _ => Vec::new(),
        };
        self.plan = keeps.then_some(plan);
        deeds
    }

    fn begins_a_month(&mut self, plan: &mut Plan, day: usize) {
        let (from, to) = (after_months(plan.anchor, plan.months), after_months(plan.anchor, plan.months + 1));
        if plan.months == plan.paid {
            let (months, price) = match plan.pays {
                Pays::Year => (12, YEAR_PRICE),
                Pays::Months | Pays::YearOnce => (1, PLAN_PRICE),
            };
            if plan.pays == Pays::YearOnce {
                plan.pays = Pays::Months;
            }
            plan.paid += months;
            let of = format!("{} to {}", date(from), date(plan.paid_end()));
            self.invoiced(day, &format!("SUBSCRIPTION 1 × {price}00 {of}"));
        }
        plan.months += 1;
        self.allowance = PLAN_CREDITS;
        self.lots.push(format!("ALLOWANCE {PLAN_CREDITS} {} {}", date(from), date(to)));
    }

    fn spends(&mut self) -> Deed {
        let credits = 1 + self.dice.below(2_500);
        let enough = credits <= self.available();
        if enough {
            let mut rest = credits;
            // What ends first pays first.
            let allowances = [&mut self.beside.0, &mut self.allowance];
            for part in allowances.into_iter().chain(&mut self.packs) {
                let taken = rest.min(*part);
                *part -= taken;
                rest -= taken;
            }
        }
        Deed::Spends { credits, enough }
    }

    fn bought(&mut self, day: usize) -> (&'static str, u64, u64) {
        let (pack, price, credits) = PACKS[self.dice.index(PACKS.len())];
        self.lots.push(format!("PACK {credits} {} never", date(day)));
        self.invoiced(day, &format!("PACK 1 × {price}00 once"));
        (pack, price, credits)
    }

    fn buys(&mut self, day: usize) -> Deed {
        let (pack, _, credits) = self.bought(day);
        self.packs.push(credits);
        Deed::Buys(pack)
    }

    fn regrets(&mut self, day: usize) -> Deed {
        let (pack, price, _) = self.bought(day);
        self.numbered.2 += 1;
        let (year, _, notes) = self.numbered;
        self.invoices.push(format!("C-{year}-{notes:04} CREDIT 1 × {price}00 once"));
        Deed::Regrets(pack)
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
        Some(format!("until {}, paid until {}{marked}", date(plan.end()), date(plan.paid_end())))
    }

    /// The credits there are.
    pub(super) fn available(&self) -> u64 {
        self.beside.0 + self.allowance + self.packs.iter().sum::<u64>()
    }
}
