//! The stored form of a ledger entry: a few columns that are looked up, and one body.
//!
//! The body is the entry's canonical bytes: a format number, then every field in one order. It is what is stored
//! and what is hashed, so nothing is spelled twice. Reading is strict: what this program cannot have written is
//! unreadable, and an audit reports it; a greater format is a later program's and not this one's to judge.
//!
//! A new field is a new format. Bodies of every format that was ever released must be readable for ever; a
//! committed ledger of each proves it (`tests/golden`).

use std::sync::Arc;

use bursar_id::OwnerId;
use bursar_money::{Credits, Quantity};
use bursar_time::Timestamp;

use super::actor::Actor;
use super::attribution::Attribution;
use super::catalog::CatalogVersion;
use super::charge::Metered;
use super::codec::{Malformed, Reader, Unreadable, Writer};
use super::command::RequestKey;
use super::entry::{CaptureEvent, ChargeEvent, DebtEvent, Entry, EntryKind, Event, HoldEvent, Posting, RefundEvent};
use super::lot::LotTerms;
use super::rates::{Component, MeterName};
use super::state::Draft;

/// The last format that this program knows. 0 is none; which one an entry has, its kind says ([`EntryKind::format`]).
const FORMAT: u8 = 2;

/// An entry as its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// [`Entry::seq`].
    pub seq: i64,
    /// [`Entry::at`] in microseconds.
    pub at: i64,
    /// [`Entry::request_key`], 16 bytes.
    pub request_key: Option<Vec<u8>>,
    /// [`Entry::body`].
    pub body: Vec<u8>,
    /// [`Entry::hash`], 32 bytes.
    pub hash: Vec<u8>,
}

/// A stored entry that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ledger entry {seq} is unreadable: {why}")]
pub struct UnreadableEntry {
    /// The entry's number as stored.
    pub seq: i64,
    /// Why.
    pub why: Unreadable,
}

/// What the ledger knows and a [`Draft`] does not.
pub(super) struct Place {
    pub(super) owner: OwnerId,
    pub(super) previous: [u8; 32],
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) available_after: Credits,
    pub(super) spendable_after: Credits,
    pub(super) held_after: Credits,
    pub(super) actor: Actor,
}

impl Entry {
    /// The entry that a draft becomes in its place of the ledger.
    pub(super) fn seal(place: &Place, draft: Draft) -> Self {
        let Draft { amount, event, postings, request_key, details } = draft;
        let mut entry = Self {
            seq: place.seq,
            at: place.at,
            amount,
            available_after: place.available_after,
            spendable_after: place.spendable_after,
            held_after: place.held_after,
            actor: place.actor,
            event,
            request_key,
            postings,
            details_digest: details.as_ref().map(|details| details.digest()),
            details,
            body: Vec::new(),
            hash: [0; 32],
        };
        entry.body = entry.write();
        entry.hash = entry.digest(place.owner, &place.previous);
        entry
    }

    /// The canonical bytes of what it says.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(192);
        out.byte(self.kind().format());
        out.byte(self.kind() as u8);
        out.credits(self.amount);
        out.credits(self.available_after);
        // What of it cannot be spent yet: nearly always nothing.
        out.credits(self.available_after.saturating_sub(self.spendable_after));
        out.credits(self.held_after);
        self.actor.write(&mut out);
        out.option(self.details_digest, |out, digest| out.fixed(&digest));
        write_postings(&mut out, &self.postings);
        write_event(&mut out, &self.event);
        out.finish()
    }

    /// The stored form. The store binds the same columns one by one; only tests need them as a row.
    #[cfg(test)]
    pub fn to_stored(&self) -> StoredEntry {
        StoredEntry {
            seq: i64::try_from(self.seq).unwrap_or(i64::MAX),
            at: self.at.as_micros(),
            request_key: self.request_key.map(|key| key.as_bytes().to_vec()),
            body: self.body.clone(),
            hash: self.hash.to_vec(),
        }
    }

    /// Reads the stored form; the details, which stand elsewhere, are not in it.
    ///
    /// # Errors
    /// A later program wrote it, or none did.
    pub fn from_stored(stored: StoredEntry) -> Result<Self, UnreadableEntry> {
        let seq = stored.seq;
        read(stored).map_err(|why| UnreadableEntry { seq, why })
    }
}

