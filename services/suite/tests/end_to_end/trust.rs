//! Refusals, over real connections to every service: whose fault it is, and what it was.

use bursar_proto::{
    event::v1::{WatchRequest, watch_response::Item},
    identity::v1::{BatchGetUsersRequest, UpdateMeRequest},
    organization::v1::{CreateItemRequest, ListItemsRequest, UpdateOrganizationRequest, UpdatePolicyRequest},
};
use bursar_runtime::Service;
use bursar_testkit::refused;
use bytes::{Buf as _, BufMut as _, Bytes};
use prost_reflect::prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use crate::support::{given, spend, world::World};

/// Sends bytes as they are.
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What bytes that are no message are answered.
async fn send(world: &World, service: Service, path: &'static str, token: &str, bytes: &[u8]) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(world.deployment().url(service)).expect("a URL");
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.expect("connected"));
    client.ready().await.expect("ready");
    let mut request = Request::new(Bytes::copy_from_slice(bytes));
    let bearer = format!("Bearer {token}");
    request.metadata_mut().insert("authorization", bearer.parse().expect("a header"));
    client.unary(request, path.parse().expect("a path"), Raw).await.map(drop)
}

pub(crate) async fn garbled_messages_are_the_callers_fault_in_every_service(world: World) {
    let person = world.person("Ada").await;
    let token = &person.tokens.access_token;
    let methods = [
        (Service::Identity, "/bursar.identity.v1.ContextService/ListContexts"),
        (Service::Identity, "/bursar.identity.v1.UserService/SignUp"),
        (Service::Organization, "/bursar.organization.v1.OrganizationService/CreateOrganization"),
        (Service::Billing, "/bursar.billing.v1.CreditService/Charge"),
        (Service::Billing, "/grpc.health.v1.Health/Check"),
    ];
    // Field 1 cut off, a key cut off, and fields 1 and 2 with text that is not UTF-8.
    let garbled: [&[u8]; 3] = [&[0x0a, 9, b'a'], &[0x80], &[0x0a, 2, 0xc3, 0x28, 0x12, 2, 0xc3, 0x28]];
    for (service, path) in methods {
        for bytes in garbled {
            let outcome = send(&world, service, path, token, bytes).await;
            refused(outcome, Code::InvalidArgument, "MESSAGE_MALFORMED");
        }
    }
    // Authorization comes first.
    let outcome = send(&world, Service::Billing, "/bursar.billing.v1.CreditService/Charge", "x", garbled[0]).await;
    refused(outcome, Code::Unauthenticated, "TOKEN_INVALID");
    let outcome = send(&world, Service::Identity, "/bursar.billing.v1.CreditService/Charge", token, &[]).await;
    refused(outcome, Code::Unimplemented, "NO_SUCH_RPC");
}

/// Puts a field with bytes of a length before what is already there; all of it stands backwards.
fn before(backwards: &mut Vec<u8>, field: u8, since: usize) {
    let mut length = Vec::new();
    let mut left = backwards.len() - since;
    while left >= 0x80 {
        length.push(u8::try_from(left & 0x7f).expect("seven bits") | 0x80);
        left >>= 7;
    }
    length.push(u8::try_from(left).expect("seven bits"));
    backwards.extend(length.iter().rev());
    backwards.push(field << 3 | 2);
}

/// A `CreateItemRequest` whose document is an object in an object, so many of them.
fn nested(owner: &str, levels: usize) -> Vec<u8> {
    let mut backwards = Vec::new();
    for _ in 0..levels {
        // `Value.struct_value`, the entry's value, the entry's key, `Struct.fields`.
        before(&mut backwards, 5, 0);
        before(&mut backwards, 2, 0);
        let since = backwards.len();
        backwards.extend(b"ni");
        before(&mut backwards, 1, since);
        before(&mut backwards, 1, 0);
    }
    let request = CreateItemRequest {
        owner: owner.to_owned(),
        kind: "agent".to_owned(),
        name: "Deep".to_owned(),
        ..CreateItemRequest::default()
    };
    before(&mut backwards, DOCUMENT, 0);
    backwards.reverse();
    [request.encode_to_vec(), backwards].concat()
}

