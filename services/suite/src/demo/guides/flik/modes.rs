//! Personal mode beside organization mode.

use tonic::Code;

use super::{STUDIO, Team};
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people},
    guides::steps::{available, not_allowed, pay, switcher, wrong_context},
    stage::Stage,
    wire::{answer, part, refused},
};

pub(super) async fn toggle(stage: &mut Stage, play: &Play, Team { ada, ben, .. }: &Team) -> anyhow::Result<()> {
    stage.act("Personal and Organization mode")?;
    let (personal, studio) = stage
        .proving(&[36])
        .step("Ben toggles the mode", "ContextService/SwitchContext", async {
            let personal = people::switch(ben, play, &ben.user).await?;
            switcher(&personal).await?;
            let studio = people::switch(&personal, play, &ben.owner).await?;
            let shown = switcher(&studio).await?;
            expect(
                "his organizations",
                &shown.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                &vec![STUDIO],
            )?;
            Ok(((personal, studio), "to Personal and back, a token each".to_owned()))
        })
        .await?;
    stage
        .proving(&[35, 43])
        .step("Ben keeps a Personal workspace", "SubscriptionService/Subscribe", async {
            expect_text("his own credits", &available(&personal).await?, "0")?;
            let made = part(answer(personal.subscribe("business").await)?.subscription, "subscription")?;
            expect_text("whose plan it is", &made.owner, &ben.user)?;
            expect_text("his own credits", &available(&personal).await?, "1500")?;
            Ok(((), "a plan of his own: 1500 credits that are his alone".to_owned()))
        })
        .await?;
    stage
        .proving(&[37])
        .step("his Personal project is private", "ProjectService/GetProject", async {
            let made = part(answer(personal.make_project("My showreel").await)?.project, "project")?;
            expect_text("whose it is", &made.owner, &ben.user)?;
            refused(ada.project(&made.id).await, Code::NotFound, "NOT_FOUND")?;
            refused(studio.project(&made.id).await, Code::NotFound, "NOT_FOUND")?;
            let shared = answer(ada.projects().await)?.projects;
            anyhow::ensure!(shared.iter().all(|it| it.id != made.id), "it is listed for the team");
            Ok(((), "NOT_FOUND for the team, and for himself in the studio".to_owned()))
        })
        .await?;
    stage
        .proving(&[39, 42])
        .step("credits follow the mode", "CreditService/Charge", async {
            let before = available(&studio).await?;
            pay(&personal, "25", "veo-3.1", "1475").await?;
            expect_text("the studio's pool", &available(&studio).await?, &before)?;
            answer(studio.charge("1", "veo-3.1", "").await)?;
            expect_text("his own pool", &available(&personal).await?, "1475")?;
            wrong_context(personal.at(&studio.owner).charge("1", "veo-3.1", "").await)?;
            wrong_context(studio.at(&ben.user).charge("1", "veo-3.1", "").await)?;
            Ok(((), "25 of his own, 1 of the studio's; neither token opens the other pool".to_owned()))
        })
        .await?;
    billing(stage, play, ada, (&personal, &studio)).await
}

/// What is bought in a mode is on the invoices and payments of that mode alone: Ben's, in Personal and in the studio, where they
/// are the owner's to see, and Ada's.
async fn billing(
    stage: &mut Stage,
    play: &Play,
    ada: &Actor,
    (personal, studio): (&Actor, &Actor),
) -> anyhow::Result<()> {
    stage
        .proving(&[39])
        .step("invoices and payments follow the mode", "InvoiceService/ListInvoices", async {
            expect("Ben's own invoices and payments", &billed(personal).await?, &(1, 1))?;
            not_allowed(studio.invoices().await)?;
            not_allowed(studio.payments().await)?;
            let alone = people::switch(ada, play, &ada.user).await?;
            let (own, studios) = (billed(&alone).await?, billed(ada).await?);
            expect("Ada's own invoices", &own.0, &1)?;
            anyhow::ensure!(studios.0 > 1 && studios.1 > 1, "the studio's invoices and payments are {studios:?}");
            wrong_context(alone.at(&ada.owner).invoices().await)?;
            wrong_context(ada.at(&ada.user).payments().await)?;
            people::switch(&alone, play, &ada.owner).await?;
            Ok(((), format!("one of Ben's own, one of Ada's, {} of the studio's, in no other's list", studios.0)))
        })
        .await
}

/// How many invoices and payments there are in the mode, each of which is of nobody else.
async fn billed(actor: &Actor) -> anyhow::Result<(usize, usize)> {
    let invoices = answer(actor.invoices().await)?.invoices;
    let payments = answer(actor.payments().await)?.payments;
    for owner in invoices.iter().map(|it| &it.owner).chain(payments.iter().map(|it| &it.owner)) {
        expect_text("whose it is", owner, &actor.owner)?;
    }
    Ok((invoices.len(), payments.len()))
}
