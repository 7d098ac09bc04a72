//! People get accounts, and go into contexts.

use bursar_proto::identity::v1::{
    GetMeRequest, RefreshRequest, SignInRequest, SignUpRequest, TokenSet, VerifyEmailRequest,
};

use super::{Actor, PATIENCE, Play, eventually, expect_text};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// The password of everybody in these stories.
const PASSWORD: &str = "correct horse battery staple";

/// Two people, step by step.
pub(in crate::demo) async fn meet(stage: &mut Stage, play: &mut Play) -> anyhow::Result<(Actor, Actor)> {
    stage.act("Two people")?;
    Ok((join(stage, play, "Ada").await?, join(stage, play, "Ben").await?))
}

/// Somebody new, step by step.
pub(in crate::demo) async fn join(stage: &mut Stage, play: &mut Play, name: &'static str) -> anyhow::Result<Actor> {
    let email = address(play, name);
    stage
        .step(&format!("{name} signs up"), "UserService/SignUp", async {
            sign_up(play, name, &email).await?;
            Ok(((), format!("a mail goes to {email}")))
        })
        .await?;
    stage
        .step(&format!("{name} opens the mailed link"), "UserService/VerifyEmail", async {
            verify(play, &email).await?;
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

/// Somebody new, in one step.
pub(in crate::demo) async fn arrive(stage: &mut Stage, play: &mut Play, name: &'static str) -> anyhow::Result<Actor> {
    let email = address(play, name);
    stage
        .step(&format!("{name} joins in the same way"), "UserService/SignUp", async {
            sign_up(play, name, &email).await?;
            verify(play, &email).await?;
            let actor = sign_in(play, name, &email).await?;
            let shown = format!("{}, in the personal context", actor.user);
            Ok((actor, shown))
        })
        .await
}

fn address(play: &Play, name: &str) -> String {
    format!("{}.{}@example.com", name.to_lowercase(), play.run())
}

async fn sign_up(play: &Play, name: &str, email: &str) -> anyhow::Result<()> {
    let request =
        SignUpRequest { email: email.to_owned(), password: PASSWORD.to_owned(), display_name: name.to_owned() };
    answer(play.wire.users().sign_up(request).await)?;
    Ok(())
}

async fn verify(play: &mut Play, email: &str) -> anyhow::Result<()> {
    let token = play.mail.token(email).await?;
    answer(play.wire.users().verify_email(VerifyEmailRequest { token }).await)?;
    Ok(())
}

/// Begins a session, which begins in the personal context.
pub(in crate::demo) async fn sign_in(play: &Play, name: &'static str, email: &str) -> anyhow::Result<Actor> {
    let request = SignInRequest { email: email.to_owned(), password: PASSWORD.to_owned(), ..SignInRequest::default() };
    let tokens = part(answer(play.wire.sessions().sign_in(request).await)?.tokens, "tokens")?;
    let wire = play.wire.with_token(&tokens.access_token)?;
    let me = part(answer(wire.users().get_me(GetMeRequest {}).await)?.user, "user")?;
    expect_text("the address", &me.email, email)?;
    anyhow::ensure!(me.email_verified, "the address should be proven");
    expect_text("the context of a new session", &tokens.owner, &me.id)?;
    Ok(Actor {
        name,
        email: me.email,
        user: me.id,
        owner: tokens.owner,
        wire,
        refresh_token: tokens.refresh_token,
        run: play.run.clone(),
    })
}

/// The same actor with other tokens.
pub(in crate::demo) fn with(actor: &Actor, play: &Play, tokens: TokenSet) -> anyhow::Result<Actor> {
    let wire = play.wire.with_token(&tokens.access_token)?;
    // Switching the context gives no new refresh token where the session keeps the one it has.
    let refresh_token = Some(tokens.refresh_token).filter(|token| !token.is_empty());
    Ok(Actor {
        wire,
        owner: tokens.owner,
        refresh_token: refresh_token.unwrap_or(actor.refresh_token.clone()),
        ..actor.clone()
    })
}

/// The same actor in another context. The first value keeps its own.
pub(in crate::demo) async fn switch(actor: &Actor, play: &Play, owner: &str) -> anyhow::Result<Actor> {
    let tokens = part(answer(actor.enter(owner).await)?.tokens, "tokens")?;
    expect_text("the new token's context", &tokens.owner, owner)?;
    with(actor, play, tokens)
}

/// The same actor after refreshing: in the organization into which founding it has moved this branch of the session.
pub(in crate::demo) async fn follow(actor: &Actor, play: &Play, organization: &str) -> anyhow::Result<Actor> {
    let mut refresh_token = actor.refresh_token.clone();
    let tokens = eventually("the move into the new organization", PATIENCE, async || {
        let request = RefreshRequest { refresh_token: refresh_token.clone() };
        let tokens = part(answer(play.wire.sessions().refresh(request).await)?.tokens, "tokens")?;
        refresh_token.clone_from(&tokens.refresh_token);
        Ok((tokens.owner == organization).then_some(tokens))
    })
    .await?;
    with(actor, play, tokens)
}
