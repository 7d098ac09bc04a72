//! The team's months, an act a file, and the clock that lets them pass. Each step makes one call that matters, and checks what
//! it gives.

pub(super) mod clock;
mod decline;
mod farewell;
mod invoice;
mod month;
mod pack;
mod seats;
mod spending;
mod team;
mod usage;

use super::cast::{Actor, PATIENCE, Play, eventually, expect, expect_text, in_words, lots, people, product, soon};
use super::{stage::Stage, wire::Wire};

/// The organization and its two people, each acting in it.
struct Team {
    id: String,
    ada: Actor,
    ben: Actor,
    /// The product's service, which works for both.
    product: Wire,
}

/// Everything from the first act to the last.
pub(super) async fn perform(play: &mut Play, stage: &mut Stage) -> anyhow::Result<()> {
    let (ada, ben) = people::meet(stage, play).await?;
    let team = team::found(stage, play, ada, ben).await?;
    spending::spend(stage, play, &team).await?;
    pack::buy(stage, play, &team).await?;
    farewell::part_ways(stage, play, &team).await?;
    let ada = month::pass(stage, play, &team).await?;
    usage::show(stage, &team, &ada).await?;
    seats::change(stage, &ada).await?;
    let ada = decline::overcome(stage, play, &team, ada).await?;
    invoice::keep(stage, &ada).await
}
