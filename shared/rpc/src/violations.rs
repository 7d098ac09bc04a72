//! [`Violations`]: the bad fields of a request in one answer, rather than the first one.

use std::fmt;

use crate::Problem;
use crate::problem::FIELDS_TOLD;

/// Collects what is wrong with a request while its fields are parsed.
///
/// ```
/// # use bursar_rpc::{Problem, Violations};
/// # fn parse(name: &str, count: &str) -> Result<(String, u8), Problem> {
/// let mut violations = Violations::new();
/// let count = violations.check("count", count.parse::<u8>());
/// violations.require("name", !name.is_empty(), "must not be empty");
/// violations.finish()?;
/// # Ok((name.to_owned(), count.unwrap_or_default()))
/// # }
/// # assert_eq!(parse("", "x").unwrap_err().fields().len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Violations {
    told: Vec<(String, String)>,
    count: usize,
}

impl Violations {
    /// Nothing wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a field's value out of its parser's result; an error is noted under the field's name.
    pub fn check<T, E: fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error.to_string());
                None
            }
        }
    }

    /// Like [`Self::check`] for a field that may be left out: an empty text is `Some(None)`.
    pub fn check_optional<T, E: fmt::Display>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.check(field, parse(text)).map(Some) }
    }

    /// Notes a field that breaks a rule.
    pub fn require(&mut self, field: &str, holds: bool, description: &str) {
        if !holds {
            self.add(field, description);
        }
    }

    /// Notes a bad field.
    pub fn add(&mut self, field: &str, description: impl Into<String>) {
        self.count += 1;
        // The rest is only counted, so that a request cannot make more work of its refusal than it is itself.
        if self.told.len() < FIELDS_TOLD {
            self.told.push((field.to_owned(), description.into()));
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `Ok` if nothing was wrong, else `INVALID_ARGUMENT` with the bad fields: the first [`FIELDS_TOLD`] and how many.
    pub fn finish(self) -> Result<(), Problem> {
        if self.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    /// The problem with the bad fields; for `let … else` where at least one was found.
    pub fn into_problem(self) -> Problem {
        Problem::invalid_of(self.told, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bad_fields_are_reported_together() {
        let mut violations = Violations::new();
        assert_eq!(violations.check("a", "7".parse::<u8>()), Some(7));
        assert_eq!(violations.check("b", "x".parse::<u8>()), None);
        assert_eq!(violations.check_optional("c", "", str::parse::<u8>), Some(None));
        assert_eq!(violations.check_optional("d", "300", str::parse::<u8>), None);
        violations.require("e", false, "must hold");
        violations.require("f", true, "must hold");
        let problem = violations.finish().expect_err("three fields are bad");
        let fields: Vec<_> = problem.fields().iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["b", "d", "e"]);
        assert!(Violations::new().finish().is_ok());
        let mut many = Violations::new();
        (0..100_000).for_each(|n| many.add(&format!("ids[{n}]"), "is malformed"));
        let problem = many.into_problem();
        assert_eq!(
            (problem.fields().len(), problem.metadata()),
            (FIELDS_TOLD, [("violations", "100000".to_owned())].as_slice())
        );
    }
}
