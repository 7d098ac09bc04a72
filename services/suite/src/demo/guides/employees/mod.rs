//! The AI employees' guide: personal accounts beside organizations, and agents that belong to one of them.
//!
//! Ada works alone, then founds Northwind with Ben as Admin and Cleo as Member. They share agents and a balance, and what each
//! of them used is nobody's to see. What Ada made for a client she hands off to Dora. The checklist:
#![doc = include_str!("employees.md")]

mod agents;
mod alone;
mod clients;
mod comings;
mod pool;
mod settings;
mod team;

use crate::demo::{
    cast::{Actor, Play},
    stage::Stage,
};

/// The checklist.
pub(super) const PAGE: &str = include_str!("employees.md");

/// What the organization is called, whatever its name becomes.
const NORTHWIND: &str = "Northwind";

/// Ada in her own context, and the agent that she has there.
struct Personal {
    ada: Actor,
    agent: Agent,
}

/// An agent with what stands under it, by item id.
struct Agent {
    id: String,
    persona: String,
    knowledge: String,
}

/// Everybody acting in Northwind.
struct Team {
    ada: Actor,
    ben: Actor,
    cleo: Actor,
}

/// The guide, from its first sentence to its last.
pub(super) async fn perform(play: &mut Play, stage: &mut Stage) -> anyhow::Result<()> {
    let personal = alone::begin(stage, play).await?;
    let ada = settings::found(stage, play, &personal.ada).await?;
    settings::change(stage, play, &ada).await?;
    let team = team::gather(stage, play, ada).await?;
    team::roles(stage, &team).await?;
    let agent = pool::share(stage, &team).await?;
    pool::spend(stage, &personal.ada, &team).await?;
    pool::hidden(stage, &team).await?;
    agents::stay(stage, &personal, &team, &agent).await?;
    clients::hand_off(stage, play, &team, &agent).await?;
    let cleo = comings::leave_and_return(stage, play, &team, &agent).await?;
    comings::remove(stage, &team, &cleo, &agent).await?;
    comings::hand_over(stage, &team).await?;
    comings::end(stage, play, &team.ben).await
}
