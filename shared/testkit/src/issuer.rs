//! Signs the tokens that a service under test believes, without an identity service.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bursar_id::{OrganizationId, OwnerId, Role, ServiceAccountId, SessionId, UserId};
use bursar_proto::identity::v1::Jwk;
use bursar_rpc::{
    AuthMethod, AuthMethods, Branch, KeyGrant, KeySet, PublicKeys, ServiceRole,
    token::{AccessClaims, Acting, ServiceClaims, StandardClaims, sign},
};
use bursar_time::{Span, Timestamp};
use ed25519_dalek::SigningKey;
use jsonwebtoken::EncodingKey;
use serde::Serialize;

use crate::values::id;

/// The head of an Ed25519 key in PKCS#8 (RFC 8410); the seed follows.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const KID: &str = "test";
/// How long a token lives unless the test says otherwise; as in production.
const LIFE: Span = bursar_rpc::token::LONGEST_LIFE;

/// A signing key with what it signs. Cheap to make; the same on every run.
pub struct Issuer {
    key: EncodingKey,
    public: [u8; 32],
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

impl Issuer {
    /// The issuer that a service with [`Issuer::keys`] believes.
    pub fn new() -> Self {
        Self::from_seed([1; 32])
    }

    /// Somebody else: the same key id, another key.
    pub fn stranger() -> Self {
        Self::from_seed([2; 32])
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let key = EncodingKey::from_ed_der(&[PKCS8_HEAD.as_slice(), &seed].concat());
        Self { key, public }
    }

    /// What verifies this issuer's tokens, for the stack of the service under test.
    pub fn keys(&self) -> KeySet {
        KeySet::fixed(PublicKeys::new([(KID.to_owned(), self.public)]))
    }

    /// The same for whoever fetches keys from a `KeyService`.
    pub fn jwks(&self) -> Vec<Jwk> {
        vec![Jwk {
            kid: KID.to_owned(),
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            r#use: "sig".to_owned(),
            x: URL_SAFE_NO_PAD.encode(self.public),
        }]
    }

    /// A token of a user in the personal context with a verified address; refine it and end with
    /// [`UserToken::at`].
    pub fn user(&self, user: UserId) -> UserToken<'_> {
        UserToken {
            issuer: self,
            user,
            session: id(1),
            context: OwnerId::User(user),
            role: None,
            version: 0,
            incarnation: 1,
            authenticated_at: None,
            email: format!("{user}@example.com"),
            verified: true,
            life: LIFE,
            operator: None,
            methods: AuthMethods::PASSWORD,
            key: None,
        }
    }

    /// A token of a user who is a member of an organization, acting in it, at membership version 1.
    pub fn member(&self, user: UserId, organization: OrganizationId, role: Role) -> UserToken<'_> {
        let token = self.user(user);
        UserToken { context: OwnerId::Organization(organization), role: Some(role), version: 1, ..token }
    }

    /// A service's token, issued at `now`. The suite's own services and the operator have their own accounts.
    pub fn service(&self, role: ServiceRole, now: Timestamp) -> String {
        let account = match role {
            ServiceRole::Operator => ServiceAccountId::OPERATOR,
            ServiceRole::Identity => ServiceAccountId::IDENTITY,
            ServiceRole::Organization => ServiceAccountId::ORGANIZATION,
            ServiceRole::Billing => ServiceAccountId::BILLING,
            ServiceRole::Product => id(1),
        };
        self.sign(&ServiceClaims::new(account, role, now, LIFE))
    }

    /// Signs any claims.
    pub fn sign<C: Serialize>(&self, claims: &C) -> String {
        sign(&self.key, KID, claims).expect("the test key signs")
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

/// A user's access token in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct UserToken<'a> {
    issuer: &'a Issuer,
    user: UserId,
    session: SessionId,
    context: OwnerId,
    role: Option<Role>,
    version: u64,
    incarnation: u64,
    authenticated_at: Option<Timestamp>,
    email: String,
    verified: bool,
    life: Span,
    operator: Option<ServiceAccountId>,
    methods: AuthMethods,
    key: Option<KeyGrant>,
}

impl UserToken<'_> {
    /// Shows a one-time password beside the other one.
    pub fn with_second_factor(mut self) -> Self {
        self.methods = self.methods.and(AuthMethod::OneTimePassword);
        self
    }

    /// Issues the token in the name of an API key: nobody has signed in then.
    pub fn by_key(mut self, key: KeyGrant) -> Self {
        (self.key, self.methods) = (Some(key), AuthMethods::default());
        self
    }

    /// The operator who acts in the user's name; nobody proves then who they are.
    pub fn operated_by(mut self, operator: ServiceAccountId) -> Self {
        self.operator = Some(operator);
        self
    }

    /// The version of the membership behind the role.
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// The incarnation in which that version counts; the first one otherwise.
    pub fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = incarnation;
        self
    }

    /// When the user signed in; when the token is issued otherwise.
    pub fn authenticated_at(mut self, at: Timestamp) -> Self {
        self.authenticated_at = Some(at);
        self
    }

    /// Takes the role away, as a refreshed token of a former member has none.
    pub fn without_role(mut self) -> Self {
        self.role = None;
        self.version = 0;
        self
    }

    /// The session.
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = session;
        self
    }

    /// The mail address.
    pub fn email(mut self, email: &str) -> Self {
        email.clone_into(&mut self.email);
        self
    }

    /// Makes the address an unproven one.
    pub fn unverified(mut self) -> Self {
        self.verified = false;
        self
    }

    /// How long the token lives.
    pub fn lasting(mut self, life: Span) -> Self {
        self.life = life;
        self
    }

    /// The token, issued at `now`.
    pub fn at(self, now: Timestamp) -> String {
        self.issuer.sign(&AccessClaims {
            sub: self.user,
            sid: self.session,
            bid: self.operator.is_none().then(|| Branch::from_bytes([1; 16])),
            ctx: self.context,
            role: self.role,
            mv: self.version,
            mvi: self.role.map_or(0, |_| self.incarnation),
            auth_time: self.operator.is_none().then(|| self.authenticated_at.unwrap_or(now).as_unix_secs()),
            amr: self.methods,
            act: self.operator.map(|sub| Acting { sub }),
            key: self.key,
            email: self.email,
            email_verified: self.verified,
            standard: StandardClaims::lasting(now, self.life),
        })
    }
}
