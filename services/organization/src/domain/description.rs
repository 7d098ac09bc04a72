//! What a project is about, in its members' words.

use std::fmt;

/// Longest description in characters.
pub const MAX_CHARACTERS: usize = 2_000;

/// At most 2,000 characters, of which only line breaks and tabs may be control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(String);

/// Why a text is not a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptionError {
    /// More than [`MAX_CHARACTERS`].
    TooLong,
    /// A control character that is neither a line break nor a tab.
    Control,
}

impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a description has at most 2,000 characters",
            Self::Control => "a description has no control characters but line breaks and tabs",
        })
    }
}

impl std::error::Error for DescriptionError {}

impl Description {
    /// Reads a description, as it is.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        if text.chars().count() > MAX_CHARACTERS {
            Err(DescriptionError::TooLong)
        } else if !text.chars().all(harmless) {
            Err(DescriptionError::Control)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_told_from_other_texts() {
        for good in ["", "One line", "Two\r\nlines\tand a tab", &"ж".repeat(2_000)] {
            assert_eq!(Description::parse(good).expect("good").as_str(), good, "{good:?}");
        }
        let cases = [
            ("x".repeat(2_001), DescriptionError::TooLong),
            ("a\u{0}b".to_owned(), DescriptionError::Control),
            ("a\u{1b}[31mb".to_owned(), DescriptionError::Control),
        ];
        for (text, error) in cases {
            assert_eq!(Description::parse(&text), Err(error), "{text:?}");
        }
    }
}
