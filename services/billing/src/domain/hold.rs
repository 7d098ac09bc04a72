//! Holds: credits reserved for work in progress.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::actor::Actor;
use super::attribution::{Attribution, Labels};
use super::codec::{Malformed, Reader, Unreadable, Writer};
use super::limit::Moment;
use super::lot::Allocation;
use super::refusal::Inconsistent;

/// What has become of a hold. Every state but `Open` is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldState {
    /// The credits are reserved.
    Open,
    /// Settled by a capture.
    Captured,
    /// Given back by its caller.
    Released,
    /// Gave itself back because its deadline passed.
    Lapsed,
}

impl HoldState {
    /// Every state, in the order of the API's enum.
    pub const ALL: [Self; 4] = [Self::Open, Self::Captured, Self::Released, Self::Lapsed];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Captured => "CAPTURED",
            Self::Released => "RELEASED",
            Self::Lapsed => "LAPSED",
        }
    }
}

impl fmt::Display for HoldState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HoldState {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(Inconsistent("a hold has an unknown state"))
    }
}

/// What was agreed about a hold when it was placed; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldTerms {
    /// How much was reserved.
    pub amount: Credits,
    /// Which lots the credits were reserved on, in burn order; they add up to `amount`.
    pub earmarks: Vec<Allocation>,
    /// For whom and for what.
    pub attribution: Attribution,
    /// Who placed it: whose token may settle it.
    pub placed_by: Actor,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When the period began in which it was placed.
    pub period: Timestamp,
}

impl HoldTerms {
    /// When it counts in limits, and everything that settles it.
    pub fn moment(&self) -> Moment {
        Moment { at: self.created_at, period: self.period }
    }

    const FORMAT: u8 = 1;

    /// The stored form, beside what changes about a hold.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        out.byte(Self::FORMAT);
        out.credits(self.amount);
        out.count(self.earmarks.len());
        for earmark in &self.earmarks {
            out.id(earmark.lot);
            out.credits(earmark.amount);
        }
        self.attribution.write(&mut out);
        self.placed_by.write(&mut out);
        out.time(self.created_at);
        out.time(self.period);
        out.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// A later program wrote it, or none did.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        Reader::whole(bytes, Self::FORMAT, Self::read)
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let amount = input.credits("amount")?;
        let mut earmarks = Vec::new();
        for _ in 0..input.count("earmarks")? {
            earmarks.push(Allocation { lot: input.id("earmark")?, amount: input.credits("earmark")? });
        }
        Ok(Self {
            amount,
            earmarks,
            attribution: Attribution::read(input)?,
            placed_by: Actor::read(input)?,
            created_at: input.time("created_at")?,
            period: input.time("period")?,
        })
    }
}

/// A reservation of credits, earmarked lot by lot.
///
/// It outlives the period, the expiry of its lots and its member's removal; only capture, release
/// and its own deadline end it. Whichever comes first wins, and the others find it settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The hold's id.
    pub id: HoldId,
    /// The number of the entry that placed it.
    pub number: u64,
    /// What was agreed; shared, because holds are copied with every change.
    pub terms: Arc<HoldTerms>,
    /// The caller's own labels; none once they were erased.
    pub labels: Labels,
    /// What has become of it.
    pub state: HoldState,
    /// The first instant at which it is no longer held.
    pub deadline: Timestamp,
    /// When it left the state `Open`.
    pub settled_at: Option<Timestamp>,
    /// What its capture charged: zero unless captured; above `amount` only with `allow_excess`.
    pub captured: Credits,
    /// The charge that its capture made.
    pub charge: Option<ChargeId>,
}
