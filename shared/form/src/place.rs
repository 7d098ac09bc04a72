//! [`Place`]: where something in a file cannot be read, and what may be put there.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The table of a file in which the value of a key cannot be read, or is missing.
pub struct Place<'t, 'i> {
    pub(crate) table: &'t mut DeTable<'i>,
    pub(crate) key: &'t str,
    pub(crate) is_root: bool,
    pub(crate) at: &'t Range<usize>,
}

impl<'t> Place<'t, '_> {
    /// The key.
    pub fn key(&self) -> &'t str {
        self.key
    }

    /// Whether the table is the file itself.
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Has a key of the table have this text.
    pub fn put_text(&mut self, key: &str, it: &'static str) {
        self.put(key, text(it));
    }

    /// Has a key of the table have a list of these texts.
    pub fn put_list(&mut self, key: &str, texts: &[&'static str]) {
        let items = texts.iter().map(|it| Spanned::new(self.at.clone(), text(it)));
        let items: DeArray<'static> = items.collect();
        self.put(key, DeValue::Array(items));
    }

    /// Has a key of the table have this number.
    pub fn put_number(&mut self, key: &str, number: &'static str) {
        match DeValue::parse(number) {
            Ok(number) => self.put(key, number.into_inner()),
            Err(_) => self.leave_out(key),
        }
    }

    /// Has the table do without a key.
    pub fn leave_out(&mut self, key: &str) {
        self.table.remove(key);
    }

    fn put(&mut self, key: &str, value: DeValue<'static>) {
        let key = Spanned::new(self.at.clone(), Cow::Owned(key.to_owned()));
        self.table.insert(key, Spanned::new(self.at.clone(), value));
    }
}

pub(crate) fn text(it: &'static str) -> DeValue<'static> {
    DeValue::String(Cow::Borrowed(it))
}
