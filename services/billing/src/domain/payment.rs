//! Payments: money that is asked for, and what became of it.
//!
//! A payment is a state machine that a provider's news move. News come late, twice and in any order, so every one of them
//! has its meaning in every state ([`Payment::learn`]): what was paid is paid whatever was said before or is said
//! afterwards, and what was taken back counts however early it is heard of.
//!
//! | news \ state | CREATED | PENDING | `REQUIRES_ACTION` | DECLINED | CANCELED | PAID |
//! |---|---|---|---|---|---|---|
//! | pending | PENDING | – | PENDING | – | – | – |
//! | requires action | `REQUIRES_ACTION` | `REQUIRES_ACTION` | – | – | – | – |
//! | declined | DECLINED | DECLINED | DECLINED | – | – | – |
//! | canceled | CANCELED | CANCELED | CANCELED | CANCELED | – | – |
//! | paid | PAID | PAID | PAID | PAID | PAID | – |
//!
//! Refunds and disputes are amounts and words beside the state: they wait where the payment is not paid yet. What was
//! bought stands with the payment, so that it can be fulfilled whenever the money comes.
//!
//! How a provider is asked, and what fulfilling means, do not belong here.

use std::fmt;
use std::str::FromStr;

use bursar_id::{InvoiceId, LotId, OwnerId, PaymentId, PurchaseId, SubscriptionId};
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalog::ProductId;
use super::change::Terms;
use super::contract::Features;
use super::included::Included;
use super::interval::Interval;
use super::invoice::Bill;
use super::paid_lot::PaidLot;
use super::refusal::Inconsistent;
use super::scope::Scope;
use super::set_aside::SetAside;
use super::subscription::Subscription;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $flaw:literal: $($(#[$each:meta])* $word:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$each])* $word,)* }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// The stored name, which is the API's name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Inconsistent;

            fn from_str(text: &str) -> Result<Self, Inconsistent> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or(Inconsistent($flaw))
            }
        }
    };
}

words! {
    /// Where a payment is in its life.
    PaymentState, "a payment has an unknown state":
    /// Written down; what the provider says of it is not known yet.
    Created = "CREATED",
    /// The provider has it and will tell how it ends.
    Pending = "PENDING",
    /// The customer has to do something before it can go on.
    RequiresAction = "REQUIRES_ACTION",
    /// The money is there.
    Paid = "PAID",
    /// The provider refused it.
    Declined = "DECLINED",
    /// Nobody waits for it any more.
    Canceled = "CANCELED",
}

words! {
    /// Whether the customer has disputed a payment with the bank.
    Dispute, "a payment has an unknown dispute":
    /// No.
    None = "NONE",
    /// Yes, and the bank has not decided.
    Open = "OPEN",
    /// The bank decided for the merchant: the money stays.
    Won = "WON",
    /// The bank decided for the customer: the money is gone.
    Lost = "LOST",
}

words! {
    /// What a payment is for.
    Purpose, "a payment has an unknown purpose":
    /// A pack that somebody bought.
    Purchase = "PURCHASE",
    /// The first period of a subscription.
    Subscription = "SUBSCRIPTION",
    /// A later period of a subscription.
    Renewal = "RENEWAL",
    /// What is left of a period on terms that cost more.
    Change = "CHANGE",
}

