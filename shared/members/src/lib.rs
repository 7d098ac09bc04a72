//! Who may: memberships, policies and standings, as the others' events tell of them, and how fresh that is.
//!
//! - [`Word`], [`standing`]: what somebody is in an organization, when an event and a token may disagree
//! - [`Policy`], [`OwnPolicy`]: what holds for an organization, and what it has set itself
//! - [`Standing`]: whether anybody may act for an organization or a person at all
//! - [`words`], [`policies`], [`standings`]: reading and writing them, for many at once, inside a transaction or outside any
//! - [`people`]: who is suspended, for the stack of each service
//! - [`projection`]: from events to rows, for each service's consumer
//! - [`Members`]: a process's handle on all of it, with the feed's age
//!
//! What lives here: what is known of memberships, policies and standings. What must not: what a role may do
//! (`bursar_rpc::access`), and what a service makes of a stale feed.
//!
//! # In a transaction that decides
//!
//! Read what was told under the same transaction that writes, and let the later word hold:
//!
//! ```
//! # use bursar_db::{DbError, Tx};
//! # use bursar_id::{OwnerId, Role};
//! # use bursar_members::{Policy, Word, policies, standing, words};
//! # use bursar_rpc::UserCaller;
//! async fn role_and_policy(
//!     tx: &mut Tx,
//!     user: &UserCaller,
//!     owner: OwnerId,
//! ) -> Result<(Option<Role>, Option<Policy>), DbError> {
//!     // Both take slices: one round trip however many.
//!     let told = words::named(tx, &[(owner, user.user)]).await?;
//!     let policies = policies::of(tx, &[owner]).await?;
//!     let role = standing(told.get(&(owner, user.user)).copied(), Some(Word::of_token(user)));
//!     Ok((role, policies.of(owner)))
//! }
//! ```

mod credit_unit;
mod json;
mod members;
mod named;
pub mod people;
pub mod policies;
mod policy;
pub mod projection;
mod proto;
mod standing;
pub mod standings;
mod word;
pub mod words;

pub use bursar_rpc::{AdminBilling, BalanceVisibility, UsageVisibility};
pub use credit_unit::{CreditUnit, UnitError, UnitWord};
pub use members::Members;
pub use policy::{
    DeletionGrace, OrganizationCreation, OwnPolicy, PersonalWorkspace, Policy, SecondFactor, Spending, Transfer,
};
pub use proto::PolicyError;
pub use standing::Standing;
pub use word::{Word, standing};
