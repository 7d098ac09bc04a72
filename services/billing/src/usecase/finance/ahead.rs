//! What of a payment is in no lot (`domain/not_granted.rs`): of a year, and of each change of it, the months that have not begun or
//! never will, and of what brings no credits all of it. Each such payment has a line beside the lots'.
//!
//! Which months have begun, and when, the lots say: those of the account, and where its subscription has moved those of the owner
//! who has it since. A month's lots have the money of all that it was paid with, but for payments all of which had gone back by
//! then. What went back of a payment, and of none of its lots, went back of what is in none.
//!
//! Whether a subscription has ended, and when, says the owner who has it, from when it moves on: whether or not anything of its month
//! has moved with it. One that ended with its owner and went on again had ended in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, PaymentId, SubscriptionId};
use bursar_money::Price;
use bursar_time::{Span, Timestamp};

use super::basis::{Basis, Money, gone_back, made_at};
use super::books::{Books, Granted, TOGETHER};
use super::known::{Known, net};
use super::{FinanceError, Line, MonthReport, Moved, NOT_GRANTED, PAGE, count, signed};
use crate::domain::{Bought, Interval, Invoice, Kept, Lot, NotGranted, Parts, Payment, Prepaid, Share};
use crate::store::{lots, whereabouts};

/// Longer than any month, and shorter than any year.
const LONGER_THAN_A_MONTH: Span = Span::from_days(40);

/// When each month of a subscription has begun: when the first of its lots was granted.
pub(super) type Begun = BTreeMap<(SubscriptionId, u32), Timestamp>;

/// What has something in no lot, or had.
pub(super) type Rests = BTreeMap<PaymentId, Rest>;

/// From when each year of a subscription is, with the number of its first month, by when it ends.
type Years = HashMap<(SubscriptionId, Timestamp), (Timestamp, u32)>;

/// Where subscriptions are, and have been.
type Lives = HashMap<SubscriptionId, Life>;

/// Where a subscription is, and has been.
#[derive(Default)]
struct Life {
    /// Who has had it since the first of these payments.
    owners: BTreeSet<OwnerId>,
    /// Until when it is paid for.
    prepaid: Option<Prepaid>,
    /// When it ended where it was last.
    ended_at: Option<Timestamp>,
    /// From when until when it had ended with its owner.
    breaks: Vec<(Timestamp, Timestamp)>,
}

/// Notes that the month of a lot has begun.
pub(super) fn begins(begun: &mut Begun, lot: &Lot) {
    if let Some(month) = lot.terms.origin.subscription.filter(|_| !lot.is_rolled_over()) {
        let granted_at = made_at(lot.id);
        let since = begun.entry(month).or_insert(granted_at);
        *since = granted_at.min(*since);
    }
}

/// A payment that has something in no lot, or had.
pub(super) struct Rest {
    payment: Payment,
    /// From when until when what was paid for is good, as its invoice says.
    period: Option<(Timestamp, Timestamp)>,
    /// Its credit notes.
    notes: Vec<(Timestamp, i64)>,
    /// What went back of its lots' money by the month's beginning and its end, and has by now.
    back: [i64; 3],
    /// Whether what no credit note says had gone back by then.
    is_back: [bool; 3],
    /// The months that it has lots of its own in.
    numbers: BTreeSet<u32>,
    /// What of it the books have as paid ahead.
    ahead: i64,
}

impl Rest {
    /// What is to be told of a payment that was delivered, with its lots in the account, if anything is.
    pub(super) fn of(
        payment: &Payment,
        (invoice, notes): (Option<&Invoice>, &[(Timestamp, i64)]),
        lots: &[Granted],
    ) -> Option<Self> {
        let period = invoice.and_then(|it| it.bill.lines.iter().find_map(|line| line.period));
        let may_have = is_by_the_year(payment, period) || payment.lots().is_empty();
        // What lots of earlier programs were paid with nobody knows.
        let is_known = lots.iter().all(|lot| lot.paid.is_some());
        if payment.fulfilled_at.is_none() || payment.net().is_zero() || !may_have || !is_known {
            return None;
        }
        let (payment, notes) = (payment.clone(), notes.to_vec());
        let (back, is_back, numbers) = ([0; 3], [true; 3], BTreeSet::new());
        let mut rest = Self { payment, period, notes, back, is_back, numbers, ahead: 0 };
        for lot in lots {
            rest.has(lot.number, lot.back);
        }
        Some(rest)
    }

