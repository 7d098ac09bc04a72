//! Reads the mail that a suite in development mode writes to its data directory.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::waiting::{PATIENCE, eventually};

/// The mail directory, and what was read in it.
pub(crate) struct Mailbox {
    directory: PathBuf,
    read: HashSet<PathBuf>,
}

impl Mailbox {
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("mail"), read: HashSet::new() }
    }

    /// The token in the link of the next mail to `address`, waiting for it.
    pub(crate) async fn token(&mut self, address: &str) -> anyhow::Result<String> {
        let what = format!("a mail to {address} in {}", self.directory.display());
        eventually(&what, PATIENCE, async || Ok(self.look(address))).await
    }

    fn look(&mut self, address: &str) -> Option<String> {
        let entries = std::fs::read_dir(&self.directory).ok()?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|it| it == "eml") && !self.read.contains(path));
        paths.sort();
        paths.into_iter().find_map(|path| {
            let token = token_in(&std::fs::read_to_string(&path).ok()?, address)?;
            self.read.insert(path);
            Some(token)
        })
    }
}

/// The token of a mail if it is to `address`.
fn token_in(mail: &str, address: &str) -> Option<String> {
    let mut fields = mail.lines().take_while(|line| !line.trim_end().is_empty());
    let to = fields.find_map(|line| line.strip_prefix("To:"))?.trim();
    let to = to.rsplit_once('<').map_or(to, |(_, rest)| rest.trim_end_matches('>'));
    let (_, link) = mail.split_once("token=").filter(|_| to == address)?;
    let is_token = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    Some(link.chars().take_while(is_token).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_the_mail_of_its_address_only() {
        let mail = "From: b@x.org\r\nTo: Ada <ada@x.org>\r\n\r\nOpen\r\nhttp://x/verify?token=aB-_9\r\nonce.\r\n";
        assert_eq!(token_in(mail, "ada@x.org").as_deref(), Some("aB-_9"));
        assert_eq!(token_in(mail, "ben@x.org"), None);
        assert_eq!(token_in("To: ada@x.org\n\nno link\n", "ada@x.org"), None);
    }
}
