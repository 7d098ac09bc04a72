//! The text form: 30 ASCII bytes, written and read without allocating.

use std::fmt;
use std::ops::Deref;

use crate::error::IdProblem;

/// Bytes of an id's text: three letters, an underscore and 26 base32 characters.
pub(crate) const LENGTH: usize = 30;
/// Bytes before the base32 part.
const HEAD: usize = 4;
/// Crockford's alphabet in lower case; it is in ASCII order, so texts sort as their values do.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Marks a byte that is not in the alphabet; has a bit that no value (0..=31) has.
const INVALID: u8 = 0x80;
/// From a byte to its value, or [`INVALID`].
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < 32u8 {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// An id's text on the stack: what [`crate::Id::text`] gives to whoever wants a `&str` but no `String`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdText([u8; LENGTH]);

impl IdText {
    pub(crate) fn new(head: &str, value: u128) -> Self {
        let mut text = [0; LENGTH];
        write(head, value, &mut text);
        Self(text)
    }

    /// The text, always 30 ASCII characters.
    pub fn as_str(&self) -> &str {
        // Only `write` fills the bytes, and it writes ASCII: the default is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for IdText {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for IdText {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes `head` (four bytes) and `value` in base32.
pub(crate) fn write(head: &str, value: u128, out: &mut [u8; LENGTH]) {
    let (front, digits) = out.split_at_mut(HEAD);
    front.copy_from_slice(head.as_bytes());
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
}

/// Reads the value of a text that must begin with `head` (four bytes).
pub(crate) fn read(head: &str, text: &str) -> Result<u128, IdProblem> {
    let bytes = text.as_bytes();
    let Some(digits) = bytes.strip_prefix(head.as_bytes()) else {
        return Err(IdProblem::WrongPrefix);
    };
    if bytes.len() != LENGTH {
        return Err(IdProblem::WrongLength { found: bytes.len() });
    }
    let mut value = 0u128;
    let mut seen = 0u8;
    for digit in digits {
        let digit = VALUES[usize::from(*digit)];
        seen |= digit;
        value = (value << 5) | u128::from(digit & 31);
    }
    if seen & INVALID != 0 {
        let bad = digits.iter().position(|digit| VALUES[usize::from(*digit)] == INVALID);
        return Err(IdProblem::BadCharacter { position: HEAD + 1 + bad.unwrap_or_default() });
    }
    // 26 characters carry 130 bits; the first may only bring the upper three of 128.
    if digits.first().is_some_and(|first| *first > b'7') {
        return Err(IdProblem::Overflow);
    }
    Ok(value)
}
