//! [`RequestKey`]: one `request_id`, one effect, one answer; for every mutating RPC but billing's engine,
//! which keeps its own record in the ledger.
//!
//! ```text
//! let key = RequestKey::new(&caller, METHOD, &take(&mut request.request_id), &request)?;
//! …
//! let mut tx = db.begin().await?;
//! match key.claim(&mut tx, now).await? {
//!     Claimed::Replay(answer) => return Ok(answer),
//!     Claimed::Reused => return Err(Error::RequestIdReused),
//!     Claimed::New => {}
//! }
//! …
//! key.settle(&mut tx, &answer).await?;
//! outbox.commit(tx, events).await?;
//! ```
//!
//! A refusal rolls the claim back with everything else, so it does not burn the id.

use bursar_db::idempotency::{self, Claim};
use bursar_db::{DbError, Tx};
use bursar_id::RequestId;
use bursar_time::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{Caller, Problem};

/// Whose request this is, which one, and what it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    scope: String,
    method: &'static str,
    /// `None` when the caller sent none: the request is then always a new one.
    id: Option<RequestId>,
    body_hash: [u8; 32],
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed<R> {
    /// Never seen (or without an id): do the work and [`RequestKey::settle`].
    New,
    /// The same request was answered before; this is the answer. Write nothing.
    Replay(R),
    /// The id was used for another request: `ALREADY_EXISTS` with `REQUEST_ID_REUSED`
    /// ([`Problem::request_id_reused`]).
    Reused,
}

impl RequestKey {
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

    /// Claims the id in the transaction of the effect; waits for a twin that is at it.
    pub async fn claim<R: Message + Default>(&self, tx: &mut Tx, now: Timestamp) -> Result<Claimed<R>, DbError> {
        let Some(id) = &self.id else {
            return Ok(Claimed::New);
        };
        let claim = idempotency::claim(tx, &self.scope, id.as_str(), self.method, &self.body_hash, now);
        Ok(match claim.await? {
            Claim::New => Claimed::New,
            Claim::Mismatch => Claimed::Reused,
            Claim::Replay(bytes) => Claimed::Replay(
                R::decode(bytes.as_slice())
                    .map_err(|_| DbError::corrupt("a stored answer is no message of its kind"))?,
            ),
        })
    }

    /// Stores the answer, in the transaction in which the id was claimed.
    pub async fn settle<R: Message>(&self, tx: &mut Tx, answer: &R) -> Result<(), DbError> {
        match &self.id {
            None => Ok(()),
            Some(id) => idempotency::settle(tx, &self.scope, id.as_str(), &answer.encode_to_vec()).await,
        }
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
        let key = |id: &str, message: &Body| RequestKey::new(&Caller::Anonymous, "Method", id, message).expect("a key");
        assert_eq!(key("1", &body("a")), key("1", &body("a")));
        assert_ne!(key("1", &body("a")).body_hash(), key("1", &body("b")).body_hash());
        assert_eq!(key("", &body("a")).id(), None);
        assert_eq!(key("1", &body("a")).id().map(RequestId::as_str), Some("1"));
    }

    #[test]
    fn bad_ids_are_bad_fields() {
        for id in ["a\nb".to_owned(), "x".repeat(129)] {
            let problem = RequestKey::new(&Caller::Anonymous, "Method", &id, &body("a")).expect_err("refused");
            assert_eq!(problem.fields()[0].0, "request_id");
        }
    }
}
