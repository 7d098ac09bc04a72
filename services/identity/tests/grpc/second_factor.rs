//! Organizations whose members must have proven a second factor: what a branch gets that shows none, and one that does.

use std::time::Instant;

use bursar_db::{DbError, on};
use bursar_id::Role;
use bursar_members::{OwnPolicy, SecondFactor};
use bursar_testkit::refused;
use tonic::Code;

use crate::organization::org;
use crate::world::{SOON, World, becomes, claims, role, switch, user};

const REQUIRED: &str = "SECOND_FACTOR_ENROLLMENT_REQUIRED";

/// Notes a one-time password on every branch of a session, as signing in with one does.
async fn prove(world: &World, session: &str) {
    let write = async {
        let mut tx = world.db.begin().await?;
        let statement = "UPDATE refresh_tokens SET methods = 'pwd otp' WHERE session_id = $1";
        let done = on!(&mut tx, c => sqlx::query(statement).bind(session).execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok::<_, DbError>(done)
    };
    assert!(write.await.unwrap() > 0, "the session has branches");
}

bursar_testkit::engines! {
    async fn a_branch_without_a_second_factor_gets_no_token_where_one_is_required(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        for n in 1..=2 {
            world.organization.change(org(n), user(&ada), Some(Role::Admin)).await;
        }
        let inside = switch(ada.client(), &org(1).to_string()).await.expect("nothing is required yet");
        assert_eq!(role(&inside).as_deref(), Some("ADMIN"));
        let required = OwnPolicy { second_factor: Some(SecondFactor::Required), ..OwnPolicy::default() };
        world.organization.decides(org(1), required, 1).await;
        let inside = world.refreshed_until(inside, None).await;
        refused(switch(ada.client(), &org(1).to_string()).await, Code::FailedPrecondition, REQUIRED);
        for elsewhere in [org(2).to_string(), ada.user.clone()] {
            switch(ada.client(), &elsewhere).await.expect("it is required nowhere else");
        }
        refused(switch(ada.client(), &org(404).to_string()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        // Nor when organization cannot be asked, and its last word serves.
        world.organization.set_away(true);
        let inside = world.refreshed_until(inside, None).await;
        world.organization.set_away(false);

        prove(&world, &ada.tokens.session_id).await;
        let proven = world.refreshed_until(inside, Some("ADMIN")).await;
        let client = world.anybody.with_token(&proven.access_token);
        let again = switch(&client, &org(1).to_string()).await.expect("proven");
        assert_eq!(claims(&again.access_token)["amr"], serde_json::json!(["pwd", "otp"]));
        refused(switch(ada.client(), &org(1).to_string()).await, Code::FailedPrecondition, REQUIRED);

        world.organization.decides(org(1), OwnPolicy::default(), 2).await;
        let start = Instant::now();
        becomes(true, || async { switch(ada.client(), &org(1).to_string()).await.is_ok() }).await;
        assert!(start.elapsed() < SOON, "it is let in only after {:?}", start.elapsed());
    }
}
