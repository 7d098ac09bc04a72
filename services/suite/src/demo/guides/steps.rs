//! Steps that more than one guide has, and what they check.

use bursar_proto::{
    billing::v1::{GroupBy, QueryUsageResponse},
    identity::v1::ContextKind,
    organization::v1::{OrganizationState, Role},
};
use tonic::Code;

use crate::demo::{
    cast::{Actor, PATIENCE, Play, calls::Outcome, eventually, expect, expect_text, people, soon},
    stage::Stage,
    wire::{answer, part, refused, refused_for},
};

/// Founds an organization and acts in it.
pub(super) async fn found(stage: &mut Stage, play: &Play, founder: &Actor, name: &str) -> anyhow::Result<Actor> {
    stage
        .step(&format!("{} founds {name}", founder.name), "OrganizationService/CreateOrganization", async {
            let made = part(answer(founder.found(name, "").await)?.organization, "organization")?;
            expect_text("the owner", &made.owner_user_id, &founder.user)?;
            expect("the founder's role", &made.role(), &Role::Owner)?;
            let acting = people::switch(founder, play, &made.id).await?;
            Ok((acting, format!("slug {}; {} is its owner", made.slug, founder.name)))
        })
        .await
}

/// Invites somebody into the organization in which `manager` acts, called `to`.
pub(super) async fn invite(
    stage: &mut Stage,
    (manager, guest): (&Actor, &Actor),
    to: &str,
    role: Role,
) -> anyhow::Result<()> {
    let what = format!("{} invites {} to {to}", manager.name, guest.name);
    stage
        .step(&what, "InvitationService/CreateInvitation", async {
            let made = part(answer(manager.invite(&guest.email, role).await)?.invitation, "invitation")?;
            expect("the invitation", &(made.email.as_str(), made.role()), &(guest.email.as_str(), role))?;
            Ok(((), format!("as {}; a mail goes to {}", named(role), guest.email)))
        })
        .await
}

/// Accepts the invitation that came by mail, and acts in the organization.
pub(super) async fn accept(
    stage: &mut Stage,
    play: &mut Play,
    guest: &Actor,
    (organization, to): (&str, &str),
    role: Role,
) -> anyhow::Result<Actor> {
    stage
        .step(&format!("{} accepts and joins {to}", guest.name), "InvitationService/AcceptInvitation", async {
            let token = play.mail.token(&guest.email).await?;
            let member = part(answer(guest.accept(&token).await)?.member, "member")?;
            let joined = (member.user_id.as_str(), member.organization_id.as_str(), member.role());
            expect("who joined", &joined, &(guest.user.as_str(), organization, role))?;
            let acting = people::switch(guest, play, organization).await?;
            Ok((acting, format!("with the mailed token; {} now", named(role))))
        })
        .await
}

/// A role in words.
pub(super) fn named(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Admin => "Admin",
        Role::Member => "Member",
        Role::Unspecified => "no role",
    }
}

/// Errs unless these people and no others are in the organization in which `actor` acts; then says who they are.
pub(super) async fn expect_team(actor: &Actor, wanted: &[(&Actor, Role)]) -> anyhow::Result<String> {
    let members = answer(actor.members().await)?.members;
    let mut is: Vec<_> = members.iter().map(|it| (it.user_id.as_str(), it.role())).collect();
    let mut should_be: Vec<_> = wanted.iter().map(|(who, role)| (who.user.as_str(), *role)).collect();
    is.sort_unstable();
    should_be.sort_unstable();
    expect("who is in the organization", &is, &should_be)?;
    Ok(wanted.iter().map(|(who, role)| format!("{} {}", who.name, named(*role))).collect::<Vec<_>>().join(", "))
}

/// The organizations of somebody's context list, with the roles; the personal context comes first and has none.
pub(super) async fn switcher(actor: &Actor) -> anyhow::Result<Vec<(String, Role)>> {
    let contexts = answer(actor.contexts().await)?.contexts;
    let first = contexts.first().map(|it| (it.kind(), it.owner.as_str()));
    expect("the first context", &first, &Some((ContextKind::Personal, actor.user.as_str())))?;
    let current: Vec<_> = contexts.iter().filter(|it| it.current).map(|it| it.owner.as_str()).collect();
    expect("the context that is marked as the current one", &current, &vec![actor.owner.as_str()])?;
    Ok(contexts.iter().skip(1).map(|it| (it.display_name.clone(), it.role())).collect())
}

/// What could be spent.
pub(super) async fn available(actor: &Actor) -> anyhow::Result<String> {
    Ok(answer(actor.balance().await)?.available)
}

