//! A renewal is declined, and paid at the next try: the plan stays meanwhile and the pack pays, which nothing touches that
//! happens to the subscription.

use bursar_proto::{
    billing::v1::{Lot, LotSource, PaymentPurpose, PaymentState, Subscription, SubscriptionState},
    testing::v1::SaveMethodRequest,
};
use bursar_rpc::convert::required_timestamp;
use bursar_time::{Span, Timestamp};

use super::{Actor, PATIENCE, Play, Team, clock, eventually, expect, expect_text, in_words, lots, pack, seats};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// The first try after a decline: so long after the end of the period that is paid for.
const FIRST_RETRY: Span = Span::from_days(1);

/// Plays both acts if the suite has a test clock. Returns Ada, signed in.
pub(super) async fn overcome(stage: &mut Stage, play: &Play, team: &Team, ada: Actor) -> anyhow::Result<Actor> {
    stage.act("A renewal is declined")?;
    if !clock::is_there(stage, play).await? {
        return Ok(ada);
    }
    bad_card(stage, play, &ada).await?;
    let (before, boundary) = before(stage, &ada).await?;
    clock::leap_to_the_next_period(stage, play, &ada).await?;
    let ada = clock::return_of_ada(stage, play, team, "a month").await?;
    let retry = declined(stage, &ada, boundary).await?;
    untouched(stage, &ada, &before).await?;
    let spent_from = work(stage, &ada, &before).await?;

    stage.act("The next try is paid")?;
    good_card(stage, &ada).await?;
    stage
        .step("the clock moves to the next try", "ClockService/Advance", async {
            let now = clock::leap_beyond(play, retry).await?;
            Ok(((), format!("it is {} now", clock::day(now))))
        })
        .await?;
    let ada = clock::return_of_ada(stage, play, team, "a day").await?;
    recovered(stage, &ada, boundary).await?;
    granted(stage, &ada, &spent_from, boundary).await?;
    pack::verify(stage, &ada, &team.id).await?;
    Ok(ada)
}

async fn bad_card(stage: &mut Stage, play: &Play, ada: &Actor) -> anyhow::Result<()> {
    let card = stage
        .step("Ada's bank sends her another card, without cover", "SandboxService/SaveMethod", async {
            let request = SaveMethodRequest {
                owner: ada.owner.clone(),
                payment_method: "sandbox_declined".to_owned(),
                exp_month: 12,
                exp_year: 9_999,
            };
            let saved = answer(play.wire.sandbox().save_method(request).await)?;
            let card = part(saved.payment_method, "payment method")?;
            anyhow::ensure!(!card.default, "the card that pays is still the other one");
            Ok((card.id, "the sandbox is to decline what it pays".to_owned()))
        })
        .await?;
    stage
        .step("it takes the place of the one that paid", "PaymentService/SetDefaultPaymentMethod", async {
            replace_card(ada, &card).await?;
            Ok(((), "and that one is removed".to_owned()))
        })
        .await
}

async fn good_card(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage
        .step("Ada saves a card that has cover", "PaymentService/BeginSetup", async {
            let card = part(answer(ada.save_card().await)?.payment_method, "payment method")?;
            replace_card(ada, &card.id).await?;
            Ok(((), "it takes the other one's place".to_owned()))
        })
        .await
}

/// Has a saved card be the only one: what was paid with another is paid with it from then on.
async fn replace_card(ada: &Actor, card: &str) -> anyhow::Result<()> {
    let saved = answer(ada.cards().await)?.payment_methods;
    let old = part(saved.into_iter().find(|it| it.default), "default payment method")?.id;
    answer(ada.prefer_card(card).await)?;
    answer(ada.remove_card(&old).await)?;
    let left = answer(ada.cards().await)?.payment_methods;
    let left: Vec<_> = left.iter().map(|it| (it.id.as_str(), it.default)).collect();
    expect("the saved cards", &left, &vec![(card, true)])
}

/// The team's pack, as it is booked.
async fn pack_of(ada: &Actor) -> anyhow::Result<Lot> {
    let lots = answer(ada.lots().await)?.lots;
    part(lots.into_iter().find(|lot| lot.source() == LotSource::Pack), "pack")
}

/// What must not change, and when the period ends.
async fn before(stage: &mut Stage, ada: &Actor) -> anyhow::Result<(Lot, Timestamp)> {
    stage
        .step("what there is of the pack before", "AccountService/ListLots", async {
            let pack = pack_of(ada).await?;
            let is = [&pack.granted, &pack.remaining, &pack.voided].map(String::as_str);
            expect("granted, remaining and voided", &is, &["1500", "1500", "0"])?;
            let now = part(answer(ada.subscription().await)?.subscription, "subscription")?;
            expect("its state", &now.state(), &SubscriptionState::Active)?;
            Ok(((pack, required_timestamp(now.current_period_end)?), "all of its 1500".to_owned()))
        })
        .await
}

