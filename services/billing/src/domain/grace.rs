//! A month that is granted before its payment ([`Terms::grant_in_grace`](super::Terms::grant_in_grace)): where there may be one.

use super::subscription::{Subscription, SubscriptionState};

impl Subscription {
    /// Whether the month after the one that it is in may have been granted before its payment.
    pub fn may_be_in_grace(&self) -> bool {
        self.grant_in_grace || self.state == SubscriptionState::PastDue || self.next_terms().grant_in_grace
    }
}
