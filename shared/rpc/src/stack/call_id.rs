//! A name for each call, by which its traces in all logs are found.

use std::sync::atomic::{AtomicU64, Ordering};

use bursar_secret::Entropy;
use http::{HeaderMap, HeaderValue};

use crate::transport::context::CALL_ID;

/// The longest id that is taken over from a caller.
const MAX_BYTES: usize = 128;

/// Takes ids over or makes new ones: a random start, then counting, which is unique and costs nothing.
pub(super) struct CallIds {
    process: String,
    next: AtomicU64,
}

impl CallIds {
    pub(super) fn new(entropy: &Entropy) -> Self {
        let process = u64::from_be_bytes(entropy.bytes::<8>());
        Self { process: format!("{process:016x}"), next: AtomicU64::new(1) }
    }

    /// The caller's id if it is harmless (up to 128 printable ASCII characters), else a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let harmless = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            (1..=MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
        };
        headers.get(CALL_ID).filter(harmless).cloned().unwrap_or_else(|| self.new_id())
    }

    fn new_id(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Hexadecimal digits and a hyphen are always a header value.
        HeaderValue::try_from(format!("{}-{number:x}", self.process))
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_ids_are_kept_and_others_replaced() {
        let ids = CallIds::new(&Entropy::seeded(1));
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CALL_ID, HeaderValue::from_str(text).expect("a header"));
            ids.of(&headers) == text
        };
        let table = [
            ("a", true),
            ("01j-ABC:/=?", true),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
            ("", false),
            ("two words", false),
        ];
        for (text, kept) in table {
            assert_eq!(given(text), kept, "{text:?}");
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}
