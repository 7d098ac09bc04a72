//! What was waived of changes of a subscription, since its payment provider does not take so little.

use bursar_db::{DbError, Tx, on};
use bursar_id::SubscriptionId;
use bursar_money::Price;

const WAIVED: &str = "SELECT amount FROM waivers WHERE subscription_id = $1 AND period = $2";
const WAIVE: &str = "INSERT INTO waivers (subscription_id, period, amount) VALUES ($1, $2, $3) \
     ON CONFLICT (subscription_id, period) DO UPDATE SET amount = waivers.amount + excluded.amount";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 2] = [("WAIVED", WAIVED), ("WAIVE", WAIVE)];

/// So much was waived in this month of a subscription, net, in millionths of its currency.
pub(crate) async fn waived(tx: &mut Tx, subscription: SubscriptionId, period: u32) -> Result<i64, DbError> {
    let row: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(WAIVED).bind(subscription).bind(i64::from(period)).fetch_optional(c).await?);
    Ok(row.map_or(0, |(amount,)| amount))
}

/// So much more is waived.
pub(crate) async fn waive(tx: &mut Tx, subscription: SubscriptionId, period: u32, more: Price) -> Result<(), DbError> {
    let amount = more.micros();
    on!(tx, c => sqlx::query(WAIVE).bind(subscription).bind(i64::from(period)).bind(amount).execute(c).await?.rows_affected());
    Ok(())
}