/// Gives the time of the next try.
async fn declined(stage: &mut Stage, ada: &Actor, boundary: Timestamp) -> anyhow::Result<Timestamp> {
    let retry = stage
        .step("the renewal is declined", "SubscriptionService/GetSubscription", async {
            let now = in_state(ada, SubscriptionState::PastDue).await?;
            expect("plan and seats", &(now.plan_id.as_str(), now.seats), &(seats::PLAN.0, seats::MORE))?;
            let retry = required_timestamp(now.next_retry_at)?;
            expect("the next try", &retry, &boundary.saturating_add(FIRST_RETRY))?;
            let shown = format!("PAST_DUE, still on Business; tried again on {}", clock::day(retry));
            Ok((retry, shown))
        })
        .await?;
    stage
        .step("what became of its payment", "PaymentService/ListPayments", async {
            let payments = answer(ada.payments().await)?.payments;
            let wanted = (PaymentState::Declined, PaymentPurpose::Renewal);
            let found = part(payments.iter().find(|it| (it.state(), it.purpose()) == wanted), "declined renewal")?;
            let is = (found.decline_code.as_str(), found.amount.as_ref().map(|it| it.units), &*found.invoice_id);
            expect("why, how much, and its invoice", &is, &("card_declined", Some(100), ""))?;
            Ok(((), "$100, DECLINED: card_declined, and no invoice".to_owned()))
        })
        .await?;
    Ok(retry)
}

async fn in_state(ada: &Actor, wanted: SubscriptionState) -> anyhow::Result<Subscription> {
    eventually(&format!("the subscription's state {}", wanted.as_str_name()), PATIENCE, async || {
        let now = part(answer(ada.subscription().await)?.subscription, "subscription")?;
        Ok((now.state() == wanted).then_some(now))
    })
    .await
}

async fn untouched(stage: &mut Stage, ada: &Actor, before: &Lot) -> anyhow::Result<()> {
    stage
        .step("the pack after the decline", "AccountService/ListLots", async {
            expect("the pack", &pack_of(ada).await?, before)?;
            Ok(((), "exactly as before: all of its 1500".to_owned()))
        })
        .await?;
    stage
        .step("what can be spent without a paid month", "AccountService/GetBalance", async {
            let now = answer(ada.balance().await)?;
            expect_text("the balance", &now.available, "1500")?;
            expect("the lots", &lots(&now), &vec![(LotSource::Pack, "1500")])?;
            Ok(((), format!("{}: {}, and no allowance", now.available, in_words(&lots(&now)))))
        })
        .await
}

/// Gives the pack as it is afterwards.
async fn work(stage: &mut Stage, ada: &Actor, before: &Lot) -> anyhow::Result<Lot> {
    stage
        .step("work goes on; the pack pays for it", "CreditService/Charge", async {
            let charged = answer(ada.charge("100", "claude-opus-4.7", "").await)?;
            let charge = part(charged.charge, "charge")?;
            let paid: Vec<_> = charge.allocations.iter().map(|it| (it.lot_id.as_str(), it.amount.as_str())).collect();
            expect("what paid", &paid, &vec![(before.id.as_str(), "100")])?;
            expect_text("the balance", &charged.balance_after, "1400")?;
            Ok((pack_of(ada).await?, "100 credits, 1400 left".to_owned()))
        })
        .await
}

async fn recovered(stage: &mut Stage, ada: &Actor, boundary: Timestamp) -> anyhow::Result<()> {
    stage
        .step("the renewal is paid", "SubscriptionService/GetSubscription", async {
            let now = in_state(ada, SubscriptionState::Active).await?;
            let begun = required_timestamp(now.current_period_start)?;
            expect("when its period began", &begun, &boundary)?;
            // What waited for the next period came with it.
            expect("the seats", &now.seats, &seats::PLAN.1)?;
            expect("what waits", &now.pending_change, &None)?;
            let shown = format!("ACTIVE again, since {}, with {} seats", clock::day(begun), now.seats);
            Ok(((), shown))
        })
        .await
}

async fn granted(stage: &mut Stage, ada: &Actor, before: &Lot, boundary: Timestamp) -> anyhow::Result<()> {
    stage
        .step("the month's allowance is there", "AccountService/GetBalance", async {
            let now = answer(ada.balance().await)?;
            expect_text("the balance", &now.available, "2900")?;
            let wanted = vec![(LotSource::Allowance, "1500"), (LotSource::Pack, "1400")];
            expect("the lots", &lots(&now), &wanted)?;
            let allowance = part(now.lots.first(), "lot")?;
            expect("since when it counts", &required_timestamp(allowance.effective_at)?, &boundary)?;
            Ok(((), format!("{}: a new {}", now.available, in_words(&lots(&now)))))
        })
        .await?;
    stage
        .step("the pack after the recovery", "AccountService/ListLots", async {
            expect("the pack", &pack_of(ada).await?, before)?;
            Ok(((), "untouched: 1400, less only the work it paid for".to_owned()))
        })
        .await
}
