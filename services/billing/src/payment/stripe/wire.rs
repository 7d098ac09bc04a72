//! HTTP to Stripe's API. Nothing waits for ever, no answer is longer than it may be, and what may be asked twice is asked at
//! most twice at once: whoever still has no answer asks again later.

use std::time::Duration;

use bursar_runtime::{HttpsClient, https_client};
use bursar_secret::Secret;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::form::Form;
use super::shapes::{Refusal, Refused};
use crate::payment::Trouble;

/// The version of the API that this program was written for, whatever the account's own is.
pub(crate) const VERSION: &str = "2025-03-31.basil";

/// The longest answer that is read.
const LONGEST: usize = 512 * 1024;
/// How often what may be asked twice is asked.
const TRIES: u32 = 2;
/// The longest id.
const LONGEST_ID: usize = 255;

/// Makes requests. The key is in no log: [`Secret`] shows none.
#[derive(Debug)]
pub(super) struct Wire {
    client: HttpsClient<Full<Bytes>>,
    base: String,
    key: Secret,
    timeout: Duration,
}

/// What Stripe said: an object, or why not. Both are certain.
pub(super) type Said<T> = Result<T, Refusal>;

/// One request.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    form: String,
    key: Option<&'a str>,
}

impl Wire {
    /// Reads the system's authorities.
    pub(super) fn new(base: &str, key: Secret, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self { client: https_client()?, base: base.trim_end_matches('/').to_owned(), key, timeout })
    }

    /// Reads an object.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Said<T>, Trouble> {
        self.tried(&Ask { method: Method::GET, path, form: String::new(), key: None }).await
    }

    /// Does something; under the same key it is done once, and the same is said for a day: also that it has failed.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form,
        key: Option<&str>,
    ) -> Result<Said<T>, Trouble> {
        self.tried(&Ask { method: Method::POST, path, form: form.text(), key }).await
    }

    /// Deletes an object: it is no more, however often.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Said<T>, Trouble> {
        self.tried(&Ask { method: Method::DELETE, path, form: String::new(), key: None }).await
    }

    async fn tried<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<Said<T>, Trouble> {
        let mut tries = 1;
        loop {
            match self.once(ask).await {
                Err(Trouble::Silent(why)) if tries < TRIES => {
                    let about = about(ask.path);
                    tracing::debug!(about, why, "the payment provider does not answer, asking once more");
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn once<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<Said<T>, Trouble> {
        let request = self.request(ask)?;
        let answered = timeout(self.timeout, async {
            let answer = self.client.request(request).await.map_err(|error| {
                Trouble::Silent(if error.is_connect() { "it cannot be reached" } else { "the connection broke" })
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Trouble::Unreadable
                } else {
                    Trouble::Silent("the connection broke")
                }
            })?;
            Ok((status, body.to_bytes()))
        });
        let (status, body) = answered.await.map_err(|_| Trouble::Silent("not in time"))??;
        read(status, &body)
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.key.expose()))
            .map_err(|_| Trouble::Refused("the key is none".to_owned()))?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("{}{}", self.base, ask.path))
            .header(AUTHORIZATION, bearer)
            .header(USER_AGENT, concat!("bursar/", env!("CARGO_PKG_VERSION")))
            .header("stripe-version", VERSION);
        if ask.method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = ask.key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(Bytes::from(ask.form.clone()))).map_err(|_| Trouble::Refused("no request".to_owned()))
    }
}

/// What a path is about, without the name of which: with that of a card money is taken.
fn about(path: &str) -> &str {
    path.split(['/', '?']).filter(|part| !part.is_empty()).nth(1).unwrap_or_default()
}

/// What an answer says. One that leaves open what became of it is none.
pub(super) fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<Said<T>, Trouble> {
    if status.is_success() {
        return serde_json::from_slice(body).map(Ok).map_err(|_| Trouble::Unreadable);
    }
    // It has failed, or somebody else asks the same at this moment: that passes.
    if status.is_server_error() || status == StatusCode::CONFLICT {
        return Err(Trouble::Silent("it has failed"));
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        return Err(Trouble::Busy(status.as_u16()));
    }
    let refused: Refused = serde_json::from_slice(body).map_err(|_| Trouble::Unreadable)?;
    let of_deployment = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if of_deployment || refused.error.kind == "idempotency_error" {
        return Err(Trouble::Refused(format!("{status}, {}", refused.error.word())));
    }
    Ok(Err(refused.error))
}

/// An id as it may stand in a path.
pub(super) fn segment(id: &str) -> Result<&str, Trouble> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(fits) { Ok(id) } else { Err(Trouble::Unreadable) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(status: u16, body: &str) -> Result<Said<Value>, Trouble> {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn what_is_certain_is_said_and_the_rest_is_trouble() {
        let declined = r#"{"error": {"type": "card_error", "code": "card_declined"}}"#;
        assert_eq!(said(200, r#"{"id": "x"}"#), Ok(Ok(json!({"id": "x"}))));
        for status in [400, 402, 404] {
            let refusal = said(status, declined).unwrap().unwrap_err();
            assert_eq!(refusal.word(), "card_declined");
        }
        for status in [401, 403] {
            assert!(matches!(said(status, declined), Err(Trouble::Refused(_))), "{status}");
        }
        for (status, body) in [(429, declined), (408, declined), (429, "slow down")] {
            assert_eq!(said(status, body), Err(Trouble::Busy(status)), "{body}");
        }
        for status in [409, 500, 502, 503] {
            assert!(matches!(said(status, declined), Err(Trouble::Silent(_))), "{status}");
        }
        let no_word = r#"{"error": {"type": "invalid_request_error"}}"#;
        assert_eq!(said(401, no_word), Err(Trouble::Refused("401 Unauthorized, invalid_request_error".to_owned())));
        let twice = r#"{"error": {"type": "idempotency_error"}}"#;
        assert!(matches!(said(400, twice), Err(Trouble::Refused(_))));
        for (status, body) in [(200, "<html>"), (200, ""), (402, "no"), (302, "")] {
            assert_eq!(said(status, body), Err(Trouble::Unreadable), "{status} {body}");
        }
    }

    #[test]
    fn nothing_but_an_id_stands_in_a_path() {
        let long = "x".repeat(256);
        for id in ["", "../customers", "pi_1?x=1", "pi 1", "pi_1/confirm", "ü", &long] {
            assert_eq!(segment(id), Err(Trouble::Unreadable), "{id}");
        }
        assert_eq!(segment("pi_3MtwBwLkdIwHu7ix28a3tqPa"), Ok("pi_3MtwBwLkdIwHu7ix28a3tqPa"));
    }

    #[test]
    fn of_a_path_its_kind_of_object_is_logged() {
        let paths = [
            ("/v1/payment_methods/pm_1/detach", "payment_methods"),
            ("/v1/refunds?payment_intent=pi_1", "refunds"),
            ("/v1/customers", "customers"),
            ("/v1", ""),
            ("", ""),
        ];
        for (path, kind) in paths {
            assert_eq!(about(path), kind, "{path}");
        }
    }

    #[test]
    fn the_key_is_in_no_log() {
        let wire = Wire::new("https://x.test/", Secret::from("sk_live_hush"), Duration::from_secs(1)).unwrap();
        assert!(!format!("{wire:?}").contains("hush"));
        let ask = Ask { method: Method::GET, path: "/v1/refunds", form: String::new(), key: None };
        let request = wire.request(&ask).unwrap();
        assert!(!format!("{request:?}").contains("hush"), "{request:?}");
        assert_eq!(request.uri(), "https://x.test/v1/refunds");
    }
}
