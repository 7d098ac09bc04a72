//! What is known of members grows old, or cannot be read: what rests on it is refused, and nothing else.

use std::time::{Duration, Instant};

use bursar_db::on;
use bursar_id::{LimitId, OwnerId, PaymentMethodId, ProjectId, Role, UserId};
use bursar_proto::access::{CallerKind, Idempotency, MethodRule};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_proto::event::v1::MembershipChanged;
use bursar_proto::event::v1::event::Payload;
use bursar_testkit::{engines, id, refused, rpcs};
use tonic::{Code, Status};

use crate::telling::made;
use crate::words::{
    Spending as _, Under, balance_of, batch, buy, cancel, change_to, entries_of, free, give_back, grant, limit,
    reserve, resume, set_seats, settle, settle_all, spend, subscribe,
};
use crate::world::{Person, World, until};

/// How soon a repair holds.
const REPAIRED_WITHIN: Duration = Duration::from_secs(2);

fn stale<T: std::fmt::Debug>(outcome: Result<T, Status>, what: &str) {
    let outcome = outcome.map(|answer| panic!("{what}: {answer:#?}"));
    let refusal = refused::<()>(outcome, Code::Unavailable, "FEED_STALE");
    assert!(refusal.retryable, "{what} says when to come again: {refusal:#?}");
}

/// The RPCs by which a person changes something, by their short names; what comes of a batch is told of each charge.
fn changes() -> Vec<&'static str> {
    let changing = |rule: &MethodRule| rule.idempotency != Idempotency::NoSideEffects && rule.admits(CallerKind::User);
    rpcs("bursar.billing.v1", changing).into_keys().filter(|rpc| *rpc != "BatchCharge").collect()
}

/// What comes of it when a person who has a hold calls one of them in an organization.
async fn change(ada: &Person, hold: &pb::Hold, rpc: &str) -> Result<(), Status> {
    let (team, owner) = (ada.owner, ada.owner.to_string());
    let payment_method_id = PaymentMethodId::from_parts(1, [1; 10]).to_string();
    match rpc {
        "Charge" => ada.charge(spend(team, "1")).await.map(drop),
        "Hold" => ada.hold(reserve(team, "1")).await.map(drop),
        "Capture" => ada.capture(settle_all(hold)).await.map(drop),
        "Release" => ada.release(free(hold)).await.map(drop),
        "PurchasePack" => ada.purchase_pack(buy(team, "starter")).await.map(drop),
        "Subscribe" => ada.subscribe(subscribe(team, "business")).await.map(drop),
        "ChangePlan" => ada.change_plan(change_to(team, "business")).await.map(drop),
        "SetSeats" => ada.set_seats(set_seats(team, 12)).await.map(drop),
        "Cancel" => ada.cancel(cancel(team, pb::CancelAt::Now)).await.map(drop),
        "Resume" => ada.resume(resume(team)).await.map(drop),
        "SetLimit" => ada.set_limit(limit(team, "every", pb::LimitWindow::Day, "5")).await.map(drop),
        "DeleteLimit" => {
            let limit_id = LimitId::from_parts(1, [1; 10]).to_string();
            ada.delete_limit(pb::DeleteLimitRequest { owner, limit_id, ..Default::default() }).await.map(drop)
        }
        "UpdateAccountSettings" => {
            let mask = prost_types::FieldMask { paths: vec!["time_zone".to_owned()] };
            let settings = pb::AccountSettings { time_zone: "Europe/Berlin".to_owned(), ..Default::default() };
            let (settings, update_mask) = (Some(settings), Some(mask));
            let request = pb::UpdateAccountSettingsRequest { owner, settings, update_mask, ..Default::default() };
            ada.update_account_settings(request).await.map(drop)
        }
        "BeginSetup" => {
            let return_url = "https://example.com".to_owned();
            ada.begin_setup(pb::BeginSetupRequest { owner, return_url, ..Default::default() }).await.map(drop)
        }
        "SetDefaultPaymentMethod" => {
            let request = pb::SetDefaultPaymentMethodRequest { owner, payment_method_id, ..Default::default() };
            ada.set_default_payment_method(request).await.map(drop)
        }
        "RemovePaymentMethod" => {
            let request = pb::RemovePaymentMethodRequest { owner, payment_method_id, ..Default::default() };
            ada.remove_payment_method(request).await.map(drop)
        }
        other => panic!("nobody knows how to call {other}: say here"),
    }
}

impl World {
    /// Organization is heard no more, for so long that nobody goes by what it told.
    async fn falls_silent(&self) {
        self.teams.fall_silent();
        let mut looks = 0;
        until("the feed is stale", async || {
            // Again and again, and ten times in a row: one more sign of life may have been on its way.
            self.env.monotonic.advance(self.settings.max_staleness + Duration::from_secs(1));
            let is_stale = self.shows("organization heard") && self.shows("stale above 300 s");
            looks = if is_stale { looks + 1 } else { 0 };
            looks == 10
        })
        .await;
    }

