//! The words in which the engine and the model are asked and answer, so that they can be compared.

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
    Charge { amount: u64, member: u64 },
    Hold { amount: u64, ttl: i64, member: u64 },
    Capture { hold: usize, amount: u64, excess: bool },
    Release { hold: usize },
    Refund { charge: usize, amount: Option<u64> },
    Grant { amount: u64, priority: i32, free: bool, effective: Option<i64>, expires: Option<i64> },
    Void { lot: usize },
    Sweep,
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
    Swept,
    Reused,
    NotFound,
    Settled,
    Expired,
    LotVoided,
    LotExpired,
    Zero,
    HoldTime,
    EmptyValidity,
    AboveHold,
    AboveCharge { left: u64 },
    Short { available: u64, required: u64 },
}

/// One line of the model's ledger: kind, second, amount, available and held after it.
pub(super) type Line = (&'static str, i64, u64, u64, u64);

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
        | Answer::Voided { again, .. } => *again = true,
        _ => {}
    }
    answer
}
