//! Points in time, spans of time, the calendar, and the clock.
//!
//! [`Timestamp`] and [`Span`] are plain values (microseconds, UTC) for everybody, the pure rules
//! included. [`Clock`] is where the time comes from, and the only place that reads the system's: rules
//! and stores take a [`Timestamp`] as a parameter instead. When something happens (renewals, expiry) is
//! decided elsewhere. [`Zone`] says where days and months begin. [`Monotonic`] is what spans are measured by that no clock may stretch.

mod calendar;
mod clock;
mod doubt;
mod lasting;
mod monotonic;
mod span;
mod sql;
mod system;
mod timestamp;
mod zone;

pub use clock::{Clock, ClockChanges, ClockError};
pub use doubt::{Doubt, Reading};
pub use lasting::{BELIEVED_AHEAD, MOST_DIFFERENCE, furthest_end, has_begun, lasts, latest_beginning};
pub use monotonic::Monotonic;
pub use span::{CLOCKS_APART, Span, SpanError};
pub use timestamp::{Timestamp, TimestampError};
pub use zone::{UnknownZone, Zone};
