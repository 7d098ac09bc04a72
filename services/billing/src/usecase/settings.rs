//! What the managers of an account set: whom invoices are for, where days begin, of what to be told, what is bought by itself.
//!
//! Where days begin, those of limits do, from the same transaction on: what they have seen is read as for a limit that is set
//! (`limits/counting.rs`).

use bursar_db::{Db, Tx};
use bursar_events::Outbox;
use bursar_id::OwnerId;
use bursar_members::standing;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, Mutations, Problem, reason};

use super::access::{Access, Allowed};
use super::cashier::Cashier;
use super::costly::Costly;
use super::fulfilment::keep_alerts;
use super::limits::ATTEMPTS;
use super::limits::counting::Counting;
use super::limits::reading::Reading;
use super::orders::enter;
use super::subscriptions::SubscriptionUseCases;
use super::top_ups;
use crate::domain::{AccountSettings, AutoTopUp, Refusal, SettingsChange, is_supported};
use crate::error::Error;
use crate::lane::RulesHandle;
use crate::payment::PaymentMethod;
use crate::store::{accounts, members, settings};

/// Reads and changes settings.
#[derive(Clone)]
pub(crate) struct SettingsUseCases {
    pub(crate) access: Access,
    pub(crate) db: Db,
    pub(crate) mutations: Mutations<Outbox>,
    pub(crate) cashier: Cashier,
    counting: Counting,
}

impl SettingsUseCases {
    /// Beside the subscriptions of the same accounts.
    pub(crate) fn beside(subscriptions: &SubscriptionUseCases, (rules, costly): (&RulesHandle, &Costly)) -> Self {
        let SubscriptionUseCases { access, mutations, cashier, .. } = subscriptions.clone();
        let counting = Counting::beside(subscriptions, (rules, costly));
        Self { access, db: cashier.till.db.clone(), mutations, cashier, counting }
    }

    /// The account's settings as they are.
    pub(crate) async fn get(&self, owner: OwnerId) -> Result<AccountSettings, Error> {
        Ok(settings::of(&mut self.db.read().await?, owner).await?)
    }

    /// Changes some of them. What was asked before is answered first. Where days begin elsewhere from then on, the ledger is read while
    /// the account is not locked; where what is left to be read under the lock turns out to be much, it is given back, and read on.
    pub(crate) async fn update(
        &self,
        owner: OwnerId,
        asked: &Asked<SettingsChange>,
    ) -> Result<Answer<AccountSettings>, Error> {
        let mut reading = None;
        for _ in 0..ATTEMPTS {
            let standing = self.access.to(asked.caller(), owner).await;
            let mut m = self.mutations.begin(asked).await?;
            if let Some(done) = change(self, &mut m, owner, asked, standing, &mut reading).await.transpose() {
                let changed = self.mutations.end(m, done).await?;
                self.cashier.jobs.wake();
                return Ok(changed);
            }
            drop(m);
            self.counting.follow_ahead(asked.caller(), owner, asked.command()?, &mut reading).await?;
        }
        Err(Error::Overloaded)
    }
}

