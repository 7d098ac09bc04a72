//! [`IdempotencyKey`]: whose request it is, under which id, and what it asks; by these a mutation ([`crate::Mutations`])
//! recognises a repetition. Billing's engine keeps its own record in the ledger.

use bursar_id::RequestId;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{Caller, Problem};

/// Whose request this is, which one, and what it asks; named as the IETF's draft of the `Idempotency-Key` header has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    scope: String,
    method: &'static str,
    /// `None` when the caller sent none: the request is then always a new one.
    id: Option<RequestId>,
    body_hash: [u8; 32],
}

impl IdempotencyKey {
    /// The key of a request. `method` is the RPC's name; `body` is the request **without** its
    /// `request_id` (take that out first), so that only what it asks is compared. An id that is longer
    /// than 128 bytes or has control characters is a bad field.
    pub fn new<M: Message>(caller: &Caller, method: &'static str, request_id: &str, body: &M) -> Result<Self, Problem> {
        let id = match request_id {
            "" => None,
            text => {
                Some(RequestId::parse(text).map_err(|error| Problem::invalid_field("request_id", error.to_string()))?)
            }
        };
        Ok(Self { scope: caller.scope(), method, id, body_hash: body_hash(body) })
    }

    /// The key of a request by a single-use token, whose holder's it is, whoever that is. It takes effect once, as a
    /// request with an id does; of the token only a digest is in it.
    pub fn of_token<M: Message>(method: &'static str, token: &str, body: &M) -> Self {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let text = hex::encode(digest);
        Self { scope: "token".to_owned(), method, id: RequestId::parse(text).ok(), body_hash: body_hash(body) }
    }

    /// The caller's id, if it sent one.
    pub fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// Who asks and under which id, in sixteen bytes, for rows that remember it for ever; `None` without an id.
    pub fn digest(&self) -> Option<[u8; 16]> {
        let id = self.id.as_ref()?;
        let mut hash = Sha256::new();
        for part in [self.scope.as_bytes(), id.as_str().as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut digest = [0; 16];
        for (to, from) in digest.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Some(digest)
    }

    /// Whose ids these are.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The RPC's name.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// What the request asks, as a digest.
    pub fn body_hash(&self) -> &[u8; 32] {
        &self.body_hash
    }
}

/// The digest of a message; equal messages have equal ones (maps are ordered in this API's types).
pub fn body_hash<M: Message>(message: &M) -> [u8; 32] {
    Sha256::digest(message.encode_to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_proto::identity::v1::IssueServiceTokenRequest as Body;

    fn body(client_id: &str) -> Body {
        Body { client_id: client_id.to_owned(), ..Body::default() }
    }

    #[test]
    fn keys_tell_requests_apart() {
        let key =
            |id: &str, message: &Body| IdempotencyKey::new(&Caller::Anonymous, "Method", id, message).expect("a key");
        assert_eq!(key("1", &body("a")), key("1", &body("a")));
        assert_ne!(key("1", &body("a")).body_hash(), key("1", &body("b")).body_hash());
        assert_eq!(key("", &body("a")).id(), None);
        assert_eq!(key("1", &body("a")).id().map(RequestId::as_str), Some("1"));
    }

    #[test]
    fn bad_ids_are_bad_fields() {
        for id in ["a\nb".to_owned(), "x".repeat(129)] {
            let problem = IdempotencyKey::new(&Caller::Anonymous, "Method", &id, &body("a")).expect_err("refused");
            assert_eq!(problem.fields()[0].0, "request_id");
        }
    }
}
