//! What a credit is called, for people: `credit` and `credits`, or what a product calls them.

use std::fmt;

use bursar_text::TextError;
use serde::{Deserialize, Serialize};

/// A word, kept within the policy: whoever reads a policy copies it, and asks for no memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitWord([u8; Self::LONGEST]);

/// What no credit can be called; a sentence without its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It is no name.
    #[error(transparent)]
    Text(#[from] TextError),
    /// It is too long.
    #[error("must have at most {} bytes", UnitWord::LONGEST)]
    TooLong,
}

impl UnitWord {
    /// The longest word, in bytes of UTF-8.
    pub const LONGEST: usize = 32;

    /// Reads a word; see [`bursar_text::name`].
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let word = bursar_text::name(text, Self::LONGEST)?;
        if word.len() > Self::LONGEST { Err(UnitError::TooLong) } else { Ok(Self::of(&word)) }
    }

    /// A word that is known to be one; what does not fit is cut off.
    const fn of(word: &str) -> Self {
        let (word, mut bytes, mut at) = (word.as_bytes(), [0; Self::LONGEST], 0);
        while at < word.len() && at < Self::LONGEST {
            bytes[at] = word[at];
            at += 1;
        }
        Self(bytes)
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        // No word has a NUL, which is a control character.
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::LONGEST);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

impl fmt::Debug for UnitWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for UnitWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for UnitWord {
    type Error = UnitError;
    fn try_from(text: String) -> Result<Self, UnitError> {
        Self::parse(&text)
    }
}

impl From<UnitWord> for String {
    fn from(word: UnitWord) -> Self {
        word.as_str().to_owned()
    }
}

/// What one credit and several of them are called: always both, half a unit is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CreditUnit {
    /// One.
    pub singular: UnitWord,
    /// Any other number of them.
    pub plural: UnitWord,
}

impl CreditUnit {
    /// `credit` and `credits`.
    pub const CREDITS: Self = Self { singular: UnitWord::of("credit"), plural: UnitWord::of("credits") };
    /// `word` and `words`.
    pub const WORDS: Self = Self { singular: UnitWord::of("word"), plural: UnitWord::of("words") };

    /// What an amount is called that is exactly one, or that is not.
    pub const fn called(self, is_one: bool) -> UnitWord {
        if is_one { self.singular } else { self.plural }
    }
}

impl Default for CreditUnit {
    fn default() -> Self {
        Self::CREDITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_that_fit() {
        let read = |text: &str| UnitWord::parse(text).map(|word| word.to_string());
        for word in ["word", "сло́во", "crédit de calcul", "🚀", "x".repeat(32).as_str()] {
            assert_eq!(read(word).as_deref(), Ok(word));
        }
        assert_eq!(read(" two  words ").as_deref(), Ok("two words"));
        assert_eq!(read(""), Err(UnitError::Text(TextError::Empty)));
        assert_eq!(read("a\u{0}b"), Err(UnitError::Text(TextError::Control('\u{0}'))));
        assert_eq!(read(&"x".repeat(33)), Err(UnitError::Text(TextError::TooLong { most: 32 })));
        assert_eq!(read(&"ж".repeat(17)), Err(UnitError::TooLong));
    }

    #[test]
    fn a_unit_is_read_as_it_was_written_and_half_a_unit_is_none() {
        let text = r#"{"singular":"word","plural":"words"}"#;
        assert_eq!(serde_json::to_string(&CreditUnit::WORDS).unwrap(), text);
        assert_eq!(serde_json::from_str::<CreditUnit>(text).unwrap(), CreditUnit::WORDS);
        for half in [r#"{"singular":"token"}"#, r#"{"plural":"tokens"}"#, "{}", r#"{"singular":"","plural":"tokens"}"#]
        {
            serde_json::from_str::<CreditUnit>(half).unwrap_err();
        }
    }
}
