//! What billing takes from the settings.

use std::path::PathBuf;

use bursar_runtime::{PaymentProvider, Settings, StripeSettings};
use bursar_time::Span;

use crate::domain::{Issuer, Rules};
use crate::lane::LaneSettings;

/// How long something is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Rows of the audit log.
    pub audit: Span,
    /// Billing profiles in invoices of owners who are gone.
    pub profiles: Span,
}

/// Billing's own rules and sizes.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the lanes are laid out.
    pub lanes: LaneSettings,
    /// The catalog's file; `None` for the built-in catalog.
    pub catalog: Option<PathBuf>,
    /// How long a hold may last at most.
    pub max_hold: Span,
    /// How many holds may be open in one account.
    pub max_open_holds: u32,
    /// How many limits an account may have.
    pub max_limits: u32,
    /// How long after an attempt to top an account up there is no other one.
    pub top_up_cool_down: Span,
    /// Whether billing's tables are distributed by owner over several servers.
    pub distributed: bool,
    /// How long what is old is kept.
    pub kept: Kept,
    /// Who sells.
    pub issuer: Issuer,
    /// The folder of the fonts of documents; `None` for built-in ones.
    pub fonts: Option<PathBuf>,
    /// The logo on documents.
    pub logo: Option<PathBuf>,
    /// The table of taxes; `None` for no taxes.
    pub taxes: Option<PathBuf>,
    /// How Stripe takes money; `None`: the sandbox does as if.
    pub stripe: Option<StripeSettings>,
}

impl Config {
    /// The rules these settings ask for.
    pub fn of(settings: &Settings) -> Self {
        let billing = &settings.billing;
        let lanes = LaneSettings {
            // One lane is fastest on few cores: fewer and larger batches.
            lanes: billing.lanes.max(1),
            batch: billing.batch_max,
            waiting: billing.queue_max,
            combine: billing.combine,
            warm: billing.warm_accounts,
        };
        Self {
            lanes,
            catalog: settings.catalog_file.clone(),
            max_hold: Span::from_std(billing.hold_ttl_max).min(Rules::MAX_HOLD),
            max_open_holds: billing.open_holds_max,
            max_limits: billing.limits_max,
            top_up_cool_down: Span::from_std(billing.top_up_cooldown),
            distributed: billing.distributed,
            kept: Kept {
                audit: Span::from_std(settings.audit.retention),
                profiles: Span::from_std(settings.invoice_retention),
            },
            issuer: Issuer {
                product: settings.mail.product.clone(),
                lines: settings.invoices.issuer.lines().map(str::to_owned).collect(),
            },
            fonts: settings.fonts_dir.clone(),
            logo: settings.invoices.logo_file.clone(),
            taxes: settings.invoices.tax_file.clone(),
            stripe: (settings.payments.provider == PaymentProvider::Stripe).then(|| StripeSettings {
                // Whatever customers see of the product is there.
                return_url: Some(
                    settings.payments.stripe.return_url.as_ref().unwrap_or(&settings.mail.link_base_url).clone(),
                ),
                ..settings.payments.stripe.clone()
            }),
        }
    }
}
