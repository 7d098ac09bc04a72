//! A mail, and the message (RFC 5322) it becomes.

use std::fmt;
use std::time::{Duration, SystemTime};

use bursar_id::MailId;
use bursar_time::Timestamp;
use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox};
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
    let text = printable_lines(&mail.text);
    let body = match encoding {
        // Encoded by hand: lettre would break every line of more than 76 bytes, and with it the links. RFC 5322
        // allows 998.
        Encoding::EightBit if text.split("\r\n").all(|line| line.len() <= 998) => {
            Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::EightBit)
        }
        _ => Body::new(text),
    };
    Message::builder()
        .from(from.clone())
        .to(to)
        .date(date)
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .subject(one_line(&mail.subject))
        .header(ContentType::TEXT_PLAIN)
        // RFC 3834: vacation responders stay silent.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .body(body)
        .map_err(|error| MailError::Compose(error.to_string()))
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
        let mail = Mail { to: "ann@example.com".into(), subject: subject.into(), text: text.into() };
        let from = "Bursar <no-reply@bursar.example>".parse().expect("parses");
        let id = MailId::from_parts(1_000, [7; 10]);
        let at = Timestamp::from_micros(1_785_000_000_000_000).expect("in range");
        let message = compose(id, at, &from, &mail, encoding).expect("composes");
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
    fn debug_says_nothing() {
        let mail = Mail { to: "ann@example.com".into(), subject: "s".into(), text: "token=geheim".into() };
        assert_eq!(format!("{mail:?}"), "Mail([redacted])");
    }
}
