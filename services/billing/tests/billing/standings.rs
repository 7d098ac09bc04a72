//! What an organization that is suspended or deleted, and a user who is suspended, may still do and pay.

use bursar_events::begin_incarnation;
use bursar_id::{OwnerId, UserId};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::SubscriptionState;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{OrganizationStandingChanged, UserStandingChanged};
use bursar_testkit::{Refusal, engines, id, refused};
use bursar_time::Span;
use tonic::Code::PermissionDenied;

use crate::words::{
    Holding as _, Spending as _, Under, audit_of, balance_of, batch, buy, cancel, change_to, entries_of, free,
    give_back, grant, holds_of, lots_of, reserve, resume, set_seats, settle, settle_all, spend, subscribe, usage_of,
};
use crate::world::{Person, World, until};

const DELETED: &str = "ORGANIZATION_DELETED";
const SUSPENDED: &str = "ORGANIZATION_SUSPENDED";

impl World {
    /// Organization tells how one of its organizations stands, and billing has applied it.
    pub(crate) async fn stands(&self, organization: OwnerId, standing: Standing, version: u64) {
        self.tell(stands(organization, standing, version)).await;
        self.gone_by().await;
    }

    /// Identity tells whether a user is suspended.
    async fn suspends(&self, user: UserId, suspended: bool, version: u64) {
        let changed = UserStandingChanged { user_id: user.to_string(), suspended, version };
        let tx = self.people_db.begin().await.unwrap();
        self.people.commit(tx, vec![Payload::UserStandingChanged(changed)]).await.unwrap();
    }

    async fn subscription(&self, owner: OwnerId) -> pb::Subscription {
        let get = pb::GetSubscriptionRequest { owner: owner.to_string() };
        self.operator().get_subscription(get).await.unwrap().subscription.unwrap()
    }

    /// The owner's plan becomes this one.
    async fn is_on(&self, owner: OwnerId, plan: &str) {
        let entitled = pb::GetEntitlementsRequest { owner: owner.to_string() };
        let product = self.product();
        until(plan, async || product.get_entitlements(entitled.clone()).await.unwrap().plan_id == plan).await;
    }
}

/// What organization tells of how one of its organizations stands.
pub(crate) fn stands(organization: OwnerId, standing: Standing, version: u64) -> Payload {
    let (state, purged) = standing.to_state();
    let (organization_id, state) = (organization.to_string(), state.into());
    Payload::OrganizationStandingChanged(OrganizationStandingChanged { organization_id, state, purged, version })
}

/// Whatever a member may ask for is refused so.
async fn a_member_is_refused(member: &Person, reason: &str) {
    let owner = member.owner;
    let mut bad = spend(owner, "nonsense");
    "\n".clone_into(&mut bad.project);
    refused(member.charge(spend(owner, "1")).await, PermissionDenied, reason);
    refused(member.charge(spend(owner, "1").under("first")).await, PermissionDenied, reason);
    refused(member.charge(bad).await, PermissionDenied, reason);
    refused(member.hold(reserve(owner, "1")).await, PermissionDenied, reason);
    refused(member.purchase_pack(buy(owner, "starter")).await, PermissionDenied, reason);
    refused(member.subscribe(subscribe(owner, "business")).await, PermissionDenied, reason);
    refused(member.change_plan(change_to(owner, "business")).await, PermissionDenied, reason);
    refused(member.set_seats(set_seats(owner, 12)).await, PermissionDenied, reason);
    refused(
        member.preview_change(pb::PreviewChangeRequest { owner: owner.to_string(), ..Default::default() }).await,
        PermissionDenied,
        reason,
    );
    refused(member.cancel(cancel(owner, pb::CancelAt::Now)).await, PermissionDenied, reason);
    refused(member.resume(resume(owner)).await, PermissionDenied, reason);
    refused(member.get_balance(balance_of(owner)).await, PermissionDenied, reason);
    refused(member.list_lots(lots_of(owner)).await, PermissionDenied, reason);
    refused(member.list_ledger_entries(entries_of(owner)).await, PermissionDenied, reason);
    refused(member.verify_ledger(audit_of(owner)).await, PermissionDenied, reason);
    refused(member.query_usage(usage_of(owner, &[])).await, PermissionDenied, reason);
    refused(member.list_holds(holds_of(owner)).await, PermissionDenied, reason);
    let bought = pb::ListPurchasesRequest { owner: owner.to_string(), ..Default::default() };
    refused(member.list_purchases(bought).await, PermissionDenied, reason);
    let plan = pb::GetSubscriptionRequest { owner: owner.to_string() };
    refused(member.get_subscription(plan).await, PermissionDenied, reason);
}

