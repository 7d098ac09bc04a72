//! Kinds of library items: what may stand under what, what carries content, which fields are secret (product.md,
//! "Library"). A deployment has the built-in ones and its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::schema::Schema;

/// The kind of items that projects are made from.
pub const PROJECT_TEMPLATE: &str = "project_template";

/// The most kinds of a deployment; also how deep items can stand under one another.
const MAX_KINDS: usize = 200;
/// The most parents and the most secret fields of a kind.
const MAX_NAMES: usize = 32;
/// The longest name of a kind or a field.
const MAX_NAME: usize = 63;

/// A kind as it is written in a file, right or wrong.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The kinds under which its items may stand.
    pub parents: Vec<String>,
    /// Whether its items may stand under nothing.
    pub may_stand_alone: bool,
    /// Whether its items carry content.
    pub has_content: bool,
    /// Fields of its documents that are secret.
    pub secret_fields: Vec<String>,
    /// A JSON Schema, as text.
    pub schema: Option<String>,
}

/// A kind.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its name.
    pub name: String,
    /// The kinds under which its items may stand.
    pub parents: BTreeSet<String>,
    /// Whether its items may stand under nothing.
    pub may_stand_alone: bool,
    /// Whether its items carry content.
    pub has_content: bool,
    /// Fields of its documents that are sealed and never answered.
    pub secret_fields: BTreeSet<String>,
    /// What its documents must be.
    pub schema: Option<Schema>,
}

/// The kinds of a deployment, by name. None stands under itself, over however many others.
#[derive(Clone, Debug)]
pub struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    /// The built-in kinds and a deployment's own; one of its own stands in place of a built-in one of the same name.
    ///
    /// # Errors
    /// Everything that is wrong, each in a sentence.
    pub fn new(built_in: Vec<Declared>, own: Vec<Declared>) -> Result<Self, Vec<String>> {
        let mut flaws = Vec::new();
        let mut all = BTreeMap::new();
        for layer in [built_in, own] {
            let mut seen = BTreeSet::new();
            for declared in layer {
                if !seen.insert(declared.name.clone()) {
                    flaws.push(format!("kind {}: is declared twice", declared.name));
                    continue;
                }
                all.insert(declared.name.clone(), declared);
            }
        }
        if all.len() > MAX_KINDS {
            flaws.push(format!("there are {} kinds, at most {MAX_KINDS} may be", all.len()));
        }
        let names: BTreeSet<String> = all.keys().cloned().collect();
        let kinds = all.into_iter().map(|(name, declared)| (name, kind(declared, &names, &mut flaws))).collect();
        let kinds = Self(kinds);
        flaws.extend(kinds.circles());
        if flaws.is_empty() { Ok(kinds) } else { Err(flaws) }
    }

    /// The kind of this name.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.get(name)
    }

    /// Those whose names come after one, by name.
    pub fn after(&self, name: Bound<&str>) -> impl Iterator<Item = &Kind> {
        self.0.range::<str, _>((name, Bound::Unbounded)).map(|(_, kind)| kind)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.values()
    }

    /// Kinds that stand under themselves: what is left when those whose parents are all placed are taken away again and
    /// again, as far as it leads back to itself.
    fn circles(&self) -> Vec<String> {
        let mut placed: BTreeSet<&str> = BTreeSet::new();
        loop {
            let known = |parent: &String| !self.0.contains_key(parent) || placed.contains(parent.as_str());
            let next: Vec<&str> = self
                .iter()
                .filter(|kind| !placed.contains(kind.name.as_str()) && kind.parents.iter().all(known))
                .map(|kind| kind.name.as_str())
                .collect();
            if next.is_empty() {
                break;
            }
            placed.extend(next);
        }
        let mut told = BTreeSet::new();
        let mut flaws = Vec::new();
        for name in self.0.keys().map(String::as_str).filter(|name| !placed.contains(name)) {
            let circle: BTreeSet<&str> =
                self.above(name).into_iter().filter(|other| self.above(other).contains(name)).collect();
            if !circle.contains(name) || !told.insert(circle.clone()) {
                continue;
            }
            let [who, how] = if circle.len() == 1 { ["kind", "itself"] } else { ["kinds", "one another"] };
            let names = circle.into_iter().collect::<Vec<_>>().join(", ");
            flaws.push(format!("{who} {names}: parents: would stand under {how} without end"));
        }
        flaws
    }

    /// Every kind under which items of this one may come to stand, over however many others.
    fn above<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let (mut above, mut next) = (BTreeSet::new(), vec![name]);
        while let Some(kind) = next.pop().and_then(|name| self.get(name)) {
            next.extend(kind.parents.iter().map(String::as_str).filter(|parent| above.insert(*parent)));
        }
        above
    }
}

fn kind(declared: Declared, names: &BTreeSet<String>, flaws: &mut Vec<String>) -> Kind {
    let Declared { name, parents, may_stand_alone, has_content, secret_fields, schema } = declared;
    if !is_kind_name(&name) {
        flaws.push(format!("kind {name:?}: name: must be 1 to {MAX_NAME} of a-z, 0-9 and _, a letter first"));
    }
    let mut flaw = |what: String| flaws.push(format!("kind {name}: {what}"));
    for unknown in parents.iter().filter(|parent| !names.contains(*parent)) {
        flaw(format!("parents: there is no kind {unknown:?}"));
    }
    if !may_stand_alone && parents.is_empty() {
        flaw("may stand nowhere: it has no parents and may not stand alone".to_owned());
    }
    for field in secret_fields.iter().filter(|field| !is_field_name(field)) {
        flaw(format!("secret_fields: {field:?} must be 1 to {MAX_NAME} of A-Z, a-z, 0-9, _ and -, no digit first"));
    }
    let parents = distinct("parents", parents, &mut flaw);
    let secret_fields = distinct("secret_fields", secret_fields, &mut flaw);
    let schema = schema.and_then(|text| match Schema::parse(&text) {
        Ok(schema) => Some(schema),
        Err(error) => {
            flaw(format!("schema: {error}"));
            None
        }
    });
    Kind { name, parents, may_stand_alone, has_content, secret_fields, schema }
}

fn distinct(field: &str, list: Vec<String>, flaw: &mut impl FnMut(String)) -> BTreeSet<String> {
    if list.len() > MAX_NAMES {
        flaw(format!("{field}: names {}, at most {MAX_NAMES} may be", list.len()));
    }
    let mut set = BTreeSet::new();
    for name in list {
        if set.contains(&name) {
            flaw(format!("{field}: names {name} twice"));
        }
        set.insert(name);
    }
    set
}

fn is_kind_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(fits)
}

fn is_field_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= MAX_NAME && name.starts_with(first) && name.bytes().all(fits)
}