fn read(stored: StoredEntry) -> Result<Entry, Unreadable> {
    let mut input = Reader::new(&stored.body);
    let format = input.format_up_to(FORMAT)?;
    let code = input.byte("kind")?;
    let kind = EntryKind::ALL.into_iter().find(|kind| *kind as u8 == code && kind.format() == format);
    let kind = kind.ok_or(Malformed("kind"))?;
    let amount = input.credits("amount")?;
    let available_after = input.credits("available_after")?;
    let waiting = input.credits("spendable_after")?;
    let held_after = input.credits("held_after")?;
    let actor = Actor::read(&mut input)?;
    let details_digest = input.option("details", |it| it.fixed("details"))?;
    let postings = read_postings(&mut input)?;
    let event = read_event(&mut input, kind)?;
    input.finish()?;
    let request_key = stored.request_key.map(|key| RequestKey::from_bytes(&key).ok_or(Malformed("request_key")));
    Ok(Entry {
        seq: u64::try_from(stored.seq).map_err(|_| Malformed("seq"))?,
        at: Timestamp::from_micros(stored.at).map_err(|_| Malformed("at"))?,
        amount,
        available_after,
        spendable_after: available_after.checked_sub(waiting).ok_or(Malformed("spendable_after"))?,
        held_after,
        actor,
        event,
        request_key: request_key.transpose()?,
        postings,
        details_digest,
        details: None,
        hash: stored.hash.as_slice().try_into().map_err(|_| Malformed("hash"))?,
        body: stored.body,
    })
}

/// Each posting as its lot, which of its five parts move, and by how much.
fn write_postings(out: &mut Writer, postings: &[Posting]) {
    out.count(postings.len());
    for posting in postings {
        out.id(posting.lot);
        let parts = [posting.remaining, posting.held, posting.spent, posting.expired, posting.voided];
        let moved = parts.iter().enumerate().filter(|(_, delta)| **delta != 0);
        out.byte(moved.clone().map(|(part, _)| 1 << part).sum());
        moved.for_each(|(_, delta)| out.int(*delta));
    }
}

fn read_postings(input: &mut Reader<'_>) -> Result<Vec<Posting>, Malformed> {
    const FIELD: &str = "postings";
    let mut postings = Vec::new();
    for _ in 0..input.count(FIELD)? {
        let mut posting = Posting::on(input.id(FIELD)?);
        let moved = input.byte(FIELD)?;
        if moved >= 1 << 5 {
            return Err(Malformed(FIELD));
        }
        let parts =
            [&mut posting.remaining, &mut posting.held, &mut posting.spent, &mut posting.expired, &mut posting.voided];
        for (part, delta) in parts.into_iter().enumerate() {
            if moved & (1 << part) != 0 {
                *delta = input.int(FIELD)?;
                // No lot holds more, so nobody who adds two of them up needs to fear.
                if *delta == 0 || delta.unsigned_abs() > Credits::MAX.micro().unsigned_abs() {
                    return Err(Malformed(FIELD));
                }
            }
        }
        postings.push(posting);
    }
    Ok(postings)
}

fn write_event(out: &mut Writer, event: &Event) {
    match event {
        Event::Grant { lot, terms } => {
            out.id(*lot);
            terms.write(out);
        }
        Event::Charge(it) => {
            out.id(it.charge);
            it.attribution.write(out);
            out.option(it.metered.as_ref(), write_metered);
            out.option(it.occurred_at, Writer::time);
            out.option(it.key, Writer::id);
            out.time(it.period);
        }
        Event::Hold(it) => {
            out.id(it.hold);
            it.attribution.write(out);
            out.time(it.deadline);
            out.option(it.key, Writer::id);
            out.time(it.period);
        }
        Event::Capture(it) => {
            out.id(it.charge);
            out.id(it.hold);
            out.option(it.metered.as_ref(), write_metered);
        }
        Event::Release { hold } | Event::HoldLapsed { hold } => out.id(*hold),
        Event::Refund(it) => {
            out.id(it.refund);
            out.id(it.charge);
            out.credits(it.refunded_after);
        }
        Event::Expire { lot } | Event::Void { lot } => out.id(*lot),
        Event::Erase { member } => out.option(*member, Writer::id),
        Event::Debt(it) | Event::DebtReversed(it) => {
            out.id(it.lot);
            out.id(it.payment);
            out.credits(it.owed);
            out.credits(it.debt_after);
        }
        Event::DebtPaid { lot, debt_after } => {
            out.id(*lot);
            out.credits(*debt_after);
        }
    }
}

