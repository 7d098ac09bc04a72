//! One pool, packs on top of it, and models for everybody.

use bursar_proto::billing::v1::{AutoTopUp, ChargeRequest, ListModelsRequest, ListPacksRequest, LotSource, Usage};
use bursar_proto::google::r#type::Money;

use super::Team;
use crate::demo::{
    cast::{Actor, expect, expect_text, lots, soon},
    guides::{
        library::to_struct,
        steps::{available, not_allowed, pay, usage_of_members},
    },
    stage::Stage,
    wire::{answer, part},
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
