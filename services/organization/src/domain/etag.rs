//! Etags: the name of one state of a row, by which two people who edit notice each other.

use super::Refusal;

/// The etag of a row at this version.
pub fn of(version: i64) -> String {
    format!("v{version}")
}

/// Demands that a change is meant for the present state; an empty etag is meant for whatever there is.
pub fn demand(wanted: &str, version: i64) -> Result<(), Refusal> {
    if wanted.is_empty() || wanted == of(version) { Ok(()) } else { Err(Refusal::EtagMismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_present_state_and_no_etag_are_accepted() {
        for (wanted, version, expected) in [
            ("", 3, Ok(())),
            ("v3", 3, Ok(())),
            ("v2", 3, Err(Refusal::EtagMismatch)),
            ("3", 3, Err(Refusal::EtagMismatch)),
            ("\u{0}", 3, Err(Refusal::EtagMismatch)),
        ] {
            assert_eq!(demand(wanted, version), expected, "{wanted:?} at {version}");
        }
    }
}
