//! Checkpoints: where every ledger ended at one time, signed, in a file that is kept elsewhere; and whether today's ledgers
//! still begin with what such a file says.
//!
//! Whoever may write to the database and knows how entries are chained can rewrite a history whole: the audit then finds it
//! in order. What they cannot do is change a file that they do not have.

use std::io::{BufRead, Read as _, Write};

use bursar_db::Db;
use bursar_id::OwnerId;
use bursar_secret::Sealer;
use bursar_time::Timestamp;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

pub use crate::domain::checkpoint::{Difference, Sealed, Unusable};
use crate::domain::checkpoint::{Head, LONGEST_LINE, Read, Written};
use crate::error::Error;
use crate::store::{accounts, ledger};

/// How many accounts are read at a time.
const PAGE: i64 = 500;
/// How many lines of a file are compared at a time.
const PORTION: usize = 500;

/// What the signing key is derived for.
const PURPOSE: &str = "billing checkpoints";

/// Billing's own key for checkpoints. It is made of the master key and stands nowhere, so nobody can take it from a store
/// or put another one in its place, and a store that was restored from a backup still has it.
#[derive(Clone)]
pub struct CheckpointKey(SigningKey);

impl CheckpointKey {
    /// The key of whoever has this master key.
    pub fn of(sealer: &Sealer) -> Self {
        Self(SigningKey::from_bytes(sealer.derive(PURPOSE).expose()))
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// What signatures of this key are checked with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

/// What a checkpoint's signature is checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0.to_bytes()))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or("a public key is 64 hexadecimal digits")?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| "these digits are no Ed25519 public key")
    }
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is no checkpoint that can be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<bursar_db::DbError> for CheckpointError {
    fn from(error: bursar_db::DbError) -> Self {
        Self::Store(error.into())
    }
}

/// Writes a checkpoint of every account, a page of them at a time; gives how many there are.
///
/// # Errors
/// The store or the file fails. What was written until then has no end and is refused as cut off.
pub async fn write(db: &Db, key: &CheckpointKey, now: Timestamp, out: &mut impl Write) -> Result<u64, CheckpointError> {
    let (mut written, line) = Written::begin(now, &key.public().0.to_bytes());
    out.write_all(line.as_bytes())?;
    let (mut last, mut heads) = (None, 0);
    loop {
        let page = accounts::heads_after(&mut db.read().await?, last, PAGE).await?;
        let Some((newest, _)) = page.last().copied() else {
            break;
        };
        for (owner, head) in page {
            let head = Head { owner, seq: head.seq, hash: head.hash, at: head.at };
            out.write_all(written.head(&head).as_bytes())?;
            heads += 1;
        }
        last = Some(newest);
    }
    out.write_all(written.end(|message| key.sign(message)).as_bytes())?;
    out.flush()?;
    Ok(heads)
}

/// Reads a whole checkpoint and checks that `trusted` signed it.
///
/// # Errors
/// The file cannot be used, and why.
pub fn check(file: &mut impl BufRead, trusted: PublicKey) -> Result<Sealed, CheckpointError> {
    let mut read = Read::default();
    while let Some(line) = next_line(file)? {
        read.line(&line)?;
    }
    let sealed = read.end()?;
    if sealed.key != trusted.0.to_bytes() {
        return Err(Unusable::OtherKey.into());
    }
    let signature = Signature::from_bytes(&sealed.signature);
    trusted.0.verify_strict(&sealed.message, &signature).map_err(|_| Unusable::Forged)?;
    Ok(sealed)
}

/// Compares today's ledgers with a checkpoint's heads, and tells each difference. Call [`check`] on the same file first:
/// this believes what it reads. Gives how many accounts were compared.
///
/// # Errors
/// The store or the file fails, or the file is not a checkpoint any more.
pub async fn compare(
    db: &Db,
    file: &mut impl BufRead,
    mut told: impl FnMut(Difference),
) -> Result<u64, CheckpointError> {
    let (mut read, mut heads, mut page) = (Read::default(), 0, Vec::new());
    while let Some(line) = next_line(file)? {
        if let Some(head) = read.line(&line)? {
            heads += 1;
            page.push(head);
        }
        if page.len() == PORTION {
            differences(db, &std::mem::take(&mut page)).await?.into_iter().for_each(&mut told);
        }
    }
    differences(db, &page).await?.into_iter().for_each(told);
    read.end()?;
    Ok(heads)
}

/// The differences of some heads, in one snapshot of the store.
async fn differences(db: &Db, heads: &[Head]) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    if heads.is_empty() {
        return Ok(found);
    }
    let mut tx = db.read().await?;
    let owners: Vec<OwnerId> = heads.iter().map(|head| head.owner).collect();
    let known = accounts::among(&mut tx, &owners).await?;
    for Head { owner, seq, hash, .. } in heads.iter().copied() {
        if !known.contains(&owner) {
            found.push(Difference::Missing(owner));
        } else if seq > 0 {
            match ledger::hash_of(&mut tx, owner, seq).await? {
                Some(stored) if stored == hash => {}
                Some(_) => found.push(Difference::Rewritten { owner, seq }),
                None => {
                    let has = accounts::find(&mut tx, owner).await?.map_or(0, |account| account.head.seq);
                    found.push(Difference::Shorter { owner, had: seq, has: has.min(seq.saturating_sub(1)) });
                }
            }
        }
    }
    Ok(found)
}

/// The next line with its line feed, or what is left of the file; never more than a line may be long.
fn next_line(file: &mut impl BufRead) -> Result<Option<Vec<u8>>, std::io::Error> {
    let mut line = Vec::new();
    file.take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

/// Compares and prints each difference on a line; gives how many there are.
///
/// # Errors
/// As [`compare`].
#[expect(clippy::print_stdout, reason = "this is what `bursar-billing verify --against` prints")]
pub async fn report(db: &Db, file: &mut impl BufRead, sealed: &Sealed) -> Result<u64, CheckpointError> {
    let mut differences = 0;
    let heads = compare(db, file, |difference| {
        differences += 1;
        println!("GONE {difference}");
    })
    .await?;
    println!("checkpoint of {}: {heads} accounts, {differences} differences", sealed.made_at.to_rfc3339());
    Ok(differences)
}

#[cfg(test)]
mod tests;
