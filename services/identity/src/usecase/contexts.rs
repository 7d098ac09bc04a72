//! Contexts: which ones a user can act in, and going into another one. The context belongs to the branch of a session:
//! two tabs may be in two, and each keeps its own when it is refreshed.

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_members::{Standing, Word, policies, standings, words};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Asked, AuthMethods, Done, Looked, Mutation, UserCaller, convert};

use super::departures::demand_staying;
use super::sessions::still_live;
use super::signing::RingKey;
use super::tokens::{Proof, shown_once};
use super::{Identity, Tokens};
use crate::Error;
use crate::domain::session::MOST_BRANCHES;
use crate::store::{branches, sessions, users};

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
    /// Whether the caller's branch is in it.
    pub current: bool,
}

/// Whether an organization can be entered, as it was told to stand: whoever was told to belong to one that is suspended or
/// deleted is told so, to others it is as if there were none.
pub(super) fn demand_open(standing: Option<Standing>, told: Option<Word>) -> Result<(), Error> {
    let belongs = told.is_some_and(|word| word.role.is_some());
    match standing.unwrap_or_default() {
        Standing::Active => Ok(()),
        Standing::Suspended if belongs => Err(Error::OrganizationSuspended),
        Standing::Deleted if belongs => Err(Error::OrganizationDeleted),
        Standing::Pending | Standing::Suspended | Standing::Deleted | Standing::Purged => Err(Error::NotAMember),
    }
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
        self.may_look(&mut tx, caller).await?;
        let here = match caller.branch {
            Some(branch) => branches::context(&mut tx, caller.session, branch.as_bytes()).await?,
            None => None,
        };
        let here = here.unwrap_or(caller.context);
        let user = users::by_id(&mut tx, caller.user).await?.ok_or(Error::SessionEnded)?;
        drop(tx);
        let mut rows = Vec::new();
        if page.after().is_none() {
            let owner = OwnerId::User(user.id);
            let current = here == owner;
            rows.push(ContextView { owner, display_name: user.display_name, slug: String::new(), role: None, current });
        }
        let room = page.size() as usize - rows.len();
        if room == 0 {
            // Nothing but the personal context fits: the organizations begin on the next page.
            return Ok(Page::foreign(rows, page.token(&String::new())?));
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
                current: here == owner,
            });
        }
        let next_page_token = match listed.next_page_token {
            token if token.is_empty() => token,
            token => page.token(&token)?,
        };
        Ok(Page::foreign(rows, next_page_token))
    }

    /// Begins a branch of the caller's session in a context and gives a pair for it. The refresh token before keeps its
    /// own branch and its context, so a client that loses this answer is still signed in; but it is one that was left, and
    /// ends when nobody uses it for a day. Organization is asked between two mutations.
    pub async fn switch_context(&self, asked: &Asked<OwnerId>) -> Result<Tokens, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.may_ask(&mut m, asked).await;
        let owner = match self.0.mutations.look(m, looked).await? {
            Looked::On(owner) => owner,
            Looked::Before(answer) => return shown_once(answer),
        };
        let caller = asked.user()?;
        let live = match owner {
            OwnerId::User(user) if user == caller.user => Word::NOTHING,
            OwnerId::User(_) => return Err(Error::NotAMember),
            OwnerId::Organization(organization) => {
                let (standing, told) = (self.0.members.standing(owner), self.0.members.word(owner, caller.user));
                demand_open(Some(standing.await?), told.await?)?;
                let live = self.live_membership(caller.user, organization).await?;
                live.word.role.ok_or(Error::NotAMember)?;
                demand_open(Some(live.standing), Some(live.word))?;
                live.word
            }
        };
        let key = self.0.signer.current().await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.switch(&mut m, asked, live, &key).await;
        shown_once(self.0.mutations.end(m, done).await?)
    }

    async fn switch(
        &self,
        m: &mut Mutation,
        asked: &Asked<OwnerId>,
        live: Word,
        key: &RingKey,
    ) -> Result<Done<Tokens, Payload>, Error> {
        let caller = asked.user()?;
        let now = m.now();
        // The caller's standing. The lock keeps a SignOut at the same time from being outlived by the new token.
        let session = still_live(sessions::by_id_locked(m.tx(), caller.session).await?, caller, now)?;
        m.admit(OwnerId::User(caller.user));
        let Some(&owner) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&owner);
        let user = users::by_id(m.tx(), caller.user).await?.ok_or(Error::SessionEnded)?;
        demand_staying(&user)?;
        let mut membership = live;
        if owner.organization().is_some() {
            membership = words::later(m.tx(), (owner, user.id), live).await?;
            membership.role.ok_or(Error::NotAMember)?;
            demand_open(standings::of(m.tx(), &[owner]).await?.remove(&owner), Some(membership))?;
            if !admits(m.tx(), owner, caller.methods).await? {
                return Err(Error::SecondFactorRequired);
            }
        }
        let policy = &self.0.config.refresh;
        sessions::touch(m.tx(), session.id, owner, now, policy.session_end(session.created_at, now)).await?;
        if let Some(branch) = caller.branch {
            let until = policy.token_end(session.created_at, true, now);
            branches::leave(m.tx(), session.id, branch.as_bytes(), now, until).await?;
        }
        // Switching proves nothing anew: the branch inherits how and when the caller's was proved.
        let authenticated_at = caller.authenticated_at.unwrap_or(session.created_at);
        let proof = Proof {
            branch: self.new_branch(),
            authenticated_at,
            methods: caller.methods,
            context: owner,
            left_at: None,
        };
        let refresh = self.issue_refresh(m.tx(), &session, proof, now).await?;
        branches::trim(m.tx(), session.id, MOST_BRANCHES).await?;
        let tokens = self.hand_out(key, &user, session.id, (owner, membership), &refresh)?;
        Ok(Done::New(tokens, Vec::new()))
    }
}

/// Whether the policies of a context let a branch in whose user proved who it is by these means. Before the first word of
/// policies nobody is kept out here: organization knows them itself, and billing is not ready yet.
pub(super) async fn admits(tx: &mut Tx, context: OwnerId, methods: AuthMethods) -> Result<bool, Error> {
    if context.organization().is_none() {
        return Ok(true);
    }
    let policy = policies::of(tx, &[context]).await?.of(context);
    Ok(policy.is_none_or(|policy| policy.admits_methods(methods)))
}
