//! The name that a person or a service account goes by.

use bursar_text::TextError;

/// Longest display name in characters.
pub const MAX_CHARACTERS: usize = 100;

/// A name of 1–100 characters as [`bursar_text::name`] has them: nothing in it is invisible or turns the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Reads a name and normalizes it.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bursar_text::name(text, MAX_CHARACTERS).map(Self)
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
            (" \t ", Err(TextError::Empty)),
            ("Ada\nLovelace", Err(TextError::Control('\n'))),
            ("Ada\u{200b}", Err(TextError::Invisible('\u{200b}'))),
        ];
        for (text, expected) in cases {
            let name = DisplayName::parse(text);
            assert_eq!(name.as_ref().map(DisplayName::as_str).map_err(|error| *error), expected, "{text:?}");
        }
        assert!(DisplayName::parse(&"ж".repeat(100)).is_ok());
        assert_eq!(DisplayName::parse(&"x".repeat(101)), Err(TextError::TooLong { most: 100 }));
    }
}
