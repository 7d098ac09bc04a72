//! Policies, between the API's messages and what the use cases work with.

use bursar_members::OwnPolicy;
use bursar_proto::organization::v1::{UpdatePolicyRequest, UpdatePolicyResponse};
use bursar_rpc::convert::UpdateMask;
use bursar_rpc::{Stored, Violations};
use prost_types::FieldMask;

use crate::usecase::{PolicyChange, PolicyView};

/// The policies that an organization may set itself.
const OWN: [&str; 5] = ["admin_billing", "usage_visibility", "balance_visibility", "second_factor", "transfer"];

/// What an update asks for. Under a mask UNSPECIFIED takes a policy back; without one, what is UNSPECIFIED stays.
pub(super) fn change(message: &UpdatePolicyRequest, violations: &mut Violations) -> Option<PolicyChange> {
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &OWN, violations);
    let policy = message.policy.clone().unwrap_or_default();
    let to = match OwnPolicy::try_from(&policy) {
        Ok(to) => to,
        Err(error) => {
            violations.add(&format!("policy.{}", error.field), "has a value that does not exist");
            return None;
        }
    };
    Some(PolicyChange {
        admin_billing: mask.changes("admin_billing", to.admin_billing.is_none()).then_some(to.admin_billing),
        usage_visibility: mask
            .changes("usage_visibility", to.usage_visibility.is_none())
            .then_some(to.usage_visibility),
        balance_visibility: mask
            .changes("balance_visibility", to.balance_visibility.is_none())
            .then_some(to.balance_visibility),
        second_factor: mask.changes("second_factor", to.second_factor.is_none()).then_some(to.second_factor),
        transfer: mask.changes("transfer", to.transfer.is_none()).then_some(to.transfer),
    })
}

/// The names of the policies that an organization has set itself.
pub(super) fn own(own: OwnPolicy) -> FieldMask {
    let set = [
        own.admin_billing.is_some(),
        own.usage_visibility.is_some(),
        own.balance_visibility.is_some(),
        own.second_factor.is_some(),
        own.transfer.is_some(),
    ];
    let paths = OWN.iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned());
    FieldMask { paths: paths.collect() }
}

impl Stored for PolicyView {
    type Message = UpdatePolicyResponse;
    fn to_message(&self) -> UpdatePolicyResponse {
        UpdatePolicyResponse { policy: Some(self.policy.into()), own: Some(own(self.own)) }
    }
}
