//! What every RPC, message and field of the protocol keeps, read from the compiled descriptors.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use bursar_proto::FILE_DESCRIPTOR_SET;
use bursar_proto::access::{Acting, CallerKind, Idempotency, METHODS, MethodRule, Permission, rule};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, MethodDescriptor};

/// Mutating RPCs without a `request_id`, and why each may do without.
const WITHOUT_REQUEST_ID: &[(&str, &str)] = &[
    ("identity.v1.UserService/SignUp", "public: no caller to keep an id for; the address takes its place"),
    ("identity.v1.UserService/RequestEmailVerification", "public; repeating it mails again, throttled"),
    ("identity.v1.UserService/VerifyEmail", "the single-use token takes its place"),
    ("identity.v1.SessionService/SignIn", "the answer is secret and never stored"),
    ("identity.v1.SessionService/Refresh", "the answer is secret and never stored"),
    ("identity.v1.SessionService/SignOut", "an ended session stays ended"),
    ("identity.v1.ContextService/SwitchContext", "the answer is secret and never stored"),
    ("identity.v1.ServiceAccountService/IssueServiceToken", "the answer is secret and never stored"),
    ("organization.v1.InvitationService/DeclineInvitation", "the single-use token takes its place"),
    ("organization.v1.MemberService/ConfirmDeparture", "the number of the departure takes its place"),
    ("organization.v1.LibraryService/UploadContent", "the same bytes again are no change"),
    ("billing.v1.SubscriptionService/MoveSubscription", "the organization takes its place: it gets one subscription"),
    ("billing.v1.CreditService/BatchCharge", "each charge of the batch has its own"),
    ("testing.v1.SandboxService/Settle", "hearing the same again changes nothing"),
    ("testing.v1.SandboxService/SaveMethod", "development only, no caller to keep an id for"),
    ("testing.v1.ClockService/Set", "setting it again sets the same time"),
    ("testing.v1.ClockService/Advance", "development only, no caller to keep an id for"),
];

/// Words that name a secret when a field's name has one.
const SECRET_WORDS: &[&str] = &["password", "secret", "token", "code"];

/// Fields whose name has such a word without being secret.
const NOT_SECRET: &[&str] = &[
    "page_token",
    "next_page_token",
    "access_token_expires_at",
    "refresh_token_expires_at",
    // Why a card was refused.
    "decline_code",
    // Names of fields, not what is in them.
    "secret_fields",
    "secrets_set",
];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the reflection set decodes")
}

fn our_messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages()
        .filter(|message| message.package_name().starts_with("bursar.") && !message.is_map_entry())
        .collect()
}

fn our_methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    pool.services()
        .filter(|service| service.package_name().starts_with("bursar."))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn rule_of(method: &MethodDescriptor) -> &'static MethodRule {
    let path = path(method);
    rule(&path).unwrap_or_else(|| panic!("{path} declares no access rule"))
}

fn none<T: std::fmt::Debug>(what: &str, found: &[T]) {
    assert!(found.is_empty(), "{what}:\n{found:#?}");
}

#[test]
fn every_rpc_is_in_the_table_with_a_rule() {
    let declared: BTreeSet<String> = our_methods(&pool()).iter().map(path).collect();
    let listed: BTreeSet<String> = METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(declared, listed, "the table is not the list of RPCs");
    let without: Vec<_> = METHODS.iter().filter(|(_, rule)| rule.is_none()).map(|(path, _)| path).collect();
    none("RPCs without an access rule", &without);
    assert!(METHODS.is_sorted_by_key(|(path, _)| *path), "looked up by binary search, so it must be sorted");
}

#[test]
fn an_unknown_path_has_no_rule() {
    for path in [
        "",
        "/",
        "/bursar.billing.v1.CreditService",
        "/bursar.billing.v1.CreditService/charge",
        "/grpc.health.v1.Health/Check",
    ] {
        assert_eq!(rule(path), None, "{path}");
    }
}

#[test]
fn rules_make_sense() {
    const ROLES: &[&str] = &["operator", "identity", "organization", "billing", "product"];
    for (path, rule) in METHODS.iter().filter_map(|(path, rule)| Some((path, rule.as_ref()?))) {
        assert!(!rule.callers.is_empty(), "{path} admits nobody");
        assert!(!rule.admits(CallerKind::Unspecified), "{path} names no kind of caller");
        assert_eq!(
            rule.admits(CallerKind::Service),
            !rule.service_roles.is_empty(),
            "{path}: service roles and the caller kind SERVICE come together"
        );
        for role in rule.service_roles {
            assert!(ROLES.contains(role), "{path}: {role} is not a service role");
        }
        if rule.admits(CallerKind::Public) {
            assert_eq!(rule.callers.len(), 1, "{path}: PUBLIC admits everybody, nothing else is needed");
            assert_eq!(rule.permission, Permission::Unspecified, "{path}: anybody may call it");
        }
        if rule.proven_by_secret {
            assert!(rule.admits(CallerKind::Public), "{path}: whoever has no token is proven by the secret");
        }
        if rule.permission == Permission::Operate {
            assert!(!rule.admits(CallerKind::User), "{path}: no user operates");
            assert_eq!(rule.service_roles, ["operator"], "{path}: only operators operate");
        }
    }
}

