//! The form of a kinds file.

use serde::Deserialize;

use crate::domain::kind::Declared;

/// A kinds file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Its kinds.
    #[serde(default)]
    kinds: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    parents: Vec<String>,
    #[serde(default = "yes")]
    may_stand_alone: bool,
    #[serde(default)]
    has_content: bool,
    #[serde(default)]
    secret_fields: Vec<String>,
    schema: Option<String>,
}

fn yes() -> bool {
    true
}

impl File {
    /// What it declares.
    pub(super) fn declared(self) -> Vec<Declared> {
        let declared = |entry: Entry| Declared {
            name: entry.name,
            parents: entry.parents,
            may_stand_alone: entry.may_stand_alone,
            has_content: entry.has_content,
            secret_fields: entry.secret_fields,
            schema: entry.schema,
        };
        self.kinds.into_iter().map(declared).collect()
    }
}
