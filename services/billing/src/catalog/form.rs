//! The form of a catalog's file: everything that is wrong with it, and whatever can be read of the file nevertheless.
//!
//! What is wrong is told and put right, one after the other, so that the rest can be read: a misspelt key is taken for the one
//! that was meant, in the place of a value that cannot be read stands another one ([`UNREAD`]), and what is only more than
//! there may be is left out. What nobody can name, an entry without its id, is looked at for its form alone.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::Flaws;
use super::file::File;

/// How many flaws of its form are told of one file: each is found by reading the file once more.
const MOST: usize = 50;

/// What stands for a text that cannot be read: its flaw is told already ([`Flaws::is_told`]).
pub(super) const UNREAD: &str = "\0unread";

/// What stands for a name that is only shown.
const UNNAMED: &str = "?";

/// The longest key that may be a misspelt one.
const LONGEST_KEY: usize = 64;

/// Keys that are shorter than this are told apart by two characters.
const SHORT: usize = 4;

/// Of what a file has more than could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) plans: bool,
    pub(super) models: bool,
}

impl LeftOut {
    /// Some of what stands under a key of the file's own.
    fn some_of(&mut self, section: &str) {
        self.plans |= section == "plans";
        self.models |= section == "models";
    }
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

/// Reads a text as far as it can be. `None`: nothing can be read of it.
pub(super) fn read(text: &str, flaws: &mut Flaws) -> Option<(File, LeftOut)> {
    let mut table = DeTable::parse(text).map_err(|error| flaws.said.push(error.to_string())).ok()?;
    let mut left_out = LeftOut::default();
    for _ in 0..MOST {
        let mut error = match File::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return Some(named(file, left_out, flaws)),
            Err(error) => error,
        };
        error.set_input(Some(text));
        let (root, at) = (table.get_mut(), error.span().unwrap_or_default());
        let besides = match Wrong::of(error.message()) {
            Wrong::Unknown(known) => forget(root, &known, &at, &mut left_out),
            Wrong::Missing(name) => add(root, name, &at, &mut left_out).then(String::new),
            Wrong::Value => replace(root, &at, &mut left_out).then(String::new),
        };
        let said = error.to_string();
        flaws.said.push(format!("{}{}", said.trim_end(), besides.as_deref().unwrap_or_default()));
        besides?;
    }
    None
}

/// A file without the entries that nobody can name. Where nothing was told, each has the name that it says.
fn named(mut file: File, mut left_out: LeftOut, flaws: &mut Flaws) -> (File, LeftOut) {
    flaws.has_stand_ins = !flaws.said.is_empty();
    if flaws.has_stand_ins {
        let (plans, models) = (file.plans.len(), file.models.len());
        file.plans.retain(|it| it.id != UNREAD);
        file.packs.retain(|it| it.id != UNREAD);
        file.models.retain(|it| it.id != UNREAD && it.meters.iter().all(|meter| meter.id != UNREAD));
        left_out.plans |= file.plans.len() < plans;
        left_out.models |= file.models.len() < models;
    }
    (file, left_out)
}

/// Removes the key at a place, or has it be the one that was meant, and gives what is to be said of that. `None`: there is none.
fn forget(root: &mut DeTable<'_>, known: &[&str], at: &Range<usize>, left_out: &mut LeftOut) -> Option<String> {
    find(root, &Range::default(), &mut |table, own| {
        let key = table.keys().find(|key| key.span() == *at)?.get_ref().to_string();
        let value = table.remove(key.as_str())?;
        let missing: Vec<&str> = known.iter().copied().filter(|it| !table.contains_key(*it)).collect();
        let Some(meant) = nearest(&key, &missing) else {
            if own.is_empty() {
                // It may have been meant to be either.
                *left_out = LeftOut { plans: true, models: true };
            }
            return Some(String::new());
        };
        table.insert(Spanned::new(at.clone(), Cow::Owned(meant.to_owned())), value);
        Some(format!(", did you mean `{meant}`?"))
    })
}

/// Has something stand for what is missing at a place. Says whether there is a table.
fn add(root: &mut DeTable<'_>, name: &str, at: &Range<usize>, left_out: &mut LeftOut) -> bool {
    let added = find(root, &Range::default(), &mut |table, own| {
        (own == at).then(|| stand_in(table, (name, own.is_empty()), at, left_out))
    });
    added.is_some()
}

