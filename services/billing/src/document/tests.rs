//! Documents: what stands on them, whatever the texts are.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_testkit::{at, fonts_of_the_image, id};

use super::view::View;
use super::{Format, Look, Paid};
use crate::domain::{
    Bill, BillingProfile, DocumentId, DocumentKind, Invoice, InvoiceLine, Issuer, LineKind, TaxProvider, TaxRate,
};
use bursar_id::OwnerId;

fn line(description: &str, price: &str) -> InvoiceLine {
    let line = InvoiceLine::new(LineKind::Pack, description.to_owned(), 1, price.parse().unwrap()).unwrap();
    line.during(at("2026-11-26T10:00:00Z"), at("2026-12-26T10:00:00Z"))
}

fn invoice(lines: Vec<InvoiceLine>) -> Invoice {
    let rate = TaxRate { country: "DE".parse().unwrap(), name: "USt.".to_owned(), percent: "19".parse().unwrap() };
    let taxes = TaxProvider::table(vec![rate]).unwrap();
    Invoice {
        id: DocumentId { kind: DocumentKind::Invoice, id: id(7) },
        owner: OwnerId::Organization(id(1)),
        number: "ZW014D2P-2026-0001".to_owned(),
        position: 1,
        original: None,
        bill: Bill::new(lines, taxes.rates("DE".parse().ok())).unwrap(),
        profile: Some(BillingProfile {
            name: "株式会社サンプル <Ada & Söhne>".to_owned(),
            address_lines: vec!["ул. Ленина, 5".to_owned(), "שדרות רוטשילד 12, תל אביב".to_owned()],
            country: "DE".parse().ok(),
            tax_id: "DE123456789".to_owned(),
            order_number: "PO-\"7\"".to_owned(),
            invoice_mail: "books@example.com".to_owned(),
        }),
        issuer: Issuer { product: "Flik AI".to_owned(), lines: vec!["Flik GmbH, Hauptstraße 1, Berlin".to_owned()] },
        payment: id(9),
        issued_at: at("2026-11-26T10:00:00Z"),
        issued_on: "2026-11-26".to_owned(),
    }
}

fn look() -> Look {
    Look::load(None, None).unwrap()
}

fn html(invoice: &Invoice) -> String {
    html_of(invoice, Paid::AtOnce)
}

fn html_of(invoice: &Invoice, paid: Paid) -> String {
    String::from_utf8(look().write(invoice, paid, Format::Html).unwrap()).unwrap()
}

/// How many pages a PDF has: each is an object of the type Page.
fn pages(pdf: &[u8]) -> usize {
    let text = String::from_utf8_lossy(pdf);
    text.matches("/Type/Page").count() + text.matches("/Type /Page").count() - 1
}

