//! Canonical bytes: the one way a value is spelled before it is stored or hashed.
//!
//! Lengths and counts are written before what they count, numbers as the shortest LEB128, absence as a byte of its
//! own. So no two different sequences of fields share their bytes, which is what makes a hash over them mean
//! something; and every sequence has one spelling, which the reader insists on.

use bursar_id::{Id, Uuid};
use bursar_money::Credits;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

/// Bytes that this program cannot have written; names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A later program wrote them.
    #[error("it has a newer format")]
    NewerFormat,
    /// This program cannot have written them.
    #[error("its field {0} holds what was never written there")]
    Malformed(&'static str),
}

impl From<Malformed> for Unreadable {
    fn from(Malformed(field): Malformed) -> Self {
        Self::Malformed(field)
    }
}

/// Appends canonical fields.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Starts with room for `size` bytes.
    pub(super) fn with_capacity(size: usize) -> Self {
        Self(Vec::with_capacity(size))
    }

    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// What was written so far.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The first 16 bytes of the SHA-256 of what was written.
    pub(super) fn digest16(&self) -> [u8; 16] {
        let digest: [u8; 32] = Sha256::digest(&self.0).into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        first
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    /// Bytes whose number the reader knows.
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.fixed(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.byte((value & 0x7f) as u8);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.uint(count as u64);
    }

    /// A signed number; small ones of either sign are short ("zigzag").
    pub(super) fn int(&mut self, value: i64) {
        self.uint((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn credits(&mut self, amount: Credits) {
        self.uint(amount.micro().unsigned_abs());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.int(time.as_micros());
    }

    pub(super) fn id<K>(&mut self, id: Id<K>) {
        self.fixed(id.as_uuid().as_bytes());
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads a stored form of this format from its first byte to its last.
    pub(super) fn whole<T>(
        bytes: &'a [u8],
        format: u8,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Unreadable> {
        let mut input = Self::new(bytes);
        input.format(format)?;
        let value = read(&mut input)?;
        input.finish()?;
        Ok(value)
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("end")) }
    }

    /// The first byte of every stored form. `known` is the format that this program reads and writes; a greater one is a
    /// later program's, and none is smaller.
    fn format(&mut self, known: u8) -> Result<(), Unreadable> {
        match self.byte("format")? {
            format if format == known => Ok(()),
            newer if newer > known => Err(Unreadable::NewerFormat),
            _ => Err(Unreadable::Malformed("format")),
        }
    }

    /// The same where the forms of several formats are alike: which of those that this program knows it is.
    pub(super) fn format_up_to(&mut self, last: u8) -> Result<u8, Unreadable> {
        match self.byte("format")? {
            0 => Err(Unreadable::Malformed("format")),
            format if format <= last => Ok(format),
            _ => Err(Unreadable::NewerFormat),
        }
    }

    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed(field))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, field)?[0])
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed(field)),
        }
    }

    pub(super) fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        self.take(N, field)?.try_into().map_err(|_| Malformed(field))
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.uint(field)?;
        self.take(usize::try_from(length).map_err(|_| Malformed(field))?, field)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| Malformed(field))
    }

    pub(super) fn uint(&mut self, field: &'static str) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            // Neither bits beyond the sixty-fourth nor a longer spelling than needed.
            if (shift == 63 && bits > 1) || (byte == 0 && shift > 0) {
                return Err(Malformed(field));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed(field))
    }

    /// A number of things that follow, each of at least one byte: never more than there are bytes.
    pub(super) fn count(&mut self, field: &'static str) -> Result<usize, Malformed> {
        let count = usize::try_from(self.uint(field)?).map_err(|_| Malformed(field))?;
        if count <= self.0.len() { Ok(count) } else { Err(Malformed(field)) }
    }

    pub(super) fn int(&mut self, field: &'static str) -> Result<i64, Malformed> {
        let value = self.uint(field)?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(super) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn credits(&mut self, field: &'static str) -> Result<Credits, Malformed> {
        let micro = i64::try_from(self.uint(field)?).map_err(|_| Malformed(field))?;
        Credits::from_micro(micro).map_err(|_| Malformed(field))
    }

    pub(super) fn time(&mut self, field: &'static str) -> Result<Timestamp, Malformed> {
        Timestamp::from_micros(self.int(field)?).map_err(|_| Malformed(field))
    }

    pub(super) fn id<K>(&mut self, field: &'static str) -> Result<Id<K>, Malformed> {
        Ok(Id::from_uuid(Uuid::from_bytes(self.fixed(field)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive_and_have_one_spelling(unsigned: u64, signed: i64) {
            let mut writer = Writer::default();
            writer.uint(unsigned);
            writer.int(signed);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.uint("n"), Ok(unsigned));
            prop_assert_eq!(reader.int("n"), Ok(signed));
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn whatever_is_read_is_written_the_same(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.uint("n") {
                let mut writer = Writer::default();
                writer.uint(value);
                let used = bytes.len() - reader.0.len();
                prop_assert_eq!(writer.as_slice(), &bytes[..used]);
            }
        }
    }

    #[test]
    fn what_was_never_written_is_refused() {
        let cases: [(&str, &[u8]); 6] = [
            ("nothing", &[]),
            ("a longer spelling of zero", &[0x80, 0]),
            ("an endless number", &[0xff; 11]),
            ("bits beyond 64", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            ("more bytes promised than there are", &[5, 1]),
            ("a number of things that cannot be there", &[200, 1]),
        ];
        for (case, bytes) in cases {
            assert!(Reader::new(bytes).bytes("b").is_err(), "{case}");
        }
        assert_eq!(Reader::new(&[2]).flag("f"), Err(Malformed("f")));
        assert_eq!(Reader::new(&[1, 0xff]).text("t"), Err(Malformed("t")));
    }
}
