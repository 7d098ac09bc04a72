//! How much more a message takes in memory once it is read, counted while it comes and before anybody reads it.
//!
//! What may stand in a message again and again takes two bytes on the wire, and hundreds once it is read: four megabytes of
//! empty charges come to a gigabyte. So the bytes of a request that may have such parts are walked as they come
//! (`shapes.rs` says where which stand), and each part counts beside the bytes ([`super::weight`]). What would take more than
//! [`MOST`] is refused whoever sends it.
//!
//! The walk is the decoder's, without its memory: what it cannot follow, the decoder cannot read, and is refused at once.

use tonic::Code;

use super::reasons::malformed;
use super::shapes::{Grows, Part};
use crate::problem::reason;
use crate::{MAX_MESSAGE, Problem};

/// The most that the parts of one message may take. The largest batch that the rules allow comes to less than half of it, and of
/// a program's bound for all messages a caller who is alone may have as much and the message's own bytes
/// ([`super::MESSAGE_MEMORY_MAX`]).
pub(super) const MOST: usize = 4 * MAX_MESSAGE;

/// What stands in front of each message: whether it is compressed, and in four bytes how long it is.
const HEAD: u8 = 5;
/// The most digits of a number, of seven bits each.
const DIGITS: u32 = 10;
/// How deep messages may stand in messages. The decoder gives up sooner.
const DEEPEST: usize = 128;

/// What is walked, and how far.
pub(super) struct Growing {
    /// What stands at the beginning of each message.
    grows: Grows,
    place: Place,
    /// Of the number that is being read: its value and digits so far.
    number: u64,
    digits: u32,
    /// The innermost message, and those around it.
    here: Open,
    around: Vec<Open>,
    /// What the parts of this message take, and those of the one whose parts take most.
    grown: usize,
    most: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy)]
enum Place {
    /// The head of a message, of which so many bytes and so much of its length have come.
    Head { come: u8, length: u32 },
    /// A field's key.
    Key,
    /// A number that does not matter.
    Number,
    /// The length of a field that may be a part.
    Length(Option<Part>),
    /// So many bytes that do not matter.
    Pass(usize),
}

/// A message that has begun.
#[derive(Clone, Copy)]
struct Open {
    grows: Grows,
    /// How many bytes of it are still to come.
    left: usize,
    /// How many groups have begun: nothing in them is known.
    groups: usize,
    /// The maps of which there is an entry, each a bit at its field's number.
    maps: u64,
}

impl Open {
    const fn new(grows: Grows, left: usize) -> Self {
        Self { grows, left, groups: 0, maps: 0 }
    }

    /// What this one takes more as it is the first of a map.
    fn first(&mut self, part: Part) -> usize {
        // Where there is no bit for a field, each counts as the first.
        let bit = 1_u64.checked_shl(part.number).unwrap_or_default();
        if self.maps & bit != 0 {
            return 0;
        }
        self.maps |= bit;
        part.first
    }
}

impl Growing {
    /// Of a request that is still to come, be it one message or a stream of them.
    pub(super) fn new(grows: Grows) -> Self {
        Self {
            grows,
            place: Place::Head { come: 0, length: 0 },
            number: 0,
            digits: 0,
            here: Open::new(grows, 0),
            around: Vec::new(),
            grown: 0,
            most: 0,
        }
    }

