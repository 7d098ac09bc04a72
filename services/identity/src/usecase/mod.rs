//! What identity does: load, decide, write, publish. One file per thing that is done.
//!
//! What changes something goes through [`Mutations`]: standing (a live session; an operator's account), what was asked and
//! its request id, decide, write; the end commits the audit row and the events with it. Passwords are counted and checked
//! before that. Exchanging one proof for another (`Refresh`, `IssueServiceToken`) is no change that an audit log tells of.
//!
//! No SQL text and no tonic request here. Times, ids and secrets come from the clock and the entropy that
//! the service was started with.

mod accounts;
mod alerts;
pub mod attempts;
pub mod bootstrap;
mod clearing;
mod contexts;
mod delete_me;
pub mod departures;
mod events;
pub mod hashing;
pub mod inspection;
pub mod invoices;
mod mails;
pub mod news;
mod operators;
mod organizations;
mod perish;
pub mod present;
pub mod prune;
mod rations;
mod refresh;
mod sessions;
mod sign_in;
mod sign_up;
pub mod signing;
mod tokens;
mod turns;
mod users;
mod verify_email;

use std::sync::Arc;

use bursar_db::{Db, DbError};
use bursar_events::Outbox;
use bursar_id::{Id, SessionId, UserId};
use bursar_jobs::Jobs;
use bursar_members::Members;
use bursar_members::people::People;
use bursar_rpc::{Mutations, PageKey, Transport};
use bursar_secret::Entropy;
use bursar_time::{Clock, Timestamp};

pub use accounts::{NewAccount, NewSecret, ServiceToken};
pub use contexts::ContextView;
pub use operators::{ActFor, Found, Suspend, UserToken, UsersWanted, Wanted};
pub use organizations::Owned;
pub use sessions::SessionView;
pub use sign_in::Credentials;
pub use sign_up::{SignUp, VerifyAgain};
pub use tokens::Tokens;
pub use users::{Me, MeChange};

pub use crate::store::listing::{Listed, ListedRow};
pub use crate::store::service_accounts::ServiceAccountRow;
pub use crate::store::sessions::SessionRow;
pub use crate::store::suspensions::{SuspensionRow, Suspensions};
pub use crate::store::users::UserRow;

use crate::Config;
use hashing::Hasher;
use signing::Signer;
pub use turns::Turns;

/// The use cases with what they work on. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

/// What the use cases work on.
pub struct Parts {
    /// The settings that decide.
    pub config: Config,
    /// The store.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// By which the page tokens of this service are known.
    pub pages: PageKey,
    /// Carries out mutating calls.
    pub mutations: Mutations<Outbox>,
    /// Tells what happens without a call.
    pub outbox: Outbox,
    /// Work for later.
    pub jobs: Jobs,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Sign-ins to one account from one place, one after the other.
    pub turns: Arc<Turns>,
    /// Signs tokens.
    pub signer: Signer,
    /// The way to organization, with identity's own token.
    pub organization: Transport,
    /// The way to billing, likewise.
    pub billing: Transport,
    /// What organization has told, and how fresh that is.
    pub members: Members,
    /// Whom operators have suspended, for the stack.
    pub people: People<Suspensions>,
}

impl Identity {
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

    fn new_user_id(&self, now: Timestamp) -> UserId {
        self.new_id(now)
    }

    fn new_session_id(&self, now: Timestamp) -> SessionId {
        self.new_id(now)
    }
}

#[cfg(test)]
mod hearing;
