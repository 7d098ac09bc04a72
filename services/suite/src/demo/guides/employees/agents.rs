//! Agents do not move; what makes one of them up can be copied.

use tonic::Code;

use super::{Personal, Team, alone::KNOWLEDGE};
use crate::demo::{
    cast::expect,
    guides::library::made,
    stage::Stage,
    wire::{answer, refused},
};

pub(super) async fn stay(stage: &mut Stage, personal: &Personal, team: &Team, shared: &str) -> anyhow::Result<()> {
    stage.act("Agents do not move")?;
    let (alone, own) = (&personal.ada, &personal.agent);
    let ada = &team.ada;
    stage
        .proving(&[11, 12, 73])
        .step("agents do not move", "LibraryService/GetItem", async {
            answer(alone.item(&own.id).await)?;
            refused(ada.item(&own.id).await, Code::NotFound, "NOT_FOUND")?;
            refused(team.ben.item(&own.id).await, Code::NotFound, "NOT_FOUND")?;
            refused(alone.item(shared).await, Code::NotFound, "NOT_FOUND")?;
            Ok(((), "each is NOT_FOUND in the other context, for its owner, too".to_owned()))
        })
        .await?;
    stage
        .proving(&[73])
        .step("persona and knowledge base copied to a new agent", "LibraryService/CopyItem", async {
            let agent = made(ada.make_item("agent", "Receptionist", "").await)?.id;
            let children = [own.persona.as_str(), own.knowledge.as_str()];
            answer(alone.copy_into(&own.id, &children, (&ada.owner, &agent)).await)?;
            let mut copies = answer(team.cleo.items_under(&agent).await)?.items;
            copies.sort_by(|a, b| a.kind.cmp(&b.kind));
            let is: Vec<_> = copies.iter().map(|it| (it.kind.as_str(), it.name.as_str())).collect();
            expect("the copies", &is, &vec![("knowledge_base", "Opening hours"), ("persona", "Friendly")])?;
            expect("what the copy knows", &team.cleo.download(&copies[0].id).await?.as_slice(), &KNOWLEDGE)?;
            expect("what stays with her own", &answer(alone.items_under(&own.id).await)?.items.len(), &2)?;
            Ok(((), "Cleo reads the copied knowledge; Ada's own agent stays as it was".to_owned()))
        })
        .await
}
