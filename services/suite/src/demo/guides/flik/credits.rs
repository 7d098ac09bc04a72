//! One pool, packs on top of it, and models for everybody.

use bursar_proto::billing::v1::{
    AutoTopUp, ChargeRequest, DeleteLimitRequest, HoldRequest, LimitMode, LimitSubject, LimitWindow, ListModelsRequest,
    ListPacksRequest, LotSource, ReleaseRequest, SetLimitRequest, Usage, limit_subject::Subject,
};
use bursar_proto::google::r#type::Money;
use tonic::Code;

use super::Team;
use crate::demo::{
    cast::{Actor, expect, expect_text, lots, soon},
    guides::{
        library::to_struct,
        steps::{available, not_allowed, pay, usage_of_members},
    },
    stage::Stage,
    wire::{answer, part, refused},
};

pub(super) async fn pool(stage: &mut Stage, Team { ada, ben, cleo, .. }: &Team, project: &str) -> anyhow::Result<()> {
    stage.act("Credit pooling")?;
    stage
        .proving(&[1, 3, 5, 24, 26])
        .step("everybody draws from one pool", "CreditService/Charge", async {
            pay(ada, "100", "veo-3.1", "1400").await?;
            pay(ben, "50", "claude-opus-4.7", "1350").await?;
            let charged = answer(cleo.charge("250", "kling-3.0-pro", project).await)?;
            expect_text("what is left", &charged.balance_after, "1100")?;
            Ok(((), "100 by Ada, 50 by Ben, 250 by Cleo: 1100 of 1500 left".to_owned()))
        })
        .await?;
    stage
        .proving(&[28])
        .step("a heavy day of Cleo's", "CreditService/Charge", async {
            pay(cleo, "900", "veo-3.1", "200").await?;
            pay(ben, "10", "claude-opus-4.7", "190").await?;
            Ok(((), "900 at once, and Ben goes on working".to_owned()))
        })
        .await?;
    stage
        .proving(&[10, 29])
        .step("the Usage tab", "UsageService/QueryUsage", async {
            let mut wanted =
                [(ada, "100"), (ben, "60"), (cleo, "1150")].map(|(who, used)| (who.user.clone(), used.to_owned()));
            wanted.sort();
            for manager in [ada, ben] {
                let mut used = usage_of_members(manager).await?;
                used.sort();
                expect("what each used", &used, &wanted.to_vec())?;
            }
            let by_member = [bursar_proto::billing::v1::GroupBy::Member];
            not_allowed(cleo.usage(&by_member).await?)?;
            Ok(((), "Ada 100, Ben 60, Cleo 1150; for Owner and Admins".to_owned()))
        })
        .await
}

/// Whoever has used much is held to a share of the pool, for as long as the owner wants.
pub(super) async fn rebalance(stage: &mut Stage, Team { ada, ben, cleo, .. }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[30])
        .step("Ada holds Cleo to a share of the pool", "LimitService/SetLimit", async {
            let share = || SetLimitRequest {
                owner: ada.owner.clone(),
                subject: Some(LimitSubject { subject: Some(Subject::Member(cleo.user.clone())) }),
                window: LimitWindow::Period.into(),
                amount: "1200".to_owned(),
                mode: LimitMode::Hard.into(),
                request_id: ada.request_id(),
                ..SetLimitRequest::default()
            };
            not_allowed(ben.wire.limits().set_limit(share()).await)?;
            let set = part(answer(ada.wire.limits().set_limit(share()).await)?.limit, "limit")?;
            expect("the share, and what she has used of it", &(&*set.amount, &*set.used), &("1200", "1150"))?;
            let more = cleo.charge("50.000001", "veo-3.1", "").await;
            let told = refused(more, Code::FailedPrecondition, "LIMIT_REACHED")?;
            let subject = format!("member:{}", cleo.user);
            expect("whom the limit is about", &told.get("subject"), &Some(&subject))?;
            reserve_and_release(cleo, "50").await?;
            reserve_and_release(ben, "190").await?;
            expect_text("what is left of the pool", &available(cleo).await?, "190")?;
            let (owner, request_id) = (ada.owner.clone(), ada.request_id());
            answer(ada.wire.limits().delete_limit(DeleteLimitRequest { owner, limit_id: set.id, request_id }).await)?;
            reserve_and_release(cleo, "190").await?;
            Ok(((), "1200 a month: above it LIMIT_REACHED for her, not for Ben; then she is free again".to_owned()))
        })
        .await
}

/// So much could be spent; nothing is.
async fn reserve_and_release(member: &Actor, amount: &str) -> anyhow::Result<()> {
    let request = HoldRequest {
        owner: member.owner.clone(),
        amount: amount.to_owned(),
        request_id: member.request_id(),
        ..HoldRequest::default()
    };
    let hold_id = part(answer(member.wire.credits().hold(request).await)?.hold, "hold")?.id;
    let (owner, request_id) = (member.owner.clone(), member.request_id());
    answer(member.wire.credits().release(ReleaseRequest { owner, hold_id, request_id }).await).map(drop)
}

