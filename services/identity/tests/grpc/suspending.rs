//! Operators find users, suspend them and take it back: tokens and sessions end, what the user has stays.

use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{SnapshotRequest, UserStandingChanged, WatchRequest};
use bursar_proto::event_type::USER_STANDING_CHANGED;
use bursar_proto::identity::v1 as proto;
use bursar_proto::identity::v1::find_user_request::By;
use bursar_proto::identity::v1::{GetMeRequest, ListSessionsRequest, SwitchContextRequest, UpdateMeRequest};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{Client, PASSWORD, Person, Refusal, answers_with, audited, refused};
use tonic::{Code, Status};

use crate::world::{World, becomes};

fn suspend(user: &str, request_id: &str) -> proto::SuspendUserRequest {
    let (user_id, request_id) = (user.to_owned(), request_id.to_owned());
    proto::SuspendUserRequest { user_id, reason: "spam".to_owned(), request_id }
}

fn unsuspend(user: &str, request_id: &str) -> proto::UnsuspendUserRequest {
    proto::UnsuspendUserRequest { user_id: user.to_owned(), request_id: request_id.to_owned() }
}

fn by_id(user: &str) -> proto::FindUserRequest {
    proto::FindUserRequest { by: Some(By::UserId(user.to_owned())) }
}

fn by_email(email: &str) -> proto::FindUserRequest {
    proto::FindUserRequest { by: Some(By::Email(email.to_owned())) }
}

async fn found(operator: &Client, request: proto::FindUserRequest) -> Result<proto::FindUserResponse, Status> {
    Ok(operator.users().find_user(request).await?.into_inner())
}

