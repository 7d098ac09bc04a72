//! Organizations whose members must have proven a second factor: what a branch gets that shows none, and one that does.

use std::time::{Duration, Instant};

use bursar_db::{DbError, on};
use bursar_id::Role;
use bursar_members::{OwnPolicy, SecondFactor};
use bursar_proto::identity::v1::{SwitchContextRequest, TokenSet};
use bursar_testkit::{Client, refused};
use tonic::{Code, Status};

use crate::organization::org;
use crate::world::{World, claims, user};

const REQUIRED: &str = "SECOND_FACTOR_ENROLLMENT_REQUIRED";

/// How soon a policy must hold.
const SOON: Duration = Duration::from_secs(2);

async fn switch(client: &Client, owner: &str) -> Result<TokenSet, Status> {
    let request = SwitchContextRequest { owner: owner.to_owned() };
    Ok(client.contexts().switch_context(request).await?.into_inner().tokens.unwrap())
}

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

fn role(tokens: &TokenSet) -> Option<String> {
    claims(&tokens.access_token).get("role").map(|role| role.as_str().unwrap().to_owned())
}

/// Refreshes until the role is this.
async fn becomes(world: &World, tokens: TokenSet, wanted: Option<&str>) -> TokenSet {
    let (start, mut tokens) = (Instant::now(), tokens);
    loop {
        tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(tokens.owner, org(1).to_string(), "the branch stays where it is");
        if role(&tokens).as_deref() == wanted {
            return tokens;
        }
        assert!(start.elapsed() < SOON, "{:?} and not {wanted:?}", role(&tokens));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
        let inside = becomes(&world, inside, None).await;
        refused(switch(ada.client(), &org(1).to_string()).await, Code::FailedPrecondition, REQUIRED);
        for elsewhere in [org(2).to_string(), ada.user.clone()] {
            switch(ada.client(), &elsewhere).await.expect("it is required nowhere else");
        }
        refused(switch(ada.client(), &org(404).to_string()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        // Nor when organization cannot be asked, and its last word serves.
        world.organization.set_away(true);
        let inside = becomes(&world, inside, None).await;
        world.organization.set_away(false);

        prove(&world, &ada.tokens.session_id).await;
        let proven = becomes(&world, inside, Some("ADMIN")).await;
        let client = world.anybody.with_token(&proven.access_token);
        let again = switch(&client, &org(1).to_string()).await.expect("proven");
        assert_eq!(claims(&again.access_token)["amr"], serde_json::json!(["pwd", "otp"]));
        refused(switch(ada.client(), &org(1).to_string()).await, Code::FailedPrecondition, REQUIRED);

        world.organization.decides(org(1), OwnPolicy::default(), 2).await;
        let start = Instant::now();
        while let Err(status) = switch(ada.client(), &org(1).to_string()).await {
            assert!(start.elapsed() < SOON, "{status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
