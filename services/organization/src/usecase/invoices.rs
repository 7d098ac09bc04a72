//! Mails about organizations' invoices and credit notes, when billing tells that there is one: to the address that the billing
//! profile had then, or to the owner. No event holds an address, so billing is asked for the document; that may take its
//! time, so a job does it, and each document is mailed once. Many are issued at once when many renew, so they are mailed in
//! bulk: nobody who waits for a link waits for them.

use askama::Template;
use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, Role};
use bursar_jobs::{Failure, Kind, Lease};
use bursar_mail::{Mail, quoted};
use bursar_proto::billing::v1::invoice_service_client::InvoiceServiceClient;
use bursar_proto::billing::v1::{GetInvoiceRequest, Invoice, InvoiceKind};
use bursar_rpc::convert::{optional_timestamp, price};
use bursar_rpc::retry;
use serde::{Deserialize, Serialize};
use tonic::{Code, Request};

use super::Organization;
use super::rationing::{give_back, ration};
use crate::config::Config;
use crate::store::{memberships, organizations};

/// Mails a document.
pub const INVOICE: Kind<Issued> = Kind::new("organization.invoice");

/// How many documents of one organization are mailed a day.
const PER_DAY: u32 = 50;

/// Which document of whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Whose account it is for.
    pub owner: OrganizationId,
    /// The document, `ivc_…` or `crn_…`.
    pub invoice: String,
}

impl Organization {
    /// Has a document mailed, in the transaction that takes note of its event. It may go to any address that somebody has
    /// written down, so only so many are mailed; the others stand in the list of invoices all the same.
    ///
    /// An event may be told again when its job is done long since: which documents are mailed is remembered for a day, much
    /// longer than a snapshot takes, after which events come once more.
    pub(crate) async fn note_invoice(&self, tx: &mut Tx, issued: &Issued) -> Result<(), DbError> {
        let Issued { owner, invoice } = issued;
        let (now, document) = (self.now(), format!("invoice:{invoice}"));
        if ration(tx, &document, 1, now).await?.is_some() {
            return Ok(());
        }
        if ration(tx, &format!("invoices:{owner}"), PER_DAY, now).await?.is_some() {
            tracing::warn!(%owner, %invoice, "not mailed: too many of this owner today");
            // It is not mailed, so it is not remembered as if it were.
            return give_back(tx, &document, now, now).await;
        }
        self.0.jobs.enqueue(tx, INVOICE, issued, now, Some(&issued.invoice)).await
    }

    /// Mails it, in the transaction that finishes the job. Of an organization that is gone, or is being erased, nobody is
    /// told.
    ///
    /// # Errors
    /// Billing does not answer: it is asked again.
    pub(crate) async fn mail_invoice(&self, lease: &Lease, issued: &Issued) -> Result<(), Failure> {
        let Some(invoice) = self.ask_for_invoice(issued).await? else { return Ok(()) };
        let (mut tx, now) = (self.0.db.begin().await?, self.now());
        let organization = organizations::by_id(&mut tx, issued.owner).await?;
        if let Some(organization) = organization.filter(|it| !it.life.standing.is_erased()) {
            let named = invoice.billing_profile.as_ref().map(|it| it.invoice_mail.clone()).unwrap_or_default();
            let to = if named.is_empty() {
                let owner = memberships::list(&mut tx, issued.owner, Some(Role::Owner), None, 1).await?.pop();
                owner.map(|owner| owner.email).unwrap_or_default()
            } else {
                named
            };
            if !to.is_empty() {
                let mail = letter(&to, &organization.name, &invoice, &self.0.config);
                bursar_mail::queue_bulk(&self.0.jobs, &mut tx, now, &mail).await?;
            }
        }
        lease.finish(&mut tx).await?;
        tx.commit().await?;
        self.0.jobs.wake();
        Ok(())
    }

