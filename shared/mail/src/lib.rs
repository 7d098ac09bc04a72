//! Mail that is sent exactly when the change it tells of is committed.
//!
//! [`queue`] writes a mail into the caller's transaction, sealed, because its links carry tokens that exist nowhere
//! else in clear. A [`Courier`] in the background delivers what is queued through a [`Transport`]: SMTP, or `.eml` files in
//! the data directory.
//!
//! Delivery is **at least once**. A courier that dies after the post office took the mail and before it is struck off
//! the queue delivers it again; the `Message-ID` stays the same, so that most mail programs show it once. As a file it is
//! written to the same name again.
//!
//! What lives here: queueing and delivering. What must not: what a mail says (that is its service's business).

mod courier;
mod letter;
mod queue;
mod transport;

pub use courier::Courier;
pub use letter::{Mail, MailError};
pub use queue::queue;
pub use transport::Transport;
