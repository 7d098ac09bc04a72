//! What gets a row of the audit log, what an entry of the ledger, and what both, by a table of every RPC that changes something;
//! and that organization, which lists everybody's, is told of each row.

use std::collections::BTreeSet;

use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{OwnerId, Role, ServiceAccountId};
use bursar_proto::access::{Idempotency, MethodRule, Permission};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, audited, engines, id, organization, rpcs};
use tonic::Status;

use crate::calls::Caller;
use crate::contracts::contract;
use crate::moving::{moving, subscribed};
use crate::words::{
    Under, batch, buy, cancel, change_to, erase, free, give_back, grant, limit, reserve, resume, set_seats, settle,
    spend, subscribe, void,
};
use crate::world::{Person, World, all_rows_are_told};

/// Spending: the entry that each books in the ledger, with its actor, is its row. What is refused of it books none.
const IN_THE_LEDGER: [&str; 6] = ["BatchCharge", "Capture", "Charge", "Hold", "Refund", "Release"];

/// What is no spending and has its entry beside the row: an owner may be kept from the ledger, and finds it in the log.
const IN_BOTH: [&str; 3] = ["EraseDetails", "GrantCredits", "VoidLot"];

/// Who calls.
#[derive(Clone, Copy, Debug)]
enum By {
    Boss,
    Operator,
    Product,
    Organization,
}

/// What calls are about, and what earlier ones made.
struct Stage {
    world: World,
    team: OwnerId,
    boss: Person,
    /// An organization that has nothing yet.
    other: OwnerId,
    /// Somebody whose plan moves to another organization.
    ana: Person,
    founded: OwnerId,
    /// What operators call under.
    request_id: String,
    method: String,
    payment: String,
    limit: String,
    lot: pb::Lot,
    charge: pb::Charge,
    hold: pb::Hold,
}

/// The RPCs of billing that change something and fit, by their short names.
fn changing(fits: impl Fn(&MethodRule) -> bool) -> BTreeSet<&'static str> {
    rpcs("bursar.billing.v1", |rule| rule.idempotency != Idempotency::NoSideEffects && fits(rule)).into_keys().collect()
}

impl Stage {
    async fn set(world: World) -> Self {
        let (team, boss) = world.organization_with(1, "100").await;
        let (other, _) = world.organization_with(2, "1").await;
        let ana = subscribed(&world, 3).await;
        Self {
            world,
            team,
            boss,
            other,
            ana,
            founded: organization(5_001),
            request_id: String::new(),
            method: String::new(),
            payment: String::new(),
            limit: String::new(),
            lot: pb::Lot::default(),
            charge: pb::Charge::default(),
            hold: pb::Hold::default(),
        }
    }

    fn caller(&self, by: By) -> Caller {
        match by {
            By::Boss => self.boss.calls.clone(),
            By::Operator => self.world.operator(),
            By::Product => self.world.product(),
            By::Organization => self.world.service(ServiceRole::Organization),
        }
    }

    /// Calls an RPC with something that is allowed to whoever may call it, and keeps what it made.
    async fn call(&mut self, who: &Caller, rpc: &str) -> Result<(), Status> {
        let (owner, team) = (self.team.to_string(), self.team);
        match rpc {
            "UpdateAccountSettings" => {
                let settings = pb::AccountSettings { time_zone: "Europe/Berlin".to_owned(), ..Default::default() };
                let settings = Some(settings);
                let request = pb::UpdateAccountSettingsRequest { owner, settings, ..Default::default() };
                who.update_account_settings(request).await.map(drop)
            }
            "SetLimit" => {
                let set = who.set_limit(limit(team, "every", pb::LimitWindow::Day, "50")).await?;
                self.limit = set.limit.expect("a limit").id;
                Ok(())
            }
            "DeleteLimit" => {
                let request = pb::DeleteLimitRequest { owner, limit_id: self.limit.clone(), ..Default::default() };
                who.delete_limit(request).await.map(drop)
            }
            "ReloadCatalog" => {
                who.reload_catalog(pb::ReloadCatalogRequest::default().under(&self.request_id)).await.map(drop)
            }
            "Subscribe" => who.subscribe(subscribe(team, "business")).await.map(drop),
            "ChangePlan" => {
                let request = pb::ChangePlanRequest { seats: 12, ..change_to(team, "business") };
                who.change_plan(request).await.map(drop)
            }
            "SetSeats" => who.set_seats(set_seats(team, 13)).await.map(drop),
            "Cancel" => who.cancel(cancel(team, pb::CancelAt::PeriodEnd)).await.map(drop),
            "Resume" => who.resume(resume(team)).await.map(drop),
            "SetContract" => who.set_contract(contract(self.other, 900).under(&self.request_id)).await.map(drop),
            "MoveSubscription" => who.move_subscription(moving(self.ana.owner, self.founded)).await.map(drop),
            _ if IN_THE_LEDGER.contains(&rpc) || IN_BOTH.contains(&rpc) => self.call_credits(who, rpc).await,
            _ => self.call_payments(who, rpc).await,
        }
    }

