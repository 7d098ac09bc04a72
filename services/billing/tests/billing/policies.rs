//! What the policies hide and allow, as organization tells of them.

use bursar_id::{OwnerId, Role};
use bursar_members::{AdminBilling, BalanceVisibility, OwnPolicy, Policy, UsageVisibility};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::GroupBy;
use bursar_testkit::{engines, id, refused};
use tonic::{Code, Status};

use crate::words::{audit_of, balance_of, entries_of, lots_of, spend, usage_of};
use crate::world::{Person, World};

/// An organization with its Owner (person 1), an Admin (2) and a Member (3), each with a charge of the Owner's in sight.
async fn team(world: &World) -> (OwnerId, [Person; 3], pb::Charge) {
    let (team, owner) = world.organization_with(1, "100").await;
    world.hears(team, id(2), Some(Role::Admin), 1).await;
    world.hears(team, id(3), Some(Role::Member), 1).await;
    let charge = owner.charged(spend(team, "1")).await;
    (team, [owner, world.member(2, team, Role::Admin, 1), world.member(3, team, Role::Member, 1)], charge)
}

/// Whether a call was allowed; it may only be refused for the caller's role.
fn may<T: std::fmt::Debug>(outcome: Result<T, Status>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(status) => {
            refused(Err::<T, _>(status), Code::PermissionDenied, "ROLE_NOT_ALLOWED");
            false
        }
    }
}

/// What each of Owner, Admin and Member sees: the balance, usage by member, the ledger, lots and their verification.
async fn seen(team: OwnerId, people: &[Person; 3]) -> [[bool; 5]; 3] {
    let mut seen = [[false; 5]; 3];
    for (person, seen) in people.iter().zip(&mut seen) {
        assert!(may(person.query_usage(usage_of(team, &[GroupBy::Model])).await), "totals are everybody's");
        *seen = [
            may(person.get_balance(balance_of(team)).await),
            may(person.query_usage(usage_of(team, &[GroupBy::Member])).await),
            may(person.list_ledger_entries(entries_of(team)).await),
            may(person.list_lots(lots_of(team)).await),
            may(person.verify_ledger(audit_of(team)).await),
        ];
    }
    seen
}

const MANAGER: [bool; 5] = [true; 5];
const MEMBER: [bool; 5] = [true, false, false, false, false];

engines! {
    async fn policies_decide_what_each_role_sees(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        let own = OwnPolicy::default();
        let admin = |admin_billing| OwnPolicy { admin_billing: Some(admin_billing), ..own };
        let usage = |usage_visibility| OwnPolicy { usage_visibility: Some(usage_visibility), ..own };
        let hidden = OwnPolicy { balance_visibility: Some(BalanceVisibility::Managers), ..own };
        let no_lots = [true, true, true, false, false];
        let totals = [true, false, false, true, true];
        let all_usage = [true, true, true, false, false];
        let cases = [
            (own, [MANAGER, MANAGER, MEMBER]),
            (admin(AdminBilling::None), [MANAGER, no_lots, MEMBER]),
            (admin(AdminBilling::View), [MANAGER, MANAGER, MEMBER]),
            (usage(UsageVisibility::Nobody), [totals, totals, MEMBER]),
            (usage(UsageVisibility::Everyone), [MANAGER, MANAGER, all_usage]),
            (usage(UsageVisibility::Managers), [MANAGER, MANAGER, MEMBER]),
            (hidden, [MANAGER, MANAGER, [false; 5]]),
            (own, [MANAGER, MANAGER, MEMBER]),
        ];
        for (version, (own, expected)) in (1..).zip(cases) {
            world.decides(team, own, version).await;
            assert_eq!(seen(team, &people).await, expected, "{own:?}: Owner, Admin, Member");
        }
    }

    async fn an_organization_follows_the_deployment_where_it_has_set_nothing(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        let strict = Policy {
            admin_billing: AdminBilling::None,
            usage_visibility: UsageVisibility::Nobody,
            balance_visibility: BalanceVisibility::Managers,
            ..Policy::default()
        };
        world.deploys(strict, 2).await;
        let totals = [true, false, false, true, true];
        assert_eq!(seen(team, &people).await, [totals, [true, false, false, false, false], [false; 5]]);
        let own = OwnPolicy { balance_visibility: Some(BalanceVisibility::Everyone), ..OwnPolicy::default() };
        world.decides(team, own, 1).await;
        assert_eq!(seen(team, &people).await, [totals, MEMBER, MEMBER]);
        world.decides(team, OwnPolicy::default(), 2).await;
        world.deploys(Policy::default(), 3).await;
        assert_eq!(seen(team, &people).await, [MANAGER, MANAGER, MEMBER]);
        // At home nobody hides anything from its user.
        world.deploys(strict, 4).await;
        let home = world.person(3);
        assert!(may(home.get_balance(balance_of(home.owner)).await));
        assert!(may(home.query_usage(usage_of(home.owner, &[GroupBy::Member])).await));
    }

    async fn others_charges_are_per_member_too(db: TestDb) {
        let world = World::on(db).await;
        let (team, [owner, admin, member], charge) = team(&world).await;
        let get = pb::GetChargeRequest { charge_id: charge.id, owner: team.to_string() };
        let usage = |usage_visibility| OwnPolicy { usage_visibility: Some(usage_visibility), ..OwnPolicy::default() };
        owner.get_charge(get.clone()).await.expect("the own one");
        admin.get_charge(get.clone()).await.expect("a manager");
        refused(member.get_charge(get.clone()).await, Code::NotFound, "NOT_FOUND");
        world.decides(team, usage(UsageVisibility::Everyone), 1).await;
        member.get_charge(get.clone()).await.expect("everybody");
        world.decides(team, usage(UsageVisibility::Nobody), 2).await;
        owner.get_charge(get.clone()).await.expect("the own one");
        refused(admin.get_charge(get.clone()).await, Code::NotFound, "NOT_FOUND");
        refused(member.get_charge(get).await, Code::NotFound, "NOT_FOUND");
    }

    async fn nothing_is_guessed_before_the_deployments_policies_are_told(db: TestDb) {
        let world = World::untold(db, |_| ()).await;
        let error = world.ready.check().await.expect_err("not ready");
        assert!(error.to_string().contains("policies"), "{error}");
        let (team, owner) = world.organization_with(1, "100").await;
        refused(owner.get_balance(balance_of(team)).await, Code::Unavailable, "FEED_STALE");
        let home = world.person(1);
        home.get_balance(balance_of(home.owner)).await.expect("a person's own account asks for none");
        world.deploys(Policy::default(), 1).await;
        world.ready.check().await.expect("ready");
        owner.get_balance(balance_of(team)).await.expect("known");
        let shown = world.ready.note().expect("the feed's age");
        assert!(shown.starts_with("organization heard "), "{shown}");
    }
}
