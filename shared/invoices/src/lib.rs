//! Mails about invoices and credit notes, when billing tells that there is one: to the address that the billing profile had
//! then, or to whoever the account is for. No event holds an address, so billing is asked for the document; that may take its
//! time, so a job does it, and each document is mailed once.
//!
//! - [`Issued`]: which document of whose, as the job carries it
//! - [`note`]: has a document mailed, in the transaction that takes note of its event
//! - [`Biller`]: does the job
//! - [`Owners`]: what a service says of the owners that it knows: who is told, and how mails are counted
//!
//! What lives here: what the services that know the owners do alike. What must not: how a document is issued and written
//! (that is billing's), and who an owner is (that is each service's own).

mod biller;
mod issued;
mod letter;
mod owners;

pub use biller::Biller;
pub use issued::{Issued, note};
pub use owners::{Addressee, Means, Owners, Subject, Whose};
