//! Limits over the wire: setting, listing and deleting them, and what they refuse.

use bursar_db::{DbError, on};
use bursar_id::{ApiKeyId, Role};
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::LimitWindow::{Day, Hour, Month, Period};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, LimitAlert};
use bursar_testkit::{answers_with, engines, id, refused};
use bursar_time::Span;
use prost::Message as _;
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted};

use crate::words::{
    Holding as _, Spending as _, Under as _, batch, free, give_back, give_back_part, limit, limits_of, reserve, settle,
    spend,
};
use crate::world::{World, until};

impl World {
    /// What was told of limits, in order.
    pub(crate) async fn alerts(&self) -> Vec<LimitAlert> {
        let mut tx = self.store.read().await.unwrap();
        let told = "SELECT payload FROM outbox WHERE type = 'limit.alert' ORDER BY seq";
        let rows: Result<Vec<(Vec<u8>,)>, DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(told).fetch_all(c).await?)) }.await;
        let read = |(bytes,): (Vec<u8>,)| match Event::decode(bytes.as_slice()).unwrap().payload {
            Some(Payload::LimitAlert(alert)) => alert,
            other => panic!("{other:?}"),
        };
        rows.unwrap().into_iter().map(read).collect()
    }
}

fn alerting(request: pb::SetLimitRequest, percents: &[u32]) -> pb::SetLimitRequest {
    pb::SetLimitRequest { alert_percents: percents.to_vec(), ..request }
}

fn warning(request: pb::SetLimitRequest) -> pb::SetLimitRequest {
    pb::SetLimitRequest { mode: pb::LimitMode::Warn.into(), ..request }
}

fn delete(limit: &pb::Limit) -> pb::DeleteLimitRequest {
    pb::DeleteLimitRequest { owner: limit.owner.clone(), limit_id: limit.id.clone(), request_id: String::new() }
}

/// What a refusal tells of the limit that is reached.
fn reached<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) -> [String; 4] {
    let refusal = refused(outcome, FailedPrecondition, "LIMIT_REACHED");
    ["limit_id", "subject", "used", "amount"].map(|key| refusal.metadata[key].clone())
}

