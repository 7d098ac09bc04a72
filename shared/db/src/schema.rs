//! The window of schemas: whether this program and a store's migrations fit together.
//!
//! While a release is rolled out, old programs run on a store that the new one has migrated. So a migration says which
//! programs it still serves, in its name, and the name stands in the store, where programs read it that were written
//! before it:
//!
//! ```text
//! 0007_serves_5_display_names.sql    expand: programs that know version 5 or 6 go on
//! 0008_drop_names.sql                contract: serves nobody but programs that know version 8
//! ```
//!
//! A store that is ahead is accepted as long as its newest migration serves this program's version. What no migration
//! says is not so: a name without `serves` is a contract. An expand migration adds tables, indexes, and columns that have
//! a default; a contract comes a release later, when no program is left that needs what it takes away.
//!
//! A store that is behind can be migrated if it has at least the oldest version that the program migrates from. (Between
//! an expansion and its contraction the programs of a release may have had to move data; a store that never saw them is
//! not ready for the contraction.)

use sqlx::Row;
use sqlx::migrate::Migrator;

use crate::{DbError, Engine, Tx};

/// Which of a store's two sets of migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The tables that every service has.
    Shared,
    /// The service's own tables.
    Own,
}

impl Part {
    /// The table in which a store keeps which migrations of this part it has.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Shared => "_shared_migrations",
            Self::Own => "_sqlx_migrations",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shared => "the shared tables",
            Self::Own => "the service's tables",
        })
    }
}

/// A migration that a store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    version: i64,
    description: String,
    checksum: Vec<u8>,
}

impl Applied {
    /// Its version.
    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// The oldest version of a program that this migration serves.
    fn serves(&self) -> i64 {
        let mut words = self.description.split_whitespace();
        let said = match (words.next(), words.next()) {
            (Some("serves"), Some(version)) => version.parse().ok(),
            _ => None,
        };
        said.unwrap_or(self.version)
    }
}

/// The migrations of one part that a store has, oldest first; none when it was never migrated.
pub(crate) async fn applied(tx: &mut Tx, part: Part) -> Result<Vec<Applied>, DbError> {
    const SQLITE_TABLE: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1";
    const POSTGRES_TABLE: &str = "SELECT count(to_regclass($1))";
    const SHARED: &str = "SELECT version, description, checksum FROM _shared_migrations ORDER BY version";
    const OWN: &str = "SELECT version, description, checksum FROM _sqlx_migrations ORDER BY version";
    let table = match tx.engine() {
        Engine::Sqlite => SQLITE_TABLE,
        Engine::Postgres => POSTGRES_TABLE,
    };
    let tables: i64 = crate::on!(&mut *tx, c => sqlx::query(table).bind(part.table()).fetch_one(c).await?.try_get(0)?);
    if tables == 0 {
        return Ok(Vec::new());
    }
    let statement = match part {
        Part::Shared => SHARED,
        Part::Own => OWN,
    };
    crate::on!(tx, c => {
        let rows = sqlx::query(statement).fetch_all(c).await?;
        rows.iter().map(|row| Ok(Applied {
            version: row.try_get(0)?,
            description: row.try_get(1)?,
            checksum: row.try_get(2)?,
        })).collect()
    })
}

/// The newest version of a program's set; 0 when it is empty.
pub(crate) fn newest(known: &Migrator) -> i64 {
    let up = known.iter().filter(|migration| !migration.migration_type.is_down_migration());
    up.map(|migration| migration.version).max().unwrap_or(0)
}

/// Whether a program that knows these migrations, and migrates from `oldest` on, can run on what a store has.
pub(crate) fn judge(part: Part, known: &Migrator, oldest: i64, applied: &[Applied]) -> Result<(), DbError> {
    let newest_known = newest(known);
    for migration in known.iter() {
        let twin = applied.iter().find(|applied| applied.version == migration.version);
        if twin.is_some_and(|twin| twin.checksum != *migration.checksum) {
            return Err(DbError::ModifiedMigration { version: migration.version });
        }
    }
    match applied.last() {
        Some(last) if last.version > newest_known && last.serves() > newest_known => {
            Err(DbError::NewerDatabase { part, found: last.version, known: newest_known, serves: last.serves() })
        }
        Some(last) if last.version < oldest => Err(DbError::OlderDatabase { part, found: last.version, oldest }),
        found if found.map_or(0, |last| last.version) < newest_known => {
            Err(DbError::PendingMigrations { part, found: found.map(|last| last.version), known: newest_known })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_serves_whom_its_name_says() {
        let cases = [
            ("serves 5 display names", 5),
            ("serves 0005 display names", 5),
            ("serves", 7),
            ("serves nobody", 7),
            ("what serves 5", 7),
            ("drop names", 7),
            ("", 7),
        ];
        for (description, serves) in cases {
            let migration = Applied { version: 7, description: description.to_owned(), checksum: Vec::new() };
            assert_eq!(migration.serves(), serves, "{description:?}");
        }
    }
}
