//! Why a command is refused.

use bursar_money::Credits;
use bursar_time::Timestamp;

/// Something that cannot happen did: stored rows contradict one another or the engine has a defect.
///
/// It is never the caller's fault. The account is left alone and the message goes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account's records contradict one another: {0}")]
pub struct Inconsistent(
    /// What contradicts what.
    pub &'static str,
);

/// Why a command was not carried out.
///
/// The variants stand in order of precedence. When several apply, the first one is the answer:
///
/// | rank | group | reason |
/// |---|---|---|
/// | 1 | the request id | a retry must learn what its first attempt did, whatever has changed since |
/// | 2 | unknown ids | what does not exist here has neither a state nor an amount |
/// | 3 | states | a settled hold stays settled however little is asked of it |
/// | 4 | amounts and times | wrong whatever the balance is |
/// | 5 | credits | right, but not payable now: the only refusal that a top-up cures |
/// | 6 | defects | never expected |
///
/// A refused command changes nothing and does not use up its request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request id was used for another command, or with other arguments.
    #[error("the request id was already used for another request")]
    RequestIdReused,

    /// No such hold in this account.
    #[error("there is no such hold")]
    HoldNotFound,
    /// No such charge in this account.
    #[error("there is no such charge")]
    ChargeNotFound,
    /// No such lot in this account.
    #[error("there is no such lot")]
    LotNotFound,

    /// The hold has been captured, or released before the capture came.
    #[error("the hold has already been settled")]
    HoldSettled,
    /// The hold's deadline passed before the capture came.
    #[error("the hold expired at {deadline}")]
    HoldExpired {
        /// When it stopped being held.
        deadline: Timestamp,
    },
    /// The lot has been voided before.
    #[error("the lot has already been voided")]
    LotVoided,
    /// The lot has expired, so there is nothing left to void.
    #[error("the lot has expired")]
    LotExpired,

    /// An amount of zero.
    #[error("the amount must be above zero")]
    ZeroAmount,
    /// A hold for no time, or for longer than [`super::MAX_HOLD`].
    #[error("a hold must last longer than nothing and at most 24 hours")]
    HoldTimeOutOfRange,
    /// A lot that would expire before, or when, it becomes effective.
    #[error("a lot must expire after it becomes effective")]
    EmptyValidity,
    /// More than was held, without `allow_excess`.
    #[error("the capture of {requested} credits is above the hold of {held}")]
    CaptureAboveHold {
        /// What the hold reserves.
        held: Credits,
        /// What was asked for.
        requested: Credits,
    },
    /// More than is left of the charge after earlier refunds.
    #[error("the refund is above what is left of the charge: {left} credits")]
    RefundAboveCharge {
        /// What can still be refunded.
        left: Credits,
        /// What was asked for.
        requested: Credits,
    },
    /// The account would hold more than [`Credits::MAX`].
    #[error("the account cannot hold that many credits")]
    BalanceTooLarge,

    /// Not enough credits that can be spent now.
    #[error("{required} credits are needed and {available} are available")]
    InsufficientCredits {
        /// What can be spent now.
        available: Credits,
        /// What was needed; for a capture with `allow_excess`, the excess alone.
        required: Credits,
    },

    /// A defect or a row that was changed by hand. Nothing was written.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}