    /// Time passes by which nobody's clock goes.
    fn ages(&self, by: Duration) {
        self.env.monotonic.advance(by);
    }

    /// Whether `/readyz` shows this of billing.
    fn shows(&self, what: &str) -> bool {
        self.ready.note().is_some_and(|note| note.contains(what))
    }

    /// Organization tells something that nobody can read, of this organization or, by a program's fault, of nobody.
    async fn blots(&self, organization: Option<OwnerId>) {
        let organization_id = organization.map(|owner| owner.to_string()).unwrap_or_default();
        let changed = MembershipChanged { organization_id, role: 99, ..MembershipChanged::default() };
        self.tell(Payload::MembershipChanged(changed)).await;
        self.applied().await;
    }

    /// Identity tells something of somebody that nobody can read.
    async fn blots_person(&self, user: UserId) {
        self.deletions.fall_silent();
        self.deleted(user).await;
        let mut tx = self.people_db.begin().await.unwrap();
        on!(&mut tx, c => sqlx::query("UPDATE outbox SET payload = $1").bind(vec![0xff_u8]).execute(c).await.unwrap().rows_affected());
        tx.commit().await.unwrap();
        self.deletions.speak();
    }

    /// An operator drops everything that was set aside.
    async fn discards(&self) {
        self.by_hand("DELETE FROM events_set_aside").await.unwrap();
    }
}

