//! Limits by count where the wire has a limit in bytes: what was booked can always be answered, lists are cut and go on,
//! and a refusal fits into headers.

use std::collections::{BTreeMap, BTreeSet};

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_rpc::MAX_MESSAGE;
use bursar_testkit::{engines, refused};
use prost::Message as _;
use tonic::Code;

use crate::words::{Granting, Spending, Under, balance_of, batch, entries_of, grant, lots_of, spend};
use crate::world::World;

/// Sixteen labels of a hundred and fifty bytes.
fn labels() -> BTreeMap<String, String> {
    (0..16).map(|n| (format!("label-{n:02}"), "x".repeat(140))).collect()
}

fn is_away(outcome: &pb::BatchChargeOutcome) -> bool {
    matches!(&outcome.outcome, Some(Outcome::Status(status)) if status.code == i32::from(Code::Unavailable))
}

engines! {
    async fn a_batch_with_all_its_labels_is_answered_or_nothing_of_it_is_booked(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        let long = "m".repeat(128);
        let one = |n: usize| pb::ChargeRequest {
            labels: labels(),
            ..spend(ana.owner, "1").on_model(&long).for_project(&"p".repeat(128)).under(&format!("r{n}"))
        };
        let request = batch((0..1_000).map(one));
        assert!(request.encoded_len() > MAX_MESSAGE / 2, "as much as fits is asked");
        // So much takes long where nothing is optimised: whoever is told that the store is away asks again, as clients do.
        let answered = async || {
            for _ in 0..10 {
                let answer = ana.batch_charge(request.clone()).await.expect("answered");
                assert!(answer.encoded_len() <= MAX_MESSAGE);
                if !answer.outcomes.iter().any(is_away) {
                    return answer;
                }
            }
            panic!("the store was away ten times")
        };
        let answer = answered().await;
        assert!(answer.outcomes.iter().all(|it| matches!(it.outcome, Some(Outcome::Charge(_)))));
        let again = answered().await;
        let anew = again.outcomes.iter().find(|it| !it.replayed);
        assert_eq!(anew, None, "everything is answered as it was");
        // More than a message takes is refused before anything is booked.
        let seq = world.seq(ana.owner).await;
        let more = |n: usize| pb::ChargeRequest {
            labels: (0..32).map(|n| (format!("label-{n:02}"), "x".repeat(250))).collect(),
            ..spend(ana.owner, "1").under(&format!("s{n}"))
        };
        refused(ana.batch_charge(batch((0..1_000).map(more))).await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
        assert_eq!(world.seq(ana.owner).await, seq, "nothing was written");
        // Refusals fit as well, however wrong each charge is.
        let bad = |_| pb::ChargeRequest {
            amount: "x".repeat(100),
            model: "\n".repeat(200),
            project: "\n".repeat(200),
            member: "é".repeat(100),
            usage: (0..32).map(|_| pb::Usage { meter: "\n".to_owned(), quantity: "-".to_owned() }).collect(),
            ..spend(ana.owner, "")
        };
        let answer = ana.batch_charge(batch((0..1_000).map(bad))).await.expect("answered");
        assert!(answer.outcomes.iter().all(|it| matches!(it.outcome, Some(Outcome::Status(_)))));
    }

    async fn what_is_small_on_the_wire_and_large_once_it_is_read_is_refused_before_that(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        // Some dozen megabytes of memory in two hundred kilobytes.
        let empty = batch((0..100_000).map(|_| pb::ChargeRequest::default()));
        assert!(empty.encoded_len() < MAX_MESSAGE / 10);
        refused(ana.batch_charge(empty).await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    }

    async fn a_batch_with_all_its_meters_and_labels_has_room_in_what_a_program_has_at_least(db: TestDb) {
        let least = |settings: &mut bursar_runtime::Settings| {
            settings.limits.message_bytes = 40 * 1024 * 1024 + settings.limits.in_flight * 1024;
        };
        let world = World::with(db, least).await;
        let ana = world.person(1);
        let one = |n: usize| pb::ChargeRequest {
            amount: String::new(),
            usage: (0..32).map(|n| pb::Usage { meter: format!("meter-{n:02}"), quantity: "1".to_owned() }).collect(),
            labels: (0..32).map(|n| (format!("label-{n:02}"), "x".repeat(40))).collect(),
            ..spend(ana.owner, "1").on_model("unheard-of").under(&format!("r{n}"))
        };
        // It is read, whatever becomes of each charge.
        let answer = ana.batch_charge(batch((0..1_000).map(one))).await.expect("it has room");
        assert_eq!(answer.outcomes.len(), 1_000);
    }

    async fn lists_are_cut_by_bytes_and_go_on(db: TestDb) {
        const LOTS: usize = 700;
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let projects: Vec<String> = (0..32).map(|n| format!("{n:0>128}")).collect();
        let projects: Vec<&str> = projects.iter().map(String::as_str).collect();
        let large = || pb::GrantCreditsRequest {
            note: "\u{1f600}".repeat(500),
            ..grant(ana.owner, "1").only_for(&[], &projects)
        };
        for _ in 0..LOTS / 50 {
            let granted = futures::future::join_all((0..50).map(|_| operator.grant_credits(large()))).await;
            for one in granted {
                one.expect("granted");
            }
        }
        let balance = ana.get_balance(balance_of(ana.owner)).await.expect("answered");
        assert_eq!((balance.available.as_str(), balance.lots.len() + balance.lots_omitted as usize), ("700", LOTS));
        assert!(balance.lots_omitted > 0, "they do not all fit");
        let (mut seen, mut pages, mut page_token) = (Vec::new(), 0, String::new());
        loop {
            let page = ana.list_lots(pb::ListLotsRequest { page_token, ..lots_of(ana.owner) }).await.expect("a page");
            seen.extend(page.lots.into_iter().map(|lot| lot.id));
            (pages, page_token) = (pages + 1, page.next_page_token);
            if page_token.is_empty() {
                break;
            }
        }
        let each_once: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), each_once.len(), pages), (LOTS, LOTS, 2));

        // The ledger both ways, with labels that no page of a thousand has room for.
        let cheap = world.person_with(2, "1000").await;
        let wide = |n: usize| pb::ChargeRequest {
            labels: (0..32).map(|n| (format!("label-{n:02}"), "x".repeat(250))).collect(),
            ..spend(cheap.owner, "1").under(&format!("r{n}"))
        };
        for start in [0, 350] {
            cheap.batch_charge(batch((start..start + 350).map(wide))).await.expect("booked");
        }
        for newest_first in [false, true] {
            let (mut seen, mut pages, mut page_token) = (Vec::new(), 0, String::new());
            loop {
                let request = pb::ListLedgerEntriesRequest { page_token, newest_first, ..entries_of(cheap.owner) };
                let page = cheap.list_ledger_entries(request).await.expect("a page");
                seen.extend(page.entries.into_iter().map(|entry| entry.seq));
                (pages, page_token) = (pages + 1, page.next_page_token);
                if page_token.is_empty() {
                    break;
                }
            }
            if newest_first {
                seen.reverse();
            }
            assert_eq!((seen, pages), ((1..=701).collect(), 2), "newest first: {newest_first}");
        }
    }
}
