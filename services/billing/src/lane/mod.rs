//! The combining lane: how many callers spend from one pool at once without queueing on a row lock.
//!
//! Requests wait in a few bounded queues (*lanes*, chosen by a hash of the owner). A lane takes
//! whatever is waiting, up to a limit, and runs it as **one** transaction: lock the accounts, load
//! what the requests need, let the pure engine ([`crate::domain`]) decide each in the order of
//! arrival, write everything with one statement per table, commit, answer each. The result equals
//! some serial order; a single waiting request takes the same path, so a lone caller waits for
//! nobody. Several replicas stay exact, because the row locks stay.
//!
//! What lives here: queueing (`queue`) and the batch's choreography (`batch`). What must not:
//! rules about credits (they are in the domain) and SQL (it is in the store).

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
