//! Ben leaves; his old token opens nothing any more, and does not touch his own credits instead.

use tonic::Code;

use super::{Play, Team, expect, people, soon};
use crate::demo::{
    stage::Stage,
    wire::{answer, refused},
};

pub(super) async fn part_ways(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    stage.act("Ben leaves")?;
    let Team { ada, ben, .. } = team;
    stage
        .step("Ada removes Ben", "MemberService/RemoveMember", async {
            answer(ada.remove(&ben.user).await)?;
            Ok(((), "his place is free again".to_owned()))
        })
        .await?;
    stage
        .step("Ben tries to spend with his old token", "CreditService/Charge", async {
            // More than there is: until the news has come it is refused for that, and changes nothing.
            soon("the refusal of a removed member", async || {
                let outcome = ben.charge("1000000", "", "").await;
                refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER").map(drop)
            })
            .await?;
            Ok(((), "refused: NOT_A_MEMBER".to_owned()))
        })
        .await?;
    stage
        .step("his own pool was not touched", "AccountService/GetBalance", async {
            let own = answer(people::switch(ben, play, &ben.user).await?.balance().await)?;
            let is = [own.available.as_str(), &own.spent_this_period];
            expect("what he has and has spent himself", &is, &["0", "0"])?;
            Ok(((), "0 credits, nothing spent".to_owned()))
        })
        .await
}
