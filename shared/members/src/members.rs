//! A process's handle on what it knows of memberships and policies.

use std::sync::Arc;

use bursar_db::{Db, DbError};
use bursar_events::Feed;
use bursar_id::{OwnerId, UserId};
use tokio::sync::watch;

use crate::policies::{self, Policies};
use crate::policy::Policy;
use crate::standing::Standing;
use crate::word::Word;
use crate::{standings, words};

/// What this process knows, how fresh it is, and word of its changes. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Members {
    db: Db,
    feed: Feed,
    /// Changes whenever an event was applied by this process.
    news: Arc<watch::Sender<u64>>,
}

impl Members {
    /// What this store knows, kept up to date by this feed of organization's events.
    pub fn new(db: Db, feed: Feed) -> Self {
        Self { db, feed, news: Arc::new(watch::Sender::new(0)) }
    }

    /// The feed, with its age: how far what is known here may be behind.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// What was last told of a membership; `None` when it was never heard of.
    pub async fn word(&self, owner: OwnerId, user: UserId) -> Result<Option<Word>, DbError> {
        Ok(words::named_now(&self.db, &[(owner, user)]).await?.get(&(owner, user)).copied())
    }

    /// What was last told of these memberships; name each once.
    pub async fn words(&self, names: &[words::Name]) -> Result<words::Words, DbError> {
        words::named_now(&self.db, names).await
    }

    /// The policies of these owners.
    pub async fn policies(&self, owners: &[OwnerId]) -> Result<Policies, DbError> {
        policies::of_now(&self.db, owners).await
    }

    /// The policies that hold for an owner; `None` before the deployment's were ever told.
    pub async fn policy(&self, owner: OwnerId) -> Result<Option<Policy>, DbError> {
        Ok(self.policies(&[owner]).await?.of(owner))
    }

    /// How an owner stands.
    pub async fn standing(&self, owner: OwnerId) -> Result<Standing, DbError> {
        Ok(standings::of_now(&self.db, &[owner]).await?.remove(&owner).unwrap_or_default())
    }

    /// For the consumer, when it has applied something: wakes whoever waits for news.
    pub fn announce(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes when this process has applied an event. What another replica applied shows in the store only.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}
