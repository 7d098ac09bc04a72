//! Where a store is: `sqlite://PATH` or `postgres://…`.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::Engine;

/// Connection parameters a PostgreSQL address may carry. sqlx ignores others with a log line, so that a mistyped
/// `sslmode` would silently give up encryption; they are refused here instead.
const POSTGRES_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The address of a store. Its `Debug` and `Display` never show the password.
///
/// - `sqlite://data/billing.db` (relative to the working directory), `sqlite:///var/lib/bursar/billing.db`
/// - `postgres://user:password@host:5432/billing?sslmode=verify-full`
/// - `postgres:///billing?host=/run/postgresql` (Unix socket)
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct StoreUrl {
    redacted: String,
    pub(crate) place: Place,
}

/// What [`StoreUrl`] was parsed into.
#[derive(Clone)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// Why a text is no [`StoreUrl`]. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// The scheme is neither of the two.
    #[error("a store address starts with sqlite:// or postgres://")]
    Scheme,
    /// `sqlite://` without a file, or in memory.
    #[error("a SQLite address names a file: sqlite://PATH (in-memory databases are not supported)")]
    NoFile,
    /// SQLite addresses take no parameters: how the file is opened is not a choice.
    #[error("a SQLite address takes no ?parameters")]
    SqliteParameters,
    /// A parameter the PostgreSQL client does not know.
    #[error("unknown parameter `{0}` in the PostgreSQL address")]
    UnknownParameter(String),
    /// Anything else that is wrong with a PostgreSQL address.
    #[error("the PostgreSQL address is malformed: {0}")]
    Postgres(String),
}

impl StoreUrl {
    /// The address of a SQLite file.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        Self { redacted: format!("sqlite://{}", path.display()), place: Place::Sqlite(path) }
    }

    /// The file of a SQLite store.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }

    /// Whether what goes to the store could be read on its way to another machine: a PostgreSQL server elsewhere for which
    /// `sslmode` does not demand encryption. (`allow` and `prefer`, which is the default, do without where the server, or
    /// whoever stands between, says that it has none.)
    pub fn is_exposed(&self) -> bool {
        let Place::Postgres(options) = &self.place else { return false };
        let is_encrypted =
            matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull);
        let host = options.get_host();
        let is_socket = options.get_socket().is_some() || host.starts_with('/');
        !(is_encrypted || is_socket || is_this_machine(host))
    }

    /// Which engine the address is for.
    pub fn engine(&self) -> Engine {
        match self.place {
            Place::Sqlite(_) => Engine::Sqlite,
            Place::Postgres(_) => Engine::Postgres,
        }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            if path.contains('?') {
                return Err(StoreUrlError::SqliteParameters);
            }
            if path.is_empty() || path == ":memory:" {
                return Err(StoreUrlError::NoFile);
            }
            return Ok(Self::sqlite(path));
        }
        if text.starts_with("sqlite:") {
            return Err(StoreUrlError::NoFile);
        }
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return Err(StoreUrlError::Scheme);
        }
        if let Some((_, query)) = text.split_once('?') {
            for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
                let name = parameter.split('=').next().unwrap_or_default();
                if !POSTGRES_PARAMETERS.contains(&name) && !name.starts_with("options[") {
                    return Err(StoreUrlError::UnknownParameter(name.to_owned()));
                }
            }
        }
        let options = PgConnectOptions::from_str(text).map_err(|error| {
            // `Configuration` wraps the parser's own message, which never quotes the address.
            StoreUrlError::Postgres(match error {
                sqlx::Error::Configuration(cause) => cause.to_string(),
                other => other.to_string(),
            })
        })?;
        Ok(Self { redacted: redact(text), place: Place::Postgres(Box::new(options)) })
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = StoreUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({})", self.redacted)
    }
}

