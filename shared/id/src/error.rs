//! What can be wrong with the text of an id.

use thiserror::Error;

/// A text is not an id of the kind that was asked for.
///
/// The message is one sentence that may be shown to the caller; it never repeats the text itself,
/// which may be long or somebody's secret pasted into the wrong field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an id that starts with {expected_prefix}: {problem}")]
pub struct IdError {
    /// The beginning the id should have had, with its underscore: `usr_`, or `usr_ or org_`.
    pub expected_prefix: &'static str,
    /// The first thing that is wrong, in the order prefix, length, characters, size.
    pub problem: IdProblem,
}

/// The first rule that a text broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdProblem {
    /// The text begins otherwise, or is empty.
    #[error("it begins otherwise")]
    WrongPrefix,
    /// The text is not 30 bytes long.
    #[error("it has {found} bytes instead of 30")]
    WrongLength {
        /// How many bytes it has.
        found: usize,
    },
    /// A character after the prefix is not in `0123456789abcdefghjkmnpqrstvwxyz`.
    #[error("character {position} is not lower-case base32")]
    BadCharacter {
        /// Which character, counted from 1 at the beginning of the text.
        position: usize,
    },
    /// The 26 characters stand for more than 128 bits: the first is above `7`.
    #[error("its value does not fit into 128 bits")]
    Overflow,
}
