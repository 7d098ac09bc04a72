//! What stands for a document with secrets where requests are compared.

use bursar_secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use sha2::Sha256;

/// What stands for a document where requests are compared: a print of it under a key of the installation's. A plain digest
/// would let whoever reads the database try short secrets until one fits.
pub(super) fn print(key: &Secret<[u8; 32]>, sent: &Struct) -> Struct {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let print = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key");
    let print = hex::encode(print.chain_update(sent.encode_to_vec()).finalize().into_bytes());
    let value = Value { kind: Some(Kind::StringValue(print)) };
    Struct { fields: [("print".to_owned(), value)].into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_rpc::document::to_struct;

    #[test]
    fn prints_tell_documents_apart_and_show_nothing() {
        let sent = |text: &str| to_struct([("token".to_owned(), serde_json::Value::from(text))].into_iter().collect());
        let [one, other] = [[1; 32], [2; 32]].map(Secret::new);
        assert_eq!(print(&one, &sent("1234")), print(&one, &sent("1234")));
        assert_ne!(print(&one, &sent("1234")), print(&one, &sent("1235")));
        assert_ne!(print(&one, &sent("1234")), print(&other, &sent("1234")), "another installation's");
    }
}
