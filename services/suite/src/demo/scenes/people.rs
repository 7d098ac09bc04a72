//! Two people get accounts.

use bursar_proto::identity::v1::{GetMeRequest, SignInRequest, SignUpRequest, TokenSet, VerifyEmailRequest};

use super::{Actor, Play, expect_text};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// The password of everybody in this story.
const PASSWORD: &str = "correct horse battery staple";

pub(super) async fn meet(stage: &mut Stage, play: &mut Play) -> anyhow::Result<(Actor, Actor)> {
    stage.act("Two people")?;
    Ok((join(stage, play, "Ada").await?, join(stage, play, "Ben").await?))
}

async fn join(stage: &mut Stage, play: &mut Play, name: &'static str) -> anyhow::Result<Actor> {
    let email = format!("{}.{}@example.com", name.to_lowercase(), play.run);
    let sign_up = SignUpRequest { email: email.clone(), password: PASSWORD.to_owned(), display_name: name.to_owned() };
    stage
        .step(&format!("{name} signs up"), "UserService/SignUp", async {
            answer(play.wire.users().sign_up(sign_up).await)?;
            Ok(((), format!("a mail goes to {email}")))
        })
        .await?;
    let (users, mail) = (play.wire.users(), &mut play.mail);
    stage
        .step(&format!("{name} opens the mailed link"), "UserService/VerifyEmail", async {
            let token = mail.token(&email).await?;
            answer(users.clone().verify_email(VerifyEmailRequest { token }).await)?;
            Ok(((), "the address is proven".to_owned()))
        })
        .await?;
    stage
        .step(&format!("{name} signs in"), "SessionService/SignIn", async {
            let actor = sign_in(play, name, &email).await?;
            let shown = format!("{}, in the personal context", actor.user);
            Ok((actor, shown))
        })
        .await
}

/// Begins a session, which begins in the personal context.
pub(super) async fn sign_in(play: &Play, name: &'static str, email: &str) -> anyhow::Result<Actor> {
    let request = SignInRequest { email: email.to_owned(), password: PASSWORD.to_owned(), ..SignInRequest::default() };
    let tokens = part(answer(play.wire.sessions().sign_in(request).await)?.tokens, "tokens")?;
    let wire = play.wire.with_token(&tokens.access_token)?;
    let me = part(answer(wire.users().get_me(GetMeRequest {}).await)?.user, "user")?;
    expect_text("the address", &me.email, email)?;
    anyhow::ensure!(me.email_verified, "the address should be proven");
    expect_text("the context of a new session", &tokens.owner, &me.id)?;
    Ok(Actor { name, email: me.email, user: me.id, wire, refresh_token: tokens.refresh_token })
}

/// The same actor with other tokens.
pub(super) fn with(actor: &Actor, play: &Play, tokens: TokenSet) -> anyhow::Result<Actor> {
    let wire = play.wire.with_token(&tokens.access_token)?;
    // Switching the context gives no new refresh token where the session keeps the one it has.
    let refresh_token = Some(tokens.refresh_token).filter(|token| !token.is_empty());
    Ok(Actor { wire, refresh_token: refresh_token.unwrap_or(actor.refresh_token.clone()), ..actor.clone() })
}
