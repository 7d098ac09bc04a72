//! What billing can tell of the present: the subscriptions that hold. Whoever is not told of is on the free plan.

use bursar_db::{DbError, Tx};
use bursar_events::{Part, Present};

use super::catalogs::CatalogHandle;
use super::subscriptions::changed;
use crate::store::subscriptions;

/// Subscriptions in one part.
const PART: i64 = 256;

/// Billing's present state, as events; with what is sold, which says what plans include that earlier programs have sold.
#[derive(Clone, Debug)]
pub(crate) struct State(pub(crate) CatalogHandle);

#[tonic::async_trait]
impl Present for State {
    async fn part(&self, tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
        let live = subscriptions::live_after(tx, after, PART).await?;
        let sold = self.0.current();
        let payloads = live.iter().map(|it| changed(it, &sold)).collect();
        Ok(live.last().map(|last| Part { payloads, next: last.owner.to_string() }))
    }

    fn tells_audit(&self) -> bool {
        true
    }
}
