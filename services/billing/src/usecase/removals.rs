//! Payment methods that nobody pays with any more: the provider forgets them, too, as often as it takes.

use std::fmt;

use bursar_db::{Db, DbError, Tx};
use bursar_jobs::{Jobs, Kind};
use bursar_time::Clock;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::payment::Payments;
use crate::store::methods;

/// Having the provider forget a payment method.
pub(crate) const REMOVAL: Kind<Removal> = Kind::new("billing.payment-method-removal");

/// Which payment method to forget.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Removal {
    /// The provider's name for it.
    pub(crate) token: String,
}

impl fmt::Debug for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Removal").finish_non_exhaustive()
    }
}

/// Has the provider forget payment methods.
#[derive(Clone)]
pub(crate) struct Removals {
    pub(crate) db: Db,
    pub(crate) payments: Payments,
    pub(crate) jobs: Jobs,
    pub(crate) clock: Clock,
}

impl Removals {
    /// Has payment methods forgotten once the transaction is committed, where the provider keeps any.
    pub(super) async fn later(&self, tx: &mut Tx, tokens: impl IntoIterator<Item = String>) -> Result<(), DbError> {
        if !self.payments.keeps_methods() {
            return Ok(());
        }
        for token in tokens {
            self.jobs.enqueue(tx, REMOVAL, &Removal { token }, self.clock.now(), None).await?;
        }
        Ok(())
    }

    /// Has one forgotten now, unless somebody else pays with it: it may have moved with a subscription. Doing it again changes
    /// nothing.
    pub(crate) async fn forget(&self, Removal { token }: &Removal) -> Result<(), Error> {
        if methods::is_saved(&mut self.db.read().await?, token).await? {
            return Ok(());
        }
        Ok(self.payments.forget(token).await?)
    }
}
