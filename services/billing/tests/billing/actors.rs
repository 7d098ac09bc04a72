//! Who acts: what the ledger says of it, whose request ids they are, and who settles what whom placed.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::ActorKind;
use bursar_testkit::{engines, id, refused};
use tonic::Code;

use crate::calls::Caller;
use crate::words::{Spending, Under, entries_of, free, give_back_part, holds_of, reserve, settle, spend};
use crate::world::{Person, World};

/// Everybody who may spend from a team's pool for its member Ben.
struct Cast {
    team: OwnerId,
    boss: Person,
    ben: Person,
    product: Caller,
    product_for_ben: Caller,
    operator: Caller,
}

async fn cast(world: &World) -> Cast {
    let (team, boss) = world.organization_with(1, "1000").await;
    world.hears(team, id(2), Some(Role::Member), 1).await;
    let ben = world.member(2, team, Role::Member, 1);
    let (product, operator) = (world.product(), world.operator());
    Cast { team, product_for_ben: world.product_for(&ben), boss, ben, product, operator }
}

/// The credits of one charge or hold, for the member whom a service must name.
fn one(cast: &Cast, by_service: bool) -> pb::HoldRequest {
    let hold = reserve(cast.team, "1");
    if by_service { hold.by(cast.ben.user) } else { hold }
}

