//! The team grows: more seats are paid for the rest of the month, and fewer wait for the next one.

use bursar_proto::billing::v1::PaymentState;
use bursar_rpc::problem::reason_of;

use super::{Actor, PATIENCE, eventually, expect};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// The plan that the team is on, and its own seats.
pub(super) const PLAN: (&str, u32) = ("business", 10);
/// Two more.
pub(super) const MORE: u32 = 12;

pub(super) async fn change(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage.act("More people, then fewer")?;
    stage
        .step("what two more seats would cost", "SubscriptionService/PreviewChange", async {
            let shown = answer(ada.preview_change(PLAN.0, MORE).await)?;
            let (due, next) = (part(shown.due, "due")?, part(shown.next_price, "next price")?);
            expect("the next month", &(next.units, &*shown.next_credits, shown.seats), &(120, "1800", MORE))?;
            anyhow::ensure!(due.units <= 20, "for the rest of the month it is no more than for all of it: {due:?}");
            let cents = due.nanos / 10_000_000;
            Ok(((), format!("${}.{cents:02} for the rest of this month, then $20 more", due.units)))
        })
        .await?;
    stage
        .step("Ada takes them, at the price that she has seen", "SubscriptionService/SetSeats", async {
            // With each second it is less: when another cent is gone she looks again.
            let made = eventually("the seats", PATIENCE, async || {
                let due = answer(ada.preview_change(PLAN.0, MORE).await)?.due;
                match ada.set_seats_for(MORE, due).await {
                    Err(status) if reason_of(&status).as_deref() == Some("DUE_CHANGED") => Ok(None),
                    outcome => answer(outcome).map(Some),
                }
            })
            .await?;
            let (now, payment) = (part(made.subscription, "subscription")?, part(made.payment, "payment")?);
            expect("the seats and the payment", &(now.seats, payment.state()), &(MORE, PaymentState::Paid))?;
            Ok(((), format!("{} seats, and credits for them at once", now.seats)))
        })
        .await?;
    stage
        .step("the plan as it was: from the next month on", "SubscriptionService/ChangePlan", async {
            let made = answer(ada.change_plan(PLAN.0, PLAN.1).await)?;
            anyhow::ensure!(made.payment.is_none(), "nothing is due for less");
            let now = part(made.subscription, "subscription")?;
            let waits = part(now.pending_change, "pending change")?;
            let price = part(waits.price, "price")?.units;
            expect("now and then", &(now.seats, waits.seats, price), &(MORE, PLAN.1, 100))?;
            Ok(((), format!("{} seats until then, nothing is due", now.seats)))
        })
        .await
}
