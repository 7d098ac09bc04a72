//! What can go wrong with a store, by what a caller can do about it.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

use crate::Part;

/// Why a statement, a transaction or an opening failed. For logs and decisions; never shown to callers of an RPC.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The store cannot be reached or is overloaded. The same call may succeed later.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// A constraint refused what was written. See [`DbError::is_conflict_on`].
    #[error("constraint {constraint} refused a write ({kind:?})")]
    Conflict {
        /// What sort of constraint.
        kind: ConflictKind,
        /// PostgreSQL: the constraint's or index's name. SQLite: `table.column[,column]` for unique and not-null
        /// constraints, the name of a named CHECK or expression index, `FOREIGN KEY` for any foreign key.
        constraint: String,
        /// `table.column[,column]` of a unique violation on either engine, where the engine tells.
        key: Option<String>,
    },
    /// A deadlock or a serialization failure: nothing was written, and the whole transaction may be run again.
    #[error("the transaction met another one and was undone; it may be run again")]
    Serialization,
    /// A row is locked by somebody else, who did not let go of it in the time that one waits for it: nothing was written.
    #[error("a row stayed locked by somebody else")]
    Locked,
    /// A statement took longer than it may: nothing was written. That is the statement's own fault, not the store's.
    #[error("a statement took too long and was ended")]
    TimedOut,
    /// The clock is not to be decided by: nothing was written.
    #[error("nothing is decided: {0}")]
    Clock(#[from] bursar_time::Doubt),
    /// A row was written by a newer program, in a form that this one cannot read. That is no damage.
    #[error("a newer program wrote this: {what}")]
    NewerFormat {
        /// What it is, for the log.
        what: String,
    },
    /// A newer program has migrated this store, and its newest migration does not serve this program any more.
    #[error(
        "{part} were migrated to version {found} by a newer program and serve programs from version {serves} on; \
         this one knows up to {known}"
    )]
    NewerDatabase {
        /// Which of the store's two sets.
        part: Part,
        /// The newest version applied.
        found: i64,
        /// The newest version this program has.
        known: i64,
        /// The oldest version of a program that the store serves.
        serves: i64,
    },
    /// The store is so old that this program cannot migrate it.
    #[error(
        "{part} are at version {found}, too old for this program, which migrates from version {oldest} on: run a release in between first"
    )]
    OlderDatabase {
        /// Which of the store's two sets.
        part: Part,
        /// The newest version applied.
        found: i64,
        /// The oldest version that this program migrates from.
        oldest: i64,
    },
    /// The store has not been migrated to what this program needs.
    #[error("{part} are at version {}, this program needs {known}: run its `migrate` command", found.unwrap_or(0))]
    PendingMigrations {
        /// Which of the store's two sets.
        part: Part,
        /// The newest version applied, if any.
        found: Option<i64>,
        /// The version this program needs.
        known: i64,
    },
    /// A migration was applied with another text: the store belongs to another program, or the file was edited.
    #[error("migration {version} was applied with another text: is this another service's database?")]
    ModifiedMigration {
        /// Which one.
        version: i64,
    },
    /// A migration failed half-way on an earlier run.
    #[error("migration {version} was applied only in part and needs repair by hand")]
    DirtyMigration {
        /// Which one.
        version: i64,
    },
    /// A statement that must touch one row touched another number of rows.
    #[error("a statement that must touch exactly one row touched {rows}")]
    NotExactlyOne {
        /// How many it touched.
        rows: u64,
    },
    /// The store holds something it must never hold.
    #[error("the store is corrupt: {what}")]
    Corrupt {
        /// What was found, without secrets.
        what: String,
    },
    /// The store cannot be opened as configured; says what to change.
    #[error("cannot open the store {store}: {problem}")]
    Open {
        /// The store's address, without password.
        store: String,
        /// What is wrong.
        problem: String,
    },
    /// Anything else: a defect of the program or of the set-up.
    #[error("the store failed: {0}")]
    Other(#[source] sqlx::Error),
}

/// The sort of constraint that refused a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConflictKind {
    /// UNIQUE or PRIMARY KEY.
    Unique,
    /// A foreign key.
    ForeignKey,
    /// A CHECK.
    Check,
    /// NOT NULL.
    NotNull,
    /// A trigger's `RAISE`; the constraint is its message.
    Trigger,
}

impl DbError {
    /// A store that holds what it must never hold.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// Whether the constraint called `name` refused the write. Unique constraints go by `table.column[,column]`
    /// on both engines, or by PostgreSQL's name; a named CHECK and an index over an expression by its name.
    pub fn is_conflict_on(&self, name: &str) -> bool {
        match self {
            Self::Conflict { constraint, key, .. } => constraint == name || key.as_deref() == Some(name),
            _ => false,
        }
    }

