//! The words in which the engine and the model are asked and answer, so that they can be compared.

/// Who acts. Users, services and keys by their numbers; a key's number is its maker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    User(u64),
    Key(u64),
    Operator { operator: u64, user: u64 },
    Service(u64),
    Behalf { service: u64, user: u64 },
    Job,
}

impl Who {
    /// One of each kind, and a second one where that matters.
    pub(super) const ALL: [Self; 8] = [
        Self::Service(1),
        Self::Service(2),
        Self::Behalf { service: 1, user: 1 },
        Self::User(1),
        Self::User(2),
        Self::Key(1),
        Self::Operator { operator: 3, user: 2 },
        Self::Job,
    ];

    /// The user who does it, as far as anybody but a service may.
    pub(super) fn user(self) -> Option<u64> {
        match self {
            Self::User(user) | Self::Key(user) | Self::Operator { user, .. } => Some(user),
            Self::Service(_) | Self::Behalf { .. } | Self::Job => None,
        }
    }

    /// The user whose token or key is shown.
    pub(super) fn shows(self) -> Option<u64> {
        match self {
            Self::Behalf { user, .. } => Some(user),
            _ => self.user(),
        }
    }

    /// Whose request ids these are: a user, a service account, or the program.
    pub(super) fn caller(self) -> (u8, u64) {
        match self {
            Self::User(user) | Self::Key(user) => (1, user),
            Self::Service(service) | Self::Behalf { service, .. } | Self::Operator { operator: service, .. } => {
                (2, service)
            }
            Self::Job => (3, 0),
        }
    }
}

/// For whom and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) member: u64,
    pub(super) project: Option<u8>,
    pub(super) model: Option<u8>,
}

/// What work costs: so many units, or for each meter so many halves of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Price {
    Amount(u64),
    Metered(Vec<(Option<u8>, u64)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldIs {
    Open,
    Captured,
    Released,
    Lapsed,
}

/// What is asked, in the model's words: things by the order of their making, times in seconds,
/// amounts in units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Charge {
        price: Price,
        work: Work,
        label: bool,
    },
    Hold {
        amount: u64,
        ttl: i64,
        work: Work,
        label: bool,
    },
    Capture {
        hold: usize,
        price: Option<Price>,
        excess: bool,
    },
    Release {
        hold: usize,
    },
    Refund {
        charge: usize,
        amount: Option<u64>,
    },
    Grant(Terms),
    Void {
        lot: usize,
    },
    Erase {
        member: Option<u64>,
    },
    Sweep,
    /// Looks, for a model and a project.
    Look {
        project: Option<u8>,
        model: Option<u8>,
    },
}

/// What is agreed about a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) amount: u64,
    pub(super) priority: i32,
    pub(super) free: bool,
    pub(super) models: Vec<u8>,
    pub(super) projects: Vec<u8>,
    pub(super) effective: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) note: bool,
}

/// A question, and who asks it under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) who: Who,
    pub(super) key: Option<u8>,
    pub(super) ask: Ask,
}

/// What is answered, in the same words. Lots come with how many units, neighbours merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Charged { lots: Vec<(usize, u64)>, left: u64, again: bool },
    Held { lots: Vec<(usize, u64)>, left: u64, again: bool },
    Released { is: HoldIs, left: u64, again: bool },
    Refunded { lots: Vec<(usize, u64)>, lost: u64, left: u64, again: bool },
    Granted { left: u64, again: bool },
    Voided { amount: u64, left: u64, again: bool },
    Erased { again: bool },
    Swept,
    Seen { available: u64, held: u64, spent: u64, next: Option<(i64, u64)> },
    NotAMember,
    Reused,
    ServicesSpend,
    ServicesRefund,
    NotFound,
    NotYours,
    Settled,
    Expired,
    LotEmpty,
    NoModel,
    NoPrice,
    Zero,
    HoldTime,
    EmptyValidity,
    AboveHold,
    AboveCharge { left: u64 },
    ManyHolds,
    Short { available: u64, required: u64 },
}

impl Answer {
    /// How many kinds of answers there are.
    pub(super) const KINDS: usize = 27;
}

/// Whether an entry has details, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    Of(Option<u64>),
    Erased,
}

/// One line of the model's ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: &'static str,
    pub(super) second: i64,
    pub(super) who: Who,
    pub(super) amount: u64,
    pub(super) remaining: u64,
    pub(super) spendable: u64,
    pub(super) held: u64,
    pub(super) details: Kept,
}

/// Adds up neighbours of one lot.
pub(super) fn merge(parts: impl Iterator<Item = (usize, u64)>) -> Vec<(usize, u64)> {
    let mut merged: Vec<(usize, u64)> = Vec::new();
    for (lot, amount) in parts {
        match merged.last_mut() {
            Some(last) if last.0 == lot => last.1 += amount,
            _ => merged.push((lot, amount)),
        }
    }
    merged
}

/// The same answer, given once more.
pub(super) fn again(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::Charged { again, .. }
        | Answer::Held { again, .. }
        | Answer::Released { again, .. }
        | Answer::Refunded { again, .. }
        | Answer::Granted { again, .. }
        | Answer::Voided { again, .. }
        | Answer::Erased { again } => *again = true,
        _ => {}
    }
    answer
}
