//! `[payments]`: who takes money, how Stripe is reached, and where it reaches us.

use std::{net::SocketAddr, time::Duration};

use bursar_secret::Secret;
use serde::{Deserialize, Serialize};

use super::{
    Program, Settings,
    production::{is_exposed, is_loopback, leads_nowhere},
    span, text,
    validate::is_http,
};
use crate::Service;

/// Where Stripe's API is.
const STRIPE: &str = "https://api.stripe.com";
/// What the keys of Stripe's API begin with that may be used here: secret and restricted ones.
const KEYS: [&str; 2] = ["sk_", "rk_"];
/// What those of its test mode begin with.
const TEST_KEYS: [&str; 2] = ["sk_test_", "rk_test_"];
/// What the secrets of webhooks begin with.
const WEBHOOK_SECRET: &str = "whsec_";

/// Who takes money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProvider {
    /// Nobody: the sandbox settles at once.
    #[default]
    Sandbox,
    /// Stripe.
    Stripe,
}

/// `[payments]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentSettings {
    /// Who takes money: `sandbox` or `stripe`.
    pub provider: PaymentProvider,
    /// How Stripe is reached.
    pub stripe: StripeSettings,
}

/// `[payments.stripe]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeSettings {
    /// The API's key (`sk_…`, or `rk_…` that may write customers, payment methods, checkout sessions, payment intents and
    /// refunds).
    #[serde(with = "text::secret")]
    pub secret_key: Option<Secret>,
    /// What webhooks are signed with (`whsec_…`).
    #[serde(with = "text::secret")]
    pub webhook_secret: Option<Secret>,
    /// What they were signed with before, as long as Stripe still signs with both.
    #[serde(with = "text::secret")]
    pub former_webhook_secret: Option<Secret>,
    /// Where webhooks are listened for (`/webhooks/stripe`): the port after billing's on `listen_address` when not set.
    #[serde(with = "text::optional")]
    pub inbox_address: Option<SocketAddr>,
    /// Where the API is.
    pub api_url: String,
    /// Where customers come back to from what a payment asked them to do; `mail.link_base_url` when not set.
    #[serde(with = "text::optional")]
    pub return_url: Option<String>,
    /// How long one answer of the API may take, between 1 second and 1 minute.
    #[serde(with = "span")]
    pub timeout: Duration,
}

impl Default for StripeSettings {
    fn default() -> Self {
        Self {
            secret_key: None,
            webhook_secret: None,
            former_webhook_secret: None,
            inbox_address: None,
            api_url: STRIPE.to_owned(),
            return_url: None,
            timeout: Duration::from_secs(12),
        }
    }
}

impl Settings {
    /// Where the provider's webhooks are listened for, where it sends any.
    pub fn inbox_listener(&self) -> Option<SocketAddr> {
        let beside = self.port_base.saturating_add(Service::last_port_offset()).saturating_add(1);
        let by_default = SocketAddr::new(self.listen_address, beside);
        let stripe = self.payments.provider == PaymentProvider::Stripe;
        stripe.then(|| self.payments.stripe.inbox_address.unwrap_or(by_default))
    }

    fn takes_by_stripe(&self, program: Program) -> bool {
        self.payments.provider == PaymentProvider::Stripe
            && program.services().iter().any(|service| service.takes_payments())
    }

    /// What is wrong with how Stripe is to be reached, whatever the mode.
    pub(super) fn check_stripe(&self, program: Program, problems: &mut Vec<String>) {
        if !self.takes_by_stripe(program) {
            return;
        }
        let stripe = &self.payments.stripe;
        let begins = |secret: &Option<Secret>, with: &[&str]| {
            secret.as_ref().is_some_and(|it| with.iter().any(|begin| it.expose().starts_with(begin)))
        };
        if !begins(&stripe.secret_key, &KEYS) {
            problems.push(
                "payments.stripe.secret_key: must be a key of the API (sk_… or rk_…) where payments.provider is stripe"
                    .to_owned(),
            );
        }
        if !begins(&stripe.webhook_secret, &[WEBHOOK_SECRET]) {
            problems.push(
                "payments.stripe.webhook_secret: must be the secret of the webhook's endpoint (whsec_…) where \
                 payments.provider is stripe"
                    .to_owned(),
            );
        }
        if stripe.former_webhook_secret.is_some() && !begins(&stripe.former_webhook_secret, &[WEBHOOK_SECRET]) {
            problems.push("payments.stripe.former_webhook_secret: is no secret of a webhook (whsec_…)".to_owned());
        }
        for (key, url) in [("api_url", Some(&stripe.api_url)), ("return_url", stripe.return_url.as_ref())] {
            if let Some(url) = url.filter(|url| !is_http(url)) {
                problems.push(format!(
                    "payments.stripe.{key}: `{url}` is not of the form http://HOST:PORT or https://HOST:PORT"
                ));
            }
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_mins(1));
        if stripe.timeout < least || stripe.timeout > most {
            let [value, least, most] = [stripe.timeout, least, most].map(span::print);
            problems.push(format!("payments.stripe.timeout: {value} is out of range, use {least} to {most}"));
        }
    }

    /// What production refuses of it.
    pub(super) fn refuse_unfit_stripe(&self, program: Program, problems: &mut Vec<String>) {
        if !self.takes_by_stripe(program) {
            return;
        }
        let stripe = &self.payments.stripe;
        let is_test = |key: &Secret| TEST_KEYS.iter().any(|begin| key.expose().starts_with(begin));
        if !self.allow_sandbox_payments && stripe.secret_key.as_ref().is_some_and(is_test) {
            problems.push(
                "payments.stripe.secret_key: is one of Stripe's test mode, which takes no money; production mode sells \
                 for nothing only where allow_sandbox_payments (--allow-sandbox-payments) is true"
                    .to_owned(),
            );
        }
        let back = stripe.return_url.as_ref().unwrap_or(&self.mail.link_base_url);
        if leads_nowhere(back) {
            problems.push(format!(
                "payments.stripe.return_url: {back} is on this machine or nobody's, where no customer can come back to; set \
                 where your product is"
            ));
        }
        if self.allow_plaintext {
            return;
        }
        if is_exposed(&stripe.api_url) {
            problems.push(format!(
                "payments.stripe.api_url: {} would carry the API's key in plaintext beyond this machine, which production \
                 mode refuses; use https://",
                stripe.api_url
            ));
        }
        let exposed = self.inbox_listener().filter(|address| !is_loopback(address.ip()));
        if let Some(address) = exposed.filter(|_| self.inbox_tls.certificate_file.is_none()) {
            problems.push(format!(
                "payments.stripe.inbox_address: {address} would speak plaintext beyond this machine, which production mode \
                 refuses; set inbox_tls.certificate_file and inbox_tls.key_file, listen on loopback behind a proxy that \
                 speaks TLS, or allow_plaintext where the network encrypts"
            ));
        }
    }
}
