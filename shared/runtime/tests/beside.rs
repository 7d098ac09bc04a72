//! What a port has beside its service: health and reflection answer as their specifications say, whatever is asked.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "this file uses a part of what the tests share")]

mod support;

use bursar_proto::testing::v1::{AdvanceRequest, clock_service_client::ClockServiceClient};
use futures::{StreamExt as _, stream};
use support::{EVENTS, Running, channel, settings};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

#[tokio::test]
async fn health_of_an_unknown_name_is_service_unknown_and_the_watch_stays_open() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let mut client = HealthClient::new(channel(&running.url()));
    let request = || HealthCheckRequest { service: "no.such.Service".to_owned() };
    let refused = client.check(request()).await.expect_err("an unknown name");
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(bursar_rpc::problem::reason_of(&refused).as_deref(), Some("NOT_FOUND"));

    let mut watch = client.watch(request()).await.expect("a stream").into_inner();
    let first = watch.next().await.expect("an answer").expect("health");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    // Open for as long as the program runs: nothing has ended it, and the port's end does.
    assert!(futures::poll!(watch.next()).is_pending(), "the stream goes on");
    let mut known = client.watch(HealthCheckRequest { service: EVENTS.to_owned() }).await.expect("known").into_inner();
    assert_eq!(known.next().await.expect("an answer").expect("health").status(), ServingStatus::Serving);
    assert!(futures::poll!(watch.next()).is_pending(), "the stream goes on");
    running.stop().await.expect("stops");
    assert!(watch.next().await.is_none(), "a watcher's stream ends with the program");
}

/// Asks everything on one stream and gives what is answered: a count of files, numbers or services, or a code.
macro_rules! asks {
    ($name:ident, $version:ident) => {
        async fn $name(url: &str) -> Vec<Result<Vec<i32>, Code>> {
            use $version::{
                ExtensionRequest, ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest as Ask, server_reflection_response::MessageResponse as Told,
            };
            let extension = |containing_type: &str, extension_number| {
                Ask::FileContainingExtension(ExtensionRequest {
                    containing_type: containing_type.to_owned(),
                    extension_number,
                })
            };
            let options = "google.protobuf.MethodOptions";
            let asked = [
                Some(Ask::FileContainingSymbol("no.such.Symbol".to_owned())),
                Some(Ask::FileByFilename("no/such.proto".to_owned())),
                None,
                Some(extension(options, 1)),
                Some(Ask::AllExtensionNumbersOfType("no.such.Message".to_owned())),
                Some(Ask::AllExtensionNumbersOfType("bursar.event.v1.WatchRequest".to_owned())),
                Some(Ask::AllExtensionNumbersOfType(options.to_owned())),
                Some(extension(options, RULE)),
                Some(Ask::FileContainingSymbol("bursar.access.v1.rule".to_owned())),
                Some(Ask::FileContainingSymbol(options.to_owned())),
                Some(Ask::FileContainingSymbol("bursar.access.v1.PERMISSION_USE_WORKSPACE".to_owned())),
                Some(Ask::FileContainingSymbol("x".repeat(10_000))),
                Some(Ask::FileContainingSymbol(EVENTS.to_owned())),
            ];
            let requests =
                asked.map(|message_request| ServerReflectionRequest { host: "h".to_owned(), message_request });
            let sent = requests.clone();
            let answers =
                ServerReflectionClient::new(channel(url)).server_reflection_info(stream::iter(requests)).await;
            let answers: Vec<_> = answers.expect("reflection").into_inner().collect().await;
            assert_eq!(answers.len(), sent.len(), "an answer to each: {answers:?}");
            let told = answers.into_iter().zip(sent).map(|(answer, asked)| {
                let answer = answer.expect("the stream goes on");
                assert_eq!((answer.valid_host.as_str(), answer.original_request), ("h", Some(asked)));
                match answer.message_response.expect("something") {
                    Told::FileDescriptorResponse(files) => Ok(vec![count(files.file_descriptor_proto.len())]),
                    Told::AllExtensionNumbersResponse(found) => Ok(found.extension_number),
                    Told::ListServicesResponse(list) => Ok(vec![count(list.service.len())]),
                    Told::ErrorResponse(error) => {
                        assert!(error.error_message.len() < 100, "{error:?}");
                        Err(Code::from(error.error_code))
                    }
                }
            });
            told.collect()
        }
    };
}

fn count(all: usize) -> i32 {
    i32::try_from(all).expect("few")
}

/// The number of `bursar.access.v1.rule`.
const RULE: i32 = 70_401;

asks!(ask, v1);
asks!(ask_alpha, v1alpha);

#[tokio::test]
async fn reflection_goes_on_after_an_unknown_symbol_and_finds_the_rules_of_rpcs() {
    let (settings, ports) = settings();
    let running = Running::start(settings, &ports, true).await;
    let one = || Ok(vec![1]);
    let missing = || Err(Code::NotFound);
    let expected = [
        missing(),
        missing(),
        Err(Code::InvalidArgument),
        missing(),
        missing(),
        Ok(Vec::new()),
        Ok(vec![RULE]),
        one(),
        one(),
        one(),
        one(),
        missing(),
        one(),
    ];
    assert_eq!(ask(&running.url()).await, expected);
    assert_eq!(ask_alpha(&running.url()).await, expected);
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn what_is_garbled_has_a_reason_beside_the_service_too() {
    let (mut settings, ports) = settings();
    settings.test_clock = true;
    let running = Running::start(settings, &ports, true).await;
    let reason = |status: &Status| (status.code(), bursar_rpc::problem::reason_of(status).unwrap_or_default());
    let channel = channel(&running.url());
    let request = HealthCheckRequest { service: "x".repeat(100_000) };
    let status = HealthClient::new(channel.clone()).check(request).await.expect_err("too large a name");
    assert_eq!(reason(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));

    // In the middle of a stream, too.
    let ask = v1::server_reflection_request::MessageRequest::FileContainingSymbol("x".repeat(100_000));
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(stream::iter([request])).await.expect("a stream").into_inner();
    let status = answers.message().await.expect_err("too large a name");
    assert_eq!(reason(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));

    // A refusal of ours passes as it is.
    let status = ClockServiceClient::new(channel).advance(AdvanceRequest::default()).await.expect_err("no span");
    assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_FIELDS".to_owned()));
    running.stop().await.expect("stops");
}
