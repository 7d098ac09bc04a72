//! Counting attempts. A sign-in takes its attempt before the password is looked at and gives it back when it succeeds,
//! so a hundred guesses at once are as many as a hundred in a row; and when hashing failed. A flood is refused before
//! anything is counted, so that it locks nobody out.
//!
//! Nothing is counted by what an attacker shares with the victim alone. Wrong passwords are counted by account *and*
//! place; those for one account from everywhere, and those for all accounts from one place, are counted, too, but refuse
//! nobody at a place where the account succeeded before. One holder may have many places in one network, so what is counted by
//! place is counted by its network once more, with about ten times the room: but for wrong passwords for one account, which
//! have no more there than at one place, and mails to one address, which are counted by the network alone. Names of buckets hold
//! no address, only its digest.

use std::fmt;

use bursar_db::{DbError, Tx};
use bursar_email::digest;
use bursar_id::{SessionId, UserId};
use bursar_rpc::Origin;
use bursar_time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Identity;
use crate::Error;
use crate::domain::throttle::{Throttle, Verdict};
use crate::store::throttles;

/// Sessions of one user whose refreshes fit beside one another.
const SESSIONS: u32 = 10;
/// Refreshes that are asked for again within the grace, for which there is room when there is none for others: whoever has lost an
/// answer would find the session ended after it.
const AGAIN: u32 = 100;