engines! {
    async fn the_ledger_says_who_acted(db: TestDb) {
        let world = World::on(db).await;
        let cast = cast(&world).await;
        let team = cast.team;
        let user = cast.ben.charged(spend(team, "1")).await.actor.unwrap();
        assert_eq!((user.kind(), &*user.user, &*user.service), (ActorKind::User, &*cast.ben.user.to_string(), ""));
        assert!(user.session.starts_with("ses_") && user.key.is_empty());
        let service = cast.product.charged(spend(team, "1").by(cast.ben.user)).await.actor.unwrap();
        assert_eq!((service.kind(), &*service.user, &*service.session), (ActorKind::Service, "", ""));
        assert!(service.service.starts_with("svc_"));
        let behalf = cast.product_for_ben.charged(spend(team, "1")).await.actor.unwrap();
        assert_eq!((behalf.kind(), &behalf.user, &behalf.service), (ActorKind::ServiceOnBehalf, &user.user, &service.service));
        assert!(behalf.session.starts_with("ses_"));
        let entries = cast.boss.list_ledger_entries(entries_of(team)).await.unwrap().entries;
        let told: Vec<_> = entries[1..].iter().map(|it| it.actor.clone().unwrap()).collect();
        assert_eq!(told, [user, service, behalf]);
        assert!(entries[1..].iter().all(|it| it.member == cast.ben.user.to_string()), "the member is another matter");
        world.audit(team).await;
    }

    /// Actor × operation × who placed it.
    async fn who_settles_what_whom_placed(db: TestDb) {
        let world = World::on(db).await;
        let cast = cast(&world).await;
        let actors: [(&str, &Caller, bool, bool); 5] = [
            ("the member's token", &cast.ben.calls, false, true),
            ("the owner's token", &cast.boss.calls, false, true),
            ("the service", &cast.product, true, false),
            ("the service for the member", &cast.product_for_ben, false, false),
            ("the operator", &cast.operator, true, false),
        ];
        for (placer, places, by_service, placed_by_user) in actors {
            for (settler, settles, _, is_user) in actors {
                let what = format!("{settler} settles what {placer} placed");
                let may = !is_user || (placed_by_user && settler == placer);
                let (kept, freed) = (places.held(one(&cast, by_service)).await, places.held(one(&cast, by_service)).await);
                let seq = world.seq(cast.team).await;
                let captured = settles.capture(settle(&kept, "0.5")).await;
                let released = settles.release(free(&freed)).await;
                if may {
                    let charge = captured.unwrap_or_else(|status| panic!("{what}: {status:?}")).charge.unwrap();
                    released.unwrap_or_else(|status| panic!("{what}: {status:?}"));
                    let refund = settles.refund(give_back_part(&charge, "0.25")).await;
                    if is_user {
                        refused(refund, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
                    } else {
                        refund.unwrap_or_else(|status| panic!("{what}: {status:?}"));
                    }
                } else {
                    refused(captured, Code::PermissionDenied, "HOLD_NOT_YOURS");
                    refused(released, Code::PermissionDenied, "HOLD_NOT_YOURS");
                    assert_eq!(world.seq(cast.team).await, seq, "{what}: nothing was written");
                }
            }
        }
        world.audit(cast.team).await;
    }

    async fn request_ids_belong_to_the_actor(db: TestDb) {
        let world = World::on(db).await;
        let cast = cast(&world).await;
        let team = cast.team;
        let mine = spend(team, "1").under("r1");
        let for_ben = spend(team, "1").by(cast.ben.user).under("r1");
        let first = cast.ben.charge(mine.clone()).await.unwrap();
        assert!(!first.replayed);
        assert!(!cast.boss.charge(mine.clone()).await.unwrap().replayed, "another user's id");
        let by_service = cast.product.charge(for_ben.clone()).await.unwrap();
        assert!(!by_service.replayed, "a user cannot use up a service's id");
        // With or without a user's token it is the service's.
        let again = cast.product_for_ben.charge(mine.clone()).await.unwrap();
        assert_eq!(again, pb::ChargeResponse { replayed: true, ..by_service });
        refused(cast.product_for_ben.charge(spend(team, "2").under("r1")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert!(!cast.operator.charge(for_ben).await.unwrap().replayed, "another service's id");
        assert_eq!(cast.ben.charge(mine).await.unwrap(), pb::ChargeResponse { replayed: true, ..first });
        assert_eq!(world.available(team).await, "996");
        world.audit(team).await;
    }

    async fn a_replay_comes_before_the_named_member(db: TestDb) {
        let world = World::on(db).await;
        let cast = cast(&world).await;
        let request = spend(cast.team, "1").by(cast.ben.user).under("r1");
        let first = cast.product.charge(request.clone()).await.unwrap();
        world.hears(cast.team, cast.ben.user, None, 2).await;
        let again = cast.product.charge(request).await.unwrap();
        assert_eq!(again, pb::ChargeResponse { replayed: true, ..first }, "the member has left since");
        let new = spend(cast.team, "1").by(cast.ben.user).under("r2");
        refused(cast.product.charge(new).await, Code::PermissionDenied, "NOT_A_MEMBER");
        world.audit(cast.team).await;
    }

    async fn a_token_of_another_context_settles_nothing(db: TestDb) {
        let world = World::on(db).await;
        let cast = cast(&world).await;
        let hold = cast.ben.held(reserve(cast.team, "1")).await;
        let (at_home, stranger) = (world.person(2), world.person(9));
        for (person, reason) in [(&at_home, "WRONG_CONTEXT"), (&stranger, "NOT_A_MEMBER")] {
            refused(person.capture(settle(&hold, "1")).await, Code::PermissionDenied, reason);
            refused(person.release(free(&hold)).await, Code::PermissionDenied, reason);
            refused(world.product_for(person).capture(settle(&hold, "1")).await, Code::PermissionDenied, reason);
            refused(person.list_holds(holds_of(cast.team)).await, Code::PermissionDenied, reason);
        }
        // A refund is the service's own, whoever's token it hands on.
        let charge = cast.ben.captured(settle(&hold, "1")).await;
        let refund = world.product_for(&stranger).refunded(give_back_part(&charge, "1")).await;
        assert_eq!(refund.actor.unwrap().kind(), ActorKind::ServiceOnBehalf);
        world.audit(cast.team).await;
    }

    async fn open_holds_are_listed_to_whom_they_concern(db: TestDb) {
        let world = World::on(db).await;
        let cast = cast(&world).await;
        let team = cast.team;
        for n in 0..3 {
            cast.ben.held(reserve(team, "1").for_project(&format!("p{n}"))).await;
        }
        let theirs = cast.boss.held(reserve(team, "2")).await;
        let done = cast.ben.held(reserve(team, "3")).await;
        cast.ben.release(free(&done)).await.unwrap();
        let own = cast.ben.list_holds(holds_of(team)).await.unwrap().holds;
        assert_eq!(own.iter().map(|it| &*it.project).collect::<Vec<_>>(), ["p0", "p1", "p2"]);
        let of = |member: bursar_id::UserId| pb::ListHoldsRequest { member: member.to_string(), ..holds_of(team) };
        assert_eq!(cast.ben.list_holds(of(cast.ben.user)).await.unwrap().holds, own);
        refused(cast.ben.list_holds(of(cast.boss.user)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        assert_eq!(cast.boss.list_holds(holds_of(team)).await.unwrap().holds, std::slice::from_ref(&theirs), "not even an owner");
        assert_eq!(cast.product.list_holds(of(cast.boss.user)).await.unwrap().holds, [theirs]);
        let (mut seen, mut request) = (0, pb::ListHoldsRequest { page_size: 3, ..holds_of(team) });
        for size in [3, 1] {
            let page = cast.product.list_holds(request.clone()).await.unwrap();
            assert_eq!(page.holds.len(), size);
            seen += size;
            request.page_token = page.next_page_token;
        }
        assert_eq!((seen, &*request.page_token), (4, ""));
        let first = cast.product.list_holds(pb::ListHoldsRequest { page_size: 1, ..holds_of(team) }).await.unwrap();
        let others = pb::ListHoldsRequest { page_token: first.next_page_token, ..of(cast.ben.user) };
        refused(cast.product.list_holds(others).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        refused(cast.product.list_holds(holds_of(world.person(7).owner)).await, Code::NotFound, "NOT_FOUND");
        let bad = pb::ListHoldsRequest { member: "ben".to_owned(), ..holds_of(team) };
        assert_eq!(refused(cast.product.list_holds(bad).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["member"]);
        // Past the deadline a hold is none, booked or not.
        world.passes(bursar_time::Span::HOUR);
        assert!(world.product().list_holds(holds_of(team)).await.unwrap().holds.is_empty());
    }

    async fn an_account_has_only_so_many_open_holds(db: TestDb) {
        let world = World::with(db, |settings| settings.billing.open_holds_max = 3).await;
        let ana = world.person_with(1, "100").await;
        let mut last = None;
        for _ in 0..3 {
            last = Some(ana.held(reserve(ana.owner, "1")).await);
        }
        let seq = world.seq(ana.owner).await;
        let full = refused(ana.hold(reserve(ana.owner, "1")).await, Code::ResourceExhausted, "TOO_MANY_HOLDS");
        assert_eq!(full.metadata["limit"], "3");
        assert_eq!(world.seq(ana.owner).await, seq);
        ana.release(free(&last.unwrap())).await.unwrap();
        ana.held(reserve(ana.owner, "1")).await;
        world.audit(ana.owner).await;
    }

    async fn the_longest_hold_is_a_setting(db: TestDb) {
        use crate::words::Holding;
        let hour = std::time::Duration::from_hours(1);
        let world = World::with(db, |settings| settings.billing.hold_ttl_max = hour).await;
        let ana = world.person_with(1, "100").await;
        ana.held(reserve(ana.owner, "1").lasting(bursar_time::Span::HOUR)).await;
        let long = reserve(ana.owner, "1").lasting(bursar_time::Span::from_secs(3_601));
        assert_eq!(refused(ana.hold(long).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["ttl"]);
    }

    async fn a_hold_without_a_time_lasts_no_longer_than_allowed(db: TestDb) {
        let minute = std::time::Duration::from_mins(1);
        let world = World::with(db, |settings| settings.billing.hold_ttl_max = minute).await;
        let ana = world.person_with(1, "100").await;
        let held = ana.held(reserve(ana.owner, "1")).await;
        let deadline = bursar_rpc::convert::to_timestamp(world.in_(bursar_time::Span::MINUTE));
        assert_eq!(held.expires_at, Some(deadline));
    }
}