    /// Whether a unique or primary key refused the write, whichever it was.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Conflict { kind: ConflictKind::Unique, .. })
    }

    /// Whether it is what was to be written, or what it met in the store, that failed: it alone will fail, and again. Of
    /// anything else that goes wrong nobody can tell (a missing table, a right that was taken away: whatever is written fails).
    pub fn is_about_the_data(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Corrupt { .. } | Self::NotExactlyOne { .. } | Self::NewerFormat { .. } => {
                true
            }
            // data_exception, as a NUL in a text, and program_limit_exceeded, as what is too long for an index; TOOBIG and
            // MISMATCH
            Self::Other(sqlx::Error::Database(cause)) => {
                let code = cause.code().unwrap_or_default();
                (code.len() == 5 && (code.starts_with("22") || code.starts_with("54")))
                    || ["18", "20"].contains(&&*code)
            }
            _ => false,
        }
    }

    /// Whether running the whole transaction again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Serialization | Self::Locked | Self::TimedOut | Self::Unavailable(_))
    }
}

/// Demands that a statement touched exactly one row.
pub fn exactly_one(rows: u64) -> Result<(), DbError> {
    if rows == 1 { Ok(()) } else { Err(DbError::NotExactlyOne { rows }) }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error),
            sqlx::Error::RowNotFound => Self::NotExactlyOne { rows: 0 },
            sqlx::Error::ColumnDecode { index, source } => Self::corrupt(format!("column {index}: {source}")),
            sqlx::Error::Decode(cause) => Self::corrupt(cause.to_string()),
            sqlx::Error::Migrate(cause) => (*cause).into(),
            sqlx::Error::Database(cause) => {
                let class = classify(cause.as_ref());
                match class {
                    Class::Unavailable => Self::Unavailable(sqlx::Error::Database(cause)),
                    Class::Serialization => Self::Serialization,
                    Class::Locked => Self::Locked,
                    Class::TimedOut => Self::TimedOut,
                    Class::Corrupt => Self::corrupt(cause.message()),
                    Class::Conflict(kind) => conflict(kind, cause.as_ref()),
                    Class::Other => Self::Other(sqlx::Error::Database(cause)),
                }
            }
            other => Self::Other(other),
        }
    }
}

impl From<MigrateError> for DbError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause.into(),
            MigrateError::VersionMismatch(version) | MigrateError::VersionMissing(version) => {
                Self::ModifiedMigration { version }
            }
            MigrateError::Dirty(version) => Self::DirtyMigration { version },
            other => Self::Other(sqlx::Error::Migrate(Box::new(other))),
        }
    }
}

/// What a database's own error means here.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    Unavailable,
    Serialization,
    Locked,
    TimedOut,
    Corrupt,
    Conflict(ConflictKind),
    Other,
}

