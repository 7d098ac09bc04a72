//! Rows as one JSON text: how a list to look up travels to SQLite, which has no arrays.
//!
//! `[["00ff",1],["01",2]]`, read back by `json_each($1)` and `value ->> n`. Rows to write travel as
//! parameters (`bulk`).

use std::fmt::Write;

/// Builds the text row by row, cell by cell.
pub(crate) struct JsonRows {
    text: String,
}

impl JsonRows {
    /// No rows yet; `size` is a guess at the length of the whole text.
    pub(crate) fn with_capacity(size: usize) -> Self {
        let mut text = String::with_capacity(size);
        text.push('[');
        Self { text }
    }

    /// Adds a row; `cells` writes its cells in the order of their columns.
    pub(crate) fn row(&mut self, cells: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push('[');
        cells(self);
        self.text.push(']');
    }

    /// A number.
    pub(crate) fn number(&mut self, number: i64) -> &mut Self {
        self.separate();
        let _ = write!(self.text, "{number}");
        self
    }

    /// Bytes as hexadecimal text, for `unhex`.
    pub(crate) fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.text.push('"');
        self.text.push_str(&hex::encode(bytes));
        self.text.push('"');
        self
    }

    /// The finished text.
    pub(crate) fn finish(mut self) -> String {
        self.text.push(']');
        self.text
    }

    fn separate(&mut self) {
        if !self.text.ends_with('[') {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_what_a_json_parser_reads() {
        let mut rows = JsonRows::with_capacity(0);
        rows.row(|row| {
            row.hex(&[0, 255]).number(-7);
        });
        rows.row(|row| {
            row.hex(&[]).number(7);
        });
        let read: serde_json::Value = serde_json::from_str(&rows.finish()).unwrap();
        let expected = serde_json::json!([["00ff", -7], ["", 7]]);
        assert_eq!(read, expected);
    }
}
