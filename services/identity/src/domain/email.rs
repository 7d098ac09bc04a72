//! Email addresses: what counts as one and when two are the same.

use std::fmt;

/// An address that mail can be sent to, with the key under which it is unique.
///
/// Only the mailbox form `local@domain` in ASCII is accepted: mail servers without SMTPUTF8 cannot take
/// anything else, and case folding is unambiguous there. Dots and `+tags` are left alone, because whether
/// they matter is the receiving server's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: String,
    key: String,
}

/// Why a text is not an email address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailError {
    /// Nothing was given.
    Empty,
    /// Longer than 254 characters (RFC 5321's path limit), or more than 64 before the `@`.
    TooLong,
    /// A character that the plain mailbox form does not allow.
    Character,
    /// Not `local@domain`.
    Shape,
}

impl fmt::Display for EmailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an email address is required",
            Self::TooLong => "an email address has at most 254 characters, 64 of them before the @",
            Self::Character => "an email address has ASCII letters, digits and .!#$%&'*+/=?^_`{|}~- only",
            Self::Shape => "an email address has the form name@example.com",
        })
    }
}

impl std::error::Error for EmailError {}

const MAX_LENGTH: usize = 254;
const MAX_LOCAL: usize = 64;

impl Email {
    /// Reads an address; spaces around it are forgiven.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let address = text.trim();
        if address.is_empty() {
            return Err(EmailError::Empty);
        }
        let (local, domain) = address.rsplit_once('@').ok_or(EmailError::Shape)?;
        if address.len() > MAX_LENGTH || local.len() > MAX_LOCAL {
            return Err(EmailError::TooLong);
        }
        check_local(local)?;
        check_domain(domain)?;
        Ok(Self { address: address.to_owned(), key: address.to_ascii_lowercase() })
    }

    /// The address as its holder wrote it: what mail is sent to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The case-folded address: two spellings of one address have one key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What stands before the `@`: the name of somebody who gave none.
    pub fn local_part(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(local, _)| local)
    }
}

fn check_local(local: &str) -> Result<(), EmailError> {
    let atoms = local.split('.');
    for atom in atoms {
        if atom.is_empty() {
            return Err(EmailError::Shape);
        }
        if !atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b)) {
            return Err(EmailError::Character);
        }
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), EmailError> {
    for label in domain.split('.') {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            return Err(EmailError::Shape);
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(EmailError::Character);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        let cases = [
            ("ada@example.com", Ok("ada@example.com")),
            ("  Ada.Love+x@Example.COM ", Ok("ada.love+x@example.com")),
            ("a@b", Ok("a@b")),
            ("o'hara@sub-1.example", Ok("o'hara@sub-1.example")),
            ("", Err(EmailError::Empty)),
            ("   ", Err(EmailError::Empty)),
            ("ada", Err(EmailError::Shape)),
            ("@example.com", Err(EmailError::Shape)),
            ("ada@", Err(EmailError::Shape)),
            ("ada@.com", Err(EmailError::Shape)),
            ("ada@-x.com", Err(EmailError::Shape)),
            ("a..b@example.com", Err(EmailError::Shape)),
            ("a@b@c.com", Err(EmailError::Character)),
            ("ada love@example.com", Err(EmailError::Character)),
            ("ada@exa mple.com", Err(EmailError::Character)),
            ("ada@example.com\r\nBcc: x@y.z", Err(EmailError::Character)),
            ("ådа@example.com", Err(EmailError::Character)),
            ("\"ada\"@example.com", Err(EmailError::Character)),
        ];
        for (text, expected) in cases {
            let got = Email::parse(text);
            assert_eq!(got.as_ref().map(Email::key).map_err(|e| *e), expected, "{text:?}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        assert_eq!(Email::parse(&long), Err(EmailError::TooLong));
        let long = format!("a@{}.com", "b.".repeat(130));
        assert_eq!(Email::parse(&long), Err(EmailError::TooLong));
    }

    #[test]
    fn the_spelling_is_kept_and_the_local_part_names_its_holder() {
        let email = Email::parse("Ada@Example.com").unwrap();
        assert_eq!((email.address(), email.local_part()), ("Ada@Example.com", "Ada"));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_keys_are_stable(text in "\\PC{0,80}") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.key()).unwrap();
                prop_assert_eq!(again.key(), email.key());
                prop_assert!(!email.address().contains(char::is_whitespace));
            }
        }
    }
}
