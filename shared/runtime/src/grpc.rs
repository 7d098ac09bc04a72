//! What every gRPC port has beside its service: limits, health, reflection, and the test clock's service.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bursar_proto::testing::v1::clock_service_server::ClockServiceServer;
use bursar_secret::Entropy;
use tonic::{service::Routes, transport::Server};

use crate::{
    Env, LimitSettings, Started,
    clock_service::Clockwork,
    health,
    places::{Kind, Places},
    readiness::PortHealth,
    reflection::{self, Index, Reflection},
};

/// How often a silent connection is asked whether anybody is there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// How long the answer may take.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Metadata of one call: two tokens and a trace fit many times over.
const HEADERS_MAX: u32 = 32 * 1024;
/// Frames up to this size, so that large messages need few of them.
const FRAME_MAX: u32 = 64 * 1024;
/// Connections live this many per cent longer or shorter than configured, so that replicas' clients do
/// not all reconnect at one time.
const AGE_JITTER_PERCENT: u64 = 10;

const HEALTH: &str = "grpc.health.v1.Health";
const CLOCK: &str = "bursar.testing.v1.ClockService";

/// A server with every limit set.
pub(crate) fn server(limits: &LimitSettings, entropy: &Entropy) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(HEADERS_MAX)
        .max_frame_size(FRAME_MAX)
        // The age alone: its companion, max_connection_age_grace, cuts sockets in the middle of a call.
        .max_connection_age(jittered(limits.connection_age, entropy))
}

/// `age` plus or minus up to [`AGE_JITTER_PERCENT`].
fn jittered(age: Duration, entropy: &Entropy) -> Duration {
    let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let reach = millis / 100 * AGE_JITTER_PERCENT;
    Duration::from_millis(millis - reach + entropy.u64_below(2 * reach + 1))
}

/// A service's routes with health, reflection (v1 and v1alpha) and, under a test clock, `ClockService`.
/// None of these passes through the tower stack: a busy service must still answer its probes. So their streams have places of
/// their own: as many as the port has connections, since a caller who watches health has one on each.
pub(crate) fn routes(
    started: &Started,
    health: &PortHealth,
    limits: &LimitSettings,
    env: &Env,
) -> anyhow::Result<Routes> {
    let streams = Places::new(limits.connections, Kind::Streams, started.service.name(), &env.meter);
    let mut names = started.health_services.clone();
    let mut beside = Routes::new(health::server(health.reporter(), streams.clone(), limits.connection_age));
    if env.clock.is_test() {
        names.push(CLOCK);
        beside = beside.add_service(ClockServiceServer::new(Clockwork::new(env.clock.clone())));
    }
    let v1 = reflection(&names, "grpc.reflection.v1.ServerReflection", &streams)?;
    let v1alpha = reflection(&names, "grpc.reflection.v1alpha.ServerReflection", &streams)?;
    let beside = beside.add_service(reflection::v1::server(v1)).add_service(reflection::v1alpha::server(v1alpha));
    // What no route takes is refused by the service's own routes, behind the stack.
    let beside = bursar_rpc::stack::reasoned(beside).into_axum_router().reset_fallback();
    Ok(Routes::from(started.routes.clone().into_axum_router().merge(beside)))
}

/// Lists what this port serves; describes all that there is.
fn reflection(names: &[&'static str], own: &str, streams: &Places) -> anyhow::Result<Reflection> {
    let sets = [
        bursar_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let names = names.iter().copied().chain([HEALTH, own]).map(str::to_owned);
    let index = Index::new(&sets, names).context("cannot prepare reflection")?;
    Ok(Reflection::new(Arc::new(index), streams.clone()))
}
