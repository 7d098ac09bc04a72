//! [`RequestId`]: the caller's name for one attempt, by which a repetition is recognized.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A caller's idempotency key: 1 to 128 bytes of UTF-8 without control characters, usually a UUID.
///
/// It is compared byte by byte: neither trimmed nor folded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

/// Why a text is no request id; each message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestIdError {
    /// It is empty.
    #[error("must not be empty: choose an id for this request, for example a UUID")]
    Empty,
    /// It has more than 128 bytes.
    #[error("must not be longer than 128 bytes")]
    TooLong,
    /// It contains a control character, such as a line break.
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl RequestId {
    /// The greatest length in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Reads a caller's text.
    pub fn parse(text: impl Into<String>) -> Result<Self, RequestIdError> {
        let text = text.into();
        if text.is_empty() {
            Err(RequestIdError::Empty)
        } else if text.len() > Self::MAX_BYTES {
            Err(RequestIdError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(RequestIdError::ControlCharacter)
        } else {
            Ok(Self(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;
    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RequestId {
    type Error = RequestIdError;
    fn try_from(text: String) -> Result<Self, RequestIdError> {
        Self::parse(text)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

impl AsRef<str> for RequestId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
