//! A database host that vanishes at any step of a mutation: the caller hears so, others are served again, and what was
//! asked for takes effect.

use std::time::{Duration, Instant};

use bursar_proto::identity::v1::{GetMeRequest, UpdateMeRequest};
use bursar_runtime::Service;
use bursar_testkit::{Person, Proxy, TestDb, Vanish, postgres};
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::world::World;

/// How soon others are served again by new connections, and what a busy machine may add to that.
const OTHERS_WITHIN: Duration = Duration::from_secs(2 + 3);

async fn rename(person: &Person, name: &str) -> Result<String, Status> {
    let request = UpdateMeRequest {
        display_name: name.to_owned(),
        update_mask: Some(FieldMask { paths: vec!["display_name".to_owned()] }),
        request_id: name.replace(' ', "-"),
    };
    Ok(person.client().users().update_me(request).await?.into_inner().user.expect("a user").display_name)
}

async fn until_renamed(person: &Person, name: &str) {
    let since = Instant::now();
    loop {
        match rename(person, name).await {
            Ok(now) => return assert_eq!(now, name),
            Err(status) => {
                let again = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                assert!(again && since.elapsed() < Duration::from_mins(1), "{status:?}");
            }
        }
    }
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_mutation_loses_nothing() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        let world = World::start_with(&db, |settings| {
            settings.stores[Service::Identity] = proxy.store_url();
            settings.limits.deadline = Duration::from_secs(4);
        })
        .await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let mut unknown = 0;
        for seen in [false, true] {
            for after in 0..60 {
                let name = format!("Ada {seen} {after}");
                proxy.arm(Vanish { after, seen });
                let since = Instant::now();
                let told = rename(&ada, &name).await;
                assert!(since.elapsed() < Duration::from_secs(10), "{name}: {:?}", since.elapsed());
                let over = proxy.disarm();
                let others = Instant::now();
                until_renamed(&ben, &format!("Ben {seen} {after}")).await;
                assert!(others.elapsed() < OTHERS_WITHIN, "{name}: others after {:?}", others.elapsed());
                if let Err(status) = told {
                    unknown += 1;
                    assert!(matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded), "{name}: {status:?}");
                }
                until_renamed(&ada, &name).await;
                let me = ada.client().users().get_me(GetMeRequest {}).await.expect("me").into_inner();
                assert_eq!(me.user.expect("a user").display_name, name);
                if over {
                    break;
                }
            }
        }
        assert!(unknown >= 2, "some steps were never answered");
    });
}
