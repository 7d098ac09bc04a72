//! What operators grant and void, and what is erased, stands in the audit log beside the ledger, which an owner may be kept from:
//! in the transaction of its entry, once for each call that took effect.

use std::collections::BTreeSet;

use bursar_db::Engine;
use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{OwnerId, ServiceAccountId};
use bursar_members::{OwnPolicy, UsageVisibility};
use bursar_proto::billing::v1 as pb;
use bursar_testkit::{audited, engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::races::at_once;
use crate::words::{Granting, Under, entries_of, erase, grant, spend, void};
use crate::world::{World, all_rows_are_told};

/// What a row says: RPC, actor, account, target and request id.
type Line = (String, String, Option<OwnerId>, String, String);

/// What the log says of these three.
async fn told(world: &World) -> BTreeSet<Line> {
    let rows = rows(world).await;
    assert!(rows.iter().all(|row| row.outcome == Outcome::Done && row.reason.is_none()), "{rows:?}");
    let line = |row: AuditRow| {
        let rpc = row.method.rsplit('/').next().unwrap_or_default().to_owned();
        (rpc, row.actor, row.owner, row.target.unwrap_or_default(), row.request_id.unwrap_or_default())
    };
    rows.into_iter().map(line).collect()
}

async fn rows(world: &World) -> Vec<AuditRow> {
    let ours = ["/GrantCredits", "/VoidLot", "/EraseDetails"];
    let rows = audited(&world.store).await.into_iter();
    rows.filter(|row| ours.iter().any(|rpc| row.method.ends_with(rpc))).collect()
}

engines! {
    async fn each_has_one_row_with_its_entry_and_a_repetition_none(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let (operator, product) = (world.operator(), world.product());
        let mut lots = Vec::new();
        for _ in 0..3 {
            lots.push(operator.granted(grant(ana.owner, "5").under("g1")).await.id);
        }
        assert_eq!(lots.iter().collect::<BTreeSet<_>>().len(), 1, "{lots:?}");
        let lot = operator.granted(grant(ana.owner, "7")).await;
        for (request_id, replayed) in [("v1", false), ("v1", true), ("v2", true)] {
            let voided = operator.void_lot(void(ana.owner, &lot).under(request_id)).await.expect("voided");
            assert_eq!(voided.replayed, replayed, "{request_id}: what is void already is voided by nobody");
        }
        let on_behalf = world.product_for(&ana);
        for (who, request_id, member) in [(&product, "e1", None), (&product, "e1", None), (&on_behalf, "e2", Some(ana.user))] {
            who.erase_details(erase(ana.owner, member).under(request_id)).await.expect("erased");
        }
        let (by, service): (String, ServiceAccountId) = (ServiceAccountId::OPERATOR.to_string(), id(1));
        let line = |rpc: &str, actor: &str, target: &str, request_id: &str| {
            (rpc.to_owned(), actor.to_owned(), Some(ana.owner), target.to_owned(), request_id.to_owned())
        };
        let service = service.to_string();
        let expected = [
            line("GrantCredits", &by, &lots[0], "g1"),
            line("GrantCredits", &by, &lot.id, ""),
            line("VoidLot", &by, &lot.id, "v1"),
            line("EraseDetails", &service, &ana.owner.to_string(), "e1"),
            line("EraseDetails", &service, &ana.user.to_string(), "e2"),
        ];
        assert_eq!(told(&world).await, BTreeSet::from(expected));
        let all = rows(&world).await;
        assert_eq!((all.len(), world.seq(ana.owner).await), (5, 5), "a row for each entry");
        let handed_on: Vec<_> = all.iter().filter_map(|row| row.on_behalf_of.as_ref()).collect();
        assert_eq!(handed_on, [&ana.user.to_string()], "both names, where a user's token was handed on");
        assert!(all.iter().all(|row| row.at == world.now()), "{all:?}");
        all_rows_are_told(&world).await;
        world.audit(ana.owner).await;
    }

    async fn what_the_rules_refuse_leaves_the_row_of_the_refusal_alone(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000000000000").await;
        let operator = world.operator();
        let before = rows(&world).await;
        refused(operator.grant_credits(grant(ana.owner, "1").under("g")).await, Code::FailedPrecondition, "BALANCE_TOO_LARGE");
        ana.charged(spend(ana.owner, "1000000000000")).await;
        let short = operator.granted(grant(ana.owner, "1").expiring(world.in_(Span::MINUTE))).await;
        world.passes(Span::MINUTE);
        refused(operator.void_lot(void(ana.owner, &short)).await, Code::FailedPrecondition, "LOT_EMPTY");
        let new: Vec<_> = rows(&world).await.into_iter().filter(|row| !before.contains(row)).collect();
        let mut reasons: Vec<_> = new.iter().map(|row| row.reason.clone().unwrap_or_default()).collect();
        reasons.sort_unstable();
        assert_eq!(reasons, ["", "BALANCE_TOO_LARGE", "LOT_EMPTY"], "the short lot, and two refusals");
        // A refusal burns no id: what is granted under it then has its row.
        operator.granted(grant(ana.owner, "1").under("g")).await;
        assert_eq!(rows(&world).await.len(), before.len() + 4);
        all_rows_are_told(&world).await;
    }

    async fn many_at_once_leave_a_row_each_and_racers_on_one_id_one(db: TestDb) {
        let world = World::on(db).await;
        let mut owners = Vec::new();
        for n in 1..=8 {
            owners.push(world.person_with(n, "1").await.owner);
        }
        let here = world.operator();
        // A SQLite file has one process.
        let there = match world.engine() {
            Engine::Postgres => world.operator_through(&world.another_instance().await),
            Engine::Sqlite => here.clone(),
        };
        let before = rows(&world).await.len();
        let grants = (0..96_usize).map(|n| {
            // By two instances: what one remembers of an account the other has changed.
            let (who, owner) = (if n % 3 == 0 { there.clone() } else { here.clone() }, owners[n % owners.len()]);
            async move { who.granted(grant(owner, "1").under(&format!("g{n}"))).await.id }
        });
        let lots: BTreeSet<String> = at_once(grants).await.into_iter().collect();
        assert_eq!(lots.len(), 96);
        let racers = (0..32_usize).map(|n| {
            let (who, owner) = (if n % 2 == 0 { there.clone() } else { here.clone() }, owners[0]);
            async move { who.granted(grant(owner, "1").under("one")).await.id }
        });
        let one: BTreeSet<String> = at_once(racers).await.into_iter().collect();
        assert_eq!(one.len(), 1, "{one:?}");
        let all = rows(&world).await;
        assert_eq!(all.len(), before + 96 + 1);
        let targets: BTreeSet<String> = all.into_iter().filter_map(|row| row.target).collect();
        assert!(lots.union(&one).all(|lot| targets.contains(lot)), "each names its lot");
        all_rows_are_told(&world).await;
        for owner in owners {
            world.audit(owner).await;
        }
    }

    async fn an_owner_who_is_kept_from_the_ledger_finds_it_in_the_log(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let hidden = OwnPolicy { usage_visibility: Some(UsageVisibility::Nobody), ..OwnPolicy::default() };
        world.decides(team, hidden, 1).await;
        let lot = world.operator().granted(pb::GrantCreditsRequest { note: "for Mr Smith".into(), ..grant(team, "5") }).await;
        world.operator().void_lot(void(team, &lot)).await.expect("voided");
        refused(boss.list_ledger_entries(entries_of(team)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let about: Vec<_> = rows(&world).await.into_iter().filter(|row| row.target.as_ref() == Some(&lot.id)).collect();
        assert_eq!(about.len(), 2, "{about:?}");
        assert!(about.iter().all(|row| row.owner == Some(team)), "{about:?}");
        assert!(!format!("{about:?}").contains("Smith"), "no note stands in a row");
        // Spending has the ledger alone.
        let before = audited(&world.store).await.len();
        boss.charged(spend(team, "1")).await;
        assert_eq!(audited(&world.store).await.len(), before);
    }
}