engines! {
    async fn nobody_uses_an_organization_that_is_not_active_and_services_settle_what_was_held(db: TestDb) {
        let world = World::on(db).await;
        for (n, standing, reason) in [(1, Standing::Suspended, SUSPENDED), (2, Standing::Deleted, DELETED)] {
            let product = world.product();
            let (team, ada) = world.organization_with(n, "100").await;
            let charge = ada.charged(spend(team, "1").under("first")).await;
            let own = ada.held(reserve(team, "2")).await;
            let for_ada = |amount: &str| reserve(team, amount).by(ada.user);
            let (kept, freed, part) =
                (product.held(for_ada("3")).await, product.held(for_ada("4")).await, product.held(for_ada("5")).await);
            let known = product.charged(spend(team, "1").by(ada.user).under("known")).await;

            world.stands(team, standing, 1).await;
            a_member_is_refused(&ada, reason).await;
            refused(ada.capture(settle_all(&own)).await, PermissionDenied, reason);
            refused(ada.release(free(&own)).await, PermissionDenied, reason);
            refused(world.product_for(&ada).charge(spend(team, "1")).await, PermissionDenied, reason);
            refused(world.former_member(9, team).get_balance(balance_of(team)).await, PermissionDenied, "NOT_A_MEMBER");
            // Nothing new for services either, each charge of a batch for itself; what was done is known.
            refused(product.charge(spend(team, "1").by(ada.user)).await, PermissionDenied, reason);
            refused(product.hold(for_ada("1")).await, PermissionDenied, reason);
            let outcomes = product.batch_charge(batch([spend(team, "1").by(ada.user)])).await.unwrap().outcomes;
            let Some(Outcome::Status(refusal)) = &outcomes[0].outcome else { panic!("{outcomes:#?}") };
            assert_eq!(refusal.code, i32::from(PermissionDenied));
            let again = product.charge(spend(team, "1").by(ada.user).under("known")).await.unwrap();
            assert_eq!((again.charge.map(|it| it.id), again.replayed), (Some(known.id.clone()), true));
            refused(world.operator().purchase_pack(buy(team, "starter")).await, PermissionDenied, reason);
            refused(world.operator().subscribe(subscribe(team, "business")).await, PermissionDenied, reason);
            // What is held is settled, and no more than that; what was charged is given back.
            let excess = pb::CaptureRequest { allow_excess: true, ..settle(&part, "6") };
            refused(product.capture(excess).await, PermissionDenied, reason);
            product.captured(pb::CaptureRequest { allow_excess: true, ..settle(&part, "5") }).await;
            product.captured(settle(&kept, "1")).await;
            product.release(free(&freed)).await.unwrap();
            product.refunded(give_back(&charge)).await;
            world.operator().granted(grant(team, "10")).await;
            assert_eq!(world.available(team).await, "101", "100, less 2 held, 1 and 5 captured and 1 known, and 10 granted");
            world.passes(Span::DAY);
            assert_eq!(world.balance(team).await.held, "0", "the last hold has lapsed");

            world.stands(team, Standing::Active, 2).await;
            ada.charged(spend(team, "1")).await;
            ada.get_balance(balance_of(team)).await.unwrap();
            world.audit(team).await;
        }
    }

    async fn a_standing_that_was_told_late_changes_nothing_and_a_restored_organization_has_the_last_word(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "100").await;
        world.stands(team, Standing::Active, 3).await;
        world.stands(team, Standing::Deleted, 2).await;
        ada.charged(spend(team, "1")).await;
        world.stands(team, Standing::Deleted, 4).await;
        // One that never was heard of has an account to stand in.
        let early = OwnerId::Organization(id(77));
        world.stands(early, Standing::Suspended, 1).await;
        let stands = async |owner| world.number("SELECT standing FROM accounts WHERE owner = $1", owner).await;
        assert_eq!((stands(team).await, stands(early).await), (3, 2));
        let ben = world.person_with(2, "10").await;
        world.suspends(ben.user, true, 1).await;
        until("he is suspended", async || stands(ben.owner).await == 2).await;
        // Their snapshots know of nobody who is not active.
        begin_incarnation(&world.organization_db, world.now()).await.unwrap();
        until("organization is believed", async || stands(team).await == 0 && stands(early).await == 0).await;
        assert_eq!(stands(ben.owner).await, 2, "identity says how he stands");
        begin_incarnation(&world.people_db, world.now()).await.unwrap();
        until("identity is believed", async || stands(ben.owner).await == 0).await;
        until("he is let in again", async || ben.charge(spend(ben.owner, "1")).await.is_ok()).await;
        world.audit(team).await;
    }

    async fn the_account_of_who_is_suspended_pays_nothing(db: TestDb) {
        const USER_SUSPENDED: &str = "USER_SUSPENDED";
        let world = World::on(db).await;
        let (ana, product) = (world.person_with(1, "100").await, world.product());
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        let hold = product.held(reserve(ana.owner, "5").by(ana.user)).await;
        world.suspends(ana.user, true, 1).await;
        let spending = spend(ana.owner, "1").by(ana.user);
        until("billing has heard of it", async || product.charge(spending.clone()).await.is_err()).await;
        refused(product.charge(spending.clone()).await, PermissionDenied, USER_SUSPENDED);
        refused(product.hold(reserve(ana.owner, "1").by(ana.user)).await, PermissionDenied, USER_SUSPENDED);
        refused(ana.charge(spend(ana.owner, "1")).await, PermissionDenied, USER_SUSPENDED);
        refused(world.operator().purchase_pack(buy(ana.owner, "starter")).await, PermissionDenied, USER_SUSPENDED);
        product.captured(settle_all(&hold)).await;
        // One who has no account yet has none to pay with.
        let ben = world.person(2);
        world.suspends(ben.user, true, 1).await;
        let his = spend(ben.owner, "1").by(ben.user);
        until("billing has heard of him", async || {
            product.charge(his.clone()).await.is_err_and(|it| bursar_testkit::Refusal::of(&it).reason == USER_SUSPENDED)
        })
        .await;
        world.suspends(ana.user, false, 2).await;
        until("billing has heard of it", async || product.charge(spending.clone()).await.is_ok()).await;
        world.audit(ana.owner).await;
    }

    async fn who_was_suspended_and_then_deleted_stands_nowhere_any_more(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person_with(1, "100").await, world.person_with(2, "100").await);
        let stands = async |owner| world.number("SELECT standing FROM accounts WHERE owner = $1", owner).await;
        let known = async || world.scalar("SELECT COUNT(*) FROM standings").await;
        for person in [&ana, &ben] {
            world.suspends(person.user, true, 1).await;
            until("the account is", async || stands(person.owner).await == 2).await;
        }
        assert_eq!(known().await, 2);
        world.deleted(ana.user).await;
        until("it is heard of", async || known().await == 1).await;
        assert_eq!((stands(ana.owner).await, stands(ben.owner).await), (0, 2));
        // Gone is gone all the same, once each replica has looked who is suspended.
        let reason = async || Refusal::of(&ana.charge(spend(ana.owner, "1")).await.expect_err("refused")).reason;
        until("nobody takes her for suspended", async || reason().await != "USER_SUSPENDED").await;
        refused(ana.charge(spend(ana.owner, "1")).await, PermissionDenied, "NOT_A_MEMBER");
        refused(world.product().charge(spend(ana.owner, "1").by(ana.user)).await, PermissionDenied, "NOT_A_MEMBER");
        world.audit(ana.owner).await;
    }

    async fn a_subscription_ends_with_its_organization_and_goes_on_if_that_comes_back_in_time(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "10").await;
        let begun = ada.subscribe(subscribe(team, "business")).await.unwrap().subscription.unwrap();
        ada.charged(spend(team, "500")).await;
        world.stands(team, Standing::Deleted, 1).await;
        world.is_on(team, "free").await;
        assert_eq!(world.subscription(team).await.state(), SubscriptionState::Ended);

        world.passes(Span::from_days(3));
        world.stands(team, Standing::Active, 2).await;
        world.is_on(team, "business").await;
        assert_eq!(world.subscription(team).await, begun, "as if nothing had been");
        ada.charged(spend(team, "500")).await;
        assert_eq!(world.available(team).await, "510", "no allowance was lost, and none granted twice");

        world.stands(team, Standing::Deleted, 3).await;
        world.is_on(team, "free").await;
        world.passes(Span::from_days(40));
        world.stands(team, Standing::Active, 4).await;
        ada.charged(spend(team, "1")).await;
        assert_eq!(world.subscription(team).await.state(), SubscriptionState::Ended, "what was paid for is over");
        ada.subscribe(subscribe(team, "business")).await.unwrap();
        // Another one by now: nothing of the past comes back.
        world.stands(team, Standing::Active, 5).await;
        world.audit(team).await;
        assert_eq!(world.scalar("SELECT COUNT(*) FROM subscriptions WHERE state = 'ACTIVE'").await, 1);
    }

    async fn who_is_suspended_renews_nothing_and_catches_up_afterwards(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "10").await;
        let (other, ben) = world.organization_with(2, "10").await;
        for person in [&ada, &ben] {
            person.subscribe(subscribe(person.owner, "business")).await.unwrap();
        }
        let end = world.subscription(team).await.current_period_end.unwrap().seconds;
        let left = end.unsigned_abs() - world.now().as_unix_secs().unsigned_abs();
        world.passes(Span::from_secs(left - 3_600));
        let hold = world.product().held(reserve(team, "5").by(ada.user).lasting(Span::DAY)).await;
        world.stands(team, Standing::Suspended, 1).await;
        world.passes(Span::from_secs(2 * 3_600));
        until("the other one is renewed", async || world.available(other).await == "1510").await;
        assert_eq!((world.subscription(team).await.state(), world.available(team).await.as_str()), (SubscriptionState::Active, "10"));
        refused(ada.charge(spend(team, "1")).await, PermissionDenied, SUSPENDED);
        assert_eq!(world.available(team).await, "10", "nor did who would spend");
        // Nor who settles what might take more than it holds; what is due stays so.
        let product = world.product();
        product.captured(pb::CaptureRequest { allow_excess: true, ..settle(&hold, "5") }).await;
        world.stands(team, Standing::Active, 2).await;
        ada.charged(spend(team, "1000")).await;
        assert_eq!(world.available(team).await, "510", "whoever spends finds it renewed");
        world.audit(team).await;
    }
}
