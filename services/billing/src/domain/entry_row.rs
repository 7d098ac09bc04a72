//! The stored form of a ledger entry: flat columns that mean the same in both databases.
//!
//! Only the shape lives here, not SQL. Reading is strict: what this program could not have written
//! is unreadable, and an audit reports it as such.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use bursar_money::{Credits, Quantity};
use bursar_time::Timestamp;

use super::attribution::{Attribution, Labels, ModelName, Note, ProjectName};
use super::command::RequestKey;
use super::entry::{Entry, GrantTerms};

/// A ledger entry as columns. Amounts are micro-credits, times microseconds, ids and JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// [`Entry::seq`].
    pub seq: i64,
    /// [`Entry::kind`], by name.
    pub kind: String,
    /// [`Entry::at`].
    pub at: i64,
    /// [`Entry::amount`].
    pub amount: i64,
    /// [`Entry::available_after`].
    pub available_after: i64,
    /// [`Entry::held_after`].
    pub held_after: i64,
    /// [`Entry::id`].
    pub operation_id: Option<String>,
    /// [`Entry::subject`].
    pub subject: Option<String>,
    /// The attribution's member; the other four are null when this is.
    pub member: Option<String>,
    /// The attribution's project.
    pub project: Option<String>,
    /// The attribution's model.
    pub model: Option<String>,
    /// The attribution's quantity in millionths.
    pub quantity: Option<i64>,
    /// The attribution's labels as a JSON object; null for none.
    pub labels: Option<String>,
    /// [`Entry::occurred_at`].
    pub occurred_at: Option<i64>,
    /// [`Entry::expires_at`].
    pub expires_at: Option<i64>,
    /// A grant's source, by name; the other two are null when this is.
    pub source: Option<String>,
    /// A grant's priority.
    pub priority: Option<i32>,
    /// When a granted lot becomes effective.
    pub effective_at: Option<i64>,
    /// [`Entry::note`].
    pub note: Option<String>,
    /// [`Entry::request_key`].
    pub request_key: Option<String>,
    /// [`Entry::body_hash`].
    pub body_hash: i64,
    /// [`Entry::postings`] as a JSON array of `[lot, remaining, held, spent, expired, voided]`.
    pub postings: String,
    /// [`Entry::hash`], 32 bytes.
    pub hash: Vec<u8>,
}

/// A stored entry that this program cannot have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ledger entry {seq} is unreadable: {column} holds what was never written there")]
pub struct UnreadableEntry {
    /// The entry's number as stored.
    pub seq: i64,
    /// The column.
    pub column: &'static str,
}

impl From<&Entry> for EntryRow {
    fn from(entry: &Entry) -> Self {
        let by = entry.attribution.as_deref();
        Self {
            seq: i64::try_from(entry.seq).unwrap_or(i64::MAX),
            kind: entry.kind.as_str().to_owned(),
            at: entry.at.as_micros(),
            amount: entry.amount.micro(),
            available_after: entry.available_after.micro(),
            held_after: entry.held_after.micro(),
            operation_id: entry.id.map(|id| id.to_string()),
            subject: entry.subject.map(|subject| subject.to_string()),
            member: by.map(|by| by.member.into()),
            project: by.and_then(|by| by.project.as_ref()).map(|project| project.as_str().to_owned()),
            model: by.and_then(|by| by.model.as_ref()).map(|model| model.as_str().to_owned()),
            quantity: by.and_then(|by| by.quantity).map(Quantity::millionths),
            labels: by.map(|by| &by.labels).filter(|labels| !labels.is_empty()).map(json_labels),
            occurred_at: entry.occurred_at.map(Timestamp::as_micros),
            expires_at: entry.expires_at.map(Timestamp::as_micros),
            source: entry.grant.map(|terms| terms.source.as_str().to_owned()),
            priority: entry.grant.map(|terms| terms.priority),
            effective_at: entry.grant.map(|terms| terms.effective_at.as_micros()),
            note: entry.note.as_ref().map(|note| note.as_str().to_owned()),
            request_key: entry.request_key.as_ref().map(|key| key.as_str().to_owned()),
            body_hash: entry.body_hash,
            // Serialising numbers and ids into a string cannot fail; an empty text would be
            // unreadable, never wrong.
            postings: serde_json::to_string(&entry.postings).unwrap_or_default(),
            hash: entry.hash.to_vec(),
        }
    }
}

