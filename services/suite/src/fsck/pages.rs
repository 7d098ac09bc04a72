//! The lists that are walked through, a page at a time: each page is read in a transaction of its own, and nothing is locked.
//! Those of organizations end before the first person, who come after all of them; those of people begin there.

use bursar_billing::inspection as billing;
use bursar_db::Db;
use bursar_events::incarnation;
use bursar_id::{OrganizationId, OwnerId, ProjectId, UserId, Uuid};
use bursar_identity::usecase::inspection as identity;
use bursar_members::words::Name;
use bursar_members::{OwnPolicy, Standing, Word, policies, standings, words};
use bursar_organization::usecase::inspection as organization;
use bursar_runtime::{Each, Service};

/// Rows in one page.
pub(super) const PAGE: i64 = 500;

type Page<K, V> = anyhow::Result<Vec<(K, V)>>;

/// Before every person, and behind every organization: nobody has this id.
const BEFORE_PEOPLE: UserId = UserId::from_uuid(Uuid::nil());

/// The memberships that organization has, ended ones too: what it would tell of each.
pub(super) async fn memberships_decided(db: &Db, after: Option<Name>) -> Page<Name, Word> {
    let after = after.and_then(|(owner, user)| owner.organization().map(|organization| (organization, user)));
    let mut tx = db.read().await?;
    let incarnation = incarnation(&mut tx).await?;
    let rows = organization::places_after(&mut tx, after, PAGE).await?;
    let rows = rows.into_iter().map(|row| {
        let word = Word { role: row.role, incarnation, version: row.version.unsigned_abs() };
        ((OwnerId::Organization(row.organization_id), row.user_id), word)
    });
    Ok(rows.collect())
}

/// The memberships in organizations that another service knows.
pub(super) async fn memberships_known(db: &Db, after: Option<Name>) -> Page<Name, Word> {
    let mut rows = words::between(&mut db.read().await?, (after, None), PAGE).await?;
    rows.retain(|((owner, _), _)| owner.organization().is_some());
    Ok(rows)
}

/// The projects that organization has, each by whose it is.
pub(super) async fn projects_decided(db: &Db, after: Option<(OwnerId, ProjectId)>) -> Page<(OwnerId, ProjectId), ()> {
    let rows = organization::projects_after(&mut db.read().await?, after, PAGE).await?;
    Ok(rows.into_iter().map(|project| (project, ())).collect())
}

/// The projects of which billing knows, likewise.
pub(super) async fn projects_known(db: &Db, after: Option<(OwnerId, ProjectId)>) -> Page<(OwnerId, ProjectId), ()> {
    let rows = billing::projects_after(&mut db.read().await?, after, PAGE).await?;
    Ok(rows.into_iter().map(|project| (project, ())).collect())
}

/// What organizations have set themselves, with the version of that; what another service knows of it likewise.
pub(super) async fn policies(db: &Db, after: Option<OwnerId>) -> Page<OwnerId, (OwnPolicy, u64)> {
    let rows = policies::between(&mut db.read().await?, (after, None), PAGE).await?;
    Ok(rows.into_iter().map(|(owner, own, version)| (owner, (own, version))).collect())
}

/// How each organization stands, as the others are told, with the version of that.
pub(super) async fn organizations_decided(db: &Db, after: Option<OwnerId>) -> Page<OwnerId, (Standing, u64)> {
    let after = after.and_then(OwnerId::organization);
    let rows = organization::standings_after(&mut db.read().await?, after, PAGE).await?;
    Ok(rows.into_iter().map(|(id, standing, version)| (OwnerId::Organization(id), (standing, version))).collect())
}

/// Where organizations are on their way to be used or to be gone, those that are gone too.
pub(super) async fn passing(db: &Db, after: Option<OrganizationId>) -> Page<OrganizationId, organization::Way> {
    Ok(organization::passing_after(&mut db.read().await?, after, PAGE).await?)
}

/// How organizations stand, as another service knows it.
pub(super) async fn organizations_known(db: &Db, after: Option<OwnerId>) -> Page<OwnerId, (Standing, u64)> {
    let mut rows = standings_known(db, after).await?;
    rows.retain(|(owner, _)| owner.organization().is_some());
    Ok(rows)
}

