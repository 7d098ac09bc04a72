//! `GetBalance`, `ListLots`, `ListLedgerEntries` and `VerifyLedger`.

use bursar_id::Role;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::ActorKind;
use bursar_proto::billing::v1::EntryKind::{
    self, Capture, Charge, Expire, Grant, Hold, HoldLapsed, Refund, Release, Void,
};
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::calls::Caller;
use crate::words::{
    Granting, Holding, Spending, Under, audit_of, balance_of, entries_of, free, give_back, grant, lots_of, reserve,
    settle, spend, usage_of, void,
};
use crate::world::{Person, World};

/// An account in which everything has happened once.
async fn eventful(world: &World) -> Person {
    let ana = world.person_with(1, "100").await;
    let owner = ana.owner;
    let short = world.operator().granted(grant(owner, "5").expiring(world.in_(Span::HOUR))).await;
    let charge = ana.charged(spend(owner, "2").for_project("film").labelled("scene", "7").under("r1")).await;
    let kept = ana.held(reserve(owner, "3").for_project("film")).await;
    ana.captured(settle(&kept, "1")).await;
    let freed = ana.held(reserve(owner, "1")).await;
    ana.release(free(&freed)).await.unwrap();
    world.product().refund(give_back(&charge)).await.unwrap();
    ana.held(reserve(owner, "1").lasting(Span::MINUTE)).await;
    world.passes(Span::HOUR);
    crate::world::until("the lapse and the expiry are booked", async || world.seq(owner).await == 11).await;
    let other = world.operator().granted(grant(owner, "4")).await;
    world
        .operator()
        .void_lot(pb::VoidLotRequest { note: "a mistake".into(), ..void(ana.owner, &other) })
        .await
        .unwrap();
    drop(short);
    ana
}

