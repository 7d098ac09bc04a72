//! Decimal text to and from integers of a millionth. Strict: one value has few spellings, none of them
//! signed, exponential or padded with spaces.

use std::fmt;

/// Millionths in one.
pub(crate) const MILLION: i64 = 1_000_000;
/// Fraction digits that fit into a millionth.
const FRACTION_DIGITS: usize = 6;
/// The longest text that is read at all, in bytes.
const MAX_TEXT: usize = 30;

/// What is wrong with a decimal text; each amount has its own error with its own sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Empty,
    Negative,
    TooPrecise,
    TooLarge,
    Malformed,
}

/// Reads digits with an optional fraction of one to six digits, as millionths up to `max`.
///
/// A text that is wrong in shape is [`Flaw::Malformed`] whatever else is wrong with it; a well-formed
/// one that starts with a minus is [`Flaw::Negative`], even `-0`.
pub(crate) fn parse_millionths(text: &str, max: i64) -> Result<i64, Flaw> {
    if text.is_empty() {
        return Err(Flaw::Empty);
    }
    if text.len() > MAX_TEXT {
        return Err(Flaw::Malformed);
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
        Some(_) => return Err(Flaw::Malformed),
        None => (unsigned, ""),
    };
    if !is_digits(whole) {
        return Err(Flaw::Malformed);
    }
    if unsigned.len() != text.len() {
        return Err(Flaw::Negative);
    }
    if fraction.len() > FRACTION_DIGITS {
        return Err(Flaw::TooPrecise);
    }
    let missing = FRACTION_DIGITS - fraction.len();
    // At most 30 digits and six zeros: below 2^127, so only the last step can be out of range.
    let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', missing));
    let value = digits.fold(0i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    i64::try_from(value).ok().filter(|value| *value <= max).ok_or(Flaw::TooLarge)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Writes millionths without their sign, with at least `min_fraction` (0..=6) fraction digits.
pub(crate) fn write_millionths(f: &mut impl fmt::Write, millionths: u64, min_fraction: usize) -> fmt::Result {
    let whole = millionths / MILLION.unsigned_abs();
    let mut fraction = millionths % MILLION.unsigned_abs();
    let mut digits = FRACTION_DIGITS;
    while digits > min_fraction && fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    if digits == 0 { write!(f, "{whole}") } else { write!(f, "{whole}.{fraction:0digits$}") }
}

/// A text of at most 32 bytes on the stack, so that an amount can be padded without allocating.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: [u8; 32],
    length: usize,
}

impl Buffer {
    pub(crate) fn as_str(&self) -> &str {
        // Only `write_str` fills it, always with whole strings.
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
