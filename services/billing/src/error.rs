//! Everything that can go wrong in billing, as facts. What a caller is told is decided in one place:
//! `grpc/status.rs`.

use bursar_db::DbError;
use bursar_id::OwnerId;
use bursar_money::{Credits, Price};
use bursar_rpc::Problem;
use bursar_time::Zone;

use crate::domain::{ChangeError, ContractError, Refusal};
use crate::lane::{Overloaded, Refused};
use crate::payment::Trouble;

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is malformed, or the caller is not who may ask: already in the caller's words.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// Organization has not told yet what the deployment's policies are.
    #[error("the deployment's policies are not known yet")]
    PoliciesUnknown,
    /// Days there begin where no hour of UTC does, and usage is counted by hours.
    #[error("clocks in {0} differ from UTC by other than whole hours: days there cannot be told apart")]
    TimeZoneUnsupported(Zone),
    /// What has to be added up before the first line is known is more than one call may read.
    #[error("one line adds up more than {0} totals: ask for less time, shorter intervals or one member")]
    ReportTooLarge(usize),
    /// The credit rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The user does not belong to the owner, or the owner does not exist: nobody learns which.
    #[error("not a member of the owner")]
    NotAMember,
    /// Not enough credits, and how many there are is not for the caller to see.
    #[error("{required} credits are needed, and there are fewer")]
    NotEnough {
        /// What was needed.
        required: Credits,
    },
    /// The user belongs to the owner, but the token acts for somebody else.
    #[error("the token's context is {context}, not the owner")]
    WrongContext {
        /// Whom the token acts for.
        context: OwnerId,
    },
    /// Members of the organization must have proven a second factor, and the token shows none.
    #[error("members of this organization need a second factor: enrol one and sign in with it")]
    SecondFactorRequired,
    /// The user's role does not allow this.
    #[error("the role does not allow this")]
    RoleNotAllowed,
    /// The user's role allows it, and the API key in whose name the call is made was not given it.
    #[error("the API key was not given the permission for this")]
    KeyNotAllowed,
    /// No such thing, or none that the caller may know of.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Somebody else changed it since it was read.
    #[error("it was changed since it was read: read it again")]
    EtagMismatch,
    /// The catalog has no price for the model.
    #[error("the catalog has no price for the model {0}")]
    ModelNotFound(String),
    /// The model has no such meter.
    #[error("the model {model} has no meter {meter}")]
    MeterNotFound {
        /// The model.
        model: String,
        /// What was taken for a meter of it.
        meter: String,
    },
    /// No catalog was ever used under this version.
    #[error("there is no catalog of the version {0}")]
    CatalogVersionNotFound(u32),
    /// The catalog's file cannot be used, or that of the taxes, which is read with it: everything that is wrong, each with the
    /// setting that names the file.
    #[error("the catalog's file is wrong")]
    CatalogInvalid(Vec<(&'static str, String)>),
    /// The catalog has no such plan.
    #[error("the catalog has no plan {0}")]
    PlanNotFound(String),
    /// The catalog has no such pack.
    #[error("the catalog has no pack {0}")]
    PackNotFound(String),
    /// The plan cannot be subscribed to: it is everybody's, or its terms are agreed in a contract.
    #[error("the plan {0} is not for sale: it is free, or sold by contract only")]
    PlanNotForSale(String),
    /// The owner is on a paid plan already.
    #[error("the owner already has a subscription to {plan}")]
    AlreadySubscribed {
        /// Which plan.
        plan: String,
    },
    /// A subscription moves only from an owner who has one that is paid for, on a plan that includes organizations.
    #[error("no paid plan that includes organizations")]
    PlanRequired,
    /// A subscription does not move, for good: the account that it would move to has no room for what its month has left.
    #[error("the organization's account has no room: {0}")]
    NoRoomToMove(Refusal),
    /// A subscription does not move, for good: whoever creates the organization does not want it any more.
    #[error("the move to this organization was called off")]
    MoveCalledOff,
    /// The payment provider declined.
    #[error("the payment was declined")]
    PaymentDeclined,
    /// No payment method was named, and the owner has no default.
    #[error("no payment method is named, and there is no default")]
    PaymentMethodRequired,
    /// The payment method cannot pay any more.
    #[error("the payment method has expired")]
    PaymentMethodExpired,
    /// As many payment methods are saved as may be.
    #[error("there are {0} payment methods already")]
    TooManyPaymentMethods(u32),
    /// As many payments are open as may be.
    #[error("there are {0} open payments already: finish or wait for them first")]
    TooManyOpenPayments(u32),
    /// Only what is paid can be refunded.
    #[error("the payment is not paid")]
    PaymentNotPaid,
    /// More than is left of the payment.
    #[error("the refund is above what is left of the payment: {left}")]
    RefundAbovePayment {
        /// What may still be refunded.
        left: Price,
    },
    /// The month that was paid for has begun already, or its subscription does not go on.
    #[error("there is no such month to begin any more")]
    NothingToRenew,
    /// The owner has no subscription that goes on.
    #[error("there is no subscription")]
    NoSubscription,
    /// The subscription goes on after its period: there is nothing to take back.
    #[error("the subscription is not canceled")]
    NotCanceled,
    /// The subscription ends with its period: it is resumed before it is changed.
    #[error("the subscription ends with its period: resume it first")]
    SubscriptionCanceled,
    /// The subscription's next period is not paid: that comes first.
    #[error("the subscription's next period is not paid")]
    SubscriptionPastDue,
    /// The subscription's period is over, and what comes after it could not be begun: its payment is open, or could not even be
    /// asked for. To a caller it is past due; whoever begins a contract comes again sooner than tomorrow.
    #[error("the subscription's next period is not paid yet: finish or wait for its payment first")]
    RenewalUnpaid,
    /// The subscription is more than one period behind: it goes on by an operator's word alone.
    #[error("the subscription is more than one period behind: an operator has to resume it first")]
    RenewalHeld,
    /// There is no such change.
    #[error(transparent)]
    NoSuchChange(#[from] ChangeError),
    /// There is no such contract.
    #[error(transparent)]
    NoSuchContract(#[from] ContractError),
    /// Something else is due than the caller expects.
    #[error("{due} are due: look again")]
    DueChanged {
        /// What is due.
        due: Price,
    },
    /// Another change, a cancellation or the next period came first.
    #[error("the subscription was changed meanwhile: look again")]
    ChangeOvertaken,
    /// The account has as many limits as it may.
    #[error("the account has {limit} limits already")]
    TooManyLimits {
        /// How many it may have.
        limit: u32,
    },
    /// The account's queue is full.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The database cannot be reached; whether the request took effect, its id will tell.
    #[error("the database cannot be reached")]
    Unavailable,
    /// The store has what only a later version of this program can read.
    #[error("this was written by a later version of billing, which can read it")]
    NewerFormat,
    /// The payment provider did not say what became of what it was asked: the same request finds that out.
    #[error("the payment provider cannot be reached: ask again with the same request_id")]
    Provider,
    /// What the payment provider was asked can never be done: somebody has to see to it.
    #[error("the payment provider cannot do this: {0}")]
    Hopeless(&'static str),
    /// A fault of the program's own, logged where it happened.
    #[error("the request failed")]
    Failed,
    /// The store failed.
    #[error(transparent)]
    Store(DbError),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        match error {
            DbError::NewerFormat { .. } => Self::NewerFormat,
            error => Self::Store(error),
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Never(why) => {
                tracing::error!(why, "what the payment provider was asked can never be done");
                return Self::Hopeless(why);
            }
            // By itself it does not pass: somebody has to see to the key, the account or the version.
            Trouble::Refused(why) => tracing::error!(why, "the payment provider refuses what it is asked"),
            trouble => tracing::warn!(%trouble, "the payment provider did not say what became of what it was asked"),
        }
        Self::Provider
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rule(Refusal::NotAMember) => Self::NotAMember,
            Refused::Rule(refusal) => Self::Refused(refusal),
            Refused::RenewalDue(_) => Self::Refused(Refusal::RenewalDue),
            Refused::Unavailable => Self::Unavailable,
            Refused::TimedOut => Self::Store(DbError::TimedOut),
            Refused::NewerFormat => Self::NewerFormat,
            Refused::Failed => Self::Failed,
        }
    }
}

impl From<Overloaded> for Error {
    fn from(Overloaded: Overloaded) -> Self {
        Self::Overloaded
    }
}
