//! Walking through the three stores side by side, in pages: each is read in a transaction of its own, and nothing is locked.

use std::collections::BTreeMap;

use bursar_billing::inspection as billing;
use bursar_db::Db;
use bursar_events::inspection::{progress, set_aside};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_identity::usecase::inspection as identity;
use bursar_members::Standing;
use bursar_members::words::Name;
use bursar_members::{policies, standings, words};
use bursar_organization::usecase::inspection as organization;
use bursar_runtime::{Each, Service};
use bursar_time::{Span, Timestamp};

use super::compare::{self, Unlike};
use super::difference::{Cure, Difference, Doubt, Found};

/// Rows in one page.
const PAGE: i64 = 500;
/// How long after its deadline a hold may still be open: it lapses with the next sweep.
const SWEEP: Span = Span::from_mins(10);
/// Who knows memberships and policies by what organization tells.
const TOLD_BY_ORGANIZATION: [Service; 2] = [Service::Identity, Service::Billing];
/// Who follows whom.
const FEEDS: [(Service, Service); 5] = [
    (Service::Identity, Service::Organization),
    (Service::Organization, Service::Identity),
    (Service::Organization, Service::Billing),
    (Service::Billing, Service::Identity),
    (Service::Billing, Service::Organization),
];

/// Where the walks go.
pub(crate) struct Walker<'a> {
    pub(crate) stores: &'a Each<Db>,
    /// What time it is.
    pub(crate) now: Timestamp,
    pub(crate) found: Found,
}

