//! The combining lane: how many callers spend from one pool at once without queueing on a row lock.
//!
//! Requests wait in a few bounded queues (*lanes*, chosen by a hash of the owner). A lane takes
//! whatever is waiting, up to a limit, and runs it as **one** transaction: lock the accounts, load
//! what the requests need, let the pure engine ([`crate::domain`]) decide each in the order of
//! arrival, write everything with one statement per table, commit, answer each. The result equals
//! some serial order; a single waiting request takes the same path, so a lone caller waits for
//! nobody. Several replicas stay exact, because the row locks stay.
//!
//! That is a batch as `batch` carries it out. Since one account is usually asked again and again, a
//! lane also remembers how its batches left their accounts (`warm`): what can be decided on them is
//! decided while the transaction before is still under way, and then only written, after the rows have
//! been locked and found as they were remembered. A lane has a thread of its own (`thread`).
//!
//! | file | what it does |
//! |---|---|
//! | `queue` | the bounded queues, and the way to them |
//! | `run` | the loop: take, decide what can be decided, begin the next transaction |
//! | `batch`, `load`, `save` | one transaction: load, decide, write |
//! | `warm` | accounts remembered, decisions prepared, and whether they still count |
//! | `thread`, `metrics` | where a lane runs; what it tells operators |
//!
//! What must not live here: rules about credits (they are in the domain) and SQL (it is in the store).

mod batch;
mod load;
mod metrics;
mod queue;
mod run;
mod save;
#[cfg(test)]
mod tests;
mod thread;
mod warm;

pub(crate) use batch::apply;
pub use batch::{Acting, Answer, Batcher, Job, Refused, Spender};
pub(crate) use load::{charges, view};
pub use queue::{LaneSettings, Lanes, Overloaded};
