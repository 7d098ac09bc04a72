//! Races with the end of an organization: whatever comes first, what was answered holds.

use bursar_db::DbError;
use bursar_id::{Role, UserId};
use bursar_organization::domain::standing::{Deletion, Standing};
use bursar_organization::store::{organizations, standings};
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::OrganizationState::{Active, Deleted};
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, refused, rounds};
use tonic::{Code, Status};

use crate::contents::{collected, start, upload};
use crate::library::{create, item};
use crate::purging::{GRACE, due, purge_of, rows_left};
use crate::races::{Checker, TASKS, race as crowd};
use crate::world::{Who, World, accept, delete, get, invite, transfer, undelete, until};

/// The reason of a refusal; `OK` for none.
fn reason<T>(outcome: &Result<T, Status>) -> String {
    outcome.as_ref().map_or_else(|status| Refusal::of(status).reason, |_| "OK".to_owned())
}

/// Runs both at once, in either order of beginning.
async fn race<A: Send + 'static, B: Send + 'static>(
    round: u64,
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    if round.is_multiple_of(2) {
        let (one, other) = (tokio::spawn(one), tokio::spawn(other));
        (one.await.expect("no panic"), other.await.expect("no panic"))
    } else {
        let (other, one) = (tokio::spawn(other), tokio::spawn(one));
        (one.await.expect("no panic"), other.await.expect("no panic"))
    }
}

async fn deleting(who: Who, acme: proto::Organization) -> Result<proto::Organization, Status> {
    delete(&who, &acme).await
}

async fn new_project(who: &Who, owner: &str) -> Result<(), Status> {
    let request = proto::CreateProjectRequest { owner: owner.to_owned(), name: "P".to_owned(), ..Default::default() };
    who.client.projects().create_project(request).await.map(drop)
}

/// Lets every grace end, and waits until these are purged.
async fn all_purged(world: &World, ids: &[String]) {
    world.advance(GRACE);
    for id in ids {
        until("it is purged", async || world.standings_of(id).await.last().is_some_and(|(_, purged, _)| *purged)).await;
        let left = rows_left(world, id).await;
        assert!(left.values().all(|rows| *rows == 0), "{left:?}");
    }
}

