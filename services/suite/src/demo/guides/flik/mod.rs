//! Flik AI's guide: a team on one plan, with one pool, beside everybody's Personal mode.
//!
//! Ada upgrades and creates Northwind Studio; Ben is its Admin, Cleo and Dan create. Only the owner has to do with billing. The
//! checklist:
#![doc = include_str!("flik.md")]

mod billing;
mod credits;
mod farewell;
mod modes;
mod sharing;
mod team;

use crate::demo::{
    cast::{Actor, Play},
    stage::Stage,
};

/// The checklist.
pub(super) const PAGE: &str = include_str!("flik.md");

/// What the organization is called.
const STUDIO: &str = "Northwind Studio";

/// Everybody acting in the studio.
struct Team {
    ada: Actor,
    ben: Actor,
    cleo: Actor,
    dan: Actor,
}

/// The guide, from its first sentence to its last.
pub(super) async fn perform(play: &mut Play, stage: &mut Stage) -> anyhow::Result<()> {
    let ada = team::set_up(stage, play).await?;
    let team = team::gather(stage, play, ada).await?;
    billing::plan(stage, play, &team).await?;
    team::roles(stage, &team).await?;
    let project = sharing::share(stage, &team).await?;
    credits::pool(stage, &team, &project).await?;
    credits::rebalance(stage, &team).await?;
    credits::packs(stage, &team).await?;
    team::more_seats(stage, &team).await?;
    credits::models(stage, &team).await?;
    modes::toggle(stage, play, &team).await?;
    let team = billing::next_month(stage, play, team).await?;
    farewell::agree(stage, play, &team).await?;
    team::agreed_seats(stage, &team).await?;
    farewell::part_ways(stage, play, &team, &project).await
}
