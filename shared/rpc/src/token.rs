//! Tokens: what they claim, how they are signed (for identity and for tests), how they are verified.
//!
//! JWTs with `EdDSA` and nothing else. A person's token and a service's differ in the kind of their
//! subject (`usr_…`, `svc_…`), so neither can pass for the other. Time comes in as a parameter and is
//! compared without leeway; how long a token lives is decided by whoever signs it, up to [`LONGEST_LIFE`]: so what was signed
//! by a clock that was far ahead proves nothing.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_id::{OwnerId, Role, ServiceAccountId, SessionId, UserId};
use bursar_proto::access::v1::Permission;
use bursar_time::{CLOCKS_APART, Clock, Span, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::authentication::{AuthMethods, Branch, KeyGrant};
use crate::caller::{Caller, ServiceCaller, ServiceRole, UserCaller};
use crate::keys::KeySet;
use crate::problem::reason;
use crate::{Origin, Problem, Site, cache::TokenCache, strict};

/// The `iss` of every token.
pub const ISSUER: &str = "bursar";
/// The `aud` of every token.
pub const AUDIENCE: &str = "bursar";
/// The longest that any token lives, a person's or a service's; settings allow no more.
pub const LONGEST_LIFE: Span = Span::from_mins(5);
/// The longest token that is looked at, in bytes; ours have some six hundred.
const MAX_BYTES: usize = 4_096;

/// What a person's access token says.
#[derive(Clone, Debug, Serialize)]
pub struct AccessClaims {
    /// Who.
    pub sub: UserId,
    /// The session.
    pub sid: SessionId,
    /// The branch of the session; absent when no refresh token is behind the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bid: Option<Branch>,
    /// The one context in which the token acts.
    pub ctx: OwnerId,
    /// The role in the organization that is the context; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The version of the membership behind the role; 0 without one.
    pub mv: u64,
    /// The incarnation of organization's store in which that version counts; 0 without a role.
    pub mvi: u64,
    /// When the person proved who they are, in seconds since 1970; absent where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// By which means.
    pub amr: AuthMethods,
    /// The operator who acts on the person's behalf (RFC 8693); absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Acting>,
    /// The API key in whose name the token was issued; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyGrant>,
    /// The account's mail address.
    pub email: String,
    /// Whether the address is proven.
    pub email_verified: bool,
    /// Who signed and for whom, since when and until when.
    #[serde(flatten)]
    pub standard: StandardClaims,
}

/// Who acts in the name of a token's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acting {
    /// The operator's service account.
    pub sub: ServiceAccountId,
}

/// What a service's token says.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceClaims {
    /// The service's account.
    pub sub: ServiceAccountId,
    /// Its role, as [`ServiceRole::as_str`].
    pub srole: &'static str,
    /// Who signed and for whom, since when and until when.
    #[serde(flatten)]
    pub standard: StandardClaims,
}

/// The claims that every token has.
#[derive(Clone, Debug, Serialize)]
pub struct StandardClaims {
    /// [`ISSUER`].
    pub iss: &'static str,
    /// [`AUDIENCE`].
    pub aud: &'static str,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// The first second in which it is not valid any more, in seconds since 1970.
    pub exp: i64,
}

impl StandardClaims {
    /// Claims of a token that lives from `now` for `ttl`, in whole seconds rounded down.
    pub fn lasting(now: Timestamp, ttl: Span) -> Self {
        let until = now.saturating_add(ttl);
        Self { iss: ISSUER, aud: AUDIENCE, iat: now.as_unix_secs(), exp: until.as_unix_secs() }
    }

    /// When the token stops being valid.
    pub fn expires_at(&self) -> Option<Timestamp> {
        Timestamp::from_unix_secs(self.exp).ok()
    }
}

impl ServiceClaims {
    /// Claims of a service's token.
    pub fn new(account: ServiceAccountId, role: ServiceRole, now: Timestamp, ttl: Span) -> Self {
        Self { sub: account, srole: role.as_str(), standard: StandardClaims::lasting(now, ttl) }
    }
}

