//! Limits: setting, listing and deleting them. Whether one is reached is decided with the request that would reach it
//! (`domain/limits.rs`).

pub(crate) mod counting;
pub(crate) mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bursar_db::{Db, Tx};
use bursar_events::Outbox;
use bursar_id::{Id, LimitId, OwnerId, UserId};
use bursar_money::Credits;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation, Mutations, Page, PageRequest, Permission};
use bursar_secret::Entropy;
use bursar_time::{Clock, Timestamp, Zone};

use super::access::{Access, Allowed, patience};
use super::catalogs::CatalogHandle;
use super::costly::Costly;
use super::orders::enter;
use super::subjects;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{
    self, Account, AccountState, Limit, LimitMode, LimitSet, LimitSubject, LimitWindow, Percents, Refusal, Subject,
};
use crate::error::Error;
use crate::lane::{RulesHandle, view_with_limits};
use crate::store::{accounts, limits, settings};
use counting::Counting;
use reading::Reading;

/// How often the account is locked at most until so little is left to be read that what is asked for is done. The first time nothing
/// is read yet, and once a project may have been waited for.
pub(super) const ATTEMPTS: usize = 6;

/// Limits.
#[derive(Clone)]
pub(crate) struct LimitUseCases {
    pub(crate) access: Access,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) rules: RulesHandle,
    /// Which models there are.
    pub(crate) catalog: CatalogHandle,
    pub(crate) counting: Counting,
    pub(crate) mutations: Mutations<Outbox>,
    /// How many an account may have.
    pub(crate) most: u32,
}

/// A limit to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCommand {
    pub(crate) subject: LimitSubject,
    pub(crate) window: LimitWindow,
    pub(crate) mode: LimitMode,
    pub(crate) amount: Credits,
    pub(crate) alerts: Percents,
}

/// A limit as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) owner: OwnerId,
    pub(crate) limit: Limit,
    /// In micro-credits; `None` where that is not for the viewer to see.
    pub(crate) used: Option<i64>,
    pub(crate) resets_at: Timestamp,
}

/// Who looks at limits: whoever sees all of them, or one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Sees everything.
    Manager,
    /// Sees all limits, but of use totals and its own alone: a policy hides what single members use.
    Blinded(UserId),
    /// Sees what every member has, and its own.
    Member(UserId),
}

impl Viewer {
    /// Of those who see every limit: what they see of use is for the policy to say.
    fn of_all(allowed: &Allowed) -> Self {
        match allowed.member {
            Some(user) if !allowed.sees => Self::Blinded(user),
            _ => Self::Manager,
        }
    }

    /// Whether it sees how much of a limit is used. What is used for a project or with a model is a total; an API key is some
    /// member's, and nobody here knows whose.
    fn sees_use(self, of: &LimitSubject) -> bool {
        let Self::Blinded(user) = self else { return true };
        match of {
            LimitSubject::One(Subject::Project(_) | Subject::Model(_)) => true,
            LimitSubject::One(Subject::Member(member)) => *member == user,
            LimitSubject::One(Subject::Key(_)) | LimitSubject::EveryMember => false,
        }
    }
}

impl LimitUseCases {
    /// Limits in the store and by the clock of these subscriptions.
    pub(crate) fn beside(of: &SubscriptionUseCases, (rules, costly): (&RulesHandle, &Costly), most: u32) -> Self {
        Self {
            access: of.access.clone(),
            db: of.till.db.clone(),
            clock: of.till.clock.clone(),
            entropy: of.entropy.clone(),
            rules: rules.clone(),
            catalog: of.catalog.clone(),
            counting: Counting::beside(of, (rules, costly)),
            mutations: of.mutations.clone(),
            most,
        }
    }

    /// Sets a limit of `owner`'s account. What was asked before is answered first, and what is refused is refused, before anything
    /// is read or waited for. The ledger is read while the account is not locked; where what is left to be read under the lock turns
    /// out to be much (a limit that counted was deleted meanwhile, a window has turned), it is given back, and read on.
    pub(crate) async fn set(&self, owner: OwnerId, asked: &Asked<SetCommand>) -> Result<Answer<Shown>, Error> {
        let (mut reading, mut waited) = (None, false);
        for _ in 0..ATTEMPTS {
            let standing = self.access.to(asked.caller(), owner).await;
            let mut m = self.mutations.begin(asked).await?;
            match self.put(&mut m, owner, asked, standing, &mut reading).await.transpose() {
                Some(Err(Error::NotFound("project"))) if !waited => {
                    drop(m);
                    waited = true;
                    self.hear_of_project(owner, asked.command()?).await?;
                }
                Some(done) => return self.mutations.end(m, done).await,
                None => {
                    drop(m);
                    self.read_ahead(asked.caller(), owner, asked.command()?, &mut reading).await?;
                }
            }
        }
        Err(Error::Overloaded)
    }