impl Walker<'_> {
    /// Looks at everything once.
    pub(crate) async fn walk(mut self) -> anyhow::Result<Found> {
        self.feeds().await?;
        self.memberships().await?;
        self.policies().await?;
        self.standings().await?;
        self.seats().await?;
        self.departed().await?;
        Ok(self.found)
    }

    fn note(
        &mut self,
        service: Service,
        owner: impl Into<Option<OwnerId>>,
        what: impl Into<String>,
        (expected, found): Unlike,
        cure: Cure,
    ) {
        self.found.note(Difference { service, owner: owner.into(), what: what.into(), expected, found, cure });
    }

    /// How far each service has followed the others, and what it could not read.
    async fn feeds(&mut self) -> anyhow::Result<()> {
        for (service, source) in FEEDS {
            let stands = progress(&self.stores[service], source.name(), &self.stores[source]).await?;
            if let Some(unlike) = compare::progress(&stands) {
                let cure = Cure::Told(source, Doubt::Nothing);
                self.note(service, None, format!("place in the events of {source}"), unlike, cure);
            }
            for event in set_aside(&self.stores[service], source.name()).await? {
                let unlike = ("to be read".to_owned(), event.problem);
                let what = format!("event {} of {source}", event.id);
                self.note(service, event.owner.parse().ok(), what, unlike, Cure::Told(source, Doubt::Nothing));
            }
        }
        Ok(())
    }

    /// Every membership that organization has, or that another service knows; and whether its person is there.
    async fn memberships(&mut self) -> anyhow::Result<()> {
        let mut after: Option<(OrganizationId, UserId)> = None;
        loop {
            let mut tx = self.stores[Service::Organization].read().await?;
            let incarnation = bursar_events::incarnation(&mut tx).await?;
            let rows = organization::places_after(&mut tx, after, PAGE).await?;
            drop(tx);
            let last = rows.last().map(|row| (row.organization_id, row.user_id));
            let ends = !is_full(rows.len());
            let named = |(organization, user)| (OwnerId::Organization(organization), user);
            let decided: BTreeMap<Name, (Option<Role>, u64)> = rows
                .iter()
                .map(|row| (named((row.organization_id, row.user_id)), (row.role, row.version.unsigned_abs())))
                .collect();
            let span = (after.map(named), last.filter(|_| !ends).map(named));
            for service in TOLD_BY_ORGANIZATION {
                self.memberships_at(service, incarnation, &decided, span).await?;
            }
            self.people(&decided).await?;
            if ends || self.found.is_full() {
                return Ok(());
            }
            after = last;
        }
    }

    async fn memberships_at(
        &mut self,
        service: Service,
        incarnation: u64,
        decided: &BTreeMap<Name, (Option<Role>, u64)>,
        (mut after, last): (Option<Name>, Option<Name>),
    ) -> anyhow::Result<()> {
        let mut missing = decided.clone();
        loop {
            let mut tx = self.stores[service].read().await?;
            let known = words::between(&mut tx, (after, last), PAGE).await?;
            drop(tx);
            after = known.last().map(|(name, _)| *name);
            let ends = !is_full(known.len());
            // People's own accounts come after all organizations'.
            for (name, word) in known.into_iter().filter(|((owner, _), _)| owner.organization().is_some()) {
                let decided = missing.remove(&name);
                self.membership(service, name, compare::membership(incarnation, decided, Some(word)));
            }
            if ends {
                break;
            }
        }
        for (name, decided) in missing {
            self.membership(service, name, compare::membership(incarnation, Some(decided), None));
        }
        Ok(())
    }

    fn membership(&mut self, service: Service, name: Name, unlike: Option<Unlike>) {
        if let Some(unlike) = unlike {
            let cure = Cure::Told(Service::Organization, Doubt::Membership(name));
            self.note(service, name.0, format!("membership of {}", name.1), unlike, cure);
        }
    }

    /// Whether the members and owners have accounts.
    async fn people(&mut self, decided: &BTreeMap<Name, (Option<Role>, u64)>) -> anyhow::Result<()> {
        let members: Vec<(OwnerId, UserId, Role)> =
            decided.iter().filter_map(|((owner, user), (role, _))| role.map(|role| (*owner, *user, role))).collect();
        let users: Vec<UserId> = members.iter().map(|(_, user, _)| *user).collect();
        let living = identity::living(&mut self.stores[Service::Identity].read().await?, &users).await?;
        let mut tx = self.stores[Service::Organization].read().await?;
        for (owner, user, role) in members.into_iter().filter(|(_, user, _)| !living.contains(user)) {
            let Some(id) = owner.organization() else { continue };
            if !organization::is_owned(&mut tx, id).await? {
                continue;
            }
            let what = if role == Role::Owner { format!("owner {user}") } else { format!("member {user}") };
            let unlike = ("an account".to_owned(), "none at identity".to_owned());
            self.note(Service::Organization, owner, what, unlike, Cure::Operator);
        }
        Ok(())
    }

    /// The deployment's policies, and what each organization has set.
    async fn policies(&mut self) -> anyhow::Result<()> {
        let decided = policies::told_deployment(&mut self.stores[Service::Organization].read().await?).await?;
        for service in TOLD_BY_ORGANIZATION {
            let known = policies::told_deployment(&mut self.stores[service].read().await?).await?;
            if let Some(unlike) = compare::deployment(decided, known) {
                let cure = Cure::Told(Service::Organization, Doubt::Policies(None));
                self.note(service, None, "policies", unlike, cure);
            }
        }
        let mut after = None;
        loop {
            let mut tx = self.stores[Service::Organization].read().await?;
            let rows = policies::between(&mut tx, (after, None), PAGE).await?;
            drop(tx);
            let last = rows.last().map(|(owner, ..)| *owner);
            let ends = !is_full(rows.len());
            let decided: BTreeMap<_, _> =
                rows.into_iter().map(|(owner, own, version)| (owner, (own, version))).collect();
            for service in TOLD_BY_ORGANIZATION {
                let mut missing = decided.clone();
                let mut from = after;
                loop {
                    let mut tx = self.stores[service].read().await?;
                    let known = policies::between(&mut tx, (from, last.filter(|_| !ends)), PAGE).await?;
                    drop(tx);
                    from = known.last().map(|(owner, ..)| *owner);
                    let full = is_full(known.len());
                    for (owner, own, version) in known {
                        let decided = missing.remove(&owner);
                        self.policy(service, owner, compare::policy(decided, Some((own, version))));
                    }
                    if !full {
                        break;
                    }
                }
                for (owner, decided) in missing {
                    self.policy(service, owner, compare::policy(Some(decided), None));
                }
            }
            if ends || self.found.is_full() {
                return Ok(());
            }
            after = last;
        }
    }

    fn policy(&mut self, service: Service, owner: OwnerId, unlike: Option<Unlike>) {
        if let Some(unlike) = unlike {
            let cure = Cure::Told(Service::Organization, Doubt::Policies(Some(owner)));
            self.note(service, owner, "policies", unlike, cure);
        }
    }

    /// How each organization stands.
    async fn standings(&mut self) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let mut tx = self.stores[Service::Organization].read().await?;
            let rows = organization::standings_after(&mut tx, after, PAGE).await?;
            drop(tx);
            let last = rows.last().map(|(id, ..)| *id);
            let ends = !is_full(rows.len());
            let decided: BTreeMap<OwnerId, _> = rows
                .into_iter()
                .map(|(id, standing, version)| (OwnerId::Organization(id), (standing, version)))
                .collect();
            let span = (after.map(OwnerId::Organization), last.filter(|_| !ends).map(OwnerId::Organization));
            for service in TOLD_BY_ORGANIZATION {
                self.standings_at(service, decided.clone(), span).await?;
            }
            if ends || self.found.is_full() {
                return Ok(());
            }
            after = last;
        }
    }

    async fn standings_at(
        &mut self,
        service: Service,
        mut missing: BTreeMap<OwnerId, (Standing, u64)>,
        (mut after, last): (Option<OwnerId>, Option<OwnerId>),
    ) -> anyhow::Result<()> {
        let mut found = Vec::new();
        loop {
            let mut tx = self.stores[service].read().await?;
            let known = standings::between(&mut tx, (after, last), PAGE).await?;
            drop(tx);
            after = known.last().map(|(owner, ..)| *owner);
            let ends = !is_full(known.len());
            // People stand as identity tells.
            for (owner, standing, version) in known.into_iter().filter(|(owner, ..)| owner.organization().is_some()) {
                found.push((owner, compare::standing(missing.remove(&owner), Some((standing, version)))));
            }
            if ends {
                break;
            }
        }
        found.extend(missing.into_iter().map(|(owner, decided)| (owner, compare::standing(Some(decided), None))));
        for (owner, unlike) in found {
            if let Some(unlike) = unlike {
                let cure = Cure::Told(Service::Organization, Doubt::Standing(owner));
                self.note(service, owner, "standing", unlike, cure);
            }
        }
        Ok(())
    }

    /// The seats of each organization's plan.
    async fn seats(&mut self) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let mut tx = self.stores[Service::Billing].read().await?;
            let plans = billing::plans_after(&mut tx, after, PAGE).await?;
            drop(tx);
            after = plans.last().map(|plan| plan.owner);
            let ends = !is_full(plans.len());
            let mut tx = self.stores[Service::Organization].read().await?;
            for plan in plans {
                let Some(id) = plan.owner.organization() else { continue };
                let known = organization::seats(&mut tx, id).await?;
                if let Some(unlike) = compare::seats(plan.seats, known) {
                    let cure = Cure::Told(Service::Billing, Doubt::Seats(id));
                    self.note(Service::Organization, plan.owner, format!("seats of {}", plan.plan), unlike, cure);
                }
            }
            drop(tx);
            if ends || self.found.is_full() {
                return Ok(());
            }
        }
    }

    /// Whoever deleted the account: whether the others know, and what is left.
    async fn departed(&mut self) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let mut tx = self.stores[Service::Identity].read().await?;
            let gone = identity::deleted_after(&mut tx, after, PAGE).await?;
            drop(tx);
            after = gone.last().copied();
            let known = organization::gone(&mut self.stores[Service::Organization].read().await?, &gone).await?;
            for user in gone.iter().filter(|user| !known.contains(user)) {
                self.departure(Service::Organization, *user);
            }
            self.left_behind(&gone).await?;
            if !is_full(gone.len()) || self.found.is_full() {
                return Ok(());
            }
        }
    }

    async fn left_behind(&mut self, gone: &[UserId]) -> anyhow::Result<()> {
        let names: Vec<Name> = gone.iter().map(|user| (OwnerId::User(*user), *user)).collect();
        let owners: Vec<OwnerId> = names.iter().map(|(owner, _)| *owner).collect();
        let mut tx = self.stores[Service::Billing].read().await?;
        let known = words::named(&mut tx, &names).await?;
        for (owner, user) in names {
            if known.get(&(owner, user)).is_none_or(|word| word.role.is_some()) {
                self.departure(Service::Billing, user);
            }
            if let Some(plan) = billing::plan(&mut tx, owner).await? {
                let unlike = ("to have ended with the account".to_owned(), plan);
                self.note(
                    Service::Billing,
                    owner,
                    "subscription",
                    unlike,
                    Cure::Told(Service::Identity, Doubt::Nothing),
                );
            }
        }
        for (owner, hold, deadline) in billing::overdue_holds(&mut tx, &owners, self.now.saturating_sub(SWEEP)).await? {
            let unlike = (format!("to have ended at {deadline}"), "it open".to_owned());
            self.note(Service::Billing, owner, format!("hold {hold}"), unlike, Cure::Operator);
        }
        Ok(())
    }

    fn departure(&mut self, service: Service, user: UserId) {
        let unlike = ("known".to_owned(), "unknown".to_owned());
        let cure = Cure::Told(Service::Identity, Doubt::Nothing);
        self.note(service, OwnerId::User(user), "deletion of the account", unlike, cure);
    }
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= PAGE)
}
