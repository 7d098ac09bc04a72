//! The ways in which a good input becomes a bad one.

use proptest::prelude::*;
use proptest::sample::Index;

/// Bytes that often mean something: ends of ranges, separators, openings, the first of a longer character.
const TELLING: [u8; 16] = [0, 1, 0x7f, 0x80, 0xff, 0xc3, 0xe2, 0xf0, b'-', b'.', b'@', b'_', b'{', b'"', b'/', b' '];
/// Numbers at which lengths and amounts turn.
const TURNS: [u64; 10] = [0, 1, 127, 128, 255, 65_536, 1 << 31, 1 << 32, 1 << 63, u64::MAX];

/// One change. Places are [`Index`]es, so that they fit whatever is left of the input.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Turns a bit.
    Turn(Index, u8),
    /// Writes over a byte.
    Write(Index, u8),
    /// Puts bytes in.
    Insert(Index, Vec<u8>),
    /// Takes bytes out.
    Remove(Index, usize),
    /// Ends the input early.
    Cut(Index),
    /// Says a part again and again.
    Repeat(Index, usize, usize),
    /// Goes on as another sample does.
    Join(Index, Index, Index),
    /// Puts a number in, as LEB128: a length or a tag that lies.
    Number(Index, u64),
}

impl Edit {
    pub(crate) fn apply(&self, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
        match self {
            Self::Turn(at, bit) => change(input, *at, |byte| byte ^ (1 << bit)),
            Self::Write(at, byte) => change(input, *at, |_| *byte),
            Self::Insert(at, bytes) => put(input, *at, bytes),
            Self::Remove(at, count) => {
                let from = place(input, *at);
                input.drain(from..(from + count).min(input.len()));
            }
            Self::Cut(at) => input.truncate(place(input, *at)),
            Self::Repeat(at, count, times) => {
                let from = place(input, *at);
                let part = input[from..(from + count).min(input.len())].repeat(*times);
                put(input, *at, &part);
            }
            Self::Join(at, which, from) => {
                if let Some(other) = (!samples.is_empty()).then(|| &samples[which.index(samples.len())]) {
                    input.truncate(place(input, *at));
                    input.extend_from_slice(&other[place(other, *from)..]);
                }
            }
            Self::Number(at, number) => put(input, *at, &leb128(*number)),
        }
    }
}

/// Any number of edits, mostly few: what is nearly good goes deepest.
pub(crate) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop_oneof![4 => prop::collection::vec(edit(), 0..4), 1 => prop::collection::vec(edit(), 4..24)]
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(TELLING.as_slice())];
    let number = prop_oneof![any::<u64>(), prop::sample::select(TURNS.as_slice())];
    prop_oneof![
        3 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Turn(at, bit)),
        3 => (at(), byte()).prop_map(|(at, byte)| Edit::Write(at, byte)),
        2 => (at(), prop::collection::vec(byte(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (at(), 1..9_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => at().prop_map(Edit::Cut),
        1 => (at(), 1..17_usize, 1..513_usize).prop_map(|(at, count, times)| Edit::Repeat(at, count, times)),
        1 => (at(), at(), at()).prop_map(|(at, which, from)| Edit::Join(at, which, from)),
        2 => (at(), number).prop_map(|(at, number)| Edit::Number(at, number)),
    ]
}

/// A place in the input or just behind it.
fn place(input: &[u8], at: Index) -> usize {
    at.index(input.len() + 1)
}

fn change(input: &mut [u8], at: Index, how: impl Fn(u8) -> u8) {
    if !input.is_empty() {
        let at = at.index(input.len());
        input[at] = how(input[at]);
    }
}

fn put(input: &mut Vec<u8>, at: Index, bytes: &[u8]) {
    let at = place(input, at);
    input.splice(at..at, bytes.iter().copied());
}

fn leb128(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
