//! What one service tells the others: events that are written with the change they tell of, and applied once.
//!
//! - [`Outbox`]: appends events in the transaction of the change, and serves them as `EventService.Watch`
//! - [`Consumer`] and [`run`]: follow another service's events, each taking effect once, across crashes and replicas
//!
//! Events are numbered by a counter row that is updated last in a transaction and stays locked until the commit, so
//! the order of numbers is the order of commits and a reader that has seen one number has seen all before it. (A
//! sequence would not do: a number drawn early and committed late is skipped by whoever reads along.)
//!
//! What lives here: carrying events, and [`audit`] rows as one. What must not: what any other of them means.

pub mod audit;
mod consumer;
mod cursor;
mod outbox;
mod watch;

pub use consumer::{Consumer, run};
pub use outbox::Outbox;
pub use watch::Watching;

/// How often a stream gives a sign of life.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(5);