    async fn call_payments(&mut self, who: &Caller, rpc: &str) -> Result<(), Status> {
        let (owner, payment_method_id, request_id) = (self.team.to_string(), self.method.clone(), String::new());
        match rpc {
            "BeginSetup" => {
                let return_url = "https://example.com/done".to_owned();
                let begun = who.begin_setup(pb::BeginSetupRequest { owner, return_url, request_id }).await?;
                self.method = begun.payment_method.expect("saved at once").id;
                Ok(())
            }
            "SetDefaultPaymentMethod" => {
                let request = pb::SetDefaultPaymentMethodRequest { owner, payment_method_id, request_id };
                who.set_default_payment_method(request).await.map(drop)
            }
            "RemovePaymentMethod" => {
                let request = pb::RemovePaymentMethodRequest { owner, payment_method_id, request_id };
                who.remove_payment_method(request).await.map(drop)
            }
            "PurchasePack" => {
                let bought = who.purchase_pack(buy(self.team, "starter")).await?;
                self.payment = bought.payment.expect("a payment").id;
                Ok(())
            }
            "RefundPayment" => {
                let payment_id = self.payment.clone();
                let request = pb::RefundPaymentRequest { owner, payment_id, ..Default::default() };
                who.refund_payment(request.under(&self.request_id)).await.map(drop)
            }
            other => panic!("nobody knows how to call {other}: say here, and below who does"),
        }
    }

    async fn call_credits(&mut self, who: &Caller, rpc: &str) -> Result<(), Status> {
        let team = self.team;
        match rpc {
            "Charge" => self.charge = who.charge(spend(team, "2")).await?.charge.expect("a charge"),
            "BatchCharge" => drop(who.batch_charge(batch([spend(team, "1")])).await?),
            "Hold" => self.hold = who.hold(reserve(team, "2")).await?.hold.expect("a hold"),
            "Capture" => drop(who.capture(settle(&self.hold, "1")).await?),
            "Release" => drop(who.release(free(&self.hold)).await?),
            "Refund" => drop(who.refund(give_back(&self.charge)).await?),
            "GrantCredits" => {
                let granted = who.grant_credits(grant(team, "5").under(&self.request_id)).await?;
                self.lot = granted.lot.expect("a lot");
            }
            "VoidLot" => drop(who.void_lot(void(team, &self.lot).under(&self.request_id)).await?),
            "EraseDetails" => drop(who.erase_details(erase(team, Some(self.boss.user))).await?),
            other => panic!("nobody knows how to call {other}: say here, and below who does"),
        }
        Ok(())
    }

    /// Calls, and gives what came of it, the rows that came with it, and how many entries of the team's ledger.
    async fn rows_of(&mut self, who: &Caller, rpc: &str) -> (String, Vec<AuditRow>, i64) {
        let before: BTreeSet<_> = audited(&self.world.store).await.into_iter().map(|row| row.id).collect();
        let seq = self.world.seq(self.team).await;
        let outcome = self.call(who, rpc).await;
        let rows = audited(&self.world.store).await.into_iter().filter(|row| !before.contains(&row.id)).collect();
        let outcome = outcome.map_or_else(|status| Refusal::of(&status).reason, |()| "OK".to_owned());
        (outcome, rows, self.world.seq(self.team).await - seq)
    }
}

