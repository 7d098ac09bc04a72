//! What limits may be about, over the wire: projects that were told, models of the catalog, and what was charged for or with.

use bursar_events::begin_incarnation;
use bursar_id::{ApiKeyId, OwnerId, ProjectId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LimitWindow::{Day, Hour};
use bursar_testkit::{engines, id, refused};
use tonic::Code::{FailedPrecondition, NotFound, PermissionDenied};

use crate::calls::Caller;
use crate::telling::made;
use crate::words::{Spending as _, Under as _, limit, limits_of, spend};
use crate::world::{World, until};

fn project(n: u64) -> ProjectId {
    id(n)
}

fn on(owner: OwnerId, project: ProjectId) -> pb::SetLimitRequest {
    limit(owner, &format!("project {project}"), Day, "5")
}

/// It is refused as something that there is not.
async fn is_unknown(caller: &Caller, request: pb::SetLimitRequest, what: &str) {
    let refusal = refused(caller.set_limit(request).await, NotFound, "NOT_FOUND");
    assert!(refusal.message.contains(what), "{}", refusal.message);
}

engines! {
    async fn unknown_projects_and_models_are_not_limited_by_anybody(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        let (home, operator) = (world.person_with(2, "100").await, world.operator());
        for (caller, owner) in [(&*boss, team), (&*home, home.owner), (&operator, team), (&operator, home.owner)] {
            is_unknown(caller, limit(owner, "project flim", Day, "5"), "project").await;
            is_unknown(caller, limit(owner, "model veo-3.l", Day, "5"), "model").await;
            is_unknown(caller, on(owner, project(9)), "project").await;
            assert_eq!(operator.list_limits(limits_of(owner)).await.unwrap().limits, []);
        }
        // Which keys there are nobody knows here.
        let key: ApiKeyId = id(5);
        boss.limited(limit(team, &format!("key {key}"), Day, "5")).await;
    }

    async fn what_the_catalog_prices_and_what_was_charged_before_is_limited(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        let home = world.person_with(2, "100").await;
        assert_eq!(boss.limited(limit(team, "model veo-3.1", Day, "5")).await.used, "0");
        world.operator().limited(limit(home.owner, "model veo-3.1", Day, "5")).await;
        for (name, spent) in [("project", spend(team, "1").for_project("film")), ("model", spend(team, "1").on_model("film"))] {
            is_unknown(&boss, limit(team, &format!("{name} film"), Day, "1"), name).await;
            boss.charged(spent.clone()).await;
            is_unknown(&home, limit(home.owner, &format!("{name} film"), Day, "1"), name).await;
            assert_eq!(boss.limited(limit(team, &format!("{name} film"), Day, "1")).await.used, "1");
            refused(boss.charge(spent).await, FailedPrecondition, "LIMIT_REACHED");
        }
        world.audit(team).await;
    }

    async fn a_projects_limits_follow_what_is_told_of_it(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        let (other, them) = world.organization_with(2, "100").await;
        let (home, operator) = (world.person_with(3, "100").await, world.operator());
        let (film, song) = (project(1), project(2));
        world.has_project(team, film).await;
        world.has_project(team, song).await;
        let first = on(team, film).under("l1");
        let set = boss.limited(first.clone()).await;
        for (caller, owner) in [(&*them, other), (&*home, home.owner), (&operator, other), (&operator, home.owner)] {
            is_unknown(caller, on(owner, film), "project").await;
        }
        boss.charged(spend(team, "1").for_project(&film.to_string())).await;
        let over = spend(team, "4.000001").for_project(&film.to_string());
        refused(boss.charge(over).await, FailedPrecondition, "LIMIT_REACHED");

        world.lost_project(team, film).await;
        world.lost_project(team, song).await;
        for caller in [&*boss, &operator] {
            is_unknown(caller, on(team, song), "project").await;
        }
        let now = pb::Limit { used: "1".to_owned(), ..set.clone() };
        assert_eq!(boss.list_limits(limits_of(team)).await.unwrap().limits, std::slice::from_ref(&now));
        assert_eq!(boss.limited(first).await, now, "a repetition is told of its use as it is now");
        for caller in [&*boss, &operator] {
            let again = caller.limited(pb::SetLimitRequest { amount: "6".to_owned(), ..on(team, film) }).await;
            assert_eq!((&again.id, &*again.amount), (&set.id, "6"), "the same limit");
        }
        let gone = pb::DeleteLimitRequest { owner: team.to_string(), limit_id: set.id, request_id: String::new() };
        boss.delete_limit(gone).await.unwrap();
        world.audit(team).await;
    }

    async fn an_uncharged_project_that_is_gone_keeps_its_limits_until_they_are_deleted(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        world.has_project(team, project(1)).await;
        let set = boss.limited(on(team, project(1))).await;
        world.lost_project(team, project(1)).await;
        assert_eq!(boss.limited(on(team, project(1))).await.id, set.id, "set again");
        let gone = pb::DeleteLimitRequest { owner: team.to_string(), limit_id: set.id, request_id: String::new() };
        boss.delete_limit(gone).await.unwrap();
        is_unknown(&boss, on(team, project(1)), "project").await;
    }

    async fn a_project_that_was_made_a_moment_ago_is_waited_for(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        let (home, operator) = (world.person_with(2, "100").await, world.operator());
        for (n, (caller, owner)) in
            (1..).zip([(&*boss, team), (&*home, home.owner), (&operator, team), (&operator, home.owner)])
        {
            let (set, ()) =
                tokio::join!(caller.set_limit(on(owner, project(n))), world.tell(made(owner, project(n))));
            assert_eq!(set.unwrap().limit.unwrap().used, "0");
        }
    }

    async fn who_may_not_set_limits_does_not_learn_which_projects_there_are(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "100").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let ben = world.member(2, team, Role::Member, 1);
        refused(ben.set_limit(on(team, project(1))).await, PermissionDenied, "ROLE_NOT_ALLOWED");
        world.has_project(team, project(1)).await;
        refused(ben.set_limit(on(team, project(1))).await, PermissionDenied, "ROLE_NOT_ALLOWED");
        let stranger = world.person(9);
        refused(stranger.set_limit(on(team, project(1))).await, PermissionDenied, "NOT_A_MEMBER");
    }

    async fn a_snapshot_has_the_last_word_about_projects(db: TestDb) {
        let world = World::on(db).await;
        let home = world.person_with(1, "100").await;
        let (stays, forgotten, back) = (project(1), project(2), project(3));
        for it in [stays, forgotten, back] {
            world.has_project(home.owner, it).await;
        }
        world.lost_project(home.owner, back).await;
        // Organization is restored from a backup in which one was not made yet, and another one not deleted.
        world.snapshot.tells(vec![made(home.owner, stays), made(home.owner, back)]);
        begin_incarnation(&world.organization_db, world.now()).await.unwrap();
        let told = "SELECT COUNT(*) FROM projects WHERE incarnation > 1 AND deleted = 0";
        until("the snapshot is loaded", async || {
            world.scalar(told).await == 2 && world.scalar("SELECT COUNT(*) FROM projects").await == 2
        })
        .await;
        for it in [stays, back] {
            home.limited(on(home.owner, it)).await;
        }
        is_unknown(&home, on(home.owner, forgotten), "project").await;
    }

    async fn what_was_made_before_programs_asked_for_projects_is_learned_from_a_snapshot(db: TestDb) {
        const BEFORE: &str = "UPDATE consumer_positions SET types = 'deployment.policy_changed membership.changed \
            organization.created organization.policy_changed organization.standing_changed' \
            WHERE source = 'organization'";
        let world = World::on(db).await;
        let home = world.person_with(1, "100").await;
        world.snapshot.tells(vec![made(home.owner, project(1))]);
        // As a program has left it that asked for no projects. What is told next shows it to the one that runs.
        assert_eq!(world.by_hand(BEFORE).await.unwrap(), 1);
        world.tell(made(home.owner, project(2))).await;
        until("both are learned", async || world.scalar("SELECT COUNT(*) FROM projects").await == 2).await;
        home.limited(limit(home.owner, &format!("project {}", project(1)), Hour, "5")).await;
    }
}
