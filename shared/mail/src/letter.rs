//! A mail, and the message (RFC 5322) it becomes.

use std::fmt;
use std::time::{Duration, SystemTime};

use bursar_id::MailId;
use bursar_time::Timestamp;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, MultiPartKind, SinglePart};
use serde::{Deserialize, Serialize};

/// A mail to one person. Its `Debug` shows nothing: the text carries tokens, and the address is personal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The address, `name@host`: one that `bursar_email::Email` takes.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text. A link stands on a line of its own, shorter than 998 bytes.
    pub text: String,
    /// The same as HTML; empty: the mail is text alone.
    #[serde(default)]
    pub html: String,
}

impl Mail {
    /// A mail out of its two templates, filled in. The text's first line is `Subject: …`, an empty one follows.
    pub fn of(to: &str, text: &impl fmt::Display, html: &impl fmt::Display) -> Self {
        let whole = text.to_string();
        let (subject, text) = whole.split_once("\n\n").unwrap_or(("", &whole));
        let subject = subject.strip_prefix("Subject: ").unwrap_or(subject);
        Self { to: to.to_owned(), subject: subject.to_owned(), text: text.to_owned(), html: html.to_string() }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mail([redacted])")
    }
}

/// Why mail cannot be set up or written. Holds no address, no text and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The sender's address in the configuration.
    #[error("the address that mail is sent from is malformed: {0}")]
    From(String),
    /// The SMTP address in the configuration.
    #[error("the SMTP address is malformed: {0}")]
    Smtp(String),
    /// The recipient's address.
    #[error("the recipient's address is malformed")]
    To,
    /// The message cannot be composed.
    #[error("the message cannot be composed: {0}")]
    Compose(String),
}

/// How the text travels: files keep it readable (links are searched for by eye and by `grep`), SMTP keeps to what every
/// server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    EightBit,
    SevenBit,
}

/// Composes the message. The same mail gives the same `Message-ID` and `Date` each time it is tried.
pub(crate) fn compose(
    id: MailId,
    queued_at: Timestamp,
    from: &Mailbox,
    mail: &Mail,
    encoding: Encoding,
) -> Result<Message, MailError> {
    let to = Mailbox::new(None, mail.to.parse().map_err(|_| MailError::To)?);
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(queued_at.as_millis());
    let message = Message::builder()
        .from(from.clone())
        .to(to)
        .date(date)
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .subject(one_line(&mail.subject))
        // RFC 3834: vacation responders stay silent.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    let text = body(&mail.text, encoding);
    let composed = if mail.html.is_empty() {
        message.header(ContentType::TEXT_PLAIN).body(text)
    } else {
        // The last part is the one that is preferred (RFC 2046). The boundary is the mail's own, so that it is the same
        // each time it is tried; no token and no word holds it.
        let parts = MultiPart::builder().kind(MultiPartKind::Alternative).boundary(format!("part-{id}"));
        let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text);
        let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(body(&mail.html, encoding));
        message.multipart(parts.singlepart(text).singlepart(html))
    };
    composed.map_err(|error| MailError::Compose(error.to_string()))
}

/// One part of the message, in the encoding in which it travels.
fn body(text: &str, encoding: Encoding) -> Body {
    let text = printable_lines(text);
    match encoding {
        // Encoded by hand: lettre would break every line of more than 76 bytes, and with it the links. RFC 5322
        // allows 998.
        Encoding::EightBit if text.split("\r\n").all(|line| line.len() <= 998) => {
            Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::EightBit)
        }
        _ => Body::new(text),
    }
}

/// The text with the line ends of mail and without control characters, which no mail may carry.
fn printable_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        out.extend(line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
        out.push_str("\r\n");
    }
    out
}

/// A subject without line breaks and other control characters: they would end the header.
fn one_line(subject: &str) -> String {
    subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(subject: &str, text: &str, encoding: Encoding) -> String {
        written(
            &Mail { to: "ann@example.com".into(), subject: subject.into(), text: text.into(), html: String::new() },
            encoding,
        )
    }

    fn written(mail: &Mail, encoding: Encoding) -> String {
        let from = "Bursar <no-reply@bursar.example>".parse().expect("parses");
        let id = MailId::from_parts(1_000, [7; 10]);
        let at = Timestamp::from_micros(1_785_000_000_000_000).expect("in range");
        let message = compose(id, at, &from, mail, encoding).expect("composes");
        String::from_utf8(message.formatted()).expect("text")
    }

    #[test]
    fn a_link_stays_on_its_line_among_any_letters() {
        let link = format!("https://app.example/accept?token={}", "A_-9".repeat(20));
        for name in ["Acme", "Ünïcödé & Söhne", "株式会社"] {
            let text = composed("Hi", &format!("Join {name}:\n\n{link}\n"), Encoding::EightBit);
            assert!(text.lines().any(|line| line.trim_end() == link), "{text}");
        }
    }

    #[test]
    fn what_mail_cannot_carry_is_encoded_or_left_out() {
        for text in ["x".repeat(2_000), "a\0b".to_owned(), "a\rb".to_owned(), "a\u{85}b\n\r\n".to_owned()] {
            for encoding in [Encoding::EightBit, Encoding::SevenBit] {
                let composed = composed("Hi", &text, encoding);
                let good = |line: &str| line.len() <= 998 && !line.chars().any(char::is_control);
                assert!(composed.split("\r\n").all(good), "{encoding:?}: {composed:?}");
            }
        }
    }

    #[test]
    fn the_headers_say_who_when_and_that_a_program_wrote_it() {
        let text = composed("Hi", "x", Encoding::SevenBit);
        for header in [
            "From: Bursar <no-reply@bursar.example>",
            "To: ann@example.com",
            "Date: Sat, 25 Jul 2026 17:20:00 +0000",
            "Message-ID: <eml_",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(text.lines().any(|line| line.starts_with(header)), "no {header} in {text}");
        }
    }

    #[test]
    fn a_subject_cannot_smuggle_a_header() {
        let text = composed("Hi\r\nBcc: all@example.com", "x", Encoding::EightBit);
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    }

    #[test]
    fn templates_give_a_text_and_an_html_part() {
        let mail = Mail::of("ann@example.com", &"Subject: Hi Ann\n\nOpen\n\nhttp://x/?token=a-1\n", &"<p>Grüße</p>\n");
        assert_eq!((mail.subject.as_str(), mail.text.as_str()), ("Hi Ann", "Open\n\nhttp://x/?token=a-1\n"));
        let file = written(&mail, Encoding::EightBit);
        assert_eq!(file, written(&mail, Encoding::EightBit), "each try gives the same message");
        let (head, parts) = file.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("multipart/alternative") && head.contains("To: ann@example.com\r\n"), "{head}");
        let [text, html] = ["text/plain", "text/html"].map(|kind| parts.find(kind).expect(kind));
        assert!(text < html, "the text comes first: {parts}");
        for line in ["http://x/?token=a-1", "<p>Grüße</p>"] {
            assert!(parts.lines().any(|found| found == line), "{line} is not readable in {parts}");
        }
        let sent = written(&mail, Encoding::SevenBit);
        assert!(sent.is_ascii() && sent.contains("text/html"), "{sent}");
    }

    #[test]
    fn debug_says_nothing() {
        let mail = Mail::of("ann@example.com", &"Subject: s\n\ntoken=geheim", &"token=geheim");
        assert_eq!(format!("{mail:?}"), "Mail([redacted])");
    }
}
