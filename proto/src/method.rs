//! The access rules of the RPCs, as a table made from the method options when this crate is built.
//!
//! Only the table: who a caller is and whether a role has a permission is decided where requests are served.

use crate::access::v1::{Acting, CallerKind, Permission};

/// What calling an RPC twice does, by its standard option `idempotency_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// The second call may take effect again: never repeat it unasked.
    Unknown,
    /// It only reads: safe to repeat.
    NoSideEffects,
    /// It changes something once: safe to repeat as it is. Where the request has a `request_id`, only with one that is
    /// not empty, unless the RPC's comment says that it is idempotent without.
    Idempotent,
}

/// Who may call one RPC, and how it may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of its own in the rule of an RPC")]
pub struct MethodRule {
    /// The kinds of caller that are admitted.
    pub callers: &'static [CallerKind],
    /// What a user must be allowed to do.
    pub permission: Permission,
    /// The roles of service accounts that are admitted.
    pub service_roles: &'static [&'static str],
    /// Whether a user must have proved who it is within the last ten minutes.
    pub recent_authentication: bool,
    /// What an operator may do who acts for a user.
    pub acting: Acting,
    /// Whether a secret in the request proves which service calls, so that no token has to.
    pub proven_by_secret: bool,
    /// What calling it twice does.
    pub idempotency: Idempotency,
    /// Whether the server answers with a stream.
    pub server_streaming: bool,
    /// Whether the client sends a stream.
    pub client_streaming: bool,
}

impl MethodRule {
    /// Whether callers of this kind are admitted.
    pub fn admits(&self, kind: CallerKind) -> bool {
        self.callers.contains(&kind)
    }
}

/// Every RPC of the bursar packages by its path (`/bursar.billing.v1.CreditService/Charge`), sorted by it, with its rule.
/// `None` is an RPC that declares no rule and is refused; a test keeps the table free of it.
pub static METHODS: &[(&str, Option<MethodRule>)] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The rule of the RPC at a path; `None` for an unknown path and for an RPC without a rule.
pub fn rule(path: &str) -> Option<&'static MethodRule> {
    let index = METHODS.binary_search_by_key(&path, |(path, _)| path).ok()?;
    METHODS.get(index)?.1.as_ref()
}
