//! What `Subscribe` and `PurchasePack` take: a product of the catalog, a payment method and a request id.

use bursar_rpc::Violations;

use crate::payment::Payments;
use crate::usecase::orders::Order;

/// The longest id a product can have.
const MAX_ID_BYTES: usize = 63;

/// Reads an order and notes its bad fields. `field` is where the product is named.
pub(super) fn order(
    payments: &Payments,
    (field, product): (&str, &str),
    method: &str,
    bad: &mut Violations,
) -> Option<Order> {
    bad.require(field, !product.is_empty(), "must name one of the catalog");
    bad.require(field, product.len() <= MAX_ID_BYTES, "must be at most 63 bytes");
    let method = bad.check("payment_method", payments.method(method))?;
    Some(Order { product: product.to_owned(), method })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named() {
        let long = "x".repeat(129);
        let cases: [(&str, &str, &[&str]); 6] = [
            ("business", "", &[]),
            ("business", "sandbox_ok", &[]),
            ("", "sandbox_ok", &["plan_id"]),
            (&long, "sandbox_ok", &["plan_id"]),
            ("business", "cash", &["payment_method"]),
            ("", &long, &["plan_id", "payment_method"]),
        ];
        for (product, method, expected) in cases {
            let mut bad = Violations::new();
            order(&Payments::Sandbox, ("plan_id", product), method, &mut bad);
            let fields = bad.finish().err().map(|problem| problem.fields().to_vec()).unwrap_or_default();
            let fields: Vec<_> = fields.iter().map(|(field, _)| field.as_str()).collect();
            assert_eq!(fields, expected, "{product:?} {method:?}");
        }
    }
}
