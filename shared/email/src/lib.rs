//! Email addresses: what counts as one and when two are the same. One type for everybody who stores or compares one.
//!
//! What lives here: the value [`Email`] and how long it may be, the one [`fold`] and the one [`digest`]. What must not: letters,
//! queues, transports (`bursar-mail`), and what a service does about an address.

use std::fmt;

use lettre::Address;
use sha2::{Digest as _, Sha256};

/// An address that mail can be sent to, with the key under which it is unique.
///
/// It is lettre's [`Address`], so whatever passes here can be written into a message, and narrower: only the mailbox
/// form `local@domain` in ASCII, without quotes. Mail servers without SMTPUTF8 cannot take anything else, and case
/// folding is unambiguous there. Dots and `+tags` are left alone, because whether they matter is the receiving
/// server's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: Address,
    key: String,
}

/// Why a text is not an email address. Its text is meant for the person who wrote the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailError {
    /// Nothing was given.
    Empty,
    /// Longer than 254 characters (RFC 5321's path limit), or more than 64 before the `@`.
    TooLong,
    /// A character that the plain mailbox form does not allow.
    Character,
    /// Not `local@domain`, or a domain that no mail can be delivered to.
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

/// The most characters of an address.
pub const MAX_LENGTH: usize = 254;
const MAX_LOCAL: usize = 64;

impl Email {
    /// Reads an address; spaces around it are forgiven.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::Shape)?;
        if text.len() > MAX_LENGTH || local.len() > MAX_LOCAL {
            return Err(EmailError::TooLong);
        }
        // Narrower than lettre, which takes quoted names, other alphabets and bracketed addresses, too.
        let in_atoms = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
        let in_labels = |b: u8| b.is_ascii_alphanumeric() || b".-".contains(&b);
        if !local.bytes().all(in_atoms) || !domain.bytes().all(in_labels) {
            return Err(EmailError::Character);
        }
        let address: Address = text.parse().map_err(|_| EmailError::Shape)?;
        let key = fold(address.as_ref());
        Ok(Self { address, key })
    }

    /// The address as its holder wrote it: what mail is sent to.
    pub fn address(&self) -> &str {
        self.address.as_ref()
    }

    /// The case-folded address: two spellings of one address have one key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What stands before the `@`: the name of somebody who gave none.
    pub fn local_part(&self) -> &str {
        self.address.user()
    }
}

/// The key of an address that was accepted before, such as one in a token: the same as [`Email::key`].
pub fn fold(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// What stands for a key in the names of rows that outlive the address: 16 bytes of its SHA-256 in hexadecimal. It is
/// stored, so it never changes; and it is the same everywhere, so whoever stores it puts before it what it is used for.
pub fn digest(key: &str) -> String {
    let number = Sha256::digest(key).iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("{number:032x}")
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
            ("#!$%&*/=?^_`{|}~-@x.org", Ok("#!$%&*/=?^_`{|}~-@x.org")),
            ("", Err(EmailError::Empty)),
            ("   ", Err(EmailError::Empty)),
            ("ada", Err(EmailError::Shape)),
            ("@", Err(EmailError::Shape)),
            ("@example.com", Err(EmailError::Shape)),
            ("ada@", Err(EmailError::Shape)),
            ("ada@.com", Err(EmailError::Shape)),
            ("ada@example.com.", Err(EmailError::Shape)),
            ("ada@-x.com", Err(EmailError::Shape)),
            ("ada@x-.com", Err(EmailError::Shape)),
            ("a..b@example.com", Err(EmailError::Shape)),
            (".a@example.com", Err(EmailError::Shape)),
            ("a.@example.com", Err(EmailError::Shape)),
            ("a@b@c.com", Err(EmailError::Character)),
            ("ada love@example.com", Err(EmailError::Character)),
            ("ada@exa mple.com", Err(EmailError::Character)),
            ("ada@exa_mple.com", Err(EmailError::Character)),
            ("ada@[127.0.0.1]", Err(EmailError::Character)),
            ("ada@example.com\r\nBcc: x@y.z", Err(EmailError::Character)),
            ("ådа@example.com", Err(EmailError::Character)),
            ("ada@exämple.com", Err(EmailError::Character)),
            // The Kelvin sign folds to a plain k outside of ASCII.
            ("\u{212a}im@example.com", Err(EmailError::Character)),
            ("\"ada\"@example.com", Err(EmailError::Character)),
            ("Ada <ada@example.com>", Err(EmailError::Character)),
        ];
        for (text, expected) in cases {
            let got = Email::parse(text);
            assert_eq!(got.as_ref().map(Email::key).map_err(|e| *e), expected, "{text:?}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let domain = format!("{0}.{0}.{0}", "b".repeat(61));
        let cases = [
            (format!("{}@example.com", "a".repeat(64)), None),
            (format!("{}@example.com", "a".repeat(65)), Some(EmailError::TooLong)),
            (format!("{}@{domain}.com", "a".repeat(64)), None),
            (format!("{}@{domain}.comm", "a".repeat(64)), Some(EmailError::TooLong)),
            (format!("a@{}.com", "b".repeat(63)), None),
            (format!("a@{}.com", "b".repeat(64)), Some(EmailError::Shape)),
        ];
        for (text, expected) in cases {
            assert_eq!(Email::parse(&text).err(), expected, "{} characters: {text}", text.len());
        }
    }

    #[test]
    fn the_spelling_is_kept_and_the_local_part_names_its_holder() {
        let email = Email::parse("Ada@Example.com").unwrap();
        assert_eq!((email.address(), email.local_part()), ("Ada@Example.com", "Ada"));
    }

    #[test]
    fn digests_are_as_they_were_stored() {
        // `printf %s ada@example.com | sha256sum | head -c 32`
        assert_eq!(digest(Email::parse("Ada@Example.com").unwrap().key()), "b5fc85e55755f9e0d030a10ab4429b6b");
        assert_eq!(digest(""), "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn fuzz_addresses() {
        let samples = ["ada@example.com", "Ada.Love+x@Sub-1.Example.COM", " o'hara@x.org ", "#!$%&*/=?^_`{|}~-@a.b"];
        bursar_fuzz::fuzz("addresses", &samples, |bytes| {
            let Ok(email) = Email::parse(&String::from_utf8_lossy(bytes)) else { return };
            assert!(email.address().bytes().all(|b| b.is_ascii_graphic()), "no mail header has this: {email:?}");
            assert_eq!(Email::parse(email.address()).as_ref(), Ok(&email), "another reading of its own spelling");
            assert_eq!(Email::parse(email.key()).unwrap().key(), email.key(), "a key that is not its own");
        });
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_keys_are_stable(text in "\\PC{0,80}|[a-zA-Z.+@-]{3,20}") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.key()).unwrap();
                prop_assert_eq!(again.key(), email.key());
                prop_assert_eq!(fold(email.address()), email.key());
                prop_assert!(!email.address().contains(char::is_whitespace));
            }
        }
    }
}
