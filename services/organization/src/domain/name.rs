//! The name of an organization or a project.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name in characters.
pub const MAX_CHARACTERS: usize = 100;

/// A name of 1–100 characters without control characters and without spaces around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing but spaces.
    Empty,
    /// More than [`MAX_CHARACTERS`].
    TooLong,
    /// A line break or another control character.
    Control,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a name is required",
            Self::TooLong => "a name has at most 100 characters",
            Self::Control => "a name has no control characters",
        })
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// Reads a name; spaces around it are dropped.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.trim();
        if name.is_empty() {
            Err(NameError::Empty)
        } else if name.chars().count() > MAX_CHARACTERS {
            Err(NameError::TooLong)
        } else if name.chars().any(char::is_control) {
            Err(NameError::Control)
        } else {
            Ok(Self(name.to_owned()))
        }
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
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
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
            ("", Err(NameError::Empty)),
            (" \t ", Err(NameError::Empty)),
            ("Ac\nme", Err(NameError::Control)),
            ("Acme\u{0}", Err(NameError::Control)),
        ];
        for (text, expected) in cases {
            let got = Name::parse(text);
            assert_eq!(got.as_ref().map(Name::as_str).map_err(|e| *e), expected, "{text:?}");
        }
        assert!(Name::parse(&"ж".repeat(100)).is_ok());
        assert_eq!(Name::parse(&"x".repeat(101)), Err(NameError::TooLong));
    }
}
