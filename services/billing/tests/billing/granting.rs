//! `GrantCredits` and `VoidLot`.

use bursar_id::LotId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LotSource;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{engines, id, refused};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use crate::words::{Granting, Under, give_back, grant, lots_of, spend, void};
use crate::world::World;

engines! {
    async fn a_grant_is_a_lot_with_its_terms(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let (begins, ends) = (world.in_(Span::HOUR), world.in_(Span::DAY));
        let request = grant(ana.owner, "12.5").out_of(LotSource::Promotion).at_priority(-3);
        let request = pb::GrantCreditsRequest { note: "for the beta".to_owned(), ..request };
        let lot = world.operator().granted(request.effective(begins).expiring(ends)).await;
        assert!(lot.id.starts_with("lot_"));
        assert_eq!((lot.source(), lot.priority, &*lot.note), (LotSource::Promotion, -3, "for the beta"));
        assert_eq!((lot.effective_at, lot.expires_at), (Some(to_timestamp(begins)), Some(to_timestamp(ends))));
        assert_eq!(lot.created_at, Some(to_timestamp(world.now())));
        let parts = [&lot.granted, &lot.remaining, &lot.held, &lot.spent, &lot.expired, &lot.voided];
        assert_eq!(parts, ["12.5", "12.5", "0", "0", "0", "0"]);
        assert_eq!(ana.list_lots(lots_of(ana.owner)).await.unwrap().lots, [lot]);
        world.audit(ana.owner).await;
    }

    async fn every_bad_field_of_a_grant_is_named(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1").await;
        let (now, soon) = (world.now(), world.in_(Span::HOUR));
        let before = Timestamp::from_micros(now.as_micros() - 1).unwrap();
        let good = || grant(ana.owner, "1");
        let note = |length| pb::GrantCreditsRequest { note: "x".repeat(length), ..good() };
        let cases: Vec<(&str, pb::GrantCreditsRequest, &[&str])> = vec![
            ("no owner", pb::GrantCreditsRequest { owner: String::new(), ..good() }, &["owner"]),
            ("a project as owner", pb::GrantCreditsRequest { owner: "prj_00000000000000000000000001".into(), ..good() }, &["owner"]),
            ("no source", good().out_of(LotSource::Unspecified), &["source"]),
            ("a source of the future", pb::GrantCreditsRequest { source: 99, ..good() }, &["source"]),
            ("priority", good().at_priority(1_001), &["priority"]),
            ("priority", good().at_priority(-1_001), &["priority"]),
            ("expires now", good().expiring(now), &["expires_at"]),
            ("expired", good().effective(Timestamp::EPOCH).expiring(before), &["expires_at"]),
            ("expires when it begins", good().effective(soon).expiring(soon), &["expires_at"]),
            ("a pack that expires", good().out_of(LotSource::Pack).expiring(soon), &["expires_at"]),
            ("a scope that names nothing", good().only_for(&[], &[]), &["scope"]),
            ("a model that is not there", good().only_for(&["veo-3.1", "unheard-of"], &[]), &["scope.models"]),
            ("a model twice", good().only_for(&["veo-3.1", "veo-3.1"], &[]), &["scope"]),
            ("a project that is no name", good().only_for(&[], &["a\nb"]), &["scope.projects"]),
            ("33 projects", good().only_for(&[], &["x"; 33]), &["scope"]),
            ("note", note(501), &["note"]),
            ("request id", good().under(&"x".repeat(129)), &["request_id"]),
            ("all at once", grant(ana.owner, "0").out_of(LotSource::Unspecified).at_priority(5_000), &["amount", "priority", "source"]),
        ];
        let seq = world.seq(ana.owner).await;
        for (what, request, fields) in cases {
            let bad = refused(world.operator().grant_credits(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, fields, "{what}");
        }
        assert_eq!(world.seq(ana.owner).await, seq);
        world.operator().granted(note(500)).await;
    }

    async fn an_account_holds_only_so_much(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000000000000").await;
        let more = world.operator().grant_credits(grant(ana.owner, "0.000001")).await;
        refused(more, Code::FailedPrecondition, "BALANCE_TOO_LARGE");
        let charge = ana.charged(spend(ana.owner, "1000000000000")).await;
        world.operator().granted(grant(ana.owner, "1")).await;
        refused(world.product().refund(give_back(&charge)).await, Code::FailedPrecondition, "BALANCE_TOO_LARGE");
        world.audit(ana.owner).await;
    }

    async fn a_void_takes_what_remains(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let lot = world.operator().granted(grant(ana.owner, "10")).await;
        ana.charged(spend(ana.owner, "4")).await;
        let request = pb::VoidLotRequest { note: "a mistake".to_owned(), ..void(ana.owner, &lot) };
        let answer = world.operator().void_lot(request.clone().under("v1")).await.unwrap();
        let voided = answer.lot.unwrap();
        assert_eq!((&*voided.voided, &*voided.spent, &*voided.remaining, answer.replayed), ("6", "4", "0", false));
        assert_eq!(world.available(ana.owner).await, "0");
        let again = world.operator().void_lot(request.clone().under("v1")).await.unwrap();
        assert_eq!((&again.lot, again.replayed), (&Some(voided), true));

        let seq = world.seq(ana.owner).await;
        for request in [request.clone().under("v2"), request.clone()] {
            let as_it_is = world.operator().void_lot(request).await.unwrap();
            assert_eq!((as_it_is.lot, as_it_is.replayed), (again.lot.clone(), true), "voided is voided");
        }
        let short = world.operator().granted(grant(ana.owner, "1").expiring(world.in_(Span::MINUTE))).await;
        world.passes(Span::MINUTE);
        refused(world.operator().void_lot(void(ana.owner, &short)).await, Code::FailedPrecondition, "LOT_EMPTY");
        let nothing: LotId = id(77);
        let nothing = pb::VoidLotRequest { lot_id: nothing.to_string(), ..void(ana.owner, &lot) };
        refused(world.operator().void_lot(nothing).await, Code::NotFound, "NOT_FOUND");
        let elsewhere = pb::VoidLotRequest { owner: world.person(2).owner.to_string(), ..void(ana.owner, &lot) };
        refused(world.operator().void_lot(elsewhere).await, Code::NotFound, "NOT_FOUND");
        let bad = pb::VoidLotRequest { lot_id: "lot".into(), ..void(ana.owner, &lot) };
        assert_eq!(refused(world.operator().void_lot(bad).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["lot_id"]);
        let bad = pb::VoidLotRequest { note: "x".repeat(501), ..void(ana.owner, &lot) }.under(&"x".repeat(129));
        let bad = refused(world.operator().void_lot(bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["note", "request_id"]);
        assert_eq!(world.seq(ana.owner).await, seq + 2, "the short lot and its expiry");
        world.audit(ana.owner).await;
    }

    async fn only_operators_grant_and_void(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let lot = world.operator().granted(grant(ana.owner, "1")).await;
        let (user, product, nobody) = (&ana.calls, world.product(), world.nobody());
        refused(user.grant_credits(grant(ana.owner, "1")).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(user.void_lot(void(ana.owner, &lot)).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(product.grant_credits(grant(ana.owner, "1")).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(product.void_lot(void(ana.owner, &lot)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(nobody.grant_credits(grant(ana.owner, "1")).await, Code::Unauthenticated, "TOKEN_MISSING");
        assert_eq!(world.available(ana.owner).await, "1");
    }
}
