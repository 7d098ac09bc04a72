//! Reads the mail that a program in development mode writes to `DATA_DIR/mail/*.eml`.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

/// How long mail may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The mail directory of one program.
#[derive(Debug)]
pub struct Mailbox {
    directory: PathBuf,
    /// The files of the messages that have been handed out.
    read: Mutex<HashSet<PathBuf>>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The one address in `To:`.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The body, decoded.
    pub text: String,
}

impl Mailbox {
    /// The mail below a data directory; nothing needs to be there yet.
    pub fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("mail"), read: Mutex::default() }
    }

    /// Every message to `address` so far, oldest first.
    pub fn to(&self, address: &str) -> Vec<Message> {
        self.files_to(address).into_iter().map(|(_, message)| message).collect()
    }

    fn files_to(&self, address: &str) -> Vec<(PathBuf, Message)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        // The name starts with the time.
        paths.sort();
        let messages = paths.into_iter().filter_map(|path| Some((parse(&fs::read_to_string(&path).ok()?), path)));
        messages.filter(|(message, _)| message.to == address).map(|(message, path)| (path, message)).collect()
    }

    /// The next message to `address` that no earlier call has handed out, waiting for it.
    ///
    /// # Panics
    /// After ten seconds without one, with a list of what has arrived instead.
    pub async fn next(&self, address: &str) -> Message {
        let start = Instant::now();
        loop {
            if let Some(message) = self.take(address) {
                return message;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "no new mail to {address} in {} within {PATIENCE:?}; there is: {:#?}",
                self.directory.display(),
                self.to(address)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The token of the next message's link; what comes in between without one is passed over (an invoice, say).
    pub async fn next_token(&self, address: &str) -> String {
        loop {
            let message = self.next(address).await;
            if message.text.contains("token=") {
                return message.token();
            }
        }
    }

    fn take(&self, address: &str) -> Option<Message> {
        let mut read = self.read.lock().expect("nobody panics while holding the files");
        let (path, message) = self.files_to(address).into_iter().find(|(path, _)| !read.contains(path))?;
        read.insert(path);
        Some(message)
    }
}

impl Message {
    /// The value of `token=…` in the link.
    ///
    /// # Panics
    /// When the text has no such link.
    pub fn token(&self) -> String {
        let (_, rest) = self.text.split_once("token=").unwrap_or_else(|| panic!("no token= in {self:#?}"));
        let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '%');
        rest.chars().take_while(is_part).collect()
    }
}

fn parse(text: &str) -> Message {
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
    let header = |name: &str| {
        let mut fields = unfolded.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let to = header("To");
    let to = to.split_once('<').map_or(to.as_str(), |(_, rest)| rest.trim_end_matches('>')).to_owned();
    let encoded = header("Content-Transfer-Encoding").eq_ignore_ascii_case("quoted-printable");
    let text = if encoded { quoted_printable(body) } else { body.to_owned() };
    Message { to, subject: header("Subject"), text }
}

/// RFC 2045's encoding of text; what is malformed stays as it is.
fn quoted_printable(body: &str) -> String {
    let joined = body.replace("=\n", "");
    let bytes = joined.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = joined.get(at + 1..at + 3).filter(|_| bytes[at] == b'=');
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_and_once_each() {
        let data = tempfile::tempdir().expect("a directory");
        let mailbox = Mailbox::new(data.path());
        assert!(mailbox.to("ana@example.com").is_empty(), "a directory that is not there holds no mail");
        fs::create_dir(data.path().join("mail")).expect("the mail directory");
        let write = |name: &str, to: &str, body: &str| {
            let text = format!("From: b@x.org\r\nTo: {to}\r\nSubject: A\r\n b\r\n\r\n{body}\r\n");
            fs::write(data.path().join("mail").join(name), text).expect("a message");
        };
        write("2-b.eml", "ana@example.com", "Open\r\nhttp://x.org/v?token=tw0-_x&a=b\r\n");
        write("1-a.eml", "Ana <ana@example.com>", "http://x.org/v?token=one");
        write("3-c.eml", "ben@example.com", "http://x.org/v?token=three");
        write("4-d.tmp", "ana@example.com", "half written");
        assert_eq!(mailbox.next_token("ana@example.com").await, "one");
        let second = mailbox.next("ana@example.com").await;
        assert_eq!((second.subject.as_str(), second.token().as_str()), ("A b", "tw0-_x"));
        assert!(mailbox.take("ana@example.com").is_none(), "the third message is Ben's");
        write("0-d.eml", "ana@example.com", "Your invoice");
        write("0-e.eml", "ana@example.com", "http://x.org/v?token=late");
        assert_eq!(mailbox.next_token("ana@example.com").await, "late", "wherever it stands, once");
    }

    #[test]
    fn quoted_printable_is_decoded() {
        let message = parse("To: a@x.org\nContent-Transfer-Encoding: quoted-printable\n\nZo=C3=AB: a=3D=\nb =zz");
        assert_eq!(message.text, "Zoë: a=b =zz");
    }
}
