//! Why a command is refused.

use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::limits::Reached;
use super::rates::RateError;
use super::rules::Rules;

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
/// | 1 | the caller's own standing, and the owner's | whoever left learns nothing, not even what an earlier attempt did |
/// | 2 | the request id | a retry must learn what its first attempt did, whatever has changed since |
/// | 3 | the named member, the owner's standing for who needs none, the policy, what may be out of date of both, the renewal | who may not spend is told so whatever the state is |
/// | 4 | unknown ids, and whose they are | what does not exist here has neither a state nor an amount |
/// | 5 | states | a settled hold stays settled however little is asked of it |
/// | 6 | prices, amounts and times | wrong whatever the balance is |
/// | 7 | bounds, limits and credits | right, but not now: what a top-up or a settled hold cures |
/// | 8 | defects | never expected |
///
/// A refused command changes nothing and does not use up its request id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user does not belong to the organization (any more).
    #[error("not a member of the owner")]
    NotAMember,

    /// An operator has suspended the organization: nobody uses it, and what it has stays.
    #[error("the organization is suspended")]
    OrganizationSuspended,
    /// The organization was deleted: nobody uses it any more. What is held is still settled.
    #[error("the organization was deleted")]
    OrganizationDeleted,
    /// The organization is still being made.
    #[error("the organization is still being created")]
    OrganizationPending,
    /// An operator has suspended the user whose own account this is.
    #[error("the user is suspended")]
    UserSuspended,

    /// The request id was used for another command, or with other arguments.
    #[error("the request id was already used for another request")]
    RequestIdReused,

    /// What is known of the organization's members and policies may be out of date, and this rests on it.
    #[error("what is known of the organization's members may be out of date")]
    FeedStale,

    /// A month of the account's subscription is over, and its renewal was not looked after yet: what would be spent now
    /// may not be what ought to be.
    #[error("the account's renewal is due and not done yet")]
    RenewalDue,

    /// In this deployment people have no credits outside of organizations.
    #[error("credits belong to organizations here: act in one")]
    OrganizationRequired,
    /// Users' own tokens may not spend in this deployment.
    #[error("only services may charge and hold here")]
    SpendingByServicesOnly,
    /// Only services give charges back.
    #[error("only services may refund")]
    RefundByServicesOnly,

    /// No such hold in this account.
    #[error("there is no such hold")]
    HoldNotFound,
    /// No such charge in this account.
    #[error("there is no such charge")]
    ChargeNotFound,
    /// No such lot in this account.
    #[error("there is no such lot")]
    LotNotFound,
    /// A user's token settles only what this user's tokens placed.
    #[error("the hold was not placed by this user's own token")]
    HoldNotYours,

    /// The hold has been captured, or released before the capture came.
    #[error("the hold has already been settled")]
    HoldSettled,
    /// The hold's deadline passed before the capture came.
    #[error("the hold expired at {deadline}")]
    HoldExpired {
        /// When it stopped being held.
        deadline: Timestamp,
    },
    /// Nothing of the lot remains or is held, or it has expired: there is nothing to void.
    #[error("nothing is left of the lot, or it has expired")]
    LotEmpty,

    /// Metered work that names no model.
    #[error("the work names no model, so its usage has no price")]
    NoModel,
    /// The rate card gives no price.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// An amount of zero.
    #[error("the amount must be above zero")]
    ZeroAmount,
    /// A hold for no time, or for longer than allowed.
    #[error("a hold must last at least a second and at most {} seconds", longest.as_secs())]
    HoldTimeOutOfRange {
        /// The longest that is allowed.
        longest: Span,
    },
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
    /// The account has charged so much in its life that one more could not be counted.
    #[error("the account's totals cannot count another charge of this size")]
    TotalsFull,

    /// As many holds are open as may be.
    #[error("{limit} holds are open already")]
    TooManyHolds {
        /// How many may be.
        limit: u32,
    },
    /// As many lots are alive as may be.
    #[error("the account has {} lots with credits already", Rules::MAX_LIVE_LOTS)]
    TooManyLots,
    /// The account would hold more than [`Credits::MAX`].
    #[error("the account cannot hold that many credits")]
    BalanceTooLarge,
    /// It would go above a hard limit: right, but not before its window ends.
    #[error("a limit of {} credits for {} is reached", .0.amount, .0.subject)]
    LimitReached(Box<Reached>),
    /// Not enough credits that can be spent now.
    #[error("{required} credits are needed and {available} are available")]
    InsufficientCredits {
        /// What may pay for this request now.
        available: Credits,
        /// What was needed; for a capture with `allow_excess`, the excess alone.
        required: Credits,
    },

    /// A defect or a row that was changed by hand. Nothing was written.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
}
