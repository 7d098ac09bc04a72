//! [`KeySet`]: the public keys that verify tokens, wherever they come from.
//!
//! Keys from another process are fetched when first needed, again in the background once they are a
//! minute old, and at once when a token names a key that is not known (it may be new), which is
//! rationed by place so that made-up key ids cannot turn this service against identity. Who has used up a ration is told that
//! it could not be found out, and not that the token is invalid: the key may be new. At most one fetch runs. Under a test clock
//! nothing is rationed: keys rotate at each leap, however soon one follows the other.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_proto::identity::v1::key_service_client::KeyServiceClient;
use bursar_proto::identity::v1::{GetJwksRequest, Jwk};
use bursar_time::Clock;
use jsonwebtoken::DecodingKey;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tonic::Request;

use crate::problem::reason;
use crate::{Problem, Site, Transport};

mod rations;

use rations::Rations;

/// How old fetched keys may get before they are fetched again.
const REFRESH_AFTER: Duration = Duration::from_mins(1);
/// How long not to try again after a fetch failed.
const FAILED_PAUSE: Duration = Duration::from_millis(200);
/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Public keys by their id (`kid`). A plain value; see [`KeySet`] for where it comes from.
#[derive(Clone, Default)]
pub struct PublicKeys(Arc<HashMap<String, Arc<DecodingKey>>>);

impl PublicKeys {
    /// The keys of `(kid, Ed25519 public key)` pairs.
    pub fn new(keys: impl IntoIterator<Item = (String, [u8; 32])>) -> Self {
        let decoding = |key: [u8; 32]| Arc::new(DecodingKey::from_ed_der(&key));
        Self(Arc::new(keys.into_iter().map(|(kid, key)| (kid, decoding(key))).collect()))
    }

    /// The usable keys of a JWKS: Ed25519 with an id. Others are for somebody else and left out.
    pub fn from_jwks(jwks: &[Jwk]) -> Self {
        Self::new(jwks.iter().filter_map(|jwk| {
            let usable = jwk.kty == "OKP" && jwk.crv == "Ed25519" && !jwk.kid.is_empty();
            let x = URL_SAFE_NO_PAD.decode(&jwk.x).ok()?;
            usable.then_some((jwk.kid.clone(), x.try_into().ok()?))
        }))
    }

