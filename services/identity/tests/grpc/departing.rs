//! Leaving: what is begun ends well, whoever is killed between two steps, hangs up or asks twice.

use std::sync::Arc;

use bursar_db::Engine;
use bursar_id::Role;
use bursar_proto::event::v1::WatchRequest;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::identity::v1::{
    DeleteMeRequest, GetMeRequest, ListSessionsRequest, RefreshRequest, RequestEmailVerificationRequest,
    SwitchContextRequest, UpdateMeRequest, VerifyEmailRequest,
};
use bursar_testkit::plans::{fill, numbers};
use bursar_testkit::{Client, PASSWORD, Person, Refusal, columns_with, refused};
use tonic::{Code, Status};

use crate::invoicing::{all_mailed, issued};
use crate::organization::org;
use crate::world::{World, becomes, switch, user};

/// Asks for the deletion under one request id.
async fn delete(who: &Person) -> Result<(), Status> {
    let request = DeleteMeRequest { request_id: "leave".to_owned() };
    who.client().users().delete_me(request).await.map(drop)
}

/// Asks for the deletion and is killed when organization has confirmed it and before identity hears of that.
pub(crate) async fn killed_in_between(world: &World, who: &Person) {
    let before = world.organization.departures().len();
    let gate = world.organization.hold();
    let asking = tokio::spawn({
        let who = who.clone();
        async move { delete(&who).await }
    });
    becomes(before + 1, async || world.organization.departures().len()).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    gate.add_permits(1_000);
}

async fn exists(world: &World, who: &Person) -> bool {
    let batch = bursar_proto::identity::v1::BatchGetUsersRequest { user_ids: vec![who.user.clone()] };
    let operator = world.operator().await;
    !operator.users().batch_get_users(batch).await.unwrap().into_inner().users.is_empty()
}

/// What identity has told of people's coming and going so far.
async fn told(world: &World) -> Vec<String> {
    let mut stream =
        world.operator().await.identity_events().watch(WatchRequest::default()).await.unwrap().into_inner();
    let mut told = Vec::new();
    loop {
        match stream.message().await.unwrap().unwrap().item {
            Some(Item::Event(event)) => match event.payload {
                Some(Payload::UserDeleted(gone)) => told.push(format!("{} gone", gone.user_id)),
                Some(Payload::UserStaying(stays)) => told.push(format!("{} stays {}", stays.user_id, stays.number)),
                _ => {}
            },
            _ => return told,
        }
    }
}

