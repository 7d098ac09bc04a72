//! The settings that identity's rules need, out of the program's settings.

use bursar_runtime::{Settings, VERIFICATION_TTL_MAX};
use bursar_time::{CLOCKS_APART, Span};

use crate::domain::keys::KeyPolicy;
use crate::domain::session::RefreshPolicy;

/// How long one key signs.
const KEY_PERIOD: Span = Span::from_days(30);
/// How long a key is published before it signs: verifiers look at least once a minute, replicas twice.
const KEY_LEAD: Span = Span::HOUR;
/// Hashes at work or waiting for a core: some seconds' worth.
const WAITING_HASHES: usize = 512;
/// How long a branch lives that its client has left behind and nobody uses: longer than any tab that is open needs.
const LEFT_BRANCH: Span = Span::DAY;

/// The longest life of a mailed verification. By it is judged how far ahead the end of one may lie that is stored: each keeps
/// the life that it was mailed with, whatever this process is set to.
pub(crate) const LONGEST_LINK: Span = Span::from_days(30);
const _: () = assert!(LONGEST_LINK.to_std().as_secs() == VERIFICATION_TTL_MAX.as_secs(), "LONGEST_LINK is another");

/// What identity's rules depend on.
#[derive(Clone, Debug)]
pub struct Config {
    /// What links in mails start with.
    pub link_base_url: String,
    /// What mails call the product.
    pub product: String,
    /// Life of an access token.
    pub access_ttl: Span,
    /// Life of a service token.
    pub service_ttl: Span,
    /// Life of a mailed verification.
    pub verification_ttl: Span,
    /// Sessions and refresh tokens.
    pub refresh: RefreshPolicy,
    /// The rotation of the signing keys.
    pub keys: KeyPolicy,
    /// Password hashes that may be at work or wait for a core; more are refused as overload.
    pub waiting_hashes: usize,
    /// How long the audit log is kept.
    pub audit_retention: Span,
}

impl Config {
    /// Picks identity's part of the settings (`tokens.*`, `mail.*`, `audit.*`).
    pub fn of(settings: &Settings) -> Self {
        let tokens = &settings.tokens;
        let longest = tokens.access_ttl.max(tokens.service_ttl);
        Self {
            link_base_url: settings.mail.link_base_url.clone(),
            product: settings.mail.product.clone(),
            access_ttl: tokens.access_ttl.into(),
            service_ttl: tokens.service_ttl.into(),
            verification_ttl: tokens.verification_ttl.into(),
            refresh: RefreshPolicy {
                lifetime: tokens.refresh_ttl.into(),
                left_lifetime: LEFT_BRANCH,
                greatest_age: tokens.session_age.into(),
                grace: tokens.refresh_grace.into(),
                most_per_hour: tokens.max_refreshes_per_hour,
            },
            keys: KeyPolicy {
                period: KEY_PERIOD,
                lead: KEY_LEAD,
                token_lifetime: Span::from(longest).saturating_add(CLOCKS_APART),
            },
            waiting_hashes: WAITING_HASHES,
            audit_retention: settings.audit.retention.into(),
        }
    }
}
