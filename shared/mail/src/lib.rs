//! Mail that is sent exactly when the change it tells of is committed.
//!
//! [`queue`] enqueues a mail as a job in the caller's transaction; jobs are sealed, and links carry tokens that exist
//! nowhere else in clear. A [`Courier`] delivers what is queued through a [`Transport`]: SMTP, or `.eml` files in the
//! data directory. Waits, attempts and dead letters are those of `bursar-jobs`.
//!
//! What comes by the thousand, such as invoices when many renew at once, is queued by [`queue_bulk`], as jobs of a kind of
//! its own: two are delivered at once, and no other mail waits for them.
//!
//! Delivery is **at least once**. If a process dies after the post office took the mail and before the job is finished,
//! it is delivered again; the `Message-ID` stays the same, so that most mail programs show it once. As a file it is
//! written to the same name again.
//!
//! Beside each mail stand two keyed prints: of its recipient, so that [`forget`] takes off what is for an address whose holder is
//! gone, and of its owner, so that [`forget_owned`] takes off what is of an organization or a person that has ended, whatever
//! address it is for.
//!
//! What lives here: queueing and delivering, and how a name or an address that somebody chose is repeated ([`quoted`],
//! [`quoted_address`]). What must not: what a mail says (that is its service's business).

mod courier;
mod letter;
mod quote;
mod transport;

pub use courier::{Courier, forget, forget_owned, queue, queue_bulk};
pub use letter::{Mail, MailError};
pub use quote::{quoted, quoted_address};
pub use transport::Transport;
