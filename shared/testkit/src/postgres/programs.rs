//! Where PostgreSQL's programs are, and who may run them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A directory with `initdb` and `postgres`, and the account to run them as.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    bin: PathBuf,
    version: String,
    account: Option<Account>,
}

/// A user of this machine, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Looks in `PATH`, then under `/usr/lib/postgresql`, newest version first.
pub(super) fn find() -> Option<Programs> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let bin = std::env::split_paths(&path).chain(debian()).find_map(|directory| {
        let initdb = fs::canonicalize(directory.join("initdb")).ok()?;
        let bin = initdb.parent()?.to_owned();
        bin.join("postgres").is_file().then_some(bin)
    })?;
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some(Programs { bin, version, account: unprivileged() })
}

/// Debian keeps each major version's programs out of `PATH`.
fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, bin)| bin).collect()
}

/// PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`.
fn unprivileged() -> Option<Account> {
    if user_id() != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| {
        let mut fields = accounts
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

/// The user this process runs as, asked of a file it has just made: there is no safe call for it in std.
fn user_id() -> u32 {
    use std::os::unix::fs::MetadataExt;
    tempfile::tempfile().and_then(|file| file.metadata()).map_or(0, |metadata| metadata.uid())
}

impl Programs {
    /// The full path of one program.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }

    /// The user that owns the server's files: another one than ours when we are root.
    pub(super) fn owner(&self) -> u32 {
        self.account.map_or_else(user_id, |account| account.uid)
    }

    /// A key for what `initdb` makes: version and user.
    pub(super) fn key(&self) -> String {
        let version: String = self.version.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        format!("{version}-{}", self.owner())
    }

    /// The major version, 0 when it cannot be told.
    pub(super) fn major(&self) -> u32 {
        let digits = |word: &str| word.split('.').next().and_then(|major| major.parse().ok());
        self.version.split(' ').find_map(digits).unwrap_or(0)
    }

    /// A command that runs as the server's user in `directory`, with an environment of its own: `PGDATA`, locales and
    /// service files of the person who runs the tests must not matter.
    pub(super) fn command(&self, program: impl AsRef<Path>, directory: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(directory);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Gives a directory to the server's user.
    pub(super) fn give(&self, directory: &Path) -> std::io::Result<()> {
        match self.account {
            Some(account) => std::os::unix::fs::chown(directory, Some(account.uid), Some(account.gid)),
            None => Ok(()),
        }
    }
}
