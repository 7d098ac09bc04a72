//! Details: what an entry says in free text, kept apart from the ledger so that it can be erased.
//!
//! Labels, notes, a request's id and its fingerprint may be about people. They stand in pages of their own; the
//! entry itself holds a salted digest, so that whoever still has them can be proven right, and nobody can guess
//! them from the digest once they and their salt are gone. What is missing is excused by an ERASE entry alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_id::{RequestId, UserId};
use sha2::{Digest, Sha256};

use super::attribution::{Labels, Note};
use super::codec::{Malformed, Reader, Unreadable, Writer};

/// How many entries a page of details spans at most: what is read to show one of them.
pub const PAGE_ENTRIES: u64 = 64;

/// Random bytes that keep a digest from being guessed.
pub type Salt = [u8; 16];

/// What a caller asked for, as a digest: 16 bytes of SHA-256 over the command and every field that the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub(super) [u8; 16]);

/// The caller's own name for a request, and what the request asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRequest {
    /// The id as the caller wrote it.
    pub id: RequestId,
    /// What was asked under it.
    pub fingerprint: Fingerprint,
}

/// The free texts of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Whose they are: the member for whom it was done, if it was done for one.
    pub member: Option<UserId>,
    /// The request that booked the entry.
    pub request: Option<NamedRequest>,
    /// The caller's labels.
    pub labels: Labels,
    /// A remark for people.
    pub note: Option<Note>,
    /// What the digest is salted with.
    pub salt: Salt,
}

impl Details {
    /// Whether there is nothing in them worth keeping.
    pub fn is_empty(&self) -> bool {
        self.request.is_none() && self.labels.is_empty() && self.note.is_none()
    }

    /// What the entry holds of them.
    pub fn digest(&self) -> [u8; 32] {
        let mut out = Writer::with_capacity(128);
        self.write(&mut out);
        Sha256::digest(out.as_slice()).into()
    }

    fn write(&self, out: &mut Writer) {
        out.fixed(&self.salt);
        out.option(self.member, Writer::id);
        out.option(self.request.as_ref(), |out, request| {
            out.text(request.id.as_str());
            out.fixed(&request.fingerprint.0);
        });
        self.labels.write(out);
        out.option(self.note.as_ref(), |out, note| out.text(note.as_str()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let salt = input.fixed("salt")?;
        Ok(Self {
            salt,
            member: input.option("details' member", |it| it.id("details' member"))?,
            request: input.option("request", |it| {
                Ok(NamedRequest {
                    id: RequestId::parse(it.text("request id")?).map_err(|_| Malformed("request id"))?,
                    fingerprint: Fingerprint(it.fixed("fingerprint")?),
                })
            })?,
            labels: Labels::read(input)?,
            note: input.option("note", |it| Note::parse(it.text("note")?).map_err(|_| Malformed("note")))?,
        })
    }
}

/// The format of a page; the first byte of each.
const FORMAT: u8 = 1;

/// The details of one account's entries whose numbers lie less than [`PAGE_ENTRIES`] apart, by entry number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DetailsPage(Vec<(u64, Arc<Details>)>);

impl DetailsPage {
    /// The pages for these entries' details, each with the number of its last entry. Entries come in order.
    pub fn pages(details: &[(u64, Arc<Details>)]) -> Vec<(u64, Self)> {
        let same_page = |(seq, _): &(u64, Arc<Details>), first: u64| *seq - first < PAGE_ENTRIES;
        let mut pages = Vec::new();
        let mut rest = details;
        while let [(first, _), ..] = rest {
            let (page, later) = rest.split_at(rest.partition_point(|entry| same_page(entry, *first)));
            pages.extend(page.last().map(|(last, _)| (*last, Self(page.to_vec()))));
            rest = later;
        }
        pages
    }

    /// The details of entry number `seq`, if they are there.
    pub fn of(&self, seq: u64) -> Option<&Arc<Details>> {
        self.0.iter().find(|(of, _)| *of == seq).map(|(_, details)| details)
    }

    /// All details by entry number.
    pub fn entries(&self) -> &[(u64, Arc<Details>)] {
        &self.0
    }

    /// Takes out what belongs to each of these members (`None`: to no member: notes and their requests) among the entries
    /// before the member's number. Says whether anything did.
    pub fn erase(&mut self, before: &BTreeMap<Option<UserId>, u64>) -> bool {
        let all = self.0.len();
        self.0.retain(|(seq, details)| before.get(&details.member).is_none_or(|before| seq >= before));
        self.0.len() < all
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(16 + 96 * self.0.len());
        out.byte(FORMAT);
        out.count(self.0.len());
        for (seq, details) in &self.0 {
            out.uint(*seq);
            details.write(&mut out);
        }
        out.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// A later program wrote it, or none did.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        Reader::whole(bytes, FORMAT, |input| {
            let mut page = Vec::new();
            for _ in 0..input.count("entries")? {
                page.push((input.uint("entry")?, Arc::new(Details::read(input)?)));
            }
            if !page.windows(2).all(|pair| pair[0].0 < pair[1].0) {
                return Err(Malformed("entries"));
            }
            Ok(Self(page))
        })
    }
}