/// Who is suspended, as the others are told, with the version of that.
pub(super) async fn people_decided(db: &Db, after: Option<OwnerId>) -> Page<OwnerId, (Standing, u64)> {
    let after = after.and_then(OwnerId::user);
    let rows = identity::suspended_after(&mut db.read().await?, after, PAGE).await?;
    Ok(rows.into_iter().map(|(id, version)| (OwnerId::User(id), (Standing::Suspended, version))).collect())
}

/// How people stand, as another service knows it. Whoever has no account any more stands as everybody does: nothing more
/// is told of them, and nothing more counts.
pub(super) async fn people_known(db: &Db, identity: &Db, after: Option<OwnerId>) -> Page<OwnerId, (Standing, u64)> {
    let mut rows = standings_known(db, Some(after.unwrap_or(OwnerId::User(BEFORE_PEOPLE)))).await?;
    let odd = rows.iter().filter(|(_, (standing, _))| *standing != Standing::Active);
    let odd: Vec<UserId> = odd.filter_map(|(owner, _)| owner.user()).collect();
    let living = identity::living(&mut identity.read().await?, &odd).await?;
    for (owner, (standing, _)) in &mut rows {
        if owner.user().is_none_or(|user| !living.contains(&user)) {
            *standing = Standing::Active;
        }
    }
    Ok(rows)
}

/// How everybody stands of whom a service was ever told, active ones too.
pub(super) async fn standings_known(db: &Db, after: Option<OwnerId>) -> Page<OwnerId, (Standing, u64)> {
    let rows = standings::between(&mut db.read().await?, (after, None), PAGE).await?;
    Ok(rows.into_iter().map(|(owner, standing, version)| (owner, (standing, version))).collect())
}

/// The accounts in billing whose requests go by something else than that the owner is active.
pub(super) async fn accounts_inactive(db: &Db, after: Option<OwnerId>) -> Page<OwnerId, Standing> {
    Ok(billing::inactive_after(&mut db.read().await?, after, PAGE).await?)
}

/// Each organization's plan that holds.
pub(super) async fn plans(db: &Db, after: Option<OrganizationId>) -> Page<OrganizationId, billing::LivePlan> {
    let after = after.map(OwnerId::Organization);
    let rows = billing::plans_after(&mut db.read().await?, after, PAGE).await?;
    Ok(rows.into_iter().filter_map(|it| Some((it.owner.organization()?, it))).collect())
}

/// The plans that organization heard of last, where it has heard of any.
pub(super) async fn plans_known(
    db: &Db,
    after: Option<OrganizationId>,
) -> Page<OrganizationId, organization::KnownPlan> {
    Ok(organization::plans_after(&mut db.read().await?, after, PAGE).await?)
}

/// Who has deleted the account.
pub(super) async fn departed(db: &Db, after: Option<UserId>) -> Page<UserId, ()> {
    let rows = identity::deleted_after(&mut db.read().await?, after, PAGE).await?;
    Ok(rows.into_iter().map(|user| (user, ())).collect())
}

/// What another service knows of somebody's account, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Whether it is known to be deleted.
    pub(super) gone: bool,
    /// Whether identity has it.
    pub(super) lives: bool,
}

/// Of whose account organization or billing has heard that it is deleted; billing maybe something else.
pub(super) async fn departed_known(
    (service, stores): (Service, &Each<Db>),
    after: Option<UserId>,
) -> Page<UserId, Account> {
    let mut tx = stores[service].read().await?;
    let known: Vec<(UserId, bool)> = if service == Service::Billing {
        // Nobody but its owner belongs to a personal account.
        let after = after.unwrap_or(BEFORE_PEOPLE);
        let rows = words::between(&mut tx, (Some((OwnerId::User(after), after)), None), PAGE).await?;
        rows.into_iter().map(|((_, user), word)| (user, word.role.is_none())).collect()
    } else {
        let rows = organization::gone_after(&mut tx, after, PAGE).await?;
        rows.into_iter().map(|user| (user, true)).collect()
    };
    drop(tx);
    let users: Vec<UserId> = known.iter().map(|(user, _)| *user).collect();
    let living = identity::living(&mut stores[Service::Identity].read().await?, &users).await?;
    Ok(known.into_iter().map(|(user, gone)| (user, Account { gone, lives: living.contains(&user) })).collect())
}
