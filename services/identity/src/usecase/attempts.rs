//! Counting attempts. A sign-in takes its attempt before the password is looked at and gives it back when it succeeds,
//! so a hundred guesses at once are as many as a hundred in a row; and when the password could not be looked at, so that
//! nobody's flood locks others out.

use std::net::IpAddr;

use bursar_db::Tx;
use bursar_time::Timestamp;

use super::Identity;
use crate::Error;
use crate::domain::throttle::{Throttle, Verdict};
use crate::store::throttles;

/// The network address of a caller; callers in the same process have none and share one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(pub Option<IpAddr>);

impl Origin {
    fn bucket(self) -> String {
        match self.0.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => format!("address:{ip}"),
            // Whoever has one IPv6 address has a /64 of them.
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments();
                format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            None => "address:local".to_owned(),
        }
    }
}

/// What a bucket counts.
#[derive(Clone, Copy, Debug)]
pub enum Bucket<'a> {
    /// Wrong passwords for one address, whether it has an account or not.
    Account(&'a str),
    /// Wrong credentials from one network address.
    Address(Origin),
    /// Mails to one address.
    Mail(&'a str),
}

impl Bucket<'_> {
    fn name(self) -> String {
        match self {
            Self::Account(email_key) => format!("account:{email_key}"),
            Self::Address(origin) => origin.bucket(),
            Self::Mail(email_key) => format!("mail:{email_key}"),
        }
    }

    fn throttle(self) -> Throttle {
        match self {
            Self::Account(_) => Throttle::ACCOUNT,
            Self::Address(_) => Throttle::ADDRESS,
            Self::Mail(_) => Throttle::MAIL,
        }
    }

    /// Takes one attempt, or says how long to wait for it. The row stays locked until the transaction ends.
    pub async fn take(self, tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
        let name = self.name();
        let drained = throttles::drained_at(tx, &name, now).await?;
        match self.throttle().admit(Some(drained), now) {
            Verdict::Admit(drained) => Ok(throttles::set(tx, &name, drained).await?),
            Verdict::Wait(retry_after) => Err(Error::TooManyAttempts { retry_after }),
        }
    }

    /// Gives back an attempt that turned out to be none.
    pub async fn give_back(self, tx: &mut Tx) -> Result<(), Error> {
        Ok(throttles::give_back(tx, &self.name(), self.throttle().leak).await?)
    }
}

impl Identity {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tell_origins_apart() {
        let cases = [
            (Some("192.0.2.7"), "address:192.0.2.7"),
            (Some("::ffff:192.0.2.7"), "address:192.0.2.7"),
            (Some("2001:db8:1:2:3:4:5:6"), "address:2001:db8:1:2::/64"),
            (Some("2001:db8:1:2::9"), "address:2001:db8:1:2::/64"),
            (None, "address:local"),
        ];
        for (ip, expected) in cases {
            let origin = Origin(ip.map(|ip| ip.parse().expect("an address")));
            assert_eq!(Bucket::Address(origin).name(), expected);
        }
    }
}