/// `CreateItemRequest.document`.
const DOCUMENT: u8 = 4;

pub(crate) async fn documents_too_deep_or_too_long_are_refused_and_the_service_goes_on(world: World) {
    const CREATE: &str = "/bursar.organization.v1.LibraryService/CreateItem";
    let person = world.person("Ada").await;
    let (token, owner) = (&person.tokens.access_token, &person.user);
    let shallow = nested(owner, 3);
    send(&world, Service::Organization, CREATE, token, &shallow).await.expect("three levels are an item");
    for levels in [100, 10_000] {
        let deep = send(&world, Service::Organization, CREATE, token, &nested(owner, levels)).await;
        refused(deep, Code::InvalidArgument, "MESSAGE_MALFORMED");
    }
    let long = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("x".repeat(10 << 20))) };
    let long = CreateItemRequest {
        owner: owner.clone(),
        kind: "agent".to_owned(),
        name: "Long".to_owned(),
        document: Some(prost_types::Struct { fields: [("text".to_owned(), long)].into() }),
        ..CreateItemRequest::default()
    };
    let long = person.client().libraries().create_item(long).await;
    refused(long, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    let list = ListItemsRequest { owner: owner.clone(), ..ListItemsRequest::default() };
    let items = given(person.client().libraries().list_items(list).await).items;
    assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["Deep"], "the one of three levels");
}

pub(crate) async fn refusals_fit_into_headers_whatever_was_sent(world: World) {
    let team = world.team().with_credits("10").assemble().await;
    let (ada, operator) = (team.owner.client(), world.operator().await);
    let long = "x/".repeat(10_000);
    let mask = |paths: Vec<String>| Some(prost_types::FieldMask { paths });
    let me = |paths| UpdateMeRequest { update_mask: mask(paths), ..Default::default() };
    let organization = UpdateOrganizationRequest {
        organization_id: team.id.clone(),
        update_mask: mask(vec![long.clone()]),
        ..Default::default()
    };
    let policy = UpdatePolicyRequest {
        organization_id: team.id.clone(),
        update_mask: mask((0..1_000).map(|n| format!("field-{n}")).collect()),
        ..Default::default()
    };
    let ids = BatchGetUsersRequest { user_ids: vec![long.clone(); 40] };
    let types = WatchRequest { types: vec![long.clone(); 100], ..Default::default() };
    let outcomes = [
        ada.users().update_me(me(vec![long.clone()])).await.map(drop),
        ada.users().update_me(me(vec![long.clone(); 100])).await.map(drop),
        // Everything, and what there is not.
        ada.users().update_me(me(vec!["*".to_owned(), "no_such".to_owned()])).await.map(drop),
        ada.organizations().update_organization(organization).await.map(drop),
        ada.organizations().update_policy(policy).await.map(drop),
        operator.users().batch_get_users(ids).await.map(drop),
        ada.credits().charge(spend(&long, &long)).await.map(drop),
    ];
    for (case, outcome) in outcomes.into_iter().enumerate() {
        let refusal = refused(outcome, Code::InvalidArgument, "INVALID_FIELDS");
        assert!(refusal.message.len() <= 1_200 && refusal.fields.len() <= 8, "{case}: {refusal:#?}");
    }
    let many = operator.users().batch_get_users(BatchGetUsersRequest { user_ids: vec![String::new(); 40] }).await;
    let many = refused(many, Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!((many.metadata["violations"].as_str(), many.fields.len()), ("40", 8), "the first few and their number");
    // What nobody knows is nobody's event: such a stream is no error, and tells of nothing.
    let mut events = given(operator.identity_events().watch(types).await);
    let first = events.message().await.expect("no error").expect("a sign of life");
    assert!(matches!(first.item, Some(Item::Heartbeat(_))), "{first:?}");
}
