//! Members leave, return and are removed; the organization changes hands.

use std::io::{Cursor, Read as _};

use anyhow::Context as _;
use bursar_proto::organization::v1::Role;
use tonic::Code;
use zip::ZipArchive;

use super::{NORTHWIND, Team, alone::KNOWLEDGE};
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people},
    guides::{
        erasure::Inventory,
        steps::{accept, delete, expect_team, gone, invite, locked_out, pay},
    },
    stage::Stage,
    wire::{answer, part, refused},
};

/// Gives Cleo, back in Northwind.
pub(super) async fn leave_and_return(
    stage: &mut Stage,
    play: &mut Play,
    team: &Team,
    agent: &str,
) -> anyhow::Result<Actor> {
    stage.act("Leaving and coming back")?;
    let Team { ada, ben, cleo } = team;
    stage
        .proving(&[39])
        .step("the owner cannot leave", "MemberService/LeaveOrganization", async {
            refused(ada.leave().await, Code::FailedPrecondition, "OWNER_MUST_TRANSFER")?;
            Ok(((), "refused: OWNER_MUST_TRANSFER".to_owned()))
        })
        .await?;
    stage
        .proving(&[45, 57])
        .step("Cleo leaves", "MemberService/LeaveOrganization", async {
            answer(cleo.leave().await)?;
            Ok(((), expect_team(ada, &[(ada, Role::Owner), (ben, Role::Admin)]).await?))
        })
        .await?;
    stage
        .proving(&[58])
        .step("Cleo has no access any more", "CreditService/Charge", async {
            locked_out(cleo).await?;
            Ok(((), "NOT_A_MEMBER, in billing within two seconds, too".to_owned()))
        })
        .await?;
    stage
        .proving(&[59, 67])
        .step("what Cleo made is still there", "LibraryService/GetItem", async {
            kept(ben, cleo, agent).await?;
            Ok(((), "her agent and its chat".to_owned()))
        })
        .await?;
    invite(stage, (ben, cleo), "Northwind again", Role::Member).await?;
    let own = people::sign_in(play, cleo.name, &cleo.email).await?;
    let back = (ada.owner.as_str(), "Northwind again");
    let cleo = accept(stage.proving(&[68]), play, &own, back, Role::Member).await?;
    stage
        .proving(&[68])
        .step("her access is restored", "CreditService/Charge", async {
            kept(&cleo, &cleo, agent).await?;
            pay(&cleo, "1", "claude-opus-4.7", "1699").await?;
            Ok(((), "the agent that she made, and the shared balance".to_owned()))
        })
        .await?;
    Ok(cleo)
}

/// The agent that Cleo made is there for `actor`, with its chat.
async fn kept(actor: &Actor, cleo: &Actor, agent: &str) -> anyhow::Result<()> {
    let item = part(answer(actor.item(agent).await)?.item, "item")?;
    expect_text("who made it", &item.created_by, &cleo.user)?;
    expect("its chats", &answer(actor.items_under(agent).await)?.items.len(), &1)
}

pub(super) async fn remove(stage: &mut Stage, team: &Team, cleo: &Actor, agent: &str) -> anyhow::Result<()> {
    let Team { ada, ben, .. } = team;
    stage
        .proving(&[35, 40, 60])
        .step("Ben removes Cleo", "MemberService/RemoveMember", async {
            answer(ben.remove(&cleo.user).await)?;
            Ok(((), expect_team(ada, &[(ada, Role::Owner), (ben, Role::Admin)]).await?))
        })
        .await?;
    stage
        .proving(&[66, 67])
        .step("Cleo is locked out", "CreditService/Charge", async {
            locked_out(cleo).await?;
            kept(ada, cleo, agent).await?;
            Ok(((), "NOT_A_MEMBER; her agent stays with Northwind".to_owned()))
        })
        .await
}

pub(super) async fn hand_over(stage: &mut Stage, Team { ada, ben, .. }: &Team) -> anyhow::Result<()> {
    stage.act("Transferring ownership")?;
    stage
        .proving(&[38, 47, 72])
        .step("Ada makes Ben the owner", "OrganizationService/TransferOwnership", async {
            let made = part(answer(ada.transfer(&ben.user).await)?.organization, "organization")?;
            expect("the owner, and Ada's role", &(&made.owner_user_id, made.role()), &(&ben.user, Role::Admin))?;
            Ok(((), format!("{} is the owner of {NORTHWIND}, {} an Admin", ben.name, ada.name)))
        })
        .await?;
    stage
        .proving(&[46])
        .step("there is exactly one owner", "MemberService/ListMembers", async {
            Ok(((), expect_team(ben, &[(ben, Role::Owner), (ada, Role::Admin)]).await?))
        })
        .await?;
    stage
        .proving(&[47, 57, 72])
        .step("Ada can leave now", "MemberService/LeaveOrganization", async {
            answer(ada.leave().await)?;
            Ok(((), expect_team(ben, &[(ben, Role::Owner)]).await?))
        })
        .await
}

pub(super) async fn end(stage: &mut Stage, play: &Play, ben: &Actor) -> anyhow::Result<()> {
    stage.act("Deleting the organization")?;
    stage
        .proving(&[64])
        .step("Ben exports chats and knowledge first", "OrganizationService/ExportOrganization", async {
            let mut items = answer(ben.items().await)?.items;
            items.retain(|it| it.kind == "knowledge_base" && it.content.is_some());
            let knowledge = part(items.pop(), "knowledge base")?.id;
            let archive = ben.export().await?;
            anyhow::ensure!(archive.starts_with(b"PK"), "it is no zip archive");
            let size = archive.len();
            let mut archive = ZipArchive::new(Cursor::new(archive)).context("it is no zip archive")?;
            let mut file = |name: &str| {
                let mut bytes = Vec::new();
                archive.by_name(name).with_context(|| format!("no {name}"))?.read_to_end(&mut bytes)?;
                anyhow::Ok(bytes)
            };
            expect("what the agent knows", &file(&format!("library/content/{knowledge}"))?.as_slice(), &KNOWLEDGE)?;
            let items = String::from_utf8(file("library/items.ndjson")?)?;
            let chats = items.lines().filter(|line| line.contains("\"chat\"") && line.contains("First customer"));
            expect("the chats in the archive", &chats.count(), &1)?;
            file("manifest.json")?;
            Ok(((), format!("a zip of {size} bytes, with the chat and the content of the knowledge base")))
        })
        .await?;
    let had = Inventory::take(stage, play, ben, &["agent", "chat", "profile"]).await?;
    delete(stage.proving(&[38, 61]), play, ben, NORTHWIND).await?;
    stage
        .proving(&[63])
        .step("it is gone for good", "OrganizationService/GetOrganization", async {
            gone(play, ben).await?;
            Ok(((), "NOT_A_MEMBER, as if it had never been; nor can it be undeleted".to_owned()))
        })
        .await?;
    stage
        .proving(&[62, 63])
        .step("agents, chats and profiles are erased", "LibraryService/GetItem", async {
            had.is_erased().await?;
            Ok(((), "the product finds none of them, the operator no name either".to_owned()))
        })
        .await
}
