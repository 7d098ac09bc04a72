//! Calling other services: the service's own credentials ([`ServiceTokens`]), trying again ([`retry`], [`persist`]), and what their
//! refusals mean to our own callers ([`unanswered`]).

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bursar_proto::identity::v1::IssueServiceTokenRequest;
use bursar_proto::identity::v1::service_account_service_client::ServiceAccountServiceClient;
use bursar_secret::{Entropy, Secret};
use bursar_time::{Clock, Span, Timestamp};
use http::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::problem::{reason, reason_of};
use crate::transport::{CallContext, bearer};
use crate::{Problem, Transport, convert};

/// A token is replaced when it has no longer than this to live.
const EXPIRES_SOON: Span = Span::from_secs(30);
/// A token is got at most once in this time after one was refused: the next one may be refused as well. Real time,
/// whatever a test clock shows.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long getting a token may take.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a service's own token comes from; cached until shortly before it expires. Cheap to clone, and
/// clones share the token.
#[derive(Clone)]
pub struct ServiceTokens(Arc<Inner>);

struct Inner {
    source: Source,
    clock: Clock,
    current: RwLock<Option<Token>>,
    /// When the last token was got, if it was refused.
    refused: RwLock<Option<Instant>>,
    /// Held by whoever gets a new one.
    getting: Mutex<()>,
}

type Sign = dyn Fn(Timestamp) -> Result<(String, Timestamp), Problem> + Send + Sync;

enum Source {
    Identity { transport: Transport, client_id: String, client_secret: Secret },
    Local(Box<Sign>),
}

#[derive(Clone)]
struct Token {
    bearer: HeaderValue,
    expires_at: Timestamp,
    got_at: Instant,
}

impl ServiceTokens {
    /// Tokens that identity issues for a client id and secret (`IssueServiceToken`).
    pub fn remote(identity: Transport, client_id: impl Into<String>, client_secret: Secret, clock: Clock) -> Self {
        let client_id = client_id.into();
        Self::from(Source::Identity { transport: identity, client_id, client_secret }, clock)
    }

    /// Tokens that this process signs itself: a function from the time to a token and its expiry.
    pub fn local(
        sign: impl Fn(Timestamp) -> Result<(String, Timestamp), Problem> + Send + Sync + 'static,
        clock: Clock,
    ) -> Self {
        Self::from(Source::Local(Box::new(sign)), clock)
    }

    fn from(source: Source, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            source,
            clock,
            current: RwLock::default(),
            refused: RwLock::default(),
            getting: Mutex::default(),
        }))
    }

    /// The `authorization` header's value, from the cache if it has long enough to live.
    pub(crate) async fn bearer(&self) -> Result<HeaderValue, Status> {
        if let Some(bearer) = self.0.cached() {
            return Ok(bearer);
        }
        let _getting = self.0.getting.lock().await;
        // Whoever held the lock before may have got one.
        if let Some(bearer) = self.0.cached() {
            return Ok(bearer);
        }
        self.0.pause_after_refusal()?;
        let (token, expires_at) = self.0.get().await?;
        let bearer = bearer(&token)?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Token { bearer: bearer.clone(), expires_at, got_at: Instant::now() });
        Ok(bearer)
    }

    /// A peer refused this token: it is not used again, and the next call gets a new one. So a token that was signed with a
    /// key that is gone does not fail every call for the rest of its life; and so that a peer that refuses everything does
    /// not cost a token a call, calls are told to come again while a token that is as new was refused.
    pub(crate) fn refused(&self, bearer: &HeaderValue) {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = current.take_if(|token| token.bearer == *bearer) {
            *self.0.refused.write().unwrap_or_else(PoisonError::into_inner) = Some(token.got_at);
        }
    }
}

impl Inner {
    /// An error while the last token was refused and is too new to be replaced.
    fn pause_after_refusal(&self) -> Result<(), Status> {
        let refused = *self.refused.read().unwrap_or_else(PoisonError::into_inner);
        let is_new = |got_at: Instant| got_at.elapsed() < REFUSED_PAUSE;
        if !refused.is_some_and(is_new) {
            return Ok(());
        }
        let sentence = "a service that this one needs does not let it in at the moment; try again";
        Err(Problem::unavailable(reason::PEER_UNAVAILABLE, sentence).with_retry_after(REFUSED_PAUSE).into())
    }

    fn cached(&self) -> Option<HeaderValue> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let token = current.as_ref()?;
        let soon = self.clock.now().saturating_add(EXPIRES_SOON);
        (soon < token.expires_at).then(|| token.bearer.clone())
    }

    async fn get(&self) -> Result<(String, Timestamp), Status> {
        let (transport, client_id, client_secret) = match &self.source {
            Source::Local(sign) => return Ok(sign(self.clock.now())?),
            Source::Identity { transport, client_id, client_secret } => (transport, client_id, client_secret),
        };
        let client_secret = client_secret.expose();
        let mut request = Request::new(IssueServiceTokenRequest {
            client_id: client_id.clone(),
            client_secret: client_secret.clone(),
        });
        request.set_timeout(ISSUE_TIMEOUT);
        let issued = ServiceAccountServiceClient::new(transport.clone())
            .issue_service_token(request)
            .await
            .map_err(|status| no_token(&status))?
            .into_inner();
        let expires_at = convert::required_timestamp(issued.expires_at).map_err(|error| Problem::internal(&error))?;
        Ok((issued.access_token, expires_at))
    }
}