    /// The books have so much of it as paid ahead.
    pub(super) fn with_ahead(self, ahead: i64) -> Self {
        Self { ahead, ..self }
    }

    /// One more of its lots: in which month it is the payment's own, and what went back of its money.
    fn has(&mut self, number: Option<u32>, back: [i64; 3]) {
        self.numbers.extend(number);
        for (sum, more) in self.back.iter_mut().zip(back) {
            *sum = sum.saturating_add(more);
        }
    }

    /// The number of the first month of the year that it began; `None` for what changed one, or is no year's.
    fn begins_year(&self) -> Option<u32> {
        if !is_by_the_year(&self.payment, self.period) {
            return None;
        }
        match &self.payment.bought {
            Bought::Pack { .. } => None,
            Bought::Start { .. } => Some(0),
            Bought::Renewal { period, .. } => Some(*period),
            // From months to a year all of it is due, and comes.
            Bought::Change { to, credits, period, .. } => {
                let is_whole = self.payment.net() == to.price && *credits == to.credits;
                is_whole.then_some(period.saturating_add(1))
            }
        }
    }

    /// The year that it has paid for, or for a part of it.
    fn year(&self, of: Option<&Life>, years: &Years) -> Option<Prepaid> {
        let (start, until) = self.period.filter(|_| is_by_the_year(&self.payment, self.period))?;
        let (months, none) = (Interval::Year.months(), Price::zero(self.payment.amount.currency()));
        let year = |(anchor, first): (Timestamp, u32), through: u32| {
            let month = through.saturating_sub(months);
            Prepaid { interval: Interval::Year, anchor, first, month, through, part: none, rest: none }
        };
        let counted = of.and_then(|it| it.prepaid).map(|it| (it.anchor, it.first));
        if let Some(from) = self.begins_year() {
            let through = from.saturating_add(months);
            // Months keep the day on which the first of all years began.
            let kept = counted.map(|it| year(it, through));
            let kept = kept.filter(|it| it.until() == until && it.month(from).start == start);
            return Some(kept.unwrap_or_else(|| year((start, from), through)));
        }
        let Bought::Change { subscription, period, .. } = &self.payment.bought else { return None };
        let mut ends = (1..=months).map(|more| period.saturating_add(more));
        let kept =
            counted.and_then(|it| ends.find_map(|through| Some(year(it, through)).filter(|it| it.until() == until)));
        let own = || years.get(&(*subscription, until)).map(|it| year(*it, it.1.saturating_add(months)));
        kept.or_else(own)
    }

    /// All of its money, in parts.
    fn not_granted(&self, (of, now): (Option<&Life>, Timestamp), years: &Years, begun: &Begun) -> NotGranted {
        let (delivered, until) = (self.payment.fulfilled_at, self.period.map(|(_, until)| until));
        let shares = self.year(of, years).map_or_else(
            || {
                let over_at = until.or(delivered).unwrap_or(Timestamp::EPOCH);
                let (money, granted_at) = (self.payment.net().micros(), self.payment.lot.and(delivered));
                vec![Share { money, granted_at, over_at, for_time: true }]
            },
            |year| self.months(&year, begun),
        );
        let is_before_its_time =
            |at: Timestamp| until.is_some_and(|until| at < until) && delivered.is_some_and(|since| since <= at);
        let ended_at = of.and_then(|it| it.ended_at).filter(|at| is_before_its_time(*at));
        let breaks = of.map(|it| it.breaks.as_slice()).unwrap_or_default();
        let breaks = breaks.iter().filter(|(end, _)| is_before_its_time(*end)).copied().collect();
        NotGranted { shares, ended_at, breaks, now }
    }

