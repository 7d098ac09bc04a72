//! What organization does: load, decide, write, publish. One file per thing that is done.
//!
//! No SQL text and no tonic request here. Times, ids and secrets come from the clock and the entropy that
//! the service was started with.
//!
//! A mutating call goes through [`Mutations`]: standing by the live membership, what was asked and its request id, lock,
//! standing again (somebody may have been demoted meanwhile), decide, write; the end commits the audit row and the events
//! with it.

mod access;
mod alerts;
mod audit;
mod avatars;
mod calling_off;
pub mod deleting;
pub mod departures;
mod events;
mod export;
mod feeds;
pub mod forgetting;
pub mod founding;
pub mod inspection;
mod invitations;
pub mod invoices;
mod joining;
mod library;
mod mails;
mod members;
mod operating;
mod organizations;
mod outflow;
pub mod ownerless;
mod ownership;
mod policies;
mod preferences;
pub mod present;
mod projects;
pub mod purging;
mod rationing;
pub(crate) mod seats;

use std::sync::Arc;

use bursar_db::{Db, DbError};
use bursar_events::Outbox;
use bursar_id::Id;
use bursar_jobs::Jobs;
use bursar_rpc::{Mutations, PageKey, Transport};
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_time::{Clock, Timestamp};

pub use audit::AuditWanted;
pub use avatars::{AvatarError, Change as AvatarChange, Easel, Upload};
pub use calling_off::CallingOff;
pub use deleting::Deletion;
pub(crate) use events::as_told;
pub use feeds::Feeds;
pub(crate) use feeds::{OF_PEOPLE, OF_PLANS};
pub use invitations::{InvitationView, InvitationsWanted, NewInvitation, Preview, SendAgain};
pub use library::{
    Children, Content, Download, ERASURE, Erasure, Item, ItemChange, ItemCopy, ItemDeletion, ItemFilter, NewItem,
    Revealed, UploadStart,
};
pub use members::{MembersWanted, RoleChange};
pub use operating::{OrganizationsWanted, Query, Suspension};
pub use organizations::{Created, NewOrganization, OrganizationChange, OrganizationKey};
pub use outflow::Outflow;
pub use policies::{PolicyChange, PolicyView};
pub use preferences::{Preferences, PreferencesChange};
pub use projects::{NewProject, ProjectChange, Reassignment};

use crate::Config;
use crate::content::{Contents, Places};
use crate::domain::kind::Kinds;

/// The use cases with what they work on. Cheap to clone.
#[derive(Clone)]
pub struct Organization(Arc<Parts>);

/// What the use cases work on.
pub struct Parts {
    /// The settings that decide.
    pub config: Config,
    /// The kinds of library items.
    pub kinds: Kinds,
    /// Where content lies.
    pub(crate) contents: Contents,
    /// Places for uploads.
    pub(crate) uploads: Places,
    /// Places for downloads.
    pub(crate) downloads: Places,
    /// Places for exports.
    pub(crate) exports: Places,
    /// Seals what is secret in items.
    pub sealer: Sealer,
    /// By which requests with secrets are compared.
    pub prints: Secret<[u8; 32]>,
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// By which the page tokens of this service are known.
    pub pages: PageKey,
    /// Events for the other services.
    pub outbox: Outbox,
    /// Carries out mutating calls.
    pub mutations: Mutations<Outbox>,
    /// Work for later.
    pub jobs: Jobs,
    /// Where pictures are drawn.
    pub easel: Easel,
    /// The way to billing, with organization's own token.
    pub billing: Transport,
    /// What is heard of the others.
    pub feeds: Feeds,
}

impl Organization {
    /// The use cases over these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// What the use cases work on.
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The time, for what is decided by it and written down: a replica whose clock is wrong decides nothing.
    fn believed(&self) -> Result<Timestamp, DbError> {
        Ok(self.0.clock.believed()?)
    }

    fn new_id<K>(&self, now: Timestamp) -> Id<K> {
        Id::from_parts(now.as_millis(), self.0.entropy.bytes())
    }
}
