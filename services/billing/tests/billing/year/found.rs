//! What there is of an account in the service: in the model's words, and all of it as a list that another run must have, too. In
//! neither is an id or anything else that is drawn anew in each run.

use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_time::Timestamp;
use tonic::Code;

use super::account::Account;
use super::calendar::date_of;
use crate::words::{entries_of, lots_of};
use crate::world::World;

impl Account {
    pub(super) async fn lots(&self) -> Vec<String> {
        sorted(self.its_lots().await.iter().map(lot))
    }

    pub(super) async fn invoices(&self) -> Vec<String> {
        sorted(self.its_invoices().await.iter().map(invoice))
    }

    /// What there is of a plan and until when it is paid for, if it is.
    pub(super) async fn subscription(&self) -> Option<String> {
        let it = self.its_subscription().await?;
        (it.state() == pb::SubscriptionState::Active).then(|| {
            let marked = if it.cancel_at_period_end { " and no longer" } else { "" };
            let of = format!("{} for {}", it.plan_id, it.seats);
            format!("{of} until {}, paid until {}{marked}", date_of(it.current_period_end), date_of(it.paid_until))
        })
    }

    /// Everything: the plan, each lot with what became of it, invoices and credit notes, payments, and the ledger.
    pub(super) async fn everything(&self, world: &World) -> Vec<String> {
        let (person, now) = (&self.person, world.now());
        let mut told = vec![person.owner.to_string()];
        told.extend(self.its_subscription().await.as_ref().map(period));
        let lots = self.its_lots().await;
        told.extend(sorted(lots.iter().map(|it| format!("{}, {}", lot(it), what_became_of(it, now)))));
        told.extend(self.invoices().await);
        let list = pb::ListPaymentsRequest { owner: person.owner.to_string(), page_size: 1_000, ..Default::default() };
        told.extend(sorted(person.list_payments(list).await.unwrap().payments.iter().map(payment)));
        let ledger = person.list_ledger_entries(entries_of(person.owner)).await.unwrap();
        assert_eq!(ledger.next_page_token, "", "the whole ledger is on one page");
        // What has expired is booked by whoever comes first, so when that stands in the ledger differs from run to run.
        let entries = ledger.entries.iter().filter(|it| it.kind() != pb::EntryKind::Expire);
        told.extend(entries.map(entry));
        told
    }

    /// The one that there is, or was last.
    async fn its_subscription(&self) -> Option<pb::Subscription> {
        let request = pb::GetSubscriptionRequest { owner: self.person.owner.to_string() };
        match self.person.get_subscription(request).await {
            Ok(found) => found.subscription,
            Err(status) => {
                assert_eq!(status.code(), Code::NotFound, "{status:?}");
                None
            }
        }
    }

    async fn its_lots(&self) -> Vec<pb::Lot> {
        self.person.list_lots(lots_of(self.person.owner)).await.unwrap().lots
    }

    async fn its_invoices(&self) -> Vec<pb::Invoice> {
        let request =
            pb::ListInvoicesRequest { owner: self.person.owner.to_string(), page_size: 1_000, ..Default::default() };
        self.person.list_invoices(request).await.unwrap().invoices
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

fn period(it: &pb::Subscription) -> String {
    let period = (date_of(it.current_period_start), date_of(it.current_period_end), date_of(it.paid_until));
    let (plan, state) = (&it.plan_id, it.state().as_str_name());
    format!("{plan} for {} at {}: {state} {period:?}", it.seats, cents(it.price.as_ref()))
}

fn lot(lot: &pb::Lot) -> String {
    let source = lot.source().as_str_name().trim_start_matches("LOT_SOURCE_");
    format!("{source} {} {} {}", lot.granted, date_of(lot.effective_at), date_of(lot.expires_at))
}

/// Of credits that can be spent no more it is the same whether that is booked already.
fn what_became_of(lot: &pb::Lot, now: Timestamp) -> String {
    let [remaining, expired] = [&lot.remaining, &lot.expired].map(|it| it.parse::<Credits>().unwrap().micro());
    let is_over = lot.expires_at.is_some_and(|end| end.seconds <= now.as_unix_secs());
    let (left, gone) = if is_over { (0, remaining + expired) } else { (remaining, expired) };
    format!("{left} left, {gone} expired, {} spent, {} held, {} voided", lot.spent, lot.held, lot.voided)
}

/// An invoice or a credit note, which adds up.
fn invoice(it: &pb::Invoice) -> String {
    let (_prefix, number) = it.number.split_once('-').unwrap();
    let [net, tax, gross] = [&it.subtotal, &it.tax, &it.total].map(|money| cents(money.as_ref()));
    let amounts: i64 = it.lines.iter().map(|line| cents(line.amount.as_ref())).sum();
    let taxes: i64 = it.taxes.iter().map(|tax| cents(tax.amount.as_ref())).sum();
    assert_eq!((amounts, taxes, net + tax), (net, tax, gross), "{it:?}");
    let lines: Vec<_> = it.lines.iter().map(line).collect();
    let taxes: Vec<_> = it.taxes.iter().map(tax_of).collect();
    format!("{number} on {}: {}{} = {gross}", it.issued_on, lines.join(", "), taxes.concat())
}

fn tax_of(tax: &pb::InvoiceTax) -> String {
    format!(" + {} {} {}", tax.name, tax.percent, cents(tax.amount.as_ref()))
}

fn line(line: &pb::InvoiceLine) -> String {
    let kind = line.kind().as_str_name().trim_start_matches("INVOICE_LINE_KIND_");
    let of = match line.period_start {
        Some(_) => format!("{} to {}", date_of(line.period_start), date_of(line.period_end)),
        None => "once".to_owned(),
    };
    format!("{kind} {} × {} {of}", line.quantity, cents(line.unit_price.as_ref()))
}

fn payment(it: &pb::Payment) -> String {
    let [purpose, state] = [it.purpose().as_str_name(), it.state().as_str_name()];
    let [paid, back] = [&it.amount, &it.refunded].map(|money| cents(money.as_ref()));
    format!("{} {purpose} {paid} {state} {}, {back} given back", date_of(it.created_at), it.decline_code)
}

fn entry(it: &pb::LedgerEntry) -> String {
    format!("{} {} {}, then {}", date_of(it.at), it.kind().as_str_name(), it.amount, it.spendable_after)
}

/// What something cost, in whole cents; nothing where no price is said.
fn cents(money: Option<&Money>) -> i64 {
    let Some(Money { units, nanos, .. }) = money else { return 0 };
    assert_eq!(nanos % 10_000_000, 0, "a part of a cent: {money:?}");
    units * 100 + i64::from(nanos / 10_000_000)
}
