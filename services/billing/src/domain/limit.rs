//! Limits: how much may be spent by somebody, for something or with something, within one hour, day, month or period.
//!
//! What counts is what was charged and what is reserved: a hold counts in the window that it was made in, and so do its
//! capture, whatever that is above the hold, and a refund. Nothing here knows how much was used; that is `limits`.

use std::collections::HashSet;
use std::fmt;

use bursar_id::{ApiKeyId, Id, LimitId, UserId, Uuid};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp, Zone};

use super::attribution::{Attribution, ModelName, ProjectName};
use super::subscription::Month;

/// Whose or what use is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// What is spent for a member.
    Member(UserId),
    /// What is spent for a project.
    Project(ProjectName),
    /// What is spent with a model.
    Model(ModelName),
    /// What is spent with an API key.
    Key(ApiKeyId),
}

/// What a limit is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitSubject {
    /// Each member for itself, unless the member has a limit of its own for the same window and mode.
    EveryMember,
    /// One in particular.
    One(Subject),
}

/// The stored numbers of the kinds; never renumbered.
mod tag {
    pub(super) const EVERY_MEMBER: u8 = 0;
    pub(super) const MEMBER: u8 = 1;
    pub(super) const PROJECT: u8 = 2;
    pub(super) const MODEL: u8 = 3;
    pub(super) const KEY: u8 = 4;
}

impl Subject {
    /// The stored form: a byte for the kind, then the id or the name.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Member(user) => (tag::MEMBER, user.as_uuid().as_bytes().to_vec()),
            Self::Project(name) => (tag::PROJECT, name.as_str().as_bytes().to_vec()),
            Self::Model(name) => (tag::MODEL, name.as_str().as_bytes().to_vec()),
            Self::Key(key) => (tag::KEY, key.as_uuid().as_bytes().to_vec()),
        };
        let mut bytes = Vec::with_capacity(name.len() + 1);
        bytes.push(kind);
        bytes.extend(name);
        bytes
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, name) = bytes.split_first()?;
        let text = || std::str::from_utf8(name).ok();
        Some(match *kind {
            tag::MEMBER => Self::Member(Id::from_uuid(Uuid::from_slice(name).ok()?)),
            tag::PROJECT => Self::Project(ProjectName::parse(text()?).ok()?),
            tag::MODEL => Self::Model(ModelName::parse(text()?).ok()?),
            tag::KEY => Self::Key(Id::from_uuid(Uuid::from_slice(name).ok()?)),
            _ => return None,
        })
    }
}

impl LimitSubject {
    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::EveryMember => vec![tag::EVERY_MEMBER],
            Self::One(subject) => subject.to_bytes(),
        }
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes == [tag::EVERY_MEMBER] { Some(Self::EveryMember) } else { Subject::from_bytes(bytes).map(Self::One) }
    }

    /// Whose use of this work it is about; `None` when the work is none of it.
    pub fn of(&self, work: &Attribution, key: Option<ApiKeyId>) -> Option<Subject> {
        match self {
            Self::EveryMember => Some(Subject::Member(work.member)),
            Self::One(subject) => subject.does(work, key).then(|| subject.clone()),
        }
    }
}

impl Subject {
    fn does(&self, work: &Attribution, key: Option<ApiKeyId>) -> bool {
        match self {
            Self::Member(user) => work.member == *user,
            Self::Project(name) => work.project.as_ref() == Some(name),
            Self::Model(name) => work.model.as_ref() == Some(name),
            Self::Key(id) => key == Some(*id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(user) => write!(f, "member:{user}"),
            Self::Project(name) => write!(f, "project:{name}"),
            Self::Model(name) => write!(f, "model:{name}"),
            Self::Key(key) => write!(f, "api_key:{key}"),
        }
    }
}

impl fmt::Display for LimitSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryMember => f.write_str("every_member"),
            Self::One(subject) => subject.fmt(f),
        }
    }
}

/// Over which time use adds up. The numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LimitWindow {
    /// An hour of UTC.
    Hour = 1,
    /// A day of the account's time zone.
    Day = 2,
    /// A calendar month of the account's time zone.
    Month = 3,
    /// The billing period.
    Period = 4,
}

impl LimitWindow {
    /// Every window, in the order of the API's enum.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::Period];

    /// The API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Month => "MONTH",
            Self::Period => "PERIOD",
        }
    }

    /// Whether the account's time zone says where it begins.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Day | Self::Month)
    }

    /// The window that is open at `now`, in the billing period `period`.
    pub fn open(self, now: Timestamp, period: Month, zone: &Zone) -> Open {
        let (starts_at, ends_at) = match self {
            Self::Hour => (now.start_of_hour(), now.start_of_hour().saturating_add(Span::HOUR)),
            Self::Day => zone.day(now),
            Self::Month => zone.month(now),
            Self::Period => (period.start, period.end),
        };
        Open { starts_at, ends_at }
    }

    /// Where the window begins that something counts in.
    pub fn start_of(self, made: Moment, zone: &Zone) -> Timestamp {
        match self {
            Self::Hour => made.at.start_of_hour(),
            Self::Day => zone.day(made.at).0,
            Self::Month => zone.month(made.at).0,
            Self::Period => made.period,
        }
    }
}

/// A window's first instant, and the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends, and the use of the next begins with nothing.
    pub ends_at: Timestamp,
}

