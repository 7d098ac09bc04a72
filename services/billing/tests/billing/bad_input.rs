//! Bad input: clear reasons, every bad field named, nothing written.

use std::collections::BTreeMap;

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::words::{Holding, Spending, Under, free, give_back, give_back_part, grant, reserve, settle, spend};
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

engines! {
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
