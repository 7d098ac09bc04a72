//! Which fields of requests may stand there again and again, and what each takes in memory once it is read: out of the
//! descriptors, so that no field is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use bursar_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// A text, a list or a map, without what is in it.
const HANDLE: usize = 24;
/// A number, and whether it is there.
const NUMBER: usize = 16;
/// What says which of several there is, and what stands in a box of its own.
const WORD: usize = 8;
/// Lists and maps have room for twice as much as is in them.
const ROOM: usize = 2;
/// The first entry of a map has room for so many: maps are B-trees (those of our own messages by `proto/build.rs`, those of
/// documents by their library), whose nodes have eleven entries and a head.
const NODE: usize = 12;

/// The messages that may grow.
static SHAPES: LazyLock<Shapes> =
    LazyLock::new(|| Shapes::of(&FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default()));

/// A message that may grow: where its shape stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grows(usize);

/// A field that may stand in a message again and again, or has something in it that may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The field's number.
    pub(super) number: u32,
    /// What each takes beside its own bytes; nothing, where one stands for all.
    pub(super) each: usize,
    /// What the first one in a message takes more than the others, which is something with maps.
    pub(super) first: usize,
    /// Whether it is a number, of which many may stand together.
    pub(super) packed: bool,
    /// What is in it, if that may grow.
    pub(super) inside: Option<Grows>,
}

/// The message of an RPC, if it may grow.
pub(super) fn grows(path: &str) -> Option<Grows> {
    SHAPES.requests.get(path).copied()
}

impl Grows {
    /// The part with this number, if it is one.
    pub(super) fn part(self, number: u32) -> Option<Part> {
        SHAPES.parts.get(self.0)?.iter().find(|part| part.number == number).copied()
    }
}

struct Shapes {
    /// Of each message.
    parts: Vec<Vec<Part>>,
    /// By the RPCs' paths.
    requests: HashMap<String, Grows>,
}

impl Shapes {
    fn of(files: &FileDescriptorSet) -> Self {
        let mut declared = Declared::default();
        for file in &files.file {
            for message in &file.message_type {
                declared.add(&format!(".{}", file.package()), message);
            }
        }
        let parts = declared.pruned();
        let mut requests = HashMap::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let grows = declared.places.get(method.input_type()).copied().map(Grows);
                    if let Some(grows) = grows.filter(|it| parts.get(it.0).is_some_and(|parts| !parts.is_empty())) {
                        requests.insert(path, grows);
                    }
                }
            }
        }
        Self { parts, requests }
    }
}

/// The messages that there are, and where each stands by its name.
#[derive(Default)]
struct Declared<'a> {
    all: Vec<&'a DescriptorProto>,
    places: HashMap<String, usize>,
}

impl<'a> Declared<'a> {
    /// A message and those that are declared in it.
    fn add(&mut self, around: &str, message: &'a DescriptorProto) {
        let name = format!("{around}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        self.places.insert(name, self.all.len());
        self.all.push(message);
    }

    /// The parts of each message: what may not grow is none.
    fn pruned(&self) -> Vec<Vec<Part>> {
        let mut parts: Vec<Vec<Part>> =
            self.all.iter().map(|it| it.field.iter().filter_map(|field| self.part(field)).collect()).collect();
        // What may grow only by what is in it does, once that does.
        let mut may: Vec<bool> = parts.iter().map(|parts| parts.iter().any(|part| part.each > 0)).collect();
        let inside = |part: &Part, may: &[bool]| part.inside.is_some_and(|it| may.get(it.0) == Some(&true));
        loop {
            let more: Vec<bool> = parts
                .iter()
                .zip(&may)
                .map(|(parts, may_it)| *may_it || parts.iter().any(|it| inside(it, &may)))
                .collect();
            if more == may {
                break;
            }
            may = more;
        }
        for parts in &mut parts {
            for part in parts.iter_mut() {
                part.inside = part.inside.filter(|it| may.get(it.0) == Some(&true));
            }
            parts.retain(|part| part.each > 0 || part.inside.is_some());
        }
        parts
    }

    fn part(&self, field: &FieldDescriptorProto) -> Option<Part> {
        let number = u32::try_from(field.number()).ok()?;
        let inside = self.places.get(field.type_name()).filter(|_| is_message(field)).copied();
        let packed = !is_message(field) && !is_text(field);
        let one = match (inside, packed) {
            (Some(place), _) => self.size(place, &mut Vec::new()),
            (None, true) => WORD,
            (None, false) => HANDLE,
        };
        let each = if is_repeated(field) { ROOM * one } else { 0 };
        let is_map = inside.and_then(|place| self.all.get(place)).is_some_and(|message| is_entry(message));
        let first = if is_map { (NODE - ROOM) * one } else { 0 };
        let part = Part { number, each, first, packed, inside: inside.map(Grows) };
        Some(part).filter(|it| it.each > 0 || it.inside.is_some())
    }

    /// What a message takes without what is in its texts, lists and maps; never less than it does. `around`: the messages in
    /// which it stands, as one that stands in itself has a box.
    fn size(&self, place: usize, around: &mut Vec<usize>) -> usize {
        let Some(message) = self.all.get(place).filter(|_| !around.contains(&place)) else { return WORD };
        around.push(place);
        let mut alone = 0;
        // Of those of which there is only one, the largest.
        let mut one_of: BTreeMap<i32, usize> = BTreeMap::new();
        for field in &message.field {
            let inside = self.places.get(field.type_name()).filter(|_| is_message(field));
            let size = match inside {
                _ if is_repeated(field) || is_text(field) => HANDLE,
                Some(place) => self.size(*place, around) + WORD,
                None => NUMBER,
            };
            match field.oneof_index {
                Some(index) => {
                    let largest = one_of.entry(index).or_default();
                    *largest = size.max(*largest);
                }
                None => alone += size,
            }
        }
        around.pop();
        alone + one_of.values().map(|largest| largest + WORD).sum::<usize>()
    }
}

/// Whether a message is an entry of a map.
fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
}

fn is_repeated(field: &FieldDescriptorProto) -> bool {
    field.label() == Label::Repeated
}

fn is_message(field: &FieldDescriptorProto) -> bool {
    matches!(field.r#type(), Type::Message | Type::Group)
}

fn is_text(field: &FieldDescriptorProto) -> bool {
    matches!(field.r#type(), Type::String | Type::Bytes)
}