bursar_testkit::engines! {
    async fn whoever_is_leaving_does_nothing_else_and_may_ask_again(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        killed_in_between(&world, &ada).await;
        let (users, sessions, contexts) = (|| ada.client().users(), || ada.client().sessions(), || ada.client().contexts());
        let refresh_token = ada.tokens.refresh_token.clone();
        let outcomes = [
            users().get_me(GetMeRequest {}).await.map(drop),
            users().update_me(UpdateMeRequest { display_name: "Eve".to_owned(), ..Default::default() }).await.map(drop),
            sessions().list_sessions(ListSessionsRequest::default()).await.map(drop),
            sessions().refresh(RefreshRequest { refresh_token: refresh_token.clone() }).await.map(drop),
            contexts().switch_context(SwitchContextRequest { owner: ada.user.clone() }).await.map(drop),
            world.sign_in(&ada.email, PASSWORD).await.map(drop),
        ];
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let refusal = Refusal::of(&outcome.expect_err("is leaving"));
            assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Unavailable, "ACCOUNT_LEAVING"), "{n}");
        }
        // Nobody else learns of it: a stranger with the address is answered as always.
        world.sign_up(&ada.email).await;
        let again = RequestEmailVerificationRequest { email: ada.email.clone() };
        world.anybody.users().request_email_verification(again).await.expect("answered as always");
        assert!(exists(&world, &ada).await);
        delete(&ada).await.expect("joins the departure that is under way");
        assert!(!exists(&world, &ada).await);
        assert_eq!(world.organization.departures(), [(user(&ada), 1), (user(&ada), 1)], "one departure, asked twice");
        assert_eq!(told(&world).await, [format!("{} gone", ada.user)]);
        refused(delete(&ada).await, Code::Unauthenticated, "SESSION_ENDED");
    }

    async fn what_a_crash_left_behind_is_finished(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        killed_in_between(&world, &ada).await;
        world.pass(61);
        becomes(false, async || exists(&world, &ada).await).await;
        assert_eq!(told(&world).await, [format!("{} gone", ada.user)]);
        refused(world.sign_in(&ada.email, PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }

    async fn what_a_crash_left_behind_is_taken_back_when_organization_is_away(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        killed_in_between(&world, &ada).await;
        world.organization.set_away(true);
        world.pass(61);
        becomes(vec![format!("{} stays 1", ada.user)], async || told(&world).await).await;
        let back = Person::sign_in(&world.anybody, &ada.email).await;
        world.organization.set_away(false);
        delete(&back).await.expect("a new departure");
        assert_eq!(world.organization.departures().last(), Some(&(user(&ada), 2)));
        let all = [format!("{} stays 1", ada.user), format!("{} gone", ada.user)];
        assert_eq!(told(&world).await, all);
    }

    async fn the_address_of_the_dead_is_nowhere_any_more(db: TestDb) {
        let world = World::start(&db).await;
        // As its holder writes it, and as two spellings of it are compared.
        let (written, folded) = ("Ada.Lovelace@Example.com", "ada.lovelace@example.com");
        Person::sign_up(&world.anybody, "Ada", written).await;
        let token = world.mailbox.next_token(written).await;
        let verify = VerifyEmailRequest { token };
        world.anybody.users().verify_email(verify.clone()).await.expect("proven");
        world.anybody.users().verify_email(verify).await.expect("the link is followed again");
        let ada = Person::sign_in(&world.anybody, written).await;
        // Whatever is kept of an address or of a call that has one.
        let rename = UpdateMeRequest {
            display_name: "Countess".to_owned(),
            request_id: "rename".to_owned(),
            ..Default::default()
        };
        ada.client().users().update_me(rename).await.unwrap();
        world.sign_up(folded).await;
        let again = RequestEmailVerificationRequest { email: written.to_owned() };
        world.anybody.users().request_email_verification(again).await.unwrap();
        refused(world.sign_in(written, "a wrong one").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        world.organization.place(org(1), user(&ada), Some(Role::Member));
        ada.client().contexts().switch_context(SwitchContextRequest { owner: org(1).to_string() }).await.unwrap();
        for (spelling, column) in [(written, "users.email"), (folded, "users.email_key")] {
            let held = columns_with(&world.db, spelling).await;
            assert!(held.iter().any(|it| it == column), "{spelling}: {held:?}");
        }
        delete(&ada).await.expect("nothing is in the way");
        for spelling in [written, folded] {
            becomes(Vec::<String>::new(), async || columns_with(&world.db, spelling).await).await;
        }
    }

    async fn what_somebody_was_called_and_preferred_is_in_no_answer_that_is_kept(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let (name, choice) = ("Augusta Countess of Lovelace", "solarized at night");
        let value = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(choice.to_owned())) };
        let request = |request_id: &str| UpdateMeRequest {
            display_name: name.to_owned(),
            preferences: Some(prost_types::Struct { fields: [("theme".to_owned(), value.clone())].into() }),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        let tab = switch(ada.client(), &ada.user).await.unwrap();
        for (client, request_id) in [(ada.client(), "first"), (&world.anybody.with_token(&tab.access_token), "second")] {
            client.users().update_me(request(request_id)).await.unwrap();
        }
        let kept = async |text: &str| {
            let held = columns_with(&world.db, text).await;
            let of_hers = ["requests.", "users.", "preferences."];
            held.into_iter().filter(|it| of_hers.iter().any(|table| it.starts_with(table))).collect::<Vec<_>>()
        };
        assert_eq!(kept(name).await.len(), 2, "in the answers, and with the user");
        assert_eq!(kept(choice).await.len(), 2, "in the answers, and beside the user");
        delete(&ada).await.expect("nothing is in the way");
        for text in [name, choice] {
            assert_eq!(kept(text).await, Vec::<String>::new());
        }
    }

    async fn who_owns_something_stays_and_goes_on(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.organization.place(org(1), user(&ada), Some(Role::Owner));
        for number in 1..=2 {
            refused(delete(&ada).await, Code::FailedPrecondition, "OWNS_ORGANIZATIONS");
            ada.client().users().get_me(GetMeRequest {}).await.expect("goes on");
            assert_eq!(told(&world).await.len(), number);
        }
        world.organization.place(org(1), user(&ada), Some(Role::Admin));
        delete(&ada).await.expect("the refusals burnt no request id");
    }

    async fn a_departure_that_is_taken_back_while_it_is_confirmed_ends_nothing(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let gate = world.organization.hold();
        let asking = tokio::spawn({
            let ada = ada.clone();
            async move { delete(&ada).await }
        });
        becomes(1, async || world.organization.departures().len()).await;
        // A twin that gets no answer takes back what both began.
        world.organization.set_away(true);
        refused(delete(&ada).await, Code::Unavailable, "PEER_UNAVAILABLE");
        gate.add_permits(1_000);
        refused(asking.await.unwrap(), Code::Aborted, "CONFLICTING_CHANGE");
        ada.client().users().get_me(GetMeRequest {}).await.expect("lives on");
        assert_eq!(told(&world).await, [format!("{} stays 1", ada.user)]);
    }

    async fn twins_end_one_account_once(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let replica = world.replica().await;
        let clients: Vec<Client> = (0..8)
            .map(|n| if n % 2 == 0 { ada.client().clone() } else { replica.with_token(&ada.tokens.access_token) })
            .collect();
        let barrier = Arc::new(tokio::sync::Barrier::new(clients.len()));
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|client| {
                let barrier = Arc::clone(&barrier);
                tokio::spawn(async move {
                    barrier.wait().await;
                    client.users().delete_me(DeleteMeRequest { request_id: "leave".to_owned() }).await.map(drop)
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => done += 1,
                Err(status) => assert_eq!(Refusal::of(&status).reason, "SESSION_ENDED", "{status:?}"),
            }
        }
        assert!(done >= 1, "somebody is told that it is done");
        assert_eq!(told(&world).await, [format!("{} gone", ada.user)]);
    }
    async fn what_waits_to_be_mailed_to_the_dead_goes_with_them(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let waiting = "SELECT COUNT(*) FROM jobs WHERE kind = $1";
        becomes(0, async || world.count(waiting, "mail").await).await;
        // Nothing can be delivered from now on.
        std::fs::rename(world.path("mail"), world.path("delivered")).unwrap();
        std::fs::write(world.path("mail"), "").unwrap();
        world.pass(3_600);
        for who in [&ada, &ben] {
            world.sign_up(&who.email).await;
        }
        assert_eq!(world.count(waiting, "mail").await, 2, "each is told that the address is taken");
        delete(&Person::sign_in(&world.anybody, &ada.email).await).await.unwrap();
        assert_eq!(world.count(waiting, "mail").await, 1);
    }

    async fn what_waits_to_be_mailed_in_the_affairs_of_the_dead_goes_with_them(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        all_mailed(&world).await;
        // Nothing can be delivered from now on.
        std::fs::rename(world.path("mail"), world.path("delivered")).unwrap();
        std::fs::write(world.path("mail"), "").unwrap();
        // To an address that is nobody's here.
        issued(&world, &ada.user, "ivc_1", "ABC-2026-0001", "books@example.com").await;
        issued(&world, &ben.user, "ivc_2", "BEN-2026-0001", "books@example.com").await;
        let waiting = "SELECT COUNT(*) FROM jobs WHERE kind = $1";
        becomes(2, async || world.count(waiting, "mail.bulk").await).await;
        delete(&ada).await.expect("nothing is in the way");
        assert_eq!(world.count(waiting, "mail.bulk").await, 1, "the other's is left, at the same address");
    }

    async fn an_address_is_named_to_organization_where_it_was_proven_alone(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        // Anybody may sign up with an address: what others sent to it is its holder's.
        world.sign_up("holder@example.com").await;
        let eve = Person::sign_in(&world.anybody, "holder@example.com").await;
        delete(&eve).await.expect("nothing is in the way");
        delete(&ada).await.expect("nothing is in the way");
        assert_eq!(world.organization.addresses(), [String::new(), ada.email.clone()]);
    }
    /// Kind: nobody waits in a call for as long as they were busy: what is sure goes on without them, and is told of once.
    async fn who_has_more_than_a_call_deletes_is_answered_and_the_job_goes_on(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let digest = match db.engine() {
            Engine::Sqlite => "CAST(printf('%032d', n) AS BLOB)",
            Engine::Postgres => "convert_to(lpad(CAST(n AS TEXT), 32, '0'), 'UTF8')",
        };
        let links = format!(
            "INSERT INTO email_verifications (digest, user_id, email_key, expires_at) {} \
             SELECT {digest}, u.id, 'x', u.created_at + 3600000000 FROM c, users u WHERE u.id = '{}'",
            numbers(1, 12_000),
            ada.user
        );
        fill(&world.db, &[links]).await;
        delete(&ada).await.expect("it is sure to end");
        becomes(false, async || exists(&world, &ada).await).await;
        assert_eq!(told(&world).await, [format!("{} gone", ada.user)]);
    }
}