/// Whether a host is this machine itself.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The address without the password of its user part and of a `password=` parameter.
fn redact(text: &str) -> String {
    let (address, query) = text.split_once('?').map_or((text, None), |(a, q)| (a, Some(q)));
    let mut out = match address.split_once("://") {
        Some((scheme, rest)) => {
            // The last `@` of the authority ends the user part: a sloppy password may contain one itself.
            let authority = rest.split('/').next().unwrap_or_default();
            match authority.rfind('@').map(|at| (&authority[..at], &rest[at..])) {
                Some((user, tail)) => match user.split_once(':') {
                    Some((name, _)) => format!("{scheme}://{name}:***{tail}"),
                    None => format!("{scheme}://{user}{tail}"),
                },
                None => address.to_owned(),
            }
        }
        None => address.to_owned(),
    };
    if let Some(query) = query {
        let shown: Vec<&str> = query
            .split('&')
            .map(|parameter| if parameter.starts_with("password=") { "password=***" } else { parameter })
            .collect();
        out.push('?');
        out.push_str(&shown.join("&"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_without_saying_the_password() {
        let cases = [
            ("sqlite://data/x.db", "sqlite://data/x.db"),
            ("sqlite:///var/x.db", "sqlite:///var/x.db"),
            ("postgres://bob@db/x", "postgres://bob@db/x"),
            ("postgres://bob:geheim@db:5432/x", "postgres://bob:***@db:5432/x"),
            ("postgresql://bob:ge%40heim@db/x?sslmode=require", "postgresql://bob:***@db/x?sslmode=require"),
            (
                "postgres:///x?host=/tmp/socket&user=bob&password=geheim",
                "postgres:///x?host=/tmp/socket&user=bob&password=***",
            ),
        ];
        for (text, shown) in cases {
            let url: StoreUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("geheim"), "{url:?}");
        }
    }

    /// Kind A: what is allowed to do without encryption does without it where somebody wants it to.
    #[test]
    fn an_address_elsewhere_is_exposed_unless_encryption_is_demanded() {
        let elsewhere = ["db.test", "10.0.0.7", "[fd00::1]", "localhost.test"];
        let here = ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"];
        for mode in ["sslmode=disable", "sslmode=allow", "sslmode=prefer", "ssl-mode=prefer"] {
            for (host, exposed) in elsewhere.map(|it| (it, true)).into_iter().chain(here.map(|it| (it, false))) {
                let url: StoreUrl = format!("postgres://bob@{host}/x?{mode}").parse().expect("parses");
                assert_eq!(url.is_exposed(), exposed, "{url}");
            }
        }
        for (text, exposed) in [
            ("postgres://bob@db.test/x", true),
            ("postgres://bob@db.test/x?sslmode=require", false),
            ("postgres://bob@db.test/x?sslmode=verify-ca", false),
            ("postgres://bob@db.test/x?sslmode=verify-full", false),
            ("postgres://bob@db.test/x?ssl-mode=verify-full", false),
            ("postgres://bob@db.test/x?sslmode=verify-full&sslmode=prefer", true),
            ("postgres://bob@localhost/x?host=db.test&sslmode=prefer", true),
            ("postgres://bob@localhost/x?hostaddr=10.0.0.7&sslmode=prefer", true),
            ("postgres://bob@db.test/x?host=/run/postgresql&sslmode=prefer", false),
            ("postgres:///x?host=/run/postgresql&user=bob&sslmode=prefer", false),
            ("postgres://bob@%2Frun%2Fpostgresql/x?sslmode=prefer", false),
            ("sqlite://data/x.db", false),
        ] {
            let url: StoreUrl = text.parse().expect("parses");
            assert_eq!(url.is_exposed(), exposed, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        let cases = [
            ("", StoreUrlError::Scheme),
            ("mysql://x", StoreUrlError::Scheme),
            ("data/x.db", StoreUrlError::Scheme),
            ("sqlite://", StoreUrlError::NoFile),
            ("sqlite::memory:", StoreUrlError::NoFile),
            ("sqlite://:memory:", StoreUrlError::NoFile),
            ("sqlite://x.db?mode=ro", StoreUrlError::SqliteParameters),
            ("postgres://h/x?sslmod=require", StoreUrlError::UnknownParameter("sslmod".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<StoreUrl>().err(), Some(expected), "{text}");
        }
        assert!(matches!("postgres://h:port/x".parse::<StoreUrl>(), Err(StoreUrlError::Postgres(_))));
    }

    #[test]
    fn a_socket_is_a_place() {
        let url: StoreUrl = "postgres:///bursar?host=/run/postgresql&user=bob".parse().expect("parses");
        let Place::Postgres(options) = &url.place else { panic!("not PostgreSQL: {url}") };
        assert_eq!(options.get_socket().map(PathBuf::as_path), Some(Path::new("/run/postgresql")));
        assert_eq!(options.get_database(), Some("bursar"));
        assert_eq!(url.engine(), Engine::Postgres);
    }
}
