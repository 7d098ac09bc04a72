//! A member leaves, and the work stays.

use super::{STUDIO, Team};
use crate::demo::{
    cast::{Play, expect, expect_text},
    guides::{
        erasure::Inventory,
        steps::{delete, gone, locked_out, not_allowed},
    },
    stage::Stage,
    wire::{answer, part},
};

pub(super) async fn part_ways(
    stage: &mut Stage,
    play: &Play,
    Team { ada, ben, cleo, .. }: &Team,
    project: &str,
) -> anyhow::Result<()> {
    stage.act("When a team member leaves")?;
    stage
        .proving(&[45])
        .step("Cleo leaves and has no access any more", "MemberService/LeaveOrganization", async {
            not_allowed(cleo.reassign(project, &ben.user).await)?;
            answer(cleo.leave().await)?;
            locked_out(cleo).await?;
            Ok(((), "NOT_A_MEMBER, in billing within two seconds, too".to_owned()))
        })
        .await?;
    stage
        .proving(&[44])
        .step("the work persists", "ProjectService/GetProject", async {
            let found = part(answer(ada.project(project).await)?.project, "project")?;
            expect(
                "who made it and answers for it",
                &(&found.created_by, &found.assigned_to),
                &(&cleo.user, &cleo.user),
            )?;
            Ok(((), "Cleo's project is there, still assigned to her".to_owned()))
        })
        .await?;
    stage
        .proving(&[46])
        .step("Ben reassigns Cleo's project", "ProjectService/ReassignProject", async {
            let found = part(answer(ben.reassign(project, &ben.user).await)?.project, "project")?;
            expect_text("who answers for it", &found.assigned_to, &ben.user)?;
            Ok(((), "he is responsible for it now".to_owned()))
        })
        .await?;
    let kinds = ["prompt_template", "reference_library", "project_template", "brand_asset"];
    let had = Inventory::take(stage, play, ada, &kinds).await?;
    delete(stage.proving(&[19]), play, ada, STUDIO).await?;
    stage
        .proving(&[19])
        .step("it is gone for good", "OrganizationService/GetOrganization", async {
            gone(play, ada).await?;
            Ok(((), "NOT_A_MEMBER, as if it had never been".to_owned()))
        })
        .await?;
    stage
        .proving(&[19])
        .step("nothing of it is left", "LibraryService/GetItem", async {
            had.is_erased().await?;
            Ok(((), "no item and no project for the product, no name for the operator".to_owned()))
        })
        .await
}
