//! The job: asks billing for the document, and mails it.

use bursar_jobs::{Failure, Lease, Next, Work};
use bursar_proto::billing::v1::invoice_service_client::InvoiceServiceClient;
use bursar_proto::billing::v1::{BillingProfile, GetInvoiceRequest, GetInvoiceResponse, Invoice};
use bursar_rpc::retry;
use tonic::{Code, Request, Response, Status};

use crate::letter::letter;
use crate::{Issued, Means, Owners};

/// Mails documents to whom the service names. While billing does not answer it is asked again, so hire this for long: given
/// up, nobody would be told of a document that is there.
#[derive(Clone, Copy, Debug)]
pub struct Biller<O>(pub O);

impl<O: Owners> Work for Biller<O> {
    type Payload = Issued<O::Owner>;

    /// The mail is queued in the transaction that finishes the job.
    async fn run(&self, lease: &Lease, issued: Issued<O::Owner>) -> Result<Next, Failure> {
        let means = self.0.means();
        let Some(invoice) = ask(means, issued.owner.to_string(), issued.invoice).await? else {
            return Ok(Next::Finished);
        };
        let (mut tx, now) = (means.db.begin().await?, means.clock.now());
        let none = BillingProfile::default();
        let profile = invoice.billing_profile.as_ref().unwrap_or(&none);
        if let Some(addressee) = self.0.addressee(&mut tx, issued.owner, profile).await? {
            let mail = letter(&addressee, &invoice, means.product, means.link_base_url);
            bursar_mail::queue_bulk(means.jobs, &mut tx, now, &mail, issued.owner.into()).await?;
        }
        lease.finish(&mut tx).await?;
        tx.commit().await?;
        means.jobs.wake();
        Ok(Next::Finished)
    }
}

/// The document; `None` where billing does not know it.
async fn ask(means: Means<'_>, owner: String, invoice_id: String) -> Result<Option<Invoice>, Failure> {
    let message = GetInvoiceRequest { owner, invoice_id };
    let answer = retry(means.entropy, || {
        let mut client = InvoiceServiceClient::new(means.billing.clone());
        let request = Request::new(message.clone());
        async move { client.get_invoice(request).await }
    });
    document(answer.await.map(Response::into_inner))
}

/// What billing's answer comes to.
fn document(answer: Result<GetInvoiceResponse, Status>) -> Result<Option<Invoice>, Failure> {
    match answer {
        Ok(answer) => Ok(answer.invoice),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(Failure::Later(format!("billing answered {:?}", status.code()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_billing_does_not_know_is_nobodys_mail_and_everything_else_is_asked_again() {
        let invoice = Invoice { id: "ivc_1".to_owned(), ..Invoice::default() };
        let later = |code: &str| Err(Failure::Later(format!("billing answered {code}")));
        for (answer, expected) in [
            (Ok(GetInvoiceResponse { invoice: Some(invoice.clone()) }), Ok(Some(invoice))),
            (Ok(GetInvoiceResponse::default()), Ok(None)),
            (Err(Status::not_found("no invoice")), Ok(None)),
            (Err(Status::unavailable("away")), later("Unavailable")),
            (Err(Status::deadline_exceeded("late")), later("DeadlineExceeded")),
            // One of us is wrong: an operator may mend it.
            (Err(Status::permission_denied("no")), later("PermissionDenied")),
        ] {
            assert_eq!(document(answer), expected);
        }
    }
}
