//! Work that is done later, durably: enqueued in the transaction it belongs to, done at least once.
//!
//! [`Jobs::enqueue`] writes a job into the caller's transaction, so there is a job if and only if the change it belongs
//! to was committed. A [`Runner`] in each replica takes what is due and hands it to the [`Work`] of its [`Kind`]. The
//! payload is sealed, because it may hold addresses and tokens.
//!
//! - **Lease.** A job that was taken is out of the other replicas' sight for as long as its work may take and a bit more
//!   ([`Terms::limit`]). A replica that dies leaves it to lapse; then the job is taken again. So work is done **at least**
//!   once: it is idempotent, or it has its effect in the transaction that finishes the job ([`Lease::finish`]), which is
//!   then exactly once.
//! - **Failure.** Work that fails is tried again after a wait that doubles, with jitter, up to [`Terms::longest_wait`].
//!   After [`Terms::attempts`], or at once when it can never succeed, the job is a **dead letter**: it is counted
//!   (`bursar.jobs.dead`), logged as an error, listed by [`Jobs::dead_letters`], and tried again when an operator says so
//!   ([`Jobs::retry`]). Dead letters are kept for [`KEEP_DEAD`].
//! - **Housekeeping.** [`Runner::every`] does something once in a period over all replicas, [`Runner::here`] in each
//!   replica for itself.
//! - **Releases.** A runner takes only the kinds it knows; what a newer program has enqueued waits for a newer one.
//!
//! Times are the clock's: a test clock that leaps makes everything due that has become so.
//!
//! What lives here: the table `jobs` and who works on it. What must not: what any job does.

mod backoff;
mod desk;
mod housekeeping;
mod job;
mod letters;
mod meters;
mod queue;
mod runner;
mod store;
mod work;

pub use job::{Kind, Terms};
pub use letters::DeadLetter;
pub use queue::Jobs;
pub use runner::Runner;
pub use store::KEEP_DEAD;
pub use work::{Failure, Lease, Next, Work};
