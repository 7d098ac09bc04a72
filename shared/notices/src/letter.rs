//! What is mailed about a document.

use askama::Template;
use bursar_mail::Mail;
use bursar_proto::billing::v1::{Invoice, InvoiceKind};
use bursar_rpc::convert::{optional_timestamp, price};

use crate::Addressee;

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

/// What is mailed about a document: its number, what it comes to with taxes, for which time, and where it is.
pub(crate) fn letter(addressee: &Addressee, invoice: &Invoice, product: &str, link_base_url: &str) -> Mail {
    let kind = if invoice.kind() == InvoiceKind::CreditNote { "Credit note" } else { "Invoice" };
    let total = invoice.total.as_ref().and_then(|total| price(total).ok()).map(|it| it.to_string()).unwrap_or_default();
    let base = link_base_url.trim_end_matches('/');
    let link = format!("{base}/invoices?owner={}&invoice={}", invoice.owner, invoice.id);
    let (whose, period) = (addressee.whose.called(), period(invoice));
    let (whose, number) = (whose.as_str(), invoice.number.as_str());
    let (total, period, link) = (total.as_str(), period.as_str(), link.as_str());
    Mail::of(
        &addressee.to,
        &InvoiceText { product, whose, kind, number, total, period, link },
        &InvoiceHtml { product, whose, kind, number, total, period, link },
    )
}

/// For which time a document is, by those of its lines that say so; empty where none does.
fn period(invoice: &Invoice) -> String {
    let lines = || invoice.lines.iter();
    let begin = lines().find_map(|line| optional_timestamp(line.period_start).ok().flatten());
    let end = lines().find_map(|line| optional_timestamp(line.period_end).ok().flatten());
    begin.zip(end).map(|(begin, end)| format!(", for the time from {begin} to {end}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bursar_proto::billing::v1::InvoiceLine;
    use bursar_proto::google::r#type::Money;
    use bursar_rpc::convert::to_timestamp;
    use bursar_time::{Span, Timestamp};

    use super::*;
    use crate::Whose;

    const LINK: &str = "https://app.example.com/invoices?owner=usr_1&invoice=ivc_1";

    /// An invoice over 119 dollars, for nothing in particular.
    fn invoice() -> Invoice {
        Invoice {
            id: "ivc_1".to_owned(),
            owner: "usr_1".to_owned(),
            number: "ABC-2026-0001".to_owned(),
            kind: InvoiceKind::Invoice.into(),
            total: Some(Money { currency_code: "USD".to_owned(), units: 119, nanos: 0 }),
            ..Invoice::default()
        }
    }

    /// A line for the days from one to another since 1970; without the one or the other where there is none.
    fn line(from: Option<u64>, to: Option<u64>) -> InvoiceLine {
        let day = |day: u64| to_timestamp(Timestamp::EPOCH.saturating_add(Span::from_days(day)));
        InvoiceLine { period_start: from.map(day), period_end: to.map(day), ..InvoiceLine::default() }
    }

    fn mailed(whose: Whose, invoice: &Invoice) -> Mail {
        let addressee = Addressee { to: "ada@example.com".to_owned(), whose };
        letter(&addressee, invoice, "Filmkit", "https://app.example.com")
    }

    #[test]
    fn a_document_says_its_number_what_it_comes_to_and_where_it_is() {
        let month = Invoice { lines: vec![line(Some(0), Some(1))], ..invoice() };
        for (kind, word) in [
            (InvoiceKind::Invoice, "Invoice"),
            (InvoiceKind::CreditNote, "Credit note"),
            (InvoiceKind::Unspecified, "Invoice"),
        ] {
            let mail = mailed(Whose::Own, &Invoice { kind: kind.into(), ..month.clone() });
            assert_eq!(mail.to, "ada@example.com");
            assert_eq!(mail.subject, format!("{word} ABC-2026-0001 of Filmkit"));
            for part in [&mail.text, &mail.html] {
                for said in [
                    word,
                    "ABC-2026-0001",
                    "on Filmkit",
                    "119.00 USD",
                    "from 1970-01-01",
                    "to 1970-01-02",
                    "invoice=ivc_1",
                ] {
                    assert!(part.contains(said), "no {said} in {part}");
                }
            }
            assert!(mail.text.contains(LINK), "{}", mail.text);
        }
    }

    #[test]
    fn a_time_is_named_where_lines_say_when_it_begins_and_ends() {
        for (lines, days) in [
            (vec![], None),
            (vec![line(None, None)], None),
            (vec![line(Some(0), None)], None),
            (vec![line(None, Some(1))], None),
            (vec![line(Some(0), Some(1))], Some(("1970-01-01", "1970-01-02"))),
            // What does not end says nothing, and the first that does counts.
            (
                vec![line(None, None), line(Some(1), Some(2)), line(Some(0), Some(3))],
                Some(("1970-01-02", "1970-01-03")),
            ),
            (vec![line(Some(0), None), line(None, Some(2))], Some(("1970-01-01", "1970-01-03"))),
        ] {
            let text = mailed(Whose::Own, &Invoice { lines, ..invoice() }).text;
            let Some((from, to)) = days else {
                assert!(text.contains("119.00 USD.") && !text.contains("for the time"), "{text}");
                continue;
            };
            assert!(text.contains(&format!("119.00 USD, for the time from {from}")), "{from}: {text}");
            assert!(text.contains(&format!(" to {to}")), "{to}: {text}");
        }
    }

    #[test]
    fn somebody_else_reads_the_profiles_name_quoted_and_without_a_link() {
        let named = |name: &str| Whose::Named(name.to_owned());
        for (whose, text, html) in [
            (Whose::Own, "for your own account on", "for your own account on"),
            (named(""), "for an account on", "for an account on"),
            (named("evil.example/x"), "for \"evil example x\" on", "for &#34;evil example x&#34; on"),
            (named("<b>Acme</b>"), "for \"<b>Acme< b>\" on", "for &#34;&#60;b&#62;Acme&#60; b&#62;&#34; on"),
        ] {
            let own = whose == Whose::Own;
            let mail = mailed(whose, &invoice());
            assert!(mail.text.contains(text) && mail.html.contains(html), "{}{}", mail.text, mail.html);
            assert!(!mail.html.contains("<b>"), "{}", mail.html);
            for part in [&mail.text, &mail.html] {
                assert!(!part.contains("evil.example") && part.contains("your own account") == own, "{part}");
            }
        }
    }

    #[test]
    fn a_link_has_one_slash_however_the_setting_ends() {
        let addressee = Addressee { to: "ada@example.com".to_owned(), whose: Whose::Own };
        for base in ["https://app.example.com", "https://app.example.com/", "https://app.example.com//"] {
            let text = letter(&addressee, &invoice(), "Filmkit", base).text;
            assert!(text.lines().any(|line| line == LINK), "{base}: {text}");
        }
    }
}