    /// A project that was made a moment ago is known as soon as that is told here: it is waited for, a moment at most, by
    /// whoever may set a limit on it.
    async fn hear_of_project(&self, owner: OwnerId, command: &SetCommand) -> Result<(), Error> {
        let LimitSubject::One(Subject::Project(name)) = &command.subject else { return Ok(()) };
        subjects::wait_for_project((&self.access, &self.db), owner, name, patience()).await
    }

    /// `None`: something is to be read first, or more than is read while others wait.
    async fn put(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<SetCommand>,
        standing: Result<Allowed, Error>,
        reading: &mut Option<Reading>,
    ) -> Result<Option<Done<Shown, Payload>>, Error> {
        let Some((command, allowed)) = enter(m, owner, asked, standing).await? else { return Ok(Some(Done::Replay)) };
        let now = m.now();
        if allowed.spender.is_some() {
            // For its people this is the account's first use.
            accounts::open(m.tx(), &[owner], now).await?;
        }
        let account = lock(m.tx(), owner).await?;
        let (set, zone) = of(m.tx(), owner).await?;
        self.demand(m.tx(), owner, &command.subject, &set).await?;
        let same = |limit: &&Limit| {
            (&limit.subject, limit.window, limit.mode) == (&command.subject, command.window, command.mode)
        };
        let id = match set.limits().iter().find(same) {
            Some(limit) => limit.id,
            None if set.limits().len() >= self.most as usize => {
                return Err(Error::TooManyLimits { limit: self.most });
            }
            None => Id::from_parts(now.as_millis(), self.entropy.bytes()),
        };
        m.about(&id);
        let SetCommand { subject, window, mode, amount, alerts } = command.clone();
        limits::rearm(m.tx(), owner, (&subject, window), now).await?;
        let asked_for = asks(&account, Some(command), (&set, &zone), self.clock.now());
        if !self.counting.count(m.tx(), (owner, &account), (asked_for, &zone), reading).await? {
            return Ok(None);
        }
        let limit = Limit { id, subject, window, mode, amount, alerts };
        let by = asked.caller().actor();
        limits::put(m.tx(), owner, &limit, (&zone, now, &by)).await?;
        let shown = self.shown(m.tx(), owner, Viewer::of_all(&allowed)).await?;
        let shown = shown.into_iter().find(|shown| shown.limit.id == id).ok_or(Error::Failed)?;
        Ok(Some(Done::New(shown, Vec::new())))
    }

    /// Demands that what a limit shall be about is known, unless there is one about it already.
    async fn demand(&self, tx: &mut Tx, owner: OwnerId, subject: &LimitSubject, set: &LimitSet) -> Result<(), Error> {
        if set.limits().iter().any(|limit| limit.subject == *subject) {
            return Ok(());
        }
        let (sold, is_stale) = (self.catalog.current(), self.access.may_have_missed(owner));
        subjects::demand(tx, owner, subject, sold.catalog().rates(), is_stale).await
    }

    /// Reads what the limit's windows have seen, if nobody counts that yet, until little is left. Of what is not known nothing is
    /// read: it will be refused.
    async fn read_ahead(
        &self,
        caller: &Caller,
        owner: OwnerId,
        command: &SetCommand,
        reading: &mut Option<Reading>,
    ) -> Result<(), Error> {
        let mut tx = self.db.read().await?;
        let Some(account) = accounts::find(&mut tx, owner).await? else { return Ok(()) };
        let (set, zone) = of(&mut tx, owner).await?;
        let asked_for = asks(&account, Some(command), (&set, &zone), self.clock.now());
        if asked_for.is_empty() {
            return Ok(());
        }
        match self.demand(&mut tx, owner, &command.subject, &set).await {
            Err(Error::NotFound(_) | Error::Refused(Refusal::FeedStale)) => return Ok(()),
            known => known?,
        }
        drop(tx);
        self.counting.ahead((Some(caller), owner), (asked_for, &zone), reading).await
    }

    /// Who looks at an owner's limits.
    pub(crate) async fn viewer(&self, caller: &Caller, owner: OwnerId) -> Result<Viewer, Error> {
        let allowed = self.access.to(caller, owner).await?;
        let Some(member) = allowed.member else { return Ok(Viewer::Manager) };
        match self.access.to(&caller.clone().at(Permission::ViewBilling), owner).await {
            Ok(allowed) => Ok(Viewer::of_all(&allowed)),
            Err(Error::RoleNotAllowed | Error::KeyNotAllowed) => Ok(Viewer::Member(member)),
            Err(error) => Err(error),
        }
    }