/// Pays for work out of the pool of the context in which `actor` acts, and checks what is left there.
pub(super) async fn pay(actor: &Actor, amount: &str, model: &str, left: &str) -> anyhow::Result<()> {
    let charged = answer(actor.charge(amount, model, "").await)?;
    let charge = part(charged.charge, "charge")?;
    expect_text("for whom it was", &charge.member, &actor.user)?;
    expect_text("the amount", &charge.amount, amount)?;
    expect_text("what is left", &charged.balance_after, left)
}

/// What was used in total, without a word about who used it.
pub(super) async fn total_usage(actor: &Actor) -> anyhow::Result<String> {
    let report: QueryUsageResponse = answer(actor.usage(&[]).await?)?;
    Ok(report.rows.first().map_or_else(|| "0".to_owned(), |row| row.net.clone()))
}

/// What each member used, by user id.
pub(super) async fn usage_of_members(actor: &Actor) -> anyhow::Result<Vec<(String, String)>> {
    let report = answer(actor.usage(&[GroupBy::Member]).await?)?;
    Ok(report.rows.into_iter().map(|row| (row.member, row.net)).collect())
}

/// Errs unless the call was refused because of the caller's role.
pub(super) fn not_allowed<T>(outcome: Outcome<T>) -> anyhow::Result<()> {
    refused(outcome, Code::PermissionDenied, "ROLE_NOT_ALLOWED").map(drop)
}

/// Errs unless the call was refused because the caller does not belong there.
pub(super) fn stranger<T>(outcome: Outcome<T>) -> anyhow::Result<()> {
    refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER").map(drop)
}

/// Errs unless the call was refused because the organization is deleted: until it is purged its members are told so, and
/// then nobody belongs there.
fn ended<T>(outcome: Outcome<T>) -> anyhow::Result<()> {
    refused_for(outcome, Code::PermissionDenied, &["ORGANIZATION_DELETED", "NOT_A_MEMBER"]).map(drop)
}

/// Errs unless the call was refused because there is nothing of the sort outside of organizations.
pub(super) fn organization_required<T>(outcome: Outcome<T>) -> anyhow::Result<()> {
    refused(outcome, Code::FailedPrecondition, "ORGANIZATION_REQUIRED").map(drop)
}

/// Errs unless the call was refused because the token acts in another context.
pub(super) fn wrong_context<T>(outcome: Outcome<T>) -> anyhow::Result<()> {
    refused(outcome, Code::PermissionDenied, "WRONG_CONTEXT").map(drop)
}

/// Whoever was in the organization in which `old` acts is not any more, whatever the token says: in organization at once,
/// elsewhere soon, and the own credits are not touched instead.
pub(super) async fn locked_out(old: &Actor) -> anyhow::Result<()> {
    stranger(old.organization().await)?;
    stranger(old.members().await)?;
    stranger(old.projects().await)?;
    stranger(old.items().await)?;
    // More than there is: until the news has come it is refused for that, and changes nothing.
    soon("the end of access in billing", async || stranger(old.charge("1000000", "", "").await)).await?;
    stranger(old.balance().await)
}

/// Deletes the organization in which `owner` acts: not without its slug, and for good where the deployment has no grace.
pub(super) async fn delete(stage: &mut Stage, play: &Play, owner: &Actor, name: &str) -> anyhow::Result<()> {
    let what = format!("{} deletes {name}", owner.name);
    stage
        .step(&what, "OrganizationService/DeleteOrganization", async {
            refused(owner.delete("not-its-slug").await, Code::InvalidArgument, "INVALID_FIELDS")?;
            let slug = part(answer(owner.organization().await)?.organization, "organization")?.slug;
            let deleted = part(answer(owner.delete(&slug).await)?.organization, "organization")?;
            expect("its state", &deleted.state(), &OrganizationState::Deleted)?;
            ended(owner.projects().await)?;
            Ok((people::switch(owner, play, &owner.user).await.map(drop)?, format!("typing its slug, {slug}")))
        })
        .await
}

/// Everything of a deleted organization is gone, and nobody gets it back.
pub(super) async fn gone(play: &Play, owner: &Actor) -> anyhow::Result<()> {
    let personal = people::switch(owner, play, &owner.user).await?;
    let purged = personal.at(&owner.owner);
    eventually("the purge", PATIENCE, async || Ok(stranger(purged.organization().await).ok())).await?;
    stranger(purged.members().await)?;
    stranger(purged.undelete().await)?;
    stranger(owner.items().await)?;
    stranger(owner.projects().await)?;
    // Identity may have heard of the deletion, and not yet of the purge.
    ended(personal.enter(&owner.owner).await)?;
    eventually("the end of its pool", PATIENCE, async || Ok(stranger(owner.charge("1000000", "", "").await).ok()))
        .await?;
    let listed = answer(personal.contexts().await)?.contexts;
    anyhow::ensure!(listed.iter().all(|it| it.owner != owner.owner), "it is still in the switcher");
    Ok(())
}
