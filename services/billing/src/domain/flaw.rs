//! What an audit finds: the first thing that is wrong with a ledger, or what a good one adds up to.

use bursar_id::{ChargeId, HoldId, InvoiceId, LimitId, LotId, OwnerId, PaymentId, PurchaseId};
use bursar_money::Credits;

use super::codec::Unreadable;
use super::entry::OperationId;

/// What is wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An entry is missing, repeated or out of order.
    #[error("its number should be {expected}")]
    OutOfSequence {
        /// The number that should have come.
        expected: u64,
    },
    /// A field of it was changed, or the entry before it was.
    #[error("its hash does not match its contents and the entry before it")]
    HashMismatch,
    /// Its stored form cannot be an entry's.
    #[error("it cannot be read: {0}")]
    Unreadable(Unreadable),
    /// The id of what it made leads elsewhere.
    #[error("the id {0} does not name it")]
    WrongId(OperationId),
    /// Its details are not those that it was booked with.
    #[error("its details do not match their digest")]
    DetailsMismatch,
    /// Its details are gone, and no later entry says that they were erased.
    #[error("its details are missing and nothing says that they were erased")]
    DetailsMissing,
    /// It takes effect before the entry before it.
    #[error("it takes effect before the entry before it")]
    TimeRunsBack,
    /// It moves credits as no entry of its kind may.
    #[error("it moves credits of {0} as an entry of its kind never does")]
    WrongPosting(LotId),
    /// Its postings do not add up to its amount.
    #[error("its postings do not add up to its amount")]
    AmountMismatch,
    /// It grants a lot that was granted before.
    #[error("it grants {0} a second time")]
    LotGrantedTwice(LotId),
    /// It moves credits of a lot that was never granted.
    #[error("it moves credits of {0}, which was never granted")]
    UnknownLot(LotId),
    /// A part of a lot would be below zero.
    #[error("it takes more from {0} than there is")]
    LotOverdrawn(LotId),
    /// It spends a lot outside its time, expires it early, or gives credits back to one that
    /// cannot take them.
    #[error("it moves credits of {0} at a time when the lot does not allow it")]
    WrongTime(LotId),
    /// It takes credits of a lot for work that the lot does not pay for.
    #[error("it takes credits of {0} for work outside that lot's scope")]
    WrongScope(LotId),
    /// It names another API key than the one that its actor acts with.
    #[error("it names another API key than its actor")]
    KeyMismatch,
    /// It says that more or less of its charge has been given back than its refunds add up to.
    #[error("what it says was refunded of {0} is not the sum of that charge's refunds")]
    RefundMismatch(ChargeId),
    /// It settles a hold that is not open, or not wholly, or on the wrong side of its deadline.
    #[error("it settles {0}, which is not open, holds another amount or has another deadline")]
    HoldMismatch(HoldId),
    /// It says that more or less is owed than was taken back and not paid, or that more is owed of its lot than was used.
    #[error("what it says is owed is not what was taken back and not paid")]
    DebtMismatch,
    /// Its balances are not the sum of what happened.
    #[error("the balances after it should be {available} available, {spendable} of it spendable, and {held} held")]
    BalanceMismatch {
        /// What should remain.
        available: Credits,
        /// What of it should be spendable.
        spendable: Credits,
        /// What should be reserved.
        held: Credits,
    },

    /// The account's row is not where the ledger ends.
    #[error("the account's row does not match the end of its ledger")]
    HeadMismatch,
    /// A stored lot is not what its entries add up to.
    #[error("the stored lot {0} does not match its entries")]
    LotMismatch(LotId),
    /// A granted lot is not stored.
    #[error("the lot {0} is missing")]
    LotMissing(LotId),
    /// The usage totals are not the sum of what the entries charged and refunded.
    #[error("the usage totals do not match the charges and refunds of the ledger")]
    UsageMismatch,
    /// How much of a limit is used is stored otherwise than the entries say.
    #[error("the stored use of the limit {0} does not match the ledger")]
    LimitMismatch(LimitId),
    /// A stored payment is not what the ledger, its purchase and its documents say, or is missing.
    #[error("the stored payment {0} does not match the ledger and its documents")]
    PaymentMismatch(PaymentId),
    /// A stored purchase is not what its payment and the ledger say, or is missing.
    #[error("the stored purchase {0} does not match its payment and the ledger")]
    PurchaseMismatch(PurchaseId),
    /// A stored invoice or credit note is not what its payment says, or one beside it is missing.
    #[error("the stored document {0} does not match its payment and the documents beside it")]
    InvoiceMismatch(InvoiceId),
    /// A stored hold is not what its entries say, or is missing, or lacks labels that nothing says were erased.
    #[error("the stored hold {0} does not match its entries")]
    StoredHoldMismatch(HoldId),
}

/// The first thing that is wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ledger of {owner}, entry {seq}: {flaw}")]
pub struct BadLedger {
    /// Whose ledger.
    pub owner: OwnerId,
    /// The first bad entry; when the entries are good and something stored beside them is not, the
    /// last entry's number.
    pub seq: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What a good ledger adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// How many entries it has.
    pub entries: u64,
    /// How many lots.
    pub lots: u64,
    /// Sum of charges and captures in micro-credits: what all usage aggregates must have charged.
    pub charged: i128,
    /// Sum of refunds in micro-credits: what all usage aggregates must have refunded.
    pub refunded: i128,
    /// What remains in all lots.
    pub available: Credits,
    /// What open holds reserve.
    pub held: Credits,
    /// How many entries' details were erased.
    pub erased: u64,
}
