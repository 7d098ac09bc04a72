//! A month that is granted before its payment ([`Terms::grant_in_grace`](super::Terms::grant_in_grace)): where there may be one.

use super::lot::Lot;
use super::subscription::{Subscription, SubscriptionState};

impl Subscription {
    /// Whether the month after the one that it is in may have been granted before its payment.
    pub fn may_be_in_grace(&self) -> bool {
        self.grant_in_grace || self.state == SubscriptionState::PastDue || self.next_terms().grant_in_grace
    }
}

impl Lot {
    /// Whether it is a month's that was granted before its payment: it says what is to be paid for it, and no payment. What is given
    /// for nothing says neither.
    pub fn is_granted_early(&self) -> bool {
        let origin = &self.terms.origin;
        origin.subscription.is_some() && origin.payment.is_none() && origin.paid.is_some()
    }
}
