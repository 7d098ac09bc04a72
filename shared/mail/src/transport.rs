//! Where mail goes: to an SMTP server, or into files.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bursar_id::MailId;
use bursar_jobs::Failure;
use bursar_time::Timestamp;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::Semaphore;

use crate::letter::{Encoding, compose};
use crate::{Mail, MailError};

/// How long an SMTP server may take to answer one command.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where mail goes.
#[derive(Clone)]
pub enum Transport {
    /// Into `.eml` files.
    Directory(Directory),
    /// To an SMTP server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

/// A directory of `.eml` files.
#[derive(Clone)]
pub struct Directory {
    path: PathBuf,
    /// One file is written at a time. The permit is held by the writing, not by who waits for it: a disk that hangs gets
    /// no second writer when the first one's job has run out of time.
    writing: Arc<Semaphore>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "Directory({})", directory.path.display()),
            Self::Smtp(_) => f.write_str("Smtp"),
        }
    }
}

impl Transport {
    /// Files `mail/<time>-<id>.eml` below the data directory; the directory is made when the first mail is written.
    pub fn directory(data_dir: &Path) -> Self {
        Self::Directory(Directory { path: data_dir.join("mail"), writing: Arc::new(Semaphore::new(1)) })
    }

    /// An SMTP server: `smtps://user:password@host:465`, `smtp://host:587?tls=required`, or without encryption
    /// `smtp://host:25`. Connects anew for each mail: there are few at once, and no connection goes stale.
    pub fn smtp(url: &str) -> Result<Self, MailError> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            // The cause may quote the address and with it the password.
            .map_err(|_| MailError::Smtp("expected smtp[s]://[user:password@]host[:port][?tls=required]".to_owned()))?;
        Ok(Self::Smtp(builder.timeout(Some(SMTP_TIMEOUT)).build()))
    }

    /// Whether nothing is sent to the server at this URL unless the connection is encrypted. With `tls=opportunistic` whoever
    /// is on the way decides that it is not, so that is a no; and so is whatever is written in a way that is not looked
    /// through here.
    pub fn demands_encryption(url: &str) -> bool {
        let Some((scheme, rest)) = url.trim().split_once("://") else { return false };
        if scheme.eq_ignore_ascii_case("smtps") {
            return true;
        }
        let address = rest.split('#').next().unwrap_or_default();
        let Some((_, query)) = address.split_once('?') else { return false };
        // Of several the first one counts; with an escape or a tab in it, another one might be the first.
        let first = query.split('&').find(|pair| pair.split('=').next() == Some("tls"));
        scheme.eq_ignore_ascii_case("smtp") && !query.contains(['%', '\t', '\n', '\r']) && first == Some("tls=required")
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
                let name = file_name(id, queued_at);
                directory.write(name, message.formatted()).await
            }
            Self::Smtp(server) => match server.send(message).await {
                Ok(_) => Ok(()),
                Err(error) => Err(judge(&error)),
            },
        }
    }
}

impl Directory {
    async fn write(&self, name: String, text: Vec<u8>) -> Result<(), Failure> {
        let later = |error: &dyn fmt::Display| Failure::Later(error.to_string());
        let writing = Arc::clone(&self.writing).acquire_owned().await.map_err(|error| later(&error))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            write_file(&path, &name, &text)
        });
        written.await.map_err(|error| later(&error))?.map_err(|error| later(&error))
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

/// `20261121T184150.000000Z-eml_….eml`: sorts by time, and is the same each time this mail is tried. Therefore all fractions have
/// as many digits: `Z` is behind them, and `50Z` would be behind `50.1Z`.
fn file_name(id: MailId, queued_at: Timestamp) -> String {
    let time: String = queued_at.to_rfc3339().chars().filter(|c| !matches!(c, '-' | ':' | 'Z')).collect();
    let (seconds, fraction) = time.split_once('.').unwrap_or((&time, ""));
    format!("{seconds}.{fraction:0<6}Z-{id}.eml")
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
    use bursar_time::Span;

    use super::*;

    #[test]
    fn names_of_mails_are_in_the_order_of_their_times() {
        let begin: Timestamp = "2026-11-27T06:47:04.999998Z".parse().expect("a time");
        let times = [0, 1, 2, 3, 10, 99, 100, 2_000, 100_002, 1_000_002, 61_000_002];
        let at = |micros: i64| begin.saturating_add(Span::from_micros(micros).expect("a span"));
        let names: Vec<_> = times.map(|micros| file_name(MailId::from_parts(0, [255; 10]), at(micros))).to_vec();
        assert!(names.is_sorted(), "{names:#?}");
        assert!(names[2].starts_with("20261127T064705.000000Z-eml_"), "{}", names[2]);
    }

    #[test]
    fn a_bad_smtp_address_is_refused_without_repeating_it() {
        for url in ["", "http://host", "smtp://user:geheim@", "geheim"] {
            let error = Transport::smtp(url).expect_err(url);
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
        Transport::smtp("smtps://user:geheim@mail.example:465").expect("a good one");
    }

    #[test]
    fn only_a_url_that_leaves_no_choice_demands_encryption() {
        let demanding = [
            "smtps://mail.example",
            "SMTPS://user:geheim@mail.example:465",
            "smtp://mail.example:587?tls=required",
            "smtp://user:geheim@mail.example/name?x=y&tls=required",
        ];
        let others = [
            "",
            "smtp://mail.example:25",
            "smtp://mail.example:587?tls=opportunistic",
            "smtp://mail.example?tls=opportunistic&tls=required",
            "smtp://mail.example?t%6cs=opportunistic&tls=required",
            "smtp://mail.example#?tls=required",
            "smtp://mail.example/tls=required",
            "smtp:mail.example?tls=required",
            "http://mail.example?tls=required",
        ];
        assert!(demanding.iter().all(|url| Transport::demands_encryption(url) && Transport::smtp(url).is_ok()));
        for url in others {
            assert!(!Transport::demands_encryption(url), "{url}");
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_has_one_writer_however_often_it_is_tried() {
        let directory = tempfile::tempdir().expect("a directory");
        let Transport::Directory(mails) = Transport::directory(directory.path()) else { panic!("a directory") };
        let path = directory.path().join("mail");
        std::fs::create_dir(&path).expect("made");
        // A pipe that nobody reads: opening it for writing hangs.
        let pipe = path.join(".x.eml.tmp");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let given_up = mails.write("x.eml".to_owned(), b"x".to_vec());
        assert!(tokio::time::timeout(Duration::from_millis(50), given_up).await.is_err());
        assert_eq!(mails.writing.available_permits(), 0, "the writing goes on and holds its permit");
        let again = mails.write("y.eml".to_owned(), b"y".to_vec());
        assert!(tokio::time::timeout(Duration::from_millis(50), again).await.is_err());
        assert!(!path.join("y.eml").exists(), "no second writer");
        // The disk comes back, and so does everything else.
        let reading = tokio::task::spawn_blocking(move || std::fs::read(pipe).expect("read"));
        let _all = mails.writing.acquire().await.expect("given back");
        assert_eq!(reading.await.expect("read"), b"x");
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
