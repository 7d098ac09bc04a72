//! What `Subscribe` and `PurchasePack` take: a product of the catalog, a payment method and a request id.

use bursar_rpc::{Problem, RequestKey, Violations};

use crate::payment::Payments;
use crate::usecase::orders::Order;

/// The longest id a product can have.
const MAX_ID_BYTES: usize = 63;

/// An order, with every bad field at once. `field` is where the product is named.
pub(super) fn order(
    payments: Payments,
    (field, product): (&str, String),
    method: &str,
    key: Result<RequestKey, Problem>,
) -> Result<Order, Problem> {
    let mut bad = Violations::new();
    bad.require(field, !product.is_empty(), "must name one of the catalog");
    bad.require(field, product.len() <= MAX_ID_BYTES, "must be at most 63 bytes");
    let method = bad.check("payment_method", payments.method(method));
    let key = key.map_err(|problem| {
        problem.fields().iter().for_each(|(field, flaw)| bad.add(field, flaw.clone()));
    });
    match (method, key) {
        (Some(method), Ok(key)) if bad.is_empty() => Ok(Order { product, method, key }),
        _ => Err(bad.into_problem()),
    }
}

#[cfg(test)]
mod tests {
    use bursar_proto::billing::v1::SubscribeRequest;
    use bursar_rpc::Caller;

    use super::*;

    #[test]
    fn every_bad_field_is_named() {
        let parse = |product: &str, method: &str, request_id: &str| {
            let key = RequestKey::new(&Caller::Anonymous, "Subscribe", request_id, &SubscribeRequest::default());
            order(Payments::Sandbox, ("plan_id", product.to_owned()), method, key)
        };
        let long = "x".repeat(129);
        let cases: [(&str, &str, &str, &[&str]); 6] = [
            ("business", "sandbox_ok", "", &[]),
            ("business", "sandbox_declined", "r1", &[]),
            ("", "sandbox_ok", "r1", &["plan_id"]),
            (&long, "sandbox_ok", "r1", &["plan_id"]),
            ("business", "cash", "r1", &["payment_method"]),
            ("", &long, &long, &["plan_id", "payment_method", "request_id"]),
        ];
        for (product, method, request_id, bad) in cases {
            let found = parse(product, method, request_id);
            let fields = found.err().map(|problem| problem.fields().to_vec()).unwrap_or_default();
            let fields: Vec<_> = fields.iter().map(|(field, _)| field.as_str()).collect();
            assert_eq!(fields, bad, "{product:?} {method:?} {request_id:?}");
        }
    }
}
