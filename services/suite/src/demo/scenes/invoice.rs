//! The invoices of it all, and the last month's as a PDF that is there afterwards, too.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bursar_proto::billing::v1::{Invoice, InvoiceKind, InvoiceLineKind, PaymentState};

use super::{Actor, expect, expect_text};
use crate::demo::{
    stage::Stage,
    wire::{answer, part},
};

/// How a PDF begins.
const PDF: &[u8] = b"%PDF-";

pub(super) async fn keep(stage: &mut Stage, ada: &Actor) -> anyhow::Result<()> {
    stage.act("The invoices")?;
    let invoice = latest(stage, ada).await?;
    let path = stage
        .step("the last month's, as a PDF", "InvoiceService/RenderInvoice", async {
            let pdf = download(ada, &invoice.id).await?;
            anyhow::ensure!(pdf.starts_with(PDF), "the document is no PDF");
            // Not beside the suite's data: those of the demo's own suite go with it.
            let path = write(&std::env::temp_dir(), &invoice.number, &pdf)?;
            Ok((path, format!("{}, {} bytes", invoice.number, pdf.len())))
        })
        .await?;
    stage.say(&format!("\n   The invoice stays when the demo is over: {}", path.display()))?;
    Ok(())
}

/// Every payment that was made has its invoice, and no other has one. Gives that of the month that was paid for last.
async fn latest(stage: &mut Stage, ada: &Actor) -> anyhow::Result<Invoice> {
    stage
        .step("one for each payment, for the whole team", "InvoiceService/ListInvoices", async {
            let invoices = answer(ada.invoices().await)?.invoices;
            let payments = answer(ada.payments().await)?.payments;
            let of = |state: PaymentState| payments.iter().filter(move |it| it.state() == state);
            let paid: BTreeSet<_> = of(PaymentState::Paid).map(|it| it.id.as_str()).collect();
            let with_invoice: BTreeSet<_> = invoices.iter().map(|it| it.payment_id.as_str()).collect();
            expect("the payments that have an invoice", &with_invoice, &paid)?;
            expect("how many invoices there are", &invoices.len(), &paid.len())?;
            let shown = format!("{} paid; {} declined, without one", paid.len(), of(PaymentState::Declined).count());

            let now = part(answer(ada.subscription().await)?.subscription, "subscription")?;
            let month = part(invoices.iter().find(|it| it.payment_id == now.payment_id), "invoice of the month")?;
            expect_text("whose it is", &month.owner, &ada.owner)?;
            let is = (month.kind(), month.total.as_ref().map(|it| it.units));
            expect("what it is", &is, &(InvoiceKind::Invoice, Some(100)))?;
            let kinds: Vec<_> = month.lines.iter().map(|it| (it.kind(), it.period_start)).collect();
            expect("what it is for", &kinds, &vec![(InvoiceLineKind::Subscription, now.current_period_start)])?;
            Ok((month.clone(), shown))
        })
        .await
}

/// A document, put together from its chunks.
async fn download(ada: &Actor, invoice: &str) -> anyhow::Result<Vec<u8>> {
    let mut chunks = answer(ada.pdf(invoice).await)?;
    let mut whole = Vec::new();
    while let Some(next) = chunks.message().await? {
        whole.extend(next.chunk);
    }
    Ok(whole)
}

/// Writes a document to a new file in a folder. A file that is there already is somebody's, and stays as it is.
fn write(folder: &Path, number: &str, document: &[u8]) -> anyhow::Result<PathBuf> {
    // The number is what a suite says that may be anybody's: nothing of it leads elsewhere.
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    anyhow::ensure!(!number.is_empty() && is_plain(number), "the number {number:?} does not make a file's name");
    let path = folder.join(format!("bursar-invoice-{number}.pdf"));
    let mut file = File::create_new(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(document).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_is_in_a_file_of_its_own_and_replaces_none() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = write(folder.path(), "ZW014D2P-2026-0001", b"%PDF-1").expect("a file");
        assert_eq!(path, folder.path().join("bursar-invoice-ZW014D2P-2026-0001.pdf"));
        assert!(write(folder.path(), "ZW014D2P-2026-0001", b"%PDF-2").is_err(), "it is there already");
        assert_eq!(std::fs::read(&path).expect("readable"), b"%PDF-1");
    }

    #[test]
    fn a_number_leads_nowhere_else() {
        let folder = tempfile::tempdir().expect("a directory");
        for bad in ["", "../1", "a/../../1", "a\\1", "1.pdf", "1\n2"] {
            assert!(write(folder.path(), bad, b"%PDF-").is_err(), "{bad:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
