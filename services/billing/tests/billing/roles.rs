//! What Owner, Admin and Member may see and do with an organization's account.

use bursar_id::{OwnerId, Role, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::GroupBy;
use bursar_testkit::{engines, id, refused};
use tonic::{Code, Status};

use crate::words::{audit_of, balance_of, entries_of, free, give_back, lots_of, reserve, settle, spend, usage_of};
use crate::world::{Person, World};

/// An organization's Owner (person 1), an Admin (2) and two Members (3, 4).
async fn staff(world: &World) -> (OwnerId, [Person; 4]) {
    let (team, owner) = world.organization_with(1, "100").await;
    for (n, role) in [(2, Role::Admin), (3, Role::Member), (4, Role::Member)] {
        world.hears(team, id(n), Some(role), 1).await;
    }
    let (admin, member) = (world.member(2, team, Role::Admin, 1), world.member(3, team, Role::Member, 1));
    (team, [owner, admin, member, world.member(4, team, Role::Member, 1)])
}

fn allowed<T: std::fmt::Debug>(outcome: Result<T, Status>, may: bool, what: &str) {
    if may {
        outcome.unwrap_or_else(|status| panic!("{what} must be allowed: {status:?}"));
    } else {
        refused(outcome, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    }
}

engines! {
    async fn what_each_role_sees(db: TestDb) {
        let world = World::on(db).await;
        let (team, [owner, admin, member, _]) = staff(&world).await;
        member.charged(spend(team, "1")).await;
        for (who, person, manager) in [("Owner", &owner, true), ("Admin", &admin, true), ("Member", &member, false)] {
            allowed(person.get_balance(balance_of(team)).await, true, who);
            allowed(person.query_usage(usage_of(team, &[GroupBy::Model])).await, true, who);
            allowed(person.query_usage(usage_of(team, &[GroupBy::Member])).await, manager, who);
            allowed(person.list_ledger_entries(entries_of(team)).await, manager, who);
            allowed(person.list_lots(lots_of(team)).await, manager, who);
            allowed(person.verify_ledger(audit_of(team)).await, manager, who);
        }
        // At home everybody sees everything of the own account.
        let home = world.person(3);
        allowed(home.query_usage(usage_of(home.owner, &[GroupBy::Member])).await, true, "at home");
        allowed(home.list_ledger_entries(entries_of(home.owner)).await, true, "at home");
        allowed(home.list_lots(lots_of(home.owner)).await, true, "at home");
        allowed(home.verify_ledger(audit_of(home.owner)).await, true, "at home");
    }

    async fn members_settle_their_own_and_managers_only_see_everybodys(db: TestDb) {
        let world = World::on(db).await;
        let (team, [owner, admin, member, other]) = staff(&world).await;
        let charge = member.charged(spend(team, "9")).await;
        let seq = world.seq(team).await;
        let get = pb::GetChargeRequest { charge_id: charge.id.clone(), owner: String::new() };
        refused(other.refund(give_back(&charge)).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(other.get_charge(get.clone()).await, Code::NotFound, "NOT_FOUND");
        let hold = member.held(reserve(team, "3")).await;
        let get_hold = pb::GetHoldRequest { hold_id: hold.id.clone(), owner: String::new() };
        for person in [&other, &admin, &owner] {
            refused(person.capture(settle(&hold, "1")).await, Code::PermissionDenied, "HOLD_NOT_YOURS");
            refused(person.release(free(&hold)).await, Code::PermissionDenied, "HOLD_NOT_YOURS");
        }
        refused(other.get_hold(get_hold.clone()).await, Code::NotFound, "NOT_FOUND");
        assert_eq!(world.seq(team).await, seq + 1, "the hold alone");

        for person in [&owner, &admin, &member] {
            assert_eq!(person.charge_now(&charge).await, charge);
            assert_eq!(person.hold_now(&hold).await, hold);
        }
        member.captured(settle(&hold, "1")).await;
        let own = member.held(reserve(team, "3")).await;
        member.release(free(&own)).await.unwrap();
        assert_eq!(world.available(team).await, "90");
        world.audit(team).await;
    }

    async fn a_role_that_was_lost_is_lost_whatever_the_token_says(db: TestDb) {
        let world = World::on(db).await;
        let (team, [_, admin, member, _]) = staff(&world).await;
        let charge = member.charged(spend(team, "9")).await;
        let demoted: UserId = id(2);
        world.hears(team, demoted, Some(Role::Member), 2).await;
        refused(admin.list_lots(lots_of(team)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(admin.query_usage(usage_of(team, &[GroupBy::Member])).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let get = pb::GetChargeRequest { charge_id: charge.id.clone(), owner: String::new() };
        refused(admin.get_charge(get).await, Code::NotFound, "NOT_FOUND");
        // And one that was won is there with the fresh token.
        let promoted = world.member(2, team, Role::Admin, 3);
        assert_eq!(promoted.charge_now(&charge).await, charge);
        world.audit(team).await;
    }
}
