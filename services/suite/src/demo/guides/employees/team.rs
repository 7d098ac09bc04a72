//! Ben and Cleo join, and each row of the guide's table of roles.

use bursar_proto::organization::v1::{ResendInvitationRequest, Role};
use tonic::Code;

use super::{NORTHWIND, Team, settings::AVATAR};
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people, soon},
    guides::{
        roles,
        steps::{accept, expect_team, invite},
    },
    stage::Stage,
    wire::{answer, part, refused},
};

pub(super) async fn gather(stage: &mut Stage, play: &mut Play, ada: Actor) -> anyhow::Result<Team> {
    stage.act("Inviting members")?;
    let ben = people::arrive(stage, play, "Ben").await?;
    let cleo = people::arrive(stage, play, "Cleo").await?;
    let northwind = (ada.owner.as_str(), NORTHWIND);
    stage
        .proving(&[54])
        .step("nobody is invited as Owner", "InvitationService/CreateInvitation", async {
            refused(ada.invite(&ben.email, Role::Owner).await, Code::InvalidArgument, "INVALID_FIELDS")?;
            Ok(((), "refused: INVALID_FIELDS".to_owned()))
        })
        .await?;
    invite(stage.proving(&[34, 54]), (&ada, &ben), NORTHWIND, Role::Admin).await?;
    let ben = accept(stage.proving(&[55]), play, &ben, northwind, Role::Admin).await?;
    invite(stage.proving(&[34, 40, 54]), (&ben, &cleo), NORTHWIND, Role::Member).await?;
    again(stage, play, &ben, &cleo).await?;
    let cleo = accept(stage, play, &cleo, northwind, Role::Member).await?;
    let team = Team { ada, ben, cleo };
    stage
        .proving(&[3, 8, 33, 37, 46, 55])
        .step("the member list", "MemberService/ListMembers", async {
            let Team { ada, ben, cleo } = &team;
            let wanted = [(ada, Role::Owner), (ben, Role::Admin), (cleo, Role::Member)];
            for member in [ada, ben, cleo] {
                expect_team(member, &wanted).await?;
            }
            Ok(((), expect_team(ada, &wanted).await?))
        })
        .await?;
    Ok(team)
}

/// The first mail is lost; the link in it does not work any more.
async fn again(stage: &mut Stage, play: &mut Play, ben: &Actor, cleo: &Actor) -> anyhow::Result<()> {
    stage
        .proving(&[56])
        .step("Ben sends Cleo's invitation again", "InvitationService/ResendInvitation", async {
            let lost = play.mail.token(&cleo.email).await?;
            let pending = answer(ben.invitations().await)?.invitations;
            let invitation_id = pending.iter().find(|it| it.email == cleo.email).map(|it| it.id.clone());
            let invitation_id = part(invitation_id, "invitation for Cleo")?;
            let request = ResendInvitationRequest { invitation_id, request_id: ben.request_id() };
            answer(ben.wire.invitations().resend_invitation(request).await)?;
            refused(cleo.accept(&lost).await, Code::NotFound, "NOT_FOUND")?;
            Ok(((), "a new link; the one before is dead".to_owned()))
        })
        .await
}

pub(super) async fn roles(stage: &mut Stage, team: &Team) -> anyhow::Result<()> {
    stage.act("Roles")?;
    admin(stage, team).await?;
    member(stage, team).await
}

async fn admin(stage: &mut Stage, Team { ada, ben, cleo }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[35, 40])
        .step("Ben changes Cleo's role and back", "MemberService/UpdateMemberRole", async {
            for role in [Role::Admin, Role::Member] {
                let made = part(answer(ben.set_role(&cleo.user, role).await)?.member, "member")?;
                expect("her role", &made.role(), &role)?;
            }
            Ok(((), "Admin, and Member again".to_owned()))
        })
        .await?;
    stage
        .proving(&[42])
        .step("Ben changes the settings", "OrganizationService/UpdateOrganization", async {
            let made = part(answer(ben.rename(NORTHWIND, "").await)?.organization, "organization")?;
            expect_text("the name", &made.name, NORTHWIND)?;
            answer(ben.set_avatar(AVATAR).await)?;
            let slug = format!("{}-hq", made.slug);
            let made = part(answer(ben.rename("", &slug).await)?.organization, "organization")?;
            expect_text("the slug", &made.slug, &slug)?;
            Ok(((), format!("the name is Northwind again; a picture, and /o/{slug}")))
        })
        .await?;
    stage
        .proving(&[38, 40, 61])
        .step("an Admin does not own it", "OrganizationService/TransferOwnership", async {
            let not_allowed = roles::may_not_own(ben, cleo).await?;
            let transfer = (Code::FailedPrecondition, "OWNER_MUST_TRANSFER");
            refused(ben.set_role(&ada.user, Role::Member).await, transfer.0, transfer.1)?;
            refused(ben.remove(&ada.user).await, transfer.0, transfer.1)?;
            Ok(((), format!("{not_allowed} calls refused: ROLE_NOT_ALLOWED; the owner's role is untouchable")))
        })
        .await
}

async fn member(stage: &mut Stage, Team { ada, ben, cleo }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[15, 16, 36, 44])
        .step("Cleo sees the list and cannot add to it", "InvitationService/ListInvitations", async {
            expect_team(cleo, &[(ada, Role::Owner), (ben, Role::Admin), (cleo, Role::Member)]).await?;
            let refused =
                roles::may_not_manage_members(cleo, ben).await? + roles::may_not_change_settings(cleo).await?;
            Ok(((), format!("{refused} calls refused: ROLE_NOT_ALLOWED, the list of invitations, too")))
        })
        .await?;
    stage
        .proving(&[44, 53, 69])
        .step("Cleo sees no billing tools", "SubscriptionService/GetSubscription", async {
            // She was an Admin a moment ago.
            soon("the end of her role in billing", async || roles::may_not_see_billing(cleo).await.map(drop)).await?;
            Ok(((), "no plan, no lots, no purchases, no top-up: ROLE_NOT_ALLOWED".to_owned()))
        })
        .await
}
