//! Projects, templates, references and brand assets that the whole team sees.

use bursar_proto::organization::v1::Item;

use super::Team;
use crate::demo::{
    cast::{Actor, expect, expect_text},
    guides::library::made,
    stage::Stage,
    wire::{answer, part},
};

const LOGO: &[u8] = include_bytes!("../avatar.png");

/// Gives the id of Cleo's project.
pub(super) async fn share(stage: &mut Stage, team: &Team) -> anyhow::Result<String> {
    stage.act("Shared workspace")?;
    let Team { ada, ben, cleo, .. } = team;
    let project = stage
        .proving(&[25])
        .step("Cleo starts a project", "ProjectService/CreateProject", async {
            let made = part(answer(cleo.make_project("Spring campaign").await)?.project, "project")?;
            expect(
                "whose it is, and who answers for it",
                &(&made.owner, &made.assigned_to),
                &(&ada.owner, &cleo.user),
            )?;
            Ok((made.id, "the organization's; she is responsible for it".to_owned()))
        })
        .await?;
    stage
        .proving(&[1, 2, 38])
        .step("everybody sees the same projects", "ProjectService/ListProjects", async {
            for member in [ada, ben, cleo] {
                let projects = answer(member.projects().await)?.projects;
                expect(
                    "the projects",
                    &projects.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
                    &vec![&*project],
                )?;
            }
            Ok(((), "Spring campaign, for all three".to_owned()))
        })
        .await?;
    stage
        .proving(&[7])
        .step("prompt templates are shared", "LibraryService/GetItem", async {
            let fields = [("prompt", "A slow pan over {subject}, morning light")];
            let item = made(ben.make_item_with("prompt_template", "Opening shot", "", &fields).await)?;
            seen(&[ada, cleo], &item).await?;
            Ok(((), "Ben's, for Ada and Cleo with its text".to_owned()))
        })
        .await?;
    stage
        .proving(&[8])
        .step("reference libraries are shared", "LibraryService/DownloadContent", async {
            let item = made(cleo.make_item("reference_library", "Moods", "").await)?;
            let item = part(answer(cleo.upload(&item.id, b"dusk, fog, neon\n").await)?.item, "item")?;
            seen(&[ada, ben], &item).await?;
            expect("what is in it", &ben.download(&item.id).await?.as_slice(), &b"dusk, fog, neon\n".as_slice())?;
            Ok(((), "Cleo's, for Ada and Ben with its content".to_owned()))
        })
        .await?;
    brand(stage, team).await?;
    Ok(project)
}

async fn brand(stage: &mut Stage, Team { ada, ben, cleo, .. }: &Team) -> anyhow::Result<()> {
    let template = stage
        .proving(&[9, 15])
        .step("brand assets in a project template", "LibraryService/UploadContent", async {
            let template = made(ada.make_item("project_template", "House brand", "").await)?;
            let logo = made(ada.make_item("brand_asset", "Logo", &template.id).await)?;
            let logo = part(answer(ada.upload(&logo.id, LOGO).await)?.item, "item")?;
            let content = part(logo.content.clone(), "content")?;
            expect_text("what it is", &content.media_type, "image/png")?;
            seen(&[ben, cleo], &template).await?;
            let under = answer(cleo.items_under(&template.id).await)?.items;
            expect(
                "what stands under it",
                &under.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
                &vec![&*logo.id],
            )?;
            expect("the logo", &cleo.download(&logo.id).await?.as_slice(), &LOGO)?;
            Ok((template.id, format!("a logo of {} bytes under House brand", content.size)))
        })
        .await?;
    stage
        .proving(&[9, 15])
        .step("a project starts from the template", "ProjectService/CreateProject", async {
            let made = part(answer(cleo.make_project_from("Launch film", &template).await)?.project, "project")?;
            let items = answer(ben.items_of(&made.id).await)?.items;
            expect("what it begins with", &items.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), &vec!["Logo"])?;
            expect("its logo", &ben.download(&items[0].id).await?.as_slice(), &LOGO)?;
            Ok(((), "Cleo's, with a logo of its own".to_owned()))
        })
        .await
}

async fn seen(members: &[&Actor], item: &Item) -> anyhow::Result<()> {
    for member in members {
        expect("the item", &part(answer(member.item(&item.id).await)?.item, "item")?, item)?;
    }
    Ok(())
}
