//! Taking an amount from lots in burn order.

use bursar_money::Credits;
use bursar_time::Timestamp;

use super::attribution::Attribution;
use super::entry::Posting;
use super::refusal::Refusal;
use super::state::AccountState;

/// What becomes of credits that are taken from what remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// They are spent.
    Spend,
    /// They are reserved.
    Reserve,
}

/// Plans which lots give `amount` for `work` at `now`: one posting for each lot touched, in burn order,
/// appended to `postings`. Nothing is taken yet.
///
/// # Errors
/// [`Refusal::InsufficientCredits`] when the lots that may pay for it do not hold that much together.
pub(super) fn take(
    state: &AccountState,
    work: &Attribution,
    amount: Credits,
    now: Timestamp,
    purpose: Use,
    postings: &mut Vec<Posting>,
) -> Result<(), Refusal> {
    let planned = postings.len();
    let mut missing = amount;
    for lot in state.spendable_lots(now).filter(|lot| lot.pays_for(work)) {
        let part = lot.remaining.min(missing);
        let mut posting = Posting::on(lot.id);
        posting.remaining = -part.micro();
        match purpose {
            Use::Spend => posting.spent = part.micro(),
            Use::Reserve => posting.held = part.micro(),
        }
        postings.push(posting);
        missing = missing.saturating_sub(part);
        if missing.is_zero() {
            return Ok(());
        }
    }
    postings.truncate(planned);
    Err(Refusal::InsufficientCredits { available: amount.saturating_sub(missing), required: amount })
}
