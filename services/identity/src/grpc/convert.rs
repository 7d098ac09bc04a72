//! Between the API's messages and what the use cases work with.

use bursar_email::Email;
use bursar_id::{OwnerId, SessionId};
use bursar_proto::identity::v1::{
    Context, ContextKind, FindUserResponse, IssueUserTokenResponse, ListedUser, ServiceAccount, Session, Suspension,
    TokenSet, User,
};
use bursar_rpc::convert::{to_optional_role, to_timestamp};
use bursar_rpc::document::to_struct;
use bursar_rpc::{Stored, Violations};
use tonic::Request;

use crate::usecase::{
    ContextView, Found, ListedRow, Me, NewSecret, ServiceAccountRow, SessionView, SuspensionRow, Tokens, UserRow,
    UserToken,
};

/// What of a client's `user-agent` is kept, in characters.
const USER_AGENT_CHARACTERS: usize = 200;

/// Reads an address that mail can be sent to.
pub(super) fn email(violations: &mut Violations, text: &str) -> Option<Email> {
    violations.check("email", Email::parse(text))
}

/// What the client calls itself, cut to a bearable length.
pub(super) fn user_agent<T>(request: &Request<T>) -> String {
    let text = request.metadata().get("user-agent").and_then(|value| value.to_str().ok());
    text.unwrap_or_default().chars().take(USER_AGENT_CHARACTERS).collect()
}

/// The address is kept nowhere else than with the user: a repetition is told it from there.
impl Stored for Me {
    type Message = User;
    fn to_message(&self) -> User {
        User { email: String::new(), ..me(self.clone()) }
    }
}

/// An operator's answers outlive the account: they hold nothing of it but the id, and which suspension it was. A repetition is
/// told the rest as it is then.
impl Stored for Found {
    type Message = FindUserResponse;
    fn to_message(&self) -> FindUserResponse {
        let user = User { id: self.user.id.to_string(), ..User::default() };
        let suspension = self.suspension.as_ref();
        let since = |row: &SuspensionRow| Suspension { since: Some(to_timestamp(row.since)), reason: String::new() };
        FindUserResponse { user: Some(user), suspension: suspension.map(since) }
    }
}

/// A token is shown once: only when it expires is kept.
impl Stored for UserToken {
    type Message = IssueUserTokenResponse;
    fn to_message(&self) -> IssueUserTokenResponse {
        IssueUserTokenResponse { access_token: String::new(), expires_at: Some(to_timestamp(self.expires_at)) }
    }
}

impl Stored for ServiceAccountRow {
    type Message = ServiceAccount;
    fn to_message(&self) -> ServiceAccount {
        service_account(self.clone())
    }
}

/// A secret is shown once: only the account is kept.
impl Stored for NewSecret {
    type Message = ServiceAccount;
    fn to_message(&self) -> ServiceAccount {
        self.account.to_message()
    }
}

/// Tokens are shown once: nothing of them is kept.
impl Stored for Tokens {
    type Message = ();
    fn to_message(&self) {}
}

/// A user as its holder sees it.
pub(super) fn me(me: Me) -> User {
    User { preferences: Some(to_struct(me.preferences)), ..user(me.user) }
}

/// A user as services see it.
pub(super) fn user(row: UserRow) -> User {
    User {
        id: row.id.to_string(),
        email: row.email,
        email_verified: row.email_verified_at.is_some(),
        display_name: row.display_name,
        created_at: Some(to_timestamp(row.created_at)),
        preferences: None,
    }
}

/// A user as operators see it.
pub(super) fn found(found: Found) -> FindUserResponse {
    FindUserResponse { user: Some(user(found.user)), suspension: found.suspension.map(suspension) }
}

/// A user in a list of operators'.
pub(super) fn listed(row: ListedRow) -> ListedUser {
    ListedUser {
        suspension: row.suspension().map(suspension),
        leaving_since: row.user.leaving_since.map(to_timestamp),
        user: Some(user(row.user)),
    }
}

/// That a user is suspended, with the operator's words.
fn suspension(row: SuspensionRow) -> Suspension {
    Suspension { since: Some(to_timestamp(row.since)), reason: row.reason }
}

/// A session; `current` is the one of the call.
pub(super) fn session(view: SessionView, current: SessionId) -> Session {
    let row = view.session;
    Session {
        id: row.id.to_string(),
        owner: row.context.to_string(),
        created_at: Some(to_timestamp(row.created_at)),
        last_used_at: Some(to_timestamp(row.last_used_at)),
        expires_at: Some(to_timestamp(row.expires_at)),
        user_agent: row.user_agent,
        current: row.id == current,
        left_branches: i32::try_from(view.left_branches).unwrap_or(i32::MAX),
    }
}

/// A fresh pair of tokens.
pub(super) fn tokens(tokens: Tokens) -> TokenSet {
    TokenSet {
        access_token: tokens.access_token,
        access_token_expires_at: Some(to_timestamp(tokens.access_expires_at)),
        refresh_token: tokens.refresh_token.expose().clone(),
        refresh_token_expires_at: Some(to_timestamp(tokens.refresh_expires_at)),
        session_id: tokens.session.to_string(),
        owner: tokens.owner.to_string(),
    }
}

/// A context.
pub(super) fn context(view: ContextView) -> Context {
    let kind = match view.owner {
        OwnerId::User(_) => ContextKind::Personal,
        OwnerId::Organization(_) => ContextKind::Organization,
    };
    Context {
        owner: view.owner.to_string(),
        kind: kind.into(),
        display_name: view.display_name,
        slug: view.slug,
        role: to_optional_role(view.role).into(),
        current: view.current,
    }
}

/// A service account, without its secret.
pub(super) fn service_account(row: ServiceAccountRow) -> ServiceAccount {
    ServiceAccount {
        id: row.id.to_string(),
        display_name: row.display_name,
        role: row.role,
        disabled: row.disabled_at.is_some(),
        created_at: Some(to_timestamp(row.created_at)),
    }
}
