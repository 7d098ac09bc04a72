//! What one service tells the others: events that are written with the change they tell of, and applied once.
//!
//! - [`Outbox`]: appends events in the transaction of the change, and serves them as `EventService`
//! - [`Present`]: a service's present state, told as events to whoever comes late
//! - [`retention`]: forgets what is older than thirty days
//! - [`Consumer`] and [`run`]: follow another service's events, each taking effect once, across crashes and replicas
//! - [`Feed`]: how long ago the source was last heard, and of whom what it told could not be applied; [`aside`]: those events
//!
//! Events are numbered by a counter row that is updated last in a transaction and stays locked until the commit, so
//! the order of numbers is the order of commits and a reader that has seen one number has seen all before it. (A
//! sequence would not do: a number drawn early and committed late is skipped by whoever reads along.)
//!
//! A store that is restored from a backup forgets the numbers it gave out since, and gives them out again for other
//! events. It cannot know; but each cursor names the event it stands at, so the first of Bursar's services that comes
//! back shows the source what it lost. The source then begins a new, later *incarnation*, and whoever comes with a
//! cursor of another one loads a snapshot before going on. Of two words about one thing the later incarnation's holds.
//!
//! What lives here: carrying events, and [`audit`] rows as one. What must not: what any other of them means.

pub mod aside;
pub mod audit;
mod consumer;
mod cursor;
mod feed;
mod follower;
mod incarnation;
pub mod inspection;
mod keeper;
mod outbox;
mod position;
mod present;
pub mod retention;
mod snapshot;
mod tries;
mod watch;

pub use consumer::{Consumer, Following, Unapplied, run};
pub use feed::Feed;
pub use incarnation::{begin_incarnation, incarnation, migrate};
pub use outbox::Outbox;
pub use present::{Nothing, Part, Present};
pub use watch::Watching;

/// How often a stream gives a sign of life.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(5);

/// `FAILED_PRECONDITION`: the events after a cursor are not there, or are not those that followed it.
pub const SNAPSHOT_REQUIRED: &str = "SNAPSHOT_REQUIRED";