impl Open {
    /// By when another billing period is over than this one, which is open. One before it was where this one began. One that began
    /// later was ended by a plan that moved in, whose month had begun before: nobody knows when, but this one ends after it.
    pub(super) fn end_of_other(&self, starts_at: Timestamp) -> Timestamp {
        if starts_at < self.starts_at { self.starts_at } else { self.ends_at }
    }
}

impl Open {
    /// Whether it is open at `at`.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.starts_at <= at && at < self.ends_at
    }
}

/// When something was made that counts: a charge, or the hold that it settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// When it was booked.
    pub at: Timestamp,
    /// When the billing period began that it counts in.
    pub period: Timestamp,
}

/// What happens at a limit. The numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LimitMode {
    /// What would go above it is refused.
    Hard = 1,
    /// It only tells.
    Warn = 2,
}

impl LimitMode {
    /// Every mode, in the order of the API's enum.
    pub const ALL: [Self; 2] = [Self::Hard, Self::Warn];

    /// The API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "HARD",
            Self::Warn => "WARN",
        }
    }
}

/// At which percentages of a limit an alert is told: in order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Percents(Vec<u16>);

/// Percentages that nobody can be alerted at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// Too many.
    #[error("must be at most {} percentages", Percents::MAX)]
    TooMany,
    /// One of them is out of range.
    #[error("must be percentages from 1 to {}", Percents::GREATEST)]
    OutOfRange,
    /// One of them comes twice.
    #[error("must name each percentage once")]
    Repeated,
}

impl Percents {
    /// How many there may be.
    pub const MAX: usize = 16;
    /// The greatest: ten times what was set.
    pub const GREATEST: u16 = 1_000;

    /// Checks them and puts them in order.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(percents: &[u32]) -> Result<Self, PercentError> {
        if percents.len() > Self::MAX {
            return Err(PercentError::TooMany);
        }
        let mut sorted = Vec::with_capacity(percents.len());
        for percent in percents {
            let percent = u16::try_from(*percent).map_err(|_| PercentError::OutOfRange)?;
            if !(1..=Self::GREATEST).contains(&percent) {
                return Err(PercentError::OutOfRange);
            }
            sorted.push(percent);
        }
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) { Err(PercentError::Repeated) } else { Ok(Self(sorted)) }
    }

    /// Where nothing else is said: all of it.
    pub fn whole() -> Self {
        Self(vec![100])
    }

    /// The percentages in order.
    pub fn as_slice(&self) -> &[u16] {
        &self.0
    }

    /// Those of `amount` that use reaches when it goes from `before` to `after`.
    pub fn crossed(&self, amount: Credits, before: i64, after: i64) -> Vec<u16> {
        let reaches =
            |used: i64, percent: u16| i128::from(used) * 100 >= i128::from(amount.micro()) * i128::from(percent);
        let crossed = |percent: &u16| !reaches(before, *percent) && reaches(after, *percent);
        self.0.iter().copied().filter(crossed).collect()
    }
}

/// A limit of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its id. Setting it again keeps it.
    pub id: LimitId,
    /// What it is about.
    pub subject: LimitSubject,
    /// Over which time use adds up.
    pub window: LimitWindow,
    /// What happens there.
    pub mode: LimitMode,
    /// How much may be used in one window; nothing at all with zero.
    pub amount: Credits,
    /// When an alert is told.
    pub alerts: Percents,
}

/// All limits of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitSet {
    limits: Vec<Limit>,
    zone: Zone,
    /// Members whose own limit stands in every member's place.
    own: HashSet<(UserId, LimitWindow, LimitMode)>,
}

impl LimitSet {
    /// These limits, of an account whose days and months begin as in `zone`.
    pub fn new(limits: Vec<Limit>, zone: Zone) -> Self {
        let own = limits.iter().filter_map(|limit| match &limit.subject {
            LimitSubject::One(Subject::Member(user)) => Some((*user, limit.window, limit.mode)),
            _ => None,
        });
        let own = own.collect();
        Self { limits, zone, own }
    }

    /// The limits.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Where the account's days and months begin.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Whether a limit speaks of `subject`, and no other limit in its place.
    pub fn governs(&self, limit: &Limit, subject: &Subject) -> bool {
        match (&limit.subject, subject) {
            (LimitSubject::EveryMember, Subject::Member(user)) => {
                !self.own.contains(&(*user, limit.window, limit.mode))
            }
            (LimitSubject::One(one), subject) => one == subject,
            (LimitSubject::EveryMember, _) => false,
        }
    }

    /// The limits that apply to some work, each with whose use it is about. All of them hold.
    pub fn applying<'a>(
        &'a self,
        work: &'a Attribution,
        key: Option<ApiKeyId>,
    ) -> impl Iterator<Item = (&'a Limit, Subject)> {
        self.limits.iter().filter_map(move |limit| {
            let subject = limit.subject.of(work, key)?;
            self.governs(limit, &subject).then_some((limit, subject))
        })
    }

    /// Whether use of `subject` in such windows is counted already, by whichever limit.
    pub fn counts(&self, subject: &LimitSubject, window: LimitWindow) -> bool {
        let covers = |limit: &Limit| match (&limit.subject, subject) {
            (LimitSubject::EveryMember, LimitSubject::One(Subject::Member(_))) => true,
            (has, asked) => has == asked,
        };
        self.limits.iter().any(|limit| limit.window == window && covers(limit))
    }
}
