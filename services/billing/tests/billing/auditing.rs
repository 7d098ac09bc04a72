//! The audit log: who bought and subscribed, and who was refused it. Spending is audited by the ledger alone.

use bursar_db::audit::AuditRow;
use bursar_id::{Role, ServiceAccountId};
use bursar_proto::billing::v1 as pb;
use bursar_testkit::{START, at, audited, engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{Under, limit, spend};
use crate::world::{World, until};

/// A row in few words.
fn told(row: &AuditRow) -> String {
    let rpc = row.method.rsplit('/').next().unwrap_or_default();
    let outcome = row.reason.clone().unwrap_or_else(|| row.outcome.to_string());
    let request_id = row.request_id.clone().unwrap_or_default();
    format!("{} {rpc} {}: {outcome} {request_id}", row.actor, row.target.clone().unwrap_or_default())
}

/// What is older than `retention` goes, by the job, more than one transaction takes of it; what is younger stays.
async fn keeps(world: World, retention: Span) {
    let (team, boss) = world.organization_with(1, "10").await;
    boss.limited(limit(team, "every", pb::LimitWindow::Day, "50")).await;
    let first = audited(&world.store).await.remove(0);
    let mut tx = world.store.begin().await.unwrap();
    // The last of them two hours later.
    let ages = (0..1_100_u64).map(Span::from_secs).chain([Span::from_hours(2)]);
    for (n, age) in (0..).zip(ages) {
        let row = AuditRow { id: id(n), at: at(START).saturating_add(age), ..first.clone() };
        bursar_db::audit::record(&mut tx, &row).await.unwrap();
    }
    tx.commit().await.unwrap();
    world.passes(retention);
    boss.limited(limit(team, "every", pb::LimitWindow::Day, "60")).await;
    world.passes(Span::HOUR);
    until("the job has taken what is old", async || audited(&world.store).await.len() == 2).await;
    let left = audited(&world.store).await;
    assert_eq!((left[0].at, left[0].id), (at(START).saturating_add(Span::from_hours(2)), id(1_100)), "{left:?}");
    assert!(left[1].method.ends_with("/SetLimit"), "{left:?}");
    world.passes(Span::from_hours(2));
    until("and what has become old", async || audited(&world.store).await.len() == 1).await;
}

engines! {
    async fn rows_are_kept_for_four_hundred_days(db: TestDb) {
        keeps(World::on(db).await, Span::from_days(400)).await;
    }

    async fn rows_are_kept_as_long_as_the_setting_says(db: TestDb) {
        let two_days = std::time::Duration::from_hours(48);
        let world = World::with(db, |settings| settings.audit.retention = two_days).await;
        keeps(world, Span::from_days(2)).await;
    }

    async fn what_is_bought_and_refused_gets_a_row(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        world.hears(team, id(3), Some(Role::Member), 1).await;
        let (member, stranger) = (world.member(3, team, Role::Member, 1), world.person(9));
        // Rows of one instant have no order, and the operator's grant has one.
        world.passes(Span::SECOND);
        let subscribe = |plan: &str, method: &str| pb::SubscribeRequest {
            owner: team.to_string(),
            plan_id: plan.to_owned(),
            payment_method: method.to_owned(),
            request_id: String::new(),
        };
        let buy = |method: &str| pb::PurchasePackRequest {
            owner: team.to_string(),
            pack_id: "starter".to_owned(),
            payment_method: method.to_owned(),
            request_id: String::new(),
        };
        // Strangers leave nothing, and spending has the ledger.
        let before = audited(&world.store).await.len();
        refused(stranger.subscribe(subscribe("business", "sandbox_ok")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(stranger.purchase_pack(buy("sandbox_ok")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        boss.charge(spend(team, "1").under("c1")).await.expect("charged");
        assert_eq!(audited(&world.store).await.len(), before);

        refused(member.subscribe(subscribe("business", "sandbox_ok")).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        world.passes(Span::SECOND);
        refused(boss.subscribe(subscribe("golden", "sandbox_ok")).await, Code::NotFound, "PLAN_NOT_FOUND");
        world.passes(Span::SECOND);
        refused(boss.purchase_pack(buy("sandbox_declined")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        world.passes(Span::SECOND);
        let subscribed = boss.subscribe(subscribe("business", "sandbox_ok").under("s1")).await.unwrap();
        boss.subscribe(subscribe("business", "sandbox_ok").under("s1")).await.expect("a replay is no second call");
        world.passes(Span::SECOND);
        let bought = world.operator().purchase_pack(buy("sandbox_ok")).await.unwrap();
        let rows = audited(&world.store).await;
        let lines: Vec<_> = rows.iter().skip(before).map(told).collect();
        let (boss, member) = (boss.user, member.user);
        assert_eq!(lines, [
            format!("{member} Subscribe : ROLE_NOT_ALLOWED "),
            format!("{boss} Subscribe : PLAN_NOT_FOUND "),
            format!("{boss} PurchasePack : PAYMENT_DECLINED "),
            format!("{boss} Subscribe {}: DONE s1", subscribed.subscription.unwrap().id),
            format!("{} PurchasePack {}: DONE ", ServiceAccountId::OPERATOR, bought.purchase.unwrap().id),
        ]);
        assert!(rows.iter().skip(before).all(|row| row.owner == Some(team)), "{rows:?}");
        let outbox = "SELECT COUNT(*) FROM outbox WHERE type = 'audit.recorded' AND $1 IS NOT NULL";
        let log = "SELECT COUNT(*) FROM audit WHERE $1 IS NOT NULL";
        assert_eq!(world.number(outbox, team).await, world.number(log, team).await, "organization is told of each");
        assert!(!format!("{rows:?}").contains("sandbox"), "no way to pay stands in a row");
    }
}
