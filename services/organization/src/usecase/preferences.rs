//! What members prefer in an organization.

use bursar_db::DbError;
use bursar_document::Document;
use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation, Problem};
use serde_json::{Map, Value};

use super::Organization;
use super::access::{acting, hold_open};
use crate::Error;
use crate::domain::{Refusal, etag};
use crate::store::preferences::{self, PreferencesRow};
use crate::store::{memberships, users};

/// What a member prefers.
#[derive(Clone, Debug, PartialEq)]
pub struct Preferences {
    /// The document.
    pub document: Map<String, Value>,
    /// Counts its changes; the etag.
    pub version: i64,
}

/// What a member shall prefer.
#[derive(Debug)]
pub struct PreferencesChange {
    /// The document.
    pub document: Document,
    /// The state that the change is meant for.
    pub etag: String,
}

impl Organization {
    /// What a member prefers: the caller, or whom a service of the product's names.
    pub async fn get_preferences(
        &self,
        caller: &Caller,
        id: OrganizationId,
        named: Result<Option<UserId>, Problem>,
    ) -> Result<Preferences, Error> {
        let mut tx = self.0.db.read().await?;
        self.look_at(&mut tx, caller, id).await?;
        let user = if let Some(user) = acting(caller)? {
            if named?.is_some_and(|named| named != user.user) {
                return Err(Problem::invalid_field("user_id", "must be empty or the user's own id").into());
            }
            user.user
        } else {
            let nobody = || Problem::invalid_field("user_id", "must name the member whose they are");
            let user = named?.ok_or_else(nobody)?;
            memberships::place(&mut tx, id, user).await?.role.ok_or(Refusal::MemberNotFound)?;
            user
        };
        shown(&preferences::of(&mut tx, id, user).await?)
    }

    /// Puts another document in the place of what the caller prefers. The same is no change.
    pub async fn update_preferences(
        &self,
        id: OrganizationId,
        asked: &Asked<PreferencesChange>,
    ) -> Result<Answer<Preferences>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.prefer(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn prefer(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<PreferencesChange>,
    ) -> Result<Done<Preferences, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&caller.user);
        self.admit(m, caller, id).await?;
        let Some(change) = m.open(asked).await? else { return Ok(Done::Replay) };
        // Whoever deletes the account meanwhile finds what is written; and of two tabs one comes after the other.
        users::lock(m.tx(), caller.user).await?.standing().demand_staying()?;
        hold_open(m.tx(), OwnerId::Organization(id)).await?;
        self.authorize(m.tx(), caller, id).await?;
        let now = m.now();
        let before = preferences::of(m.tx(), id, caller.user).await?;
        etag::demand(&change.etag, before.version)?;
        let document = change.document.to_string();
        if document == before.document {
            return Ok(Done::New(shown(&before)?, Vec::new()));
        }
        let row = PreferencesRow { document, version: before.version.saturating_add(1) };
        preferences::set(m.tx(), id, caller.user, &row, now).await?;
        Ok(Done::New(shown(&row)?, Vec::new()))
    }
}

/// What is stored, as it is shown.
pub(super) fn shown(row: &PreferencesRow) -> Result<Preferences, Error> {
    let unreadable = |_| Error::Store(DbError::corrupt("preferences are no JSON object"));
    let document = match row.document.as_str() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(unreadable)?,
    };
    Ok(Preferences { document, version: row.version })
}
