//! Setting up the organization, and each row of the guide's table of roles.

use std::ops::RangeInclusive;

use bursar_proto::organization::v1::Role;
use tonic::Code;

use super::{STUDIO, Team, billing};
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people, soon},
    guides::{
        fit, roles,
        steps::{accept, available, expect_team, found, invite, not_allowed},
    },
    stage::Stage,
    wire::{answer, part, refused},
};

/// Gives Ada in the studio.
pub(super) async fn set_up(stage: &mut Stage, play: &mut Play) -> anyhow::Result<Actor> {
    stage.act("Setting up the organization")?;
    let personal = people::join(stage, play, "Ada").await?;
    stage
        .proving(&[11])
        .step("Ada upgrades to Business", "SubscriptionService/Subscribe", async {
            let made = part(answer(personal.subscribe("business").await)?.subscription, "subscription")?;
            let price = part(made.price, "price")?;
            expect("the price", &(price.units, price.currency_code.as_str()), &(100, "USD"))?;
            expect_text("her balance", &available(&personal).await?, "1500")?;
            Ok(((), "$100 a month; still her own: 1500 credits".to_owned()))
        })
        .await?;
    let ada = found(stage.proving(&[12, 13]), play, &personal, STUDIO).await?;
    fit::runs_with(stage, &ada, bursar_runtime::Preset::Flik).await?;
    stage
        .proving(&[1, 3, 5])
        .step("the plan has moved with it", "SubscriptionService/GetSubscription", async {
            let found = part(answer(ada.subscription().await)?.subscription, "subscription")?;
            let terms = (found.plan_id.as_str(), found.credits.as_str(), found.seats);
            expect("plan, credits and seats", &terms, &("business", "1500", 10))?;
            let left = [available(&ada).await?, available(&personal).await?];
            expect("the studio's balance, and her own", &left.each_ref().map(String::as_str), &["1500", "0"])?;
            Ok(((), "1500 credits a month and 10 seats are the studio's; hers is Free".to_owned()))
        })
        .await?;
    stage
        .proving(&[12])
        .step("without the plan there is none", "OrganizationService/CreateOrganization", async {
            let outcome = personal.found("A second studio", "").await;
            refused(outcome, Code::FailedPrecondition, "PLAN_REQUIRED")?;
            Ok(((), "refused: PLAN_REQUIRED; the plan is spent on the first".to_owned()))
        })
        .await?;
    Ok(ada)
}

pub(super) async fn gather(stage: &mut Stage, play: &mut Play, ada: Actor) -> anyhow::Result<Team> {
    stage.act("Teammates")?;
    let ben = people::arrive(stage, play, "Ben").await?;
    let cleo = people::arrive(stage, play, "Cleo").await?;
    let dan = people::arrive(stage, play, "Dan").await?;
    let studio = (ada.owner.as_str(), STUDIO);
    invite(stage.proving(&[13, 14]), (&ada, &ben), STUDIO, Role::Admin).await?;
    let ben = accept(stage.proving(&[14]), play, &ben, studio, Role::Admin).await?;
    invite(stage.proving(&[13]), (&ada, &cleo), STUDIO, Role::Member).await?;
    let cleo = accept(stage, play, &cleo, studio, Role::Member).await?;
    invite(stage, (&ben, &dan), STUDIO, Role::Member).await?;
    let dan = accept(stage, play, &dan, studio, Role::Member).await?;
    let team = Team { ada, ben, cleo, dan };
    stage
        .proving(&[1, 4, 20])
        .step("the roles", "MemberService/ListMembers", async {
            let Team { ada, ben, cleo, dan } = &team;
            let wanted = [(ada, Role::Owner), (ben, Role::Admin), (cleo, Role::Member), (dan, Role::Member)];
            Ok(((), expect_team(cleo, &wanted).await?))
        })
        .await?;
    stage
        .proving(&[40])
        .step("ten seats, and no more", "InvitationService/CreateInvitation", async {
            let Team { ada, cleo, .. } = &team;
            fill(ada, cleo, 5..=10, "10").await?;
            Ok(((), "4 people and 6 invitations; the next is refused: SEAT_LIMIT_REACHED".to_owned()))
        })
        .await?;
    Ok(team)
}

/// Ada invites these guests, who take the last of the `seats`: another is refused. Their addresses are like Cleo's.
async fn fill(ada: &Actor, cleo: &Actor, guests: RangeInclusive<u32>, seats: &str) -> anyhow::Result<()> {
    let guest = |number: u32| format!("guest{number}.{}", cleo.email);
    let another = guest(guests.end() + 1);
    for number in guests {
        answer(ada.invite(&guest(number), Role::Member).await)?;
    }
    let told = refused(ada.invite(&another, Role::Member).await, Code::ResourceExhausted, "SEAT_LIMIT_REACHED")?;
    expect("the seats", &told.get("seats").map(String::as_str), &Some(seats))
}

