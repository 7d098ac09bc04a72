//! Which RPCs there are: names that are safe as metric labels, and the access rule of each.

use std::collections::HashMap;

use bursar_proto::access::{METHODS, MethodRule};

use super::shapes::{self, Grows};

/// RPCs that every server has for its surroundings: open to anybody, and never shed.
const INFRASTRUCTURE: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// An RPC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    /// `bursar.billing.v1.CreditService/Charge`, or `_OTHER` for one that does not exist.
    pub(super) name: &'static str,
    /// Who may call it.
    pub(super) access: Access,
    /// Where its request may have more in memory than it had on the wire.
    pub(super) grows: Option<Grows>,
}

/// Who may call an RPC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// It belongs to the surroundings.
    Infrastructure,
    /// Whoever its rule names.
    Rule(&'static MethodRule),
    /// Nobody: it is declared without a rule.
    NoRule,
    /// Nobody: it is not declared at all.
    Unknown,
}

impl Method {
    /// Whether the request is a stream.
    pub(super) fn is_sent_a_stream(self) -> bool {
        match self.access {
            Access::Rule(rule) => rule.client_streaming,
            Access::Infrastructure | Access::NoRule | Access::Unknown => false,
        }
    }

    /// Whether the answer is a stream.
    pub(super) fn streams(self) -> bool {
        match self.access {
            Access::Rule(rule) => rule.server_streaming,
            Access::Infrastructure | Access::NoRule | Access::Unknown => false,
        }
    }
}

/// Every RPC by its path.
pub(super) struct Methods(HashMap<&'static str, Method>);

impl Methods {
    /// The table of the RPCs that are declared in this API, and of [`INFRASTRUCTURE`].
    pub(super) fn new() -> Self {
        let declared = METHODS.iter().map(|(path, rule)| (*path, rule.as_ref().map_or(Access::NoRule, Access::Rule)));
        let infrastructure = INFRASTRUCTURE.map(|path| (path, Access::Infrastructure));
        Self::from_paths(declared.chain(infrastructure))
    }

    fn from_paths(paths: impl Iterator<Item = (&'static str, Access)>) -> Self {
        let named = |path: &'static str| path.strip_prefix('/').unwrap_or(path);
        let method = |path, access| Method { name: named(path), access, grows: shapes::grows(path) };
        Self(paths.map(|(path, access)| (path, method(path, access))).collect())
    }

    /// The RPC at a path.
    pub(super) fn find(&self, path: &str) -> Method {
        let unknown = Method { name: "_OTHER", access: Access::Unknown, grows: None };
        self.0.get(path).copied().unwrap_or(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_service_and_method() {
        let methods = Methods::new();
        let get = methods.find("/bursar.testing.v1.ClockService/Get");
        assert_eq!(get.name, "bursar.testing.v1.ClockService/Get");
        assert!(matches!(get.access, Access::Rule(_)));
        let unknown = methods.find("/bursar.testing.v1.ClockService/Nonsense");
        assert_eq!(unknown.name, "_OTHER", "a caller's text never becomes a label");
        assert!(matches!(unknown.access, Access::Unknown));
        let health = methods.find("/grpc.health.v1.Health/Check");
        assert!(matches!(health.access, Access::Infrastructure));
    }
}