engines! {
    async fn every_call_that_changes_something_leaves_one_row_or_an_entry_in_the_ledger(db: TestDb) {
        let mut stage = Stage::set(World::on(db).await).await;
        let mut called = BTreeSet::new();
        let product: ServiceAccountId = id(1);
        let calls = [
            ("BeginSetup", By::Boss), ("SetDefaultPaymentMethod", By::Boss), ("RemovePaymentMethod", By::Boss),
            ("UpdateAccountSettings", By::Boss), ("SetLimit", By::Boss), ("DeleteLimit", By::Boss), ("Subscribe", By::Boss),
            ("ChangePlan", By::Boss), ("SetSeats", By::Boss), ("Cancel", By::Boss), ("Resume", By::Boss),
            ("PurchasePack", By::Boss), ("RefundPayment", By::Operator), ("SetContract", By::Operator),
            ("ReloadCatalog", By::Operator), ("MoveSubscription", By::Organization), ("Charge", By::Boss),
            ("BatchCharge", By::Boss), ("Hold", By::Boss), ("Capture", By::Boss), ("Hold", By::Boss), ("Release", By::Boss),
            ("Refund", By::Product), ("GrantCredits", By::Operator), ("VoidLot", By::Operator), ("EraseDetails", By::Product),
        ];
        for (rpc, by) in calls {
            let who = stage.caller(by);
            let (outcome, rows, entries) = stage.rows_of(&who, rpc).await;
            assert_eq!(outcome, "OK", "{rpc}");
            called.insert(rpc);
            if IN_THE_LEDGER.contains(&rpc) {
                assert_eq!((rows.as_slice(), entries), ([].as_slice(), 1), "{rpc} has its entry in the ledger");
                continue;
            }
            if IN_BOTH.contains(&rpc) {
                assert_eq!(entries, 1, "{rpc} has its entry beside the row");
            }
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.starts_with("bursar.billing.v1.") && row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            assert_eq!((row.outcome, &row.reason, &row.on_behalf_of), (Outcome::Done, &None, &None), "{rpc}");
            let actor = match by {
                By::Boss => stage.boss.user.to_string(),
                By::Operator => ServiceAccountId::OPERATOR.to_string(),
                By::Organization => ServiceAccountId::ORGANIZATION.to_string(),
                By::Product => product.to_string(),
            };
            assert_eq!(row.actor, actor, "{rpc}");
            let owner = match rpc {
                "ReloadCatalog" => None,
                "SetContract" => Some(stage.other),
                "MoveSubscription" => Some(stage.founded),
                _ => Some(stage.team),
            };
            assert_eq!(row.owner, owner, "{rpc}");
            let target = row.target.as_deref().unwrap_or_default();
            let is_id = target.len() == 30 && target.as_bytes()[3] == b'_';
            // A catalog has a number.
            assert!(is_id || (rpc == "ReloadCatalog" && target == "1"), "{rpc} says what it was done to: {target}");
        }
        assert_eq!(called, changing(|_| true), "a row or an entry for each");
        all_rows_are_told(&stage.world).await;
        let all = format!("{:?}", audited(&stage.world.store).await);
        for detail in ["sandbox", "example.com", "Berlin"] {
            assert!(!all.contains(detail), "{detail} in {all}");
        }
        for owner in [stage.team, stage.other, stage.ana.owner, stage.founded] {
            stage.world.audit(owner).await;
        }
    }

    async fn what_is_for_few_leaves_a_row_when_a_member_is_refused_and_none_when_a_stranger_is(db: TestDb) {
        let mut stage = Stage::set(World::on(db).await).await;
        stage.world.hears(stage.team, id(4), Some(Role::Member), 1).await;
        let (member, stranger) = (stage.world.member(4, stage.team, Role::Member, 1), stage.world.person(9));
        let few = changing(|rule| rule.permission == Permission::ManageBilling);
        for rpc in ["Subscribe", "SetLimit", "UpdateAccountSettings", "BeginSetup"] {
            assert!(few.contains(rpc), "{rpc} in {few:?}");
        }
        for rpc in few {
            let (reason, rows, entries) = stage.rows_of(&member.calls, rpc).await;
            assert_eq!((reason.as_str(), entries), ("ROLE_NOT_ALLOWED", 0), "{rpc}");
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            let told = (row.actor.clone(), row.owner, row.outcome, row.reason.as_deref());
            let expected = (member.user.to_string(), Some(stage.team), Outcome::Refused, Some("ROLE_NOT_ALLOWED"));
            assert_eq!(told, expected, "{rpc}");
        }
        // A stranger changes nothing and leaves nothing, whatever is called, and no service does that it is not for.
        for rpc in changing(|_| true) {
            let (reason, rows, entries) = stage.rows_of(&stranger.calls, rpc).await;
            // A batch says it of each of its charges.
            assert!(reason != "OK" || rpc == "BatchCharge", "{rpc}");
            assert_eq!((rows.as_slice(), entries), ([].as_slice(), 0), "{rpc}");
        }
        all_rows_are_told(&stage.world).await;
    }

    async fn operators_are_heard_when_they_are_refused(db: TestDb) {
        let mut stage = Stage::set(World::on(db).await).await;
        stage.request_id = "x".repeat(129);
        let operating = changing(|rule| rule.permission == Permission::Operate);
        assert!(operating.contains("SetContract") && operating.contains("VoidLot"), "{operating:?}");
        assert!(operating.iter().all(|rpc| !IN_THE_LEDGER.contains(rpc)), "{operating:?}");
        let operator = stage.caller(By::Operator);
        for rpc in operating {
            let (reason, rows, entries) = stage.rows_of(&operator, rpc).await;
            assert_eq!((reason.as_str(), entries), ("INVALID_FIELDS", 0), "{rpc}");
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            let told = (row.actor.clone(), row.outcome, row.reason.as_deref());
            assert_eq!(told, (ServiceAccountId::OPERATOR.to_string(), Outcome::Refused, Some("INVALID_FIELDS")), "{rpc}");
            let owner = match rpc {
                "ReloadCatalog" => None,
                "SetContract" => Some(stage.other),
                _ => Some(stage.team),
            };
            assert_eq!(row.owner, owner, "{rpc}");
        }
        all_rows_are_told(&stage.world).await;
    }

    /// A member, that is: an operator has a row each time. `VoidLot` goes through the lanes, `SetLimit` does not.
    async fn whoever_is_refused_all_the_time_adds_a_few_rows_that_say_how_often(db: TestDb) {
        let mut stage = Stage::set(World::on(db).await).await;
        stage.request_id = "x".repeat(129);
        stage.world.hears(stage.team, id(4), Some(Role::Member), 1).await;
        let (operator, member) = (stage.caller(By::Operator), stage.world.member(4, stage.team, Role::Member, 1));
        for (caller, rpc, refusal) in
            [(&operator, "VoidLot", "INVALID_FIELDS"), (&member.calls, "SetLimit", "ROLE_NOT_ALLOWED")]
        {
            let mut reasons = Vec::new();
            for _ in 0..50 {
                let (reason, rows, _) = stage.rows_of(caller, rpc).await;
                assert_eq!(reason, refusal, "{rpc}");
                reasons.extend(rows.into_iter().filter_map(|row| row.reason));
            }
            let counted = [20, 40].map(|count| format!("{refusal} ({count})"));
            let expected: Vec<_> = if rpc == "VoidLot" {
                vec![refusal.to_owned(); 50]
            } else {
                std::iter::repeat_n(refusal.to_owned(), 10).chain(counted).collect()
            };
            assert_eq!(reasons, expected, "{rpc}");
        }
        all_rows_are_told(&stage.world).await;
    }
}
