//! The RPCs of a service, for tests that go through all of them.

use std::collections::BTreeMap;

use bursar_proto::access::{METHODS, MethodRule};

/// The RPCs of a package, such as `bursar.billing.v1`, whose rule fits, by their short names.
pub fn rpcs(package: &str, fits: impl Fn(&MethodRule) -> bool) -> BTreeMap<&'static str, &'static MethodRule> {
    let all = METHODS.iter().filter_map(|(path, rule)| Some((path.strip_prefix('/')?, rule.as_ref()?)));
    let ours = all.filter_map(|(path, rule)| Some((path.strip_prefix(package)?.strip_prefix('.')?, rule)));
    ours.filter(|(_, rule)| fits(rule)).filter_map(|(path, rule)| Some((path.rsplit('/').next()?, rule))).collect()
}