/// A token could not be signed: the key is no Ed25519 key in PKCS#8.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign a token: {0}")]
pub struct SignError(#[from] jsonwebtoken::errors::Error);

/// Signs claims with an Ed25519 key (PKCS#8 DER) that is published under `kid`.
pub fn sign<C: Serialize>(key: &EncodingKey, kid: &str, claims: &C) -> Result<String, SignError> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    Ok(jsonwebtoken::encode(&header, claims, key)?)
}

/// A verified token: whom it proves, and until when.
#[derive(Clone, Debug)]
pub struct Verified {
    /// A user or a service without anybody behind it, at permission `Unspecified`.
    pub caller: Caller,
    /// When the token begins to prove it, if it says so.
    pub not_before: Option<Timestamp>,
    /// When the token stops proving it.
    pub expires_at: Timestamp,
}

/// Verifies tokens and remembers those it has verified, so that a signature is checked once per token
/// and not once per call.
#[derive(Debug)]
pub struct Verifier {
    keys: KeySet,
    cache: TokenCache,
    /// Whether it does not matter how far ahead a token ends.
    leaps: bool,
}

impl Verifier {
    /// A verifier that remembers about `capacity` tokens, the latest ones.
    pub fn new(keys: KeySet, capacity: usize) -> Self {
        Self { keys, cache: TokenCache::new(capacity), leaps: false }
    }

    /// The same for whoever lives by this clock. A test clock leaps, in one process before it does in the next: what the one
    /// signs meanwhile is no error, so there a token may end as far ahead as it likes.
    #[must_use]
    pub(crate) fn by(self, clock: &Clock) -> Self {
        Self { leaps: clock.is_test(), ..self }
    }

    /// Whom the token proves at `now`; else `UNAUTHENTICATED` with `TOKEN_INVALID` or `TOKEN_EXPIRED`, or
    /// `UNAVAILABLE` while its key cannot be fetched.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, Problem> {
        self.verify_from(token, now, Origin::Local.site()).await
    }

    /// The same for somebody there: keys that are not known are fetched for each place so often.
    pub(crate) async fn verify_from(&self, token: &str, now: Timestamp, asker: Site) -> Result<Caller, Problem> {
        let verified = self.read(token, now, asker).await?;
        if now >= verified.expires_at {
            return Err(expired());
        }
        if verified.not_before.is_some_and(|begin| now < begin) {
            return Err(invalid("not valid yet"));
        }
        if !self.leaps && verified.expires_at.since(now) > LONGEST_LIFE.saturating_add(CLOCKS_APART) {
            return Err(invalid("good for longer than any token lives"));
        }
        Ok(verified.caller)
    }

    /// What the token proves in its time.
    async fn read(&self, token: &str, now: Timestamp, asker: Site) -> Result<Verified, Problem> {
        let digest = TokenCache::digest(token);
        if let Some(verified) = self.cache.get(&digest) {
            return Ok(verified);
        }
        let verified = verify(token, &self.keys, (now, asker)).await?;
        self.cache.insert(digest, &verified);
        Ok(verified)
    }
}

static VALIDATION: LazyLock<Validation> = LazyLock::new(|| {
    let mut validation = Validation::new(Algorithm::EdDSA);
    // Times are compared with the clock that the service was given, everything else in `claims_of`.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
});

/// What a token's header says that nobody else looks at.
#[derive(Deserialize)]
struct Head {
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

/// The object that a token's part with this number is, if it can be read in one way only.
fn part<T: DeserializeOwned>(token: &str, number: usize) -> Option<T> {
    strict::object(&URL_SAFE_NO_PAD.decode(token.split('.').nth(number)?).ok()?)
}

impl Head {
    fn of(token: &str) -> Option<Self> {
        part(token, 0)
    }