/// What is bought, on the terms that were agreed: a catalog edit never touches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bought {
    /// A pack.
    Pack {
        /// The purchase that it becomes.
        purchase: PurchaseId,
        /// The pack.
        pack: ProductId,
        /// Its credits.
        credits: Credits,
        /// What they may pay for.
        scope: Scope,
    },
    /// The first period of a subscription.
    Start {
        /// The subscription that begins with it.
        subscription: SubscriptionId,
        /// The plan.
        plan: ProductId,
        /// The credits of a month.
        credits: Credits,
        /// How many people it is for.
        seats: u32,
        /// How long its periods are.
        interval: Interval,
        /// What a contract includes; `None` where there is none.
        features: Option<Features>,
        /// What the plan includes, as it is sold; `None` where an earlier program has not said it.
        included: Option<Box<Included>>,
        /// How many credits of a month that is over are there for one more at most; `None` for none.
        rollover: Option<Credits>,
        /// Whether a month's allowance is there from its boundary on although its payment is late.
        grant_in_grace: bool,
        /// The contract that has waited and begins with it, by its id.
        contract: Option<String>,
    },
    /// A later period of a subscription.
    Renewal {
        /// The subscription.
        subscription: SubscriptionId,
        /// The plan.
        plan: ProductId,
        /// The credits of the period.
        credits: Credits,
        /// The period's number.
        period: u32,
    },
    /// What is left of a period on terms that cost more.
    Change {
        /// The subscription.
        subscription: SubscriptionId,
        /// What a month of it is from then on.
        to: Terms,
        /// The credits that come at once.
        credits: Credits,
        /// The period's number.
        period: u32,
        /// How often the subscription had been changed when this was agreed: it is delivered if that is so still.
        after: u32,
        /// The contract that has waited and begins with it, by its id.
        contract: Option<String>,
    },
}

impl Bought {
    /// What the payment is for.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Pack { .. } => Purpose::Purchase,
            Self::Start { .. } => Purpose::Subscription,
            Self::Renewal { .. } => Purpose::Renewal,
            Self::Change { .. } => Purpose::Change,
        }
    }

    /// The credits that come with it.
    pub fn credits(&self) -> Credits {
        match self {
            Self::Pack { credits, .. }
            | Self::Start { credits, .. }
            | Self::Renewal { credits, .. }
            | Self::Change { credits, .. } => *credits,
        }
    }

    /// The purchase that it becomes.
    pub fn purchase(&self) -> Option<PurchaseId> {
        match self {
            Self::Pack { purchase, .. } => Some(*purchase),
            Self::Start { .. } | Self::Renewal { .. } | Self::Change { .. } => None,
        }
    }

    /// The subscription that it is for.
    pub fn subscription(&self) -> Option<SubscriptionId> {
        match self {
            Self::Pack { .. } => None,
            Self::Start { subscription, .. }
            | Self::Renewal { subscription, .. }
            | Self::Change { subscription, .. } => Some(*subscription),
        }
    }

    /// The contract that has waited and begins with it, by its id: it is delivered if that waits still.
    pub fn contract(&self) -> Option<&str> {
        match self {
            Self::Start { contract, .. } | Self::Change { contract, .. } => contract.as_deref(),
            Self::Pack { .. } | Self::Renewal { .. } => None,
        }
    }
}

/// What is heard of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It will take a while.
    Pending,
    /// The customer has to do something.
    RequiresAction,
    /// It is paid.
    Paid,
    /// It was refused, in the provider's word for why.
    Declined(String),
    /// Nobody waits for it any more.
    Canceled,
    /// So much of it has been given back by now, in all.
    Refunded(Price),
    /// So much of it is disputed.
    Disputed(Price),
    /// The dispute was decided for the merchant.
    DisputeWon,
    /// The dispute was decided for the customer.
    DisputeLost,
}

impl News {
    /// The amount that it is about, where it is about one.
    pub fn amount(&self) -> Option<Price> {
        match self {
            Self::Refunded(amount) | Self::Disputed(amount) => Some(*amount),
            Self::Pending
            | Self::RequiresAction
            | Self::Paid
            | Self::Declined(_)
            | Self::Canceled
            | Self::DisputeWon
            | Self::DisputeLost => None,
        }
    }
}

/// What has been taken back of the credits that a payment bought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// How many of its credits the refunds and disputes so far come to.
    pub credits: Credits,
    /// How many of them were voided in the payment's lot.
    pub voided: Credits,
    /// How many of them had been spent and became debt.
    pub owed: Credits,
}