/// The caller of *our* RPC has done nothing wrong when we get no token, so it never sees
/// `UNAUTHENTICATED` from here.
fn no_token(status: &Status) -> Status {
    tracing::warn!(code = ?status.code(), message = status.message(), "cannot get a service token");
    match status.code() {
        Code::DeadlineExceeded => Problem::deadline_exceeded().into(),
        _ => Problem::unavailable(
            reason::PEER_UNAVAILABLE,
            "a service that this one needs cannot be reached at the moment; try again",
        )
        .into(),
    }
}

/// What a peer's answer means to the caller of *our* RPC: the peer is away, out of time, or one of us is wrong.
pub fn unanswered(peer: &str, status: &Status) -> Problem {
    match status.code() {
        Code::DeadlineExceeded => Problem::deadline_exceeded(),
        Code::Unavailable | Code::ResourceExhausted | Code::Cancelled => {
            Problem::unavailable(reason::PEER_UNAVAILABLE, format!("{peer} cannot be reached at the moment; try again"))
        }
        // A token of our own with one of the peer's in it that the peer does not know any more.
        Code::InvalidArgument if reason_of(status).as_deref() == Some(reason::PAGE_TOKEN_INVALID) => {
            crate::page::token_invalid()
        }
        code => Problem::internal(&format_args!("{peer} answered {code:?}: {}", status.message())),
    }
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.source {
            Source::Identity { .. } => "ServiceTokens::remote",
            Source::Local(_) => "ServiceTokens::local",
        })
    }
}

/// How often a call is made at most.
const ATTEMPTS: u32 = 5;
/// The longest pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause there is, unless the peer asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Makes an **idempotent** call until it succeeds or fails otherwise than with `UNAVAILABLE`: at most
/// five times, with random pauses, and never beyond the deadline of the call being served.
///
/// A token that expired on the way (`UNAUTHENTICATED`, `TOKEN_EXPIRED`), or whose key did (`TOKEN_INVALID`), is worth one
/// more attempt, too.
pub async fn retry<T, F, Fut>(entropy: &Entropy, mut call: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Status>>,
{
    let mut attempt = 1;
    loop {
        let status = match call().await {
            Ok(value) => return Ok(value),
            Err(status) => status,
        };
        let pause = match status.code() {
            Code::Unavailable => pause(entropy, attempt, &status),
            Code::Unauthenticated if attempt == 1 && is_of_another_time(&status) => Duration::ZERO,
            _ => return Err(status),
        };
        let too_late = CallContext::remaining().is_some_and(|left| left <= pause);
        if attempt == ATTEMPTS || too_late {
            return Err(status);
        }
        attempt += 1;
        tokio::time::sleep(pause).await;
    }
}

/// Attempts something **idempotent** again and again, with random pauses, until it is decided, for as long as the caller of the
/// call being served waits, less a `margin` in which to answer. `None`: it was not decided in that time.
pub async fn persist<T, F, Fut>(entropy: &Entropy, margin: Duration, mut attempt: F) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let patience = CallContext::remaining().unwrap_or_default().saturating_sub(margin);
    let persisted = async {
        let mut attempts: u32 = 0;
        loop {
            if let Some(decided) = attempt().await {
                return decided;
            }
            attempts = attempts.saturating_add(1);
            tokio::time::sleep(random_pause(entropy, attempts)).await;
        }
    };
    tokio::time::timeout(patience, persisted).await.ok()
}

/// Whether it may be that the token was good a moment ago: it is not used again, and the next one is new.
fn is_of_another_time(status: &Status) -> bool {
    matches!(reason_of(status).as_deref(), Some(reason::TOKEN_EXPIRED | reason::TOKEN_INVALID))
}

/// The pause after an attempt (from 1): a random one, at least what the peer asks for, as far as that is within reason.
fn pause(entropy: &Entropy, attempt: u32, status: &Status) -> Duration {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
    random_pause(entropy, attempt).max(asked.min(LONGEST_PAUSE))
}

/// Up to a limit that doubles, so that many callers do not come back together.
fn random_pause(entropy: &Entropy, attempt: u32) -> Duration {
    let limit = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(entropy.u64_below(micros.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::reason_of;

    #[test]
    fn a_peer_is_away_or_late_or_one_of_us_is_wrong() {
        let told = |code| {
            let status = Status::from(unanswered("billing", &Status::new(code, "the ledger of usr_1")));
            assert!(!status.message().contains("usr_1"), "what it said is not our caller's to read: {status:?}");
            (status.code(), reason_of(&status))
        };
        let away = (Code::Unavailable, Some(reason::PEER_UNAVAILABLE.to_owned()));
        for code in [Code::Unavailable, Code::ResourceExhausted, Code::Cancelled] {
            assert_eq!(told(code), away);
        }
        assert_eq!(told(Code::DeadlineExceeded).0, Code::DeadlineExceeded);
        for code in [Code::NotFound, Code::PermissionDenied, Code::Unauthenticated, Code::Internal, Code::Unknown] {
            assert_eq!(told(code).0, Code::Internal, "{code:?}");
        }
    }
}
