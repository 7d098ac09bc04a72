//! Mails about people's invoices and credit notes, when billing tells that there is one: to the address that the billing
//! profile had then, or to the person. No event holds an address, so billing is asked for the document; that may take its
//! time, so a job does it, and each document is mailed once. Many are issued at once when many renew, so they are mailed in
//! bulk: nobody who waits for a link waits for them.

use askama::Template;
use bursar_db::{DbError, Tx};
use bursar_id::UserId;
use bursar_jobs::{Failure, Kind, Lease};
use bursar_mail::{Mail, quoted};
use bursar_proto::billing::v1::invoice_service_client::InvoiceServiceClient;
use bursar_proto::billing::v1::{GetInvoiceRequest, Invoice, InvoiceKind};
use bursar_rpc::convert::{optional_timestamp, price};
use bursar_rpc::retry;
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};
use tonic::{Code, Request};

use super::Identity;
use super::attempts::Bucket;
use crate::Error;
use crate::config::Config;
use crate::store::users;

/// Mails a document.
pub const INVOICE: Kind<Issued> = Kind::new("identity.invoice");

/// Which document of whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Whose account it is for.
    pub owner: UserId,
    /// The document, `ivc_…` or `crn_…`.
    pub invoice: String,
}

impl Identity {
    /// Has a document mailed, in the transaction that takes note of its event. It may go to any address that the person has
    /// written down, so only so many are mailed; the others stand in the list of invoices all the same.
    pub(crate) async fn note_invoice(&self, tx: &mut Tx, issued: &Issued) -> Result<(), DbError> {
        let now = self.now();
        match count(tx, issued, now).await {
            Ok(()) => self.0.jobs.enqueue(tx, INVOICE, issued, now, Some(&issued.invoice)).await,
            Err(Error::Store(error)) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Mails it, in the transaction that finishes the job. Nobody is told who has not proven the address, or is about to go.
    ///
    /// # Errors
    /// Billing does not answer: it is asked again.
    pub(crate) async fn mail_invoice(&self, lease: &Lease, issued: &Issued) -> Result<(), Failure> {
        let Some(invoice) = self.ask_for_invoice(issued).await? else { return Ok(()) };
        let (mut tx, now) = (self.0.db.begin().await?, self.now());
        let user = users::by_id(&mut tx, issued.owner).await?;
        let user = user.filter(|user| user.email_verified_at.is_some() && user.leaving_since.is_none());
        if let Some(user) = user {
            let named = invoice.billing_profile.as_ref().map(|it| it.invoice_mail.as_str()).unwrap_or_default();
            let to = if named.is_empty() { user.email.as_str() } else { named };
            let mail = letter(to, to == user.email, &invoice, &self.0.config);
            bursar_mail::queue_bulk(&self.0.jobs, &mut tx, now, &mail).await?;
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

/// Counts a document that is to be mailed, unless it was counted before, or too many of its owner were.
///
/// An event may be told again when its job is done long since: which documents are mailed is remembered for a day, much
/// longer than a snapshot takes, after which events come once more.
async fn count(tx: &mut Tx, issued: &Issued, now: Timestamp) -> Result<(), Error> {
    let Issued { owner, invoice } = issued;
    Bucket::Invoice(invoice).take(tx, now).await?;
    match Bucket::Invoices(*owner).take(tx, now).await {
        Err(full @ Error::TooManyAttempts { .. }) => {
            tracing::warn!(%owner, %invoice, "not mailed: too many of this owner today");
            // It is not mailed, so it is not remembered as if it were.
            Bucket::Invoice(invoice).give_back(tx).await?;
            Err(full)
        }
        taken => taken,
    }
}

/// Whose account a document is for, as its reader knows it: the profile's address may be somebody else's, who is told the
/// profile's name.
fn whose(own: bool, invoice: &Invoice) -> String {
    let name = invoice.billing_profile.as_ref().map(|it| it.name.as_str()).unwrap_or_default();
    match name {
        _ if own => "your own account".to_owned(),
        "" => "an account".to_owned(),
        name => quoted(name),
    }
}

#[derive(Template)]
#[template(path = "invoice_issued.txt")]
struct InvoiceText<'a> {
    product: &'a str,
    whose: &'a str,
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
    whose: &'a str,
    kind: &'a str,
    number: &'a str,
    total: &'a str,
    period: &'a str,
    link: &'a str,
}

/// What is mailed about a document to the person whose account it is for (`own`), or to somebody else: its number, what it
/// comes to with taxes, for which time, and where it is.
fn letter(to: &str, own: bool, invoice: &Invoice, config: &Config) -> Mail {
    let kind = if invoice.kind() == InvoiceKind::CreditNote { "Credit note" } else { "Invoice" };
    let total = invoice.total.as_ref().and_then(|total| price(total).ok()).map(|it| it.to_string()).unwrap_or_default();
    let lines = || invoice.lines.iter();
    let begin = lines().find_map(|line| optional_timestamp(line.period_start).ok().flatten());
    let end = lines().find_map(|line| optional_timestamp(line.period_end).ok().flatten());
    let period = begin.zip(end).map(|(begin, end)| format!(", for the time from {begin} to {end}")).unwrap_or_default();
    let base = config.link_base_url.trim_end_matches('/');
    let link = format!("{base}/invoices?owner={}&invoice={}", invoice.owner, invoice.id);
    let whose = whose(own, invoice);
    let (product, whose, number) = (config.product.as_str(), whose.as_str(), invoice.number.as_str());
    let (total, period, link) = (total.as_str(), period.as_str(), link.as_str());
    Mail::of(
        to,
        &InvoiceText { product, whose, kind, number, total, period, link },
        &InvoiceHtml { product, whose, kind, number, total, period, link },
    )
}

#[cfg(test)]
mod tests {
    use bursar_proto::billing::v1::{BillingProfile, InvoiceLine};
    use bursar_proto::google::r#type::Money;
    use bursar_rpc::convert::to_timestamp;
    use bursar_runtime::Settings;
    use bursar_time::Span;

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
        let mail = letter("ada@example.com", true, &invoice, &config);
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
        let mail = letter("ada@example.com", true, &invoice, &config);
        assert!(mail.text.contains("Credit note ABC") && !mail.text.contains("for the time"), "{}", mail.text);
    }

    #[test]
    fn somebody_else_reads_the_profiles_name_quoted_and_without_a_link() {
        let config = Config::of(&Settings::for_test("/nowhere"));
        let of = |name: &str| {
            let profile = BillingProfile { name: name.to_owned(), ..BillingProfile::default() };
            Invoice { billing_profile: Some(profile), ..Invoice::default() }
        };
        for (own, name, text, html) in [
            (false, "evil.example/x", "for \"evil example x\" on", "for &#34;evil example x&#34; on"),
            (false, "", "for an account on", "for an account on"),
            (true, "evil.example/x", "for your own account on", "for your own account on"),
        ] {
            let mail = letter("books@example.com", own, &of(name), &config);
            assert!(mail.text.contains(text) && mail.html.contains(html), "{}{}", mail.text, mail.html);
            for part in [&mail.text, &mail.html] {
                assert!(!part.contains("evil.example") && part.contains("your own account") == own, "{part}");
            }
        }
    }
}
