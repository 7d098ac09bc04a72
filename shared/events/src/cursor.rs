//! The positions in one service's events, as others keep them: opaque to them, checked here.

/// The text of a position: the service's name and the number of the last event, `organization-17`.
pub(crate) fn text(source: &str, seq: i64) -> String {
    format!("{source}-{seq}")
}

/// The position a text names; empty is the beginning. `None` for what [`text`] never said for this service.
pub(crate) fn parse(source: &str, cursor: &str) -> Option<i64> {
    if cursor.is_empty() {
        return Some(0);
    }
    let digits = cursor.strip_prefix(source)?.strip_prefix('-')?;
    let seq: i64 = digits.parse().ok()?;
    // One spelling for each position: no sign, no leading zeros.
    (seq >= 0 && seq.to_string() == digits).then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_cursors_are_read() {
        for seq in [0, 1, 17, i64::MAX] {
            assert_eq!(parse("billing", &text("billing", seq)), Some(seq));
        }
        assert_eq!(parse("billing", ""), Some(0));
        for cursor in [
            "organization-1",
            "billing",
            "billing-",
            "billing--1",
            "billing-+1",
            "billing-01",
            "billing-1 ",
            "billing-9223372036854775808",
            "1",
            "x",
        ] {
            assert_eq!(parse("billing", cursor), None, "{cursor:?}");
        }
    }
}
