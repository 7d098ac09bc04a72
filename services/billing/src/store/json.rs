//! Rows as one JSON text: how a list travels to SQLite, which has no arrays.
//!
//! `[[1,"a",null],[2,"b",null]]`, read back by `json_each($1)` and `value ->> n`.

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

    /// A text cell.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.text.push('"');
        for char in text.chars() {
            match char {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                // Writing to a string never fails.
                control if control < ' ' => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(control));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
        self
    }

    /// A text cell from anything that prints itself without quotes or control characters: ids, names of states.
    pub(crate) fn word(&mut self, word: impl std::fmt::Display) -> &mut Self {
        self.separate();
        let _ = write!(self.text, "\"{word}\"");
        self
    }

    /// A text cell or NULL.
    pub(crate) fn text_or_null(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// An integer cell.
    pub(crate) fn int(&mut self, number: i64) -> &mut Self {
        self.separate();
        let _ = write!(self.text, "{number}");
        self
    }

    /// An integer cell or NULL.
    pub(crate) fn int_or_null(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.int(number),
            None => self.null(),
        }
    }

    /// Bytes as hexadecimal text, for `unhex`.
    pub(crate) fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.text.push('"');
        self.text.push_str(&hex::encode(bytes));
        self.text.push('"');
        self
    }

    /// NULL.
    pub(crate) fn null(&mut self) -> &mut Self {
        self.separate();
        self.text.push_str("null");
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
            row.text("a \"quoted\" \\ text,\nwith a line [").int(-7).null().hex(&[0, 255]).word("org_1");
        });
        rows.row(|row| {
            row.text("").int_or_null(Some(i64::MAX)).text_or_null(None);
        });
        let read: serde_json::Value = serde_json::from_str(&rows.finish()).unwrap();
        let expected = serde_json::json!([
            ["a \"quoted\" \\ text,\nwith a line [", -7, null, "00ff", "org_1"],
            ["", i64::MAX, null]
        ]);
        assert_eq!(read, expected);
    }
}
