//! What an entry of each kind looks like, whatever came before it: the part of the audit that needs no memory.

use super::entry::{DebtEvent, Entry, EntryKind, Event, Posting};
use super::flaw::Flaw;

/// Whether every posting has the form of the entry's kind and concerns the lot that the entry is about, and whether the
/// key that it names is its actor's.
pub(super) fn check(entry: &Entry) -> Result<(), Flaw> {
    let only = match &entry.event {
        Event::Expire { lot }
        | Event::Void { lot }
        | Event::Grant { lot, .. }
        | Event::DebtPaid { lot, .. }
        | Event::Debt(DebtEvent { lot, .. })
        | Event::DebtReversed(DebtEvent { lot, .. }) => Some(*lot),
        _ => None,
    };
    let fits = |posting: &Posting| has_form(entry.kind(), posting) && only.is_none_or(|lot| lot == posting.lot);
    if let Some(wrong) = entry.postings.iter().find(|posting| !fits(posting)) {
        return Err(Flaw::WrongPosting(wrong.lot));
    }
    let key = match &entry.event {
        Event::Charge(it) => it.key,
        Event::Hold(it) => it.key,
        _ => entry.actor.key(),
    };
    if key == entry.actor.key() { Ok(()) } else { Err(Flaw::KeyMismatch) }
}

/// Whether `posting` moves credits as an entry of this kind may: which parts give and which take.
fn has_form(kind: EntryKind, posting: &Posting) -> bool {
    let Posting { remaining, held, spent, expired, voided, .. } = *posting;
    let gone = [expired, voided];
    if kind != EntryKind::Grant && posting.net() != 0 {
        return false;
    }
    match kind {
        EntryKind::Grant => remaining > 0 && (held, spent, gone) == (0, 0, [0, 0]),
        EntryKind::Charge | EntryKind::DebtPaid => remaining < 0 && spent > 0 && (held, gone) == (0, [0, 0]),
        EntryKind::Hold => remaining < 0 && held > 0 && (spent, gone) == (0, [0, 0]),
        // Either an earmark, spent or given back, or the excess, spent from what remains.
        EntryKind::Capture => {
            let earmark = held < 0 && spent >= 0 && remaining >= 0 && gone.iter().all(|it| *it >= 0);
            earmark || (remaining < 0 && spent > 0 && (held, gone) == (0, [0, 0]))
        }
        EntryKind::Release | EntryKind::HoldLapsed => {
            held < 0 && spent == 0 && remaining >= 0 && gone.iter().all(|it| *it >= 0)
        }
        EntryKind::Refund => spent < 0 && held == 0 && remaining >= 0 && gone.iter().all(|it| *it >= 0),
        EntryKind::Expire => remaining < 0 && expired > 0 && (held, spent, voided) == (0, 0, 0),
        EntryKind::Void | EntryKind::Debt => remaining < 0 && voided > 0 && (held, spent, expired) == (0, 0, 0),
        EntryKind::DebtReversed => remaining > 0 && voided < 0 && (held, spent, expired) == (0, 0, 0),
        // It moves nothing.
        EntryKind::Erase => false,
    }
}

/// What the postings moved of that which the entry's figure counts, in micro-credits.
pub(super) fn moved(entry: &Entry) -> i128 {
    let sum =
        |part: fn(&Posting) -> i64| -> i128 { entry.postings.iter().map(|posting| i128::from(part(posting))).sum() };
    match entry.kind() {
        EntryKind::Grant => sum(|posting| posting.remaining),
        EntryKind::Charge | EntryKind::Capture | EntryKind::DebtPaid => sum(|posting| posting.spent),
        EntryKind::Hold => sum(|posting| posting.held),
        EntryKind::Release | EntryKind::HoldLapsed => -sum(|posting| posting.held),
        EntryKind::Refund => -sum(|posting| posting.spent),
        EntryKind::Expire => sum(|posting| posting.expired),
        EntryKind::Void => sum(|posting| posting.voided),
        EntryKind::Debt => sum(|posting| posting.voided) + owed(entry),
        EntryKind::DebtReversed => owed(entry) - sum(|posting| posting.voided),
        EntryKind::Erase => 0,
    }
}

/// What is owed from it on, or no more, in micro-credits.
fn owed(entry: &Entry) -> i128 {
    match &entry.event {
        Event::Debt(it) | Event::DebtReversed(it) => i128::from(it.owed.micro()),
        _ => 0,
    }
}

/// What its meters cost together, in micro-credits; `None` where no meters made the amount.
pub(super) fn metered(entry: &Entry) -> Option<i128> {
    let metered = match &entry.event {
        Event::Charge(it) => it.metered.as_ref(),
        Event::Capture(it) => it.metered.as_ref(),
        _ => None,
    };
    metered.map(|metered| metered.components.iter().map(|it| i128::from(it.amount.micro())).sum())
}
