//! What an organization's plan allows, in billing's words. Organization reads none of them: they are kept as they were told,
//! within bounds, also those that a later billing has made up.

use std::collections::BTreeSet;
use std::fmt;

/// Longest name of a plan, as billing's catalog has it.
const MAX_PLAN: usize = 63;
/// Longest name of a feature.
const MAX_FEATURE: usize = 63;
/// Most features of a plan.
const MAX_FEATURES: usize = 64;
/// Between two features where they are stored; no name has one.
const BETWEEN: &str = " ";

/// Why a word of billing's is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OddWord {
    /// No name of a plan.
    #[error("a plan's name has 1 to {MAX_PLAN} characters of a-z, 0-9, - and _")]
    Plan,
    /// No name of a feature.
    #[error("a feature's name has 1 to {MAX_FEATURE} characters of A-Z, 0-9 and _")]
    Feature,
    /// More features than any plan has.
    #[error("a plan has {MAX_FEATURES} features at most")]
    TooMany,
}

/// The name of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanName(String);

impl PlanName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, OddWord> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if is_name(text, MAX_PLAN, allowed) { Ok(Self(text.to_owned())) } else { Err(OddWord::Plan) }
    }

    /// A name that was read as one before it was stored.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a plan allows besides credits and people, by name, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<String>);

impl Features {
    /// Reads names.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, OddWord> {
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let mut features = BTreeSet::new();
        for name in names {
            if !is_name(name, MAX_FEATURE, allowed) {
                return Err(OddWord::Feature);
            }
            features.insert(name.to_owned());
            if features.len() > MAX_FEATURES {
                return Err(OddWord::TooMany);
            }
        }
        Ok(Self(features))
    }

    /// What was written of them ([`fmt::Display`]).
    pub fn stored(text: &str) -> Self {
        Self(text.split(BETWEEN).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// Their names, in the order of the letters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// As they are stored.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for name in self.names() {
            write!(f, "{between}{name}")?;
            between = BETWEEN;
        }
        Ok(())
    }
}

/// What billing says of an organization's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The plan that holds.
    pub plan: PlanName,
    /// How many people it has seats for.
    pub seats: u32,
    /// What it allows besides; `None` where an older billing tells of it, which does not say.
    pub features: Option<Features>,
}

/// What an organization's plan allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlements {
    /// The plan that holds.
    pub plan: PlanName,
    /// How many people it has seats for.
    pub seats: u32,
    /// What it allows besides.
    pub features: Features,
}

fn is_name(text: &str, most: usize, allowed: impl Fn(char) -> bool) -> bool {
    (1..=most).contains(&text.len()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_named_as_in_the_catalog() {
        for name in ["free", "business-2026_eu", "a", &"x".repeat(63)] {
            assert_eq!(PlanName::parse(name).as_ref().map(PlanName::as_str), Ok(name));
        }
        for odd in ["", "Business", "a b", "plän", &"x".repeat(64)] {
            assert_eq!(PlanName::parse(odd), Err(OddWord::Plan), "{odd:?}");
        }
    }

    #[test]
    fn features_are_kept_once_each_and_read_back_as_they_were() {
        let parse = |names: &[&str]| Features::parse(names.iter().copied());
        let cases: [(&[&str], &str); 4] = [
            (&[], ""),
            (&["SINGLE_SIGN_ON"], "SINGLE_SIGN_ON"),
            (&["SINGLE_SIGN_ON", "ORGANIZATIONS", "SINGLE_SIGN_ON"], "ORGANIZATIONS SINGLE_SIGN_ON"),
            (&["OF_2031", "ORGANIZATIONS"], "OF_2031 ORGANIZATIONS"),
        ];
        for (names, stored) in cases {
            let features = parse(names).expect("names");
            assert_eq!(features.to_string(), stored);
            assert_eq!(Features::stored(stored), features);
        }
        for odd in ["", "organizations", "SINGLE SIGN ON", "A,B", &"X".repeat(64)] {
            assert_eq!(parse(&["ORGANIZATIONS", odd]), Err(OddWord::Feature), "{odd:?}");
        }
        let many: Vec<String> = (0..65).map(|n| format!("F{n}")).collect();
        let first = |count: usize| Features::parse(many.iter().map(String::as_str).take(count));
        assert_eq!(first(64).map(|it| it.names().count()), Ok(64));
        assert_eq!(first(65), Err(OddWord::TooMany));
    }
}
