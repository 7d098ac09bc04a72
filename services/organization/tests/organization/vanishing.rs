//! A database host that vanishes at any step of a mutation: the caller hears so, others are served again, and the same
//! request id makes the thing once.

use std::time::{Duration, Instant};

use bursar_proto::organization::v1 as proto;
use bursar_runtime::Service;
use bursar_testkit::{Proxy, TestDb, Vanish, postgres};
use tonic::{Code, Status};

use crate::world::{Who, World};

/// How soon others are served again by new connections, and what a busy machine may add to that.
const OTHERS_WITHIN: Duration = Duration::from_secs(2 + 3);

async fn create(who: &Who, owner: &str, request_id: &str) -> Result<String, Status> {
    let request = proto::CreateProjectRequest {
        owner: owner.to_owned(),
        name: "Film".to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    Ok(who.client.projects().create_project(request).await?.into_inner().project.expect("a project").id)
}

async fn until_created(who: &Who, owner: &str, request_id: &str) -> String {
    let since = Instant::now();
    loop {
        match create(who, owner, request_id).await {
            Ok(id) => return id,
            Err(status) => {
                let again = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                assert!(again && since.elapsed() < Duration::from_mins(1), "{status:?}");
            }
        }
    }
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_mutation_loses_and_doubles_nothing() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        let world = World::start_with(db, |settings| {
            settings.stores[Service::Organization] = proxy.store_url();
            settings.postgres.acquire_timeout = Duration::from_secs(5);
            settings.limits.deadline = Duration::from_secs(4);
        })
        .await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (hers, his) = (ada.user.to_string(), ben.user.to_string());
        create(&ada, &hers, "first").await.expect("made");
        let (mut made, mut unknown) = (1, 0);
        for seen in [false, true] {
            for after in 0..60 {
                let named = format!("{seen} {after}");
                proxy.arm(Vanish { after, seen });
                let since = Instant::now();
                let told = create(&ada, &hers, &named).await;
                assert!(since.elapsed() < Duration::from_secs(10), "{named}: {:?}", since.elapsed());
                let over = proxy.disarm();
                let others = Instant::now();
                until_created(&ben, &his, &named).await;
                assert!(others.elapsed() < OTHERS_WITHIN, "{named}: others after {:?}", others.elapsed());
                let once = until_created(&ada, &hers, &named).await;
                assert_eq!(create(&ada, &hers, &named).await.expect("replayed"), once, "{named}");
                made += 1;
                match told {
                    Ok(id) => assert_eq!(id, once, "{named}"),
                    Err(status) => {
                        unknown += 1;
                        let code = status.code();
                        assert!(matches!(code, Code::Unavailable | Code::DeadlineExceeded), "{named}: {status:?}");
                    }
                }
                if over {
                    break;
                }
            }
        }
        assert!(unknown >= 2, "some steps were never answered");
        let all = proto::ListProjectsRequest { owner: hers, page_size: 1_000, page_token: String::new() };
        let all = ada.client.projects().list_projects(all).await.expect("listed").into_inner();
        assert_eq!(all.projects.len(), made, "each once");
    });
}
