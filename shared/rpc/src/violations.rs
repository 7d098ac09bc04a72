//! [`Violations`]: every bad field of a request in one answer, rather than the first one.

use std::fmt;

use crate::Problem;

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
pub struct Violations(Vec<(String, String)>);

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
        self.0.push((field.to_owned(), description.into()));
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Ok` if nothing was wrong, else `INVALID_ARGUMENT` with every bad field.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    /// The problem with every bad field; for `let … else` where at least one was found.
    pub fn into_problem(self) -> Problem {
        Problem::invalid(self.0)
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
    }
}
