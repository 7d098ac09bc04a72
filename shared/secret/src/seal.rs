//! [`Sealer`]: encryption of what a database keeps and must be able to read again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::key_file::{self, KEY_BYTES, KeyError};
use crate::{Entropy, Secret};

/// The first byte of everything sealed: names the format, so that another can follow.
const VERSION: u8 = 1;
/// Random bytes of a nonce: enough that random ones never meet.
const NONCE_BYTES: usize = 24;

/// Seals and opens with one master key: XChaCha20-Poly1305, a random nonce for each message.
///
/// A sealed message is a version byte, the nonce, and the ciphertext with its tag: 41 bytes more than
/// the plaintext. The additional data (`aad`) is not stored but must be the same on opening: pass the
/// table and the row's id, and a message moved to another row no longer opens.
#[derive(Clone)]
pub struct Sealer(Arc<Keys>);

struct Keys {
    sealing: XChaCha20Poly1305,
    /// The master key, for deriving others.
    master: Secret<[u8; KEY_BYTES]>,
}

/// A sealed message does not open: another key, another `aad`, or it was changed. Which of them cannot
/// be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the sealed data does not open with this key: it was changed, moved or sealed by another key")]
pub struct OpenError;

impl Sealer {
    /// A sealer with this key.
    pub fn from_key(key: &Secret<[u8; KEY_BYTES]>) -> Self {
        let sealing = XChaCha20Poly1305::new(key.expose().into());
        Self(Arc::new(Keys { sealing, master: key.clone() }))
    }

    /// A sealer with the key in this text: 32 bytes as 64 hexadecimal digits or as base64 (either
    /// alphabet, padded or not), with white space around it.
    pub fn from_text(text: &Secret) -> Result<Self, KeyError> {
        key_file::parse(text.expose()).map(|key| Self::from_key(&key))
    }

    /// A sealer with the key in this file, which must exist.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        key_file::load(path).map(|key| Self::from_key(&key))
    }

    /// A sealer with the key in this file, which is made with a new key if it does not exist.
    ///
    /// The file is readable by its owner only, appears whole or not at all, and is never replaced: when
    /// two processes race, both end up with the one key.
    pub fn load_or_create(path: &Path, entropy: &Entropy) -> Result<Self, KeyError> {
        key_file::load_or_create(path, entropy).map(|key| Self::from_key(&key))
    }

    /// A key of its own for another purpose: the same for everybody who has this master key, and nothing that tells of
    /// it or of the keys for other purposes (HMAC-SHA256 of the purpose).
    pub fn derive(&self, purpose: &str) -> Secret<[u8; KEY_BYTES]> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let derived = Hmac::<Sha256>::new_from_slice(self.0.master.expose()).expect("a key");
        Secret::new(derived.chain_update(b"bursar key for ").chain_update(purpose).finalize().into_bytes().into())
    }

    /// What stands for a text where it is not to be read: the same for everybody who has this master key, and nothing that
    /// could be found by trying texts without it (16 bytes of an HMAC-SHA256 under the key derived for `purpose`).
    pub fn print(&self, purpose: &str, text: &str) -> [u8; 16] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(self.derive(purpose).expose()).expect("a key");
        let whole: [u8; 32] = mac.chain_update(text).finalize().into_bytes().into();
        let mut print = [0; 16];
        print.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        print
    }

    /// Encrypts `plaintext` and binds it to `aad`.
    pub fn seal(&self, entropy: &Entropy, plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = entropy.bytes();
        #[expect(clippy::expect_used, reason = "only a message above 256 GiB is refused; none fits here")]
        let ciphertext = self
            .0
            .sealing
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad })
            .expect("a message that fits into memory can be sealed");
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Decrypts what [`Sealer::seal`] made with the same key and the same `aad`.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Secret<Vec<u8>>, OpenError> {
        let Some((&VERSION, rest)) = sealed.split_first() else {
            return Err(OpenError);
        };
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError)?;
        self.0
            .sealing
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad })
            .map(Secret::new)
            .map_err(|_| OpenError)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}
