//! What a token says of a membership is asked of organization; what it told before serves only while it is not old.

use std::time::Duration;

use bursar_id::Role;
use bursar_proto::identity::v1::{RefreshRequest, TokenSet};
use bursar_testkit::{Person, refused};
use tonic::Code;

use crate::organization::org;
use crate::world::{World, becomes, role, switch, user};

/// Somebody with a place in the first organization, and the pair of a branch in it.
async fn member(world: &World) -> (Person, TokenSet) {
    let ada = world.join("Ada").await;
    world.organization.place(org(1), user(&ada), Some(Role::Member));
    let tokens = switch(ada.client(), &org(1).to_string()).await.unwrap();
    (ada, tokens)
}

async fn stale(world: &World, tokens: &TokenSet) {
    let refresh_token = tokens.refresh_token.clone();
    let refusal = refused(
        world.anybody.sessions().refresh(RefreshRequest { refresh_token }).await,
        Code::Unavailable,
        "FEED_STALE",
    );
    assert!(refusal.retryable);
}

bursar_testkit::engines! {
    async fn a_refresh_asks_organization_what_somebody_is_now(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, tokens) = member(&world).await;
        // No event tells of any of it.
        world.organization.place(org(1), user(&ada), Some(Role::Admin));
        let tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(role(&tokens).as_deref(), Some("ADMIN"));
        world.organization.place(org(1), user(&ada), None);
        let tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!((tokens.owner.as_str(), role(&tokens)), (org(1).to_string().as_str(), None), "it opens nothing");
    }

    async fn while_organization_is_away_its_last_word_serves_until_it_is_too_old(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, tokens) = member(&world).await;
        let home = ada.tokens.clone();
        world.organization.set_away(true);
        world.organization.events.fall_silent();
        let tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(role(&tokens).as_deref(), Some("MEMBER"));
        // One more sign of life may have been on its way: the second time there is none.
        becomes(true, || async {
            world.env.monotonic.advance(world.settings.max_staleness + Duration::from_secs(1));
            world.ready.note().unwrap_or_default().contains("stale above")
        })
        .await;
        stale(&world, &tokens).await;
        world.refresh(&home.refresh_token).await.expect("the personal context needs nobody else");
        refused(switch(ada.client(), &org(1).to_string()).await, Code::Unavailable, "PEER_UNAVAILABLE");
        // Organization need only answer, and the refresh token was not used up.
        world.organization.set_away(false);
        let tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(role(&tokens).as_deref(), Some("MEMBER"));
    }

    async fn after_an_event_that_cannot_be_read_only_a_live_answer_serves(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, tokens) = member(&world).await;
        world.organization.place(org(2), user(&ada), Some(Role::Member));
        let other = switch(ada.client(), &org(2).to_string()).await.unwrap();
        world.organization.blot(org(1)).await;
        becomes(true, || async { world.ready.note().unwrap_or_default().contains("1 of its events set aside") }).await;
        let tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(role(&tokens).as_deref(), Some("MEMBER"), "organization was asked");
        world.organization.set_away(true);
        stale(&world, &tokens).await;
        let other = world.refresh(&other.refresh_token).await.unwrap();
        assert_eq!(role(&other).as_deref(), Some("MEMBER"), "of another organization nothing is in doubt");
    }
}
