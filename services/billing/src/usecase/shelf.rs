//! What tests of several use cases sell in a shop, and ask and tell it.

use bursar_id::{OwnerId, PaymentId};
use bursar_money::Price;

use super::shop::Shop;
use crate::domain::{News, Payment, Subscription};
use crate::store::accounts;

/// A plan whose months are granted before they are paid, to be sold besides.
pub(super) const LENIENT: &str = r#"
[[plans]]
id = "lenient"
name = "Lenient"
price = "90.00 USD"
credits = "1300"
grant_in_grace = true
seats = 10
features = ["organizations"]
"#;

/// The owner's subscription.
pub(super) async fn now(shop: &Shop, owner: OwnerId) -> Subscription {
    shop.subscriptions.get(owner).await.unwrap()
}

/// The provider has news of a payment, which is as this then.
pub(super) async fn told(shop: &Shop, id: PaymentId, news: News) -> Payment {
    shop.payments.told(id, news).await.unwrap()
}

/// What the owner owes.
pub(super) async fn debt(shop: &Shop, owner: OwnerId) -> String {
    accounts::find(&mut shop.db.read().await.unwrap(), owner).await.unwrap().unwrap().debt.to_string()
}

/// So many dollars.
pub(super) fn usd(text: &str) -> Price {
    format!("{text} USD").parse().unwrap()
}
