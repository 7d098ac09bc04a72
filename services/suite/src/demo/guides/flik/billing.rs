//! Centralized billing: whose invoices there are of the plan, of its seats, and of the month after.

use bursar_proto::billing::v1::{Invoice, InvoiceKind, InvoiceLineKind, LotSource, Payment, PaymentState};

use super::Team;
use crate::demo::{
    cast::{Actor, PATIENCE, Play, eventually, expect, expect_text, lots, people},
    scenes::clock,
    stage::Stage,
    wire::{answer, part},
};

/// The steps that need a month to pass.
const ONE_INVOICE: &str = "the month is on one invoice for the team";
const NEW_CREDITS: &str = "the new month's credits are everybody's";

/// What each of the team has in the own account, and the studio beside: one invoice, of the plan that is the studio's now.
pub(super) async fn plan(stage: &mut Stage, play: &Play, team: &Team) -> anyhow::Result<()> {
    stage
        .proving(&[5, 6])
        .step("one invoice for the plan, whoever has joined", "InvoiceService/ListInvoices", async {
            let Team { ada, ben, cleo, dan } = team;
            let mut invoices = answer(ada.invoices().await)?.invoices;
            let mut payments = answer(ada.payments().await)?.payments;
            for person in [ada, ben, cleo, dan] {
                let personal = people::switch(person, play, &person.user).await?;
                invoices.extend(answer(personal.invoices().await)?.invoices);
                payments.extend(answer(personal.payments().await)?.payments);
                people::switch(&personal, play, &person.owner).await?;
            }
            let ([invoice], [payment]) = (&*invoices, &*payments) else {
                anyhow::bail!("there are {} invoices and {} payments", invoices.len(), payments.len());
            };
            // She has paid it before there was a studio, and an invoice never changes.
            expect_text("whose it is", &invoice.owner, &ada.user)?;
            is_of(invoice, payment, &[(InvoiceLineKind::Subscription, 1)])?;
            expect("its total", &dollars(invoice), &Some(100))?;
            let now = part(answer(ada.subscription().await)?.subscription, "subscription")?;
            expect_text("whose plan it is", &now.owner, &ada.owner)?;
            expect_text("with what it is paid", &now.payment_id, &payment.id)?;
            Ok(((), format!("{} over $100; nobody else has paid, and nobody else has one", invoice.number)))
        })
        .await
}

/// What a change of the plan costs is on an invoice to the studio.
pub(super) async fn seats(stage: &mut Stage, Team { ada, .. }: &Team, payment: &Payment) -> anyhow::Result<()> {
    stage
        .proving(&[6])
        .step("the seats are on one invoice, to the studio", "InvoiceService/ListInvoices", async {
            let invoice = only_of(ada, payment).await?;
            is_of(&invoice, payment, &[(InvoiceLineKind::Seats, 1)])?;
            Ok(((), format!("{}: what they cost for the rest of the month, as it was paid", invoice.number)))
        })
        .await
}

/// Where months can pass: the plan and its seats are one payment and one invoice, whoever works there. Gives the team, signed in
/// again.
pub(super) async fn next_month(stage: &mut Stage, play: &Play, team: Team) -> anyhow::Result<Team> {
    stage.act("The next month")?;
    if !clock::is_there(stage, play).await? {
        stage.leave_out(ONE_INVOICE, &[5, 6]);
        stage.leave_out(NEW_CREDITS, &[3]);
        return Ok(team);
    }
    clock::leap_to_the_next_period(stage, play, &team.ada).await?;
    let Team { ada, ben, cleo, dan } = team;
    let [ada, ben, cleo] = stage
        .step("their tokens are a month old; they sign in again", "SessionService/SignIn", async {
            let back = [again(play, &ada).await?, again(play, &ben).await?, again(play, &cleo).await?];
            Ok((back, "in the studio, as before".to_owned()))
        })
        .await?;
    stage
        .proving(&[5, 6])
        .step(ONE_INVOICE, "InvoiceService/ListInvoices", async {
            let payment = eventually("the renewal", PATIENCE, async || {
                let now = part(answer(ada.subscription().await)?.subscription, "subscription")?;
                let payments = answer(ada.payments().await)?.payments;
                Ok(payments.into_iter().find(|it| it.id == now.payment_id))
            })
            .await?;
            let invoice = only_of(&ada, &payment).await?;
            is_of(&invoice, &payment, &[(InvoiceLineKind::Subscription, 1), (InvoiceLineKind::Seats, 2)])?;
            expect("its total", &dollars(&invoice), &Some(120))?;
            let personal = people::switch(&cleo, play, &cleo.user).await?;
            expect("Cleo's own invoices", &answer(personal.invoices().await)?.invoices.len(), &0)?;
            people::switch(&personal, play, &cleo.owner).await?;
            Ok(((), format!("{}: $100 for Business and $20 for two seats more", invoice.number)))
        })
        .await?;
    stage
        .proving(&[3])
        .step(NEW_CREDITS, "AccountService/GetBalance", async {
            let now = answer(ada.balance().await)?;
            expect("what is spent first", &lots(&now).first().copied(), &Some((LotSource::Allowance, "1800")))?;
            answer(cleo.charge("10", "veo-3.1", "").await)?;
            let now = answer(ada.balance().await)?;
            expect("what is left of it", &lots(&now).first().copied(), &Some((LotSource::Allowance, "1790")))?;
            Ok(((), "1500 of Business and 150 of each seat more; Cleo has spent 10".to_owned()))
        })
        .await?;
    Ok(Team { ada, ben, cleo, dan })
}

/// Somebody signed in again, acting where they did.
async fn again(play: &Play, who: &Actor) -> anyhow::Result<Actor> {
    let signed_in = people::sign_in(play, who.name, &who.email).await?;
    people::switch(&signed_in, play, &who.owner).await
}

/// The one invoice of a payment, which is to the organization in which `owner` acts.
async fn only_of(owner: &Actor, payment: &Payment) -> anyhow::Result<Invoice> {
    let invoices = answer(owner.invoices().await)?.invoices;
    let mut its = invoices.into_iter().filter(|it| it.payment_id == payment.id);
    let invoice = part(its.next(), "invoice")?;
    anyhow::ensure!(its.next().is_none(), "one payment has more than one invoice");
    expect_text("whose it is", &invoice.owner, &owner.owner)?;
    Ok(invoice)
}

/// Errs unless an invoice is over what was paid, and has these lines, each with how many it is for.
fn is_of(invoice: &Invoice, payment: &Payment, lines: &[(InvoiceLineKind, u32)]) -> anyhow::Result<()> {
    expect("what it is", &(invoice.kind(), payment.state()), &(InvoiceKind::Invoice, PaymentState::Paid))?;
    expect_text("what has paid it", &invoice.payment_id, &payment.id)?;
    expect("its total, and what was paid", &invoice.total, &payment.amount)?;
    let is: Vec<_> = invoice.lines.iter().map(|line| (line.kind(), line.quantity)).collect();
    expect("what it is for", &is.as_slice(), &lines)
}

fn dollars(invoice: &Invoice) -> Option<i64> {
    invoice.total.as_ref().map(|total| total.units)
}