#[test]
fn known_rules_read_as_declared() {
    let charge = rule("/bursar.billing.v1.CreditService/Charge").expect("declared");
    assert_eq!(
        *charge,
        MethodRule {
            callers: &[CallerKind::User, CallerKind::Service],
            permission: Permission::UseWorkspace,
            service_roles: &["product", "operator"],
            recent_authentication: false,
            acting: Acting::Allowed,
            proven_by_secret: false,
            idempotency: Idempotency::Idempotent,
            server_streaming: false,
            client_streaming: false,
        }
    );
    let watch = rule("/bursar.event.v1.EventService/Watch").expect("declared");
    assert!(watch.server_streaming && !watch.client_streaming, "Watch streams events");
    assert_eq!(watch.idempotency, Idempotency::NoSideEffects);
    let me = rule("/bursar.identity.v1.UserService/GetMe").expect("declared");
    assert_eq!(me.permission, Permission::Self_);
    let by_secret: Vec<_> = METHODS
        .iter()
        .filter(|(_, rule)| rule.is_some_and(|rule| rule.proven_by_secret))
        .map(|(path, _)| *path)
        .collect();
    assert_eq!(by_secret, ["/bursar.identity.v1.ServiceAccountService/IssueServiceToken"]);
}

#[test]
fn every_mutating_rpc_has_a_request_id() {
    let exceptions: BTreeSet<String> = WITHOUT_REQUEST_ID.iter().map(|(path, _)| format!("/bursar.{path}")).collect();
    let without: BTreeSet<String> = our_methods(&pool())
        .iter()
        .filter(|method| rule_of(method).idempotency != Idempotency::NoSideEffects)
        .filter(|method| match method.input().get_field_by_name("request_id") {
            Some(field) => field.kind() != Kind::String || field.is_list(),
            None => true,
        })
        .map(path)
        .collect();
    assert_eq!(without, exceptions, "left: mutating RPCs without a string `request_id`; right: those that may be");
}

#[test]
fn reading_rpcs_have_no_request_id() {
    let with: Vec<_> = our_methods(&pool())
        .iter()
        .filter(|method| rule_of(method).idempotency == Idempotency::NoSideEffects)
        .filter(|method| method.input().get_field_by_name("request_id").is_some())
        .map(path)
        .collect();
    none("RPCs that change nothing and take a request id", &with);
}

#[test]
fn rpcs_that_list_or_get_change_nothing() {
    let wrong: Vec<_> = our_methods(&pool())
        .iter()
        .filter(|method| {
            ["Get", "List", "Query", "BatchGet", "Verify"].iter().any(|verb| method.name().starts_with(verb))
        })
        .filter(|method| method.name() != "VerifyEmail")
        .filter(|method| rule_of(method).idempotency != Idempotency::NoSideEffects)
        .map(path)
        .collect();
    none("reading RPCs not marked NO_SIDE_EFFECTS", &wrong);
}

#[test]
fn lists_are_paged() {
    for method in our_methods(&pool()).iter().filter(|method| method.name().starts_with("List")) {
        let path = path(method);
        let (input, output) = (method.input(), method.output());
        let kind = |message: &MessageDescriptor, name: &str| message.get_field_by_name(name).map(|field| field.kind());
        assert_eq!(kind(&input, "page_size"), Some(Kind::Int32), "{path}: page_size");
        assert_eq!(kind(&input, "page_token"), Some(Kind::String), "{path}: page_token");
        assert_eq!(kind(&output, "next_page_token"), Some(Kind::String), "{path}: next_page_token");
        assert_eq!(
            output.fields().filter(prost_reflect::FieldDescriptor::is_list).count(),
            1,
            "{path}: one list of items"
        );
    }
}

#[test]
fn no_floating_point_on_the_wire() {
    let floats: Vec<_> = our_messages(&pool())
        .iter()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| matches!(field.kind(), Kind::Double | Kind::Float))
        .map(|field| field.full_name().to_owned())
        .collect();
    none("floating point fields", &floats);
}

#[test]
fn secret_fields_are_not_printed() {
    let wrong: Vec<_> = our_messages(&pool())
        .iter()
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| field.kind() == Kind::String && !NOT_SECRET.contains(&field.name()))
        .filter(|field| field.name().split('_').any(|word| SECRET_WORDS.contains(&word)))
        .filter(|field| {
            field.options().get_field_by_name("debug_redact").is_none_or(|value| value.as_bool() != Some(true))
        })
        .map(|field| field.full_name().to_owned())
        .collect();
    none("secret fields without [debug_redact = true]", &wrong);
}

#[test]
fn debug_hides_what_is_redacted() {
    use bursar_proto::identity::v1::{SignInRequest, SignInResponse, TokenSet};
    let request = SignInRequest {
        email: "ada@example.com".to_owned(),
        password: "correct horse".to_owned(),
        ..SignInRequest::default()
    };
    let response = SignInResponse {
        tokens: Some(TokenSet {
            access_token: "eyJhbGciOi".to_owned(),
            refresh_token: "cmVmcmVzaA".to_owned(),
            owner: "usr_x".to_owned(),
            ..TokenSet::default()
        }),
    };
    let printed = format!("{request:?} {response:#?}");
    for shown in ["ada@example.com", "[redacted]", "usr_x"] {
        assert!(printed.contains(shown), "{shown} is missing in {printed}");
    }
    for hidden in ["correct horse", "eyJhbGciOi", "cmVmcmVzaA"] {
        assert!(!printed.contains(hidden), "{hidden} is printed: {printed}");
    }
}

#[test]
fn event_types_are_told_by_their_names() {
    let pool = pool();
    let event = pool.get_message_by_name("bursar.event.v1.Event").expect("declared");
    let payload = event.oneofs().next().expect("the payload");
    // `organization_created` is told as `organization.created`, `top_up_stopped` as `top_up.stopped`: the dot stands between
    // what it happened to and what happened.
    let fields: BTreeSet<String> = payload.fields().map(|field| field.name().to_owned()).collect();
    let told = bursar_proto::event_type::ALL.iter().map(|name| {
        assert_eq!(name.matches('.').count(), 1, "{name}");
        name.replace('.', "_")
    });
    assert_eq!(fields, told.collect());
}
