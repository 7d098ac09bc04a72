//! Bytes as SQLite's JSON functions take them: in hexadecimal.

use std::fmt::Write as _;

/// Appends bytes as a JSON string of hexadecimal digits, for `unhex`.
pub(crate) fn hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        // Writing to a string never fails.
        let _ = write!(out, "{byte:02x}");
    }
    out.push('"');
}

/// A JSON list of byte strings.
pub(crate) fn list<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut out = String::from("[");
    for bytes in items {
        if out.len() > 1 {
            out.push(',');
        }
        hex(&mut out, bytes);
    }
    out.push(']');
    out
}
