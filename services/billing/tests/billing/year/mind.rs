//! What comes to an account's mind: one kind after the other, each of which is a few deeds that the service is asked for. A kind has
//! its arm in the life's `does`, and the line in its `may` that says when it is possible.

use super::sold::{BUSINESS, ENTERPRISE, LENIENT, PRO, ROLLING, SOLO, Sold, YEARLY, YEARLY_PRO};

/// What an account does on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Subscribes(&'static str),
    /// A contract begins, which is paid by invoice.
    Agrees,
    /// To what costs more or from months to a year at once, to everything else when what is paid for ends.
    Changes(&'static str),
    /// For so many people in all: for more of them at once, for fewer when what is paid for ends.
    SetsSeats(u32),
    Spends {
        credits: u64,
        enough: bool,
    },
    Buys(&'static str),
    /// Has so many cents of what the last pack cost given back, or all that is left of it.
    Regrets(Option<u64>),
    /// Has so many cents of what its month cost given back, or all that is left of it.
    RegretsTheMonth(Option<u64>),
    /// Its bank asks for what the last pack cost.
    IsDisputed,
    /// The bank has decided, for the product or against it.
    IsDecided {
        won: bool,
    },
    /// Has a pack bought by itself, once.
    TopsUp(&'static str),
    /// Is in another country from now on.
    Emigrates(&'static str),
    /// Its plan becomes its organization's.
    Moves,
    CancelsAtTheEnd,
    Resumes,
    CancelsNow,
    /// What pays the next month will be declined.
    CardFails,
    CardIsMended,
}

/// What may come to an account's mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Spends,
    Buys,
    Regrets,
    RegretsAPart,
    RegretsTheMonth,
    RegretsAPartOfTheMonth,
    IsDisputed,
    TopsUp,
    Emigrates,
    Moves,
    CancelsAtTheEnd,
    CancelsAndResumes,
    Resumes,
    CancelsNow,
    /// From a card that is declined at the boundary, and at some of the attempts after it.
    Recovers,
    /// Every attempt is declined.
    Lapses,
    AddsSeats,
    RemovesSeats,
    Upgrades,
    Downgrades,
    ToAYear,
    ToMonths,
}

/// What comes to its mind as often as it stands here; where that is not possible, the next that is.
pub(super) const KINDS: [Kind; 28] = [
    Kind::AddsSeats,
    Kind::AddsSeats,
    Kind::RemovesSeats,
    Kind::Spends,
    Kind::Upgrades,
    Kind::Downgrades,
    Kind::Spends,
    Kind::Buys,
    Kind::Buys,
    Kind::Regrets,
    Kind::RegretsAPart,
    Kind::RegretsTheMonth,
    Kind::RegretsAPartOfTheMonth,
    Kind::IsDisputed,
    Kind::TopsUp,
    Kind::RemovesSeats,
    Kind::Emigrates,
    Kind::CancelsAtTheEnd,
    Kind::CancelsAndResumes,
    Kind::Resumes,
    Kind::Moves,
    Kind::Buys,
    Kind::CancelsNow,
    Kind::Recovers,
    Kind::Lapses,
    Kind::Spends,
    Kind::ToAYear,
    Kind::ToMonths,
];

/// What the accounts begin with, one after the other, and what each does first: so that even few of them do everything.
pub(super) static FIRST: [(&Sold, Kind); 26] = [
    (&BUSINESS, Kind::AddsSeats),
    (&BUSINESS, Kind::Upgrades),
    (&PRO, Kind::Downgrades),
    (&SOLO, Kind::Upgrades),
    (&YEARLY, Kind::ToMonths),
    (&YEARLY, Kind::AddsSeats),
    (&YEARLY, Kind::Upgrades),
    (&YEARLY_PRO, Kind::Downgrades),
    (&BUSINESS, Kind::ToAYear),
    (&BUSINESS, Kind::Recovers),
    (&BUSINESS, Kind::Lapses),
    (&LENIENT, Kind::Recovers),
    (&LENIENT, Kind::Lapses),
    (&ROLLING, Kind::Spends),
    (&ROLLING, Kind::Recovers),
    (&BUSINESS, Kind::CancelsAtTheEnd),
    (&YEARLY, Kind::CancelsNow),
    (&BUSINESS, Kind::Regrets),
    (&BUSINESS, Kind::RegretsAPart),
    (&PRO, Kind::RegretsTheMonth),
    (&BUSINESS, Kind::RegretsAPartOfTheMonth),
    (&PRO, Kind::IsDisputed),
    (&BUSINESS, Kind::TopsUp),
    (&BUSINESS, Kind::Moves),
    (&YEARLY, Kind::Moves),
    (&ENTERPRISE, Kind::Buys),
];

/// What it begins with whenever it begins anew.
pub(super) static AGAIN: [&Sold; 10] =
    [&BUSINESS, &BUSINESS, &YEARLY, &SOLO, &PRO, &BUSINESS, &LENIENT, &ROLLING, &ENTERPRISE, &YEARLY_PRO];
