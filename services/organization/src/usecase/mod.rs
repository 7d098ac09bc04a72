//! What organization does: load, decide, write, publish. One file per thing that is done.
//!
//! No SQL text and no tonic request here. Times, ids and secrets come from the clock and the entropy that
//! the service was started with.
//!
//! A mutating call goes: claim the request id, lock, authorize by the live membership, open what was asked
//! for, decide, write, commit with the events. The claim comes first because a call may end the very right
//! by which it was made: whoever repeats `LeaveOrganization` gets the first answer, not a refusal. What was
//! asked for arrives parsed, but with its errors unopened ([`Asked`]): authorization goes before
//! validation, and nobody learns from a bad field what is not theirs.

mod access;
mod departures;
mod events;
mod invitations;
mod joining;
mod mails;
mod members;
mod organizations;
mod ownership;
mod projects;
mod seats;

use std::sync::Arc;

use bursar_db::{Db, Tx};
use bursar_events::Outbox;
use bursar_id::Id;
use bursar_mail::Courier;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::idempotent::{Claimed, RequestKey};
use bursar_rpc::{Problem, Transport};
use bursar_secret::{Entropy, Sealer};
use bursar_time::{Clock, Timestamp};
use prost::Message;

pub use invitations::{InvitationView, InvitationsWanted, NewInvitation, Preview};
pub use members::{MembersWanted, RoleChange};
pub use organizations::{NewOrganization, OrganizationChange, OrganizationKey};
pub use projects::{NewProject, ProjectChange, Reassignment};

use crate::{Config, Error};

/// The use cases with what they work on. Cheap to clone.
#[derive(Clone)]
pub struct Organization(Arc<Parts>);

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
    /// Seals queued mail.
    pub sealer: Sealer,
    /// Events for the other services.
    pub outbox: Outbox,
    /// Delivers queued mail.
    pub courier: Courier,
    /// The way to billing, with organization's own token.
    pub billing: Transport,
}

/// What a mutating call asks for, with the key under which it takes effect once.
pub struct Keyed<T> {
    /// The caller's request id and what it stands for.
    pub key: RequestKey,
    /// What is asked for, well-formed.
    pub what: T,
}

/// A mutating request as it was parsed. Its error is given only to a caller who is allowed to ask.
pub type Asked<T> = Result<Keyed<T>, Problem>;

/// How a mutating call begins.
enum Begun<R> {
    /// It was answered before.
    Replay(R),
    /// It is new: the transaction of its effect, and the time at which it happens.
    New(Tx, Timestamp),
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

    fn new_id<K>(&self, now: Timestamp) -> Id<K> {
        Id::from_parts(now.as_millis(), self.0.entropy.bytes())
    }

    /// Begins the transaction of a mutating call and claims its request id in it. A request that is not
    /// well-formed claims nothing: it will be refused.
    async fn begin<T, R: Message + Default>(&self, asked: &Asked<T>) -> Result<Begun<R>, Error> {
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        if let Ok(keyed) = asked {
            match keyed.key.claim(&mut tx, now).await? {
                Claimed::Replay(answer) => return Ok(Begun::Replay(answer)),
                Claimed::Reused => return Err(Error::RequestIdReused),
                Claimed::New => {}
            }
        }
        Ok(Begun::New(tx, now))
    }

    /// The answer that a call was given before, for use cases that have work to do before they begin.
    async fn answered<T, R: Message + Default>(&self, asked: &Asked<T>) -> Result<Option<R>, Error> {
        if !asked.as_ref().is_ok_and(|keyed| keyed.key.id().is_some()) {
            return Ok(None);
        }
        match self.begin(asked).await? {
            Begun::Replay(answer) => Ok(Some(answer)),
            Begun::New(tx, _) => {
                tx.rollback().await?;
                Ok(None)
            }
        }
    }

    /// Stores the answer and commits everything with its events.
    async fn finish<R: Message>(
        &self,
        mut tx: Tx,
        key: &RequestKey,
        answer: &R,
        events: Vec<Payload>,
    ) -> Result<(), Error> {
        key.settle(&mut tx, answer).await?;
        Ok(self.0.outbox.commit(tx, events).await?)
    }
}
