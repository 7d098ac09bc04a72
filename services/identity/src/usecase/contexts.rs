//! Contexts: which ones a user can act in, and moving a session into another.

use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Problem, UserCaller, convert};

use super::{Identity, Tokens};
use crate::Error;
use crate::domain::membership::Membership;
use crate::store::{memberships, sessions, users};

/// One context as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextView {
    /// Whose context it is.
    pub owner: OwnerId,
    /// The user's or the organization's name.
    pub display_name: String,
    /// The organization's slug; empty for the personal context.
    pub slug: String,
    /// The role; `None` for the personal context.
    pub role: Option<Role>,
    /// Whether the session is in it.
    pub current: bool,
}

impl Identity {
    /// The caller's contexts: the personal one first, then a page of organizations as organization has them
    /// now. The key of a page is organization's own page token.
    pub async fn list_contexts(
        &self,
        caller: &UserCaller,
        page: &PageRequest<String>,
    ) -> Result<Page<ContextView>, Error> {
        let mut tx = self.0.db.read().await?;
        let session = self.live_session(&mut tx, caller, self.now()).await?;
        let user = users::by_id(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        drop(tx);
        let mut rows = Vec::new();
        if page.after().is_none() {
            let owner = OwnerId::User(user.id);
            let current = session.context == owner;
            rows.push(ContextView { owner, display_name: user.display_name, slug: String::new(), role: None, current });
        }
        let room = page.size() as usize - rows.len();
        if room == 0 {
            // Nothing but the personal context fits: the organizations begin on the next page.
            return Ok(Page { rows, next_page_token: page.token(&String::new())? });
        }
        let from = page.after().map(String::as_str).unwrap_or_default();
        let listed = self.organizations(i32::try_from(room).unwrap_or(i32::MAX), from).await?;
        for organization in listed.organizations {
            let id: OrganizationId = organization.id.parse().map_err(Error::internal)?;
            let owner = OwnerId::Organization(id);
            rows.push(ContextView {
                owner,
                display_name: organization.name,
                slug: organization.slug,
                role: convert::optional_role(organization.role).map_err(Error::internal)?,
                current: session.context == owner,
            });
        }
        let next_page_token = match listed.next_page_token {
            token if token.is_empty() => token,
            token => page.token(&token)?,
        };
        Ok(Page { rows, next_page_token })
    }

    /// Moves the caller's session into a context and gives a new pair for it. The refresh token before keeps its
    /// own branch, so a client that loses this answer is still signed in.
    pub async fn switch_context(&self, caller: &UserCaller, owner: &str) -> Result<Tokens, Error> {
        let owner: OwnerId =
            owner.parse().map_err(|error: bursar_id::IdError| Problem::invalid_field("owner", error.to_string()))?;
        let live = match owner {
            OwnerId::User(user) if user == caller.user => Membership::UNKNOWN,
            OwnerId::User(_) => return Err(Error::NotAMember),
            OwnerId::Organization(organization) => {
                let live = self.live_membership(caller.user, organization).await?;
                live.role.ok_or(Error::NotAMember)?;
                live
            }
        };
        let key = self.0.signer.current().await?;
        let mut tx = self.0.db.begin().await?;
        let now = self.now();
        // The lock keeps a SignOut at the same time from being outlived by the new token.
        sessions::by_id_locked(&mut tx, caller.session).await?;
        let session = self.live_session(&mut tx, caller, now).await?;
        let user = users::by_id(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        let mut membership = live;
        if let OwnerId::Organization(organization) = owner {
            memberships::learn(&mut tx, user.id, organization, live).await?;
            // An event may have told of something later while the live answer was on its way.
            membership = memberships::get(&mut tx, user.id, organization).await?.unwrap_or(live);
            membership.role.ok_or(Error::NotAMember)?;
        }
        sessions::set_context(&mut tx, session.id, user.id, owner).await?;
        sessions::touch(&mut tx, session.id, now, now.saturating_add(self.0.config.refresh.lifetime)).await?;
        let refresh = self.issue_refresh(&mut tx, session.id, &self.new_branch(), now).await?;
        tx.commit().await?;
        self.hand_out(&key, &user, session.id, (owner, membership), &refresh)
    }
}
