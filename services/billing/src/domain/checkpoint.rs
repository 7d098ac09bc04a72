//! The form of a checkpoint: the heads of all accounts at one time, in a file that is kept outside of the database.
//!
//! Lines of text, each ended by a line feed, words apart by one space, and only one way to write anything:
//!
//! ```text
//! bursar-checkpoint 1 <made at, RFC 3339> <Ed25519 public key, hexadecimal>
//! <owner> <number of the account's last entry> <that entry's hash, hexadecimal> <when it took effect, RFC 3339>
//! …one for each account, in the order of owners…
//! end <number of accounts> <Ed25519 signature, hexadecimal>
//! ```
//!
//! The 1 is the format. What is signed is `PURPOSE` and the SHA-256 of everything before the signature, up to the space
//! in front of it. An account without an entry has number 0 and the hash that its chain begins with.

use std::fmt;

use bursar_id::OwnerId;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// The first word of the file.
const NAME: &str = "bursar-checkpoint";

/// What a signature is about, so that none made for another purpose stands in for one.
const PURPOSE: &[u8] = b"bursar billing checkpoint\n";

/// The longest line in bytes, the line feed included.
pub const LONGEST_LINE: usize = 256;

/// Where an account's ledger ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whose account.
    pub owner: OwnerId,
    /// The number of its last entry; 0 before the first.
    pub seq: u64,
    /// That entry's hash.
    pub hash: [u8; 32],
    /// When it took effect.
    pub at: Timestamp,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, seq, hash, at } = self;
        write!(f, "{owner} {seq} {} {}", hex::encode(hash), at.to_rfc3339())
    }
}

/// Why a file is no checkpoint that anything could be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It begins with something else.
    #[error("this is no checkpoint")]
    Foreign,
    /// A later program wrote it.
    #[error("the checkpoint has format {0}, which a newer program wrote; this one knows up to {FORMAT}")]
    NewerFormat(u32),
    /// A line is not as it is written.
    #[error("line {0} of the checkpoint is not as it was written")]
    Malformed(u64),
    /// Something stands behind its end.
    #[error("something follows the end of the checkpoint")]
    Longer,
    /// Its end is missing.
    #[error("the checkpoint is cut off")]
    Truncated,
    /// It names another key than the one that is trusted.
    #[error("the checkpoint was signed by another key")]
    OtherKey,
    /// Its signature is not one of its key and contents.
    #[error("the checkpoint's signature does not fit its contents: it was changed or forged")]
    Forged,
}

/// What a checkpoint says besides its heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// When it was made.
    pub made_at: Timestamp,
    /// Which key it says that it was signed with.
    pub key: [u8; 32],
    /// How many heads it has.
    pub heads: u64,
    /// What was signed.
    pub message: Vec<u8>,
    /// By whom, if it fits the key.
    pub signature: [u8; 64],
}

/// A checkpoint that is being written, line by line.
#[derive(Debug)]
pub struct Written {
    hash: Sha256,
    heads: u64,
}

impl Written {
    /// Begins one; gives its first line.
    pub fn begin(made_at: Timestamp, key: &[u8; 32]) -> (Self, String) {
        let mut written = Self { hash: Sha256::new(), heads: 0 };
        let line = format!("{NAME} {FORMAT} {} {}\n", made_at.to_rfc3339(), hex::encode(key));
        written.hash.update(&line);
        (written, line)
    }

    /// The line of one account; accounts come in the order of owners.
    pub fn head(&mut self, head: &Head) -> String {
        let line = format!("{head}\n");
        self.hash.update(&line);
        self.heads += 1;
        line
    }

    /// The last line, signed by `sign`.
    pub fn end(mut self, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
        let end = end(self.heads);
        self.hash.update(&end);
        format!("{end} {}\n", hex::encode(sign(&message(self.hash))))
    }
}

/// A checkpoint that is being read, line by line.
#[derive(Debug, Default)]
pub struct Read {
    hash: Sha256,
    lines: u64,
    begun: Option<(Timestamp, [u8; 32])>,
    last: Option<OwnerId>,
    heads: u64,
    signature: Option<[u8; 64]>,
}