    /// Walks bytes that have come; what the parts take, of a stream those of its largest message.
    ///
    /// # Errors
    /// They take too much, or the bytes are no message.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<usize, Problem> {
        while let Some((first, rest)) = bytes.split_first() {
            if let Place::Pass(left) = self.place {
                let passed = left.min(bytes.len());
                bytes = bytes.get(passed..).unwrap_or_default();
                self.place = Place::Pass(left - passed);
                if passed == left {
                    self.go_on();
                }
            } else {
                bytes = rest;
                self.step(*first)?;
            }
        }
        Ok(self.most)
    }

    fn step(&mut self, byte: u8) -> Result<(), Problem> {
        match self.place {
            Place::Head { come, length } => self.head(byte, come, length),
            Place::Key => {
                if let Some(key) = self.digit(byte)? {
                    self.key(key)?;
                }
            }
            Place::Number => {
                if self.digit(byte)?.is_some() {
                    self.go_on();
                }
            }
            Place::Length(part) => {
                if let Some(length) = self.digit(byte)? {
                    self.field(part, length)?;
                }
            }
            Place::Pass(_) => {}
        }
        Ok(())
    }

    fn head(&mut self, byte: u8, come: u8, length: u32) {
        // The first byte of the five is no part of the length. What is compressed, or longer than may be, is read by nobody.
        let length = (length << 8) | u32::from(byte);
        let left = usize::try_from(length).unwrap_or(usize::MAX);
        if (come == 0 && byte != 0) || left > MAX_MESSAGE {
            self.place = Place::Pass(usize::MAX);
        } else if come + 1 < HEAD {
            self.place = Place::Head { come: come + 1, length };
        } else {
            self.grown = 0;
            self.here = Open::new(self.grows, left);
            self.go_on();
        }
    }

    /// A field begins.
    fn key(&mut self, key: u64) -> Result<(), Problem> {
        let key = u32::try_from(key).map_err(|_| unlike())?;
        let number = key >> 3;
        if number == 0 {
            return Err(unlike());
        }
        let part = if self.here.groups == 0 { self.here.grows.part(number) } else { None };
        let counted = part.filter(|part| part.packed).map_or(0, |part| part.each);
        // The decoder takes entries of maps, the parts of which the first takes more, for bytes whatever their key says.
        let form = if part.is_some_and(|part| part.first > 0) { 2 } else { key & 7 };
        match form {
            0 => {
                self.place = Place::Number;
                self.grow(counted)
            }
            1 => {
                self.pass(8)?;
                self.grow(counted)
            }
            2 => {
                self.place = Place::Length(part);
                Ok(())
            }
            3 => {
                self.here.groups += 1;
                self.go_on();
                Ok(())
            }
            4 => {
                self.here.groups = self.here.groups.checked_sub(1).ok_or_else(unlike)?;
                self.go_on();
                Ok(())
            }
            5 => {
                self.pass(4)?;
                self.grow(counted)
            }
            _ => Err(unlike()),
        }
    }

    /// A field of bytes begins.
    fn field(&mut self, part: Option<Part>, length: u64) -> Result<(), Problem> {
        let length = usize::try_from(length).map_err(|_| unlike())?;
        self.pass(length)?;
        let Some(part) = part else { return Ok(()) };
        // Of numbers that stand together, each may be a byte.
        let first = self.here.first(part);
        self.grow(if part.packed { part.each.saturating_mul(length) } else { part.each + first })?;
        if let Some(grows) = part.inside {
            if self.around.len() >= DEEPEST {
                return Err(unlike());
            }
            self.around.push(self.here);
            self.here = Open::new(grows, length);
            self.go_on();
        }
        Ok(())
    }

    /// The next digit of a number; the number, if it is the last.
    fn digit(&mut self, byte: u8) -> Result<Option<u64>, Problem> {
        self.within(1)?;
        if self.digits >= DIGITS {
            return Err(unlike());
        }
        self.number |= u64::from(byte & 0x7f) << (7 * self.digits);
        self.digits += 1;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        self.digits = 0;
        Ok(Some(std::mem::take(&mut self.number)))
    }

    fn pass(&mut self, bytes: usize) -> Result<(), Problem> {
        self.within(bytes)?;
        self.place = Place::Pass(bytes);
        Ok(())
    }

    /// So many bytes belong to the innermost message.
    fn within(&mut self, bytes: usize) -> Result<(), Problem> {
        self.here.left = self.here.left.checked_sub(bytes).ok_or_else(unlike)?;
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.grown = self.grown.saturating_add(bytes);
        if self.grown > MOST {
            return Err(too_much());
        }
        self.most = self.most.max(self.grown);
        Ok(())
    }

    /// A field is over: another one follows, or what is around the message that ends with it.
    fn go_on(&mut self) {
        self.place = Place::Key;
        while self.here.left == 0 {
            let Some(around) = self.around.pop() else {
                self.place = Place::Head { come: 0, length: 0 };
                return;
            };
            self.here = around;
        }
    }
}

fn unlike() -> Problem {
    malformed("its fields do not fit into one another")
}

fn too_much() -> Problem {
    Problem::new(
        Code::InvalidArgument,
        reason::MESSAGE_TOO_LARGE,
        format!("the request has so many parts that it would take more than {MOST} bytes once it is read"),
    )
    .with_metadata("limit_bytes", MOST.to_string())
}

