//! Ben leaves; his old token opens nothing any more, and does not touch his own credits instead.

use std::time::Duration;

use bursar_proto::{billing::v1::ChargeRequest, organization::v1::RemoveMemberRequest};
use tonic::Code;

use super::{Play, Team, balance, eventually, expect, people};
use crate::demo::{
    stage::Stage,
    wire::{answer, refused},
};

/// How soon a removal holds everywhere.
const REMOVAL_HOLDS_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn part_ways(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    stage.act("Ben leaves")?;
    let Team { id, ada, ben, .. } = team;
    let request =
        RemoveMemberRequest { organization_id: id.clone(), user_id: ben.user.clone(), request_id: play.request_id() };
    stage
        .step("Ada removes Ben", "MemberService/RemoveMember", async {
            answer(ada.wire.members().remove_member(request).await)?;
            Ok(((), "his place is free again".to_owned()))
        })
        .await?;
    stage
        .step("Ben tries to spend with his old token", "CreditService/Charge", async {
            // More than there is: until the news has come it is refused for that, and changes nothing.
            let request = ChargeRequest { owner: id.clone(), amount: "1000000".to_owned(), ..ChargeRequest::default() };
            eventually("the refusal of a removed member", REMOVAL_HOLDS_WITHIN, async || {
                let outcome = ben.wire.credits().charge(request.clone()).await;
                let late = matches!(&outcome, Err(status) if status.code() == Code::FailedPrecondition);
                if late {
                    return Ok(None);
                }
                refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER").map(Some)
            })
            .await?;
            Ok(((), "refused: NOT_A_MEMBER".to_owned()))
        })
        .await?;
    stage
        .step("his own pool was not touched", "AccountService/GetBalance", async {
            let own = balance(&people::switch(ben, play, &ben.user).await?, &ben.user).await?;
            let is = [own.available.as_str(), &own.spent_this_period];
            expect("what he has and has spent himself", &is, &["0", "0"])?;
            Ok(((), "0 credits, nothing spent".to_owned()))
        })
        .await
}