impl Read {
    /// The next line, with its line feed; gives the head that it tells of.
    ///
    /// # Errors
    /// Why the file is unusable.
    pub fn line(&mut self, bytes: &[u8]) -> Result<Option<Head>, Unusable> {
        self.lines += 1;
        if self.begun.is_none() {
            self.begun = Some(begin(bytes)?);
            self.hash.update(bytes);
            return Ok(None);
        }
        if self.signature.is_some() {
            return Err(Unusable::Longer);
        }
        let line = bytes.strip_suffix(b"\n").ok_or(Unusable::Truncated)?;
        let malformed = Unusable::Malformed(self.lines);
        let line = std::str::from_utf8(line).map_err(|_| malformed)?;
        if line.starts_with("end ") {
            let end = end(self.heads);
            let signature = line.strip_prefix(&end).and_then(|rest| rest.strip_prefix(' '));
            self.signature = Some(signature.and_then(array).ok_or(malformed)?);
            self.hash.update(&end);
            return Ok(None);
        }
        let head = parse_head(line).filter(|head| self.last.is_none_or(|last| last < head.owner)).ok_or(malformed)?;
        self.last = Some(head.owner);
        self.heads += 1;
        self.hash.update(bytes);
        Ok(Some(head))
    }

    /// After the last line: what the file says of itself. Whether the signature is right is the caller's to find out.
    ///
    /// # Errors
    /// It is empty, or cut off.
    pub fn end(self) -> Result<Sealed, Unusable> {
        let (made_at, key) = self.begun.ok_or(Unusable::Foreign)?;
        let signature = self.signature.ok_or(Unusable::Truncated)?;
        Ok(Sealed { made_at, key, heads: self.heads, message: message(self.hash), signature })
    }
}

fn end(heads: u64) -> String {
    format!("end {heads}")
}

fn message(hash: Sha256) -> Vec<u8> {
    [PURPOSE, hash.finalize().as_slice()].concat()
}

/// The first line.
fn begin(bytes: &[u8]) -> Result<(Timestamp, [u8; 32]), Unusable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unusable::Foreign)?;
    let rest = text.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(' ')).ok_or(Unusable::Foreign)?;
    let format = rest.split([' ', '\n']).next().and_then(|word| word.parse().ok()).ok_or(Unusable::Foreign)?;
    if format > FORMAT {
        return Err(Unusable::NewerFormat(format));
    }
    let line = text.strip_suffix('\n').ok_or(Unusable::Truncated)?;
    let words: Vec<&str> = line.split(' ').collect();
    let [_, _, made_at, key] = words[..] else {
        return Err(Unusable::Malformed(1));
    };
    let made_at: Timestamp = made_at.parse().map_err(|_| Unusable::Malformed(1))?;
    let key = array(key).ok_or(Unusable::Malformed(1))?;
    if Written::begin(made_at, &key).1 == text { Ok((made_at, key)) } else { Err(Unusable::Malformed(1)) }
}

fn parse_head(line: &str) -> Option<Head> {
    let words: Vec<&str> = line.split(' ').collect();
    let [owner, seq, hash, at] = words[..] else {
        return None;
    };
    let head = Head { owner: owner.parse().ok()?, seq: seq.parse().ok()?, hash: array(hash)?, at: at.parse().ok()? };
    (head.to_string() == line).then_some(head)
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes: [u8; N] = hex::decode(text).ok()?.try_into().ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}

/// What a store does not have any more of what a checkpoint says that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// There is no such account.
    #[error("account of {0}: it is missing")]
    Missing(OwnerId),
    /// Its ledger has fewer entries.
    #[error("ledger of {owner}: it had {had} entries and has {has}")]
    Shorter {
        /// Whose ledger.
        owner: OwnerId,
        /// How many entries it had.
        had: u64,
        /// How many it has.
        has: u64,
    },
    /// Its entries are others.
    #[error("ledger of {owner}: entry {seq} has another hash than it had: it or one before it was rewritten")]
    Rewritten {
        /// Whose ledger.
        owner: OwnerId,
        /// The number of the entry that was its last.
        seq: u64,
    },
}