/// Every page of a listing, a few entries at a time.
async fn all_pages(caller: &Caller, request: pb::ListLedgerEntriesRequest) -> Vec<pb::LedgerEntry> {
    let (mut entries, mut request) = (Vec::new(), request);
    loop {
        let page = caller.list_ledger_entries(request.clone()).await.unwrap();
        assert!(page.entries.len() <= usize::try_from(request.page_size).unwrap());
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

fn numbers(entries: &[pb::LedgerEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

engines! {
    async fn the_ledger_tells_everything_that_happened(db: TestDb) {
        let world = World::on(db).await;
        let ana = eventful(&world).await;
        let entries = ana.list_ledger_entries(entries_of(ana.owner)).await.unwrap().entries;
        let kinds: Vec<EntryKind> = entries.iter().map(pb::LedgerEntry::kind).collect();
        let expected = [Grant, Grant, Charge, Hold, Capture, Hold, Release, Refund, Hold, HoldLapsed, Expire, Grant, Void];
        assert_eq!(kinds, expected);
        assert_eq!(numbers(&entries), (1..=13).collect::<Vec<_>>());
        let after: Vec<_> = entries.iter().map(|it| (&*it.amount, &*it.available_after, &*it.held_after)).collect();
        let expected = [
            ("100", "100", "0"), ("5", "105", "0"), ("2", "103", "0"), ("3", "100", "3"), ("1", "102", "0"),
            ("1", "101", "1"), ("1", "102", "0"), ("2", "104", "0"), ("1", "103", "1"), ("1", "104", "0"),
            ("4", "100", "0"), ("4", "104", "0"), ("4", "100", "0"),
        ];
        assert_eq!(after, expected);
        let charge = &entries[2];
        assert_eq!((&*charge.project, &*charge.request_id, &*charge.member), ("film", "r1", &*ana.user.to_string()));
        assert!(charge.id.starts_with("chg_") && charge.labels["scene"] == "7" && charge.hash.len() == 64);
        assert_eq!(charge.postings.iter().map(|it| (&*it.remaining, &*it.spent)).collect::<Vec<_>>(), [("-2", "+2")]);
        let subjects: Vec<_> = entries.iter().map(|it| it.subject.get(..3).unwrap_or_default()).collect();
        let expected = ["", "", "", "", "hld", "", "hld", "chg", "", "hld", "lot", "", "lot"];
        assert_eq!(subjects, expected);
        assert_eq!((&*entries[12].note, &*entries[12].member), ("a mistake", ""));
        assert_eq!((&*entries[7].refunded_after, &*entries[6].refunded_after), ("2", ""));
        let actors: Vec<_> = entries.iter().map(|it| it.actor.as_ref().unwrap().kind()).collect();
        let (user, service, job) = (ActorKind::User, ActorKind::Service, ActorKind::Job);
        let expected = [service, service, user, user, user, user, user, service, user, job, job, service, service];
        assert_eq!(actors, expected);
        assert!(entries.iter().all(|it| it.spendable_after == it.available_after && !it.details_erased));
        let verdict = ana.verify_ledger(audit_of(ana.owner)).await.unwrap();
        assert_eq!((verdict.valid, verdict.entries, verdict.head_hash), (true, 13, entries[12].hash.clone()));
        world.audit(ana.owner).await;
    }

    async fn conditions_and_pages_narrow_the_ledger(db: TestDb) {
        let world = World::on(db).await;
        let ana = eventful(&world).await;
        let all = || entries_of(ana.owner);
        let later = Some(to_timestamp(world.now()));
        let kinds = |kinds: &[EntryKind]| kinds.iter().map(|kind| (*kind).into()).collect::<Vec<i32>>();
        let cases: Vec<(pb::ListLedgerEntriesRequest, Vec<u64>)> = vec![
            (all(), (1..=13).collect()),
            (pb::ListLedgerEntriesRequest { from: later, ..all() }, vec![11, 12, 13]),
            (pb::ListLedgerEntriesRequest { to: later, ..all() }, (1..=10).collect()),
            (pb::ListLedgerEntriesRequest { from: later, to: later, ..all() }, vec![]),
            (pb::ListLedgerEntriesRequest { kinds: kinds(&[Grant, Void]), ..all() }, vec![1, 2, 12, 13]),
            (pb::ListLedgerEntriesRequest { project: "film".into(), ..all() }, vec![3, 4, 5, 8]),
            (pb::ListLedgerEntriesRequest { member: ana.user.to_string(), ..all() }, (3..=10).collect()),
            (pb::ListLedgerEntriesRequest { project: "film".into(), kinds: kinds(&[Refund, Hold]), ..all() }, vec![4, 8]),
            (pb::ListLedgerEntriesRequest { project: "none".into(), ..all() }, vec![]),
        ];
        for (request, expected) in cases {
            for page_size in [1, 4, 1_000] {
                let request = pb::ListLedgerEntriesRequest { page_size, ..request.clone() };
                assert_eq!(numbers(&all_pages(&ana, request.clone()).await), expected, "{request:?}");
                let newest_first = pb::ListLedgerEntriesRequest { newest_first: true, ..request };
                let backwards: Vec<u64> = expected.iter().rev().copied().collect();
                assert_eq!(numbers(&all_pages(&ana, newest_first.clone()).await), backwards, "{newest_first:?}");
            }
        }
        let bad = pb::ListLedgerEntriesRequest { kinds: vec![0, 99], member: "x".into(), ..all() };
        let bad = refused(ana.list_ledger_entries(bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert!(bad.fields.contains(&"kinds".to_owned()) && bad.fields.contains(&"member".to_owned()), "{bad:?}");
        let token = ana.list_ledger_entries(pb::ListLedgerEntriesRequest { page_size: 1, ..all() }).await.unwrap().next_page_token;
        let others = pb::ListLedgerEntriesRequest { page_token: token, project: "film".into(), ..all() };
        refused(ana.list_ledger_entries(others).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let rubbish = pb::ListLedgerEntriesRequest { page_token: "rubbish".into(), ..all() };
        refused(ana.list_ledger_entries(rubbish).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn lots_are_listed_latest_first_in_pages(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        for n in 1..=5 {
            world.operator().granted(grant(ana.owner, &n.to_string())).await;
        }
        let (mut amounts, mut request) = (Vec::new(), pb::ListLotsRequest { page_size: 2, ..lots_of(ana.owner) });
        loop {
            let page = ana.list_lots(request.clone()).await.unwrap();
            amounts.extend(page.lots.into_iter().map(|lot| lot.granted));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(amounts, ["5", "4", "3", "2", "1"]);
        let rubbish = pb::ListLotsRequest { page_token: "rubbish".into(), ..lots_of(ana.owner) };
        refused(ana.list_lots(rubbish).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn a_balance_is_what_the_clock_says(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let ends = world.in_(Span::HOUR);
        world.operator().granted(grant(ana.owner, "5").expiring(ends)).await;
        let pack = world.operator().granted(grant(ana.owner, "7")).await;
        let balance = ana.get_balance(balance_of(ana.owner)).await.unwrap();
        assert_eq!((&*balance.available, balance.lots.len(), balance.next_expiry), ("12", 2, Some(to_timestamp(ends))));
        assert_eq!(balance.lots[1], pack, "in burn order");
        assert_eq!(world.product().get_balance(balance_of(ana.owner)).await.unwrap(), balance);
        world.clock.set(ends).unwrap();
        let balance = ana.get_balance(balance_of(ana.owner)).await.unwrap();
        assert_eq!((&*balance.available, balance.lots.len(), balance.next_expiry), ("7", 1, None));
    }

    async fn an_account_that_was_never_opened(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let owner = ana.owner;
        let balance = ana.get_balance(balance_of(owner)).await.unwrap();
        assert_eq!((&*balance.available, &*balance.held, balance.lots.len()), ("0", "0", 0), "is empty to its user");
        assert!(ana.list_lots(lots_of(owner)).await.unwrap().lots.is_empty());
        assert!(ana.list_ledger_entries(entries_of(owner)).await.unwrap().entries.is_empty());
        assert!(ana.query_usage(usage_of(owner, &[])).await.unwrap().rows.is_empty());
        let verdict = ana.verify_ledger(audit_of(owner)).await.unwrap();
        assert_eq!((verdict.valid, verdict.entries, &*verdict.head_hash), (true, 0, &*"0".repeat(64)));

        let operator = world.operator();
        refused(operator.get_balance(balance_of(owner)).await, Code::NotFound, "NOT_FOUND");
        refused(world.product().get_balance(balance_of(owner)).await, Code::NotFound, "NOT_FOUND");
        refused(operator.list_lots(lots_of(owner)).await, Code::NotFound, "NOT_FOUND");
        refused(operator.list_ledger_entries(entries_of(owner)).await, Code::NotFound, "NOT_FOUND");
        refused(operator.verify_ledger(audit_of(owner)).await, Code::NotFound, "NOT_FOUND");
        refused(operator.query_usage(usage_of(owner, &[])).await, Code::NotFound, "NOT_FOUND");
    }

    async fn every_reading_rpc_says_no_to_whom_it_must(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "10").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let (away, stranger) = (world.person(2), world.person(3));
        for (person, reason) in [(&away, "WRONG_CONTEXT"), (&stranger, "NOT_A_MEMBER")] {
            refused(person.get_balance(balance_of(team)).await, Code::PermissionDenied, reason);
            refused(person.list_lots(lots_of(team)).await, Code::PermissionDenied, reason);
            refused(person.list_ledger_entries(entries_of(team)).await, Code::PermissionDenied, reason);
            refused(person.verify_ledger(audit_of(team)).await, Code::PermissionDenied, reason);
            refused(person.query_usage(usage_of(team, &[])).await, Code::PermissionDenied, reason);
        }
        let product = world.product();
        refused(product.list_lots(lots_of(team)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(product.list_ledger_entries(entries_of(team)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(product.verify_ledger(audit_of(team)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(product.query_usage(usage_of(team, &[])).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        let identity = world.service(ServiceRole::Identity);
        refused(identity.get_balance(balance_of(team)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        malformed_owners(&stranger).await;
        // A user may leave the owner out, a service may not.
        assert_eq!(away.get_balance(pb::GetBalanceRequest::default()).await.unwrap().available, "0", "its context");
        let nobodys = product.get_balance(pb::GetBalanceRequest::default()).await;
        assert_eq!(refused(nobodys, Code::InvalidArgument, "INVALID_FIELDS").fields, ["owner"]);
    }
}

async fn malformed_owners(caller: &Caller) {
    for owner in ["me", "prj_00000000000000000000000001"].map(str::to_owned) {
        let answers = [
            refused(
                caller.get_balance(pb::GetBalanceRequest { owner: owner.clone(), ..Default::default() }).await,
                Code::InvalidArgument,
                "INVALID_FIELDS",
            ),
            refused(
                caller.verify_ledger(pb::VerifyLedgerRequest { owner: owner.clone() }).await,
                Code::InvalidArgument,
                "INVALID_FIELDS",
            ),
            refused(
                caller.list_lots(pb::ListLotsRequest { owner: owner.clone(), ..Default::default() }).await,
                Code::InvalidArgument,
                "INVALID_FIELDS",
            ),
            refused(
                caller.query_usage(pb::QueryUsageRequest { owner, ..Default::default() }).await,
                Code::InvalidArgument,
                "INVALID_FIELDS",
            ),
        ];
        assert!(answers.iter().all(|answer| answer.fields == ["owner"]));
    }
}
