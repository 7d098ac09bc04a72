//! Google Cloud Storage, as far as content goes: its XML API, in which objects are put, read, removed and listed as S3's are,
//! so the server of S3 does it; and Google's tokens before it. Also the metadata server of Google's machines.

use std::sync::{Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Response, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use s3s::service::S3Service;
use s3s::{Body, HttpError};
use serde::Deserialize;

/// A service account that the server knows by its key's modulus. The key, which opens nothing but this server, is not in the form
/// in which keys are looked for where none should be.
const ACCOUNT: &str = include_str!("google_account.json");
/// What tokens have to be for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Where a machine's token is asked for.
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The token that a machine is given.
const MACHINE: &str = "ya29.a-machine";

#[derive(Deserialize)]
struct Account {
    client_email: String,
    private_key_id: String,
    modulus: String,
    /// The key in base64, line by line.
    pkcs8: Vec<String>,
}

impl Account {
    fn read() -> Self {
        serde_json::from_str(ACCOUNT).expect("JSON")
    }
}

/// The key of a service account that [`Bucket`](super::Bucket)s of Google's know, in Google's form.
pub fn service_account_key() -> String {
    let account = Account::read();
    let kind = "PRIVATE KEY";
    let pem = format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", account.pkcs8.join("\n"));
    let key = serde_json::json!({
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": account.private_key_id,
        "private_key": pem,
        "client_email": account.client_email,
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    key.to_string()
}

#[derive(Deserialize)]
struct Claims {
    scope: String,
}

/// The server.
pub(super) struct Google {
    service: S3Service,
    account: Account,
    /// The last token that was found good: looking takes a while.
    believed: Mutex<String>,
}

impl Google {
    pub(super) fn new(service: S3Service) -> Self {
        Self { service, account: Account::read(), believed: Mutex::default() }
    }

    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
        if request.uri().path() == METADATA {
            return Ok(metadata(&request));
        }
        let token = request.headers_mut().remove(AUTHORIZATION);
        let token = token.as_ref().and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.believes(token)) {
            let why = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AuthenticationRequired</Code>\
                       <Message>Authentication required.</Message></Error>";
            return Ok(said(StatusCode::UNAUTHORIZED, "application/xml; charset=UTF-8", why));
        }
        self.service.call(request.map(Body::from)).await
    }

    /// Whether a token is a machine's, or one that the account has signed itself.
    fn believes(&self, token: &str) -> bool {
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        if token == MACHINE || token == *believed {
            return true;
        }
        let good = self.has_signed(token);
        if good {
            token.clone_into(&mut believed);
        }
        good
    }

    fn has_signed(&self, token: &str) -> bool {
        let header = jsonwebtoken::decode_header(token);
        if !header.is_ok_and(|header| header.kid.as_deref() == Some(self.account.private_key_id.as_str())) {
            return false;
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.set_issuer(&[&self.account.client_email]);
        rules.sub = Some(self.account.client_email.clone());
        let key = DecodingKey::from_rsa_components(&self.account.modulus, "AQAB").expect("a key");
        jsonwebtoken::decode::<Claims>(token, &key, &rules).is_ok_and(|token| token.claims.scope == SCOPE)
    }
}

/// What the metadata server says.
fn metadata(request: &Request<Incoming>) -> Response<Body> {
    if request.headers().get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return said(StatusCode::FORBIDDEN, "text/html", "Missing Metadata-Flavor:Google header.");
    }
    let token = format!(r#"{{"access_token": "{MACHINE}", "expires_in": 3599, "token_type": "Bearer"}}"#);
    said(StatusCode::OK, "application/json", &token)
}

fn said(status: StatusCode, kind: &str, text: &str) -> Response<Body> {
    let answer = Response::builder().status(status).header(CONTENT_TYPE, kind);
    answer.body(Body::from(text.to_owned())).expect("an answer")
}
