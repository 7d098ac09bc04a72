//! For whom and for what credits are used: member, project and model; and the free texts that callers add.
//!
//! What somebody says is read by `given`: it is what it seems ([`bursar_text`]), and in NFC, so that two spellings of one name
//! are one name. What is stored is read by `parse`: what an earlier program took stands in ledgers that are read for ever.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bursar_id::UserId;
use bursar_text::TextError;

use super::codec::{Malformed, Reader, Writer};

/// How long a name may be, in bytes; the characters are fewer.
const NAME_BYTES: usize = 128;
/// How long a label's value may be.
const VALUE_BYTES: usize = 256;
/// How many characters a note may have.
const NOTE_CHARACTERS: usize = 500;

/// Why a label, a model name or a note is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributionError {
    /// A model's or project's name outside its form.
    #[error("must be 1 to 128 bytes without control characters or white space at either end")]
    Name,
    /// More labels than [`Labels::MAX`].
    #[error("at most 32 labels are allowed")]
    TooManyLabels,
    /// A label's key outside its form.
    #[error("a label's key is 1 to 64 characters of a-z, A-Z, 0-9, '.', '-', '_' and '/'")]
    LabelKey,
    /// A label's value outside its form.
    #[error("a label's value is at most 256 bytes without control characters")]
    LabelValue,
    /// A note outside its form.
    #[error("a note is at most 500 characters, none of them a control character")]
    Note,
    /// A text that is not what it seems.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// The name of a model as the rate card and the reports know it, such as `veo-3.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

/// A project as its caller names it: a `prj_…` id or a name of the product's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(Arc<str>);

/// What both kinds of names have in common.
macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// A name as somebody gives it, in its one spelling.
            ///
            /// # Errors
            /// It is outside of the form, or not what it seems.
            pub fn given(text: &str) -> Result<Self, AttributionError> {
                // By its bytes before any work.
                let name = Self::parse(text)?;
                Self::parse(&bursar_text::name(name.as_str(), NAME_BYTES)?)
            }

            /// A stored name. Accepts 1 to 128 bytes without control characters, not beginning or ending with a space.
            pub fn parse(text: &str) -> Result<Self, AttributionError> {
                let fits = !text.is_empty() && is_text(text, NAME_BYTES) && text.trim() == text;
                if fits { Ok(Self(text.into())) } else { Err(AttributionError::Name) }
            }

            /// Whether this stored name, in whatever spelling an earlier program took it, is one that somebody gives.
            pub fn names(&self, given: &Self) -> bool {
                let may_be_spelled_otherwise = !self.0.is_ascii() || self.0.contains("  ");
                self == given || (may_be_spelled_otherwise && Self::given(&self.0).is_ok_and(|it| it == *given))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(ModelName);
name!(ProjectName);

/// Free labels of a charge or hold: what the caller wants to find it by later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// How many labels one charge may carry.
    pub const MAX: usize = 32;

    /// Labels as somebody gives them, the values in NFC.
    ///
    /// # Errors
    /// They are too many, or one is outside of the form or not what it seems.
    pub fn given(labels: BTreeMap<String, String>) -> Result<Self, AttributionError> {
        let Self(mut labels) = Self::parse(labels)?;
        for value in labels.values_mut() {
            *value = bursar_text::line(value, VALUE_BYTES)?;
        }
        Self::parse(labels)
    }

    /// Stored labels. Checks the number of labels, every key and every value.
    pub fn parse(labels: BTreeMap<String, String>) -> Result<Self, AttributionError> {
        if labels.len() > Self::MAX {
            return Err(AttributionError::TooManyLabels);
        }
        for (key, value) in &labels {
            if !is_word(key, 64, ".-_/") {
                return Err(AttributionError::LabelKey);
            }
            if !is_text(value, VALUE_BYTES) {
                return Err(AttributionError::LabelValue);
            }
        }
        Ok(Self(labels))
    }

    /// The labels, sorted by key.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A remark on a grant or a void, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note(Arc<str>);

impl Note {
    /// A remark as somebody makes it, in NFC.
    ///
    /// # Errors
    /// It is too long, or not what it seems.
    pub fn given(text: &str) -> Result<Self, AttributionError> {
        Self::parse(&bursar_text::line(text, NOTE_CHARACTERS)?)
    }

    /// A stored remark, or one of the program's own. Accepts up to 500 characters without control characters.
    pub fn parse(text: &str) -> Result<Self, AttributionError> {
        let fits = text.chars().nth(NOTE_CHARACTERS).is_none() && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.into())) } else { Err(AttributionError::Note) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For whom and for what credits are used.
///
/// A capture, a release and a refund refer to the hold or charge they settle and have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// The member who spends; in a personal account, its user.
    pub member: UserId,
    /// The project the work belongs to.
    pub project: Option<ProjectName>,
    /// The model that did the work.
    pub model: Option<ModelName>,
}

impl Attribution {
    pub(super) fn write(&self, out: &mut Writer) {
        out.id(self.member);
        out.option(self.project.as_ref(), |out, project| out.text(project.as_str()));
        out.option(self.model.as_ref(), |out, model| out.text(model.as_str()));
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            member: input.id("member")?,
            project: input
                .option("project", |it| ProjectName::parse(it.text("project")?).map_err(|_| Malformed("project")))?,
            model: input.option("model", |it| ModelName::parse(it.text("model")?).map_err(|_| Malformed("model")))?,
        })
    }
}

impl Labels {
    pub(super) fn write(&self, out: &mut Writer) {
        out.count(self.0.len());
        for (key, value) in &self.0 {
            out.text(key);
            out.text(value);
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        const FIELD: &str = "labels";
        let mut labels = BTreeMap::new();
        for _ in 0..input.count(FIELD)? {
            let key = input.text(FIELD)?.to_owned();
            // In their order, each once: the one spelling.
            if labels.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Malformed(FIELD));
            }
            labels.insert(key, input.text(FIELD)?.to_owned());
        }
        Self::parse(labels).map_err(|_| Malformed(FIELD))
    }
}

fn is_word(text: &str, max: usize, punctuation: &str) -> bool {
    (1..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c))
}

fn is_text(text: &str, max: usize) -> bool {
    text.len() <= max && !text.chars().any(char::is_control)
}