#[test]
fn a_page_of_html_has_every_text_escaped() {
    let page = html(&invoice(vec![line("<script>alert(1)</script> & \"pack\"", "20.00 USD")]));
    for shown in ["ZW014D2P-2026-0001", "2026-11-26", "20.00", "3.80", "23.80 USD", "USt. 19 %", "株式会社サンプル"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    for text in ["<script", "<Ada", "\"pack\"", "\"7\""] {
        assert!(!page.contains(text), "{text} stands unescaped: {page}");
    }
    assert!(!page.contains("books@example.com"), "where it is mailed does not stand on it");
    assert!(!page.contains("http:") && !page.contains("https:"), "the page needs nothing else");
}

#[test]
fn a_credit_note_names_its_invoice() {
    let original = invoice(vec![line("Starter", "20.00 USD")]);
    let bill = original.bill.credit("0.00 USD".parse().unwrap(), "11.90 USD".parse().unwrap(), "Credit").unwrap();
    let note = Invoice {
        id: DocumentId { kind: DocumentKind::CreditNote, id: id(8) },
        number: "ZW014D2P-C-2026-0001".to_owned(),
        original: Some((original.id.id, original.number.clone())),
        bill,
        ..original
    };
    let page = html(&note);
    for shown in ["Credit note", "ZW014D2P-C-2026-0001", "ZW014D2P-2026-0001", "10.00", "1.90", "11.90 USD"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}

#[test]
fn a_document_says_what_has_become_of_the_money_by_how_it_was_paid() {
    let sold = invoice(vec![line("Enterprise", "900.00 USD")]);
    let note = Invoice {
        id: DocumentId { kind: DocumentKind::CreditNote, id: id(8) },
        original: Some((sold.id.id, sold.number.clone())),
        ..sold.clone()
    };
    let nothing = invoice(vec![line("Enterprise", "0.00 USD")]);
    let cases = [
        (&sold, Paid::AtOnce, "Paid in full."),
        (&sold, Paid::ByInvoice, "To be paid by invoice."),
        (&note, Paid::AtOnce, "Given back to the means of payment it was paid with."),
        (&note, Paid::ByInvoice, "Set off against the invoice, or given back by transfer where that has been paid."),
        (&nothing, Paid::ByInvoice, "Paid in full."),
    ];
    let sentences: Vec<_> = cases.iter().map(|(_, _, sentence)| *sentence).collect();
    for (document, paid, sentence) in cases {
        let page = html_of(document, paid);
        for other in &sentences {
            assert_eq!(page.contains(other), *other == sentence, "{paid:?} {other}: {page}");
        }
        assert_eq!(View::of(document, paid).closing, sentence, "the PDF writes the same text");
        assert_eq!(pages(&look().write(document, paid, Format::Pdf).unwrap()), 1);
    }
}

#[test]
fn whoever_gave_no_name_or_whose_profile_is_erased_has_an_invoice_all_the_same() {
    let mut nobody = invoice(vec![line("Starter", "20.00 USD")]);
    nobody.profile = Some(BillingProfile::default());
    assert!(html(&nobody).contains(&nobody.owner.to_string()));
    nobody.profile = None;
    assert!(!html(&nobody).contains(&nobody.owner.to_string()));
    assert!(look().write(&nobody, Paid::AtOnce, Format::Pdf).unwrap().starts_with(b"%PDF-"));
}

#[test]
fn the_same_invoice_is_the_same_file() {
    let one = invoice(vec![line("Starter", "20.00 USD")]);
    let write = |format| look().write(&one, Paid::AtOnce, format).unwrap();
    for format in [Format::Html, Format::Pdf] {
        assert_eq!(write(format), write(format), "{format:?}");
    }
    assert_eq!(pages(&write(Format::Pdf)), 1);
}

/// How long it takes is printed (`--nocapture`); an optimised program writes a thousand lines in less than a second. That the work
/// of each line is the same however many there are, is counted where texts are laid out.
#[test]
fn a_thousand_lines_go_on_over_many_pages() {
    let name =
        |n: usize| format!("Premium pack number {n}, for a team with quite a long name that needs more than one line");
    let lines = |count: usize| invoice((0..count).map(|n| line(&name(n), "200.00 USD")).collect());
    let (long, look) = (lines(1_000), look());
    let began = Instant::now();
    let pdf = look.write(&long, Paid::AtOnce, Format::Pdf).unwrap();
    println!("1,000 lines as a PDF of {} pages: {:?}, {} bytes", pages(&pdf), began.elapsed(), pdf.len());
    assert!(pages(&pdf) > 30, "{}", pages(&pdf));
    let short = look.write(&lines(100), Paid::AtOnce, Format::Pdf).unwrap();
    assert!(pages(&pdf) <= 11 * pages(&short), "{} pages, and {} of a tenth", pages(&pdf), pages(&short));
    assert!(pdf.len() <= 11 * short.len(), "{} bytes, and {} of a tenth", pdf.len(), short.len());
    assert!(html(&long).contains("238000.00 USD"));
}

#[test]
fn names_in_other_scripts_are_written_in_the_fonts_of_the_folder_and_all_the_same_without() {
    let Some(folder) = fonts_of_the_image("invoices with names in other scripts") else { return };
    let mut one = invoice(vec![line("김민준, 山田さくら: 300 credits", "20.00 USD")]);
    let profile = BillingProfile {
        name: "李明华 و محمد بن سلمان".to_owned(),
        address_lines: vec!["דנה לוי, שדרות רוטשילד 12".to_owned()],
        ..BillingProfile::default()
    };
    one.profile = Some(profile);
    let write = |look: Look| look.write(&one, Paid::AtOnce, Format::Pdf).unwrap();
    let (with, without) = (write(Look::load(Some(&folder), None).unwrap()), write(look()));
    let texts = [&with, &without].map(|pdf| String::from_utf8_lossy(pdf).into_owned());
    let embedded = |text: &str, script: &str| {
        text.match_indices("+Noto").any(|(at, _)| {
            let name = text[at..].split(|c: char| !c.is_ascii_alphanumeric() && !"+-".contains(c)).next();
            name.is_some_and(|name| name.contains(script))
        })
    };
    for script in ["Arabic", "Hebrew", "CJK", "Sans-Bold"] {
        assert!(embedded(&texts[0], script), "the letters of {script} are in it");
        assert!(!embedded(&texts[1], script), "{script} is not built in");
    }
    assert!(texts[1].contains("+DejaVuSans"), "what is built in is there");
    assert_eq!([pages(&with), pages(&without)], [1, 1]);
}

/// A PNG of one pixel.
const LOGO: &str = "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489\
                    0000000d49444154789c63507048f80f00030401c0802870da0000000049454e44ae426082";

/// How many pictures a PDF has.
fn pictures(pdf: &[u8]) -> usize {
    String::from_utf8_lossy(pdf).replace(' ', "").matches("/Subtype/Image").count()
}

#[test]
fn the_logo_stands_on_the_page_of_html_and_in_the_pdf() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logo.png");
    let file = hex::decode(LOGO).unwrap();
    std::fs::write(&path, &file).unwrap();
    let (bare, dressed) = (look(), Look::load(None, Some(&path)).unwrap());
    let one = invoice(vec![line("Starter", "20.00 USD")]);
    let html = |look: &Look| String::from_utf8(look.write(&one, Paid::AtOnce, Format::Html).unwrap()).unwrap();
    let picture = format!("<img src=\"data:image/png;base64,{}\"", STANDARD.encode(&file));
    assert!(html(&dressed).contains(&picture), "{}", html(&dressed));
    assert!(!html(&bare).contains("<img"), "{}", html(&bare));
    let pdf = |look: &Look| look.write(&one, Paid::AtOnce, Format::Pdf).unwrap();
    assert_eq!(pictures(&pdf(&bare)), 0);
    assert!(pictures(&pdf(&dressed)) > 0, "it is a picture in the file");
    assert_eq!(pages(&pdf(&dressed)), 1);
}

#[test]
fn a_logo_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logo.svg");
    std::fs::write(&path, "<svg/>").unwrap();
    for logo in [path, folder.path().join("none.png")] {
        let said = Look::load(None, Some(&logo)).unwrap_err().to_string();
        assert!(said.starts_with("invoices.logo_file: "), "{said}");
    }
    let said = Look::load(Some(folder.path()), None).unwrap_err().to_string();
    assert!(said.starts_with("fonts_dir: "), "{said}");
}
