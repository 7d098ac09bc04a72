//! An organization that passes on to another owner: what its former owner had set to pay by itself pays no more. An event tells
//! of it, or a snapshot, which may also leave the former owner out. In a rolling upgrade a program may hear of it
//! that does not know what follows: the database notes who was an owner, and it is made up for ([`catch_up`]).
//!
//! The top-up is switched off at once. The payment methods that the former owner had added serve until what is paid for at the
//! transfer ends, and from the transfer on where nothing is: whatever is paid later is paid with another one, or not at all
//! (`asking.rs`). They serve again once the same person is the owner again; what is added after the transfer is added anew. What
//! others have added stays.

use bursar_db::{Db, DbError, Tx};
use bursar_id::{OwnerId, Role, UserId};
use bursar_members::words;
use bursar_time::Timestamp;

use super::top_ups;
use crate::domain::{Stop, Subscription, SubscriptionState};
use crate::store::{accounts, former, methods, settings, subscriptions};

/// How many owners are looked at together.
const PAGE: i64 = 500;

/// The same where their accounts are locked meanwhile for nothing but this.
const FEW: i64 = 20;

/// What somebody was in an organization, and is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Before.
    pub(crate) was: Option<Role>,
    /// Now.
    pub(crate) is: Option<Role>,
}

/// A membership is another one than before: somebody may have become the organization's owner, or may be it no more, since
/// `since`. Doing it again changes nothing.
pub(crate) async fn follow(
    tx: &mut Tx,
    name: (OwnerId, UserId),
    Turn { was, is }: Turn,
    (since, now): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    match (was == Some(Role::Owner), is == Some(Role::Owner)) {
        (false, true) => {
            top_ups::switch_off(tx, name.0, Stop::OwnerChanged, now).await?;
            methods::serve_on(tx, name).await
        }
        (true, false) => {
            // Whoever pays at this moment, or saves a card, is waited for.
            accounts::lock(tx, &[name.0]).await?;
            let until = paid_until(subscriptions::live(tx, name.0).await?.as_ref(), since);
            methods::serve_until(tx, name, since, until).await?;
            former::done(tx, name).await
        }
        _ => Ok(()),
    }
}

/// Makes up for what programs have heard of that do not know what follows: as if it were heard of now. Doing it again changes
/// nothing. A page at a time: the accounts of all of them are locked until its transaction ends.
pub(crate) async fn catch_up(db: &Db, now: Timestamp) -> Result<(), DbError> {
    loop {
        if former::noted(&mut db.read().await?, 1).await?.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin().await?;
        settle_page(&mut tx, now, FEW).await?;
        tx.commit().await?;
    }
}

/// The same of everybody who is noted, in the caller's transaction.
pub(crate) async fn settle(tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
    while settle_page(tx, now, PAGE).await? {}
    Ok(())
}

/// The same of so many; whether there was anybody.
async fn settle_page(tx: &mut Tx, now: Timestamp, page: i64) -> Result<bool, DbError> {
    let noted = former::noted(tx, page).await?;
    if noted.is_empty() {
        return Ok(false);
    }
    let told = words::named(tx, &noted).await?;
    for name in noted {
        let is = told.get(&name).and_then(|word| word.role);
        if is == Some(Role::Owner) {
            // Who owns it again by now is followed as such, or was it all the while.
            former::done(tx, name).await?;
        } else {
            forget_top_up(tx, name, now).await?;
            follow(tx, name, Turn { was: Some(Role::Owner), is }, (now, now)).await?;
        }
    }
    Ok(true)
}

/// What somebody who is no owner any more had set to top the account up is off, also where nobody becomes the owner there.
async fn forget_top_up(tx: &mut Tx, (owner, user): (OwnerId, UserId), now: Timestamp) -> Result<(), DbError> {
    accounts::lock(tx, &[owner]).await?;
    let top_up = settings::of(tx, owner).await?.top_up;
    if top_up.is_some_and(|it| it.enabled && it.set_by == user.to_string()) {
        top_ups::switch_off(tx, owner, Stop::OwnerChanged, now).await?;
    }
    Ok(())
}

/// When what was paid for at `since` ends. What was renewed or begun since was not paid for then, however late it is heard of.
fn paid_until(live: Option<&Subscription>, since: Timestamp) -> Timestamp {
    let is_paid = |it: &&Subscription| {
        matches!(it.state, SubscriptionState::Active | SubscriptionState::PastDue) && it.paid_period().start <= since
    };
    live.filter(is_paid).map_or(since, |it| it.paid_until().max(since))
}

#[cfg(test)]
mod tests;
