//! What tests of several use cases sell in a shop, and ask and tell it.

use bursar_id::{OwnerId, PaymentId};
use bursar_money::Price;

use super::renewals;
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

/// One of its payments.
pub(super) async fn payment(shop: &Shop, id: PaymentId) -> Payment {
    shop.payments.known(id).await.unwrap()
}

/// Renews what is due: how many months were begun and subscriptions ended, how many subscriptions are still due,
/// and how many are held.
pub(super) async fn round(shop: &Shop) -> (usize, usize, usize) {
    let round = renewals::round(&shop.subscriptions).await.unwrap();
    (round.done, round.failed, round.held)
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
