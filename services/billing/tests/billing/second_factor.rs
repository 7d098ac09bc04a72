//! Organizations whose members must have proven a second factor: their credits are closed to a token that shows none.

use bursar_id::{OwnerId, Role};
use bursar_members::{OwnPolicy, SecondFactor, Standing};
use bursar_proto::access::Permission;
use bursar_rpc::KeyGrant;
use bursar_testkit::{engines, id, refused};
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::words::{
    Spending as _, balance_of, batch, entries_of, give_back_part, lots_of, reserve, settle, spend, usage_of,
};
use crate::world::{Person, World};

/// What a person gets of the team's account, by what is called.
async fn tried(person: &Person, team: OwnerId) -> [(&'static str, Result<(), Status>); 6] {
    [
        ("Charge", person.charge(spend(team, "1")).await.map(drop)),
        ("Hold", person.hold(reserve(team, "1")).await.map(drop)),
        ("GetBalance", person.get_balance(balance_of(team)).await.map(drop)),
        ("ListLots", person.list_lots(lots_of(team)).await.map(drop)),
        ("ListLedgerEntries", person.list_ledger_entries(entries_of(team)).await.map(drop)),
        ("QueryUsage", person.query_usage(usage_of(team, &[])).await.map(drop)),
    ]
}

/// A token of the Owner's that shows more than a password.
fn proven(world: &World, owner: &Person) -> Person {
    let organization = owner.owner.organization().expect("an organization");
    let token = world.issuer.member(owner.user, organization, Role::Owner).with_second_factor().at(world.now());
    Person { calls: Caller(world.nobody().0.with_token(&token)), ..owner.clone() }
}

engines! {
    async fn a_token_without_a_second_factor_spends_and_sees_nothing_where_one_is_required(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "100").await;
        let (other, elsewhere) = world.organization_with(2, "100").await;
        let before = owner.charged(spend(team, "1")).await;
        let hold = owner.held(reserve(team, "5")).await;
        let required = OwnPolicy { second_factor: Some(SecondFactor::Required), ..OwnPolicy::default() };
        world.decides(team, required, 1).await;
        for (rpc, outcome) in tried(&owner, team).await {
            let refusal = refused(outcome, Code::FailedPrecondition, "SECOND_FACTOR_ENROLLMENT_REQUIRED");
            assert!(!refusal.metadata.contains_key("available"), "{rpc}: {refusal:?}");
        }
        let outcomes = owner.batch_charge(batch([spend(team, "1")])).await.expect("an outcome").outcomes;
        let told = format!("{:?}", outcomes[0]);
        assert!(told.contains("second factor") && outcomes[0].balance_after.is_empty(), "{told}");
        let settled = owner.capture(settle(&hold, "5")).await;
        refused(settled, Code::FailedPrecondition, "SECOND_FACTOR_ENROLLMENT_REQUIRED");
        let handed_on = world.product_for(&owner).charge(spend(team, "1")).await;
        refused(handed_on, Code::FailedPrecondition, "SECOND_FACTOR_ENROLLMENT_REQUIRED");
        assert_eq!(world.available(team).await, "94", "nothing was spent");

        let proven = proven(&world, &owner);
        for (rpc, outcome) in tried(&proven, team).await {
            outcome.unwrap_or_else(|status| panic!("{rpc}: {status:?}"));
        }
        world.product().charged(spend(team, "1").by(owner.user)).await;
        world.product().refund(give_back_part(&before, "1")).await.expect("a service's own power");
        elsewhere.charged(spend(other, "1")).await;
        for stranger in [world.member(3, team, Role::Member, 1), world.former_member(4, team)] {
            world.hears(team, stranger.user, None, 2).await;
            refused(stranger.charge(spend(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
            refused(stranger.get_balance(balance_of(team)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }

        let key = KeyGrant { id: id(1), permissions: [Permission::UseWorkspace].into() };
        let token = world.issuer.member(owner.user, team.organization().expect("one"), Role::Owner).by_key(key);
        let by_key = Caller(world.nobody().0.with_token(&token.at(world.now())));
        by_key.charge(spend(team, "1")).await.expect("keys are exempt");
        world.audit(team).await;

        // How the organization stands comes first: to members, and to whoever never was one.
        world.stands(team, Standing::Suspended, 1).await;
        for (rpc, outcome) in tried(&owner, team).await {
            let refusal = refused(outcome, Code::PermissionDenied, "ORGANIZATION_SUSPENDED");
            assert!(!refusal.metadata.contains_key("available"), "{rpc}: {refusal:?}");
        }
        world.stands(team, Standing::Active, 2).await;
        world.decides(team, OwnPolicy::default(), 2).await;
        owner.charged(spend(team, "1")).await;
    }
}
