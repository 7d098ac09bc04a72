//! The combining lane: how many callers spend from one pool at once without queueing on a row lock.
//!
//! Requests wait in a few bounded queues (*lanes*, chosen by a hash of the owner). A lane takes
//! whatever is waiting, up to a limit, and runs it as **one** transaction: lock the accounts, load
//! what the requests need, let the pure engine ([`crate::domain`]) decide each in the order of
//! arrival, write everything that they changed with one statement, commit, answer each. The result equals
//! some serial order; a single waiting request takes the same path, so a lone caller waits for
//! nobody. Several replicas stay exact, because the row locks stay.
//!
//! That is a batch as `batch` carries it out. Since one account is usually asked again and again, a
//! lane also remembers how its batches left their accounts (`warm`): what can be decided on them is
//! decided while the transaction before is still under way, and then only written, by a statement that
//! locks the rows, finds them as they were remembered, and otherwise does nothing. A lane has a thread of its own (`thread`).
//!
//! | phase | what is locked | round trips to PostgreSQL | what bounds it |
//! |---|---|---|---|
//! | wait in a queue (`queue`) | nothing | 0 | `waiting` requests over all lanes; one more is answered OVERLOADED |
//! | decide in memory (`warm`) | nothing | 0 | accounts remembered (`warm` in the settings), requests that need nothing else |
//! | write what was decided | the batch's accounts, in the order of owners, within the one statement | 1; where one is refused under a name, or something is told: BEGIN, a look at the names refused, the statement, what is told (below), COMMIT | `batch` requests |
//! | an ordinary batch (`batch`): lock, load, decide, write, commit | the batch's accounts, until the commit | BEGIN, lock, live lots, one load for each kind of thing that something in it needs (about a dozen), write, what is told (below), COMMIT | `batch` requests |
//! | halves, after a batch failed as a whole (`shared`) | the accounts of a part | as an ordinary batch, each | twice the accounts that fail, times how often a batch can be halved |
//! | apart (`aside`): accounts in arrears, locked by somebody else, or failing | one account at a time, on other connections | as an ordinary batch; one more for each 1,000 holds that lapse | the account's own requests |
//!
//! What is told in the same transaction has round trips of its own: one for each account that a top-up's job is to look at, one
//! for all audit rows, and one for all events (alerts, and each audit row's).
//!
//! | file | what it does |
//! |---|---|
//! | `job` | what goes in and what comes out |
//! | `queue`, `places` | the bounded queues, the way to them, and an owner's share of their places |
//! | `turns`, `share` | whose request comes next, and how much of a transaction one owner may have beside others |
//! | `run` | the loop: take, decide what can be decided, begin the next transaction |
//! | `shared` | a transaction, and who is to blame when it fails |
//! | `aside` | accounts that are carried out apart from the others |
//! | `batch`, `load` | an ordinary batch: load, decide, write |
//! | `limits` | what decisions need of the accounts' limits, and the alerts that come of them |
//! | `allowances` | what is used of allowances, where somebody wants to be told and nobody has counted |
//! | `top_ups` | accounts that fell below what their top-up wants, and the job that looks at them |
//! | `audit_rows` | the audit rows of what is no spending, beside its entries in the ledger |
//! | `known`, `warm` | accounts remembered; decisions prepared on them, and whether they still count |
//! | `rules` | the deployment's rules, replaced as a whole |
//! | `thread`, `metrics` | where a lane runs; what it tells operators |
//!
//! What must not live here: rules about credits (they are in the domain; a lane knows what a request needs and what
//! changes) and SQL (it is in the store).

mod allowances;
mod aside;
mod audit_rows;
mod batch;
mod job;
mod known;
mod limits;
mod load;
mod metrics;
mod places;
mod queue;
mod rules;
mod run;
mod share;
mod shared;
#[cfg(test)]
mod tests;
mod thread;
mod top_ups;
mod turns;
mod warm;

pub use batch::Batcher;
pub use job::{Answer, Job, Overloaded, Refused};
pub(crate) use load::{charges, view, view_with_limits};
pub use queue::{LaneSettings, Lanes};
pub use rules::{RulesHandle, RulesSource};
pub(crate) use top_ups::{TOP_UP, TopUp, look};
