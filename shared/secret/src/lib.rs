//! Randomness, secrets, tokens and sealing.
//!
//! [`Entropy`] is the only place that asks the system for random bytes; everything else takes it as a
//! parameter, so a test can seed it. [`Secret`] keeps a value out of logs and wipes it, [`Token`] is what
//! a mail link or a client carries, [`TokenDigest`] what a database keeps of it, and [`Sealer`] encrypts
//! what must be readable again. Passwords (Argon2id) and signing keys belong to identity, not here.

mod entropy;
mod key_file;
mod seal;
mod secret;
mod token;

pub use entropy::Entropy;
pub use key_file::KeyError;
pub use seal::{OpenError, Sealer};
pub use secret::Secret;
pub use token::{Token, TokenDigest, TokenError};
