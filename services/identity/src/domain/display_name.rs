//! The name a person goes by.

use std::fmt;

/// Longest display name in characters.
pub const MAX_CHARACTERS: usize = 100;

/// A name of 1–100 characters without control characters and without spaces around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(String);

/// Why a text is not a display name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplayNameError {
    /// Nothing but spaces.
    Empty,
    /// More than [`MAX_CHARACTERS`].
    TooLong,
    /// A line break or another control character.
    Control,
}

impl fmt::Display for DisplayNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a display name is required",
            Self::TooLong => "a display name has at most 100 characters",
            Self::Control => "a display name has no control characters",
        })
    }
}

impl std::error::Error for DisplayNameError {}

impl DisplayName {
    /// Reads a name; spaces around it are dropped.
    pub fn parse(text: &str) -> Result<Self, DisplayNameError> {
        let name = text.trim();
        if name.is_empty() {
            Err(DisplayNameError::Empty)
        } else if name.chars().count() > MAX_CHARACTERS {
            Err(DisplayNameError::TooLong)
        } else if name.chars().any(char::is_control) {
            Err(DisplayNameError::Control)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_texts() {
        let cases = [
            ("Ada", Ok("Ada")),
            ("  Ada Lovelace ", Ok("Ada Lovelace")),
            ("李小龍", Ok("李小龍")),
            ("", Err(DisplayNameError::Empty)),
            (" \t ", Err(DisplayNameError::Empty)),
            ("Ada\nLovelace", Err(DisplayNameError::Control)),
            ("Ada\u{0}", Err(DisplayNameError::Control)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                DisplayName::parse(text).as_ref().map(DisplayName::as_str).map_err(|e| *e),
                expected,
                "{text:?}"
            );
        }
        assert!(DisplayName::parse(&"ж".repeat(100)).is_ok());
        assert_eq!(DisplayName::parse(&"x".repeat(101)), Err(DisplayNameError::TooLong));
    }
}
