//! [`Token`]: a random secret that is handed out, and [`TokenDigest`]: what is kept of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Entropy, Secret};

/// Bytes of a token: 256 bits, beyond guessing.
const BYTES: usize = 32;

/// A secret of 256 random bits, in a text of 43 characters of base64url without padding.
///
/// Whoever holds it may do what it stands for, so it exists only with its bearer (a mail, a client);
/// a database keeps [`Token::digest`]. Prefixes, expiry and use counts are up to whoever issues it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Secret<[u8; BYTES]>);

/// A text is not a token; it says no more, so that nothing leaks into logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a token of 43 base64url characters")]
pub struct TokenError;

impl Token {
    /// A new token.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(Secret::new(entropy.bytes()))
    }

    /// Reads the text form: exactly one spelling for each token.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        // 43 characters are 258 bits; the decoder refuses a last character with either spare bit set.
        let mut bytes = Zeroizing::new([0; BYTES]);
        match URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()) {
            Ok(BYTES) => Ok(Self(Secret::new(*bytes))),
            _ => Err(TokenError),
        }
    }

    /// The text form, for its bearer.
    pub fn to_text(&self) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0.expose()))
    }

    /// The SHA-256 of the token's 32 bytes. A slow hash would add nothing: there is nothing to guess.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0.expose()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// The SHA-256 of a [`Token`]: enough to recognize it, useless for making it.
///
/// Stored as 32 bytes (BLOB, BYTEA): bind [`TokenDigest::as_bytes`], read back with `TryFrom<&[u8]>`.
#[derive(Clone, Copy, Eq)]
pub struct TokenDigest([u8; BYTES]);

impl TokenDigest {
    /// The digest with these bytes, as a database has them.
    pub const fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for TokenDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl TryFrom<&[u8]> for TokenDigest {
    type Error = std::array::TryFromSliceError;
    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest([redacted])")
    }
}
