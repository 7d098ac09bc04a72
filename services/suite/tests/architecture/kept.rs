//! What is kept of answers for repetitions, which nobody erases before its 30 days are over but where it is said here: each
//! outcome of each service, and of billing, where no answer ends with its account, each text that may stand in one.

use std::collections::{BTreeMap, BTreeSet};

use bursar_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

use crate::sources::{assert_none, rust};

/// Where billing keeps outcomes, of what, and as which message.
const OF_BILLING: [(&str, &str, &str); 11] = [
    ("change.rs", "Changed", "ChangePlanResponse"),
    ("limit.rs", "Shown", "Limit"),
    ("catalog.rs", "Reloaded", "ReloadCatalogResponse"),
    // A subscription, or that there is none, or which plan is there already: `KeptMove`.
    ("subscription.rs", "Moved", "Subscription"),
    ("subscription.rs", "Subscription", "Subscription"),
    ("payment.rs", "Payment", "Payment"),
    ("payment.rs", "SavedMethod", "PaymentMethod"),
    ("payment.rs", "BegunSetup", "BeginSetupResponse"),
    ("settings.rs", "AccountSettings", "UpdateAccountSettingsResponse"),
    ("contract.rs", "Agreed", "SetContractResponse"),
    ("purchase.rs", "Receipt", "Purchase"),
];

/// The others, and why nothing in them has to be erased before.
const OF_OTHERS: [(&str, &str, &str); 18] = [
    ("identity/src/grpc/convert.rs", "Me", "without the address, and it ends with the account"),
    ("identity/src/grpc/convert.rs", "Found", "the id alone, and since when somebody is suspended"),
    ("identity/src/grpc/convert.rs", "UserToken", "when it expires"),
    ("identity/src/grpc/convert.rs", "ServiceAccountRow", "a service is no person; operators name it"),
    ("identity/src/grpc/convert.rs", "NewSecret", "the service account alone"),
    ("identity/src/grpc/convert.rs", "Tokens", "nothing"),
    ("organization/src/grpc/convert.rs", "OrganizationOfUser", "in its context, and it ends with that"),
    ("organization/src/grpc/convert.rs", "Created", "in no context: without what it is called"),
    ("organization/src/grpc/convert.rs", "CallingOff", "which one it is, and that it waits"),
    ("organization/src/grpc/convert.rs", "FoundOrganization", "in its context, and it ends with that"),
    ("organization/src/grpc/convert.rs", "MemberRow", "without address and name"),
    ("organization/src/grpc/convert.rs", "InvitationView", "without the address"),
    ("organization/src/grpc/convert.rs", "Owned", "ids and a number"),
    ("organization/src/grpc/convert.rs", "Item", "which one it is, and in which state"),
    ("organization/src/grpc/convert.rs", "Revealed", "nothing"),
    ("organization/src/grpc/convert.rs", "ProjectRow", "which one it is, and in which state"),
    ("organization/src/grpc/policy.rs", "PolicyView", "choices, and it ends with its context"),
    ("organization/src/grpc/member.rs", "Preferences", "in its context, and it ends with that"),
];

/// The texts of each message that billing keeps or that stands in one: ids, amounts, and words of the catalog, of a provider's
/// list or of a list here; and those that are left out, which may be about somebody or in anybody's words.
const TEXTS: [(&str, &str, &str); 13] = [
    ("AccountSettings", "time_zone etag", ""),
    ("AutoTopUp", "threshold pack_id payment_method stopped_by", ""),
    ("BillingProfile", "", "name address_lines country tax_id order_number invoice_mail"),
    ("Contract", "plan_id credits", ""),
    ("Limit", "id owner amount used", ""),
    ("LimitSubject", "", "member project model api_key"),
    ("Money", "currency_code", ""),
    ("Payment", "id owner decline_code purchase_id subscription_id payment_method lot_id invoice_id", ""),
    ("PaymentAction", "url", "client_secret"),
    ("PaymentMethod", "id", "brand last4 added_by"),
    ("PendingChange", "plan_id credits rollover", ""),
    ("Purchase", "id owner pack_id credits lot_id bought_by payment_id invoice_id", ""),
    ("Subscription", "id owner plan_id credits payment_id rollover", ""),
];

/// Who adds one says here why it may be kept, or has it end with what it is about.
#[test]
fn each_outcome_that_is_kept_is_known_to_hold_nothing_that_has_to_be_erased() {
    let listed = OF_BILLING.iter().map(|(file, outcome, _)| format!("services/billing/src/grpc/{file}: {outcome}"));
    let others = OF_OTHERS.iter().map(|(file, outcome, _)| format!("services/{file}: {outcome}"));
    let listed: BTreeSet<String> = listed.chain(others).collect();
    let mut kept = BTreeSet::new();
    for source in rust().iter().filter(|source| source.is_in("services") && !source.is_test) {
        let outcomes = source.shipped().filter_map(|(_, line)| line.trim().strip_prefix("impl Stored for "));
        kept.extend(outcomes.map(|rest| format!("{}: {}", source.path, rest.trim_end_matches(" {"))));
    }
    let unknown = kept.difference(&listed).map(|it| format!("{it} is kept, and nothing says why it may be"));
    let gone = listed.difference(&kept).map(|it| format!("{it} is kept no more"));
    assert_none(&unknown.chain(gone).collect::<Vec<_>>());
}

/// Who adds a text to one of these messages says here what it is, and leaves it out of what is kept if it may be personal.
#[test]
fn each_text_that_billing_may_keep_is_known() {
    let listed: BTreeMap<String, BTreeSet<String>> = TEXTS
        .iter()
        .map(|(message, kept, left_out)| {
            let texts = kept.split_whitespace().chain(left_out.split_whitespace());
            ((*message).to_owned(), texts.map(str::to_owned).collect())
        })
        .collect();
    assert_eq!(texts_of(OF_BILLING.iter().map(|(_, _, message)| *message)), listed);
}

/// The texts in these messages and in all that stand in them, by message; those without any are left out.
fn texts_of<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, BTreeSet<String>> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptors decode");
    let message = |name: &str| pool.get_message_by_name(&format!("bursar.billing.v1.{name}")).expect("a message");
    let mut ahead: Vec<MessageDescriptor> = names.map(message).collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(message) = ahead.pop() {
        if found.contains_key(message.name()) {
            continue;
        }
        let mut texts = BTreeSet::new();
        for field in message.fields() {
            let kind = field.kind();
            if matches!(kind, Kind::String | Kind::Bytes) {
                texts.insert(field.name().to_owned());
            } else if let Kind::Message(inner) = kind {
                ahead.push(inner);
            }
        }
        found.insert(message.name().to_owned(), texts);
    }
    found.retain(|_, texts| !texts.is_empty());
    found
}
