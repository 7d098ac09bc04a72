//! Both spend from one pool, once each time, and never more than there is.

use bursar_proto::billing::v1::{ChargeRequest, LotSource, Usage};
use tonic::Code;

use super::{Actor, Play, Team, expect, expect_text, in_words, lots};
use crate::demo::{
    stage::Stage,
    wire::{Wire, answer, part, refused},
};

pub(super) async fn spend(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    stage.act("One pool for both")?;
    let Team { id, ada, ben, product } = team;
    let project = project(stage, ada).await?;

    let film = ChargeRequest {
        owner: id.clone(),
        model: "veo-3.1".to_owned(),
        usage: vec![Usage { meter: "seconds".to_owned(), quantity: "120".to_owned() }],
        member: ada.user.clone(),
        project,
        labels: [("scene".to_owned(), "opening".to_owned())].into(),
        request_id: play.request_id(),
        ..ChargeRequest::default()
    };
    charge(stage, (product, ada), "120 seconds of film for Ada, by the rate card", &film, ("720", "780")).await?;
    let script = ChargeRequest {
        owner: id.clone(),
        amount: "60.5".to_owned(),
        model: "claude-opus-4.7".to_owned(),
        project: film.project.clone(),
        labels: [("task".to_owned(), "script".to_owned())].into(),
        request_id: play.request_id(),
        ..ChargeRequest::default()
    };
    charge(stage, (&ben.wire, ben), "Ben has a script written", &script, ("60.5", "719.5")).await?;
    again(stage, ben, &script).await?;
    too_much(stage, play, team, &film).await?;
    stage
        .step("what is left", "AccountService/GetBalance", async {
            let left = answer(ada.balance().await)?;
            expect_text("the balance", &left.available, "719.5")?;
            expect_text("what was spent in this period", &left.spent_this_period, "780.5")?;
            expect("its lots", &lots(&left), &vec![(LotSource::Allowance, "719.5")])?;
            Ok(((), format!("{} of 1500: {}", left.available, in_words(&lots(&left)))))
        })
        .await
}

async fn project(stage: &mut Stage, ada: &Actor) -> anyhow::Result<String> {
    stage
        .step("Ada makes a project", "ProjectService/CreateProject", async {
            let made = part(answer(ada.make_project("Spring campaign").await)?.project, "project")?;
            expect_text("its owner", &made.owner, &ada.owner)?;
            Ok((made.id, made.name))
        })
        .await
}

/// Charges for a member, by the member or by the product, and checks the amount and the balance that must come out.
pub(super) async fn charge(
    stage: &mut Stage,
    (wire, member): (&Wire, &Actor),
    what: &str,
    request: &ChargeRequest,
    (amount, balance_after): (&str, &str),
) -> anyhow::Result<bursar_proto::billing::v1::Charge> {
    stage
        .step(what, "CreditService/Charge", async {
            let charged = answer(wire.credits().charge(request.clone()).await)?;
            anyhow::ensure!(!charged.replayed, "the charge is a new one");
            let charge = part(charged.charge, "charge")?;
            expect_text("the amount", &charge.amount, amount)?;
            expect_text("the member", &charge.member, &member.user)?;
            expect_text("the balance", &charged.balance_after, balance_after)?;
            Ok((charge, format!("{amount} credits, {balance_after} left")))
        })
        .await
}

async fn again(stage: &mut Stage, ben: &Actor, request: &ChargeRequest) -> anyhow::Result<()> {
    stage
        .step("Ben's tool sends the same request again", "CreditService/Charge", async {
            let charged = answer(ben.wire.credits().charge(request.clone()).await)?;
            anyhow::ensure!(charged.replayed, "the first charge should have been replayed");
            expect_text("the balance", &charged.balance_after, "719.5")?;
            Ok(((), "the first answer, and no second charge".to_owned()))
        })
        .await
}

async fn too_much(stage: &mut Stage, play: &Play, team: &Team, film: &ChargeRequest) -> anyhow::Result<()> {
    let request = ChargeRequest {
        amount: "1000".to_owned(),
        usage: Vec::new(),
        member: team.ben.user.clone(),
        request_id: play.request_id(),
        ..film.clone()
    };
    stage
        .step("Ben wants a film for 1000 credits", "CreditService/Charge", async {
            let outcome = team.product.credits().charge(request).await;
            let told = refused(outcome, Code::FailedPrecondition, "INSUFFICIENT_CREDITS")?;
            let told = ["available", "required"].map(|key| told.get(key).map_or("", String::as_str));
            expect("what the refusal tells", &told, &["719.5", "1000"])?;
            Ok(((), "refused: INSUFFICIENT_CREDITS, 719.5 available".to_owned()))
        })
        .await
}
