//! Signing in with address and password.

use bursar_db::{Asker, DbError, Tx};
use bursar_email::Email;
use bursar_id::{OwnerId, UserId};
use bursar_members::Word;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, AuthMethods, Done, Mutation, Origin};
use bursar_secret::Secret;
use bursar_time::{Timestamp, latest_beginning};
use tracing::Instrument as _;

use super::attempts::{self, Bucket};
use super::departures::demand_staying;
use super::hashing::{Place, Purpose, Verdict};
use super::operators::demand_not_suspended;
use super::signing::RingKey;
use super::tokens::{Proof, shown_once};
use super::{Identity, Tokens, Turns};
use crate::Error;
use crate::domain::password;
use crate::store::places;
use crate::store::prune::KEEP_PLACES;
use crate::store::sessions::{self, SessionRow};
use crate::store::users::{self, UserRow};

/// Who wants to sign in, and from where.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The address.
    pub email: Email,
    /// The password as typed.
    pub password: Secret,
    /// Where the call comes from.
    pub origin: Origin,
    /// What the client calls itself.
    pub user_agent: String,
}

/// Somebody who knows the password.
struct Proven {
    user: UserId,
    /// The hash that it was checked against.
    stored: String,
    /// The one to store instead, if that is weak.
    stronger: Option<String>,
}

impl Credentials {
    /// What counts a wrong password. At a place where the account succeeded before, no more than what is wrong there
    /// counts: what happens elsewhere, or to others there, refuses nobody the right one.
    fn buckets(&self, known: bool) -> Vec<Bucket<'_>> {
        let key = self.email.key();
        let mut buckets = vec![Bucket::Guess(key, self.origin)];
        if !known {
            let has_neighbours = self.origin.within_site().is_some();
            buckets.extend(has_neighbours.then_some(Bucket::NetworkGuess(key, self.origin)));
            buckets.push(Bucket::Account(key));
            if self.is_told_from_others() {
                buckets.push(Bucket::Place(self.origin));
                buckets.extend(has_neighbours.then_some(Bucket::Network(self.origin)));
            }
        }
        buckets
    }

    /// Whether somebody else who calls is in another place. Whoever stands behind a service that does not state where, or in this
    /// process, cannot be told from the others there.
    const fn is_told_from_others(&self) -> bool {
        matches!(self.origin, Origin::Address(_))
    }
}

impl Identity {
    /// Begins a session in the personal context. An unknown address, a wrong password and a password that
    /// nobody can have get one answer after the same work.
    pub async fn sign_in(&self, asked: &Asked<Credentials>) -> Result<Tokens, Error> {
        let place = self.place_for(asked.command()?).await?;
        // A task of its own, so that an attempt is counted to its end, and its place taken, though its caller hangs up.
        let (identity, asked) = (self.clone(), asked.clone());
        let signing_in = async move { identity.count_and_sign_in(&asked, place).await };
        let signing_in = Asker::current().scope(signing_in);
        tokio::spawn(signing_in.in_current_span()).await.map_err(Error::internal)?
    }

    /// A place to have the password checked at. Where there is none for a stranger it costs one look into the store to find out
    /// that somebody is none: no more than any other public call does, and within the bounds of those. Where nobody can be told
    /// from others none is kept: who gets one there would tell strangers behind the same service whose account it is.
    async fn place_for(&self, credentials: &Credentials) -> Result<Place, Error> {
        match self.0.hasher.join(credentials.origin, Purpose::SignIn) {
            Err(Error::Overloaded) if credentials.is_told_from_others() => {}
            joined => return joined,
        }
        let mut tx = self.0.db.read().await?;
        let now = self.believed()?;
        if !was_here(&mut tx, credentials, now).await? {
            return Err(Error::Overloaded);
        }
        self.0.hasher.join(credentials.origin, Purpose::Known)
    }

    async fn count_and_sign_in(&self, asked: &Asked<Credentials>, place: Place) -> Result<Tokens, Error> {
        let credentials = asked.command()?;
        let key = credentials.email.key();
        let _turn = Turns::wait(&self.0.turns, Bucket::Guess(key, credentials.origin).to_string()).await;
        let mut tx = self.0.db.begin().await?;
        let now = self.believed()?;
        let known = was_here(&mut tx, credentials, now).await?;
        // Nor has anybody an earlier turn there, which would show by the time.
        let place = if known && credentials.is_told_from_others() { place.known() } else { place };
        let buckets = credentials.buckets(known);
        for bucket in &buckets {
            bucket.take(&mut tx, now).await?;
        }
        let user = users::by_email(&mut tx, key).await?;
        tx.commit().await?;

        let outcome = self.check_and_open(asked, place, user, &buckets).await;
        if !matches!(outcome, Ok(_) | Err(Error::CredentialsInvalid)) {
            // Whether the password was right is not known, or it was: what failed is the service.
            self.give_back(&buckets).await;
        }
        outcome
    }

