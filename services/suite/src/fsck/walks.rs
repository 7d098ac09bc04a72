//! Walking through the three stores side by side. What stands where is read in `pages.rs`, and compared in `compare.rs`.

use std::fmt::Display;
use std::ops::ControlFlow;

use bursar_billing::inspection as billing;
use bursar_db::Db;
use bursar_events::inspection::{progress, set_aside};
use bursar_id::{OrganizationId, OwnerId, ProjectId, Role, UserId};
use bursar_identity::usecase::inspection as identity;
use bursar_members::policies;
use bursar_members::words::Name;
use bursar_organization::usecase::inspection::{self as organization, Way};
use bursar_runtime::{Each, Service};
use bursar_time::{Span, Timestamp};

use super::compare::{self, Unlike};
use super::difference::{Cure, Difference, Doubt, Found};
use super::pages;
use super::sides::side_by_side;

/// How long after its deadline a hold may still be open: it lapses with the next sweep.
const SWEEP: Span = Span::from_mins(10);
/// Who knows memberships, policies and how organizations stand by what organization tells.
const TOLD_BY_ORGANIZATION: [Service; 2] = [Service::Identity, Service::Billing];
/// Who knows how people stand, and who is gone, by what identity tells.
const TOLD_BY_IDENTITY: [Service; 2] = [Service::Organization, Service::Billing];
/// Who follows whom.
const FEEDS: [(Service, Service); 6] = [
    (Service::Identity, Service::Organization),
    (Service::Identity, Service::Billing),
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
        self.people().await?;
        self.policies().await?;
        self.organizations_stand().await?;
        self.people_stand().await?;
        self.accounts_stand().await?;
        self.plans().await?;
        self.projects().await?;
        self.departed().await?;
        self.left_behind().await?;
        self.organizations_pass().await?;
        Ok(self.found)
    }

    /// Notes what is not as it should be. Breaks off where there is no room for more.
    fn note(
        &mut self,
        service: Service,
        owner: impl Into<Option<OwnerId>>,
        what: impl Display,
        unlike: Option<Unlike>,
        cure: Cure,
    ) -> ControlFlow<()> {
        if let Some((expected, found)) = unlike {
            let (owner, what) = (owner.into(), what.to_string());
            self.found.note(Difference { service, owner, what, expected, found, cure });
        }
        if self.found.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// How far each service has followed the others, and what it could not read.
    async fn feeds(&mut self) -> anyhow::Result<()> {
        for (service, source) in FEEDS {
            let cure = || Cure::Told(source, Doubt::Nothing);
            let stands = progress(&self.stores[service], source.name(), &self.stores[source]).await?;
            let what = format_args!("place in the events of {source}");
            let _ = self.note(service, None, what, compare::progress(&stands), cure());
            for event in set_aside(&self.stores[service], source.name()).await? {
                let unlike = ("to be read".to_owned(), event.problem);
                let what = format_args!("event {} of {source}", event.id);
                let _ = self.note(service, event.owner.parse().ok(), what, Some(unlike), cure());
            }
        }
        Ok(())
    }

    /// Every membership that organization has, or that another service knows.
    async fn memberships(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        for service in TOLD_BY_ORGANIZATION {
            let decided = async |after| pages::memberships_decided(&stores[Service::Organization], after).await;
            let known = async |after| pages::memberships_known(&stores[service], after).await;
            side_by_side(decided, known, |name: Name, decided, known| {
                let cure = Cure::Told(Service::Organization, Doubt::Membership(name));
                let what = format_args!("membership of {}", name.1);
                self.note(service, name.0, what, compare::membership(decided, known), cure)
            })
            .await?;
        }
        Ok(())
    }

    /// Whether the members and owners have accounts.
    async fn people(&mut self) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let page = pages::memberships_decided(&self.stores[Service::Organization], after).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            let members: Vec<(Name, Role)> =
                page.into_iter().filter_map(|(name, word)| word.role.map(|role| (name, role))).collect();
            let users: Vec<UserId> = members.iter().map(|((_, user), _)| *user).collect();
            let living = identity::living(&mut self.stores[Service::Identity].read().await?, &users).await?;
            let mut tx = self.stores[Service::Organization].read().await?;
            for ((owner, user), role) in members.into_iter().filter(|((_, user), _)| !living.contains(user)) {
                let Some(id) = owner.organization() else { continue };
                if !organization::is_owned(&mut tx, id).await? {
                    continue;
                }
                let what = if role == Role::Owner { "owner" } else { "member" };
                let unlike = ("an account".to_owned(), "none at identity".to_owned());
                let what = format_args!("{what} {user}");
                if self.note(Service::Organization, owner, what, Some(unlike), Cure::Operator).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// The deployment's policies, and what each organization has set.
    async fn policies(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        let deployment = policies::told_deployment(&mut stores[Service::Organization].read().await?).await?;
        for service in TOLD_BY_ORGANIZATION {
            let known = policies::told_deployment(&mut stores[service].read().await?).await?;
            let cure = |owner| Cure::Told(Service::Organization, Doubt::Policies(owner));
            let _ = self.note(service, None, "policies", compare::deployment(deployment, known), cure(None));
            let decided = async |after| pages::policies(&stores[Service::Organization], after).await;
            let known = async |after| pages::policies(&stores[service], after).await;
            side_by_side(decided, known, |owner: OwnerId, decided, known| {
                self.note(service, owner, "policies", compare::policy(decided, known), cure(Some(owner)))
            })
            .await?;
        }
        Ok(())
    }

    /// How each organization stands.
    async fn organizations_stand(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        for service in TOLD_BY_ORGANIZATION {
            let decided = async |after| pages::organizations_decided(&stores[Service::Organization], after).await;
            let known = async |after| pages::organizations_known(&stores[service], after).await;
            side_by_side(decided, known, |owner: OwnerId, decided, known| {
                let cure = Cure::Told(Service::Organization, Doubt::Standing(owner));
                self.note(service, owner, "standing", compare::standing(decided, known), cure)
            })
            .await?;
        }
        Ok(())
    }

    /// Who is suspended.
    async fn people_stand(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        for service in TOLD_BY_IDENTITY {
            let decided = async |after| pages::people_decided(&stores[Service::Identity], after).await;
            let known = async |after| pages::people_known(&stores[service], &stores[Service::Identity], after).await;
            side_by_side(decided, known, |owner: OwnerId, decided, known| {
                let cure = Cure::Told(Service::Identity, Doubt::Standing(owner));
                self.note(service, owner, "standing", compare::standing(decided, known), cure)
            })
            .await?;
        }
        Ok(())
    }

    /// Whether billing's accounts, by which it decides, stand as billing has been told.
    async fn accounts_stand(&mut self) -> anyhow::Result<()> {
        let store = &self.stores[Service::Billing];
        let told = async |after| pages::standings_known(store, after).await;
        let accounts = async |after| pages::accounts_inactive(store, after).await;
        side_by_side(told, accounts, |owner: OwnerId, told, account| {
            let source = if owner.user().is_some() { Service::Identity } else { Service::Organization };
            let unlike = compare::account(told.map(|(standing, _)| standing), account);
            self.note(Service::Billing, owner, "account", unlike, Cure::Told(source, Doubt::Standing(owner)))
        })
        .await
    }

    /// What each organization's plan is and allows, the free one where none holds.
    async fn plans(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        let sold = billing::sold(&mut stores[Service::Billing].read().await?).await?;
        let free = sold.free();
        let free_seats: Vec<u32> = free.iter().map(|it| it.seats).collect();
        let plans = async |after| pages::plans(&stores[Service::Billing], after).await;
        let known = async |after| pages::plans_known(&stores[Service::Organization], after).await;
        side_by_side(plans, known, |id, live: Option<billing::LivePlan>, known: Option<organization::KnownPlan>| {
            let (owner, cure) = (OwnerId::Organization(id), || Cure::Told(Service::Billing, Doubt::Seats(id)));
            let (live, known) = (live.as_ref(), known.as_ref());
            let seats = compare::seats(live.map(|it| it.seats), &free_seats, known.map(|it| it.seats));
            let what = format_args!("seats of {}", live.map_or("no plan", |it| it.plan.as_str()));
            self.note(Service::Organization, owner, what, seats, cure())?;
            let holds = live.map(|it| sold.by(it));
            let plan = compare::plan(holds.as_deref(), &free, known);
            self.note(Service::Organization, owner, "plan", plan, cure())
        })
        .await
    }

    /// Which projects there are: billing lets those be limited.
    async fn projects(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        let decided = async |after| pages::projects_decided(&stores[Service::Organization], after).await;
        let known = async |after| pages::projects_known(&stores[Service::Billing], after).await;
        side_by_side(decided, known, |(owner, id): (OwnerId, ProjectId), decided, known| {
            let unlike = compare::project(decided.is_some(), known.is_some());
            let cure = Cure::Told(Service::Organization, Doubt::Project(owner, id));
            self.note(Service::Billing, owner, format_args!("project {id}"), unlike, cure)
        })
        .await
    }

    /// Whoever deleted the account: whether the others know, and whether they know it of nobody else.
    async fn departed(&mut self) -> anyhow::Result<()> {
        let stores = self.stores;
        for service in TOLD_BY_IDENTITY {
            let gone = async |after| pages::departed(&stores[Service::Identity], after).await;
            let known = async |after| pages::departed_known((service, stores), after).await;
            side_by_side(gone, known, |user: UserId, gone, known| {
                // No event takes back that somebody is gone.
                let cure = if gone.is_some() { Cure::Told(Service::Identity, Doubt::Nothing) } else { Cure::Operator };
                let unlike = compare::departure(gone.is_some(), known);
                self.note(service, OwnerId::User(user), "deletion of the account", unlike, cure)
            })
            .await?;
        }
        Ok(())
    }

    /// What is left in billing of whoever deleted the account.
    async fn left_behind(&mut self) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let page = pages::departed(&self.stores[Service::Identity], after).await?;
            let Some((last, ())) = page.last() else { return Ok(()) };
            after = Some(*last);
            let owners: Vec<OwnerId> = page.iter().map(|(user, ())| OwnerId::User(*user)).collect();
            self.left_of(&owners, (Service::Identity, "account")).await?;
            if self.found.is_full() {
                return Ok(());
            }
        }
    }

    /// What is left in billing of organizations that were deleted, and which of them, and of those that are being made, have
    /// stopped on their way.
    async fn organizations_pass(&mut self) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let page = pages::passing(&self.stores[Service::Organization], after).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            self.stopped(&page).await?;
            let of = |wanted: fn(Way) -> bool| -> Vec<OwnerId> {
                page.iter().filter(|(_, way)| wanted(*way)).map(|(id, _)| OwnerId::Organization(*id)).collect()
            };
            let deleted = of(|way| !matches!(way, Way::Pending(_)));
            self.left_of(&deleted, (Service::Organization, "organization")).await?;
            self.unvoided(&of(|way| way == Way::Purged)).await?;
            if self.found.is_full() {
                return Ok(());
            }
        }
    }

    /// What has not come to its end though it should have: nothing that was told goes on with it.
    async fn stopped(&mut self, page: &[(OrganizationId, Way)]) -> anyhow::Result<()> {
        let pending = page.iter().filter(|(_, way)| matches!(way, Way::Pending(_)));
        let pending: Vec<OwnerId> = pending.map(|(id, _)| OwnerId::Organization(*id)).collect();
        let plans = billing::plans_of(&mut self.stores[Service::Billing].read().await?, &pending).await?;
        let now = self.now;
        for (id, way) in page {
            let owner = OwnerId::Organization(*id);
            let plan = plans.iter().find(|plan| plan.owner == owner).map(|plan| plan.plan.as_str());
            let founding = compare::founding(*way, plan, now);
            let _ = self.note(Service::Organization, owner, "founding", founding, Cure::Operator);
            let _ = self.note(Service::Organization, owner, "purge", compare::purge(*way, now), Cure::Operator);
        }
        Ok(())
    }

    /// What billing still has of owners who are gone, as `source` tells: with them should have ended what `whose` names.
    async fn left_of(&mut self, owners: &[OwnerId], (source, whose): (Service, &str)) -> anyhow::Result<()> {
        let mut tx = self.stores[Service::Billing].read().await?;
        for plan in billing::plans_of(&mut tx, owners).await? {
            let unlike = (format!("to have ended with the {whose}"), plan.plan);
            let cure = Cure::Told(source, Doubt::Nothing);
            let _ = self.note(Service::Billing, plan.owner, "subscription", Some(unlike), cure);
        }
        let until = self.now.saturating_sub(SWEEP);
        for (owner, hold, deadline) in billing::overdue_holds(&mut tx, owners, until).await? {
            let unlike = (format!("to have ended at {deadline}"), "it open".to_owned());
            let what = format_args!("hold {hold}");
            let _ = self.note(Service::Billing, owner, what, Some(unlike), Cure::Operator);
        }
        Ok(())
    }

    /// What credits billing has still of organizations that are purged. It voids them when it is told so again.
    async fn unvoided(&mut self, purged: &[OwnerId]) -> anyhow::Result<()> {
        let mut tx = self.stores[Service::Billing].read().await?;
        for (owner, lot, left) in billing::unvoided_lots(&mut tx, purged, self.now).await? {
            let unlike = ("to be voided".to_owned(), format!("{left} left"));
            let cure = Cure::Told(Service::Organization, Doubt::Nothing);
            let _ = self.note(Service::Billing, owner, format_args!("lot {lot}"), Some(unlike), cure);
        }
        Ok(())
    }
}