    /// The same of a year, month by month.
    fn months(&self, year: &Prepaid, begun: &Begun) -> Vec<Share> {
        let (bought, gone_at) = (&self.payment.bought, self.gone_at());
        // A month that has begun has the money of all but of what was gone by then.
        let was_gone = |since: Timestamp| match gone_at {
            Some(at) if self.payment.lots().is_empty() => at < since,
            Some(at) => at <= since,
            // Where no credit note says when all of it went back, its own lots say which months had begun before.
            None => self.payment.is_gone() && !self.payment.lots().is_empty(),
        };
        let no_credits = bought.month_after().0.is_zero();
        let share = |(nth, month): (usize, Prepaid)| {
            let begun_at = bought.subscription().and_then(|id| begun.get(&(id, month.month)).copied());
            let is_in = |since: &Timestamp| self.numbers.contains(&month.month) || !was_gone(*since);
            let granted_at =
                if nth == 0 { self.payment.lot.and(self.payment.fulfilled_at) } else { begun_at.filter(is_in) };
            let over_at = year.month(month.month).end;
            Share { money: month.part.micros(), granted_at, over_at, for_time: no_credits || nth == 0 }
        };
        year.months_of(&self.payment).enumerate().map(share).collect()
    }

    /// Since when all of it has gone back.
    fn gone_at(&self) -> Option<Timestamp> {
        let (mut back, amount) = (0_i64, self.payment.amount.micros());
        let mut notes = self.notes.iter();
        let last = notes.find(|(_, micros)| {
            back = back.saturating_add(*micros);
            back >= amount
        });
        last.map(|(at, _)| *at)
    }

    /// What of it went back by an instant and was in no lot, where so much of its lots' money had gone back; and whether what no
    /// credit note says had by then.
    fn given_back(&self, at: Timestamp, (of_lots, is_back): (i64, bool)) -> i64 {
        let gross = gone_back((&self.payment, self.notes.as_slice()), at, is_back);
        gross.map_or(0, |gross| net(&self.payment, gross).micros().saturating_sub(of_lots))
    }

    fn money(&self, of: &NotGranted, at: Timestamp, back: (i64, bool)) -> Money {
        if self.payment.fulfilled_at.is_none_or(|since| since >= at) {
            return Money::default();
        }
        let given_back = self.given_back(at, back);
        let Kept { paid, earned, breakage, left } = of.at(at, given_back);
        Money { paid, rolled_over: 0, given_back, earned, breakage, left }
    }

    /// Its line, unless nothing was in no lot when the month began, and nothing has happened to that since.
    fn line<W: Write>(
        &self,
        (owner, of): (OwnerId, &NotGranted),
        (from, to): (Timestamp, Timestamp),
        report: &mut MonthReport,
        csv: &mut csv::Writer<W>,
    ) -> Result<(), FinanceError> {
        let ([begin, end, _], [was_back, is_back, _]) = (self.back, self.is_back);
        let (was, is) = (self.money(of, from, (begin, was_back)), self.money(of, to, (end, is_back)));
        if was == is && was.left == 0 {
            return Ok(());
        }
        let (currency, month) = (self.payment.amount.currency(), is.since(&was));
        count(&mut report.not_granted, currency, 0, (&is, &month))?;
        let line = Line {
            owner,
            lot: None,
            source: NOT_GRANTED,
            granted_at: self.payment.fulfilled_at.unwrap_or(self.payment.created_at),
            expires_at: self.period.map(|(_, until)| until),
            currency: Some(currency),
            granted: 0,
            within: Parts::default(),
            end: Parts::default(),
            money: Some((is, month)),
            payment: Some(self.payment.id),
        };
        Ok(line.write(csv)?)
    }

    /// What the books have as paid ahead, and never will be in a lot.
    fn never(&self, of: &NotGranted) -> Books {
        let [_, _, now] = self.back;
        let never = of.never(self.given_back(Timestamp::MAX, (now, true))).clamp(0, self.ahead.max(0));
        Books { ahead: -never, never_begun: never, ..Books::default() }
    }
}

fn is_by_the_year(payment: &Payment, period: Option<(Timestamp, Timestamp)>) -> bool {
    match &payment.bought {
        Bought::Pack { .. } => false,
        Bought::Start { interval, .. } => !interval.is_month(),
        Bought::Change { to, .. } => !to.interval.is_month(),
        Bought::Renewal { .. } => {
            let is_long = period.is_some_and(|(start, end)| end.since(start) > LONGER_THAN_A_MONTH);
            is_long || !payment.months.is_empty()
        }
    }
}