/// After the invoices were looked at: seats have one of their own, and bring credits.
pub(super) async fn more_seats(stage: &mut Stage, team: &Team) -> anyhow::Result<()> {
    stage.act("More seats")?;
    let Team { ada, ben, cleo, .. } = team;
    let payment = stage
        .proving(&[17])
        .step("Ada adds two seats", "SubscriptionService/SetSeats", async {
            not_allowed(ben.set_seats(12).await)?;
            let made = answer(ada.set_seats(12).await)?;
            let (made, payment) = (part(made.subscription, "subscription")?, part(made.payment, "payment")?);
            let price = part(made.price, "price")?.units;
            expect("the seats, and what a month costs", &(made.seats, price), &(12, 120))?;
            // Three people and six invitations have theirs.
            fill(ada, cleo, 11..=13, "12").await?;
            Ok((payment, "Ben may not; $120 a month, and twelve have their seats at once".to_owned()))
        })
        .await?;
    billing::seats(stage, team, &payment).await
}

/// After the agreement: its seats are there, whatever the plans that anybody can buy have.
pub(super) async fn agreed_seats(stage: &mut Stage, Team { ada, cleo, .. }: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[41])
        .step("forty seats, as agreed", "InvitationService/CreateInvitation", async {
            let now = part(answer(ada.subscription().await)?.subscription, "subscription")?;
            expect("plan and seats", &(&*now.plan_id, now.seats), &("enterprise", 40))?;
            // Whom twelve seats had no room for.
            let guest = format!("guest14.{}", cleo.email);
            soon("the seats", async || answer(ada.invite(&guest, Role::Member).await).map(drop)).await?;
            Ok(((), "and whoever found no seat on Business is invited".to_owned()))
        })
        .await
}

pub(super) async fn roles(stage: &mut Stage, Team { ada, ben, cleo, dan }: &Team) -> anyhow::Result<()> {
    stage.act("Roles in detail")?;
    stage
        .proving(&[14, 18])
        .step("Ada makes Dan an Admin", "MemberService/UpdateMemberRole", async {
            let made = part(answer(ada.set_role(&dan.user, Role::Admin).await)?.member, "member")?;
            expect("his role", &made.role(), &Role::Admin)?;
            answer(dan.invitations().await)?;
            Ok(((), "he sees the invitations at once".to_owned()))
        })
        .await?;
    stage
        .proving(&[4, 21, 22])
        .step("Ben manages members and roles", "MemberService/UpdateMemberRole", async {
            let made = part(answer(ben.set_role(&dan.user, Role::Member).await)?.member, "member")?;
            expect("Dan's role", &made.role(), &Role::Member)?;
            let pending = answer(ben.invitations().await)?.invitations;
            let open = pending.iter().find(|it| it.email.starts_with("guest"));
            let open = part(open, "open invitation")?;
            answer(ben.revoke(&open.id).await)?;
            answer(ben.invite(&open.email, Role::Admin).await)?;
            answer(ben.remove(&dan.user).await)?;
            let team = expect_team(ben, &[(ada, Role::Owner), (ben, Role::Admin), (cleo, Role::Member)]).await?;
            Ok(((), format!("Dan a Member again, and removed; {team}")))
        })
        .await?;
    stage
        .proving(&[4, 23])
        .step("Ben has no billing access", "SubscriptionService/GetSubscription", async {
            let refused = roles::may_not_see_billing(ben).await? + roles::may_not_own(ben, cleo).await?;
            Ok(((), format!("{refused} calls refused: ROLE_NOT_ALLOWED; nor does he own it")))
        })
        .await?;
    stage
        .proving(&[4, 24])
        .step("Cleo works, and no more", "InvitationService/ListInvitations", async {
            let refused = roles::may_not_manage_members(cleo, ben).await?
                + roles::may_not_see_billing(cleo).await?
                + roles::may_not_change_settings(cleo).await?
                + roles::may_not_own(cleo, ben).await?;
            answer(cleo.projects().await)?;
            answer(cleo.items().await)?;
            soon("Cleo's work", async || answer(cleo.balance().await).map(drop)).await?;
            Ok(((), format!("{refused} calls refused: ROLE_NOT_ALLOWED")))
        })
        .await
}
