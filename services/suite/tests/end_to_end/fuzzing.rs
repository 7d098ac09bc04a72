//! Every RPC of a whole suite against bytes that nearly are its message: whatever comes, it is the caller's fault or it is
//! carried out, and never the server's failure.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bursar_proto::FILE_DESCRIPTOR_SET;
use bursar_proto::access::METHODS;
use bursar_proto::identity::v1::IssueServiceTokenRequest;
use bursar_rpc::Transport;
use bursar_rpc::problem::reason_of;
use bursar_runtime::Service;
use bursar_testkit::{Client, Operator, Person, Topology};
use bytes::Bytes;
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use tokio::sync::Mutex;
use tonic::{Code, Request, Status};

use crate::support::{
    given,
    world::{Team, World},
};
use crate::trust::Raw;

/// How long one call may take; far longer than any does.
const CALL: Duration = Duration::from_secs(20);
/// How long a token is used; it lives for five minutes.
const FRESH: Duration = Duration::from_mins(2);
/// What ends the caller's own standing, or the organization's: somebody else is sacrificed, who may not do it to others.
const ENDINGS: [&str; 11] = [
    "DeleteMe",
    "SignOut",
    "RevokeSession",
    "RevokeOtherSessions",
    "ChangePassword",
    "LeaveOrganization",
    "RemoveMember",
    "TransferOwnership",
    "DeleteOrganization",
    "SuspendOrganization",
    "SuspendUser",
];

/// Who calls, and whom it costs.
struct Callers {
    team: Team,
    victim: Person,
    operator: String,
    since: Instant,
}

impl Callers {
    async fn of(world: &World) -> Self {
        let team = world.team().with_credits("1000").assemble().await;
        let victim = world.person("Victim").await;
        Self { team, victim, operator: operator(world).await, since: Instant::now() }
    }

    async fn refreshed(&mut self, world: &World) {
        if self.since.elapsed() > FRESH {
            *self = Self::of(world).await;
        }
    }

    /// The token to call a method with; `dice` decides where several might.
    fn token(&self, method: &str, dice: u8) -> &str {
        match dice % 3 {
            _ if ENDINGS.iter().any(|ending| method.ends_with(ending)) => &self.victim.tokens.access_token,
            0 => &self.operator,
            _ => &self.team.owner.tokens.access_token,
        }
    }
}

/// A token of the operator's.
pub(crate) async fn operator(world: &World) -> String {
    let Operator { client_id, client_secret } = world.deployment().operator();
    let request = IssueServiceTokenRequest { client_id, client_secret };
    given(world.anybody().service_accounts().issue_service_token(request).await).access_token
}

#[test]
fn fuzz_requests() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(crate::support::world::play(Topology::Suite, async |world| {
        let callers = Callers::of(&world).await;
        tokio::task::block_in_place(|| attack(&world, callers));
    }));
}

fn attack(world: &World, callers: Callers) {
    let methods: Vec<(&'static str, bool)> = METHODS
        .iter()
        .filter_map(|(path, rule)| Some((*path, rule.as_ref()?.server_streaming)))
        // It stands only where there is a test clock.
        .filter(|(path, _)| !path.starts_with("/bursar.testing."))
        .collect();
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for (number, (path, _)) in methods.iter().enumerate() {
        let message = message_of(path);
        for dice in 0..2 {
            let head = [u8::try_from(number).expect("fewer than 256 methods"), dice];
            samples.push([&head, filled(&message, &callers, 3).encode_to_vec().as_slice()].concat());
        }
    }
    let here = tokio::runtime::Handle::current();
    let (callers, answers) = (Mutex::new(callers), RefCell::new(HashMap::<Code, u32>::new()));
    bursar_fuzz::fuzz("requests", &samples, |bytes| {
        let [number, dice, message @ ..] = bytes else { return };
        let (path, streams) = methods[usize::from(*number) % methods.len()];
        here.block_on(async {
            let mut callers = callers.lock().await;
            callers.refreshed(world).await;
            let answer =
                tokio::time::timeout(CALL, call(world, path, streams, callers.token(path, *dice), message)).await;
            let code = judge(path, answer.unwrap_or_else(|_| panic!("{path}: no answer within {CALL:?}")));
            *answers.borrow_mut().entry(code).or_default() += 1;
        });
    });
    // Else the samples are so bad that nothing is reached.
    let answers = answers.into_inner();
    for code in [Code::Ok, Code::InvalidArgument, Code::PermissionDenied, Code::NotFound] {
        assert!(answers.contains_key(&code), "none was answered {code:?}: {answers:?}");
    }
}

/// Whether an answer is one that somebody may get for what they sent.
fn judge(path: &str, answer: Result<(), Status>) -> Code {
    let Err(status) = answer else { return Code::Ok };
    let failed = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable);
    assert!(!failed, "{path} failed: {status:?}");
    assert!(reason_of(&status).is_some(), "{path} refused without a reason: {status:?}");
    status.code()
}