bursar_testkit::engines! {
    async fn of_undelete_and_purge_exactly_one_begins(db: TestDb) {
        let world = World::generous(db).await;
        let (ada, organization) = (world.who(1), world.at_rest().await);
        let checker = Checker::of(&world).await;
        for round in 0..rounds() {
            let acme = world.create(&ada, "Acme").await;
            new_project(&world.acting(&ada, &acme.id), &acme.id).await.expect("made");
            delete(&ada, &acme).await.expect("deleted");
            // Its clock is a little ahead of the other's.
            let (purge, now) = (purge_of(&acme), due(&world));
            let outcomes = crowd(TASKS, |n| {
                let (ada, id, organization) = (ada.clone(), acme.id.clone(), organization.clone());
                async move {
                    if n % 2 == round % 2 {
                        return Some(reason(&undelete(&ada, &id).await));
                    }
                    let erased = organization.purge(purge, now).await;
                    assert!(matches!(erased, Ok(false)), "{erased:?}");
                    None
                }
            })
            .await;
            let mut told: Vec<_> = outcomes.into_iter().flatten().collect();
            told.sort();
            told.dedup();
            let stood = world.standings_of(&acme.id).await;
            if told.iter().any(|reason| reason == "OK") {
                assert!(told.iter().all(|it| ["OK", "ORGANIZATION_NOT_DELETED"].contains(&it.as_str())), "{told:?}");
                assert_eq!(stood, [(Deleted, false, 1), (Active, false, 2)]);
                assert_eq!(get(&ada, &acme.id).await.expect("it").state(), Active);
                assert_eq!(rows_left(&world, &acme.id).await["projects"], 1, "nothing is erased");
            } else {
                assert!(told.iter().all(|it| ["PURGE_BEGUN", "NOT_A_MEMBER"].contains(&it.as_str())), "{told:?}");
                assert_eq!(stood, [(Deleted, false, 1), (Deleted, true, 2)]);
                refused(get(&ada, &acme.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
                assert_eq!(rows_left(&world, &acme.id).await["projects"], 0);
            }
        }
        checker.ends().await;
    }

    async fn what_comes_into_a_library_while_it_ends_leaves_nothing(db: TestDb) {
        let world = World::generous(db).await;
        let ada = world.who(1);
        let mut ids = Vec::new();
        for round in 0..rounds() {
            let acme = world.create(&ada, "Acme").await;
            let acting = world.acting(&ada, &acme.id);
            let asset = create(&acting.client, item(&acme.id, "brand_asset", "Logo")).await.expect("made").id;
            let bytes = format!("round {round}").into_bytes();
            let uploading = {
                let client = acting.client.clone();
                async move { upload(&client, start(&asset, &bytes), &bytes).await }
            };
            let (given, deleted) = race(round, uploading, deleting(ada.clone(), acme.clone())).await;
            deleted.expect("deleted");
            assert!(["OK", "ORGANIZATION_DELETED"].contains(&reason(&given).as_str()), "{given:?}");
            ids.push(acme.id);
        }
        all_purged(&world, &ids).await;
        collected(&world, 0).await;
    }

    async fn what_is_made_while_an_organization_ends_is_erased_with_it(db: TestDb) {
        let world = World::generous(db).await;
        let (ada, organization) = (world.who(1), world.at_rest().await);
        for round in 0..rounds() {
            let acme = world.create(&ada, "Acme").await;
            let (acting, id) = (world.acting(&ada, &acme.id), acme.id.clone());
            let making = async move {
                let preferring = proto::UpdatePreferencesRequest { organization_id: id.clone(), ..Default::default() };
                let preferred = acting.client.members().update_preferences(preferring).await;
                let project = new_project(&acting, &id).await;
                (preferred, project, create(&acting.client, item(&id, "agent", "Agent")).await)
            };
            // As without a grace: the purge comes at once.
            let ending = {
                let (ada, acme, organization) = (ada.clone(), acme.clone(), organization.clone());
                let (purge, now) = (purge_of(&acme), due(&world));
                async move {
                    delete(&ada, &acme).await.expect("deleted");
                    organization.purge(purge, now).await
                }
            };
            let ((preferred, project, made), erased) = race(round, making, ending).await;
            assert!(matches!(erased, Ok(false)), "{erased:?}");
            let allowed = ["OK", "ORGANIZATION_DELETED", "NOT_A_MEMBER"];
            for reason in [reason(&preferred), reason(&project), reason(&made)] {
                assert!(allowed.contains(&reason.as_str()), "round {round}: {reason}");
            }
            let left = rows_left(&world, &acme.id).await;
            assert!(left.values().all(|rows| *rows == 0), "round {round}: {left:?}");
        }
    }

    /// Whoever was let in a moment before waits for the deletion that is under way, and is refused.
    async fn what_is_changed_while_an_organization_is_deleted_is_refused(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        for change in ["preferences", "project", "no project"] {
            let acme = world.create(&ada, "Acme").await;
            let (acting, id) = (world.acting(&ada, &acme.id), acme.id.clone());
            let made = proto::CreateProjectRequest { owner: id.clone(), name: "P".to_owned(), ..Default::default() };
            let made = acting.client.projects().create_project(made).await.expect("made").into_inner();
            let project_id = made.project.expect("a project").id;
            let organization = id.parse().expect("an id");
            let now = world.clock.now();
            let deletion = Deletion { at: now, purge_at: now.saturating_add(GRACE) };
            let moving = async {
                let mut tx = world.store.begin().await?;
                organizations::by_id_locked(&mut tx, organization).await?;
                standings::set(&mut tx, organization, Standing::Deleted(deletion)).await?;
                Ok::<_, DbError>(tx)
            };
            let tx = moving.await.expect("moved");
            let client = acting.client.clone();
            let mut changing = tokio::spawn(async move {
                match change {
                    "preferences" => {
                        let request = proto::UpdatePreferencesRequest { organization_id: id, ..Default::default() };
                        client.members().update_preferences(request).await.map(drop)
                    }
                    "project" => {
                        let request = proto::UpdateProjectRequest { project_id, name: "Q".to_owned(), ..Default::default() };
                        client.projects().update_project(request).await.map(drop)
                    }
                    _ => {
                        let request = proto::DeleteProjectRequest { project_id, ..Default::default() };
                        client.projects().delete_project(request).await.map(drop)
                    }
                }
            });
            // Time enough to slip through, for whoever does not wait.
            let slipped = tokio::time::timeout(std::time::Duration::from_millis(200), &mut changing).await;
            tx.commit().await.expect("deleted");
            let outcome = match slipped {
                Ok(slipped) => slipped.expect("no panic"),
                Err(_) => changing.await.expect("no panic"),
            };
            assert_eq!(reason(&outcome), "ORGANIZATION_DELETED", "{change}");
        }
    }

    async fn nobody_joins_what_was_deleted(db: TestDb) {
        let world = World::generous(db).await;
        for round in 0..rounds() {
            // Mail of one instant has no order, and tokens expire.
            world.advance(bursar_time::Span::SECOND);
            let (ada, ben) = (world.who(1), world.who(2));
            let acme = world.create(&ada, "Acme").await;
            invite(&ada, &acme.id, &ben.email, Role::Member).await.expect("invited");
            let token = world.mailbox.next_token(&ben.email).await;
            let accepting = {
                let ben = ben.clone();
                async move { accept(&ben, &token).await }
            };
            let (joined, deleted) = race(round, accepting, deleting(ada.clone(), acme.clone())).await;
            deleted.expect("deleted");
            let joined = reason(&joined);
            assert!(["OK", "INVITATION_REVOKED"].contains(&joined.as_str()), "round {round}: {joined}");
            refused(get(&ben, &acme.id).await, Code::PermissionDenied, if joined == "OK" { "ORGANIZATION_DELETED" } else { "NOT_A_MEMBER" });
            undelete(&ada, &acme.id).await.expect("undeleted");
            assert_eq!(get(&ben, &acme.id).await.is_ok(), joined == "OK", "round {round}");
        }
    }

    async fn of_delete_and_transfer_exactly_one_happens(db: TestDb) {
        let world = World::generous(db).await;
        let checker = Checker::of(&world).await;
        for round in 0..rounds() {
            let ada = world.who(1);
            let acme = world.create(&ada, "Acme").await;
            // Whoever came to own one is told by mail, and has others to read than invitations.
            let ben = world.join(&ada, &acme.id, 2 + round, Role::Member).await;
            let transferring = {
                let (ada, id, to): (_, _, UserId) = (ada.clone(), acme.id.clone(), ben.user);
                async move { transfer(&ada, &id, to).await }
            };
            let (given, deleted) = race(round, transferring, deleting(ada.clone(), acme.clone())).await;
            match (reason(&given).as_str(), reason(&deleted).as_str()) {
                ("OK", "ROLE_NOT_ALLOWED") => {
                    assert_eq!(get(&ben, &acme.id).await.expect("it").role(), proto::Role::Owner);
                }
                ("ORGANIZATION_DELETED", "OK") => {
                    assert_eq!(get(&ada, &acme.id).await.expect("it").role(), proto::Role::Owner);
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        checker.ends().await;
    }

    async fn whoever_leaves_comes_to_own_nothing_by_taking_a_deletion_back(db: TestDb) {
        let world = World::generous(db).await;
        for round in 0..rounds() {
            let ada = world.who(100 + round);
            let acme = world.create(&ada, "Acme").await;
            delete(&ada, &acme).await.expect("deleted");
            let (undeleting, leaving) = (
                {
                    let (ada, id) = (ada.clone(), acme.id.clone());
                    async move { undelete(&ada, &id).await }
                },
                {
                    let (identity, user_id) = (world.service(ServiceRole::Identity), ada.user.to_string());
                    let request = proto::ConfirmDepartureRequest { user_id, incarnation: 1, number: 1, ..Default::default() };
                    async move { identity.members().confirm_departure(request).await }
                },
            );
            let (undeleted, confirmed) = race(round, undeleting, leaving).await;
            let owned = confirmed.expect("answered").into_inner().organizations;
            match (reason(&undeleted).as_str(), owned) {
                ("OK", 1) | ("ACCOUNT_LEAVING", 0) => {}
                other => panic!("round {round}: {other:?}"),
            }
        }
    }
}