engines! {
    async fn a_feed_stopped_beyond_the_bound_stops_spending_and_changes_of_organizations_alone(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "100").await;
        let (home, product) = (world.person_with(5, "100").await, world.product());
        world.hears(team, id(2), Some(Role::Member), 1).await;
        world.hears(team, id(3), None, 2).await;
        let gone = world.member(3, team, Role::Member, 1);
        let first = ada.charged(spend(team, "1").under("first")).await;
        let bought = ada.purchase_pack(buy(team, "starter").under("bought")).await.unwrap();
        let own = ada.held(reserve(team, "2")).await;
        let (kept, freed) = (product.held(reserve(team, "3").by(id(2))).await, product.held(reserve(team, "4").by(id(2))).await);
        // Just below the bound the last word serves.
        world.teams.fall_silent();
        world.ages(world.settings.max_staleness);
        ada.charged(spend(team, "1")).await;
        world.falls_silent().await;
        assert!(world.ready.check().await.is_ok(), "it is ready for everything else");

        // Whatever a member asks for that changes something, and whatever a service spends for one.
        for rpc in changes() {
            stale(change(&ada, &own, rpc).await, rpc);
        }
        stale(product.charge(spend(team, "1").by(id(2))).await, "a service");
        stale(product.hold(reserve(team, "1").by(id(2))).await, "a service");
        stale(product.charge(spend(team, "1").by(id(99))).await, "a service");
        stale(world.product_for(&ada).charge(spend(team, "1")).await, "a service that calls for a member");
        let excess = pb::CaptureRequest { allow_excess: true, ..settle(&kept, "5") };
        stale(product.capture(excess).await, "a service");
        // Whoever was told of is told so, and an answer that was given is given again.
        refused(gone.charge(spend(team, "1")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(product.charge(spend(team, "1").by(id(3))).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let again = ada.charge(spend(team, "1").under("first")).await.unwrap();
        assert!(again.replayed && again.charge == Some(first.clone()));
        let again = ada.purchase_pack(buy(team, "starter").under("bought")).await.unwrap();
        assert_eq!(again.purchase, bought.purchase);
        refused(ada.charge(spend(team, "2").under("first")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // Each charge of a batch for itself.
        let charges = [spend(team, "1").by(id(2)), spend(home.owner, "1").by(home.user)];
        let outcomes = product.batch_charge(batch(charges)).await.unwrap().outcomes;
        let [Some(Outcome::Status(refusal)), Some(Outcome::Charge(_))] = [&outcomes[0].outcome, &outcomes[1].outcome] else {
            panic!("{outcomes:#?}")
        };
        assert_eq!(refusal.code, i32::from(Code::Unavailable));
        // People's own accounts go on, reading goes on, and so does what a service does by its own authority.
        home.charged(spend(home.owner, "1")).await;
        home.purchase_pack(buy(home.owner, "starter")).await.unwrap();
        ada.get_balance(balance_of(team)).await.unwrap();
        ada.list_ledger_entries(entries_of(team)).await.unwrap();
        product.captured(settle_all(&kept)).await;
        product.release(free(&freed)).await.unwrap();
        product.refunded(give_back(&first)).await;
        world.operator().granted(grant(team, "5")).await;

        world.teams.speak();
        let begun = Instant::now();
        until("organizations spend again", async || ada.charge(spend(team, "1")).await.is_ok()).await;
        assert!(begun.elapsed() < REPAIRED_WITHIN, "only after {:?}", begun.elapsed());
        ada.captured(settle_all(&own)).await;
        for owner in [team, home.owner] {
            world.audit(owner).await;
        }
    }

    async fn in_a_stale_feed_nobody_is_told_that_there_is_no_such_project_or_member(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "100").await;
        let (home, operator) = (world.person_with(5, "100").await, world.operator());
        let [known, gone, new]: [ProjectId; 3] = [1, 2, 3].map(id);
        world.hears(team, id(2), Some(Role::Member), 1).await;
        world.hears(team, id(3), None, 2).await;
        for project in [known, gone] {
            world.has_project(team, project).await;
        }
        world.lost_project(team, gone).await;
        let on = |owner: OwnerId, subject: String| limit(owner, &subject, pb::LimitWindow::Day, "5");
        let [first, second, third]: [UserId; 3] = [2, 3, 4].map(id);
        world.falls_silent().await;
        // They were made, or joined, a moment ago; nobody has heard.
        for owner in [team, home.owner] {
            world.tell(made(owner, new)).await;
            stale(operator.set_limit(on(owner, format!("project {new}"))).await, "an operator");
        }
        stale(home.set_limit(on(home.owner, format!("project {new}"))).await, "whose account it is");
        stale(ada.set_limit(on(team, format!("project {new}"))).await, "the owner");
        stale(operator.set_limit(on(team, format!("member {third}"))).await, "an operator");
        // What was told holds, and of what organization does not tell it is known that there is none.
        for (owner, subject) in [
            (team, format!("project {gone}")),
            (team, format!("member {second}")),
            (team, "project film".to_owned()),
            (team, "model film".to_owned()),
            (home.owner, format!("member {first}")),
        ] {
            refused(operator.set_limit(on(owner, subject)).await, Code::NotFound, "NOT_FOUND");
        }
        for subject in [format!("project {known}"), format!("member {first}"), "every".to_owned()] {
            operator.limited(on(team, subject)).await;
        }
        home.limited(on(home.owner, "every".to_owned())).await;

        world.teams.speak();
        for (caller, owner) in [(&operator, team), (&*home, home.owner)] {
            let again = on(owner, format!("project {new}"));
            until("it is heard of", async || caller.set_limit(again.clone()).await.is_ok()).await;
        }
    }

    async fn a_poison_event_is_shown_and_stops_its_owner_alone_until_an_operator_drops_it(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "10").await;
        let (other, ben) = world.organization_with(2, "10").await;
        let home = world.person_with(5, "10").await;
        let first = ada.charged(spend(team, "1").under("first")).await;
        world.blots(Some(team)).await;
        until("the team is in doubt", async || ada.charge(spend(team, "1")).await.is_err()).await;
        stale(ada.charge(spend(team, "1")).await, "a member");
        stale(ada.purchase_pack(buy(team, "starter")).await, "a member");
        assert_eq!(ada.charge(spend(team, "1").under("first")).await.unwrap().charge, Some(first));
        ben.charged(spend(other, "1")).await;
        home.charged(spend(home.owner, "1")).await;
        assert!(world.shows("1 of its events set aside") && world.ready.check().await.is_ok());
        // A word that can be read does not make the other one known.
        world.hears(team, id(7), Some(Role::Member), 1).await;
        stale(ada.charge(spend(team, "1")).await, "a member");
        world.discards().await;
        until("the team spends again", async || ada.charge(spend(team, "1")).await.is_ok()).await;
        assert!(!world.shows("set aside"));
        // What names nobody may be about any organization, but about no person.
        world.blots(None).await;
        until("all teams are in doubt", async || ben.charge(spend(other, "1")).await.is_err()).await;
        stale(ada.charge(spend(team, "1")).await, "a member");
        home.charged(spend(home.owner, "1")).await;
    }

    async fn what_identity_told_unreadably_of_a_person_stops_that_person_alone(db: TestDb) {
        let world = World::on(db).await;
        // She has enough to ask for as long as it takes.
        let (ada, ben) = (world.person_with(1, "100000").await, world.person_with(2, "10").await);
        world.blots_person(ada.user).await;
        until("it is in doubt", async || ada.charge(spend(ada.owner, "1")).await.is_err()).await;
        stale(ada.charge(spend(ada.owner, "1")).await, "a member");
        ada.get_balance(balance_of(ada.owner)).await.unwrap();
        ben.charged(spend(ben.owner, "1")).await;
        assert!(world.shows("1 of its events set aside"));
    }
}
