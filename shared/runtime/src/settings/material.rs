//! Keys and secrets that the settings only point to: reading them, and making those that a fresh data
//! directory does not have yet.
//!
//! A file at its default place, inside the data directory, is made at first start. A file that somebody
//! configured must exist: making it would hide a missing mount, and every replica needs the same one. Production
//! mode never makes a master key.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use bursar_db::{Engine, PoolOptions};
use bursar_secret::{Entropy, Sealer, Secret, Token};

use super::{Mode, Program, Settings};
use crate::Service;

impl Settings {
    /// What seals data at rest, with the key in `master_key_file`.
    pub fn sealer(&self, entropy: &Entropy) -> anyhow::Result<Sealer> {
        let path = &self.master_key_file;
        if self.mode == Mode::Development && *path == self.data_dir.join(super::sections::MASTER_KEY) {
            make_folder(parent(path))?;
            return Sealer::load_or_create(path, entropy).context("master_key_file");
        }
        Sealer::load(path).context("master_key_file")
    }

    /// The secret by which `service` proves itself to identity: a token's text.
    pub fn service_secret(&self, service: Service, entropy: &Entropy) -> anyhow::Result<Secret> {
        let path = &self.service_secrets[service];
        if *path == self.data_dir.join(super::sections::SECRETS).join(service.name()) {
            make_folder(parent(path))?;
            create_once(path, &Token::generate(entropy).to_text(), entropy)
                .with_context(|| self.secret_place(service))?;
        }
        self.existing_secret(service)
    }

    /// The same, of a file that must exist.
    pub(super) fn existing_secret(&self, service: Service) -> anyhow::Result<Secret> {
        let place = || self.secret_place(service);
        let text = Secret::new(fs::read_to_string(&self.service_secrets[service]).with_context(place)?);
        let token = Token::parse(text.expose().trim_end()).with_context(place)?;
        Ok(token.to_text())
    }

    /// The setting and the file of a service's secret, for refusals.
    fn secret_place(&self, service: Service) -> String {
        format!("service_secrets.{}: {}", service.secret_key(), self.service_secrets[service].display())
    }

    /// How mail leaves: through the configured server, or into `DATA_DIR/mail`.
    pub fn mail_transport(&self) -> anyhow::Result<bursar_mail::Transport> {
        match &self.mail.smtp_url {
            Some(url) => bursar_mail::Transport::smtp(url.expose()).context("mail.smtp_url"),
            None => Ok(bursar_mail::Transport::directory(&self.data_dir)),
        }
    }

    /// How `service` opens its store.
    pub fn pool_options(&self, service: Service) -> PoolOptions {
        PoolOptions {
            max_connections: self.postgres.connections,
            read_connections: self.sqlite.readers,
            acquire_timeout: self.postgres.acquire_timeout,
            statement_timeout: self.limits.deadline,
            application_name: service.program().to_owned(),
            ..PoolOptions::default()
        }
    }

    /// Makes the data directory and proves that it can be written, if this program writes there.
    pub fn prepare_data_dir(&self, program: Program, entropy: &Entropy) -> anyhow::Result<()> {
        let embedded = program.services().iter().any(|service| self.store(*service).engine() == Engine::Sqlite);
        if !embedded && self.mode == Mode::Production {
            return Ok(());
        }
        make_folder(&self.data_dir)?;
        let probe = self.data_dir.join(format!(".writable-{}", entropy.u64_below(u64::MAX)));
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).with_context(|| {
            format!(
                "the data directory {} cannot be written: give this user the right to, or choose another \
                 with --data-dir DIR",
                self.data_dir.display()
            )
        })
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("."))
}

/// Makes a folder that only this user can look into, unless it exists.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {} (--data-dir DIR chooses another)", path.display()))
}

/// Writes a file that only this user can read, unless it exists. Of several processes that try at once,
/// one wins, and none ever sees half a file.
fn create_once(path: &Path, text: &Secret, entropy: &Entropy) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension(format!("{:x}.tmp", entropy.u64_below(u64::MAX)));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = writeln!(file, "{}", text.expose())
        .and_then(|()| file.sync_all())
        // A hard link refuses to replace an existing file, where a rename would not: the first wins.
        .and_then(|()| fs::hard_link(&draft, path))
        .or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        });
    fs::remove_file(&draft)?;
    written
}