/// What a bucket counts.
#[derive(Clone, Copy, Debug)]
pub enum Bucket<'a> {
    /// Wrong passwords for one account, whether it exists or not, from one place.
    Guess(&'a str, Origin),
    /// The same from one network, at places where it never succeeded.
    NetworkGuess(&'a str, Origin),
    /// Wrong passwords for one account from places where it never succeeded.
    Account(&'a str),
    /// Wrong passwords from one place, for accounts that never succeeded there.
    Place(Origin),
    /// The same from one network.
    Network(Origin),
    /// Wrong secrets of services from one place.
    Secrets(Origin),
    /// The same from one network.
    NetworkSecrets(Origin),
    /// Sign-ups from one place, or through one service that does not say where its callers are.
    SignUps(Origin),
    /// Sign-ups from one network.
    NetworkSignUps(Origin),
    /// Mails to one address that sign-ups from one network cause.
    SignUpMail(&'a str, Origin),
    /// The same, from everywhere.
    SignUpMails(&'a str),
    /// Verifications that are mailed again to one address, asked for from one network.
    Verification(&'a str, Origin),
    /// The same, from everywhere.
    Verifications(&'a str),
    /// Mails about one document.
    Invoice(&'a str),
    /// Mails about one person's invoices.
    Invoices(UserId),
    /// Mails about one percentage of a limit or an allowance that was reached in one window or period.
    Alert(&'a str),
    /// Mails about the limits of one person's own account.
    LimitAlerts(UserId),
    /// Mails about its allowances.
    AllowanceAlerts(UserId),
    /// Mails that its top-up was switched off at one instant.
    StoppedTopUp(UserId, Timestamp),
    /// Refreshes of one session: so many at once, and as many an hour from then on.
    Refreshes(SessionId, u32),
    /// Refreshes of all sessions of one user: ten times as many as of one.
    UserRefreshes(UserId, u32),
}

/// The name in the store.
impl fmt::Display for Bucket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guess(key, origin) => write!(f, "guess:{}:{origin}", digest(key)),
            Self::NetworkGuess(key, origin) => write!(f, "network_guess:{}:{}", digest(key), origin.site()),
            Self::Account(key) => write!(f, "account:{}", digest(key)),
            Self::Place(origin) => write!(f, "place:{origin}"),
            Self::Network(origin) => write!(f, "network:{}", origin.site()),
            Self::Secrets(origin) => write!(f, "secret:{origin}"),
            Self::NetworkSecrets(origin) => write!(f, "network_secret:{}", origin.site()),
            Self::SignUps(origin) => write!(f, "sign_up:{origin}"),
            Self::NetworkSignUps(origin) => write!(f, "network_sign_up:{}", origin.site()),
            Self::SignUpMail(key, origin) => write!(f, "sign_up:{}:{}", digest(key), origin.site()),
            Self::SignUpMails(key) => write!(f, "sign_up:{}", digest(key)),
            Self::Verification(key, origin) => write!(f, "verification:{}:{}", digest(key), origin.site()),
            Self::Verifications(key) => write!(f, "verification:{}", digest(key)),
            Self::Invoice(document) => write!(f, "invoice:{document}"),
            Self::Invoices(user) => write!(f, "invoices:{user}"),
            Self::Alert(crossing) => write!(f, "alert:{crossing}"),
            Self::LimitAlerts(user) => write!(f, "limit_alerts:{user}"),
            Self::AllowanceAlerts(user) => write!(f, "allowance_alerts:{user}"),
            Self::StoppedTopUp(user, at) => write!(f, "stopped_top_up:{user}:{}", at.as_micros()),
            Self::Refreshes(session, _) => write!(f, "refresh:{session}"),
            Self::UserRefreshes(user, _) => write!(f, "refresh:{user}"),
        }
    }
}

impl Bucket<'_> {
    fn throttle(self) -> Throttle {
        match self {
            Self::Guess(..) => Throttle::GUESS,
            Self::NetworkGuess(..) => Throttle::NETWORK_GUESS,
            Self::Account(_) => Throttle::ACCOUNT,
            Self::Place(_) | Self::Secrets(_) => Throttle::PLACE,
            Self::Network(_) | Self::NetworkSecrets(_) => Throttle::NETWORK,
            Self::SignUps(Origin::Service(_)) => Throttle::SERVICE_SIGN_UPS,
            Self::SignUps(_) => Throttle::SIGN_UPS,
            Self::NetworkSignUps(_) => Throttle::NETWORK_SIGN_UPS,
            Self::SignUpMail(..) | Self::Verification(..) => Throttle::MAIL,
            Self::SignUpMails(_) | Self::Verifications(_) => Throttle::MAILS,
            Self::Invoice(_) | Self::Alert(_) | Self::StoppedTopUp(..) => Throttle::ONCE,
            Self::Invoices(_) => Throttle::INVOICES,
            Self::LimitAlerts(_) => Throttle::LIMIT_ALERTS,
            Self::AllowanceAlerts(_) => Throttle::ALLOWANCE_ALERTS,
            Self::Refreshes(_, most) => Throttle::hourly(most, AGAIN),
            Self::UserRefreshes(_, most) => Throttle::hourly(most.saturating_mul(SESSIONS), AGAIN * SESSIONS),
        }
    }

    /// What whatever is no repetition has to leave room for: repetitions.
    fn room(self) -> u32 {
        match self {
            Self::Refreshes(..) => AGAIN,
            Self::UserRefreshes(..) => AGAIN * SESSIONS,
            _ => 0,
        }
    }

    /// Takes one attempt, or says how long to wait for it. The row stays locked until the transaction ends.
    pub async fn take(self, tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
        let drained = self.lock(tx, now).await?;
        let drained = self.admit(Some(drained), false, now)?;
        Ok(throttles::set(tx, &self.to_string(), drained).await?)
    }

    /// When it is empty. The row stays locked until the transaction ends.
    pub async fn lock(self, tx: &mut Tx, now: Timestamp) -> Result<Timestamp, DbError> {
        throttles::drained_at(tx, &self.to_string(), now).await
    }

    /// The same without a lock; `None`: never used.
    pub async fn look(self, tx: &mut Tx) -> Result<Option<Timestamp>, DbError> {
        throttles::look(tx, &self.to_string()).await
    }

    /// When it is empty after one more, or how long to wait for that. `again`: what was admitted before is only repeated.
    pub fn admit(self, drained: Option<Timestamp>, again: bool, now: Timestamp) -> Result<Timestamp, Error> {
        let room = if again { 0 } else { self.room() };
        match self.throttle().admit_leaving(room, drained, now) {
            Verdict::Admit(drained) => Ok(drained),
            Verdict::Wait(retry_after) => Err(Error::TooManyAttempts { retry_after }),
        }
    }

    /// Takes one, unless it would be one too many: then nothing is taken, and this is `false`. For what nobody waits for.
    pub async fn fits(self, tx: &mut Tx, now: Timestamp) -> Result<bool, DbError> {
        match self.take(tx, now).await {
            Ok(()) => Ok(true),
            Err(Error::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Whether one more would fit. The row stays locked until the transaction ends.
    pub async fn has_room(self, tx: &mut Tx, now: Timestamp) -> Result<bool, DbError> {
        let drained = self.lock(tx, now).await?;
        Ok(matches!(self.throttle().admit(Some(drained), now), Verdict::Admit(_)))
    }

    /// Gives back an attempt that turned out to be none.
    pub async fn give_back(self, tx: &mut Tx) -> Result<(), DbError> {
        throttles::give_back(tx, &self.to_string(), self.throttle().leak).await
    }
}

impl Identity {
    /// Takes an attempt of each of these buckets, or of none, in a transaction of its own.
    pub(super) async fn take(&self, buckets: &[Bucket<'_>]) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        let now = self.believed()?;
        for bucket in buckets {
            bucket.take(&mut tx, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Gives back attempts of a call that failed before it became one, in a transaction of its own. When that fails, too,
    /// they drain like others.
    pub(super) async fn give_back(&self, buckets: &[Bucket<'_>]) {
        let given = async {
            let mut tx = self.0.db.begin().await?;
            for bucket in buckets {
                bucket.give_back(&mut tx).await?;
            }
            Ok::<_, Error>(tx.commit().await?)
        };
        if let Err(error) = given.await {
            tracing::warn!(?error, "cannot give back attempts that were none");
        }
    }
}

/// The digest by which it is remembered that an account succeeded at a place.
pub(super) fn place(email_key: &str, origin: Origin) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [email_key, origin.to_string().as_str()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut place = [0; 16];
    for (to, from) in place.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_told_apart_and_hold_no_address() {
        let key = "ada@example.com";
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|text| Origin::at(text.parse().expect("an address")));
        let all = [
            Bucket::Guess(key, here),
            Bucket::Guess(key, there),
            Bucket::Guess("bob@example.com", here),
            Bucket::NetworkGuess(key, here),
            Bucket::Account(key),
            Bucket::Place(here),
            Bucket::Network(here),
            Bucket::Secrets(here),
            Bucket::NetworkSecrets(here),
            Bucket::SignUps(here),
            Bucket::NetworkSignUps(here),
            Bucket::SignUpMail(key, here),
            Bucket::SignUpMails(key),
            Bucket::Verification(key, here),
            Bucket::Verifications(key),
            Bucket::Invoice("ivc_1"),
            Bucket::Invoices(UserId::from_parts(1, [0; 10])),
            Bucket::Alert("lim_1::0:10:80"),
            Bucket::LimitAlerts(UserId::from_parts(1, [0; 10])),
            Bucket::AllowanceAlerts(UserId::from_parts(1, [0; 10])),
            Bucket::StoppedTopUp(UserId::from_parts(1, [0; 10]), Timestamp::EPOCH),
            Bucket::StoppedTopUp(UserId::from_parts(1, [0; 10]), Timestamp::MAX),
            Bucket::Refreshes(SessionId::from_parts(1, [0; 10]), 1),
            Bucket::UserRefreshes(UserId::from_parts(1, [0; 10]), 1),
        ];
        let names: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.iter().all(|name| !name.contains("ada") && !name.contains('@')), "{names:?}");
        // These are stored: no later program may name them otherwise.
        let stored = "account:b5fc85e55755f9e0d030a10ab4429b6b";
        assert_eq!(Bucket::Account(key).to_string(), stored);
        let [first, second] =
            ["2001:db8:7:1::1", "2001:db8:7:2::1"].map(|text| Origin::at(text.parse().expect("an address")));
        let by_network: [fn(Origin) -> Bucket<'static>; 6] = [
            |at| Bucket::SignUpMail("a@b", at),
            |at| Bucket::Verification("a@b", at),
            |at| Bucket::NetworkGuess("a@b", at),
            Bucket::Network,
            Bucket::NetworkSecrets,
            Bucket::NetworkSignUps,
        ];
        for bucket in by_network {
            assert_eq!(bucket(first).to_string(), bucket(second).to_string(), "two places of one network");
        }
        assert_ne!(Bucket::SignUps(first).to_string(), Bucket::SignUps(second).to_string());
        assert_ne!(place(key, here), place(key, there));
        assert_ne!(place(key, here), place("bob@example.com", here));
    }
}
