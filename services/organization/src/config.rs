//! The settings that organization's rules need, out of the program's settings.

use std::time::Duration;

use bursar_members::Policy;
use bursar_runtime::Settings;
use bursar_time::Span;

use crate::domain::invitation::Caps;

/// What organization's rules depend on.
#[derive(Clone, Debug)]
pub struct Config {
    /// What links in mails start with, without a slash at the end.
    pub link_base_url: String,
    /// What mails call the product.
    pub product: String,
    /// Life of an invitation that names none.
    pub invitation_ttl: Span,
    /// The deployment's policies: what holds for whoever has set no others.
    pub policies: Policy,
    /// How many organizations one person may create within 24 hours.
    pub created_per_day: u32,
    /// How many invitations there may be.
    pub caps: Caps,
    /// How much a library may take.
    pub library: LibraryBounds,
    /// How long the audit log is kept.
    pub audit_retention: Span,
    /// The longest a call may take: what it makes has an id of when it began.
    pub deadline: Span,
}

/// How much a library may take.
#[derive(Clone, Copy, Debug)]
pub struct LibraryBounds {
    /// Bytes of one owner's.
    pub quota: i64,
    /// Bytes of one upload.
    pub upload: i64,
    /// How long whoever uploads may send nothing, and whoever downloads take nothing.
    pub idle: Duration,
    /// Items with content that one export may have.
    pub exported: i64,
}

impl Config {
    /// Picks organization's part of the settings (`organizations.*`, `invitations.*`, `policies.*`, `mail.*`,
    /// `audit.*`, `limits.deadline`).
    pub fn of(settings: &Settings) -> Self {
        let base = settings.mail.link_base_url.trim_end_matches('/');
        Self {
            link_base_url: base.to_owned(),
            product: settings.mail.product.clone(),
            invitation_ttl: settings.invitations.ttl.into(),
            policies: settings.policies,
            created_per_day: settings.organizations.max_created_per_day,
            caps: Caps {
                pending: settings.invitations.max_pending,
                per_day: settings.invitations.max_per_day,
                per_day_at_first: settings.invitations.max_per_day_at_first,
                by_sender_per_day: settings.invitations.max_per_day_by_sender,
                to_address_per_day: settings.invitations.max_per_day_to_address,
                by_origin_per_day: settings.invitations.max_per_day_by_origin,
            },
            library: LibraryBounds {
                quota: i64::try_from(settings.library.quota_bytes).unwrap_or(i64::MAX),
                upload: i64::try_from(settings.library.upload_bytes).unwrap_or(i64::MAX),
                idle: settings.library.idle_timeout,
                exported: settings.library.export_contents.into(),
            },
            audit_retention: settings.audit.retention.into(),
            deadline: settings.limits.deadline.into(),
        }
    }
}
