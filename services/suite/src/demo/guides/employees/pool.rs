//! A shared balance and shared agents; what each used is hidden.

use bursar_proto::billing::v1::{GroupBy, ListPlansRequest};

use super::Team;
use crate::demo::{
    cast::{Actor, expect, expect_text},
    guides::{
        library::made,
        steps::{available, not_allowed, pay, total_usage, wrong_context},
    },
    stage::Stage,
    wire::{answer, part},
};

/// Gives the id of the agent that they share.
pub(super) async fn share(stage: &mut Stage, team: &Team) -> anyhow::Result<String> {
    stage.act("A shared balance, and shared agents")?;
    balance(stage, team).await?;
    let Team { ada, ben, cleo } = team;
    let agent = stage
        .proving(&[12, 43])
        .step("Cleo makes an agent, a chat and a broadcast", "LibraryService/CreateItem", async {
            let agent = made(cleo.make_item("agent", "Sales assistant", "").await)?;
            expect_text("where it lives", &agent.owner, &cleo.owner)?;
            made(cleo.make_item("chat", "First customer", &agent.id).await)?;
            made(cleo.make_item("broadcast", "Spring news", "").await)?;
            Ok((agent.id, "in the organization, as a Member".to_owned()))
        })
        .await?;
    stage
        .proving(&[1, 8])
        .step("everybody works with the agent", "LibraryService/GetItem", async {
            for member in [ada, ben, cleo] {
                let item = part(answer(member.item(&agent).await)?.item, "item")?;
                expect_text("the agent", &item.name, "Sales assistant")?;
                expect("its chats", &answer(member.items_under(&agent).await)?.items.len(), &1)?;
            }
            Ok(((), "the agent and its chat, for all three".to_owned()))
        })
        .await?;
    stage
        .proving(&[8])
        .step("a connection is shared, its secret is not", "LibraryService/GetItem", async {
            let fields = [("host", "crm.example.com"), ("api_key", "not for anybody's eyes")];
            let id = made(ben.make_item_with("connection", "Customers", "", &fields).await)?.id;
            let item = part(answer(cleo.item(&id).await)?.item, "item")?;
            let document = part(item.document, "document")?;
            expect("what is secret in it", &item.secrets_set, &vec!["api_key".to_owned()])?;
            expect("what Cleo sees", &document.fields.keys().map(String::as_str).collect::<Vec<_>>(), &vec!["host"])?;
            Ok(((), "Cleo sees host, and that api_key is set".to_owned()))
        })
        .await?;
    stage
        .step("Ben adds a profile", "LibraryService/CreateItem", async {
            let profile = made(ben.make_item("profile", "Northwind, for customers", "").await)?;
            expect_text("where it lives", &profile.owner, &ben.owner)?;
            Ok(((), "in the organization, beside its agents".to_owned()))
        })
        .await?;
    Ok(agent)
}

async fn balance(stage: &mut Stage, Team { ada, ben, .. }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[10, 41, 48])
        .step("Ben puts it on Business", "SubscriptionService/Subscribe", async {
            let made = part(answer(ben.subscribe("business").await)?.subscription, "subscription")?;
            expect("plan and owner", &(made.plan_id.as_str(), &made.owner), &("business", &ben.owner))?;
            expect_text("the balance", &available(ben).await?, "1500")?;
            Ok(((), "the organization's own plan: 1500 a month".to_owned()))
        })
        .await?;
    stage
        .proving(&[41, 53, 69])
        .step("Ben tops the balance up", "PurchaseService/PurchasePack", async {
            answer(ben.buy("starter").await)?;
            expect_text("the balance", &available(ben).await?, "1800")?;
            Ok(((), "1800: 300 that never expire beside the plan's".to_owned()))
        })
        .await?;
    stage
        .proving(&[5, 50, 70])
        .step("the Billing page", "CatalogService/ListPlans", async {
            for manager in [ada, ben] {
                expect_text("the balance", &available(manager).await?, "1800")?;
                let plan = part(answer(manager.subscription().await)?.subscription, "subscription")?.plan_id;
                expect_text("the plan", &plan, "business")?;
                let packs = answer(manager.purchases().await)?.purchases;
                expect(
                    "the purchases",
                    &packs.iter().map(|it| it.pack_id.as_str()).collect::<Vec<_>>(),
                    &vec!["starter"],
                )?;
            }
            let plans = answer(ada.wire.catalog().list_plans(ListPlansRequest::default()).await)?.plans;
            let names: Vec<_> = plans.iter().map(|plan| plan.display_name.as_str()).collect();
            anyhow::ensure!(names.contains(&"Business"), "the plans are {names:?}");
            Ok(((), format!("1800, on Business, one pack bought; plans: {}", names.join(", "))))
        })
        .await
}

pub(super) async fn spend(stage: &mut Stage, alone: &Actor, team: &Team) -> anyhow::Result<()> {
    stage.act("Billing is separate")?;
    let Team { ada, cleo, .. } = team;
    stage
        .proving(&[1, 8, 14, 49])
        .step("a conversation of the agent costs 100", "CreditService/Charge", async {
            pay(cleo, "100", "claude-opus-4.7", "1700").await?;
            expect_text("Ada's own balance", &available(alone).await?, "280")?;
            Ok(((), "1700 left of Northwind's; nobody's personal balance moved".to_owned()))
        })
        .await?;
    stage
        .proving(&[13])
        .step("a personal conversation leaves it alone", "CreditService/Charge", async {
            pay(alone, "10", "claude-opus-4.7", "270").await?;
            expect_text("the organization's balance", &available(ada).await?, "1700")?;
            Ok(((), "270 left of Ada's own, 1700 of Northwind's".to_owned()))
        })
        .await?;
    stage
        .proving(&[21, 71])
        .step("every page shows the current context", "LibraryService/ListItems", async {
            let agents = async |actor: &Actor| {
                let mut items = answer(actor.items().await)?.items;
                anyhow::ensure!(items.iter().all(|it| it.owner == actor.owner), "an item of another context");
                items.retain(|it| it.kind == "agent");
                Ok(items.into_iter().map(|it| it.name).collect::<Vec<_>>())
            };
            expect("her own agents", &agents(alone).await?, &vec!["Receptionist".to_owned()])?;
            expect("Northwind's agents", &agents(ada).await?, &vec!["Sales assistant".to_owned()])?;
            wrong_context(alone.at(&ada.owner).balance().await)?;
            wrong_context(alone.at(&ada.owner).items().await)?;
            wrong_context(ada.at(&ada.user).charge("1", "", "").await)?;
            Ok(((), "one agent each; a token for one is refused for the other: WRONG_CONTEXT".to_owned()))
        })
        .await
}

pub(super) async fn hidden(stage: &mut Stage, Team { ada, ben, cleo }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[9, 51])
        .step("the charge history is hidden", "AccountService/ListLedgerEntries", async {
            for member in [ada, ben, cleo] {
                not_allowed(member.ledger().await)?;
                not_allowed(member.usage(&[GroupBy::Member]).await?)?;
            }
            Ok(((), "from everybody, the owner, too: no ledger, no usage by member".to_owned()))
        })
        .await?;
    stage
        .proving(&[52, 70])
        .step("the aggregate metrics are there", "UsageService/QueryUsage", async {
            expect_text("what was used", &total_usage(ada).await?, "100")?;
            Ok(((), "100 used, whoever it was".to_owned()))
        })
        .await
}
