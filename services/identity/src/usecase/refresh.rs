//! Exchanging a refresh token for a new pair.
//!
//! What somebody is in an organization is asked of organization, before the token is rotated. When organization does not
//! answer, the last that it told serves, if it told anything, of late (`max_staleness`), and nothing of this organization
//! that could not be read; otherwise the token stays as it is, and nobody is told what may not be so.

use std::time::Duration;

use bursar_db::Tx;
use bursar_id::{OwnerId, SessionId, UserId};
use bursar_members::{Standing, Word, standings, words};
use bursar_secret::Token;

use super::contexts::admits;
use super::departures::demand_staying;
use super::operators::demand_not_suspended;
use super::organizations::Live;
use super::rations::Ration;
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

/// What is known of a refresh token before anything is locked.
struct Presented {
    /// Its session.
    session: SessionId,
    /// How often that is refreshed.
    ration: Ration,
    /// Which organization was asked about, if about any.
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
        let presented = self.look_at(digest).await?;
        let mut tx = self.0.db.begin().await?;
        let held = presented.ration.hold(&mut tx, self.now()).await?;
        let session = sessions::by_id_locked(&mut tx, presented.session).await?.ok_or(Error::RefreshTokenInvalid)?;
        demand_not_suspended(&mut tx, session.user_id).await?;
        // Again under the session's lock: a twin may have rotated the token while this call waited.
        let token = branches::token(&mut tx, digest).await?.ok_or(Error::RefreshTokenInvalid)?;
        let now = self.believed()?;
        let decision = decide_refresh(&state(&token, &session), &self.0.config.refresh, now);
        let proof = match decision {
            RefreshDecision::Rotate | RefreshDecision::Forgive => proof(&mut tx, &token, &session).await?,
            RefreshDecision::Refuse => return Err(Error::RefreshTokenInvalid),
            RefreshDecision::EndSession => {
                sessions::end(&mut tx, session.id, now, EndReason::TokenReused).await?;
                tx.commit().await?;
                tracing::warn!(session = %session.id, "a rotated refresh token came back: the session has ended");
                return Err(Error::RefreshTokenInvalid);
            }
        };
        let again = decision == RefreshDecision::Forgive;
        presented.ration.take(&mut tx, &held, again, now).await?;
        if !again {
            branches::retire(&mut tx, session.id, &token.branch, now).await?;
        }
        let user = users::by_id(&mut tx, session.user_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        demand_staying(&user)?;
        if proof.context.organization().is_some() && presented.about != Some(proof.context) {
            return Ok(None);
        }
        let mut membership = self.membership(&mut tx, user.id, proof.context, presented.live).await?;
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

    /// Looks at a refresh token, and asks organization about the membership that a successor needs. Nothing is asked when it
    /// needs none, when the token ends its session, and when its ration is used up; one that is refused is refused here.
    async fn look_at(&self, digest: &[u8]) -> Result<Presented, Error> {
        let mut tx = self.0.db.read().await?;
        let token = branches::token(&mut tx, digest).await?.ok_or(Error::RefreshTokenInvalid)?;
        let session = sessions::by_id(&mut tx, token.session_id).await?.ok_or(Error::RefreshTokenInvalid)?;
        let (policy, now) = (&self.0.config.refresh, self.now());
        let ration = Ration::of(session.id, session.user_id, policy.most_per_hour);
        let decision = decide_refresh(&state(&token, &session), policy, now);
        if decision == RefreshDecision::Refuse {
            // Whatever is over stays over: nothing is locked to find that out again.
            demand_not_suspended(&mut tx, session.user_id).await?;
            return Err(Error::RefreshTokenInvalid);
        }
        let unasked = Presented { session: session.id, ration, about: None, live: None };
        if !matches!(decision, RefreshDecision::Rotate | RefreshDecision::Forgive) {
            return Ok(unasked);
        }
        ration.look(&mut tx, decision == RefreshDecision::Forgive, now).await?;
        let owner = proof(&mut tx, &token, &session).await?.context;
        drop(tx);
        let Some(organization) = owner.organization() else { return Ok(unasked) };
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
        Ok(Presented { about: Some(owner), live, ..unasked })
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

/// What the branch of a token says, which may have moved or been left since that was rotated: its live token knows. A branch
/// without one is over.
async fn proof(tx: &mut Tx, token: &RefreshTokenRow, session: &SessionRow) -> Result<Proof, Error> {
    if token.rotated_at.is_none() {
        return Proof::of(token, session);
    }
    let live = branches::live(tx, session.id, &token.branch).await?.ok_or(Error::RefreshTokenInvalid)?;
    Proof::of(&live, session)
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
