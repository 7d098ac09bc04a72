//! The deployment's own rules: what decisions on every account rest on alike.
//!
//! They are replaced as a whole when the catalog or the deployment's policy changes; a decision rests on the set
//! that its state was given, and says so by keeping it.

use bursar_time::Span;

use super::assortment::{Assortment, FormerRates};
use super::catalog::CatalogVersion;
use super::operation::OperationKey;
use super::rates::RateCard;

/// Who may spend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spending {
    /// Users' own tokens and services.
    #[default]
    UsersAndServices,
    /// Services alone: a user's own token may neither charge nor hold.
    Services,
}

/// What holds for every account.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What models cost.
    pub rates: RateCard,
    /// Which catalog these rates are of.
    pub catalog_version: CatalogVersion,
    /// What models cost that are no longer listed, for what was held before.
    pub former_rates: FormerRates,
    /// Who may spend.
    pub spending: Spending,
    /// Whether people have credits outside of organizations.
    pub personal_accounts: bool,
    /// How long a hold may last at most.
    pub max_hold: Span,
    /// How many holds may be open in one account.
    pub max_open_holds: u32,
    /// The installation's key for operation ids.
    pub key: OperationKey,
}

impl Rules {
    /// How many lots with something left or held an account may have: what every charge has to look at.
    pub const MAX_LIVE_LOTS: usize = 1_000;
    /// The longest that a hold may ever last.
    pub const MAX_HOLD: Span = Span::DAY;
    /// How many holds may be open in one account unless the deployment says otherwise.
    pub const MAX_OPEN_HOLDS: u32 = 10_000;

    /// Prices by these catalogs from now on.
    pub fn price_by(&mut self, assortment: &Assortment) {
        self.rates = assortment.catalog().rates().clone();
        self.catalog_version = assortment.present().version;
        self.former_rates = assortment.former_rates().clone();
    }
}

#[cfg(test)]
impl Rules {
    /// The rules of most tests: the first catalog's, with these rates, in a deployment that decides nothing.
    pub(crate) fn for_test(rates: RateCard, key: OperationKey) -> Self {
        Self {
            rates,
            catalog_version: CatalogVersion::new(1).unwrap(),
            former_rates: FormerRates::none(),
            spending: Spending::UsersAndServices,
            personal_accounts: true,
            max_hold: Self::MAX_HOLD,
            max_open_holds: Self::MAX_OPEN_HOLDS,
            key,
        }
    }
}
