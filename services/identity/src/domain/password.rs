//! Which passwords are accepted. How they are hashed is the use cases' business (`usecase/hashing.rs`).

use std::fmt;

/// Shortest password in characters (product rule; NIST SP 800-63B asks for no less).
pub const MIN_CHARACTERS: usize = 8;
/// Longest password in characters: far above any passphrase, and a bound on the hashing work.
pub const MAX_CHARACTERS: usize = 128;

/// Why a password is refused. There are no composition rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// Fewer than [`MIN_CHARACTERS`].
    TooShort,
    /// More than [`MAX_CHARACTERS`].
    TooLong,
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "a password has at least 8 characters",
            Self::TooLong => "a password has at most 128 characters",
        })
    }
}

impl std::error::Error for PasswordError {}

/// Judges a password that somebody wants to have from now on.
pub fn check(password: &str) -> Result<(), PasswordError> {
    match password.chars().count() {
        ..MIN_CHARACTERS => Err(PasswordError::TooShort),
        MIN_CHARACTERS..=MAX_CHARACTERS => Ok(()),
        _ => Err(PasswordError::TooLong),
    }
}

/// Whether a password offered at sign-in could be anybody's at all; longer ones are not worth hashing.
pub fn plausible(password: &str) -> bool {
    check(password).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_characters_and_nothing_else_matters() {
        let cases = [
            (String::new(), Err(PasswordError::TooShort)),
            ("1234567".to_owned(), Err(PasswordError::TooShort)),
            ("12345678".to_owned(), Ok(())),
            ("        ".to_owned(), Ok(())),
            ("пароль".to_owned(), Err(PasswordError::TooShort)),
            ("пароль12".to_owned(), Ok(())),
            ("x".repeat(128), Ok(())),
            ("ж".repeat(128), Ok(())),
            ("x".repeat(129), Err(PasswordError::TooLong)),
        ];
        for (password, expected) in cases {
            assert_eq!(check(&password), expected, "{} characters", password.chars().count());
            assert_eq!(plausible(&password), expected.is_ok());
        }
    }
}
