//! Canonical bytes: the one way a value is spelled before it is hashed.
//!
//! Every field is written as its length and its bytes, and an absent field as a length that no
//! field can have. So no two different sequences of fields share their bytes, which is what makes
//! a hash over them mean something.

use bursar_id::{Id, OwnerId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::attribution::{Attribution, Note};
use super::entry::{OperationId, Subject};

const ABSENT: u32 = u32::MAX;

/// Appends canonical fields to a buffer that its caller reuses.
pub(super) struct Canonical<'a>(&'a mut Vec<u8>);

impl<'a> Canonical<'a> {
    /// Starts over in `buffer`.
    pub(super) fn new(buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self(buffer)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        // Fields are bounded by the API's message size, far below 4 GiB.
        let length = u32::try_from(bytes.len()).unwrap_or(ABSENT - 1);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn absent(&mut self) {
        self.0.extend_from_slice(&ABSENT.to_be_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.absent(),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.bytes(&[u8::from(value)]);
    }

    pub(super) fn credits(&mut self, amount: Credits) {
        self.i64(amount.micro());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.i64(time.as_micros());
    }

    pub(super) fn id<K>(&mut self, id: Id<K>) {
        self.bytes(id.as_uuid().as_bytes());
    }

    pub(super) fn owner(&mut self, owner: OwnerId) {
        match owner {
            OwnerId::User(id) => self.tagged("usr", id),
            OwnerId::Organization(id) => self.tagged("org", id),
        }
    }

    pub(super) fn operation(&mut self, id: OperationId) {
        match id {
            OperationId::Charge(id) => self.tagged("chg", id),
            OperationId::Hold(id) => self.tagged("hld", id),
            OperationId::Refund(id) => self.tagged("ref", id),
            OperationId::Lot(id) => self.tagged("lot", id),
        }
    }

    pub(super) fn subject(&mut self, subject: Subject) {
        match subject {
            Subject::Hold(id) => self.tagged("hld", id),
            Subject::Charge(id) => self.tagged("chg", id),
            Subject::Lot(id) => self.tagged("lot", id),
        }
    }

    fn tagged<K>(&mut self, prefix: &str, id: Id<K>) {
        self.text(prefix);
        self.id(id);
    }

    pub(super) fn note(&mut self, note: Option<&Note>) {
        self.option(note, |this, note| this.text(note.as_str()));
    }

    pub(super) fn attribution(&mut self, attribution: &Attribution) {
        self.id(attribution.member);
        self.option(attribution.project.as_ref(), |this, project| {
            this.text(project.as_str());
        });
        self.option(attribution.model.as_ref(), |this, model| {
            this.text(model.as_str());
        });
        self.option(attribution.quantity, |this, quantity| {
            this.i64(quantity.millionths());
        });
        let labels = attribution.labels.as_map();
        self.u64(labels.len() as u64);
        for (key, value) in labels {
            self.text(key);
            self.text(value);
        }
    }
}
