//! Where mail goes: to an SMTP server, or into files.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bursar_id::MailId;
use bursar_jobs::Failure;
use bursar_time::Timestamp;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::letter::{Encoding, compose};
use crate::{Mail, MailError};

/// How long an SMTP server may take to answer one command.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where mail goes.
#[derive(Clone)]
pub enum Transport {
    /// Into `.eml` files in this directory.
    Directory(PathBuf),
    /// To an SMTP server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "Directory({})", path.display()),
            Self::Smtp(_) => f.write_str("Smtp"),
        }
    }
}

impl Transport {
    /// Files `mail/<time>-<id>.eml` below the data directory; the directory is made when the first mail is written.
    pub fn directory(data_dir: &Path) -> Self {
        Self::Directory(data_dir.join("mail"))
    }

    /// An SMTP server: `smtps://user:password@host:465`, `smtp://host:587?tls=required`, or without encryption
    /// `smtp://host:25`. Connects anew for each mail: there are few, and no connection goes stale.
    pub fn smtp(url: &str) -> Result<Self, MailError> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            // The cause may quote the address and with it the password.
            .map_err(|_| MailError::Smtp("expected smtp[s]://[user:password@]host[:port][?tls=required]".to_owned()))?;
        Ok(Self::Smtp(builder.timeout(Some(SMTP_TIMEOUT)).build()))
    }

    /// Hands one mail over. When this answers `Ok`, the mail is somebody else's to keep.
    pub(crate) async fn deliver(
        &self,
        id: MailId,
        queued_at: Timestamp,
        from: &Mailbox,
        mail: &Mail,
    ) -> Result<(), Failure> {
        let encoding = match self {
            Self::Directory(_) => Encoding::EightBit,
            Self::Smtp(_) => Encoding::SevenBit,
        };
        let message =
            compose(id, queued_at, from, mail, encoding).map_err(|error| Failure::Never(error.to_string()))?;
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                let name = file_name(id, queued_at);
                let text = message.formatted();
                tokio::task::spawn_blocking(move || write_file(&directory, &name, &text))
                    .await
                    .map_err(|error| Failure::Later(error.to_string()))?
                    .map_err(|error| Failure::Later(error.to_string()))
            }
            Self::Smtp(server) => match server.send(message).await {
                Ok(_) => Ok(()),
                Err(error) => Err(judge(&error)),
            },
        }
    }
}

/// A refusal of this very mail (550 no such mailbox, 554 rejected, …) is final. A refusal of ourselves (53x: wrong
/// password, encryption required) is for the operator to repair, and everything else passes.
fn judge(error: &lettre::transport::smtp::Error) -> Failure {
    // The server's reply may quote the recipient, so only its code is kept.
    let Some(code) = error.status() else {
        return Failure::Later(kind_of(error).to_owned());
    };
    let code = u16::from(code);
    let reason = format!("the server answered {code}");
    if (550..560).contains(&code) { Failure::Never(reason) } else { Failure::Later(reason) }
}

fn kind_of(error: &lettre::transport::smtp::Error) -> &'static str {
    if error.is_timeout() {
        "the server did not answer in time"
    } else if error.is_tls() {
        "the connection cannot be encrypted"
    } else if error.is_response() {
        "the server's answer was not understood"
    } else {
        "no connection to the server"
    }
}

/// `20261121T184150Z-eml_….eml`: sorts by time, and is the same each time this mail is tried.
fn file_name(id: MailId, queued_at: Timestamp) -> String {
    let time: String = queued_at.to_rfc3339().chars().filter(|c| *c != '-' && *c != ':').collect();
    format!("{time}-{id}.eml")
}

/// Writes a file that is either complete or absent, and on the disk when this returns.
fn write_file(directory: &Path, name: &str, text: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let unfinished = directory.join(format!(".{name}.tmp"));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, directory.join(name))?;
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_smtp_address_is_refused_without_repeating_it() {
        for url in ["", "http://host", "smtp://user:geheim@", "geheim"] {
            let error = Transport::smtp(url).expect_err(url);
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
        Transport::smtp("smtps://user:geheim@mail.example:465").expect("a good one");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "").expect("writes");
        write_file(&file, "x.eml", b"x").expect_err("a file is no directory");
        write_file(directory.path(), "x.eml", b"one").expect("writes");
        write_file(directory.path(), "x.eml", b"two").expect("writes again");
        assert_eq!(std::fs::read(directory.path().join("x.eml")).expect("reads"), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 2, "no leftovers");
    }
}
