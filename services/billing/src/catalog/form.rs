//! The form of a catalog's file: everything that is wrong with it, and whatever can be read of the file nevertheless.

use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::Flaws;
use super::file::File;

/// How many flaws of its form are told of one file: each is found by reading the file once more.
const MOST: usize = 50;

/// Of what a file has more than could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) plans: bool,
    pub(super) models: bool,
}

/// Reads a text without the keys that nobody knows and without the entries that are none. `None`: nothing can be read of it.
pub(super) fn read(text: &str, flaws: &mut Flaws) -> Option<(File, LeftOut)> {
    let mut table = DeTable::parse(text).map_err(|error| flaws.0.push(error.to_string())).ok()?;
    let mut left_out = LeftOut::default();
    for _ in 0..MOST {
        let mut error = match File::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return Some((file, left_out)),
            Err(error) => error,
        };
        error.set_input(Some(text));
        flaws.0.push(error.to_string());
        // What a whole file lacks is nowhere.
        let at = error.span().filter(|at| !at.is_empty())?;
        if !leave_out(table.get_mut(), &at, &mut left_out) {
            return None;
        }
    }
    None
}

/// Leaves out what is wrong at a place: a key that nobody knows, or else the entry that it is in. Says whether there is one.
fn leave_out(table: &mut DeTable<'_>, at: &Range<usize>, left_out: &mut LeftOut) -> bool {
    if forget_of(table, at) {
        // It may have been meant to be either.
        *left_out = LeftOut { plans: true, models: true };
        return true;
    }
    table.iter_mut().any(|(section, entries)| {
        let DeValue::Array(entries) = entries.get_mut() else { return false };
        if entries.iter_mut().any(|entry| forget(entry.get_mut(), at)) {
            return true;
        }
        let kept: DeArray<'_> = entries.iter().filter(|entry| !holds(entry, at)).cloned().collect();
        if kept.len() == entries.len() {
            return false;
        }
        *entries = kept;
        left_out.plans |= section.get_ref() == "plans";
        left_out.models |= section.get_ref() == "models";
        true
    })
}

/// Removes the key at a place, wherever it is within a value.
fn forget(value: &mut DeValue<'_>, at: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => forget_of(table, at) || table.iter_mut().any(|(_, it)| forget(it.get_mut(), at)),
        DeValue::Array(items) => items.iter_mut().any(|it| forget(it.get_mut(), at)),
        _ => false,
    }
}

/// The same of a table's own keys.
fn forget_of(table: &mut DeTable<'_>, at: &Range<usize>) -> bool {
    let key = table.keys().find(|key| key.span() == *at).map(|key| key.get_ref().to_string());
    key.is_some_and(|key| table.remove(key.as_str()).is_some())
}

/// Whether a place is within a value.
fn holds(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> bool {
    let own = value.span();
    let within = match value.get_ref() {
        DeValue::Table(table) => table.values().any(|it| holds(it, at)),
        DeValue::Array(items) => items.iter().any(|it| holds(it, at)),
        _ => false,
    };
    within || (own.start <= at.start && at.end <= own.end)
}
