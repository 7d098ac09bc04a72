//! Who tries to see what only few may: a row of the audit log, of many tries in an hour one, and none of a stranger.

use std::collections::BTreeSet;

use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{OwnerId, Role};
use bursar_members::{AdminBilling, BalanceVisibility, OwnPolicy};
use bursar_proto::access::{Idempotency, MethodRule, Permission};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::GroupBy;
use bursar_testkit::{Refusal, auditing, engines, id, refused, rpcs};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::words::{audit_of, balance_of, entries_of, holds_of, lots_of, usage_of};
use crate::world::{Person, World, all_rows_are_told};

/// The RPCs that only show something, and that to those only whose role allows it.
fn looks() -> BTreeSet<(&'static str, Permission)> {
    let for_all = [Permission::Unspecified, Permission::Self_, Permission::UseWorkspace, Permission::Operate];
    let looks =
        |rule: &MethodRule| rule.idempotency == Idempotency::NoSideEffects && !for_all.contains(&rule.permission);
    rpcs("bursar.billing.v1", looks).into_iter().map(|(rpc, rule)| (rpc, rule.permission)).collect()
}

/// Looks at an account by an RPC; what it names of it is nowhere.
async fn look(who: &Caller, owner: OwnerId, rpc: &str) -> Result<(), Status> {
    let named = owner.to_string();
    match rpc {
        "GetBalance" => who.get_balance(balance_of(owner)).await.map(drop),
        "ListLots" => who.list_lots(lots_of(owner)).await.map(drop),
        "ListLedgerEntries" => who.list_ledger_entries(entries_of(owner)).await.map(drop),
        "VerifyLedger" => who.verify_ledger(audit_of(owner)).await.map(drop),
        "GetAccountSettings" => {
            who.get_account_settings(pb::GetAccountSettingsRequest { owner: named }).await.map(drop)
        }
        "ListInvoices" => {
            who.list_invoices(pb::ListInvoicesRequest { owner: named, ..Default::default() }).await.map(drop)
        }
        "GetInvoice" => who.get_invoice(pb::GetInvoiceRequest { owner: named, ..Default::default() }).await.map(drop),
        "RenderInvoice" => {
            let request = pb::RenderInvoiceRequest { owner: named, ..Default::default() };
            who.0.invoices().render_invoice(request).await.map(drop)
        }
        "GetSubscription" => who.get_subscription(pb::GetSubscriptionRequest { owner: named }).await.map(drop),
        "PreviewChange" => {
            who.preview_change(pb::PreviewChangeRequest { owner: named, ..Default::default() }).await.map(drop)
        }
        other => look_at_payments(who, named, other).await,
    }
}

async fn look_at_payments(who: &Caller, owner: String, rpc: &str) -> Result<(), Status> {
    match rpc {
        "ListPaymentMethods" => {
            let request = pb::ListPaymentMethodsRequest { owner, ..Default::default() };
            who.list_payment_methods(request).await.map(drop)
        }
        "GetPayment" => who.get_payment(pb::GetPaymentRequest { owner, ..Default::default() }).await.map(drop),
        "ListPayments" => who.list_payments(pb::ListPaymentsRequest { owner, ..Default::default() }).await.map(drop),
        "GetPurchase" => who.get_purchase(pb::GetPurchaseRequest { owner, ..Default::default() }).await.map(drop),
        "ListPurchases" => who.list_purchases(pb::ListPurchasesRequest { owner, ..Default::default() }).await.map(drop),
        other => panic!("nobody knows how to look by {other}: say here"),
    }
}

/// A team whose billing its Owner (person 1) alone sees, and whose balance its Admin (2), but not its Member (3).
async fn team(world: &World) -> (OwnerId, [Person; 3]) {
    let (team, owner) = world.organization_with(1, "100").await;
    world.hears(team, id(2), Some(Role::Admin), 1).await;
    world.hears(team, id(3), Some(Role::Member), 1).await;
    let own = OwnPolicy {
        admin_billing: Some(AdminBilling::None),
        balance_visibility: Some(BalanceVisibility::Managers),
        ..OwnPolicy::default()
    };
    world.decides(team, own, 1).await;
    (team, [owner, world.member(2, team, Role::Admin, 1), world.member(3, team, Role::Member, 1)])
}

/// Looks, and gives what came of it and the rows that came with it.
async fn rows_of(world: &World, look: impl Future<Output = Result<(), Status>>) -> (String, Vec<AuditRow>) {
    let (outcome, rows) = auditing(&world.store, look).await;
    (outcome.map_or_else(|status| Refusal::of(&status).reason, |()| "OK".to_owned()), rows)
}

