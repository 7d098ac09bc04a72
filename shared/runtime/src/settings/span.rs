//! Spans of time as people write them in a configuration: `250ms`, `30s`, `5m`, `24h`, `7d`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The units, longest first, so that printing finds the shortest exact text.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a whole number followed by one unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a span of time: write a whole number and ms, s, m, h or d, as in `30s`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    number.checked_mul(*millis).map(Duration::from_millis).ok_or_else(refused)
}

/// The shortest text that [`parse`] reads back as the same span (whole milliseconds).
pub(crate) fn print(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) =
        UNITS.iter().find(|(_, size)| millis != 0 && millis.is_multiple_of(*size)).unwrap_or(&("s", 1_000));
    format!("{}{unit}", millis / size)
}

/// For `#[serde(with = "span")]`.
pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print(*span))
}

/// For `#[serde(with = "span")]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_print() {
        for (text, millis) in [
            ("0s", 0),
            ("1ms", 1),
            ("250ms", 250),
            ("30s", 30_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            let printed = print(Duration::from_millis(millis));
            assert_eq!(parse(&printed), Ok(Duration::from_millis(millis)), "{printed}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1week", "99999999999999999999s", "99999999999999999d"] {
            assert!(parse(text).is_err(), "{text} was accepted");
        }
    }
}
