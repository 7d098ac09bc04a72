//! What was made for a client is handed off: a project with an agent, and at last the organization that was founded for it.

use bursar_proto::organization::v1::{Project, Role};

use super::Team;
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people},
    guides::steps::{accept, expect_team, invite, stranger},
    stage::Stage,
    wire::{answer, part},
};

/// What the client's organization is called.
const BAKERY: &str = "Bakery";

/// Ada works for the client in an organization of its own, and hands everything off to Dora, who is the client.
pub(super) async fn hand_off(stage: &mut Stage, play: &mut Play, team: &Team, agent: &str) -> anyhow::Result<()> {
    stage.act("Handing off to a client")?;
    let dora = people::arrive(stage, play, "Dora").await?;
    let bakery = at_the_bakery(play, &team.ada).await?;
    invite(stage, (&bakery, &dora), BAKERY, Role::Member).await?;
    let dora = accept(stage, play, &dora, (&bakery.owner, BAKERY), Role::Member).await?;
    let (project, copy) = stage
        .proving(&[3])
        .step("Ada hands a project off to the client", "ProjectService/ReassignProject", async {
            let made = part(answer(bakery.make_project("Spring opening").await)?.project, "project")?;
            expect_text("who answers for it", &made.assigned_to, &bakery.user)?;
            // The agent is Northwind's, and stays so: the client gets a copy.
            let copied = answer(team.ada.copy_into(agent, &[], (&bakery.owner, "")).await)?;
            let copy = part(copied.item, "item")?.id;
            let handed = part(answer(bakery.reassign(&made.id, &dora.user).await)?.project, "project")?;
            is_the_clients(&dora, &handed, &copy).await?;
            Ok(((handed, copy), "Dora answers for it, with a copy of Northwind's agent".to_owned()))
        })
        .await?;
    stage
        .proving(&[3])
        .step("the client takes its organization over", "OrganizationService/TransferOwnership", async {
            let made = part(answer(bakery.transfer(&dora.user).await)?.organization, "organization")?;
            expect_text("the owner", &made.owner_user_id, &dora.user)?;
            answer(bakery.leave().await)?;
            stranger(bakery.projects().await)?;
            stranger(bakery.items().await)?;
            is_the_clients(&dora, &project, &copy).await?;
            Ok((
                (),
                format!("Ada has left, and sees nothing of it: {}", expect_team(&dora, &[(&dora, Role::Owner)]).await?),
            ))
        })
        .await
}

/// Ada in the organization that she founded for the client.
async fn at_the_bakery(play: &Play, ada: &Actor) -> anyhow::Result<Actor> {
    let contexts = answer(ada.contexts().await)?.contexts;
    let bakery = part(contexts.into_iter().find(|it| it.display_name == BAKERY), "context of the client")?;
    people::switch(ada, play, &bakery.owner).await
}

/// Dora answers for the project and works with the agent, both in the client's organization.
async fn is_the_clients(dora: &Actor, project: &Project, agent: &str) -> anyhow::Result<()> {
    let found = part(answer(dora.project(&project.id).await)?.project, "project")?;
    expect("whose it is, and who answers for it", &(&found.owner, &found.assigned_to), &(&dora.owner, &dora.user))?;
    let agent = part(answer(dora.item(agent).await)?.item, "item")?;
    expect("the agent, and whose it is", &(&*agent.name, &agent.owner), &("Sales assistant", &dora.owner))
}
