//! The test clock: whether the suite has one, its leaps, and who signs in again after them.

use bursar_proto::testing::v1::{AdvanceRequest, GetRequest};
use bursar_rpc::convert::{required_timestamp, to_duration};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use super::{Actor, Play, Team, people};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// Whether the suite has a test clock. Where it has none, the audience is told why an act is left out.
pub(in crate::demo) async fn is_there(stage: &Stage, play: &Play) -> anyhow::Result<bool> {
    let [mut clock, ..] = play.wire.clocks();
    let is_missing = matches!(clock.get(GetRequest {}).await, Err(status) if status.code() == Code::Unimplemented);
    if is_missing {
        stage.say("   This suite has no test clock; start it with --test-clock to see this act.")?;
    }
    Ok(!is_missing)
}

/// Leaps over the end of the period in which the team is.
pub(in crate::demo) async fn leap_to_the_next_period(
    stage: &mut Stage,
    play: &Play,
    ada: &Actor,
) -> anyhow::Result<()> {
    stage
        .step("the clock moves to the end of the period", "ClockService/Advance", async {
            let found = answer(ada.subscription().await)?;
            let end = required_timestamp(part(found.subscription, "subscription")?.current_period_end)?;
            let now = leap_beyond(play, end).await?;
            Ok(((), format!("it is {} now", day(now))))
        })
        .await
}

/// Moves the clocks of all services to an hour after this moment. Returns the time that it is then.
pub(super) async fn leap_beyond(play: &Play, moment: Timestamp) -> anyhow::Result<Timestamp> {
    let target = moment.saturating_add(Span::HOUR);
    for mut clock in play.wire.clocks() {
        let now = required_timestamp(answer(clock.get(GetRequest {}).await)?.now)?;
        let by = target.since(now);
        if !by.is_zero() {
            answer(clock.advance(AdvanceRequest { by: Some(to_duration(by)) }).await)?;
        }
    }
    Ok(target)
}

/// The day of a moment.
pub(super) fn day(time: Timestamp) -> String {
    time.to_rfc3339().chars().take(10).collect()
}

/// Ada in the organization again: no token lives as long as a leap.
pub(super) async fn return_of_ada(stage: &mut Stage, play: &Play, team: &Team, how_old: &str) -> anyhow::Result<Actor> {
    stage
        .step(&format!("Ada's tokens are {how_old} old; she signs in again"), "SessionService/SignIn", async {
            let ada = people::sign_in(play, team.ada.name, &team.ada.email).await?;
            Ok((people::switch(&ada, play, &team.id).await?, "back in the organization".to_owned()))
        })
        .await
}
