//! What a project is about, in its members' words.

use bursar_text::TextError;

/// Longest description in characters.
pub const MAX_CHARACTERS: usize = 2_000;

/// At most 2,000 characters as [`bursar_text::prose`] has them: line breaks and tabs, and nothing else that nobody sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// Reads a description.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        bursar_text::prose(text, MAX_CHARACTERS).map(Self)
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
            ("x".repeat(2_001), TextError::TooLong { most: 2_000 }),
            ("a\u{0}b".to_owned(), TextError::Control('\0')),
            ("a\u{1b}[31mb".to_owned(), TextError::Control('\u{1b}')),
        ];
        for (text, error) in cases {
            assert_eq!(Description::parse(&text), Err(error), "{text:?}");
        }
    }
}
