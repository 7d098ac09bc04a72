//! People behind a service that does not say where they are: an operator hears of it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use bursar_proto::testing::v1::clock_service_client::ClockServiceClient;
use bursar_proto::testing::v1::clock_service_server::{ClockService, ClockServiceServer};
use bursar_proto::testing::v1::{AdvanceRequest, AdvanceResponse, GetRequest, GetResponse, SetRequest, SetResponse};
use bursar_rpc::{Limits, Origin, ServiceRole, Transport, stack};
use common::{Issuer, bearer, deps, for_user, with};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// `Get` counts by place, `Set` does not.
struct Counting;

#[tonic::async_trait]
impl ClockService for Counting {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let _counted_by = Origin::of(&request);
        Ok(Response::new(GetResponse::default()))
    }
    async fn set(&self, _: Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        Ok(Response::new(SetResponse::default()))
    }
    async fn advance(&self, _: Request<AdvanceRequest>) -> Result<Response<AdvanceResponse>, Status> {
        Err(Status::unknown("not used"))
    }
}

/// How many calls were counted for the place of a service, by method.
fn unstated(exporter: &InMemoryMetricExporter) -> Vec<(String, u64)> {
    let mut counted = Vec::new();
    let finished = exporter.get_finished_metrics().expect("exported");
    if let Some(resource) = finished.last() {
        for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
            if metric.name() != "bursar.origins.unstated" {
                continue;
            }
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { panic!("not a sum") };
            for point in sum.data_points() {
                let labels: Vec<String> = point.attributes().map(|label| label.value.to_string()).collect();
                counted.push((labels.join(" "), point.value()));
            }
        }
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_who_are_counted_for_the_place_of_a_service_are_counted_for_the_operator() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let issuer = Issuer::ours();
    let mut deps = deps(issuer.keys(), Limits::default());
    deps.meter = provider.meter("test");
    let transport = Transport::routes(stack(Routes::new(ClockServiceServer::new(Counting)), deps));
    let mut clocks = ClockServiceClient::new(transport);

    let (product, user) = (bearer(&issuer.service(ServiceRole::Product)), for_user(&issuer.user()));
    let stated = |address: &str| ("bursar-client-address", address.to_owned());
    let told = [
        vec![stated("203.0.113.5")],
        vec![bearer(&issuer.user())],
        vec![product.clone(), stated("203.0.113.5")],
        vec![product.clone(), user.clone(), stated("203.0.113.5")],
        // Bursar's own services hand on nothing that is counted by place.
        vec![bearer(&issuer.service(ServiceRole::Identity))],
    ];
    for headers in &told {
        clocks.get(with(GetRequest::default(), headers)).await.expect("answered");
    }
    clocks.set(with(SetRequest::default(), std::slice::from_ref(&product))).await.expect("nobody counts places");
    provider.force_flush().expect("flushed");
    assert!(unstated(&exporter).is_empty());

    let untold = [vec![product.clone()], vec![product.clone(), user], vec![product, stated("")]];
    for headers in &untold {
        clocks.get(with(GetRequest::default(), headers)).await.expect("answered");
    }
    provider.force_flush().expect("flushed");
    assert_eq!(unstated(&exporter), [("bursar.testing.v1.ClockService/Get".to_owned(), 3)]);
}