fn classify(error: &dyn DatabaseError) -> Class {
    match error.kind() {
        ErrorKind::UniqueViolation | ErrorKind::ExclusionViolation => {
            return Class::Conflict(ConflictKind::Unique);
        }
        ErrorKind::ForeignKeyViolation => return Class::Conflict(ConflictKind::ForeignKey),
        ErrorKind::NotNullViolation => return Class::Conflict(ConflictKind::NotNull),
        ErrorKind::CheckViolation => return Class::Conflict(ConflictKind::Check),
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        classify_postgres(&code)
    } else {
        classify_sqlite(code.parse().unwrap_or_default())
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn classify_postgres(state: &str) -> Class {
    match state {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Class::Serialization,
        // lock_not_available
        "55P03" => Class::Locked,
        // query_canceled: by statement_timeout, since nobody here cancels one
        "57014" => Class::TimedOut,
        // read_only_sql_transaction (a standby after a failover), idle_in_transaction_session_timeout (this program was
        // held up, and its locks were taken back)
        "25006" | "25P03" => Class::Unavailable,
        // raise_exception
        "P0001" => Class::Conflict(ConflictKind::Trigger),
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => Class::Corrupt,
        // Connection exception, insufficient resources, operator intervention (shutdown, starting up),
        // system error (a disk that fails)
        _ if ["08", "53", "57", "58"].iter().any(|class| state.starts_with(class)) => Class::Unavailable,
        _ => Class::Other,
    }
}

/// By extended result code: <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
fn classify_sqlite(code: u32) -> Class {
    const BUSY_SNAPSHOT: u32 = 517;
    const CONSTRAINT_TRIGGER: u32 = 1811;
    match (code, code & 0xff) {
        (CONSTRAINT_TRIGGER, _) => Class::Conflict(ConflictKind::Trigger),
        // LOCKED
        (BUSY_SNAPSHOT, _) | (_, 6) => Class::Serialization,
        // BUSY, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL: another process, memory, the disk or its rights
        (_, 5 | 7 | 8 | 10 | 13 | 14 | 15) => Class::Unavailable,
        // CORRUPT, NOTADB
        (_, 11 | 26) => Class::Corrupt,
        _ => Class::Other,
    }
}

fn conflict(kind: ConflictKind, error: &dyn DatabaseError) -> DbError {
    if kind == ConflictKind::Trigger {
        return DbError::Conflict { kind, constraint: error.message().to_owned(), key: None };
    }
    if let Some(postgres) = error.try_downcast_ref::<PgDatabaseError>() {
        let table = postgres.table().unwrap_or_default();
        let constraint = match (postgres.constraint(), postgres.column()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(column)) => format!("{table}.{column}"),
            (None, None) => table.to_owned(),
        };
        let key = postgres.detail().and_then(columns_of_detail).map(|columns| format!("{table}.{columns}"));
        return DbError::Conflict { kind, constraint, key: key.filter(|_| kind == ConflictKind::Unique) };
    }
    let constraint = name_in_sqlite_message(error.message());
    let key = (kind == ConflictKind::Unique && constraint.contains('.')).then(|| constraint.clone());
    DbError::Conflict { kind, constraint, key }
}

/// `Key (scope, request_id)=(a, b) already exists.` → `scope,request_id`. The word before may be translated.
fn columns_of_detail(detail: &str) -> Option<String> {
    let (head, _) = detail.split_once(")=(")?;
    let (_, columns) = head.split_once('(')?;
    Some(columns.split(", ").collect::<Vec<_>>().join(","))
}

/// `UNIQUE constraint failed: requests.scope, requests.request_id` → `requests.scope,request_id`;
/// `… failed: index 'slugs'` → `slugs`; `CHECK constraint failed: positive` → `positive`.
fn name_in_sqlite_message(message: &str) -> String {
    let Some((sort, what)) = message.split_once(" constraint failed") else {
        return message.to_owned();
    };
    let Some(what) = what.strip_prefix(": ") else {
        return sort.to_owned();
    };
    if let Some(index) = what.strip_prefix("index '") {
        return index.trim_end_matches('\'').to_owned();
    }
    let mut columns = what.split(", ");
    let mut name = columns.next().unwrap_or_default().to_owned();
    for column in columns {
        name.push(',');
        name.push_str(column.rsplit('.').next().unwrap_or(column));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_messages_become_names() {
        let cases = [
            ("UNIQUE constraint failed: slugs.slug", "slugs.slug"),
            ("UNIQUE constraint failed: requests.scope, requests.request_id", "requests.scope,request_id"),
            ("UNIQUE constraint failed: index 'one_pending'", "one_pending"),
            ("CHECK constraint failed: balance_not_negative", "balance_not_negative"),
            ("NOT NULL constraint failed: lots.owner_id", "lots.owner_id"),
            ("FOREIGN KEY constraint failed", "FOREIGN KEY"),
        ];
        for (message, name) in cases {
            assert_eq!(name_in_sqlite_message(message), name);
        }
    }

    #[test]
    fn postgres_details_become_columns() {
        let cases = [
            ("Key (slug)=(acme) already exists.", Some("slug")),
            ("Key (scope, request_id)=(a, b) already exists.", Some("scope,request_id")),
            ("Schlüssel »(lower(email))=(a@b)« existiert bereits.", Some("lower(email)")),
            ("Failing row contains (1, 2).", None),
        ];
        for (detail, columns) in cases {
            assert_eq!(columns_of_detail(detail).as_deref(), columns, "{detail}");
        }
    }

    #[test]
    fn codes_are_sorted_by_what_a_caller_can_do() {
        assert_eq!((classify_postgres("55P03"), classify_postgres("57014")), (Class::Locked, Class::TimedOut));
        for state in ["40001", "40P01"] {
            assert_eq!(classify_postgres(state), Class::Serialization, "{state}");
        }
        for state in ["08006", "53300", "57P01", "57P03", "58030", "25006", "25P03"] {
            assert_eq!(classify_postgres(state), Class::Unavailable, "{state}");
        }
        for state in ["42601", "42P01", "25P02", "22003"] {
            assert_eq!(classify_postgres(state), Class::Other, "{state}");
        }
        for code in [5, 7, 10, 13, 14, 15, 8, 1032] {
            assert_eq!(classify_sqlite(code), Class::Unavailable, "{code}");
        }
        for code in [6, 262, 517] {
            assert_eq!(classify_sqlite(code), Class::Serialization, "{code}");
        }
        assert_eq!(classify_sqlite(11), Class::Corrupt);
        assert_eq!(classify_sqlite(1), Class::Other);
        assert_eq!(classify_sqlite(1811), Class::Conflict(ConflictKind::Trigger));
    }

    #[test]
    fn exactly_one_means_one() {
        assert!(exactly_one(1).is_ok());
        for rows in [0, 2] {
            assert!(matches!(exactly_one(rows), Err(DbError::NotExactlyOne { rows: found }) if found == rows));
        }
    }
}
