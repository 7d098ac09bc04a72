//! Files that people write, in TOML: everything that is wrong in the form of one, and whatever can be read of it nevertheless.
//!
//! What is wrong is told and put right, one after the other, so that the rest can be read: a misspelt key is taken for the one
//! that was meant, in the place of a value that cannot be read stands another one ([`UNREAD`]), and what is only more than
//! there may be is left out.
//!
//! What lives here: how that is done. What must not: what may stand where in a file ([`Form`] is each reader's own), and what
//! its values must be.

mod place;
mod spelling;

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

pub use place::Place;
pub use spelling::distance;

/// How many flaws of its form are told of one file: each is found by reading the file once more.
const MOST: usize = 50;

/// What stands for a text that cannot be read: its flaw is told already.
pub const UNREAD: &str = "\0unread";

/// What stands in one sort of file for what cannot be read, and what is noted of that.
pub trait Form {
    /// The file as it is written. It denies unknown fields, or none is told.
    type File: DeserializeOwned;

    /// Has something stand for the value of a key that is no flaw, and nothing that anybody would write; or leaves it out.
    fn stand_in(&mut self, place: &mut Place<'_, '_>);

    /// Whether [`UNREAD`] stands for what cannot be read in the list under this key; else it is left out. `is_root`: the key is
    /// one of the file's own.
    fn keeps_places(&self, key: &str, is_root: bool) -> bool;

    /// Something was left out of the list under the key of this place.
    fn left_out(&mut self, place: &mut Place<'_, '_>);

    /// A key of the file's own was left out that may have been meant to be any.
    fn lost_section(&mut self);
}

/// What is wrong at a place.
enum Wrong<'a> {
    /// A key that nobody knows there, and those that are known.
    Unknown(Vec<&'a str>),
    /// There is none of this name.
    Missing(&'a str),
    /// A value is not what it must be.
    Value,
}

impl<'a> Wrong<'a> {
    /// By what is said of it.
    fn of(message: &'a str) -> Self {
        if let Some(unknown) = message.strip_prefix("unknown field `") {
            let known = unknown.split_once("`, expected ").map_or("", |(_, known)| known);
            return Self::Unknown(known.split('`').skip(1).step_by(2).collect());
        }
        let missing = message.strip_prefix("missing field `").and_then(|name| name.strip_suffix('`'));
        missing.map_or(Self::Value, Self::Missing)
    }
}

/// Reads a text as far as it can be, and tells every flaw in its form. `None`: nothing can be read of it.
pub fn read<F: Form>(text: &str, form: &mut F, flaws: &mut Vec<String>) -> Option<F::File> {
    let mut table = DeTable::parse(text).map_err(|error| flaws.push(error.to_string())).ok()?;
    for _ in 0..MOST {
        let mut error = match <F::File as Deserialize>::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return Some(file),
            Err(error) => error,
        };
        error.set_input(Some(text));
        let (root, at) = (table.get_mut(), error.span().unwrap_or_default());
        let besides = match Wrong::of(error.message()) {
            Wrong::Unknown(known) => forget(root, &known, &at, form),
            Wrong::Missing(name) => add(root, name, &at, form).then(String::new),
            Wrong::Value => replace(root, &at, form).then(String::new),
        };
        let said = error.to_string();
        flaws.push(format!("{}{}", said.trim_end(), besides.as_deref().unwrap_or_default()));
        besides?;
    }
    None
}

/// Removes the key at a place, or has it be the one that was meant, and gives what is to be said of that. `None`: there is none.
fn forget<F: Form>(root: &mut DeTable<'_>, known: &[&str], at: &Range<usize>, form: &mut F) -> Option<String> {
    find(root, &Range::default(), &mut |table, own| {
        let key = table.keys().find(|key| key.span() == *at)?.get_ref().to_string();
        let value = table.remove(key.as_str())?;
        let missing: Vec<&str> = known.iter().copied().filter(|it| !table.contains_key(*it)).collect();
        let Some(meant) = spelling::nearest(&key, &missing) else {
            if own.is_empty() {
                form.lost_section();
            }
            return Some(String::new());
        };
        table.insert(Spanned::new(at.clone(), Cow::Owned(meant.to_owned())), value);
        Some(format!(", did you mean `{meant}`?"))
    })
}

/// Has something stand for what is missing at a place. Says whether there is a table.
fn add<F: Form>(root: &mut DeTable<'_>, name: &str, at: &Range<usize>, form: &mut F) -> bool {
    let added = find(root, &Range::default(), &mut |table, own| {
        (own == at).then(|| form.stand_in(&mut Place { table, key: name, is_root: own.is_empty(), at }))
    });
    added.is_some()
}

/// Has something stand for the value at a place, or leaves it out. Says whether there is one.
fn replace<F: Form>(root: &mut DeTable<'_>, at: &Range<usize>, form: &mut F) -> bool {
    let replaced = find(root, &Range::default(), &mut |table, own| {
        let (key, is_whole) = table.iter().find_map(|(key, value)| Some((key, is_whole(value, at)?)))?;
        let (key, is_root) = (key.get_ref().to_string(), own.is_empty());
        if is_whole {
            form.stand_in(&mut Place { table, key: &key, is_root, at });
        } else if !drop_item(table.get_mut(key.as_str())?, at, form.keeps_places(&key, is_root)) {
            form.left_out(&mut Place { table, key: &key, is_root, at });
        }
        Some(())
    });
    replaced.is_some()
}

/// Has [`UNREAD`] stand for what is at a place of a list, if it is kept, or leaves it out. Says whether it is kept.
fn drop_item(list: &mut Spanned<DeValue<'_>>, at: &Range<usize>, is_kept: bool) -> bool {
    if let DeValue::Array(items) = list.get_mut() {
        if is_kept {
            items.iter_mut().filter(|it| it.span() == *at).for_each(|it| *it.get_mut() = place::text(UNREAD));
        } else {
            *items = items.iter().filter(|it| it.span() != *at).cloned().collect();
        }
    }
    is_kept
}

/// Whether a place is that of a whole value, or of one in a list. `None`: it is neither's.
fn is_whole(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> Option<bool> {
    if value.span() == *at {
        return Some(true);
    }
    let items = value.get_ref().as_array()?;
    items.iter().any(|it| it.span() == *at).then_some(false)
}

/// Looks at a table and at every one within it, each with its own place, the file's own being empty, until something is found.
fn find<'i, F, R>(table: &mut DeTable<'i>, own: &Range<usize>, look: &mut F) -> Option<R>
where
    F: FnMut(&mut DeTable<'i>, &Range<usize>) -> Option<R>,
{
    let found = look(table, own);
    found.or_else(|| table.iter_mut().find_map(|(_, value)| find_in(value, look)))
}

fn find_in<'i, F, R>(value: &mut Spanned<DeValue<'i>>, look: &mut F) -> Option<R>
where
    F: FnMut(&mut DeTable<'i>, &Range<usize>) -> Option<R>,
{
    let own = value.span();
    match value.get_mut() {
        DeValue::Table(table) => find(table, &own, look),
        DeValue::Array(items) => items.iter_mut().find_map(|item| find_in(item, look)),
        _ => None,
    }
}
