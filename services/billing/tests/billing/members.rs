//! Who may spend: memberships by event and by token, contexts that never fall back.

use bursar_id::{Role, UserId};
use bursar_rpc::ServiceRole;
use bursar_testkit::{engines, id, refused};
use tonic::Code;

use crate::words::{Spending, Under, balance_of, free, reserve, settle, spend, the_charge};
use crate::world::World;

engines! {
    async fn a_removed_member_cannot_spend_whatever_the_token_says(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "10").await;
        let ben: UserId = id(2);
        world.hears(team, ben, Some(Role::Member), 1).await;
        let member = world.member(2, team, Role::Member, 1);
        let at_home = world.person_with(2, "10").await;
        let charge = member.charged(spend(team, "1").under("r1")).await;
        let hold = member.held(reserve(team, "1")).await;

        world.hears(team, ben, None, 2).await;
        let seq = world.seq(team).await;
        refused(member.charge(spend(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.charge(spend(team, "1").under("r1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.hold(reserve(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        // Nor settle what was the user's own.
        refused(member.capture(settle(&hold, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.release(free(&hold)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.get_charge(the_charge(&charge)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.get_balance(balance_of(team)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(world.product().charge(spend(team, "1").by(ben)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(world.product_for(&member).charge(spend(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        // Who left learns that and not what is wrong with the request.
        refused(member.charge(spend(team, "rubbish")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.hold(reserve(team, "rubbish")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(member.capture(settle(&hold, "rubbish")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(world.seq(team).await, seq);
        assert_eq!(world.available(at_home.owner).await, "10", "never the personal pool instead");

        // Invited back: with a fresh token even before the event, with the old one once it has come.
        world.member(2, team, Role::Member, 3).charged(spend(team, "1")).await;
        refused(member.charge(spend(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        world.hears(team, ben, Some(Role::Member), 3).await;
        member.charged(spend(team, "1")).await;
        world.audit(team).await;
    }

    async fn a_fresh_token_works_before_the_event(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "10").await;
        let fresh = world.member(2, team, Role::Member, 1);
        assert_eq!(fresh.charged(spend(team, "1")).await.member, fresh.user.to_string());
        world.product_for(&fresh).charged(spend(team, "1")).await;
        // An organization that billing has not heard of at all: its account opens with its first use.
        let news = bursar_testkit::organization(2_000);
        let founder = world.member(3, news, Role::Owner, 1);
        assert_eq!(founder.get_balance(balance_of(news)).await.unwrap().available, "0");
        refused(founder.charge(spend(news, "1")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        let without = world.former_member(4, team);
        refused(without.charge(spend(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        world.audit(team).await;
    }

    async fn a_service_names_a_member_that_is_one(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let product = world.product();
        let seq = world.seq(team).await;
        refused(product.charge(spend(team, "1").by(id(99))).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(product.hold(reserve(team, "1").by(id(99))).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let nobody = refused(product.charge(spend(team, "1")).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(nobody.fields, ["member"]);
        refused(product.charge(spend(boss_home(&boss), "1").by(id(2))).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(world.seq(team).await, seq);
        let charge = product.charged(spend(team, "1").by(boss.user)).await;
        assert_eq!(charge.member, boss.user.to_string());
        world.audit(team).await;
    }

    async fn a_service_waits_a_moment_for_a_member_who_just_joined(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "10").await;
        let (ben, product): (UserId, _) = (id(2), world.product());
        let (charged, ()) = tokio::join!(
            product.charge(spend(team, "1").by(ben)),
            world.announce(team, ben, Some(Role::Member), 1),
        );
        assert_eq!(charged.unwrap().charge.unwrap().member, ben.to_string());
    }

    async fn a_service_for_a_user_is_that_user(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let home = world.person_with(1, "10").await;
        let for_boss = world.product_for(&boss);
        let charge = for_boss.charged(spend(team, "1")).await;
        assert_eq!(charge.member, boss.user.to_string());
        let named = refused(for_boss.charge(spend(team, "1").by(id(2))).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(named.fields, ["member"]);
        refused(for_boss.charge(spend(home.owner, "1")).await, Code::PermissionDenied, "WRONG_CONTEXT");
        world.audit(team).await;
    }

    async fn another_context_is_never_fallen_back_to(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let (home, stranger) = (world.person_with(1, "10").await, world.person_with(5, "10").await);
        let nowhere = bursar_testkit::organization(9_999);
        let cases = [
            (&home, team, "WRONG_CONTEXT", "a member of it, acting at home"),
            (&boss, home.owner, "WRONG_CONTEXT", "at home, acting in the team"),
            (&stranger, team, "NOT_A_MEMBER", "nobody there"),
            (&stranger, nowhere, "NOT_A_MEMBER", "an organization that does not exist"),
            (&boss, stranger.owner, "NOT_A_MEMBER", "another person's account"),
            (&home, stranger.owner, "NOT_A_MEMBER", "another person's account"),
        ];
        for (person, owner, reason, what) in cases {
            let charge = refused(person.charge(spend(owner, "1")).await, Code::PermissionDenied, reason);
            let hold = refused(person.hold(reserve(owner, "1")).await, Code::PermissionDenied, reason);
            let read = refused(person.get_balance(balance_of(owner)).await, Code::PermissionDenied, reason);
            assert_eq!((&charge.message, &hold.message), (&read.message, &read.message), "{what}");
            // Authorization comes before validation.
            let bad = spend(owner, "nonsense").for_project("\n");
            refused(person.charge(bad).await, Code::PermissionDenied, reason);
        }
        for owner in [team, home.owner, stranger.owner] {
            assert_eq!(world.available(owner).await, "10");
        }
    }

    async fn only_users_and_the_product_spend(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        for role in [ServiceRole::Identity, ServiceRole::Organization, ServiceRole::Billing] {
            let outcome = world.service(role).charge(spend(team, "1").by(boss.user)).await;
            refused(outcome, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        refused(world.nobody().charge(spend(team, "1")).await, Code::Unauthenticated, "TOKEN_MISSING");
        world.operator().charged(spend(team, "1").by(boss.user)).await;
        world.audit(team).await;
    }
}

fn boss_home(boss: &crate::world::Person) -> bursar_id::OwnerId {
    bursar_id::OwnerId::User(boss.user)
}