    fn find(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.0.get(kid).map(Arc::clone)
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where the keys come from. Cheap to clone; clones share what was fetched.
#[derive(Clone, Debug)]
pub struct KeySet(Source);

#[derive(Clone, Debug)]
enum Source {
    Fixed(PublicKeys),
    Local(watch::Receiver<PublicKeys>),
    Remote(Arc<Remote>),
}

impl KeySet {
    /// Keys that never change; for tests.
    pub fn fixed(keys: PublicKeys) -> Self {
        Self(Source::Fixed(keys))
    }

    /// Keys that this process itself rotates; for identity.
    pub fn local(keys: watch::Receiver<PublicKeys>) -> Self {
        Self(Source::Local(keys))
    }

    /// Keys that `KeyService/GetJwks` gives over this transport, to a service by this clock.
    pub fn remote(identity: Transport, clock: &Clock) -> Self {
        Self(Source::Remote(Arc::new(Remote {
            identity,
            known: RwLock::default(),
            fetching: Arc::new(Mutex::new(Fetching {
                failed_at: None,
                rations: (!clock.is_test()).then(|| Rations::new(Instant::now())),
            })),
        })))
    }

    /// The key with this id, if it is there already.
    pub(crate) fn known(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        match &self.0 {
            Source::Fixed(keys) => keys.find(kid),
            Source::Local(keys) => keys.borrow().find(kid),
            Source::Remote(remote) => remote.known().keys.find(kid),
        }
    }

    /// The key with this id, which somebody there asks for. `None`: there is none; an error: it could not be found out.
    pub(crate) async fn find(&self, kid: &str, asker: Site) -> Result<Option<Arc<DecodingKey>>, Problem> {
        match &self.0 {
            Source::Fixed(_) | Source::Local(_) => Ok(self.known(kid)),
            Source::Remote(remote) => Remote::find(remote, kid, asker).await,
        }
    }
}

struct Remote {
    identity: Transport,
    known: RwLock<Known>,
    /// Held by whoever fetches.
    fetching: Arc<Mutex<Fetching>>,
}

#[derive(Clone, Default)]
struct Known {
    keys: PublicKeys,
    /// When the fetch began that gave them, and when it ended.
    fetched: Option<(Instant, Instant)>,
}

impl Known {
    /// How old they are.
    fn age(&self) -> Option<Duration> {
        self.fetched.map(|(_, ended)| ended.elapsed())
    }
}

struct Fetching {
    failed_at: Option<Instant>,
    /// What is left of fetches for unknown key ids; `None`: as many as one likes.
    rations: Option<Rations>,
}

impl Fetching {
    fn failed_lately(&self, now: Instant) -> bool {
        self.failed_at.is_some_and(|at| now.saturating_duration_since(at) < FAILED_PAUSE)
    }
}

impl Remote {
    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn find(this: &Arc<Self>, kid: &str, asker: Site) -> Result<Option<Arc<DecodingKey>>, Problem> {
        let known = this.known();
        let Some(key) = known.keys.find(kid) else {
            return Self::find_new(this, kid, asker).await;
        };
        if known.age().is_none_or(|age| age > REFRESH_AFTER) {
            Self::refresh(this);
        }
        Ok(Some(key))
    }

    /// Fetches in the background, unless somebody does already.
    fn refresh(this: &Arc<Self>) {
        let this = Arc::clone(this);
        tokio::spawn(async move {
            if let Ok(mut fetching) = this.fetching.try_lock()
                && !fetching.failed_lately(Instant::now())
                && this.known().age().is_none_or(|age| age > REFRESH_AFTER)
            {
                // A failure keeps the keys that there are.
                let _ = this.fetch(&mut fetching).await;
            }
        });
    }

    async fn find_new(this: &Arc<Self>, kid: &str, asker: Site) -> Result<Option<Arc<DecodingKey>>, Problem> {
        let came = Instant::now();
        // Whoever gives up stops waiting here.
        let mut fetching = Arc::clone(&this.fetching).lock_owned().await;
        let known = this.known();
        if let Some(key) = known.keys.find(kid) {
            return Ok(Some(key));
        }
        let now = Instant::now();
        if fetching.failed_lately(now) {
            return Err(unavailable());
        }
        // Whatever had signed by then was published when these were asked for.
        if known.fetched.is_some_and(|(began, _)| began > came) {
            return Ok(None);
        }
        if known.fetched.is_some()
            && let Some(rations) = &mut fetching.rations
            && let Err(wait) = rations.take(asker, now)
        {
            return Err(unavailable().with_retry_after(wait));
        }
        let this = Arc::clone(this);
        let kid = kid.to_owned();
        // A task of its own, which holds the turn: if this call is given up, those that wait for the same keys still get them,
        // and there is one such task at most.
        let task = tokio::spawn(async move { this.fetch(&mut fetching).await.map(|keys| keys.find(&kid)) });
        task.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    async fn fetch(&self, fetching: &mut Fetching) -> Result<PublicKeys, Problem> {
        let mut request = Request::new(GetJwksRequest::default());
        request.set_timeout(FETCH_TIMEOUT);
        let began = Instant::now();
        match KeyServiceClient::new(self.identity.clone()).get_jwks(request).await {
            Ok(response) => {
                let keys = PublicKeys::from_jwks(&response.into_inner().keys);
                fetching.failed_at = None;
                *self.known.write().unwrap_or_else(PoisonError::into_inner) =
                    Known { keys: keys.clone(), fetched: Some((began, Instant::now())) };
                Ok(keys)
            }
            Err(status) => {
                fetching.failed_at = Some(Instant::now());
                tracing::warn!(code = ?status.code(), "cannot fetch the keys that verify tokens");
                Err(unavailable())
            }
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("keys", &self.known().keys).finish_non_exhaustive()
    }
}

fn unavailable() -> Problem {
    Problem::unavailable(
        reason::KEYS_UNAVAILABLE,
        "the key that verifies the token cannot be fetched at the moment; try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ed25519_keys_with_an_id_are_used() {
        let good = Jwk {
            kid: "a".to_owned(),
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode([7; 32]),
            ..Jwk::default()
        };
        let bad = [
            Jwk { kid: String::new(), ..good.clone() },
            Jwk { kid: "b".to_owned(), kty: "RSA".to_owned(), ..good.clone() },
            Jwk { kid: "c".to_owned(), crv: "X25519".to_owned(), ..good.clone() },
            Jwk { kid: "d".to_owned(), x: URL_SAFE_NO_PAD.encode([7; 31]), ..good.clone() },
            Jwk { kid: "e".to_owned(), x: "%".to_owned(), ..good.clone() },
        ];
        for jwk in bad {
            assert!(PublicKeys::from_jwks(std::slice::from_ref(&jwk)).0.is_empty(), "{jwk:?}");
        }
        assert!(PublicKeys::from_jwks(&[good]).find("a").is_some());
    }
}