pub(super) async fn packs(stage: &mut Stage, Team { ada, cleo, .. }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[31])
        .step("the packs", "CatalogService/ListPacks", async {
            let packs = answer(ada.wire.catalog().list_packs(ListPacksRequest::default()).await)?.packs;
            let price = |pack: &bursar_proto::billing::v1::Pack| pack.price.as_ref().map_or(0, |price| price.units);
            let is: Vec<_> = packs.iter().map(|pack| (pack.display_name.as_str(), price(pack))).collect();
            for wanted in [("Starter", 20), ("Standard", 100), ("Premium", 200)] {
                anyhow::ensure!(is.contains(&wanted), "the packs are {is:?}, without {wanted:?}");
            }
            Ok(((), "Starter $20, Standard $100, Premium $200".to_owned()))
        })
        .await?;
    stage
        .proving(&[16, 30, 32])
        .step("Ada buys a Standard pack", "PurchaseService/PurchasePack", async {
            answer(ada.buy("standard").await)?;
            expect_text("the organization's balance", &available(cleo).await?, "1690")?;
            Ok(((), "190 and 1500: everybody has 1690 to spend".to_owned()))
        })
        .await?;
    stage
        .proving(&[6])
        .step("a pack's invoice is the studio's, too", "InvoiceService/ListInvoices", async {
            let invoices = answer(ada.invoices().await)?.invoices;
            let is: Vec<_> =
                invoices.iter().map(|it| (it.owner.as_str(), it.total.as_ref().map(|it| it.units))).collect();
            expect("the studio's invoices", &is, &vec![(ada.owner.as_str(), Some(100))])?;
            let number = part(invoices.first(), "invoice")?.number.clone();
            Ok(((), format!("{number} over $100, to the studio, whoever of the five spends the credits")))
        })
        .await?;
    stage
        .proving(&[33, 34])
        .step("packs never expire, and stack", "AccountService/GetBalance", async {
            answer(ada.buy("starter").await)?;
            let balance = answer(ada.balance().await)?;
            let wanted = vec![(LotSource::Allowance, "190"), (LotSource::Pack, "1500"), (LotSource::Pack, "300")];
            expect("the burn order", &lots(&balance), &wanted)?;
            let expire: Vec<_> = balance.lots.iter().map(|lot| lot.expires_at.is_some()).collect();
            expect("what expires", &expire, &vec![true, false, false])?;
            Ok(((), "the month's 190 go first; 1500 and 300 stay as long as it takes".to_owned()))
        })
        .await?;
    stage
        .proving(&[30])
        .step("a pack comes by itself when needed", "AccountService/UpdateAccountSettings", async {
            let on = |enabled| AutoTopUp {
                enabled,
                threshold: "1900".to_owned(),
                pack_id: "starter".to_owned(),
                monthly_ceiling: Some(Money { currency_code: "USD".to_owned(), units: 20, nanos: 0 }),
                payment_method: "sandbox_ok".to_owned(),
                ..AutoTopUp::default()
            };
            answer(ada.top_up(on(true)).await)?;
            pay(cleo, "91", "veo-3.1", "1899").await?;
            soon("the pack", async || expect_text("what there is", &available(cleo).await?, "2199")).await?;
            answer(ada.top_up(on(false)).await)?;
            Ok(((), "below 1900, a Starter pack for $20, and no more than that in a month".to_owned()))
        })
        .await
}

pub(super) async fn models(stage: &mut Stage, team: &Team) -> anyhow::Result<()> {
    let Team { ada, ben, cleo, .. } = team;
    stage
        .proving(&[47])
        .step("every member may use every model", "CreditService/Charge", async {
            let models = answer(ada.wire.catalog().list_models(ListModelsRequest::default()).await)?.models;
            for model in &models {
                let meter = part(model.meters.first(), "meter")?;
                for member in [ada, ben, cleo] {
                    let usage = vec![Usage { meter: meter.meter.clone(), quantity: "0.1".to_owned() }];
                    generate(member, &model.id, usage).await?;
                }
            }
            Ok(((), format!("{} models, each by all three", models.len())))
        })
        .await?;
    stage
        .proving(&[48])
        .step("each has an agent mode of one's own", "MemberService/UpdatePreferences", async {
            let modes = [(ada, "claude-opus-4.7"), (cleo, "gemini-3.1-pro")];
            for (member, model) in modes {
                answer(member.prefer(&[("agent_mode", model)]).await)?;
            }
            for (member, model) in modes {
                expect("the mode", &member.preferences().await?, &to_struct(&[("agent_mode", model)]))?;
            }
            expect("Ben's", &ben.preferences().await?, &to_struct(&[]))?;
            Ok(((), "Claude Opus 4.7 for Ada, Gemini 3.1 Pro for Cleo, Ben undecided".to_owned()))
        })
        .await
}

async fn generate(member: &Actor, model: &str, usage: Vec<Usage>) -> anyhow::Result<()> {
    let request = ChargeRequest {
        owner: member.owner.clone(),
        model: model.to_owned(),
        usage,
        request_id: member.request_id(),
        ..ChargeRequest::default()
    };
    let charge = part(answer(member.wire.credits().charge(request).await)?.charge, "charge")?;
    expect("model and member", &(charge.model.as_str(), &charge.member), &(model, &member.user))
}