/// Writes the lines of what is in no lot, and corrects the books by what never will be in one.
pub(super) async fn tell<W: Write>(
    (tx, owner, moved): (&mut Tx, OwnerId, &Moved),
    (mut rests, mut begun): (Rests, Begun),
    (month, now): ((Timestamp, Timestamp), Timestamp),
    report: &mut MonthReport,
    csv: &mut csv::Writer<W>,
) -> Result<(), FinanceError> {
    let lives = Box::pin(lives(tx, &rests)).await?;
    Box::pin(elsewhere((tx, owner, moved), &lives, month, (&mut rests, &mut begun))).await?;
    let mut years = Years::new();
    for rest in rests.values_mut() {
        rest.is_back = moved.is_back(rest.payment.id);
        let begins = rest.period.zip(rest.begins_year()).zip(rest.payment.bought.subscription());
        years.extend(begins.map(|(((start, until), from), id)| ((id, until), (start, from))));
    }
    for rest in rests.values() {
        let of = rest.payment.bought.subscription().and_then(|id| lives.get(&id));
        let of = rest.not_granted((of, now), &years, &begun);
        rest.line((owner, &of), month, report, csv)?;
        report.note(rest.payment.amount.currency(), &rest.never(&of))?;
    }
    Ok(())
}

/// Where the subscriptions of these payments are, and have been since: many of them are asked for at once.
async fn lives(tx: &mut Tx, rests: &Rests) -> Result<Lives, DbError> {
    let mut since: BTreeMap<SubscriptionId, Option<Timestamp>> = BTreeMap::new();
    for payment in rests.values().map(|it| &it.payment) {
        let Some(id) = payment.bought.subscription() else { continue };
        let first = since.entry(id).or_insert(payment.fulfilled_at);
        *first = payment.fulfilled_at.min(*first);
    }
    let (ids, mut lives): (Vec<_>, _) = (since.keys().copied().collect(), Lives::new());
    for some in ids.chunks(TOGETHER) {
        let mut stays = whereabouts::stays(tx, some).await?;
        // Where it was last comes last: whoever has it still has not seen its end.
        stays.sort_by_key(|it| (it.ended_at.is_none(), it.ended_at));
        for stay in stays {
            let life = lives.entry(stay.subscription).or_default();
            (life.prepaid, life.ended_at) = (stay.prepaid, stay.ended_at);
            let first = since.get(&stay.subscription).copied().flatten();
            if stay.ended_at.is_none_or(|end| first.is_none_or(|first| first <= end)) {
                life.owners.insert(stay.owner);
            }
        }
        for (id, ended_at, returned_at) in whereabouts::returns(tx, some).await? {
            lives.entry(id).or_default().breaks.push((ended_at, returned_at));
        }
    }
    Ok(lives)
}

/// What the account's subscriptions have elsewhere: their months, and lots of what was paid for here.
async fn elsewhere(
    (tx, owner, moved): (&mut Tx, OwnerId, &Moved),
    lives: &Lives,
    month: (Timestamp, Timestamp),
    (rests, begun): (&mut Rests, &mut Begun),
) -> Result<(), FinanceError> {
    let is_of_these = |lot: &Lot| lot.terms.origin.subscription.is_some_and(|(id, _)| lives.contains_key(&id));
    let owners: BTreeSet<_> = lives.values().flat_map(|it| &it.owners).copied().filter(|it| *it != owner).collect();
    for other in owners {
        let mut last = 0;
        loop {
            let mut page = lots::after(tx, other, last, PAGE).await?;
            let Some(newest) = page.last() else { break };
            last = signed(newest.number);
            page.retain(is_of_these);
            tokio::task::yield_now().await;
            if page.is_empty() {
                continue;
            }
            let known = Known::of(tx, &page).await?;
            for lot in &page {
                begins(begun, lot);
                let basis = Basis::of(lot, (moved, &known), month)?;
                if let Some(rest) = lot.terms.origin.payment.and_then(|id| rests.get_mut(&id)) {
                    let number = lot.terms.origin.subscription.filter(|_| basis.is_first()).map(|(_, number)| number);
                    rest.has(number, basis.given_back(lot));
                }
            }
        }
    }
    Ok(())
}