/// What was left of a payment's credits when they became another lot's: its subscription moved, and they are another owner's
/// now; or their month was over, and they are there for one more ([`rolled_over`](super::rolled_over)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Whose it is.
    pub owner: OwnerId,
    /// The lot there.
    pub lot: LotId,
    /// How many credits moved.
    pub credits: Credits,
    /// How many of the payment's had been taken back by then.
    pub before: Credits,
    /// What was taken back of those that moved.
    pub taken_back: TakenBack,
    /// What became of what was left of these, one lot after the other; of each of them this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Moved>,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its id; the provider's key for idempotence, too.
    pub id: PaymentId,
    /// Whose account it is for.
    pub owner: OwnerId,
    /// What is bought.
    pub bought: Bought,
    /// How much: the gross amount.
    pub amount: Price,
    /// What is paid for, in lines and taxes that add up to the amount; `None` in payments of earlier programs: they have no
    /// taxes.
    pub bill: Option<Bill>,
    /// Where it is in its life.
    pub state: PaymentState,
    /// How much of it was given back.
    pub refunded: Price,
    /// Whether it is disputed.
    pub dispute: Dispute,
    /// How much of it the dispute is about.
    pub disputed: Price,
    /// What the provider has told of its money that is booked nowhere.
    pub aside: Vec<SetAside>,
    /// Why it was declined, in the provider's word.
    pub decline_code: Option<String>,
    /// With what it is paid: a saved payment method, or the provider's own name for one.
    pub method: String,
    /// The provider's name for it: unique in the deployment.
    pub reference: Option<String>,
    /// What it is paid for in sixteen bytes: a request, or a period of a subscription.
    pub thing: [u8; 16],
    /// Which attempt at that it is, counted from 1.
    pub attempt: u32,
    /// When what was bought was delivered.
    pub fulfilled_at: Option<Timestamp>,
    /// Whether nothing could be sold for it: whatever is paid goes back.
    pub returned: bool,
    /// The lot with its credits; of a year the first month's.
    pub lot: Option<LotId>,
    /// The invoice that was issued when what was bought was delivered.
    pub invoice: Option<InvoiceId>,
    /// What was taken back of its credits, without those that have moved.
    pub taken_back: TakenBack,
    /// What of its credits has become another lot's.
    pub moved: Option<Moved>,
    /// The lots of a year's months after the first, as far as they have begun.
    pub months: Vec<PaidLot>,
    /// Who began it: `usr_…`, `svc_…` or the program.
    pub started_by: String,
    /// When it began.
    pub created_at: Timestamp,
}

impl Payment {
    /// How much it is without taxes.
    pub fn net(&self) -> Price {
        self.bill.as_ref().map_or(self.amount, |bill| bill.subtotal)
    }

    /// Moves it on by what a provider said, under its own name for the payment if it gave one.
    pub fn hear(&mut self, said: Option<(Option<&str>, &News)>) {
        if let Some((reference, news)) = said {
            if self.reference.is_none() {
                self.reference = reference.map(str::to_owned);
            }
            self.learn(news);
        }
    }

    /// Moves it on by what was heard; `false` where that changes nothing.
    pub fn learn(&mut self, news: &News) -> bool {
        let before = (self.state, self.refunded, self.dispute, self.disputed);
        match news {
            News::Pending => self.become_one_of(PaymentState::Pending),
            News::RequiresAction => self.become_one_of(PaymentState::RequiresAction),
            News::Declined(code) => {
                if matches!(self.state, PaymentState::Created | PaymentState::Pending | PaymentState::RequiresAction) {
                    self.state = PaymentState::Declined;
                    self.decline_code = Some(code.clone());
                }
            }
            News::Canceled if self.state != PaymentState::Paid => self.state = PaymentState::Canceled,
            News::Canceled => {}
            News::Paid => {
                self.state = PaymentState::Paid;
                self.decline_code = None;
            }
            News::Refunded(total) => self.refunded = greater(self.refunded, self.at_most_all(*total)),
            News::Disputed(amount) => {
                self.disputed = greater(self.disputed, self.at_most_all(*amount));
                if self.dispute == Dispute::None {
                    self.dispute = Dispute::Open;
                }
            }
            News::DisputeWon => self.decide(Dispute::Won),
            News::DisputeLost => self.decide(Dispute::Lost),
        }
        before != (self.state, self.refunded, self.dispute, self.disputed)
    }

