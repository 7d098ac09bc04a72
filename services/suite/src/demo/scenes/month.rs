//! A month passes: what was left of the allowance is gone, a new one is there, and so is the pack.

use bursar_proto::{
    billing::v1::LotSource,
    testing::v1::{AdvanceRequest, GetRequest},
};
use bursar_rpc::convert::{required_timestamp, to_duration};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use super::{Actor, PATIENCE, Play, Team, eventually, expect, expect_text, in_words, lots, pack, people};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// Plays the act if the suite has a test clock. Returns Ada, signed in.
pub(super) async fn pass(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<Actor> {
    stage.act("A month passes")?;
    let [mut clock, ..] = play.wire.clocks();
    if matches!(clock.get(GetRequest {}).await, Err(status) if status.code() == Code::Unimplemented) {
        stage.say("   This suite has no test clock; start it with --test-clock to see this act.")?;
        return Ok(team.ada.clone());
    }
    advance(stage, play, team).await?;
    let ada = return_of_ada(stage, play, team).await?;
    renewed(stage, &ada).await?;
    remains(stage, &ada).await?;
    pack::verify(stage, &ada, &team.id).await?;
    Ok(ada)
}

async fn advance(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    stage
        .step("the clock moves to the end of the period", "ClockService/Advance", async {
            let found = answer(team.ada.subscription().await)?;
            let end = required_timestamp(part(found.subscription, "subscription")?.current_period_end)?;
            let target = end.saturating_add(Span::HOUR);
            for mut clock in play.wire.clocks() {
                let now = required_timestamp(answer(clock.get(GetRequest {}).await)?.now)?;
                let by = target.since(now);
                if !by.is_zero() {
                    answer(clock.advance(AdvanceRequest { by: Some(to_duration(by)) }).await)?;
                }
            }
            Ok(((), format!("it is {} now", day(target))))
        })
        .await
}

fn day(time: Timestamp) -> String {
    time.to_rfc3339().chars().take(10).collect()
}

async fn return_of_ada(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<Actor> {
    stage
        .step("Ada's tokens are a month old; she signs in again", "SessionService/SignIn", async {
            let ada = people::sign_in(play, team.ada.name, &team.ada.email).await?;
            Ok((people::switch(&ada, play, &team.id).await?, "back in the organization".to_owned()))
        })
        .await
}

async fn renewed(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage
        .step("the subscription has renewed itself", "AccountService/GetBalance", async {
            let now = eventually("the renewal", PATIENCE, async || {
                let now = answer(ada.balance().await)?;
                Ok(lots(&now).iter().any(|(source, _)| *source == LotSource::Allowance).then_some(now))
            })
            .await?;
            expect_text("the balance", &now.available, "3000")?;
            let wanted = vec![(LotSource::Allowance, "1500"), (LotSource::Pack, "1500")];
            expect("the lots", &lots(&now), &wanted)?;
            Ok(((), format!("{}: a new {}", now.available, in_words(&lots(&now)))))
        })
        .await
}

async fn remains(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage
        .step("what became of the old ones", "AccountService/ListLots", async {
            let lots = eventually("the booking of what expired", PATIENCE, async || {
                let lots = answer(ada.lots().await)?.lots;
                Ok(lots.iter().any(|lot| lot.expired != "0").then_some(lots))
            })
            .await?;
            let old = lots.iter().find(|lot| lot.expired != "0");
            let old = old.map(|lot| (lot.source(), lot.expired.as_str(), lot.remaining.as_str()));
            expect("the old allowance", &old, &Some((LotSource::Allowance, "119.5", "0")))?;
            let pack = lots.iter().find(|lot| lot.source() == LotSource::Pack);
            let pack = pack.map(|lot| (lot.remaining.as_str(), lot.expires_at));
            expect("the pack", &pack, &Some(("1500", None)))?;
            Ok(((), "allowance: 119.5 expired; pack: all 1500 still there".to_owned()))
        })
        .await
}
