//! Erasing the address of somebody whose account has ended where organization knows it by what others sent alone: invitations of
//! who joined nowhere, what waits to be mailed, what counts mails.
//!
//! No event has an address. So identity names it when it asks whether somebody may leave, which may come to nothing yet: it
//! waits sealed, as a job, until it is known whether the account has ended, and nothing is taken from somebody who stays.

use bursar_db::{DbError, Tx};
use bursar_id::UserId;
use bursar_jobs::{Jobs, Kind};
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::Organization;
use super::rationing::{to_address, to_address_by};
use crate::Error;
use crate::domain::departure::{Departure, Standing};
use crate::store::{invitations, mail_counts, organizations, users};

/// Erasing one address.
pub const FORGETTING: Kind<Forgetting> = Kind::new("organization.forget_address");

/// When it is looked what became of a departure, if nobody tells that the account has ended: identity has then finished it or
/// taken it back.
const UNHEARD: Span = Span::from_mins(2);

/// Organizations in which one attempt takes an address out of invitations at most.
const INVITING: i64 = 100;

/// Which address to erase, and whose it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forgetting {
    /// Whose account ends.
    pub user: UserId,
    /// The address; empty: nobody has named one.
    pub email: String,
    /// By which departure: its incarnation and its number. A program of before names none.
    #[serde(default)]
    pub departure: Option<(u64, u64)>,
}

impl Forgetting {
    fn new(user: UserId, email: &str, Departure { incarnation, number }: Departure) -> Self {
        Self { user, email: email.to_owned(), departure: Some((incarnation, number)) }
    }

    /// Each departure has one of its own: who has stayed may leave by another address later.
    fn key(&self) -> String {
        let (incarnation, number) = self.departure.unwrap_or_default();
        format!("{}/{incarnation}/{number}", self.user)
    }

    /// Whether another departure than this is known to have followed it, so that nobody has left by this one.
    fn is_over(&self, last: Departure) -> bool {
        self.departure.is_some_and(|(incarnation, number)| Departure { incarnation, number } < last)
    }
}

/// How far an address was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It is nowhere any more, or stays, with whose it is.
    All,
    /// There may be more.
    Some,
    /// Nobody knows yet whether the account ends.
    Nothing,
}

/// Has an address erased that somebody about to leave has, if any: when they have gone by this departure, and for one departure once,
/// however often it is named.
pub(super) async fn keep_to_forget(
    tx: &mut Tx,
    jobs: &Jobs,
    (user, departure): (UserId, Departure),
    email: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    if email.is_empty() {
        return Ok(());
    }
    let kept = Forgetting::new(user, email, departure);
    jobs.enqueue(tx, FORGETTING, &kept, now.saturating_add(UNHEARD), Some(&kept.key())).await
}

/// Has what is kept of somebody who has gone erased now, by the last departure that is known. Where nothing is kept there is
/// nothing to do, either.
pub(super) async fn hurry(tx: &mut Tx, jobs: &Jobs, user: UserId, now: Timestamp) -> Result<(), DbError> {
    let nothing = Forgetting::new(user, "", users::person(tx, user).await?.last_departure()?);
    jobs.enqueue(tx, FORGETTING, &nothing, now, Some(&nothing.key())).await
}

impl Organization {
    /// Erases an address of somebody who has gone: some organizations' invitations lose it, of which those that could still be
    /// accepted are taken back; what waits to be mailed there is forgotten, and how much was mailed.
    ///
    /// What was kept for repetitions names who is invited by id alone.
    pub async fn forget_address(&self, forgetting: Forgetting) -> Result<Forgotten, Error> {
        if forgetting.email.is_empty() {
            return Ok(Forgotten::All);
        }
        let (user, email_key) = (forgetting.user, bursar_email::fold(&forgetting.email));
        let mut tx = self.0.db.read().await?;
        let person = users::person(&mut tx, user).await?;
        // Whoever has stayed, and leaves by another address, may have left this one to somebody else.
        if forgetting.is_over(person.last_departure()?) {
            return Ok(Forgotten::All);
        }
        let standing = person.standing();
        let inviting = invitations::naming_address(&mut tx, user, &email_key, INVITING).await?;
        drop(tx);
        match standing {
            Standing::Staying => return Ok(Forgotten::All),
            Standing::Leaving => return Ok(Forgotten::Nothing),
            Standing::Gone => {}
        }
        for organization in &inviting {
            let mut tx = self.0.db.begin().await?;
            // So that nobody sends again meanwhile what is taken back.
            organizations::by_id_locked(&mut tx, *organization).await?;
            let mut senders = invitations::forget_address(&mut tx, *organization, user, &email_key).await?;
            mail_counts::erase(&mut tx, &to_address_by(&email_key, organization)).await?;
            senders.sort_unstable();
            senders.dedup();
            for sender in senders {
                mail_counts::erase(&mut tx, &to_address_by(&email_key, &sender)).await?;
            }
            tx.commit().await?;
        }
        // Again each time, since until now somebody may have sent one.
        let mut tx = self.0.db.begin().await?;
        mail_counts::erase(&mut tx, &to_address(&email_key)).await?;
        bursar_mail::forget(&self.0.jobs, &mut tx, &email_key).await?;
        tx.commit().await?;
        Ok(if inviting.is_empty() { Forgotten::All } else { Forgotten::Some })
    }
}
