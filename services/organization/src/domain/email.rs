//! The address of an invitation, and when a person's address is the invited one.

use std::fmt;

/// An address with the key under which two spellings of it are one.
///
/// ASCII only, as everywhere in Bursar: folding the case of other letters can make two people's addresses
/// look the same. Whether mail can be delivered to it is for the mail crate to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: String,
    key: String,
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailError {
    /// Nothing was given.
    Empty,
    /// Longer than 254 bytes.
    TooLong,
    /// A space, a control character or a letter outside of ASCII.
    Character,
    /// Not `name@host` with one `@`.
    Shape,
}

impl fmt::Display for EmailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an email address is required",
            Self::TooLong => "an email address has at most 254 bytes",
            Self::Character => "an email address has visible ASCII characters only",
            Self::Shape => "an email address has the form name@example.com",
        })
    }
}

impl std::error::Error for EmailError {}

const MAX_BYTES: usize = 254;

impl Email {
    /// Reads an address; spaces around it are forgiven.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let address = text.trim();
        if address.is_empty() {
            return Err(EmailError::Empty);
        }
        if address.len() > MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        if !address.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(EmailError::Character);
        }
        match address.split_once('@') {
            Some((local, host)) if !local.is_empty() && !host.is_empty() && !host.contains('@') => {
                Ok(Self { address: address.to_owned(), key: fold(address) })
            }
            _ => Err(EmailError::Shape),
        }
    }

    /// The address as it was written: what mail is sent to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The case-folded address.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The key of an address that identity has already accepted, such as one in a token.
pub fn fold(address: &str) -> String {
    address.to_ascii_lowercase()
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
            ("", Err(EmailError::Empty)),
            ("   ", Err(EmailError::Empty)),
            ("ada", Err(EmailError::Shape)),
            ("@example.com", Err(EmailError::Shape)),
            ("ada@", Err(EmailError::Shape)),
            ("a@b@c.com", Err(EmailError::Shape)),
            ("ada love@example.com", Err(EmailError::Character)),
            ("ada@example.com\r\nBcc: x@y.z", Err(EmailError::Character)),
            // The Kelvin sign folds to a plain k outside of ASCII.
            ("\u{212a}im@example.com", Err(EmailError::Character)),
        ];
        for (text, expected) in cases {
            let got = Email::parse(text);
            assert_eq!(got.as_ref().map(Email::key).map_err(|e| *e), expected, "{text:?}");
        }
        let long = format!("a@{}.com", "b".repeat(250));
        assert_eq!(Email::parse(&long), Err(EmailError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_keys_are_stable(text in "\\PC{0,80}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(fold(email.address()), email.key());
                prop_assert_eq!(fold(email.key()), email.key());
            }
        }
    }
}