/// The first words about who is suspended.
async fn told(operator: &Client, count: usize) -> Vec<UserStandingChanged> {
    let types = vec![USER_STANDING_CHANGED.to_owned()];
    let request = WatchRequest { types, cursor: String::new() };
    let mut stream = operator.identity_events().watch(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < count {
        if let Some(Item::Event(event)) = stream.message().await.unwrap().unwrap().item
            && let Some(Payload::UserStandingChanged(changed)) = event.payload
        {
            told.push(changed);
        }
    }
    told
}

/// Who is suspended, as a snapshot tells it.
async fn present(operator: &Client) -> Vec<UserStandingChanged> {
    let request = SnapshotRequest { types: vec![USER_STANDING_CHANGED.to_owned()] };
    let mut answers = operator.identity_events().snapshot(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        told.extend(answer.events.into_iter().filter_map(|event| match event.payload {
            Some(Payload::UserStandingChanged(changed)) => Some(changed),
            _ => None,
        }));
    }
    told
}

/// The reason that a call with the person's token is refused for.
async fn reason(client: &Client) -> String {
    match client.users().get_me(GetMeRequest {}).await {
        Ok(_) => "OK".to_owned(),
        Err(status) => Refusal::of(&status).reason,
    }
}

bursar_testkit::engines! {
    async fn whoever_is_suspended_is_refused_everywhere_and_signs_in_again_afterwards(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let elsewhere = Person::sign_in(&world.anybody, &ada.email).await;
        let replica = world.replica().await.with_token(&ada.tokens.access_token);
        let operator = world.operator().await;

        let answer = operator.users().suspend_user(suspend(&ada.user, "s1")).await.unwrap().into_inner();
        let suspension = answer.suspension.clone().unwrap();
        assert_eq!((answer.user.clone().unwrap().id, suspension.reason.as_str()), (ada.user.clone(), "spam"));
        assert_eq!(suspension.since, Some(to_timestamp(world.clock.now())));
        // Here at once, elsewhere within two seconds; whatever is asked, and whoever hands the token on.
        for client in [ada.client(), elsewhere.client()] {
            let all = [
                client.users().get_me(GetMeRequest {}).await.map(drop),
                client.users().update_me(UpdateMeRequest::default()).await.map(drop),
                client.sessions().list_sessions(ListSessionsRequest::default()).await.map(drop),
                client.contexts().switch_context(SwitchContextRequest { owner: ada.user.clone() }).await.map(drop),
                client.sessions().sign_out(proto::SignOutRequest {}).await.map(drop),
                client.keys().get_jwks(proto::GetJwksRequest {}).await.map(drop),
            ];
            for outcome in all {
                refused(outcome, Code::PermissionDenied, "USER_SUSPENDED");
            }
        }
        let handed_on = operator.for_user(&ada.tokens.access_token).users().get_me(GetMeRequest {}).await;
        refused(handed_on, Code::PermissionDenied, "USER_SUSPENDED");
        let start = std::time::Instant::now();
        becomes("USER_SUSPENDED".to_owned(), || reason(&replica)).await;
        assert!(start.elapsed().as_secs() < 2, "a replica knows only after {:?}", start.elapsed());
        assert_eq!(reason(ben.client()).await, "OK", "nobody else");
        // No new tokens: only the right password is told why.
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::PermissionDenied, "USER_SUSPENDED");
        refused(world.sign_in(&ada.email, PASSWORD).await, Code::PermissionDenied, "USER_SUSPENDED");
        let wrong = refused(world.sign_in(&ada.email, "wrong").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        assert_eq!(wrong, refused(world.sign_in("nobody@example.com", "wrong").await, Code::Unauthenticated, "CREDENTIALS_INVALID"));
        for _ in 0..30 {
            // The right password is no guess.
            refused(world.sign_in(&ada.email, PASSWORD).await, Code::PermissionDenied, "USER_SUSPENDED");
        }

        operator.users().unsuspend_user(unsuspend(&ada.user, "u1")).await.unwrap();
        refused(world.refresh(&ada.tokens.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_INVALID");
        assert_eq!(reason(ada.client()).await, "SESSION_ENDED", "what has ended stays so");
        let again = Person::sign_in(&world.anybody, &ada.email).await;
        assert_eq!((&again.user, reason(again.client()).await), (&ada.user, "OK".to_owned()));
    }

    async fn a_suspension_is_told_once_and_found(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let operator = world.operator().await;
        let one = found(&operator, by_id(&ada.user)).await.unwrap();
        assert_eq!((one.user.as_ref().map(|user| user.id.as_str()), one.suspension.clone()), (Some(ada.user.as_str()), None));
        assert_eq!(found(&operator, by_email("ADA@example.com")).await.unwrap(), one);
        let first = operator.users().suspend_user(suspend(&ada.user, "s1")).await.unwrap().into_inner();
        assert_eq!(operator.users().suspend_user(suspend(&ada.user, "s1")).await.unwrap().into_inner(), first, "a repetition");
        world.pass(60);
        let other = proto::SuspendUserRequest { reason: "other".to_owned(), ..suspend(&ada.user, "s2") };
        let again = operator.users().suspend_user(other).await.unwrap().into_inner();
        assert_eq!(again.suspension, first.suspension, "suspended already");
        assert_eq!(found(&operator, by_email("ada@example.com")).await.unwrap().suspension, first.suspension);
        operator.users().unsuspend_user(unsuspend(&ada.user, "u1")).await.unwrap();
        operator.users().unsuspend_user(unsuspend(&ada.user, "u2")).await.unwrap();
        operator.users().suspend_user(suspend(&ben.user, "s3")).await.unwrap();
        operator.users().suspend_user(suspend(&ada.user, "s4")).await.unwrap();
        let word = |user: &str, suspended, version| UserStandingChanged { user_id: user.to_owned(), suspended, version };
        let (a, b) = (&ada.user, &ben.user);
        assert_eq!(told(&operator, 4).await, [word(a, true, 1), word(a, false, 2), word(b, true, 1), word(a, true, 3)]);
        let mut all = [word(a, true, 3), word(b, true, 1)];
        all.sort_by(|one, other| one.user_id.cmp(&other.user_id));
        assert_eq!(present(&operator).await, all);
        let rows: Vec<_> = audited(&world.db).await.into_iter().filter(|row| row.method.contains("uspendUser")).collect();
        assert_eq!(rows.len(), 6, "each that took effect, none for the repetition: {rows:#?}");
        assert!(rows.iter().all(|row| row.actor.starts_with("svc_") && row.owner.is_none() && row.target.is_some()));
    }

    async fn what_is_kept_for_repetitions_holds_no_address_and_ends_with_the_account(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, operator) = (world.join("Ada").await, world.operator().await);
        let rename = UpdateMeRequest {
            display_name: "Adele".to_owned(),
            request_id: "n1".to_owned(),
            ..UpdateMeRequest::default()
        };
        let renamed = ada.client().users().update_me(rename.clone()).await.unwrap().into_inner();
        assert_eq!(renamed.user.as_ref().map(|user| user.email.as_str()), Some(ada.email.as_str()));
        assert_eq!(ada.client().users().update_me(rename).await.unwrap().into_inner(), renamed, "a repetition");
        let suspended = operator.users().suspend_user(suspend(&ada.user, "s1")).await.unwrap().into_inner();
        let freed = operator.users().unsuspend_user(unsuspend(&ada.user, "u1")).await.unwrap().into_inner();
        assert_eq!(freed.user, suspended.user);
        let again = operator.users().unsuspend_user(unsuspend(&ada.user, "u1")).await.unwrap().into_inner();
        assert_eq!(again, freed, "a repetition");
        assert!(answers_with(&world.db, "").await >= 3, "of each of the three");
        assert_eq!((answers_with(&world.db, &ada.email).await, answers_with(&world.db, "spam").await), (0, 0));
        assert_eq!(answers_with(&world.db, "Adele").await, 1, "what the user asked for is, for the user");
        // What was suspended and is not any more, and then is gone.
        let mut expected = suspended.clone();
        expected.suspension.as_mut().unwrap().reason.clear();
        let again = operator.users().suspend_user(suspend(&ada.user, "s1")).await.unwrap().into_inner();
        assert_eq!(again, expected, "which suspension it was");
        let ada = Person::sign_in(&world.anybody, &ada.email).await;
        let leave = proto::DeleteMeRequest { request_id: "d1".to_owned() };
        ada.client().users().delete_me(leave).await.unwrap();
        let own = "SELECT COUNT(*) FROM requests WHERE scope LIKE $1 || '%' AND method NOT LIKE '%/DeleteMe'";
        assert_eq!(world.count(own, &ada.user).await, 0, "answers end with the account");
        assert_eq!(answers_with(&world.db, "Adele").await, 0);
        let again = operator.users().suspend_user(suspend(&ada.user, "s1")).await.unwrap().into_inner();
        let user = proto::User { id: ada.user.clone(), ..proto::User::default() };
        assert_eq!((again.user, again.suspension), (Some(user), expected.suspension));
    }

    async fn operators_alone_suspend_and_find_and_only_whom_there_is(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, operator) = (world.join("Ada").await, world.operator().await);
        let nobody = bursar_testkit::id::<bursar_id::kinds::User>(404).to_string();
        refused(found(&operator, by_id(&nobody)).await, Code::NotFound, "NOT_FOUND");
        refused(found(&operator, by_email("nobody@example.com")).await, Code::NotFound, "NOT_FOUND");
        refused(operator.users().suspend_user(suspend(&nobody, "")).await, Code::NotFound, "NOT_FOUND");
        refused(operator.users().unsuspend_user(unsuspend(&nobody, "")).await, Code::NotFound, "NOT_FOUND");
        for request in [by_id("usr_1"), by_email("nonsense"), proto::FindUserRequest::default()] {
            refused(found(&operator, request).await, Code::InvalidArgument, "INVALID_FIELDS");
        }
        let bad = proto::SuspendUserRequest { reason: "x".repeat(501), ..suspend("usr_1", "\n") };
        let bad = refused(operator.users().suspend_user(bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["reason", "request_id", "user_id"]);
        refused(operator.users().unsuspend_user(unsuspend("", "")).await, Code::InvalidArgument, "INVALID_FIELDS");
        for (client, code, reason) in [
            (ada.client(), Code::PermissionDenied, "CALLER_NOT_ALLOWED"),
            (&world.anybody, Code::Unauthenticated, "TOKEN_MISSING"),
        ] {
            refused(found(client, by_id(&ada.user)).await, code, reason);
            refused(client.users().suspend_user(suspend(&ada.user, "")).await, code, reason);
            refused(client.users().unsuspend_user(unsuspend(&ada.user, "")).await, code, reason);
        }
        assert_eq!(reason(ada.client()).await, "OK");
        // A replica that starts knows from the first call on.
        operator.users().suspend_user(suspend(&ada.user, "")).await.unwrap();
        let started = world.replica().await.with_token(&ada.tokens.access_token);
        assert_eq!(reason(&started).await, "USER_SUSPENDED");
    }

    async fn a_sign_in_beside_a_suspension_leaves_no_session(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        for round in 0..6 {
            let ada = world.join(&format!("ada{round}")).await;
            let (sign_in, refresh) = (world.sign_in(&ada.email, PASSWORD), world.refresh(&ada.tokens.refresh_token));
            let mut users = operator.users();
            let suspending = users.suspend_user(suspend(&ada.user, ""));
            let (signed_in, refreshed, suspended) = tokio::join!(sign_in, refresh, suspending);
            suspended.unwrap();
            let live = "SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL AND user_id = $1";
            assert_eq!(world.count(live, &ada.user).await, 0, "{signed_in:?} {refreshed:?}");
            if let Ok(tokens) = refreshed {
                refused(world.refresh(&tokens.refresh_token).await, Code::PermissionDenied, "USER_SUSPENDED");
            }
        }
    }
}
