//! What operators and tools rely on: reflection, health, and a stop that ends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bursar_proto::{access::METHODS, billing::v1::credit_service_client::CreditServiceClient, event::v1::WatchRequest};
use bursar_runtime::Service;
use bursar_testkit::{Topology, refused};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{
    spend,
    world::{self, World},
};

/// The gRPC services that a service must answer: all that there are in its package, and its events.
fn answered(service: Service) -> BTreeSet<&'static str> {
    let package = format!("bursar.{service}.v1.");
    let all = METHODS.iter().filter_map(|(path, _)| Some(path.strip_prefix('/')?.split_once('/')?.0));
    all.filter(|name| name.starts_with(&package) || *name == "bursar.event.v1.EventService").collect()
}

/// The longest that a stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

async fn connect(world: &World, service: Service) -> tonic::transport::Channel {
    let endpoint = Endpoint::from_shared(world.deployment().url(service)).expect("a URL");
    endpoint.connect().await.unwrap_or_else(|error| panic!("{service}: {error}"))
}

pub(crate) async fn reflection_lists_every_service(world: World) {
    for service in Service::ALL {
        let expected = answered(service);
        let symbol = *expected.last().expect("it answers some");
        let channel = connect(&world, service).await;
        let request = v1::ServerReflectionRequest {
            message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
            ..Default::default()
        };
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let stream = client.server_reflection_info(tokio_stream::once(request)).await;
        let answer = stream.expect("reflection").into_inner().message().await.expect("an answer");
        let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
            answer.and_then(|it| it.message_response)
        else {
            panic!("{service} lists no services")
        };
        let names: Vec<_> = list.service.into_iter().map(|it| it.name).collect();
        for name in &expected {
            assert!(names.iter().any(|it| it == name), "{service}: no {name} in {names:?}");
        }

        // The older protocol, and a symbol with its file.
        let asked = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned());
        let request = v1alpha::ServerReflectionRequest { message_request: Some(asked), ..Default::default() };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let stream = client.server_reflection_info(tokio_stream::once(request)).await;
        let answer = stream.expect("reflection").into_inner().message().await.expect("an answer");
        let found = answer.and_then(|it| it.message_response);
        let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) = found else {
            panic!("{service}: no file of {symbol}: {found:?}")
        };
        assert!(!files.file_descriptor_proto.is_empty(), "{service}");
    }
}

pub(crate) async fn health_says_serving(world: World) {
    for service in Service::ALL {
        let mut client = HealthClient::new(connect(&world, service).await);
        for name in std::iter::once("").chain(answered(service)) {
            let request = HealthCheckRequest { service: name.to_owned() };
            let answer = client.check(request).await.unwrap_or_else(|status| panic!("{service} {name}: {status:?}"));
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service} {name:?}");
        }
        let request = HealthCheckRequest { service: "no.such.Service".to_owned() };
        let status = client.check(request).await.expect_err("an unknown service");
        refused::<()>(Err(status), Code::NotFound, "NOT_FOUND");
        let request = HealthCheckRequest { service: "no.such.Service".to_owned() };
        let mut watch = client.watch(request).await.expect("a stream").into_inner();
        let first = watch.message().await.expect("an answer").expect("open");
        assert_eq!(first.status(), ServingStatus::ServiceUnknown, "{service}");
    }
}

/// A service's port answers its own methods and nobody else's.
pub(crate) async fn methods_of_other_services_are_refused(world: World) {
    let mut astray = CreditServiceClient::new(connect(&world, Service::Identity).await);
    let status = astray.charge(spend("org_00000000000000000000000001", "1")).await.expect_err("on identity's port");
    assert!(matches!(status.code(), Code::Unimplemented | Code::Unauthenticated), "{status:?}");
}

pub(crate) async fn a_stop_is_graceful_with_open_streams(shared: World) {
    let topology: Topology = shared.deployment().topology();
    let Some(plan) = world::plan(topology).await else {
        return;
    };
    let deployment = Arc::new(plan.start().await);
    let world = World::of(Arc::clone(&deployment));
    let operator = world.operator().await;
    let nobody = world.anybody().identity_events().watch(WatchRequest::default()).await;
    refused(nobody, Code::Unauthenticated, "TOKEN_MISSING");
    let mut streams = Vec::new();
    for events in [operator.identity_events(), operator.organization_events(), operator.billing_events()] {
        let mut events = events;
        let mut stream = events.watch(WatchRequest::default()).await.expect("a stream").into_inner();
        stream.message().await.expect("an event or a heartbeat").expect("an open stream");
        streams.push(stream);
    }
    drop(world);
    let mut deployment = Arc::into_inner(deployment).expect("nobody else has it");
    let stopped = tokio::task::spawn_blocking(move || {
        let statuses = deployment.stop(STOPS_WITHIN);
        let logs: Vec<_> = deployment.processes().iter().map(bursar_testkit::Process::log).collect();
        (statuses, logs)
    });
    let (statuses, logs) = stopped.await.expect("it stops");
    for (status, log) in statuses.iter().zip(&logs) {
        assert!(status.success(), "{status:?}:\n{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
    for mut stream in streams {
        // The streams have ended, well or with an error; they do not hang.
        while let Ok(Some(_)) = stream.message().await {}
    }
}