/// `None`: something is to be read first, or more than is read while others wait.
async fn change(
    SettingsUseCases { cashier, counting, .. }: &SettingsUseCases,
    m: &mut Mutation,
    owner: OwnerId,
    asked: &Asked<SettingsChange>,
    standing: Result<Allowed, Error>,
    reading: &mut Option<Reading>,
) -> Result<Option<Done<AccountSettings, Payload>>, Error> {
    m.about(&owner);
    let Some((change, allowed)) = enter(m, owner, asked, standing).await? else { return Ok(Some(Done::Replay)) };
    let now = m.now();
    if let Some(zone) = change.zone.as_ref().filter(|zone| !is_supported(zone, now)) {
        return Err(Error::TimeZoneUnsupported(zone.clone()));
    }
    if allowed.spender.is_some() {
        // For its people this is the account's first use.
        accounts::open(m.tx(), &[owner], now).await?;
    }
    let locked = accounts::lock(m.tx(), &[owner]).await?.pop();
    let (_, account) = locked.ok_or(Error::NotFound("account"))?;
    Refusal::of_standing(owner, account.standing).map_or(Ok(()), Err)?;
    still_belongs(m.tx(), &allowed).await?;
    let before = settings::of(m.tx(), owner).await?;
    if !change.etag.is_empty() && change.etag != before.etag() {
        return Err(Error::EtagMismatch);
    }
    let after = before.with(&change.by(&asked.caller().actor()));
    if after != before {
        let top_up = after.top_up.as_ref().filter(|_| after.top_up != before.top_up);
        match top_up {
            Some(top_up) if top_up.enabled => may_be_on(cashier, m.tx(), &allowed, top_up).await?,
            Some(top_up) => names_what_is_there(cashier, m.tx(), owner, (top_up, before.top_up.as_ref())).await?,
            None => {}
        }
        settings::put(m.tx(), owner, &after, now).await?;
        if after.top_up == before.top_up {
            // Where days begin is part of what requests are decided by.
            accounts::raise_terms(m.tx(), owner).await?;
        } else {
            top_ups::set(m.tx(), &cashier.jobs, owner, after.top_up_below(), now).await?;
        }
    }
    if !counting.follow(m.tx(), (owner, &account), &after.zone, reading).await? {
        return Ok(None);
    }
    keep_alerts(m.tx(), (owner, &account), &after).await?;
    Ok(Some(Done::New(after, Vec::new())))
}

/// A top-up is switched on by a user, for a pack that is for sale, with a ceiling that lets it be bought, and something to pay
/// it with, for an account that may have credits.
async fn may_be_on(cashier: &Cashier, tx: &mut Tx, allowed: &Allowed, it: &AutoTopUp) -> Result<(), Error> {
    if allowed.spender.is_none() {
        let said = "only a user who manages billing switches a top-up on";
        return Err(Problem::permission_denied(reason::CALLER_NOT_ALLOWED, said).into());
    }
    cashier.till.may_sell_to(tx, allowed.owner).await?;
    let sold = cashier.catalog.current();
    let pack = sold.catalog().pack(it.pack.as_str()).ok_or_else(|| Error::PackNotFound(it.pack.to_string()))?;
    if !top_ups::fits(it.ceiling, pack) {
        let said = format!("must be at least what the pack costs: {}", pack.price);
        return Err(Problem::invalid_field("settings.auto_top_up.monthly_ceiling", said).into());
    }
    cashier.means(tx, allowed.owner, &PaymentMethod::from_stored(&it.method)).await.map(drop)
}

/// One that is off names no pack and no payment method either that is not there; but it may always be switched off as it is,
/// whatever has become of what it named when it was on.
async fn names_what_is_there(
    cashier: &Cashier,
    tx: &mut Tx,
    owner: OwnerId,
    (it, before): (&AutoTopUp, Option<&AutoTopUp>),
) -> Result<(), Error> {
    if before.is_none_or(|before| before.pack != it.pack)
        && cashier.catalog.current().catalog().pack(it.pack.as_str()).is_none()
    {
        return Err(Error::PackNotFound(it.pack.to_string()));
    }
    let method = PaymentMethod::from_stored(&it.method);
    if matches!(method, PaymentMethod::Default) || before.is_some_and(|before| before.method == it.method) {
        return Ok(());
    }
    cashier.means(tx, owner, &method).await.map(drop)
}

/// What was true when the caller was let in is still so while the account is locked: whoever left meanwhile changes nothing,
/// and nothing is set for a person who is gone, whose settings were erased.
async fn still_belongs(tx: &mut Tx, allowed: &Allowed) -> Result<(), Error> {
    let Some(member) = allowed.spender.map(|spender| spender.user).or_else(|| allowed.owner.user()) else {
        return Ok(());
    };
    let told = members::named(tx, &[(allowed.owner, member)]).await?.get(&(allowed.owner, member)).copied();
    match allowed.spender {
        Some(spender) => standing(told, spender.token).map(drop).ok_or(Error::NotAMember),
        None if told.is_some_and(|word| word.role.is_none()) => Err(Error::NotFound("account")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
