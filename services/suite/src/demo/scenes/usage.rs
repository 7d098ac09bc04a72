//! Who used what.

use bursar_money::Credits;
use bursar_proto::billing::v1::{GroupBy, QueryUsageResponse};

use super::{Actor, Team, expect};
use crate::demo::{
    chart::{Bar, chart},
    stage::Stage,
    wire::answer,
};

/// How wide the longest bar is.
const COLUMNS: u32 = 60;

pub(super) async fn show(stage: &mut Stage, team: &Team, ada: &Actor) -> anyhow::Result<()> {
    stage.act("Who used what")?;
    let bars = stage
        .step("Ada looks at the usage of each member", "UsageService/QueryUsage", async {
            // Both periods, and a little before them.
            let report = answer(ada.usage(&[GroupBy::Member]).await?)?;
            let bars = bars(&report, team)?;
            let sum = Credits::checked_sum(bars.iter().map(|bar| bar.amount));
            expect("the sum of what members used", &sum, &Some("1380.5".parse()?))?;
            Ok((bars, "1380.5 credits after the refund".to_owned()))
        })
        .await?;
    stage.say(&format!("\n{}", chart(&bars, COLUMNS).trim_end()))?;
    Ok(())
}

/// A bar for each member, the greatest user first.
fn bars(report: &QueryUsageResponse, team: &Team) -> anyhow::Result<Vec<Bar>> {
    let mut bars = Vec::new();
    for row in &report.rows {
        let who = [&team.ada, &team.ben].into_iter().find(|actor| actor.user == row.member);
        let name = who.map_or(row.member.as_str(), |actor| actor.name).to_owned();
        bars.push(Bar { name, amount: row.net.parse()? });
    }
    bars.sort_by_key(|bar| std::cmp::Reverse(bar.amount));
    let shown: Vec<_> = bars.iter().map(|bar| (bar.name.as_str(), bar.amount.to_string())).collect();
    expect("each member's usage", &shown, &vec![("Ada", "720".to_owned()), ("Ben", "660.5".to_owned())])?;
    Ok(bars)
}
