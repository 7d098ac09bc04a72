//! Typed identifiers: the names by which Bursar's services, stores and callers speak about things.
//!
//! Every id is a three-letter prefix, an underscore and a `UUIDv7` in lower-case Crockford base32 (the
//! `TypeID` form): `usr_01h455vb4pex5vsknk084sn02q`, always 30 ASCII bytes. The prefix is part of the
//! Rust type, so a charge's id cannot be passed where a hold's is meant, neither in the code nor on
//! the wire.
//!
//! Here live ids and the few words that stand next to them everywhere ([`OwnerId`], [`Role`],
//! [`RequestId`]), their text form and their form in a database (TEXT). What the named things may do
//! does not belong here, and neither do clocks nor randomness: [`Id::from_parts`] takes both.

mod error;
mod kind;
mod owner;
mod request;
mod role;
mod sql;
mod text;
mod typed;

pub use error::{IdError, IdProblem};
pub use kind::{Kind, kinds};
pub use owner::OwnerId;
pub use request::{RequestId, RequestIdError};
pub use role::{Role, RoleError};
pub use text::IdText;
pub use typed::Id;
/// The UUID behind an id; re-exported so that callers need no dependency of their own.
pub use uuid::Uuid;

/// A person with an account (`usr_`).
pub type UserId = Id<kinds::User>;
/// An organization (`org_`).
pub type OrganizationId = Id<kinds::Organization>;
/// An invitation into an organization (`inv_`).
pub type InvitationId = Id<kinds::Invitation>;
/// A project of one owner (`prj_`).
pub type ProjectId = Id<kinds::Project>;
/// An item of a library (`itm_`).
pub type ItemId = Id<kinds::Item>;
/// A signed-in session (`ses_`).
pub type SessionId = Id<kinds::Session>;
/// An API key (`key_`).
pub type ApiKeyId = Id<kinds::ApiKey>;
/// A service account, by which one service calls another (`svc_`).
pub type ServiceAccountId = Id<kinds::ServiceAccount>;
/// A lot of credits (`lot_`).
pub type LotId = Id<kinds::Lot>;
/// A charge (`chg_`).
pub type ChargeId = Id<kinds::Charge>;
/// A hold on credits (`hld_`).
pub type HoldId = Id<kinds::Hold>;
/// A refund of a charge (`ref_`).
pub type RefundId = Id<kinds::Refund>;
/// A limit on spending (`lim_`).
pub type LimitId = Id<kinds::Limit>;
/// A purchase of a pack (`pur_`).
pub type PurchaseId = Id<kinds::Purchase>;
/// A subscription to a plan (`sub_`).
pub type SubscriptionId = Id<kinds::Subscription>;
/// A payment (`pay_`).
pub type PaymentId = Id<kinds::Payment>;
/// A saved payment method (`pmt_`).
pub type PaymentMethodId = Id<kinds::PaymentMethod>;
/// An invoice (`ivc_`).
pub type InvoiceId = Id<kinds::Invoice>;
/// A credit note (`crn_`).
pub type CreditNoteId = Id<kinds::CreditNote>;
/// An event that one service tells the others (`evt_`).
pub type EventId = Id<kinds::Event>;
/// A row of an audit log (`aud_`).
pub type AuditId = Id<kinds::Audit>;
/// A mail waiting to be sent (`eml_`).
pub type MailId = Id<kinds::Mail>;
/// The id of work to be done later.
pub type JobId = Id<kinds::Job>;