fn json_labels(labels: &Labels) -> String {
    serde_json::to_string(labels.as_map()).unwrap_or_default()
}

impl TryFrom<EntryRow> for Entry {
    type Error = UnreadableEntry;

    fn try_from(row: EntryRow) -> Result<Self, UnreadableEntry> {
        let bad = |column| UnreadableEntry { seq: row.seq, column };
        let time = |column, micros: i64| Timestamp::from_micros(micros).map_err(|_| bad(column));
        let credits = |column, micro: i64| Credits::from_micro(micro).map_err(|_| bad(column));
        Ok(Self {
            seq: u64::try_from(row.seq).map_err(|_| bad("seq"))?,
            kind: row.kind.parse().map_err(|_| bad("kind"))?,
            at: time("at", row.at)?,
            amount: credits("amount", row.amount)?,
            available_after: credits("available_after", row.available_after)?,
            held_after: credits("held_after", row.held_after)?,
            id: parse(row.operation_id.as_deref()).map_err(|()| bad("operation_id"))?,
            subject: parse(row.subject.as_deref()).map_err(|()| bad("subject"))?,
            attribution: attribution(&row).map_err(bad)?,
            occurred_at: row.occurred_at.map(|at| time("occurred_at", at)).transpose()?,
            expires_at: row.expires_at.map(|at| time("expires_at", at)).transpose()?,
            grant: terms(&row).map_err(bad)?,
            note: row.note.as_deref().map(Note::parse).transpose().map_err(|_| bad("note"))?,
            request_key: row.request_key.as_deref().map(RequestKey::from_stored),
            body_hash: row.body_hash,
            postings: serde_json::from_str(&row.postings).map_err(|_| bad("postings"))?,
            hash: row.hash.as_slice().try_into().map_err(|_| bad("hash"))?,
        })
    }
}

fn parse<T: FromStr>(text: Option<&str>) -> Result<Option<T>, ()> {
    text.map(|text| text.parse().map_err(|_| ())).transpose()
}

fn attribution(row: &EntryRow) -> Result<Option<Arc<Attribution>>, &'static str> {
    let project = row.project.as_deref().map(ProjectName::parse).transpose().map_err(|_| "project")?;
    let model = row.model.as_deref().map(ModelName::parse).transpose().map_err(|_| "model")?;
    let quantity = row.quantity.map(Quantity::from_millionths).transpose().map_err(|_| "quantity")?;
    let labels = row
        .labels
        .as_deref()
        .map(serde_json::from_str::<BTreeMap<String, String>>)
        .transpose()
        .map_err(|_| "labels")?
        .unwrap_or_default();
    let labels = Labels::parse(labels).map_err(|_| "labels")?;
    match parse(row.member.as_deref()).map_err(|()| "member")? {
        Some(member) => Ok(Some(Arc::new(Attribution { member, project, model, quantity, labels }))),
        None if project.is_none() && model.is_none() && quantity.is_none() && labels.is_empty() => Ok(None),
        None => Err("member"),
    }
}

fn terms(row: &EntryRow) -> Result<Option<GrantTerms>, &'static str> {
    match (row.source.as_deref(), row.priority, row.effective_at) {
        (None, None, None) => Ok(None),
        (Some(source), Some(priority), Some(effective_at)) => Ok(Some(GrantTerms {
            source: source.parse().map_err(|_| "source")?,
            priority,
            effective_at: Timestamp::from_micros(effective_at).map_err(|_| "effective_at")?,
        })),
        _ => Err("source"),
    }
}
