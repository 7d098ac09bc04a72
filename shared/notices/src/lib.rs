//! Mails about what billing tells of an account, to whom the services name that know its owner.
//!
//! Invoices and credit notes go to the address that the billing profile had when there was one, or to whoever the account is
//! for. No event holds an address, so billing is asked for the document; that may take its time, so a job does it, and each
//! document is mailed once.
//!
//! - [`Issued`]: which document of whose, as the job carries it
//! - [`note`]: has a document mailed, in the transaction that takes note of its event
//! - [`Biller`]: does the job
//! - [`Owners`]: what a service says of the owners that it knows: who is told, and how mails are counted
//!
//! Everything else is in its event, and mailed in the transaction that takes note of that:
//!
//! - [`Alert`], [`limit_alert`], [`allowance_alert`]: so much of a limit or of an allowance is used, and whether there are [`More`]
//! - [`top_up_stopped`]: an automatic top-up was switched off
//! - [`Reader`]: who reads such a letter, and what credits are called in it
//!
//! What lives here: what the services that know the owners do alike. What must not: how a document is issued and written, and
//! when anything is told (that is billing's), who an owner is, who is told of it and how often (that is each service's own).

mod alerts;
mod biller;
mod issued;
mod letter;
mod owners;
mod reader;
mod stopped;

pub use alerts::{Alert, LimitMail, More, allowance_alert, limit_alert};
pub use biller::Biller;
pub use issued::{Issued, note};
pub use owners::{Means, Owners, Subject};
pub use reader::{Addressee, Reader, Whose};
pub use stopped::top_up_stopped;