fn read_event(input: &mut Reader<'_>, kind: EntryKind) -> Result<Event, Malformed> {
    Ok(match kind {
        EntryKind::Grant => Event::Grant { lot: input.id("lot")?, terms: Arc::new(LotTerms::read(input)?) },
        EntryKind::Charge => Event::Charge(ChargeEvent {
            charge: input.id("charge")?,
            attribution: Attribution::read(input)?,
            metered: input.option("components", read_metered)?,
            occurred_at: input.option("occurred_at", |it| it.time("occurred_at"))?,
            key: input.option("key", |it| it.id("key"))?,
            period: input.time("period")?,
        }),
        EntryKind::Hold => Event::Hold(HoldEvent {
            hold: input.id("hold")?,
            attribution: Attribution::read(input)?,
            deadline: input.time("deadline")?,
            key: input.option("key", |it| it.id("key"))?,
            period: input.time("period")?,
        }),
        EntryKind::Capture => Event::Capture(CaptureEvent {
            charge: input.id("charge")?,
            hold: input.id("hold")?,
            metered: input.option("components", read_metered)?,
        }),
        EntryKind::Release => Event::Release { hold: input.id("hold")? },
        EntryKind::HoldLapsed => Event::HoldLapsed { hold: input.id("hold")? },
        EntryKind::Refund => Event::Refund(RefundEvent {
            refund: input.id("refund")?,
            charge: input.id("charge")?,
            refunded_after: input.credits("refunded_after")?,
        }),
        EntryKind::Expire => Event::Expire { lot: input.id("lot")? },
        EntryKind::Void => Event::Void { lot: input.id("lot")? },
        EntryKind::Erase => Event::Erase { member: input.option("member", |it| it.id("member"))? },
        EntryKind::Debt => Event::Debt(read_debt(input)?),
        EntryKind::DebtPaid => Event::DebtPaid { lot: input.id("lot")?, debt_after: input.credits("debt_after")? },
        EntryKind::DebtReversed => Event::DebtReversed(read_debt(input)?),
    })
}

fn read_debt(input: &mut Reader<'_>) -> Result<DebtEvent, Malformed> {
    Ok(DebtEvent {
        lot: input.id("lot")?,
        payment: input.id("payment")?,
        owed: input.credits("owed")?,
        debt_after: input.credits("debt_after")?,
    })
}

fn write_metered(out: &mut Writer, metered: &Metered) {
    out.uint(u64::from(metered.catalog_version.get()));
    out.count(metered.components.len());
    for component in &metered.components {
        out.text(component.meter.as_str());
        out.uint(component.quantity.millionths().unsigned_abs());
        out.credits(component.rate);
        out.credits(component.amount);
    }
}

fn read_metered(input: &mut Reader<'_>) -> Result<Metered, Malformed> {
    const FIELD: &str = "components";
    let version = u32::try_from(input.uint("catalog_version")?).map_err(|_| Malformed("catalog_version"))?;
    let mut components = Vec::new();
    for _ in 0..input.count(FIELD)? {
        let meter = MeterName::parse(input.text(FIELD)?).map_err(|_| Malformed(FIELD))?;
        let millionths = i64::try_from(input.uint(FIELD)?).map_err(|_| Malformed(FIELD))?;
        components.push(Component {
            meter,
            quantity: Quantity::from_millionths(millionths).map_err(|_| Malformed(FIELD))?,
            rate: input.credits(FIELD)?,
            amount: input.credits(FIELD)?,
        });
    }
    Ok(Metered { components, catalog_version: CatalogVersion::new(version).ok_or(Malformed("catalog_version"))? })
}