#[cfg(test)]
mod tests {
    use bursar_proto::billing::v1::{BatchChargeRequest, ChargeRequest, Usage};
    use bursar_proto::organization::v1::CreateItemRequest;
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};

    use super::super::shapes::grows;
    use super::super::weight::SMALL_PARTS;
    use super::*;

    const BATCH: &str = "/bursar.billing.v1.CreditService/BatchCharge";
    const CHARGE: &str = "/bursar.billing.v1.CreditService/Charge";
    const ITEM: &str = "/bursar.organization.v1.LibraryService/CreateItem";

    /// Bytes as they stand in a request.
    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("short");
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    fn walk(path: &str, sent: &[u8], step: usize) -> Result<usize, Problem> {
        let mut growing = Growing::new(grows(path).expect("it may grow"));
        sent.chunks(step).try_fold(0, |_, bytes| growing.take(bytes))
    }

    /// What a message's parts take, however its bytes come.
    fn taken(path: &str, message: &impl Message) -> Result<usize, &'static str> {
        let sent = framed(&message.encode_to_vec());
        let told = |step| walk(path, &sent, step).map_err(|problem| problem.reason());
        let all = told(sent.len());
        assert_eq!([told(1), told(3), told(1_000)], [all; 3], "it does not depend on how it comes");
        all
    }

    fn batch(charges: usize, charge: &ChargeRequest) -> BatchChargeRequest {
        BatchChargeRequest { charges: vec![charge.clone(); charges] }
    }

    /// As much as the rules allow.
    fn largest() -> ChargeRequest {
        ChargeRequest {
            usage: vec![Usage { meter: "m".to_owned(), ..Usage::default() }; 32],
            labels: (0..32).map(|number| (format!("{number:02}"), "x".to_owned())).collect(),
            ..ChargeRequest::default()
        }
    }

    #[test]
    fn parts_of_a_message_count_as_they_are_in_memory() {
        let empty = taken(BATCH, &batch(1_000, &ChargeRequest::default())).expect("a thousand");
        let least = 1_000 * size_of::<ChargeRequest>();
        assert!((least..4 * least).contains(&empty), "{empty} for {least}");
        let full = taken(BATCH, &batch(1_000, &largest())).expect("the largest batch");
        let parts = 32_000 * (size_of::<Usage>() + 2 * size_of::<String>());
        assert!((least + parts..MOST / 2 + least).contains(&full), "{full} for {}", least + parts);
        let one = taken(CHARGE, &largest()).expect("one");
        assert!((1..=SMALL_PARTS).contains(&one), "{one} do not go with the call's place");
        let list = vec![Value { kind: Some(Kind::ListValue(ListValue::default())) }; 1_000];
        let document = taken(ITEM, &item(list)).expect("a document");
        assert!((1_000..8_000).contains(&(document / size_of::<Value>())), "{document}");
        assert!(grows("/bursar.identity.v1.UserService/SignUp").is_none(), "what cannot grow is not walked");
    }

    /// An item whose document has this list.
    fn item(values: Vec<Value>) -> CreateItemRequest {
        let list = Value { kind: Some(Kind::ListValue(ListValue { values })) };
        let document = Some(Struct { fields: [("list".to_owned(), list)].into() });
        CreateItemRequest { document, ..CreateItemRequest::default() }
    }

    /// The least that the nodes of a map with so many entries take.
    fn of_map(entries: usize, entry: usize) -> usize {
        entries.div_ceil(11) * 11 * entry
    }

    /// The least that is in memory of a document, beside its texts.
    fn of_document(document: &Struct) -> usize {
        let inside: usize = document.fields.values().map(of_value).sum();
        of_map(document.fields.len(), size_of::<String>() + size_of::<Value>()) + inside
    }

    fn of_value(value: &Value) -> usize {
        match &value.kind {
            Some(Kind::ListValue(list)) => list.values.iter().map(|it| size_of::<Value>() + of_value(it)).sum(),
            Some(Kind::StructValue(inner)) => of_document(inner),
            _ => 0,
        }
    }

    /// An object in an object, and so on, so many.
    fn chain(length: usize) -> Value {
        (0..length).fold(Value { kind: Some(Kind::NullValue(0)) }, |inner, _| Value {
            kind: Some(Kind::StructValue(Struct { fields: [("x".to_owned(), inner)].into() })),
        })
    }

    #[test]
    fn a_map_of_one_entry_counts_with_its_node_and_what_documents_may_have_fits() {
        // As many values as a document may have, each of them a map.
        let request = item(vec![chain(27); 357]);
        let least = of_document(request.document.as_ref().expect("a document"));
        let counted = taken(ITEM, &request).expect("what is allowed fits");
        assert!((least..2 * least).contains(&counted), "{counted} counted of {least}");
        let labels = |number: usize| ChargeRequest {
            labels: (0..number).map(|number| (format!("{number:02}"), String::new())).collect(),
            ..ChargeRequest::default()
        };
        for number in [1, 2, 11, 12, 32] {
            let counted = taken(CHARGE, &labels(number)).expect("a charge");
            assert!(counted >= of_map(number, 2 * size_of::<String>()), "{counted} counted of {number}");
        }
    }

    /// A field of bytes.
    fn field(key: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![key];
        prost::encoding::encode_varint(bytes.len() as u64, &mut field);
        field.extend(bytes);
        field
    }

    #[test]
    fn a_message_of_very_many_small_parts_is_refused_before_it_is_read() {
        let many = |part: [u8; 2]| part.repeat(MAX_MESSAGE / 4);
        let cases = [
            ("empty charges", BATCH, many([0x0a, 0])),
            ("empty meters in one charge", BATCH, field(0x0a, &many([0x32, 0]))),
            ("empty ids", "/bursar.identity.v1.UserService/BatchGetUsers", many([0x0a, 0])),
            ("empty paths of a mask", "/bursar.identity.v1.UserService/UpdateMe", field(0x12, &many([0x0a, 0]))),
        ];
        for (case, path, message) in cases {
            let problem = walk(path, &framed(&message), 16_384).expect_err(case);
            assert_eq!(
                (problem.code(), problem.reason()),
                (Code::InvalidArgument, reason::MESSAGE_TOO_LARGE),
                "{case}"
            );
        }
    }

    #[test]
    fn what_is_in_a_part_may_not_be_longer_than_the_part() {
        // A charge of two bytes, of which its first meter says that it has a million.
        let longer = [&[0x0a, 2, 0x32, 0x80, 0x80, 0x40][..], &[0x32, 0].repeat(MAX_MESSAGE / 4)].concat();
        let walked = walk(BATCH, &framed(&longer), 1_000).map_err(|problem| problem.reason());
        assert_eq!(walked, Err(reason::MESSAGE_MALFORMED));
    }

    #[test]
    fn of_a_stream_the_largest_message_counts() {
        let sent: Vec<u8> =
            [3, 0, 500, 7].into_iter().flat_map(|n| framed(&batch(n, &largest()).encode_to_vec())).collect();
        let most = taken(BATCH, &batch(500, &largest())).expect("the largest");
        for step in [1, 7, sent.len()] {
            assert_eq!(walk(BATCH, &sent, step).expect("all of them"), most, "{step} at a time");
        }
        // Somebody else refuses what is compressed, or longer than may be.
        assert!(walk(BATCH, &[&[1, 0, 0, 0, 2][..], &[0xff; 99]].concat(), 9).is_ok());
        assert!(walk(BATCH, &[&[0, 0xff, 0, 0, 0][..], &[0xff; 99]].concat(), 9).is_ok());
    }

    #[test]
    fn an_entry_of_a_map_counts_whatever_its_key_says() {
        let count = |key| walk(BATCH, &framed(&[0x0a, 4, key, 2, 0x0a, 0]), 1).map_err(|problem| problem.reason());
        let told = [0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d].map(count);
        assert_eq!(told, [told[2]; 6], "field 7 of a charge, by each form of a key");
    }

    /// Whatever the decoder reads, the walk has followed, and has counted no less than is there then.
    #[test]
    fn fuzz_growth() {
        let charge = ChargeRequest { owner: "usr_1".to_owned(), amount: "1".to_owned(), ..largest() };
        let samples = [
            batch(2, &charge).encode_to_vec(),
            batch(40, &ChargeRequest::default()).encode_to_vec(),
            // An unknown field of each form, a group with one in it among them.
            [&batch(1, &charge).encode_to_vec()[..], &[0x7b, 0x08, 1, 0x7c, 0x78, 1, 0x7d, 1, 2, 3, 4]].concat(),
        ];
        for sample in &samples {
            assert!(BatchChargeRequest::decode(sample.as_slice()).is_ok_and(|read| !read.charges.is_empty()));
        }
        bursar_fuzz::fuzz("growth", &samples, |bytes| {
            let walked = walk(BATCH, &framed(bytes), 97).map_err(|problem| problem.reason());
            let Ok(read) = BatchChargeRequest::decode(bytes) else { return };
            let of_one = |it: &ChargeRequest| {
                let labels = of_map(it.labels.len(), 2 * size_of::<String>());
                size_of::<ChargeRequest>() + it.usage.len() * size_of::<Usage>() + labels
            };
            let least: usize = read.charges.iter().map(of_one).sum();
            match walked {
                Ok(counted) => assert!(counted >= least, "{counted} counted of {least}"),
                Err(why) => assert_eq!(why, reason::MESSAGE_TOO_LARGE, "what can be read was not followed"),
            }
        });
    }

    /// The same of documents, which are lists and maps in one another.
    #[test]
    fn fuzz_growth_of_documents() {
        let samples = [item(vec![chain(3); 2]).encode_to_vec(), item(vec![Value::default(); 9]).encode_to_vec()];
        bursar_fuzz::fuzz("growth of documents", &samples, |bytes| {
            let walked = walk(ITEM, &framed(bytes), 97).map_err(|problem| problem.reason());
            let Ok(read) = CreateItemRequest::decode(bytes) else { return };
            let least = read.document.as_ref().map_or(0, of_document);
            match walked {
                Ok(counted) => assert!(counted >= least, "{counted} counted of {least}"),
                Err(why) => assert_eq!(why, reason::MESSAGE_TOO_LARGE, "what can be read was not followed"),
            }
        });
    }
}
