//! Holds: credits reserved for work in progress.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::attribution::Attribution;
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

/// A reservation of credits, earmarked lot by lot.
///
/// It outlives the period, the expiry of its lots and its member's removal; only capture, release
/// and its own deadline end it. Whichever comes first wins, and the others find it settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The hold's id.
    pub id: HoldId,
    /// How much was reserved.
    pub amount: Credits,
    /// What has become of it.
    pub state: HoldState,
    /// The first instant at which it is no longer held.
    pub deadline: Timestamp,
    /// Which lots the credits were reserved on, in burn order; they add up to `amount`.
    pub earmarks: Vec<Allocation>,
    /// For whom and for what.
    pub attribution: Arc<Attribution>,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it left the state `Open`.
    pub settled_at: Option<Timestamp>,
    /// What its capture charged: zero unless captured; above `amount` only with `allow_excess`.
    pub captured: Credits,
    /// The charge that its capture made.
    pub charge: Option<ChargeId>,
}
