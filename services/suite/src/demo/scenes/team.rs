//! Ada founds an organization, puts it on a plan and invites Ben.

use bursar_proto::{identity::v1::ContextKind, organization::v1::Role};

use super::{Actor, Play, Team, expect, expect_text, people, product};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

pub(super) async fn found(stage: &mut Stage, play: &mut Play, ada: Actor, ben: Actor) -> anyhow::Result<Team> {
    stage.act("A team")?;
    let (ada, id) = create(stage, play, ada).await?;
    save_card(stage, &ada).await?;
    subscribe(stage, &ada).await?;
    invite(stage, &ada, &ben).await?;
    let ben = accept(stage, play, ben, &id).await?;
    let product = product::hire(stage, play).await?;
    Ok(Team { id, ada, ben, product })
}

async fn create(stage: &mut Stage, play: &Play, ada: Actor) -> anyhow::Result<(Actor, String)> {
    let id = stage
        .step("Ada founds Northwind Studio", "OrganizationService/CreateOrganization", async {
            let made = part(answer(ada.found("Northwind Studio", "").await)?.organization, "organization")?;
            expect_text("the owner", &made.owner_user_id, &ada.user)?;
            expect("her role", &made.role(), &Role::Owner)?;
            Ok((made.id.clone(), format!("{}, slug {}", made.id, made.slug)))
        })
        .await?;
    let ada = stage
        .step("her session has moved into it", "SessionService/Refresh", async {
            let ada = people::follow(&ada, play, &id).await?;
            let list = answer(ada.contexts().await)?;
            let kinds: Vec<_> = list.contexts.iter().map(|it| (it.kind(), it.current)).collect();
            let wanted = vec![(ContextKind::Personal, false), (ContextKind::Organization, true)];
            expect("the list of her contexts", &kinds, &wanted)?;
            Ok((ada, "a new pair of tokens, for the organization".to_owned()))
        })
        .await?;
    Ok((ada, id))
}

async fn save_card(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage
        .step("Ada saves a card for it", "PaymentService/BeginSetup", async {
            let card = part(answer(ada.save_card().await)?.payment_method, "payment method")?;
            anyhow::ensure!(card.default, "the first card pays where none is named");
            expect_text("who added it", &card.added_by, &ada.user)?;
            Ok(((), format!("{} {}, which pays from now on", card.brand, card.last4)))
        })
        .await
}

async fn subscribe(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage
        .step("Ada subscribes it to Business", "SubscriptionService/Subscribe", async {
            let made = part(answer(ada.subscribe_with("business", "").await)?.subscription, "subscription")?;
            let price = part(made.price, "price")?;
            expect("the price", &(price.units, price.currency_code.as_str()), &(100, "USD"))?;
            expect("what it includes", &(made.credits.as_str(), made.seats), &("1500", 10))?;
            expect_text("the balance", &answer(ada.balance().await)?.available, "1500")?;
            Ok(((), "$100 a month: 1500 credits, 10 seats".to_owned()))
        })
        .await
}

async fn invite(stage: &mut Stage, ada: &Actor, ben: &Actor) -> anyhow::Result<()> {
    stage
        .step("Ada invites Ben", "InvitationService/CreateInvitation", async {
            let made = part(answer(ada.invite(&ben.email, Role::Member).await)?.invitation, "invitation")?;
            expect_text("the invited address", &made.email, &ben.email)?;
            Ok(((), format!("a mail goes to {}", made.email)))
        })
        .await
}

async fn accept(stage: &mut Stage, play: &mut Play, ben: Actor, id: &str) -> anyhow::Result<Actor> {
    let mail = &mut play.mail;
    stage
        .step("Ben accepts with the mailed token", "InvitationService/AcceptInvitation", async {
            let token = mail.token(&ben.email).await?;
            let member = part(answer(ben.accept(&token).await)?.member, "member")?;
            expect("who joined", &(member.user_id.as_str(), member.role()), &(ben.user.as_str(), Role::Member))?;
            Ok(((), "he is a member".to_owned()))
        })
        .await?;
    stage
        .step("Ben switches to the organization", "ContextService/SwitchContext", async {
            Ok((people::switch(&ben, play, id).await?, "his new token acts for the team".to_owned()))
        })
        .await
}