    async fn check_and_open(
        &self,
        asked: &Asked<Credentials>,
        place: Place,
        user: Option<UserRow>,
        buckets: &[Bucket<'_>],
    ) -> Result<Tokens, Error> {
        let credentials = asked.command()?;
        let proven = self.check(place, credentials, user).await?;
        let key = self.0.signer.current().await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.open_session(&mut m, credentials, &proven, buckets, &key).await;
        shown_once(self.0.mutations.end(m, done).await?)
    }

    /// Whether the password is the user's, if there is one.
    async fn check(&self, place: Place, credentials: &Credentials, user: Option<UserRow>) -> Result<Proven, Error> {
        let plausible = password::plausible(credentials.password.expose());
        let stored = user.as_ref().filter(|_| plausible).map(|user| user.password_hash.clone());
        let Verdict { matches, stronger } = self.0.hasher.verify(place, credentials.password.clone(), stored).await?;
        let user = user.filter(|_| matches).ok_or(Error::CredentialsInvalid)?;
        Ok(Proven { user: user.id, stored: user.password_hash, stronger })
    }

    /// What somebody with the right password gets. The attempt was none.
    async fn open_session(
        &self,
        m: &mut Mutation,
        credentials: &Credentials,
        proven: &Proven,
        buckets: &[Bucket<'_>],
        key: &RingKey,
    ) -> Result<Done<Tokens, Payload>, Error> {
        for bucket in buckets {
            bucket.give_back(m.tx()).await?;
        }
        // The user may have been deleted while the password was checked.
        let user = users::by_id_locked(m.tx(), proven.user).await?.ok_or(Error::CredentialsInvalid)?;
        demand_staying(&user)?;
        demand_not_suspended(m.tx(), user.id).await?;
        if user.password_hash != proven.stored {
            // The password is another one by now: that of whoever has proven the address. Checked again, it will show.
            return Err(DbError::Serialization.into());
        }
        let now = m.now();
        self.remember(m, &user, credentials, proven, now).await?;
        let owner = OwnerId::User(user.id);
        let session = SessionRow {
            id: self.new_session_id(now),
            user_id: user.id,
            context: owner,
            user_agent: credentials.user_agent.clone(),
            created_at: now,
            last_used_at: now,
            expires_at: self.0.config.refresh.session_end(now, now),
            ended_at: None,
        };
        m.prove(&user.id);
        m.admit(owner);
        m.about(&session.id);
        sessions::insert(m.tx(), &session).await?;
        let proof = Proof {
            branch: self.new_branch(),
            authenticated_at: now,
            methods: AuthMethods::PASSWORD,
            context: owner,
            left_at: None,
        };
        let refresh = self.issue_refresh(m.tx(), &session, proof, now).await?;
        let tokens = self.hand_out(key, &user, session.id, (owner, Word::NOTHING), &refresh)?;
        Ok(Done::New(tokens, Vec::new()))
    }

    /// Remembers the place, and a stronger hash of the password.
    async fn remember(
        &self,
        m: &mut Mutation,
        user: &UserRow,
        credentials: &Credentials,
        proven: &Proven,
        now: Timestamp,
    ) -> Result<(), Error> {
        let here = attempts::place(credentials.email.key(), credentials.origin);
        places::note(m.tx(), user.id, &here, now).await?;
        if let Some(stronger) = &proven.stronger {
            users::strengthen(m.tx(), user.id, &proven.stored, stronger).await?;
            tracing::info!(user = %user.id, "raised a weak password hash");
        }
        Ok(())
    }
}

/// Whether the account, if there is one, was signed in to from here before.
async fn was_here(tx: &mut Tx, credentials: &Credentials, now: Timestamp) -> Result<bool, DbError> {
    let key = credentials.email.key();
    let here = attempts::place(key, credentials.origin);
    places::is_known(tx, key, &here, (now.saturating_sub(KEEP_PLACES), latest_beginning(now))).await
}
