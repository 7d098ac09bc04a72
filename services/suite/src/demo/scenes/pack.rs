//! A pack is bought; the month's allowance is still spent first, and a refund returns what came last.

use std::collections::BTreeMap;

use bursar_proto::billing::v1::{
    Allocation, Charge, ChargeRequest, LotSource, PurchaseState, RefundRequest, VerifyLedgerRequest,
};
use tonic::Code;

use super::{Actor, Play, Team, expect, expect_text, in_words, lots, spending};
use crate::demo::{
    stage::Stage,
    wire::{answer, part, refused},
};

pub(super) async fn buy(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    stage.act("A pack")?;
    let Team { id, ada, ben, product } = team;
    purchase(stage, ada).await?;
    let sources = stage
        .step("the burn order: what ends first is spent first", "AccountService/GetBalance", async {
            let now = answer(ada.balance().await)?;
            expect_text("the balance", &now.available, "2219.5")?;
            let wanted = vec![(LotSource::Allowance, "719.5"), (LotSource::Pack, "1500")];
            expect("the burn order", &lots(&now), &wanted)?;
            let pack = now.lots.iter().find(|lot| lot.source() == LotSource::Pack);
            anyhow::ensure!(pack.is_some_and(|pack| pack.expires_at.is_none()), "a pack never expires");
            let shown = format!("{}: {}", now.available, in_words(&lots(&now)));
            let sources = now.lots.iter().map(|lot| (lot.id.clone(), lot.source())).collect();
            Ok((sources, shown))
        })
        .await?;
    let film = ChargeRequest {
        owner: id.clone(),
        amount: "1000".to_owned(),
        model: "veo-3.1".to_owned(),
        member: ben.user.clone(),
        project: "trailer".to_owned(),
        request_id: play.request_id(),
        ..ChargeRequest::default()
    };
    let charge = spending::charge(stage, (product, ben), "Ben gets his film now", &film, ("1000", "1219.5")).await?;
    refund(stage, play, team, &charge, &sources).await?;
    verify(stage, ada, id).await
}

async fn purchase(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage
        .step("Ada tries another card; it is declined", "PurchaseService/PurchasePack", async {
            let outcome = ada.buy_with("standard", "sandbox_declined").await;
            refused(outcome, Code::FailedPrecondition, "PAYMENT_DECLINED")?;
            expect_text("the balance", &answer(ada.balance().await)?.available, "719.5")?;
            Ok(((), "refused: PAYMENT_DECLINED, nothing changed".to_owned()))
        })
        .await?;
    stage
        .step("the saved card pays a Standard pack", "PurchaseService/PurchasePack", async {
            let made = part(answer(ada.buy_with("standard", "").await)?.purchase, "purchase")?;
            expect("the purchase", &(made.state(), made.credits.as_str()), &(PurchaseState::Paid, "1500"))?;
            Ok(((), "$100: 1500 credits that never expire".to_owned()))
        })
        .await
}

async fn refund(
    stage: &mut Stage,
    play: &Play,
    team: &Team,
    charge: &Charge,
    sources: &BTreeMap<String, LotSource>,
) -> anyhow::Result<()> {
    let taken = by_source(&charge.allocations, sources);
    let request = RefundRequest {
        charge_id: charge.id.clone(),
        amount: Some("400".to_owned()),
        request_id: play.request_id(),
        owner: team.id.clone(),
    };
    stage
        .step("two fifths of it failed; they come back", "CreditService/Refund", async {
            expect("what the film took", &taken, &vec![(LotSource::Allowance, "719.5"), (LotSource::Pack, "280.5")])?;
            let refunded = answer(team.product.credits().refund(request).await)?;
            let refund = part(refunded.refund, "refund")?;
            let mut returned = by_source(&refund.allocations, sources);
            returned.sort();
            let wanted = vec![(LotSource::Allowance, "119.5"), (LotSource::Pack, "280.5")];
            expect("where the credits return", &returned, &wanted)?;
            expect_text("the balance", &refunded.balance_after, "1619.5")?;
            Ok(((), "last spent first: pack 280.5, allowance 119.5".to_owned()))
        })
        .await
}

fn by_source<'a>(allocations: &'a [Allocation], sources: &BTreeMap<String, LotSource>) -> Vec<(LotSource, &'a str)> {
    let source = |lot: &str| sources.get(lot).copied().unwrap_or_default();
    allocations.iter().map(|it| (source(&it.lot_id), it.amount.as_str())).collect()
}

/// The ledger, recomputed from its first entry.
pub(super) async fn verify(stage: &mut Stage, ada: &Actor, id: &str) -> anyhow::Result<()> {
    let request = VerifyLedgerRequest { owner: id.to_owned() };
    stage
        .step("the ledger is recomputed", "AccountService/VerifyLedger", async {
            let verdict = answer(ada.wire.accounts().verify_ledger(request).await)?;
            anyhow::ensure!(verdict.valid, "the ledger is bad: {:?}", verdict.first_bad);
            Ok(((), format!("{} entries, every one good", verdict.entries)))
        })
        .await
}
