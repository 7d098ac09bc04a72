//! Organizations are founded, found in the switcher, and changed.

use bursar_proto::organization::v1::{GetAvatarRequest, Role};
use tonic::Code;

use super::NORTHWIND;
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people},
    guides::{fit, steps::switcher},
    stage::Stage,
    wire::{answer, part, refused},
};

/// A small picture.
pub(super) const AVATAR: &[u8] = include_bytes!("../avatar.png");

/// Founds Northwind and an organization for a client; gives Ada in Northwind.
pub(super) async fn found(stage: &mut Stage, play: &mut Play, ada: &Actor) -> anyhow::Result<Actor> {
    stage.act("Creating organizations")?;
    stage
        .proving(&[22])
        .step("a name is required", "OrganizationService/CreateOrganization", async {
            refused(ada.found("", "").await, Code::InvalidArgument, "INVALID_FIELDS")?;
            Ok(((), "refused: INVALID_FIELDS".to_owned()))
        })
        .await?;
    stage
        .proving(&[24])
        .step("a slug is letters, digits and hyphens", "OrganizationService/CreateOrganization", async {
            for slug in ["north wind", "nörthwind", "north_wind", "-northwind"] {
                refused(ada.found(NORTHWIND, slug).await, Code::InvalidArgument, "INVALID_FIELDS")?;
            }
            Ok(((), "four others refused: INVALID_FIELDS".to_owned()))
        })
        .await?;
    let (id, slug) = stage
        .proving(&[20, 26, 28])
        .step("Ada founds Northwind", "OrganizationService/CreateOrganization", async {
            let made = part(answer(ada.found(NORTHWIND, "").await)?.organization, "organization")?;
            expect("owner and role", &(&made.owner_user_id, made.role()), &(&ada.user, Role::Owner))?;
            anyhow::ensure!(made.slug.starts_with("northwind"), "the slug {} is not made of the name", made.slug);
            let shown = format!("she is its owner; slug {}, made from the name", made.slug);
            Ok(((made.id, made.slug), shown))
        })
        .await?;
    let northwind = stage
        .proving(&[27])
        .step("her session has moved into it", "SessionService/Refresh", async {
            Ok((people::follow(ada, play, &id).await?, "the next token acts for Northwind".to_owned()))
        })
        .await?;
    fit::runs_with(stage, &northwind, bursar_runtime::Preset::Employees).await?;
    stage
        .proving(&[25])
        .step("the slug leads to it", "OrganizationService/GetOrganization", async {
            let found = part(answer(northwind.organization_by_slug(&slug).await)?.organization, "organization")?;
            expect_text("the organization", &found.id, &id)?;
            Ok(((), format!("/o/{slug}")))
        })
        .await?;
    several(stage, play, northwind).await
}

async fn several(stage: &mut Stage, play: &Play, northwind: Actor) -> anyhow::Result<Actor> {
    let client = stage
        .proving(&[3, 24, 29, 65])
        .step("Ada founds a second one for a client", "OrganizationService/CreateOrganization", async {
            let asked = format!("Bakery-{}", play.run());
            let made = part(answer(northwind.found("Bakery", &asked).await)?.organization, "organization")?;
            expect_text("the slug", &made.slug, &asked.to_lowercase())?;
            let shown = format!("slug {}, as she wanted it", made.slug);
            Ok((people::switch(&northwind, play, &made.id).await?, shown))
        })
        .await?;
    stage
        .proving(&[17, 18, 23, 29, 65])
        .step("the context switcher", "ContextService/ListContexts", async {
            let wanted = ["Bakery", NORTHWIND].map(|name| (name.to_owned(), Role::Owner)).to_vec();
            expect("her organizations", &switcher(&client).await?, &wanted)?;
            let current = part(answer(client.organization().await)?.organization, "organization")?;
            expect_text("the name in the header", &current.name, "Bakery")?;
            Ok(((), "personal first, then both with her role; the current one is marked".to_owned()))
        })
        .await?;
    stage
        .proving(&[6])
        .step("Ada switches with one click", "ContextService/SwitchContext", async {
            for owner in [&client.user, &northwind.owner] {
                switcher(&people::switch(&client, play, owner).await?).await?;
            }
            Ok((people::switch(&client, play, &northwind.owner).await?, "to herself, and to Northwind".to_owned()))
        })
        .await
}

pub(super) async fn change(stage: &mut Stage, play: &Play, ada: &Actor) -> anyhow::Result<()> {
    stage.act("Organization settings, General")?;
    stage
        .proving(&[30])
        .step("Ada uploads an avatar", "OrganizationService/SetAvatar", async {
            answer(ada.set_avatar(AVATAR).await)?;
            let request =
                GetAvatarRequest { organization_id: ada.owner.clone(), size: 64, ..GetAvatarRequest::default() };
            let picture = answer(ada.wire.organizations().get_avatar(request).await)?;
            anyhow::ensure!(!picture.content.is_empty(), "there is no picture");
            Ok(((), format!("drawn anew: {}, {} bytes", picture.media_type, picture.content.len())))
        })
        .await?;
    let old = stage
        .proving(&[19, 31])
        .step("Ada changes the name", "OrganizationService/UpdateOrganization", async {
            let made = part(answer(ada.rename("Northwind Labs", "").await)?.organization, "organization")?;
            expect_text("the name", &made.name, "Northwind Labs")?;
            Ok((made.slug, "Northwind Labs; the slug stays".to_owned()))
        })
        .await?;
    stage
        .proving(&[32])
        .step("Ada changes the slug", "OrganizationService/UpdateOrganization", async {
            let slug = format!("labs-{}", play.run());
            let made = part(answer(ada.rename("", &slug).await)?.organization, "organization")?;
            expect_text("the slug", &made.slug, &slug)?;
            let new = answer(ada.organization_by_slug(&slug).await)?;
            let old = answer(ada.organization_by_slug(&old).await)?;
            expect("whether each has moved", &(new.moved, old.moved), &(false, true))?;
            let led = part(old.organization, "organization")?;
            expect("where the old one leads", &(led.id, led.slug), &(ada.owner.clone(), slug.clone()))?;
            Ok(((), format!("/o/{slug}; the old one still leads there, marked as moved")))
        })
        .await
}