    /// Waits, unless it has ended.
    fn become_one_of(&mut self, waiting: PaymentState) {
        if matches!(self.state, PaymentState::Created | PaymentState::Pending | PaymentState::RequiresAction) {
            self.state = waiting;
        }
    }

    /// The first decision of a bank stands.
    fn decide(&mut self, decision: Dispute) {
        if matches!(self.dispute, Dispute::None | Dispute::Open) {
            self.dispute = decision;
        }
    }

    /// An amount within what was paid, in whole units of the smallest kind: no document can say less, and none may fail
    /// because of what a provider said. Another currency's counts for nothing.
    pub(super) fn at_most_all(&self, amount: Price) -> Price {
        if amount.currency() != self.amount.currency() || amount.is_negative() {
            return Price::zero(self.amount.currency());
        }
        if amount.micros() >= self.amount.micros() { self.amount } else { amount.floor_to_minor() }
    }

    /// How much money was taken back, by refunds and disputes together: at most all of it.
    pub fn taken(&self) -> Price {
        let disputed = match self.dispute {
            Dispute::Open | Dispute::Lost => self.disputed,
            Dispute::None | Dispute::Won => Price::zero(self.amount.currency()),
        };
        self.at_most_all(self.refunded.checked_add(disputed).unwrap_or(self.amount))
    }

    /// How much money is gone for good: what was given back, and what a dispute took that was lost. What an open one is about
    /// may yet stay.
    pub fn given_back(&self) -> Price {
        let lost = match self.dispute {
            Dispute::Lost => self.disputed,
            Dispute::None | Dispute::Open | Dispute::Won => Price::zero(self.amount.currency()),
        };
        self.at_most_all(self.refunded.checked_add(lost).unwrap_or(self.amount))
    }

    /// How much may still be refunded: what a dispute has taken, or may take, is not given back a second time, be it booked or set
    /// aside.
    pub fn refundable(&self) -> Price {
        let gone = self.at_most_all(self.taken().checked_add(self.taken_aside()).unwrap_or(self.amount));
        self.amount.checked_sub(gone).unwrap_or_else(|_| Price::zero(self.amount.currency()))
    }

    /// Whether it is for the period that its owner's subscription is in, on the terms that this is on.
    pub fn is_for_month_of(&self, of: &Subscription) -> bool {
        let Bought::Renewal { subscription, plan, credits, period } = &self.bought else { return false };
        (self.owner, *subscription, *period) == (of.owner, of.id, of.month.number)
            && (plan, *credits, self.net()) == (&of.plan, of.credits, of.price)
    }

    /// Whether what was bought is to be delivered now.
    pub fn is_to_be_fulfilled(&self) -> bool {
        self.state == PaymentState::Paid && self.fulfilled_at.is_none() && !self.returned
    }

    /// Whether it may still be paid, and somebody waits for that.
    pub fn is_open(&self) -> bool {
        !self.returned
            && matches!(self.state, PaymentState::Created | PaymentState::Pending | PaymentState::RequiresAction)
    }

    /// Whether it has come to nothing, so that the same thing may be tried anew.
    pub fn came_to_nothing(&self) -> bool {
        self.returned || matches!(self.state, PaymentState::Declined | PaymentState::Canceled)
    }
}

fn greater(one: Price, other: Price) -> Price {
    if other.micros() > one.micros() { other } else { one }
}