async fn call(world: &World, path: &'static str, streams: bool, token: &str, message: &[u8]) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(transport(world.anybody(), path));
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(Bytes::copy_from_slice(message));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let path = path.parse().expect("a path");
    if streams {
        // What it begins with is enough: a stream of events has no end.
        client.server_streaming(request, path, Raw).await.map(drop)
    } else {
        client.unary(request, path, Raw).await.map(drop)
    }
}

/// The service at whose port an RPC is.
pub(crate) fn service_of(path: &str) -> Service {
    match path.split('.').nth(1) {
        Some("organization") => Service::Organization,
        Some("billing" | "event") => Service::Billing,
        _ => Service::Identity,
    }
}

/// The way to an RPC.
pub(crate) fn transport(client: &Client, path: &str) -> Transport {
    client.transport(service_of(path))
}

/// What an RPC is asked with.
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("descriptors"));

pub(crate) fn method_of(path: &str) -> MethodDescriptor {
    let (service, method) = path.trim_start_matches('/').split_once('/').expect("a path");
    let service = POOL.get_service_by_name(service).expect("a service");
    service.methods().find(|it| it.name() == method).expect("a method")
}

pub(crate) fn message_of(path: &str) -> MessageDescriptor {
    method_of(path).input()
}

/// A message with something that might do in every field.
fn filled(of: &MessageDescriptor, callers: &Callers, depth: u8) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        if let Some(value) = value_of(&field, callers, depth) {
            let value = if field.is_list() { Value::List(vec![value]) } else { value };
            message.set_field(&field, value);
        }
    }
    message
}

fn value_of(field: &FieldDescriptor, callers: &Callers, depth: u8) -> Option<Value> {
    Some(match field.kind() {
        _ if field.is_map() => return None,
        Kind::String => Value::String(text_of(field.name(), callers)),
        Kind::Bytes => Value::Bytes(Bytes::from_static(b"bytes")),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(3),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(3),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(3),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(3),
        Kind::Float => Value::F32(0.5),
        Kind::Double => Value::F64(0.5),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(message) if depth > 0 => Value::Message(filled(&message, callers, depth - 1)),
        Kind::Message(_) => return None,
    })
}

/// What such a field says in a call that is carried out.
fn text_of(field: &str, callers: &Callers) -> String {
    let team = &callers.team;
    match field {
        "owner" | "organization_id" | "to_owner" => team.id.clone(),
        "member" | "user_id" | "member_user_id" => team.owner.user.clone(),
        "email" => "somebody@example.com".to_owned(),
        "amount" | "quantity" => "0.5".to_owned(),
        "model" => "veo".to_owned(),
        "plan_id" => "business".to_owned(),
        "pack_id" => "starter".to_owned(),
        "payment_method" => "sandbox_ok".to_owned(),
        "currency_code" => "USD".to_owned(),
        "refresh_token" => callers.victim.tokens.refresh_token.clone(),
        "slug" | "name" | "display_name" => "fuzzed".to_owned(),
        "paths" => "name".to_owned(),
        // Ids that are none, request ids, cursors, notes.
        _ => "x".to_owned(),
    }
}
