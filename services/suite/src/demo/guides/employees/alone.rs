//! A person alone: a profile, a balance, a history, an agent and a connection of her own.

use bursar_proto::{
    billing::v1::EntryKind,
    identity::v1::{GetPreferencesRequest, UpdateMeRequest},
};

use super::{Agent, Personal};
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people, product},
    guides::{
        library::{made, to_struct},
        steps::{available, pay},
    },
    stage::Stage,
    wire::{answer, part},
};

/// What Ada's agent knows.
pub(super) const KNOWLEDGE: &[u8] = b"Opening hours: Monday to Friday, 9 to 17. Closed in August.\n";

pub(super) async fn begin(stage: &mut Stage, play: &mut Play) -> anyhow::Result<Personal> {
    stage.act("Alone: the personal account")?;
    let ada = people::join(stage, play, "Ada").await?;
    profile(stage, play, &ada).await?;
    stage
        .proving(&[7])
        .step("Ada buys words for herself", "PurchaseService/PurchasePack", async {
            let made = part(answer(ada.buy("starter").await)?.purchase, "purchase")?;
            expect_text("whose they are", &made.owner, &ada.user)?;
            expect_text("her balance", &available(&ada).await?, "300")?;
            Ok(((), "300, in her personal balance".to_owned()))
        })
        .await?;
    let agent = stage
        .proving(&[2, 7])
        .step("Ada makes an employee of her own", "LibraryService/CreateItem", async {
            let agent = made(ada.make_item("agent", "Receptionist", "").await)?.id;
            let persona = [("tone", "friendly"), ("language", "English")];
            let persona = made(ada.make_item_with("persona", "Friendly", &agent, &persona).await)?.id;
            let knowledge = made(ada.make_item("knowledge_base", "Opening hours", &agent).await)?.id;
            answer(ada.upload(&knowledge, KNOWLEDGE).await)?;
            Ok((Agent { id: agent, persona, knowledge }, "with persona and knowledge base".to_owned()))
        })
        .await?;
    stage
        .proving(&[7])
        .step("Ada connects her mailbox", "LibraryService/CreateItem", async {
            let fields = [("host", "mail.example.com"), ("password", "not for anybody's eyes")];
            let item = made(ada.make_item_with("connection", "Mailbox", "", &fields).await)?;
            expect("what is secret in it", &item.secrets_set, &vec!["password".to_owned()])?;
            Ok(((), "the password is sealed and never answered".to_owned()))
        })
        .await?;
    stage
        .proving(&[2, 13])
        .step("a conversation of her own costs 20", "CreditService/Charge", async {
            pay(&ada, "20", "claude-opus-4.7", "280").await?;
            Ok(((), "280 left of her own".to_owned()))
        })
        .await?;
    stage
        .proving(&[7, 51])
        .step("her own charge history", "AccountService/ListLedgerEntries", async {
            let entries = answer(ada.ledger().await)?.entries;
            let shown: Vec<_> = entries.iter().map(|it| (it.kind(), it.available_after.as_str())).collect();
            expect("the history", &shown, &vec![(EntryKind::Grant, "300"), (EntryKind::Charge, "280")])?;
            Ok(((), "300 bought, 20 spent".to_owned()))
        })
        .await?;
    Ok(Personal { ada, agent })
}

/// Her profile, and that the product finds there what she prefers.
async fn profile(stage: &mut Stage, play: &Play, ada: &Actor) -> anyhow::Result<()> {
    let preferred = to_struct(&[("language", "English")]);
    stage
        .proving(&[4])
        .step("Ada edits her profile", "UserService/UpdateMe", async {
            let request = UpdateMeRequest {
                display_name: "Ada Byron".to_owned(),
                preferences: Some(preferred.clone()),
                request_id: ada.request_id(),
                ..UpdateMeRequest::default()
            };
            let me = part(answer(ada.wire.users().update_me(request).await)?.user, "user")?;
            expect_text("her name", &me.display_name, "Ada Byron")?;
            expect("her preferences", &me.preferences, &Some(preferred.clone()))?;
            Ok(((), "Ada Byron, who prefers English".to_owned()))
        })
        .await?;
    let product = product::hire(stage, play).await?;
    stage
        .proving(&[4])
        .step("the product reads what she prefers", "UserService/GetPreferences", async {
            let request = GetPreferencesRequest { user_id: ada.user.clone() };
            let found = part(answer(product.users().get_preferences(request).await)?.preferences, "preferences")?;
            expect("her preferences", &found, &preferred)?;
            Ok(((), "English, without asking her again".to_owned()))
        })
        .await
}
