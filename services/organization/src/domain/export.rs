//! What an export may have.

use std::collections::BTreeSet;

/// A part of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExportKind {
    /// Members with what they prefer, and invitations.
    Members,
    /// Projects.
    Projects,
    /// The items of the library.
    Library,
    /// The content of those items.
    Content,
    /// The audit log.
    Audit,
    /// What was used.
    Usage,
}

impl ExportKind {
    /// All of them, in the order of the API's numbers.
    pub const ALL: [Self; 6] = [Self::Members, Self::Projects, Self::Library, Self::Content, Self::Audit, Self::Usage];

    /// Its name, as a manifest has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Members => "MEMBERS",
            Self::Projects => "PROJECTS",
            Self::Library => "LIBRARY",
            Self::Content => "CONTENT",
            Self::Audit => "AUDIT",
            Self::Usage => "USAGE",
        }
    }
}

/// The parts that an export has: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportKinds(BTreeSet<ExportKind>);

impl ExportKinds {
    /// The parts that were named, each once; none is all.
    pub fn named(kinds: impl IntoIterator<Item = ExportKind>) -> Self {
        let named: BTreeSet<ExportKind> = kinds.into_iter().collect();
        Self(if named.is_empty() { ExportKind::ALL.into() } else { named })
    }

    /// Whether a part is among them.
    pub fn has(&self, kind: ExportKind) -> bool {
        self.0.contains(&kind)
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|kind| kind.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_named_is_everything_and_each_counts_once() {
        use ExportKind::{Audit, Content, Library, Members, Projects, Usage};
        let cases: [(&[ExportKind], &[ExportKind]); 4] = [
            (&[], &[Members, Projects, Library, Content, Audit, Usage]),
            (&[Usage], &[Usage]),
            (&[Audit, Members, Audit], &[Members, Audit]),
            (&ExportKind::ALL, &ExportKind::ALL),
        ];
        for (named, had) in cases {
            let kinds = ExportKinds::named(named.iter().copied());
            let found: Vec<_> = ExportKind::ALL.into_iter().filter(|kind| kinds.has(*kind)).collect();
            assert_eq!(found, had, "{named:?}");
            assert_eq!(kinds.names(), had.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(), "{named:?}");
        }
    }
}