engines! {
    async fn a_limit_is_set_told_reached_and_deleted(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let me = format!("member {}", ana.user);
        let early = ana.charged(spend(ana.owner, "2")).await;
        let request = limit(ana.owner, &me, Day, "10").under("l1");
        let set = ana.limited(request.clone()).await;
        assert_eq!((&*set.used, &*set.amount), ("2", "10"), "what the day has seen before counts");
        assert_eq!(ana.limited(request.clone()).await, set, "a repetition");
        refused(ana.set_limit(limit(ana.owner, &me, Day, "11").under("l1")).await, AlreadyExists, "REQUEST_ID_REUSED");

        let held = ana.held(reserve(ana.owner, "5")).await;
        let outcome = ana.charge(spend(ana.owner, "3.000001").under("c")).await;
        let refusal = refused(outcome, FailedPrecondition, "LIMIT_REACHED");
        assert_eq!(refusal.metadata["limit_id"], set.id);
        assert_eq!(refusal.metadata["subject"], format!("member:{}", ana.user));
        assert_eq!((&*refusal.metadata["used"], &*refusal.metadata["amount"]), ("7", "10"));
        let ends = bursar_rpc::convert::required_timestamp(set.resets_at).unwrap();
        assert_eq!(refusal.metadata["resets_at"], ends.to_rfc3339());
        ana.charged(spend(ana.owner, "3").under("c")).await;
        refused(ana.hold(reserve(ana.owner, "1")).await, FailedPrecondition, "LIMIT_REACHED");
        let excess = pb::CaptureRequest { allow_excess: true, ..settle(&held, "6") };
        refused(ana.capture(excess).await, FailedPrecondition, "LIMIT_REACHED");
        let outcomes = ana.batch_charge(batch([spend(ana.owner, "1"), spend(ana.owner, "1")])).await.unwrap().outcomes;
        assert!(outcomes.iter().all(|it| matches!(&it.outcome, Some(pb::batch_charge_outcome::Outcome::Status(_)))));
        ana.captured(settle(&held, "4")).await;
        world.product().refunded(give_back_part(&early, "1")).await;
        assert_eq!(ana.list_limits(limits_of(ana.owner)).await.unwrap().limits, [pb::Limit { used: "8".into(), ..set.clone() }]);

        let again = ana.limited(limit(ana.owner, &me, Day, "8.5")).await;
        assert_eq!((&again.id, &*again.used), (&set.id, "8"), "the same limit");
        assert_eq!(reached(ana.charge(spend(ana.owner, "1")).await), [&*set.id, &format!("member:{}", ana.user), "8", "8.5"]);
        ana.delete_limit(delete(&set).under("d")).await.unwrap();
        ana.delete_limit(delete(&set).under("d")).await.unwrap();
        refused(ana.delete_limit(delete(&set)).await, NotFound, "NOT_FOUND");
        ana.charged(spend(ana.owner, "20")).await;
        assert_eq!(ana.list_limits(limits_of(ana.owner)).await.unwrap().limits, []);
        // What was spent while there was none counts when there is one again.
        assert_eq!(ana.limited(limit(ana.owner, &me, Day, "100")).await.used, "28");
        world.audit(ana.owner).await;
    }

    async fn windows_turn_by_the_clock(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        let me = format!("member {}", ana.user);
        for (window, span) in [(Hour, Span::HOUR), (Day, Span::DAY), (Month, Span::from_days(31)), (Period, Span::from_days(31))] {
            let set = ana.limited(limit(ana.owner, &me, window, "10")).await;
            let used: Credits = set.used.parse().unwrap();
            let free = Credits::whole(10).checked_sub(used).unwrap();
            assert!(!free.is_zero(), "{window:?}: {set:?}");
            let held = ana.held(reserve(ana.owner, &free.to_string()).lasting(Span::from_mins(10))).await;
            refused(ana.charge(spend(ana.owner, "0.000001")).await, FailedPrecondition, "LIMIT_REACHED");
            world.passes(span);
            // It has lapsed meanwhile, in the window that it was made in.
            ana.charged(spend(ana.owner, "10")).await;
            refused(ana.charge(spend(ana.owner, "0.000001")).await, FailedPrecondition, "LIMIT_REACHED");
            assert_eq!(ana.list_limits(limits_of(ana.owner)).await.unwrap().limits[0].used, "10", "{window:?}");
            refused(ana.capture(settle(&held, "1")).await, FailedPrecondition, "HOLD_EXPIRED");
            ana.delete_limit(delete(&set)).await.unwrap();
            world.passes(Span::from_days(62));
        }
        world.audit(ana.owner).await;
    }

    async fn a_hold_counts_in_the_window_that_it_was_made_in(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        ana.limited(limit(ana.owner, &format!("member {}", ana.user), Hour, "10")).await;
        let lasting = |amount: &str| reserve(ana.owner, amount).lasting(Span::from_hours(3));
        let (first, second) = (ana.held(lasting("6")).await, ana.held(lasting("4")).await);
        world.passes(Span::HOUR);
        ana.charged(spend(ana.owner, "10")).await;
        let excess = |amount: &str| pb::CaptureRequest { allow_excess: true, ..settle(&first, amount) };
        refused(ana.capture(excess("6.000001")).await, FailedPrecondition, "LIMIT_REACHED");
        ana.release(free(&second)).await.unwrap();
        let charge = ana.captured(excess("10")).await;
        world.product().refunded(give_back(&charge)).await;
        assert_eq!(ana.list_limits(limits_of(ana.owner)).await.unwrap().limits[0].used, "10", "nothing of it is of this hour");
        world.passes(Span::from_days(3));
        until("what no hold can count in any more is forgotten", async || {
            world.passes(Span::HOUR);
            world.scalar("SELECT COUNT(*) FROM limit_uses").await == 0
        })
        .await;
        world.audit(ana.owner).await;
    }

    async fn members_must_exist_and_others_limits_are_nobodys(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        world.hears(team, id(3), None, 2).await;
        let ben = world.member(2, team, Role::Member, 1);
        ben.charged(spend(team, "1").for_project("film").on_model("a-model")).await;
        let stranger: bursar_id::UserId = id(9);
        let key: ApiKeyId = id(5);
        for (subject, what) in [
            (format!("member {stranger}"), "member"),
            (format!("member {}", id::<bursar_id::kinds::User>(3)), "member"),
        ] {
            let refusal = refused(boss.set_limit(limit(team, &subject, Day, "1")).await, NotFound, "NOT_FOUND");
            assert!(refusal.message.contains(what), "{}", refusal.message);
        }
        for subject in [format!("member {}", ben.user), "project film".to_owned(), "model a-model".to_owned()] {
            assert_eq!(boss.limited(limit(team, &subject, Day, "5")).await.used, "1");
        }
        // Nobody here keeps a list of keys, and the catalog one of models.
        for subject in ["model veo-3.1".to_owned(), format!("key {key}")] {
            assert_eq!(boss.limited(limit(team, &subject, Day, "1")).await.used, "0", "{subject}");
        }
        for spent in [spend(team, "4.000001").for_project("film"), spend(team, "1.000001").on_model("veo-3.1")] {
            refused(ben.charge(spent).await, FailedPrecondition, "LIMIT_REACHED");
        }
        let other = world.person_with(4, "10").await;
        refused(other.set_limit(limit(other.owner, &format!("member {}", ben.user), Day, "1")).await, NotFound, "NOT_FOUND");
        let theirs = boss.list_limits(limits_of(team)).await.unwrap().limits.remove(0);
        let foreign = pb::DeleteLimitRequest { owner: other.owner.to_string(), ..delete(&theirs) };
        refused(other.delete_limit(foreign).await, NotFound, "NOT_FOUND");
        let nobody = bursar_id::OwnerId::User(id(77));
        refused(world.operator().set_limit(limit(nobody, "every", Day, "1")).await, NotFound, "NOT_FOUND");
        assert_eq!(boss.list_limits(limits_of(team)).await.unwrap().limits.len(), 5);
    }

    async fn what_each_role_may_with_limits(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        for (n, role) in [(2, Role::Admin), (3, Role::Member), (4, Role::Member)] {
            world.hears(team, id(n), Some(role), 1).await;
        }
        let (ben, cem) = (world.member(3, team, Role::Member, 1), world.member(4, team, Role::Member, 1));
        ben.charged(spend(team, "7").for_project("film")).await;
        cem.charged(spend(team, "2")).await;
        let everybody = boss.limited(limit(team, "every", Day, "50")).await;
        assert_eq!(everybody.used, "7", "what that member has used who used most");
        boss.limited(limit(team, "project film", Day, "50")).await;
        let own = boss.limited(limit(team, &format!("member {}", ben.user), Hour, "50")).await;
        boss.limited(limit(team, &format!("member {}", ben.user), Day, "60")).await;
        let seen = |limits: Vec<pb::Limit>| {
            let mut seen: Vec<_> = limits.into_iter().map(|it| (it.amount, it.used)).collect();
            seen.sort();
            seen
        };
        let all = boss.list_limits(limits_of(team)).await.unwrap().limits;
        assert_eq!(all.len(), 4);
        let everybody = all.iter().find(|it| it.id == everybody.id).unwrap();
        assert_eq!(everybody.used, "2", "who has an own limit is not among every member");
        assert_eq!(seen(ben.list_limits(limits_of(team)).await.unwrap().limits), [("50".into(), "7".into()), ("60".into(), "7".into())]);
        assert_eq!(seen(cem.list_limits(limits_of(team)).await.unwrap().limits), [("50".into(), "2".into())]);
        for who in [&ben, &cem] {
            refused(who.set_limit(limit(team, "every", Day, "1")).await, PermissionDenied, "ROLE_NOT_ALLOWED");
            refused(who.delete_limit(delete(&own)).await, PermissionDenied, "ROLE_NOT_ALLOWED");
        }
        refused(world.person(9).list_limits(limits_of(team)).await, PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(world.product().list_limits(limits_of(team)).await.unwrap().limits, all);
        refused(world.product().set_limit(limit(team, "every", Day, "1")).await, PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        // A page at a time, each once.
        let mut paged = Vec::new();
        let mut request = pb::ListLimitsRequest { page_size: 3, ..limits_of(team) };
        loop {
            let page = boss.list_limits(request.clone()).await.unwrap();
            paged.extend(page.limits);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(paged, all);
    }

    async fn bad_limits_are_refused_field_by_field(db: TestDb) {
        let world = World::with(db, |settings| settings.billing.limits_max = 2).await;
        let ana = world.person_with(1, "100").await;
        let good = limit(ana.owner, "every", Day, "1");
        let cases = [
            (pb::SetLimitRequest { subject: None, ..good.clone() }, "subject"),
            (limit(ana.owner, "nothing", Day, "1"), "subject"),
            (limit(ana.owner, "member nobody", Day, "1"), "subject.member"),
            (limit(ana.owner, "project ", Day, "1"), "subject.project"),
            (limit(ana.owner, "key usr_1", Day, "1"), "subject.api_key"),
            (pb::SetLimitRequest { window: 0, ..good.clone() }, "window"),
            (pb::SetLimitRequest { window: 99, ..good.clone() }, "window"),
            (pb::SetLimitRequest { mode: 0, ..good.clone() }, "mode"),
            (limit(ana.owner, "every", Day, "-1"), "amount"),
            (limit(ana.owner, "every", Day, ""), "amount"),
            (limit(ana.owner, "every", Day, "1000000000000.000001"), "amount"),
            (alerting(good.clone(), &[0]), "alert_percents"),
            (alerting(good.clone(), &[5, 5]), "alert_percents"),
            (alerting(limit(ana.owner, "every", Day, "0"), &[50]), "alert_percents"),
            (warning(limit(ana.owner, "every", Day, "0")), "amount"),
        ];
        for (request, field) in cases {
            let refusal = refused(ana.set_limit(request.clone()).await, InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, [field], "{request:?}");
        }
        ana.limited(limit(ana.owner, "every", Day, "0")).await;
        refused(ana.charge(spend(ana.owner, "0.000001")).await, FailedPrecondition, "LIMIT_REACHED");
        let warned = ana.limited(warning(good)).await;
        assert_eq!(warned.alert_percents, [100], "a warning without percentages warns at the limit");
        let more = refused(ana.set_limit(limit(ana.owner, "every", Hour, "1")).await, ResourceExhausted, "TOO_MANY_LIMITS");
        assert_eq!(more.metadata["limit"], "2");
        assert_eq!(ana.limited(limit(ana.owner, "every", Day, "1")).await.amount, "1", "setting one again takes no place");
    }

    async fn alerts_are_told_once_for_each_crossing(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1000").await;
        let set = boss.limited(alerting(warning(limit(team, "every", Day, "10")), &[100, 50])).await;
        let told = async |world: &World| {
            let told = world.alerts().await.into_iter().map(|it| (it.percents, it.used));
            told.collect::<Vec<_>>()
        };
        let charge = boss.charged(spend(team, "5")).await;
        assert_eq!(told(&world).await, [(vec![50], "5".to_owned())]);
        boss.charged(spend(team, "4")).await;
        assert_eq!(told(&world).await.len(), 1, "once");
        world.product().refunded(give_back_part(&charge, "4.000001")).await;
        boss.charged(spend(team, "20")).await;
        let all = world.alerts().await;
        assert_eq!(all.len(), 2, "re-armed, and both at once");
        let last = all.last().unwrap();
        assert_eq!((&*last.owner, &*last.limit_id, &*last.member), (&*team.to_string(), &*set.id, &*boss.user.to_string()));
        assert_eq!((&*last.subject, &*last.window, &*last.mode, &*last.amount), ("every_member", "DAY", "WARN", "10"));
        assert_eq!((&last.percents[..], &*last.used), (&[50, 100][..], "24.999999"));
        assert_eq!(last.resets_at, set.resets_at);
        // A refused charge of another member tells of nothing, and a batch of each crossing.
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let ben = world.member(2, team, Role::Member, 1);
        refused(ben.charge(spend(team, "5000")).await, FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!(world.alerts().await.len(), 2);
        ben.batch_charge(batch((0..12).map(|_| spend(team, "1")))).await.unwrap();
        let told: Vec<_> = world.alerts().await.split_off(2).into_iter().map(|it| (it.percents, it.used)).collect();
        assert_eq!(told, [(vec![50], "5".to_owned()), (vec![100], "10".to_owned())]);
        world.audit(team).await;
    }

    async fn a_limit_that_is_set_again_tells_anew_of_what_is_reached_from_then_on(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        let at_half_of = |amount: &str| alerting(warning(limit(ana.owner, "every", Day, amount)), &[50]);
        let set = ana.limited(at_half_of("10")).await;
        for _ in 0..12 {
            let held = ana.held(reserve(ana.owner, "5")).await;
            ana.release(free(&held)).await.unwrap();
        }
        assert_eq!(world.alerts().await.len(), 9, "once, and eight times again");
        let again = ana.limited(at_half_of("8")).await;
        assert_eq!((&again.id, &*again.used), (&set.id, "0"));
        ana.charged(spend(ana.owner, "4")).await;
        let last = world.alerts().await.pop().unwrap();
        assert_eq!((&last.percents[..], &*last.used, &*last.amount), (&[50][..], "4", "8"), "however often before");
        ana.limited(at_half_of("6")).await;
        ana.charged(spend(ana.owner, "1")).await;
        assert_eq!(world.alerts().await.len(), 10, "what is reached already is not told");
        world.audit(ana.owner).await;
    }

    async fn a_repetition_is_answered_whatever_limits_there_are_now(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let first = ana.charge(spend(ana.owner, "5").under("c")).await.unwrap();
        ana.limited(limit(ana.owner, "every", Day, "0")).await;
        let again = ana.charge(spend(ana.owner, "5").under("c")).await.unwrap();
        assert!(again.replayed && again.charge == first.charge);
        refused(ana.charge(spend(ana.owner, "5").under("d")).await, FailedPrecondition, "LIMIT_REACHED");
    }

    /// The name of a project or a model may be anybody's words: a purge erases them with the limits, and of answers kept for
    /// repetitions it erases nothing.
    async fn what_is_kept_of_a_limit_does_not_say_what_it_is_about(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        boss.charged(spend(team, "1").for_project("quibblefix").on_model("a-zanzibar")).await;
        for subject in ["project quibblefix", "model a-zanzibar", "every"] {
            let request = limit(team, subject, Day, "5").under(subject);
            let set = boss.limited(request.clone()).await;
            assert_eq!(set.subject, request.subject);
            assert_eq!(boss.limited(request).await, set, "a repetition names it itself");
            assert!(boss.list_limits(limits_of(team)).await.unwrap().limits.contains(&set), "so does the list");
            assert_eq!(answers_with(&world.store, &set.id).await, 1, "it is kept");
        }
        for text in ["quibblefix", "a-zanzibar"] {
            assert_eq!(answers_with(&world.store, text).await, 0, "{text}");
        }
    }

    async fn the_limits_of_who_is_gone_are_gone(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "100").await;
        boss.limited(limit(team, "every", Day, "50")).await;
        boss.charged(spend(team, "5")).await;
        world.has_project(team, id(1)).await;
        world.stands(team, Standing::Suspended, 1).await;
        refused(boss.set_limit(limit(team, "every", Day, "60")).await, PermissionDenied, "ORGANIZATION_SUSPENDED");
        refused(boss.list_limits(limits_of(team)).await, PermissionDenied, "ORGANIZATION_SUSPENDED");
        world.stands(team, Standing::Deleted, 2).await;
        assert_eq!(world.operator().list_limits(limits_of(team)).await.unwrap().limits.len(), 1);
        world.stands(team, Standing::Purged, 3).await;
        until("the limits are gone", async || {
            world.scalar("SELECT (SELECT COUNT(*) FROM limits) + (SELECT COUNT(*) FROM limit_uses)").await == 0
        })
        .await;
        assert_eq!(world.scalar("SELECT COUNT(*) FROM projects").await, 0, "what they may be about is forgotten with them");
        world.audit(team).await;
    }
}
