//! The name of an organization or a project.

use bursar_text::TextError;
use serde::{Deserialize, Serialize};

/// Longest name in characters.
pub const MAX_CHARACTERS: usize = 100;

/// A name of 1–100 characters as [`bursar_text::name`] has them: nothing in it is invisible or turns the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Reads a name and normalizes it.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bursar_text::name(text, MAX_CHARACTERS).map(Self)
    }

    /// A name that was read as one before it was stored.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_texts() {
        let cases = [
            ("Acme", Ok("Acme")),
            ("  Acme & Söhne ", Ok("Acme & Söhne")),
            ("株式会社", Ok("株式会社")),
            ("", Err(TextError::Empty)),
            (" \t ", Err(TextError::Empty)),
            ("Ac\nme", Err(TextError::Control('\n'))),
            ("Acme\u{0}", Err(TextError::Control('\0'))),
            ("Ac\u{202e}me", Err(TextError::Invisible('\u{202e}'))),
        ];
        for (text, expected) in cases {
            let got = Name::parse(text);
            assert_eq!(got.as_ref().map(Name::as_str).map_err(|e| *e), expected, "{text:?}");
        }
        assert!(Name::parse(&"ж".repeat(100)).is_ok());
        assert_eq!(Name::parse(&"x".repeat(101)), Err(TextError::TooLong { most: 100 }));
    }
}
