//! For whom a call takes connections of the store: the one it counts for among the calls in work.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::sync::{Arc, Mutex};

use bursar_db::Asker;
use bursar_id::UserId;
use bursar_proto::event::v1::WatchRequest;
use bursar_proto::event::v1::event_service_client::EventServiceClient;
use bursar_proto::identity::v1::ListContextsRequest;
use bursar_proto::identity::v1::context_service_client::ContextServiceClient;
use bursar_proto::testing::v1::GetRequest;
use bursar_proto::testing::v1::clock_service_client::ClockServiceClient;
use bursar_rpc::token::AccessClaims;
use bursar_rpc::{ServiceRole, Transport};
use common::{Issuer, Probe, bearer, both_ways, for_user, user_claims, with};

fn probe() -> Probe {
    Probe::new(|_| async { Ok(format!("{:?}", Asker::current())) })
}

async fn asker(transport: &Transport, headers: &[(&'static str, String)]) -> String {
    let mut client = ContextServiceClient::new(transport.clone());
    let answer = client.list_contexts(with(ListContextsRequest::default(), headers)).await;
    answer.expect("answered").into_inner().next_page_token
}

#[tokio::test]
async fn a_call_takes_connections_for_the_caller_it_counts_for() {
    let issuer = Issuer::ours();
    let ada = bearer(&issuer.user());
    let ben = bearer(&issuer.sign(&AccessClaims { sub: UserId::from_parts(1, [5; 10]), ..user_claims() }));
    let through_a_service = [bearer(&issuer.service(ServiceRole::Product)), for_user(&issuer.user())];
    for (way, transport) in both_ways(probe().routes(&issuer)).await {
        let hers = asker(&transport, std::slice::from_ref(&ada)).await;
        let his = asker(&transport, std::slice::from_ref(&ben)).await;
        assert!(hers.starts_with("Caller(") && his.starts_with("Caller("), "{way}: {hers}, {his}");
        assert_ne!(hers, his, "{way}");
        assert_eq!(hers, asker(&transport, &through_a_service).await, "{way}: she is the same through a service");
    }
}

#[tokio::test]
async fn who_proves_nothing_takes_connections_for_the_place_the_call_comes_from() {
    let (issuer, askers) = (Issuer::ours(), Arc::<Mutex<Vec<Asker>>>::default());
    let seen = Arc::clone(&askers);
    let probe = Probe::new(move |_| {
        seen.lock().expect("nobody panics").push(Asker::current());
        async { Ok(String::new()) }
    });
    for (_, transport) in both_ways(probe.routes(&issuer)).await {
        for _ in 0..2 {
            let mut client = ClockServiceClient::new(transport.clone());
            client.get(with(GetRequest::default(), &[])).await.expect("answered");
        }
    }
    let askers = askers.lock().expect("nobody panics").clone();
    assert_eq!(askers.len(), 4);
    assert!(askers.iter().all(|asker| matches!(asker, Asker::Caller(_))), "{askers:?}");
    assert!(askers[0] == askers[1] && askers[2] == askers[3] && askers[1] != askers[2], "{askers:?}");
}

#[tokio::test]
async fn a_stream_takes_connections_for_its_caller_until_its_end() {
    let issuer = Issuer::ours();
    let billing = bearer(&issuer.service(ServiceRole::Billing));
    for (way, transport) in both_ways(probe().routes(&issuer)).await {
        let request = WatchRequest { types: vec!["asker".to_owned()], ..WatchRequest::default() };
        let mut events = EventServiceClient::new(transport);
        let stream = events.watch(with(request, std::slice::from_ref(&billing))).await;
        let mut stream = stream.expect("a stream").into_inner();
        let first = stream.message().await.expect("its handler's").expect("a message").cursor;
        let second = stream.message().await.expect("the stream's own").expect("a message").cursor;
        assert!(first.starts_with("Service("), "{way}: {first}");
        assert_eq!(first, second, "{way}");
    }
}
