//! Refusals that do not come from a handler follow the rules of errors, too: a code that says whose fault it is, and a
//! reason.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::identity::v1::{ListContextsRequest, ListContextsResponse};
use bursar_proto::testing::v1::GetRequest;
use bursar_rpc::problem::reason_of;
use bursar_rpc::{Limits, MAX_MESSAGE, Transport, stack};
use bytes::{Buf as _, BufMut as _, Bytes};
use common::{Issuer, Probe, bearer, both_ways, deps, network, with};
use http::{Request as HttpRequest, Response as HttpResponse};
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tower::ServiceExt as _;

const LIST: &str = "/bursar.identity.v1.ContextService/ListContexts";

/// Sends bytes as they are and gives them back as they come.
struct Raw;
struct RawEncoder;
struct RawDecoder;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawEncoder;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> RawEncoder {
        RawEncoder
    }

    fn decoder(&mut self) -> RawDecoder {
        RawDecoder
    }
}

impl Encoder for RawEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What a unary call with these bytes as its message is answered.
async fn send(transport: Transport, path: &'static str, bytes: Vec<u8>) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(transport);
    client.ready().await.expect("ready");
    let token = Issuer::ours().user();
    let request = with(Bytes::from(bytes), &[bearer(&token)]);
    let path = path.parse().expect("a path");
    client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
}

/// What a call with this body and these headers is answered, in process: no client would send them.
async fn frames(transport: Transport, body: Vec<u8>, headers: &[(&'static str, &str)]) -> Status {
    let token = Issuer::ours().user();
    let mut request = HttpRequest::post(format!("http://bursar{LIST}"))
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::new(axum::body::Body::from(body));
    let answer: HttpResponse<Body> =
        transport.oneshot(request.body(body).expect("a request")).await.expect("an answer");
    if let Some(accepted) = answer.headers().get("grpc-accept-encoding") {
        assert_eq!(accepted, "identity");
    }
    Status::from_header_map(answer.headers()).expect("refused at once")
}

#[track_caller]
fn refused(case: &str, status: &Status, code: Code, reason: &str) {
    assert_eq!((status.code(), reason_of(status).as_deref()), (code, Some(reason)), "{case}: {status:?}");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    for (way, transport) in both_ways(Probe::who().routes(&Issuer::ours())).await {
        let cases: [(&str, &[u8]); 5] = [
            // page_token is field 2.
            ("text that is not UTF-8", &[0x12, 2, 0xc3, 0x28]),
            ("a field cut off", &[0x12, 9, b'a']),
            ("a key cut off", &[0x80]),
            ("a wire type that there is not", &[0x17]),
            ("an endless number", &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (case, bytes) in cases {
            let status = send(transport.clone(), LIST, bytes.to_vec()).await.expect_err(case);
            refused(&format!("{case}, {way}"), &status, Code::InvalidArgument, "MESSAGE_MALFORMED");
        }
        send(transport, LIST, Vec::new()).await.expect("nothing at all is an empty message");
    }
}

#[tokio::test]
async fn frames_that_are_none_are_the_callers_fault() {
    let transport = Transport::routes(Probe::who().routes(&Issuer::ours()));
    let cases: [(&str, &[u8]); 4] = [
        ("no message", &[]),
        ("a header cut off", &[0, 0, 0]),
        ("a message cut off", &[0, 0, 0, 0, 9, 0x12]),
        ("a flag that there is not", &[7, 0, 0, 0, 0]),
    ];
    for (case, body) in cases {
        let status = frames(transport.clone(), body.to_vec(), &[]).await;
        refused(case, &status, Code::InvalidArgument, "MESSAGE_MALFORMED");
    }
    let status = frames(transport.clone(), vec![1, 0, 0, 0, 0], &[("grpc-encoding", "gzip")]).await;
    refused("compressed", &status, Code::Unimplemented, "COMPRESSION_UNSUPPORTED");
    let status = frames(transport, vec![1, 0, 0, 0, 0], &[]).await;
    refused("compressed without saying how", &status, Code::InvalidArgument, "MESSAGE_MALFORMED");
}

#[tokio::test]
async fn messages_that_are_too_large_are_refused_with_a_reason_either_way() {
    let issuer = Issuer::ours();
    let large = Probe::new(|_| async { Ok("x".repeat(MAX_MESSAGE)) });
    for (way, transport) in both_ways(large.routes(&issuer)).await {
        let mut sent = vec![0x12];
        prost::encoding::encode_varint(MAX_MESSAGE as u64, &mut sent);
        sent.resize(sent.len() + MAX_MESSAGE, b'x');
        let status = send(transport.clone(), LIST, sent).await.expect_err("too large");
        refused(way, &status, Code::InvalidArgument, "MESSAGE_TOO_LARGE");

        let mut client = ContextServiceClient::new(transport);
        let request = with(ListContextsRequest::default(), &[bearer(&issuer.user())]);
        let answer: Result<tonic::Response<ListContextsResponse>, _> = client.list_contexts(request).await;
        refused(way, &answer.expect_err("too large to answer"), Code::ResourceExhausted, "ANSWER_TOO_LARGE");
    }
}

#[tokio::test]
async fn rpcs_that_are_not_here_have_a_reason() {
    let issuer = Issuer::ours();
    for (way, transport) in both_ways(Probe::who().routes(&issuer)).await {
        // One that no service has, one that another service has, one that this service does not have.
        let paths = [
            "/bursar.identity.v1.Nothing/Get",
            "/bursar.identity.v1.UserService/GetMe",
            "/bursar.identity.v1.ContextService/Nothing",
        ];
        for path in paths {
            let status = send(transport.clone(), path, Vec::new()).await.expect_err("not here");
            refused(&format!("{path}, {way}"), &status, Code::Unimplemented, "NO_SUCH_RPC");
        }
    }
}

#[tokio::test]
async fn routes_beside_the_stack_give_reasons_too() {
    let (_, health) = tonic_health::server::health_reporter();
    let routes = bursar_rpc::stack::reasoned(tonic::service::Routes::new(health));
    for (way, transport) in both_ways(routes).await {
        let status = send(transport, "/grpc.health.v1.Health/Check", vec![0x0a, 9]).await.expect_err("garbled");
        refused(way, &status, Code::InvalidArgument, "MESSAGE_MALFORMED");
    }
    let limits = Limits::default();
    let bare = network(common::listen(stack(Probe::who().bare(), deps(Issuer::ours().keys(), limits))).await);
    send(bare, LIST, Vec::new()).await.expect("the stack's own routes answer as before");
}

#[tokio::test]
async fn what_is_not_declared_does_not_exist() {
    use tonic::codegen::http::uri::PathAndQuery;
    let ours = Issuer::ours();
    for (way, transport) in both_ways(Probe::who().routes(&ours)).await {
        for path in ["/bursar.testing.v1.ClockService/Nonsense", "/elsewhere.v1.Service/Method"] {
            let mut client = tonic::client::Grpc::new(transport.clone());
            client.ready().await.expect("ready");
            let codec = tonic_prost::ProstCodec::<GetRequest, GetRequest>::default();
            let status = client
                .unary(with(GetRequest::default(), &[]), PathAndQuery::from_static(path), codec)
                .await
                .expect_err("refused");
            assert_eq!(status.code(), Code::Unimplemented, "{way}: {path}");
            assert_eq!(reason_of(&status).as_deref(), Some("NO_SUCH_RPC"), "{way}: {path}");
        }
    }
}
