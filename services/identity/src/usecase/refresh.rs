//! Exchanging a refresh token for a new pair.
//!
//! What somebody is in an organization is asked of organization, before the token is rotated. When organization does not
//! answer, the last that it told serves, if it told anything, of late (`max_staleness`), and nothing of this organization
//! that could not be read; otherwise the token stays as it is, and nobody is told what may not be so.

use std::time::Duration;

use bursar_db::Tx;
use bursar_id::{OwnerId, UserId};
use bursar_members::{Standing, Word, standings, words};
use bursar_secret::Token;

use super::contexts::admits;
use super::departures::demand_staying;
use super::operators::demand_not_suspended;
use super::organizations::Live;
use super::tokens::Proof;
use super::{Identity, Tokens};
use crate::Error;
use crate::domain::session::{EndReason, RefreshDecision, RefreshState, decide_refresh};
use crate::store::branches::RefreshTokenRow;
use crate::store::sessions::SessionRow;
use crate::store::{branches, sessions, users};

/// How long organization may take to say what somebody is: it has told before, so nobody waits for long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a refresh begins anew because its branch was moved under it: into an organization that was just made.
const ATTEMPTS: usize = 3;

/// What organization was asked, and what it said.
#[derive(Default)]
struct Answer {
    /// Which organization it was asked about, if about any.
    about: Option<OwnerId>,
    /// What it said; `None` when it did not answer.
    live: Option<Live>,
}

impl Identity {
    /// Rotates a refresh token. The branch's context stays, whatever other branches of the session do; see
    /// `domain/session.rs` for what reuse does.
    pub async fn refresh(&self, token: &str) -> Result<Tokens, Error> {
        let digest = Token::parse(token).map_err(|_| Error::RefreshTokenInvalid)?.digest();
        for _ in 0..ATTEMPTS {
            if let Some(tokens) = self.refresh_as_asked(digest.as_bytes()).await? {
                return Ok(tokens);
            }
        }
        Err(Error::FeedStale)
    }

    /// One attempt; `None`: an event has moved the branch into another organization since organization was asked.
    async fn refresh_as_asked(&self, digest: &[u8]) -> Result<Option<Tokens>, Error> {
        // Before anything is looked up: by a clock that is wrong a good token is over, and one that is over is good.
        self.believed()?;
        let key = self.0.signer.current().await?;
        let answer = self.ask_about(digest).await?;
        let mut tx = self.0.db.begin().await?;
        let found = branches::token(&mut tx, digest).await?.ok_or(Error::RefreshTokenInvalid)?;
        let session = sessions::by_id_locked(&mut tx, found.session_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        demand_not_suspended(&mut tx, session.user_id).await?;
        // Again under the session's lock: a twin may have rotated the token while this call waited.
        let token = branches::token(&mut tx, digest).await?.ok_or(Error::RefreshTokenInvalid)?;
        let now = self.believed()?;
        match decide_refresh(&state(&token, &session), &self.0.config.refresh, now) {
            RefreshDecision::Rotate => {
                branches::retire(&mut tx, session.id, &token.branch, now).await?;
            }
            RefreshDecision::Forgive => {}
            RefreshDecision::Refuse => return Err(Error::RefreshTokenInvalid),
            RefreshDecision::EndSession => {
                sessions::end(&mut tx, session.id, now, EndReason::TokenReused).await?;
                tx.commit().await?;
                tracing::warn!(session = %session.id, "a rotated refresh token came back: the session has ended");
                return Err(Error::RefreshTokenInvalid);
            }
        }
        let user = users::by_id(&mut tx, session.user_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        demand_staying(&user)?;
        let proof = Proof::of(&token, &session)?;
        if proof.context.organization().is_some() && answer.about != Some(proof.context) {
            return Ok(None);
        }
        let mut membership = self.membership(&mut tx, user.id, proof.context, answer.live).await?;
        if !admits(&mut tx, proof.context, proof.methods).await? {
            // The branch stays where it is, and has no place there.
            membership = Word::NOTHING;
        }
        let refresh = self.issue_refresh(&mut tx, &session, proof, now).await?;
        let end = self.0.config.refresh.session_end(session.created_at, now);
        sessions::touch(&mut tx, session.id, proof.context, now, end).await?;
        tx.commit().await?;
        self.hand_out(&key, &user, session.id, (proof.context, membership), &refresh).map(Some)
    }

    /// What organization says now of the membership that a refresh token needs. Nothing is asked when it needs none or is
    /// not good anyway.
    async fn ask_about(&self, digest: &[u8]) -> Result<Answer, Error> {
        let mut tx = self.0.db.read().await?;
        let Some(token) = branches::token(&mut tx, digest).await? else { return Ok(Answer::default()) };
        let Some(session) = sessions::by_id(&mut tx, token.session_id).await? else { return Ok(Answer::default()) };
        drop(tx);
        let decision = decide_refresh(&state(&token, &session), &self.0.config.refresh, self.now());
        let owner = Proof::of(&token, &session)?.context;
        let (RefreshDecision::Rotate | RefreshDecision::Forgive, Some(organization)) = (decision, owner.organization())
        else {
            return Ok(Answer::default());
        };
        let answer = tokio::time::timeout(PATIENCE, self.live_membership(session.user_id, organization)).await;
        let live = match answer {
            Ok(Ok(live)) => Some(live),
            Ok(Err(error)) => {
                tracing::debug!(%error, "organization does not say what somebody is there");
                None
            }
            Err(_) => {
                tracing::debug!("organization takes too long to say what somebody is there");
                None
            }
        };
        Ok(Answer { about: Some(owner), live })
    }

    /// What the user is in the context: the later of what organization says now and of what it has told.
    async fn membership(&self, tx: &mut Tx, user: UserId, context: OwnerId, live: Option<Live>) -> Result<Word, Error> {
        if context.organization().is_none() {
            return Ok(Word::NOTHING);
        }
        let word = if let Some(live) = live {
            words::later(tx, (context, user), live.word).await?
        } else {
            let feed = self.0.members.feed();
            if feed.is_stale() || feed.doubts(context) {
                return Err(Error::FeedStale);
            }
            let told = words::named(tx, &[(context, user)]).await?.remove(&(context, user));
            told.ok_or(Error::FeedStale)?
        };
        // Whoever belongs to an organization that nobody may use, by its word or by its events, is there as somebody who was
        // removed.
        let open = live.is_none_or(|live| live.standing == Standing::Active)
            && standings::of(tx, &[context]).await?.is_empty();
        Ok(if open { word } else { Word::NOTHING })
    }
}

fn state(token: &RefreshTokenRow, session: &SessionRow) -> RefreshState {
    RefreshState {
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        rotated_at: token.rotated_at,
        session_ended_at: session.ended_at,
        session_used_at: session.last_used_at,
        session_expires_at: session.expires_at,
    }
}