    /// A page of the account's limits, in the order of their ids.
    pub(crate) async fn list(
        &self,
        owner: OwnerId,
        viewer: Viewer,
        page: &PageRequest<LimitId>,
    ) -> Result<Page<Shown>, Error> {
        let mut rows = self.shown(&mut self.db.read().await?, owner, viewer).await?;
        rows.retain(|shown| page.after().is_none_or(|last| shown.limit.id > *last));
        rows.truncate(usize::try_from(page.limit()).unwrap_or(usize::MAX));
        Ok(page.page(rows, |shown| shown.limit.id)?)
    }

    /// The limits that somebody may see, as they are now.
    async fn shown(&self, tx: &mut Tx, owner: OwnerId, viewer: Viewer) -> Result<Vec<Shown>, Error> {
        let now = self.clock.now();
        let Some(state) = view_with_limits(tx, &self.rules.current(), owner, now).await? else { return Ok(Vec::new()) };
        let seen = |limit: &&Limit| match viewer {
            Viewer::Manager | Viewer::Blinded(_) => true,
            Viewer::Member(user) => state.limits().set().governs(limit, &Subject::Member(user)),
        };
        Ok(state.limits().set().limits().iter().filter(seen).map(|limit| shown(&state, limit, viewer, now)).collect())
    }

    /// A limit as it is now, for whoever set it and asks again; `None` of one that is gone.
    pub(crate) async fn as_is(&self, caller: &Caller, owner: OwnerId, id: LimitId) -> Result<Option<Shown>, Error> {
        let allowed = self.access.to(caller, owner).await?;
        let shown = self.shown(&mut self.db.read().await?, owner, Viewer::of_all(&allowed)).await?;
        Ok(shown.into_iter().find(|shown| shown.limit.id == id))
    }

    /// Deletes a limit.
    pub(crate) async fn delete(&self, owner: OwnerId, asked: &Asked<LimitId>) -> Result<(), Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = remove(&mut m, owner, asked, standing).await;
        self.mutations.end(m, done).await?;
        Ok(())
    }
}

async fn remove(
    m: &mut Mutation,
    owner: OwnerId,
    asked: &Asked<LimitId>,
    standing: Result<Allowed, Error>,
) -> Result<Done<(), Payload>, Error> {
    let Some((id, _)) = enter(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
    m.about(id);
    let none = || Error::NotFound("limit");
    accounts::lock(m.tx(), &[owner]).await?.pop().ok_or_else(none)?;
    if !limits::delete(m.tx(), owner, *id).await? {
        return Err(none());
    }
    Ok(Done::New((), Vec::new()))
}

/// The account, locked, whose owner may set something.
async fn lock(tx: &mut Tx, owner: OwnerId) -> Result<Account, Error> {
    let (_, account) = accounts::lock(tx, &[owner]).await?.pop().ok_or(Error::NotFound("account"))?;
    Refusal::of_standing(owner, account.standing).map_or(Ok(()), Err)?;
    Ok(account)
}

/// The account's limits, and where its days and months begin. Those of the limits do elsewhere if an earlier program has changed that
/// since one was set.
async fn of(tx: &mut Tx, owner: OwnerId) -> Result<(LimitSet, Zone), Error> {
    let zone = settings::of(tx, owner).await?.zone;
    let set = limits::of(tx, &[owner]).await?.remove(&owner);
    Ok((set.unwrap_or_else(|| LimitSet::new(Vec::new(), zone.clone())), zone))
}

/// What has to be counted: the windows of a limit that is set, unless another limit counts them; and where days and months are to
/// begin elsewhere than for the limits that there are, theirs. Of each that which is open at `now`, and those before it that
/// something may still count in.
fn asks(
    account: &Account,
    command: Option<&SetCommand>,
    (set, zone): (&LimitSet, &Zone),
    now: Timestamp,
) -> Vec<domain::Asked> {
    let now = now.max(account.head.at);
    let open = (now, account.period.at(now).month);
    let mut pairs: BTreeSet<(&LimitSubject, LimitWindow)> = BTreeSet::new();
    if let Some(command) = command.filter(|it| !set.counts(&it.subject, it.window)) {
        pairs.insert((&command.subject, command.window));
    }
    if set.zone() != zone {
        let local = set.limits().iter().filter(|limit| limit.window.is_local());
        pairs.extend(local.map(|limit| (&limit.subject, limit.window)));
    }
    pairs.into_iter().map(|(subject, window)| domain::Asked::of(subject.clone(), window, open, zone)).collect()
}

fn shown(state: &AccountState, limit: &Limit, viewer: Viewer, now: Timestamp) -> Shown {
    let only = match viewer {
        Viewer::Member(user) => Some(user),
        Viewer::Manager | Viewer::Blinded(_) => None,
    };
    let (used, open) = state.used_of(limit, only, now);
    let used = viewer.sees_use(&limit.subject).then_some(used);
    Shown { owner: state.owner(), limit: limit.clone(), used, resets_at: open.ends_at }
}
