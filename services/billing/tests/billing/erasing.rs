//! `EraseDetails`: personal details go for good, and the ledger stays whole.

use bursar_id::{Role, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::EntryKind;
use bursar_testkit::{engines, id, refused};
use tonic::Code;

use crate::races::at_once;
use crate::words::{
    Spending, Under, audit_of, batch, entries_of, erase, free, give_back, grant, lots_of, reserve, settle, spend, void,
};
use crate::world::World;

engines! {
    async fn a_members_details_go_and_the_ledger_stays_whole(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1000").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let ben = world.member(2, team, Role::Member, 1);
        let charge = ben.charged(spend(team, "1").labelled("client", "Smith").under("b1")).await;
        let hold = ben.held(reserve(team, "2").labelled("client", "Jones").under("b2")).await;
        let kept = ben.captured(settle(&hold, "1").under("b3")).await;
        let open = ben.held(reserve(team, "2").labelled("client", "Brown").under("b4")).await;
        world.product().refund(give_back(&charge).under("b5")).await.unwrap();
        let other = boss.charged(spend(team, "1").labelled("client", "Meyer").under("a1")).await;
        let many = (0..300).map(|n| spend(team, "0.001").labelled("n", &n.to_string()).under(&format!("many-{n}")));
        ben.batch_charge(batch(many)).await.unwrap();

        let seq = world.seq(team).await;
        let erased = world.product().erase_details(erase(team, Some(ben.user)).under("e1")).await.unwrap();
        assert_eq!((i64::try_from(erased.seq).unwrap(), erased.replayed), (seq + 1, false));
        assert!(ben.charge_now(&charge).await.labels.is_empty() && ben.charge_now(&kept).await.labels.is_empty());
        assert!(ben.hold_now(&hold).await.labels.is_empty() && ben.hold_now(&open).await.labels.is_empty());
        assert_eq!(boss.charge_now(&other).await.labels["client"], "Meyer", "others' stay");
        let entries = boss.list_ledger_entries(entries_of(team)).await.unwrap().entries;
        for entry in &entries {
            let bens = entry.member == ben.user.to_string();
            assert_eq!(entry.details_erased, bens && entry.kind() != EntryKind::Erase, "{entry:?}");
            assert!(!bens || (entry.labels.is_empty() && entry.request_id.is_empty()), "{entry:?}");
        }
        let note = entries.last().unwrap();
        assert_eq!((note.kind(), &*note.subject, &*note.amount, &*note.request_id), (EntryKind::Erase, &*ben.user.to_string(), "0", "e1"));
        let verdict = boss.verify_ledger(audit_of(team)).await.unwrap();
        assert_eq!((verdict.valid, verdict.erased), (true, 305), "erased, not broken: {:?}", verdict.first_bad);
        world.audit(team).await;

        // Holds go on, and an erased request id still is the request's: what the entry says tells it from another one.
        ben.captured(settle(&open, "2")).await;
        let repeated = ben.charge(spend(team, "1").labelled("client", "Smith").under("b1")).await.unwrap();
        assert_eq!((repeated.replayed, &repeated.charge.unwrap().id), (true, &charge.id));
        let dearer = ben.charge(spend(team, "2").labelled("client", "Smith").under("b1")).await;
        refused(dearer, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let again = world.product().erase_details(erase(team, Some(ben.user)).under("e1")).await.unwrap();
        assert_eq!(again, pb::EraseDetailsResponse { replayed: true, ..erased });
        let later = ben.charged(spend(team, "1").labelled("client", "new").under("b9")).await;
        world.product().erase_details(erase(team, Some(ben.user)).under("e1")).await.unwrap();
        assert_eq!(ben.charge_now(&later).await.labels["client"], "new", "only what was there before");
        world.audit(team).await;
    }

    async fn erasures_at_once_bring_nothing_back(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1000").await;
        let mut people = Vec::new();
        for n in 2..8 {
            world.hears(team, id(n), Some(Role::Member), 1).await;
            people.push(world.member(n, team, Role::Member, 1));
        }
        // Their entries stand side by side on more pages (one a batch) than one transaction takes.
        for round in 0..70 {
            let charges = people.iter().map(|it| {
                let request = spend(team, "0.001").by(it.user).labelled("client", "Smith");
                request.under(&format!("r{round}-{}", it.user))
            });
            let batch = batch(charges);
            world.product().batch_charge(batch).await.unwrap();
        }
        let erasures = people.iter().map(|person| {
            let (product, user) = (world.product(), person.user);
            async move { product.erase_details(erase(team, Some(user))).await.unwrap().replayed }
        });
        assert_eq!(at_once(erasures).await, [false; 6], "each is booked once");
        let mut all = entries_of(team);
        all.page_size = 1_000;
        let entries = boss.list_ledger_entries(all).await.unwrap().entries;
        let left: Vec<_> = entries.iter().filter(|it| !it.labels.is_empty()).map(|it| &it.member).collect();
        assert!(left.is_empty(), "{} entries still have labels: {left:?}", left.len());
        let verdict = boss.verify_ledger(audit_of(team)).await.unwrap();
        assert_eq!((verdict.valid, verdict.erased), (true, 70 * 6), "{:?}", verdict.first_bad);
    }

    async fn notes_go_without_a_member(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let noted = pb::GrantCreditsRequest { note: "for Mr Smith".into(), ..grant(ana.owner, "5") };
        let lot = world.operator().granted(noted.under("g1")).await;
        let voided = pb::VoidLotRequest { note: "he left".into(), ..void(ana.owner, &lot) };
        world.operator().void_lot(voided).await.unwrap();
        world.operator().granted(grant(ana.owner, "5")).await;
        let charge = ana.charged(spend(ana.owner, "1").labelled("scene", "7").under("r1")).await;
        world.product().erase_details(erase(ana.owner, None)).await.unwrap();
        assert!(ana.list_lots(lots_of(ana.owner)).await.unwrap().lots.iter().all(|lot| lot.note.is_empty()));
        let entries = ana.list_ledger_entries(entries_of(ana.owner)).await.unwrap().entries;
        let told: Vec<_> = entries.iter().map(|it| (&*it.note, it.details_erased)).collect();
        assert_eq!(told, [("", true), ("", true), ("", false), ("", false), ("", false)]);
        assert_eq!(ana.charge_now(&charge).await.labels["scene"], "7", "a member's stay");
        let again = ana.charge(spend(ana.owner, "1").labelled("scene", "7").under("r1")).await.unwrap();
        assert!(again.replayed, "and so do its requests");
        world.audit(ana.owner).await;
    }

    async fn who_erases_and_what_is_refused(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "10").await;
        let stranger = world.person(9);
        refused(boss.erase_details(erase(team, Some(boss.user))).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(world.nobody().erase_details(erase(team, None)).await, Code::Unauthenticated, "TOKEN_MISSING");
        let never = world.product().erase_details(erase(stranger.owner, None)).await;
        refused(never, Code::NotFound, "NOT_FOUND");
        assert_eq!(world.number("SELECT COUNT(*) FROM accounts WHERE owner = $1", stranger.owner).await, 0, "nor opened by it");
        let bad = pb::EraseDetailsRequest { owner: team.to_string(), member: "ben".into(), request_id: "x".repeat(129) };
        let bad = refused(world.product().erase_details(bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["member", "request_id"]);
        let nobodys = pb::EraseDetailsRequest { owner: String::new(), ..erase(team, None) };
        assert_eq!(refused(world.product().erase_details(nobodys).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["owner"]);
        // Of somebody who has left, by a service that hands on somebody else's token.
        let gone: UserId = id(77);
        world.product_for(&stranger).erase_details(erase(team, Some(gone))).await.unwrap();
        let hold = boss.held(reserve(team, "1")).await;
        boss.release(free(&hold)).await.unwrap();
        world.audit(team).await;
    }
}
