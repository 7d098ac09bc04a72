//! Saved payment methods: what the provider keeps for an owner, and what of it people are shown.
//!
//! No card's number ever comes here, only the provider's name for the card.

use std::fmt;

use bursar_id::{OwnerId, PaymentMethodId};
use bursar_time::Timestamp;

/// What people are shown of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whose make it is, for example `visa`.
    pub brand: String,
    /// The last four digits.
    pub last4: String,
    /// The last month in which it can pay, 1 to 12.
    pub exp_month: u32,
    /// That month's year.
    pub exp_year: u32,
}

impl Card {
    /// Whether it cannot pay any more at `now`: its last month (UTC) is over.
    pub fn is_expired_at(&self, now: Timestamp) -> bool {
        let month = now.to_rfc3339();
        let number = |part: &str| part.parse::<u32>().unwrap_or(u32::MAX);
        let (year, month) = (month.get(..4).map_or(u32::MAX, number), month.get(5..7).map_or(u32::MAX, number));
        (self.exp_year, self.exp_month) < (year, month)
    }
}

/// A payment method that was saved. With the provider's name for it money is taken: no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedMethod {
    /// Its id.
    pub id: PaymentMethodId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The provider's name for it.
    pub token: String,
    /// What people are shown of it.
    pub card: Card,
    /// Whether it pays where none is named.
    pub is_default: bool,
    /// Who added it: `usr_…` or `svc_…`.
    pub added_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it serves, where whoever added it has passed the organization on; `None`: it serves on.
    pub serves_until: Option<Timestamp>,
}

impl SavedMethod {
    /// Whether what is paid at `at` may be paid with it.
    pub fn serves_at(&self, at: Timestamp) -> bool {
        self.serves_until.is_none_or(|until| at < until)
    }
}

impl fmt::Debug for SavedMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedMethod")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("is_default", &self.is_default)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_pays_until_its_month_is_over() {
        let card = Card { brand: String::new(), last4: String::new(), exp_month: 2, exp_year: 2026 };
        for (now, expired) in [
            ("2025-12-31T23:59:59Z", false),
            ("2026-02-28T23:59:59.999999Z", false),
            ("2026-03-01T00:00:00Z", true),
            ("2027-01-01T00:00:00Z", true),
        ] {
            assert_eq!(card.is_expired_at(now.parse().unwrap()), expired, "{now}");
        }
    }
}