/// Demands one row, which says that this person was refused this by role.
fn are(rows: &[AuditRow], person: &Person, team: OwnerId, rpc: &str) {
    let [row] = rows else { panic!("{rpc}: {rows:?}") };
    assert!(row.method.starts_with("bursar.billing.v1.") && row.method.ends_with(&format!("/{rpc}")), "{row:?}");
    let told = (row.actor.clone(), row.owner, row.outcome, row.reason.as_deref());
    assert_eq!(told, (person.user.to_string(), Some(team), Outcome::Refused, Some("ROLE_NOT_ALLOWED")), "{rpc}");
    assert_eq!((&row.on_behalf_of, &row.target, &row.request_id), (&None, &None, &None), "{rpc}");
}

engines! {
    async fn whoever_may_not_see_billing_leaves_a_row_and_whoever_may_or_is_a_stranger_none(db: TestDb) {
        let world = World::on(db).await;
        let (team, [owner, admin, member]) = team(&world).await;
        let stranger = world.person(9);
        let looks = looks();
        for permission in [Permission::ViewBilling, Permission::ViewUsage, Permission::ViewBalance] {
            assert!(looks.iter().any(|(_, of)| *of == permission), "{looks:?}");
        }
        for (rpc, permission) in looks {
            let (reason, rows) = rows_of(&world, look(&member, team, rpc)).await;
            assert_eq!(reason, "ROLE_NOT_ALLOWED", "{rpc}");
            are(&rows, &member, team, rpc);
            let (reason, rows) = rows_of(&world, look(&admin, team, rpc)).await;
            assert_eq!(reason == "ROLE_NOT_ALLOWED", permission == Permission::ViewBilling, "{rpc}");
            if reason == "ROLE_NOT_ALLOWED" {
                are(&rows, &admin, team, rpc);
            } else {
                assert_eq!(rows, [], "{rpc}");
            }
            let (reason, rows) = rows_of(&world, look(&owner, team, rpc)).await;
            assert_ne!(reason, "ROLE_NOT_ALLOWED", "{rpc}");
            assert_eq!(rows, [], "{rpc}");
            let (reason, rows) = rows_of(&world, look(&stranger, team, rpc)).await;
            assert_eq!((reason.as_str(), rows), ("NOT_A_MEMBER", Vec::new()), "{rpc}");
        }
        all_rows_are_told(&world).await;
    }

    async fn whoever_polls_what_is_refused_leaves_one_row_in_an_hour(db: TestDb) {
        let world = World::on(db).await;
        let (team, [_, admin, member]) = team(&world).await;
        let poll = async |who: &Person, rpc: &str| {
            let polled = async {
                for _ in 0..50 {
                    refused(look(who, team, rpc).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
                    world.passes(Span::SECOND);
                }
                Ok(())
            };
            rows_of(&world, polled).await.1
        };
        are(&poll(&member, "GetSubscription").await, &member, team, "GetSubscription");
        // What differs in who or what is another one.
        are(&poll(&member, "ListInvoices").await, &member, team, "ListInvoices");
        are(&poll(&admin, "GetSubscription").await, &admin, team, "GetSubscription");
        assert_eq!(poll(&member, "GetSubscription").await, [], "within the hour");
        world.passes(Span::HOUR);
        are(&poll(&member, "GetSubscription").await, &member, team, "GetSubscription");
        all_rows_are_told(&world).await;
    }

    async fn a_look_at_what_others_did_is_refused_with_a_row_by_what_every_member_may_call(db: TestDb) {
        let world = World::on(db).await;
        let (team, [owner, _, member]) = team(&world).await;
        let (of, to) = (owner.user.to_string(), team.to_string());
        let totals = async { member.query_usage(usage_of(team, &[GroupBy::Model])).await.map(drop) };
        assert_eq!(rows_of(&world, totals).await, ("OK".to_owned(), Vec::new()));
        let own = async { member.list_holds(holds_of(team)).await.map(drop) };
        assert_eq!(rows_of(&world, own).await, ("OK".to_owned(), Vec::new()));

        let by_member = async { member.query_usage(usage_of(team, &[GroupBy::Member])).await.map(drop) };
        are(&rows_of(&world, by_member).await.1, &member, team, "QueryUsage");
        let export = pb::ExportUsageRequest { owner: to, member: of.clone(), ..Default::default() };
        let export = async { member.0.usage().export_usage(export).await.map(drop) };
        are(&rows_of(&world, export).await.1, &member, team, "ExportUsage");
        let others = pb::ListHoldsRequest { member: of, ..holds_of(team) };
        let others = async { member.list_holds(others).await.map(drop) };
        are(&rows_of(&world, others).await.1, &member, team, "ListHolds");
        all_rows_are_told(&world).await;
    }
}
