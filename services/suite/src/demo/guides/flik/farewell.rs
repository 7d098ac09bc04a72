//! The studio agrees on a plan of its own; a member leaves, and the work stays.

use bursar_money::Credits;
use bursar_proto::billing::v1::{Feature, GetBalanceResponse, LotSource, SetContractRequest};
use bursar_proto::google::r#type::Money;
use tonic::Code;

use super::{STUDIO, Team};
use crate::demo::{
    cast::{Play, expect, expect_text, lots, product},
    guides::{
        erasure::Inventory,
        steps::{available, delete, gone, locked_out, not_allowed, pay},
    },
    stage::Stage,
    wire::{answer, part, refused},
};

/// What a plan's own terms do not say is agreed with the studio alone, and the team spends it: what is left of the month brings
/// its part at once.
pub(super) async fn agree(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    let Team { ada, ben, cleo, .. } = team;
    stage.act("Enterprise")?;
    let before = stage
        .proving(&[27])
        .step("Northwind Studio agrees on Enterprise", "SubscriptionService/SetContract", async {
            let operator = product::operator(play).await?;
            let before = answer(ada.balance().await)?;
            let terms = SetContractRequest {
                plan_id: "enterprise".to_owned(),
                credits: "20000".to_owned(),
                seats: 40,
                price: Some(Money { currency_code: "USD".to_owned(), units: 900, nanos: 0 }),
                features: vec![Feature::Organizations.into(), Feature::SingleSignOn.into()],
                ..SetContractRequest::default()
            };
            refused(ada.agree(&ada.wire, terms.clone()).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED")?;
            let made = part(answer(ada.agree(&operator, terms).await)?.subscription, "subscription")?;
            expect(
                "the plan, its seats and its credits",
                &(&*made.plan_id, made.seats, &*made.credits),
                &("enterprise", 40, "20000"),
            )?;
            Ok((before, "20,000 credits a month and 40 seats for $900, by an operator's word alone".to_owned()))
        })
        .await?;
    stage
        .proving(&[27])
        .step("the team spends what Enterprise has brought", "CreditService/Charge", async {
            let with_it = available(ada).await?;
            let work = [(ada, "2000", "veo-3.1"), (ben, "1500", "claude-opus-4.7"), (cleo, "2500", "kling-3.0-pro")];
            let mut left: Credits = with_it.parse()?;
            for (member, amount, model) in work {
                left = part(left.checked_sub(amount.parse::<Credits>()?), "credits for the work")?;
                pay(member, amount, model, &left.to_string()).await?;
            }
            // More than there was without the contract, and nothing of what was bought beside it.
            let had: Credits = before.available.parse()?;
            anyhow::ensure!(had < Credits::whole(6_000), "{had} were there before, which would have been enough");
            let after = answer(ada.balance().await)?;
            expect("what is left of the packs", &packs(&after), &packs(&before))?;
            Ok(((), format!("{had} before it, {with_it} with it, {left} after 6000 of theirs; no pack is touched")))
        })
        .await
}

/// What is left of each pack.
fn packs(balance: &GetBalanceResponse) -> Vec<&str> {
    let packs = lots(balance).into_iter().filter(|(source, _)| *source == LotSource::Pack);
    packs.map(|(_, left)| left).collect()
}

pub(super) async fn part_ways(
    stage: &mut Stage,
    play: &Play,
    Team { ada, ben, cleo, .. }: &Team,
    project: &str,
) -> anyhow::Result<()> {
    stage.act("When a team member leaves")?;
    stage
        .proving(&[45])
        .step("Cleo leaves and has no access any more", "MemberService/LeaveOrganization", async {
            not_allowed(cleo.reassign(project, &ben.user).await)?;
            answer(cleo.leave().await)?;
            locked_out(cleo).await?;
            Ok(((), "NOT_A_MEMBER, in billing within two seconds, too".to_owned()))
        })
        .await?;
    stage
        .proving(&[44])
        .step("the work persists", "ProjectService/GetProject", async {
            let found = part(answer(ada.project(project).await)?.project, "project")?;
            expect(
                "who made it and answers for it",
                &(&found.created_by, &found.assigned_to),
                &(&cleo.user, &cleo.user),
            )?;
            Ok(((), "Cleo's project is there, still assigned to her".to_owned()))
        })
        .await?;
    stage
        .proving(&[46])
        .step("Ben reassigns Cleo's project", "ProjectService/ReassignProject", async {
            let found = part(answer(ben.reassign(project, &ben.user).await)?.project, "project")?;
            expect_text("who answers for it", &found.assigned_to, &ben.user)?;
            Ok(((), "he is responsible for it now".to_owned()))
        })
        .await?;
    let kinds = ["prompt_template", "reference_library", "project_template", "brand_asset"];
    let had = Inventory::take(stage, play, ada, &kinds).await?;
    delete(stage.proving(&[19]), play, ada, STUDIO).await?;
    stage
        .proving(&[19])
        .step("it is gone for good", "OrganizationService/GetOrganization", async {
            gone(play, ada).await?;
            Ok(((), "NOT_A_MEMBER, as if it had never been".to_owned()))
        })
        .await?;
    stage
        .proving(&[19])
        .step("nothing of it is left", "LibraryService/GetItem", async {
            had.is_erased().await?;
            Ok(((), "no item and no project for the product, no name for the operator".to_owned()))
        })
        .await
}
