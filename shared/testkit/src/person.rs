//! A person who uses Bursar over its public API, from signing up on.

use bursar_proto::identity::v1::{
    GetMeRequest, SignInRequest, SignUpRequest, SwitchContextRequest, TokenSet, VerifyEmailRequest,
};

use crate::{client::Client, mailbox::Mailbox};

/// Every test person's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Somebody who has signed up, proven the address and signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// `usr_…`, also the owner id of the personal context.
    pub user: String,
    /// The mail address.
    pub email: String,
    /// The tokens of the session, in the context last switched to.
    pub tokens: TokenSet,
    client: Client,
}

impl Person {
    /// Signs up as `<name>@example.com`, follows the link in the mail and signs in.
    pub async fn join(anybody: &Client, mailbox: &Mailbox, name: &str) -> Self {
        let email = format!("{}@example.com", name.to_lowercase());
        Self::sign_up(anybody, name, &email).await;
        let token = mailbox.next_token(&email).await;
        let verified = anybody.users().verify_email(VerifyEmailRequest { token }).await;
        verified.unwrap_or_else(|status| panic!("{name} cannot verify {email}: {status:?}"));
        Self::sign_in(anybody, &email).await
    }

    /// Signs up and does no more.
    pub async fn sign_up(anybody: &Client, name: &str, email: &str) {
        let request =
            SignUpRequest { email: email.to_owned(), password: PASSWORD.to_owned(), display_name: name.to_owned() };
        let answer = anybody.users().sign_up(request).await;
        answer.unwrap_or_else(|status| panic!("{name} cannot sign up: {status:?}"));
    }

    /// Signs in; the session begins in the personal context.
    pub async fn sign_in(anybody: &Client, email: &str) -> Self {
        let request =
            SignInRequest { email: email.to_owned(), password: PASSWORD.to_owned(), ..SignInRequest::default() };
        let answer = anybody.sessions().sign_in(request).await;
        let answer = answer.unwrap_or_else(|status| panic!("{email} cannot sign in: {status:?}"));
        let tokens = answer.into_inner().tokens.expect("tokens for who has signed in");
        let client = anybody.with_token(&tokens.access_token);
        let me = client.users().get_me(GetMeRequest {}).await;
        let me = me.unwrap_or_else(|status| panic!("{email} cannot see the own account: {status:?}"));
        let user = me.into_inner().user.expect("an account").id;
        Self { user, email: email.to_owned(), tokens, client }
    }

    /// The same person and session in another context. The first value keeps its own: two tokens of one session may
    /// carry two contexts.
    #[must_use]
    pub async fn in_context(&self, owner: &str) -> Self {
        let request = SwitchContextRequest { owner: owner.to_owned() };
        let answer = self.client.contexts().switch_context(request).await;
        let answer = answer.unwrap_or_else(|status| panic!("{} cannot switch to {owner}: {status:?}", self.email));
        let tokens = answer.into_inner().tokens.expect("tokens of the new context");
        Self { client: self.client.with_token(&tokens.access_token), tokens, ..self.clone() }
    }

    /// Clients that carry this person's token.
    pub fn client(&self) -> &Client {
        &self.client
    }
}
