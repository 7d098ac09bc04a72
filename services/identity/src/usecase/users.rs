//! The own user, users by their ids, and what they prefer.

use bursar_db::{DbError, Tx};
use bursar_document::Document;
use bursar_id::UserId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, UserCaller};
use serde_json::{Map, Value};

use super::{Identity, events};
use crate::Error;
use crate::domain::display_name::DisplayName;
use crate::store::preferences;
use crate::store::users::{self, UserRow};

/// What to change about the own user; `None` stays as it is.
#[derive(Clone, Debug)]
pub struct MeChange {
    /// The new name.
    pub display_name: Option<DisplayName>,
    /// The new preferences.
    pub preferences: Option<Document>,
}

/// A user as the user sees it.
#[derive(Clone)]
pub struct Me {
    /// The user.
    pub user: UserRow,
    /// What the user prefers outside of organizations.
    pub preferences: Map<String, Value>,
}

impl Identity {
    /// The caller's own user.
    pub async fn get_me(&self, caller: &UserCaller) -> Result<Me, Error> {
        let mut tx = self.0.db.read().await?;
        self.may_look(&mut tx, caller).await?;
        let user = users::by_id(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        with_preferences(&mut tx, user).await
    }

    /// Changes the caller's own user.
    pub async fn update_me(&self, asked: &Asked<MeChange>) -> Result<Answer<Me>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.change_me(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn change_me(&self, m: &mut Mutation, asked: &Asked<MeChange>) -> Result<Done<Me, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller).await?;
        let Some(change) = m.open(asked).await? else { return Ok(Done::Replay) };
        let now = m.now();
        m.about(&caller.user);
        let mut user = users::by_id_locked(m.tx(), caller.user).await?.ok_or(Error::SessionEnded)?;
        let mut told = Vec::new();
        if let Some(name) = change.display_name.as_ref().filter(|name| name.as_str() != user.display_name) {
            users::set_display_name(m.tx(), user.id, name.as_str(), now).await?;
            name.as_str().clone_into(&mut user.display_name);
            told.push(events::updated(user.id, user.display_name.clone()));
        }
        if let Some(document) = &change.preferences {
            preferences::set(m.tx(), user.id, &document.to_string(), now).await?;
        }
        Ok(Done::New(with_preferences(m.tx(), user).await?, told))
    }

    /// Those of the given users that exist.
    pub async fn batch_get_users(&self, ids: &[UserId]) -> Result<Vec<UserRow>, Error> {
        let mut tx = self.0.db.read().await?;
        Ok(users::by_ids(&mut tx, ids).await?)
    }

    /// What a user prefers outside of organizations.
    pub async fn get_preferences(&self, id: UserId) -> Result<Map<String, Value>, Error> {
        let mut tx = self.0.db.read().await?;
        let user = users::by_id(&mut tx, id).await?.ok_or(Error::UserNotFound)?;
        Ok(with_preferences(&mut tx, user).await?.preferences)
    }
}

/// A user with what the user prefers.
async fn with_preferences(tx: &mut Tx, user: UserRow) -> Result<Me, Error> {
    let unreadable = |_| Error::Store(DbError::corrupt("preferences are no JSON object"));
    let preferences = match preferences::of(tx, user.id).await?.as_str() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(unreadable)?,
    };
    Ok(Me { user, preferences })
}
