//! What billing takes from the settings.

use std::path::PathBuf;

use bursar_runtime::Settings;
use bursar_time::Span;

use crate::domain::Rules;
use crate::lane::LaneSettings;

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
    /// Whether billing's tables are distributed by owner over several servers.
    pub distributed: bool,
    /// How long the audit log is kept.
    pub audit_retention: Span,
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
            distributed: billing.distributed,
            audit_retention: Span::from_std(settings.audit.retention),
        }
    }
}