    /// Whether it is a JWT that demands nothing: the same key may sign other things that are no proof of anybody, and what
    /// `crit` names must be understood or the token refused (RFC 7515, 4.1.11). Nothing that it could name is known here.
    fn is_plain(&self) -> bool {
        self.crit.is_none() && self.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"))
    }
}

/// What a token says of itself, whoever has signed it.
#[derive(Deserialize)]
struct Said {
    sub: String,
    exp: i64,
}

impl Said {
    fn is_over(&self, now: Timestamp) -> bool {
        self.exp <= now.as_unix_secs()
    }
}

/// Whether a token says that it was a user's and has expired. Nothing is proven by that, and nothing given for it: the key that
/// signed it may be gone by now.
pub(crate) fn says_it_was_a_users(token: &str, now: Timestamp) -> bool {
    let said = (token.len() <= MAX_BYTES).then(|| part::<Said>(token, 1)).flatten();
    said.is_some_and(|said| said.sub.parse::<UserId>().is_ok() && said.is_over(now))
}

/// Every claim that any token may have; which ones must be there depends on the subject.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: String,
    exp: i64,
    nbf: Option<i64>,
    sid: Option<SessionId>,
    ctx: Option<OwnerId>,
    role: Option<Role>,
    #[serde(default)]
    mv: u64,
    #[serde(default)]
    mvi: u64,
    bid: Option<Branch>,
    auth_time: Option<i64>,
    #[serde(default)]
    amr: AuthMethods,
    act: Option<Acting>,
    key: Option<KeyGrant>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    srole: Option<String>,
}

/// Checks the signature and every claim but the times, for somebody there at `now`.
async fn verify(token: &str, keys: &KeySet, (now, asker): (Timestamp, Site)) -> Result<Verified, Problem> {
    if token.len() > MAX_BYTES {
        return Err(invalid("too long"));
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("no JWT"))?;
    if !Head::of(token).is_some_and(|head| head.is_plain()) {
        return Err(invalid("of another type, or with demands that nobody here knows"));
    }
    if header.alg != Algorithm::EdDSA {
        return Err(invalid("signed with another algorithm"));
    }
    let kid = header.kid.ok_or_else(|| invalid("no kid"))?;
    if keys.known(&kid).is_none() {
        let said = part::<Said>(token, 1).ok_or_else(|| invalid("signed by an unknown key"))?;
        if said.is_over(now) {
            // Its key may be gone, and would be asked for in vain. Nothing is proven by what it says, and nothing given for it; but
            // whoever had a good one gets another by a refresh, and would sign in anew if this were called invalid.
            return Err(expired());
        }
    }
    let key = keys.find(&kid, asker).await?.ok_or_else(|| invalid("signed by an unknown key"))?;
    // What it claims is read below, as strictly as the header.
    jsonwebtoken::decode::<IgnoredAny>(token, &key, &VALIDATION).map_err(|_| invalid("signature is wrong"))?;
    part(token, 1).and_then(caller_of).ok_or_else(|| invalid("claims are wrong"))
}

fn caller_of(claims: Claims) -> Option<Verified> {
    if claims.iss != ISSUER || claims.aud != AUDIENCE {
        return None;
    }
    let expires_at = Timestamp::from_unix_secs(claims.exp).ok()?;
    let not_before = claims.nbf.map(Timestamp::from_unix_secs).transpose().ok()?;
    let permission = Permission::Unspecified;
    let caller = if let Ok(user) = claims.sub.parse::<UserId>() {
        let context = claims.ctx?;
        // A personal context is one's own, and has no role.
        let fits = match context {
            OwnerId::User(owner) => owner == user && claims.role.is_none(),
            OwnerId::Organization(_) => true,
        };
        if !fits {
            return None;
        }
        Caller::User(UserCaller {
            user,
            session: claims.sid?,
            branch: claims.bid,
            context,
            role: claims.role,
            membership_version: claims.mv,
            membership_incarnation: claims.mvi,
            authenticated_at: claims.auth_time.map(Timestamp::from_unix_secs).transpose().ok()?,
            methods: claims.amr,
            operator: claims.act.map(|acting| acting.sub),
            key: claims.key,
            email: claims.email?.into(),
            email_verified: claims.email_verified,
            permission,
        })
    } else {
        Caller::Service(ServiceCaller {
            account: claims.sub.parse().ok()?,
            role: claims.srole?.parse().ok()?,
            on_behalf_of: None,
            permission,
        })
    };
    Some(Verified { caller, not_before, expires_at })
}

fn expired() -> Problem {
    Problem::unauthenticated(reason::TOKEN_EXPIRED, "the token has expired; get a new one")
}

/// One answer for every sort of bad token; which sort it was is only for the log.
fn invalid(why: &'static str) -> Problem {
    tracing::debug!(why, "refused a token");
    Problem::unauthenticated(reason::TOKEN_INVALID, "the token is not valid")
}
