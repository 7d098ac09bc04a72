//! A month passes: what was left of the allowance is gone, a new one is there, and so is the pack.

use bursar_proto::billing::v1::LotSource;

use super::{Actor, PATIENCE, Play, Team, clock, eventually, expect, expect_text, in_words, lots, pack};
use crate::demo::{stage::Stage, wire::answer};

/// Plays the act if the suite has a test clock. Returns Ada, signed in.
pub(super) async fn pass(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<Actor> {
    stage.act("A month passes")?;
    if !clock::is_there(stage, play).await? {
        return Ok(team.ada.clone());
    }
    clock::leap_to_the_next_period(stage, play, &team.ada).await?;
    let ada = clock::return_of_ada(stage, play, team, "a month").await?;
    renewed(stage, &ada).await?;
    remains(stage, &ada).await?;
    pack::verify(stage, &ada, &team.id).await?;
    Ok(ada)
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