    /// The document; `None` where billing does not know it.
    async fn ask_for_invoice(&self, issued: &Issued) -> Result<Option<Invoice>, Failure> {
        let message = GetInvoiceRequest { owner: issued.owner.to_string(), invoice_id: issued.invoice.clone() };
        let answer = retry(&self.0.entropy, || {
            let mut client = InvoiceServiceClient::new(self.0.billing.clone());
            let request = Request::new(message.clone());
            async move { client.get_invoice(request).await }
        });
        match answer.await {
            Ok(answer) => Ok(answer.into_inner().invoice),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Failure::Later(format!("billing answered {:?}", status.code()))),
        }
    }
}

#[derive(Template)]
#[template(path = "invoice_issued.txt")]
struct InvoiceText<'a> {
    product: &'a str,
    organization: &'a str,
    kind: &'a str,
    number: &'a str,
    total: &'a str,
    period: &'a str,
    link: &'a str,
}

#[derive(Template)]
#[template(path = "invoice_issued.html")]
struct InvoiceHtml<'a> {
    product: &'a str,
    organization: &'a str,
    kind: &'a str,
    number: &'a str,
    total: &'a str,
    period: &'a str,
    link: &'a str,
}

/// What is mailed about a document: its number, what it comes to with taxes, for which time, and where it is.
fn letter(to: &str, organization: &str, invoice: &Invoice, config: &Config) -> Mail {
    let kind = if invoice.kind() == InvoiceKind::CreditNote { "Credit note" } else { "Invoice" };
    let total = invoice.total.as_ref().and_then(|total| price(total).ok()).map(|it| it.to_string()).unwrap_or_default();
    let lines = || invoice.lines.iter();
    let begin = lines().find_map(|line| optional_timestamp(line.period_start).ok().flatten());
    let end = lines().find_map(|line| optional_timestamp(line.period_end).ok().flatten());
    let period = begin.zip(end).map(|(begin, end)| format!(", for the time from {begin} to {end}")).unwrap_or_default();
    let link = format!("{}/invoices?owner={}&invoice={}", config.link_base_url, invoice.owner, invoice.id);
    let organization = quoted(organization);
    let organization = organization.as_str();
    let (product, number) = (config.product.as_str(), invoice.number.as_str());
    let (total, period, link) = (total.as_str(), period.as_str(), link.as_str());
    Mail::of(
        to,
        &InvoiceText { product, organization, kind, number, total, period, link },
        &InvoiceHtml { product, organization, kind, number, total, period, link },
    )
}

#[cfg(test)]
mod tests {
    use bursar_proto::billing::v1::InvoiceLine;
    use bursar_proto::google::r#type::Money;
    use bursar_rpc::convert::to_timestamp;
    use bursar_runtime::Settings;
    use bursar_time::{Span, Timestamp};

    use super::*;

    #[test]
    fn a_document_says_its_number_what_it_comes_to_and_where_it_is() {
        let config = Config::of(&Settings::for_test("/nowhere"));
        let month = InvoiceLine {
            period_start: Some(to_timestamp(Timestamp::EPOCH)),
            period_end: Some(to_timestamp(Timestamp::EPOCH.saturating_add(Span::DAY))),
            ..InvoiceLine::default()
        };
        let mut invoice = Invoice {
            id: "ivc_1".to_owned(),
            number: "ABC-2026-0001".to_owned(),
            kind: InvoiceKind::Invoice.into(),
            lines: vec![month],
            total: Some(Money { currency_code: "USD".to_owned(), units: 119, nanos: 0 }),
            ..Invoice::default()
        };
        let mail = letter("books@example.com", "<b>Acme</b>", &invoice, &config);
        assert!(mail.subject.starts_with("Invoice ABC-2026-0001"), "{}", mail.subject);
        for part in [&mail.text, &mail.html] {
            for said in ["Invoice", "ABC-2026-0001", "119.00 USD", "from 1970-01-01", "to 1970-01-02", "invoice=ivc_1"]
            {
                assert!(part.contains(said), "no {said} in {part}");
            }
        }
        assert!(!mail.html.contains("<b>"), "{}", mail.html);
        invoice.lines.clear();
        invoice.kind = InvoiceKind::CreditNote.into();
        let mail = letter("books@example.com", "<b>Acme</b>", &invoice, &config);
        assert!(mail.text.contains("Credit note ABC") && !mail.text.contains("for the time"), "{}", mail.text);
    }
}
