//! Bad input: clear reasons, every bad field named, nothing written.

use std::collections::BTreeMap;

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{
    Holding, Spending, Under, entries_of, free, give_back, give_back_part, grant, limit, reserve, scope, settle, spend,
    usage_of,
};
use crate::world::World;

/// Amounts that nobody can ask for.
const BAD_AMOUNTS: [&str; 22] = [
    "0",
    "0.000000",
    "-1",
    "-0.5",
    "0.0000001",
    "1.0000000",
    "1000000000000.000001",
    "9223372036854775808",
    "1e3",
    "1E3",
    "+1",
    " 1",
    "1 ",
    "1,5",
    ".5",
    "5.",
    "0x10",
    "NaN",
    "inf",
    "１",
    "1.2.3",
    "111111111111111111111111111111111",
];

/// Texts that are not what they seem: one turns around, one hides something, one is none.
const DISGUISED: [&str; 4] = ["fi\u{202e}lm", "fi\u{200b}lm", "film\u{e000}", "\u{2066}film"];

engines! {
    async fn names_labels_and_notes_are_what_they_seem_and_have_one_spelling(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        let operator = world.operator();
        let seq = world.seq(team).await;
        for text in DISGUISED {
            let of = |outcome: Result<(), tonic::Status>| refused(outcome, Code::InvalidArgument, "INVALID_FIELDS").fields;
            assert_eq!(of(boss.charge(spend(team, "1").for_project(text)).await.map(drop)), ["project"], "{text:?}");
            assert_eq!(of(boss.charge(spend(team, "1").on_model(text)).await.map(drop)), ["model"], "{text:?}");
            assert_eq!(of(boss.charge(spend(team, "1").labelled("k", text)).await.map(drop)), ["labels"], "{text:?}");
            assert_eq!(of(boss.charge(spend(team, "1").labelled(text, "v")).await.map(drop)), ["labels"], "{text:?}");
            let all = reserve(team, "1").for_project(text).on_model(text).labelled("k", text);
            assert_eq!(of(boss.hold(all).await.map(drop)), ["labels", "model", "project"], "{text:?}");
            let noted = pb::GrantCreditsRequest { note: text.to_owned(), ..grant(team, "1") };
            assert_eq!(of(operator.grant_credits(noted).await.map(drop)), ["note"], "{text:?}");
            let scoped = pb::GrantCreditsRequest { scope: Some(scope(&[text], &[text])), ..grant(team, "1") };
            assert_eq!(of(operator.grant_credits(scoped).await.map(drop)), ["scope.models", "scope.projects"], "{text:?}");
            for (subject, field) in [("project", "subject.project"), ("model", "subject.model")] {
                let limit = limit(team, &format!("{subject} {text}"), pb::LimitWindow::Day, "5");
                assert_eq!(of(boss.set_limit(limit).await.map(drop)), [field], "{text:?}");
            }
        }
        assert_eq!(world.seq(team).await, seq, "nothing was booked");
        // Two spellings of one name are one line, one scope and one limit.
        let (composed, decomposed) = ("Caf\u{e9} 1", "Cafe\u{301}  1");
        for name in [decomposed, composed] {
            let charge = spend(team, "2").for_project(name).labelled("k", decomposed);
            let charge = boss.charged(charge).await;
            boss.set_limit(limit(team, &format!("project {decomposed}"), pb::LimitWindow::Day, "5")).await.unwrap();
            assert_eq!((&*charge.project, &*charge.labels["k"]), (composed, "Caf\u{e9}  1"), "labels keep their spaces");
        }
        refused(boss.charge(spend(team, "2").for_project(composed)).await, Code::FailedPrecondition, "LIMIT_REACHED");
        let rows = boss.query_usage(usage_of(team, &[pb::GroupBy::Project])).await.unwrap().rows;
        assert_eq!(rows.iter().map(|row| (&*row.project, &*row.charged)).collect::<Vec<_>>(), [(composed, "4")]);
        let entries = pb::ListLedgerEntriesRequest { project: decomposed.to_owned(), ..entries_of(team) };
        assert_eq!(boss.list_ledger_entries(entries).await.unwrap().entries.len(), 2);
        world.audit(team).await;
    }

    async fn amounts_are_plain_decimals_above_zero(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let owner = ana.owner;
        let (charge, hold) = (ana.charged(spend(owner, "2")).await, ana.held(reserve(owner, "2")).await);
        let seq = world.seq(owner).await;
        for amount in BAD_AMOUNTS.into_iter().chain([""]) {
            let answers = [
                refused(ana.charge(spend(owner, amount)).await, Code::InvalidArgument, "INVALID_FIELDS"),
                refused(ana.hold(reserve(owner, amount)).await, Code::InvalidArgument, "INVALID_FIELDS"),
                refused(world.product().refund(give_back_part(&charge, amount)).await, Code::InvalidArgument, "INVALID_FIELDS"),
                refused(world.operator().grant_credits(grant(owner, amount)).await, Code::InvalidArgument, "INVALID_FIELDS"),
            ];
            for answer in answers {
                assert_eq!(answer.fields, ["amount"], "{amount:?}");
            }
        }
        for amount in BAD_AMOUNTS {
            let bad = refused(ana.capture(settle(&hold, amount)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["amount"], "{amount:?}");
        }
        assert_eq!(world.seq(owner).await, seq, "nothing was written");
        world.audit(owner).await;
    }

    async fn a_hold_lasts_a_second_to_a_day(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let seq = world.seq(ana.owner).await;
        let lasting = |seconds, nanos| pb::HoldRequest {
            ttl: Some(prost_types::Duration { seconds, nanos }),
            ..reserve(ana.owner, "1")
        };
        let bad = [(0, 0), (0, 999_999_999), (-1, 0), (86_400, 1_000), (86_401, 0), (i64::MAX, 0), (1, -1)];
        for (seconds, nanos) in bad {
            let answer = refused(ana.hold(lasting(seconds, nanos)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(answer.fields, ["ttl"], "{seconds} s {nanos} ns");
        }
        assert_eq!(world.seq(ana.owner).await, seq);
        ana.held(reserve(ana.owner, "1").lasting(Span::SECOND)).await;
        ana.held(reserve(ana.owner, "1").lasting(Span::DAY)).await;
        world.audit(ana.owner).await;
    }

    async fn labels_are_few_and_short(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let seq = world.seq(ana.owner).await;
        let many = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect::<BTreeMap<_, _>>();
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let bad = [
            ("10,000 labels", many(10_000)),
            ("33 labels", many(33)),
            ("no key", one("", "x")),
            ("a long key", one(&"k".repeat(65), "x")),
            ("a key with a space", one("a b", "x")),
            ("a long value", one("k", &"x".repeat(257))),
            ("a NUL", one("k", "a\0b")),
        ];
        for (what, labels) in bad {
            let charge = pb::ChargeRequest { labels: labels.clone(), ..spend(ana.owner, "1") };
            let hold = pb::HoldRequest { labels, ..reserve(ana.owner, "1") };
            let charge = refused(ana.charge(charge).await, Code::InvalidArgument, "INVALID_FIELDS");
            let hold = refused(ana.hold(hold).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!((charge.fields, hold.fields), (vec!["labels".to_owned()], vec!["labels".to_owned()]), "{what}");
        }
        assert_eq!(world.seq(ana.owner).await, seq);
        ana.charged(pb::ChargeRequest { labels: many(32), ..spend(ana.owner, "1") }).await;
        ana.charged(spend(ana.owner, "1").labelled(&"k".repeat(64), &"é".repeat(128))).await;
        world.audit(ana.owner).await;
    }

    async fn names_and_ids_have_their_form(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        let seq = world.seq(ana.owner).await;
        let good = || spend(ana.owner, "1");
        let long = "x".repeat(129);
        let far = prost_types::Timestamp { seconds: 253_402_300_800, nanos: 0 };
        let cases: Vec<(pb::ChargeRequest, &[&str])> = vec![
            (pb::ChargeRequest { owner: "usr_".to_owned(), ..good() }, &["owner"]),
            (pb::ChargeRequest { owner: ana.owner.to_string().to_uppercase(), ..good() }, &["owner"]),
            (pb::ChargeRequest { member: "somebody".to_owned(), ..good() }, &["member"]),
            (good().by(bursar_testkit::id(2)), &["member"]),
            (good().for_project(&long), &["project"]),
            (good().for_project("a\nb"), &["project"]),
            (good().on_model(&long), &["model"]),
            (good().on_model(" x"), &["model"]),
            (good().under(&long), &["request_id"]),
            (good().under("a\0b"), &["request_id"]),
            (pb::ChargeRequest { occurred_at: Some(far), ..good() }, &["occurred_at"]),
            (
                pb::ChargeRequest { occurred_at: Some(far), ..spend(ana.owner, "x").on_model(&long).under(&long) },
                &["amount", "model", "occurred_at", "request_id"],
            ),
        ];
        for (request, fields) in cases {
            let what = format!("{request:?}");
            let bad = refused(ana.charge(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, fields, "{what}");
        }
        let nobodys = pb::ChargeRequest { owner: String::new(), ..good().by(ana.user) };
        let bad = refused(world.product().charge(nobodys.clone()).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["owner"], "a service must name it");
        assert_eq!(world.seq(ana.owner).await, seq);
        assert_eq!(ana.charged(nobodys).await.owner, ana.owner.to_string(), "a user need not");
        ana.charged(good().for_project(&"x".repeat(128)).on_model("ü 1").under(&"x".repeat(128))).await;
        world.audit(ana.owner).await;
    }

    async fn settling_badly_writes_nothing(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (world.person_with(1, "10").await, world.person_with(2, "10").await);
        let hold = ana.held(reserve(ana.owner, "4")).await;
        let done = ana.held(reserve(ana.owner, "1")).await;
        let charge = ana.captured(settle(&done, "1")).await;
        let refund = world.product().refund(give_back(&charge)).await.unwrap().refund.unwrap();
        let seq = world.seq(ana.owner).await;
        refused(ana.capture(settle(&hold, "4.5")).await, Code::FailedPrecondition, "CAPTURE_ABOVE_HOLD");
        refused(ana.capture(settle(&done, "1")).await, Code::FailedPrecondition, "HOLD_SETTLED");
        let elsewhere = pb::Hold { owner: ben.owner.to_string(), ..hold.clone() };
        refused(ben.capture(settle(&elsewhere, "1")).await, Code::NotFound, "NOT_FOUND");
        refused(ben.release(free(&elsewhere)).await, Code::NotFound, "NOT_FOUND");
        let of_refund = pb::RefundRequest { charge_id: refund.id, ..give_back(&charge) };
        refused(world.product().refund(of_refund).await, Code::NotFound, "NOT_FOUND");
        let bad = refused(ana.release(pb::ReleaseRequest::default()).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["hold_id"]);
        assert_eq!(world.seq(ana.owner).await, seq);
        assert_eq!(world.seq(ben.owner).await, 1);
        world.audit(ana.owner).await;
    }
}