/// Has something stand for the value at a place, or leaves it out. Says whether there is one.
fn replace(root: &mut DeTable<'_>, at: &Range<usize>, left_out: &mut LeftOut) -> bool {
    let replaced = find(root, &Range::default(), &mut |table, own| {
        let (key, is_whole) = table.iter().find_map(|(key, value)| Some((key, is_whole(value, at)?)))?;
        let (key, is_root) = (key.get_ref().to_string(), own.is_empty());
        if is_whole {
            stand_in(table, (&key, is_root), at, left_out);
        } else if let DeValue::Array(items) = table.get_mut(key.as_str())?.get_mut() {
            if matches!(key.as_str(), "models" | "projects") && !is_root {
                items.iter_mut().filter(|it| it.span() == *at).for_each(|it| *it.get_mut() = text(UNREAD));
                return Some(());
            }
            *items = items.iter().filter(|it| it.span() != *at).cloned().collect();
            if is_root {
                left_out.some_of(&key);
            } else if key == "meters" {
                put(table, "id", text(UNREAD), at);
            }
        }
        Some(())
    });
    replaced.is_some()
}

/// Whether a place is that of a whole value, or of one in a list. `None`: it is neither's.
fn is_whole(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> Option<bool> {
    if value.span() == *at {
        return Some(true);
    }
    let items = value.get_ref().as_array()?;
    items.iter().any(|it| it.span() == *at).then_some(false)
}

/// Has something stand for a value of a table that is no flaw, and no catalog's either; what may be left out is. Names mean the
/// same wherever they stand, but for lists of models.
fn stand_in(table: &mut DeTable<'_>, (key, is_root): (&str, bool), at: &Range<usize>, left_out: &mut LeftOut) {
    if is_root {
        left_out.some_of(key);
        put(table, key, DeValue::Array(DeArray::default()), at);
        return;
    }
    match key {
        "id" | "price" | "credits" | "rollover" | "seat_price" | "credits_per_seat" | "from" => {
            put(table, key, text(UNREAD), at);
        }
        "name" | "unit" => put(table, key, text(UNNAMED), at),
        "models" | "projects" => {
            let one = std::iter::once(Spanned::new(at.clone(), text(UNREAD)));
            put(table, key, DeValue::Array(one.collect()), at);
        }
        "seats" => match DeValue::parse("1") {
            Ok(one) => put(table, key, one.into_inner(), at),
            Err(_) => drop(table.remove(key)),
        },
        // Of a model without meters, and of what may be a contract, there is nothing more to say.
        "meters" => {
            put(table, key, DeValue::Array(DeArray::default()), at);
            put(table, "id", text(UNREAD), at);
        }
        "contract" => {
            table.remove(key);
            put(table, "id", text(UNREAD), at);
        }
        _ => drop(table.remove(key)),
    }
}

fn put<'i>(table: &mut DeTable<'i>, key: &str, value: DeValue<'i>, at: &Range<usize>) {
    table.insert(Spanned::new(at.clone(), Cow::Owned(key.to_owned())), Spanned::new(at.clone(), value));
}

fn text(it: &'static str) -> DeValue<'static> {
    DeValue::String(Cow::Borrowed(it))
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

/// The one of these keys that another one is a misspelt one of, if it is near enough.
fn nearest<'a>(key: &str, missing: &[&'a str]) -> Option<&'a str> {
    if key.len() > LONGEST_KEY {
        return None;
    }
    let far = missing.iter().map(|it| (distance(key, it), *it));
    let near = far.filter(|(far, it)| *far <= if it.len() < SHORT { 1 } else { 2 });
    near.min().map(|(_, it)| it)
}

/// How many characters have to be changed, added or removed to make the one of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (done, from) in one.chars().enumerate() {
        let (mut left, mut above_left) = (done + 1, done);
        let mut next = vec![left];
        for (to, above) in other.chars().zip(row.iter().skip(1)) {
            left = (above_left + usize::from(from != to)).min(left + 1).min(above + 1);
            above_left = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
