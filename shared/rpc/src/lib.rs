//! What every RPC has in common, on the server's side and on the client's.
//!
//! - [`stack()`]: the layers around a service's handlers, applied by one function, in process and over
//!   the network alike
//! - [`Caller`], [`access`], [`authentication`], [`token`], [`KeySet`]: who is calling, and what a role may do
//! - [`Suspended`]: whom operators have suspended: refused before anything else
//! - [`Transport`], [`ServiceTokens`], [`retry`]: calling other services, with deadline, trace and
//!   credentials
//! - [`Problem`], [`Violations`]: refusals, and the one way from them to a gRPC status
//! - [`mutation`], [`IdempotencyKey`]: the one way of every call that changes something, and by what it takes effect once
//! - [`page`], [`convert`], [`document`]: lists, the API's common types
//! - [`has_room`], [`has_room_within`]: how much of what all share one of them may take
//!
//! What a service decides does not belong here, and neither do ports, signals and configuration
//! (`bursar-runtime`).

pub mod access;
pub mod asked;
pub mod authentication;
mod cache;
pub mod caller;
pub mod convert;
pub mod document;
pub mod idempotent;
pub mod keys;
mod looks;
pub mod mutation;
pub mod origin;
pub mod page;
pub mod peer;
pub mod problem;
mod refusals;
mod share;
pub mod stack;
mod strict;
mod suspended;
pub mod token;
pub mod transport;
mod unstated;
mod violations;

pub use access::{AccessPolicy, AdminBilling, BalanceVisibility, UsageVisibility};
pub use asked::{Asked, Call, Kept, Stored};
pub use authentication::{AuthMethod, AuthMethods, Branch, KeyGrant};
pub use bursar_proto::access::v1::Permission;
pub use caller::{Caller, Party, ServiceCaller, ServiceRole, UserCaller};
pub use idempotent::IdempotencyKey;
pub use keys::{KeySet, PublicKeys};
pub use mutation::{Answer, Begun, Done, Looked, Mutation, Mutations, Publish, Refusing};
pub use origin::{Origin, Site, TrustedProxies};
pub use page::{ListKey, Page, PageKey, PageRequest};
pub use peer::{ServiceTokens, persist, retry};
pub use problem::{Problem, reason};
pub use share::{has_room, has_room_within};
pub use stack::{Limits, StackDeps, stack};
pub use suspended::Suspended;
pub use transport::context::on_behalf;
pub use transport::{CallContext, LateRoutes, PeerTls, Transport};
pub use violations::Violations;

/// The largest message, in bytes, that a service takes or gives; set it on every server and client with
/// `max_decoding_message_size` and `max_encoding_message_size` (encoding is unlimited by default).
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;
