//! `QueryUsage`: sums that agree with the ledger, by member, project, model and time.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::GroupBy::{self, Member, Meter, Model, Project};
use bursar_proto::billing::v1::Interval;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{at, engines, id, refused};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use crate::words::{Charging, Spending, Under, give_back, give_back_part, reserve, settle, spend, usage_of};
use crate::world::{BUILT_IN, Person, World};

/// A team's three days: two members, two projects, two models, refunds, a capture.
async fn three_days(world: &World) -> (OwnerId, Person) {
    let (team, owner) = world.organization_with(1, "1000").await;
    world.hears(team, id(2), Some(Role::Member), 1).await;
    let member = world.member(2, team, Role::Member, 1);
    owner.charged(spend(team, "10").for_project("film").on_model("veo-3.1")).await;
    let charge = member.charged(spend(team, "20").for_project("film").on_model("kling")).await;
    world.passes(Span::DAY);
    world.product().refund(give_back_part(&charge, "5")).await.unwrap();
    let hold = member.held(reserve(team, "9").for_project("game").on_model("veo-3.1")).await;
    member.captured(settle(&hold, "7")).await;
    world.passes(Span::HOUR);
    owner.charged(spend(team, "1").on_model("veo-3.1")).await;
    world.passes(Span::DAY);
    owner.charged(spend(team, "3")).await;
    world.product().refund(give_back(&charge)).await.unwrap();
    (team, owner)
}

/// One row in a line: when, whose, what; charged, refunded, net, how many.
fn line(row: &pb::UsageRow) -> String {
    let when =
        row.interval_start.map(|at| Timestamp::from_unix_secs(at.seconds).unwrap().to_string()).unwrap_or_default();
    let who = [row.member.as_str(), &row.project, &row.model].join("/");
    assert_eq!((row.meter.as_str(), row.quantity.as_str()), ("", ""));
    format!("{when} {who} {} {} {} {}x", row.charged, row.refunded, row.net, row.count)
}

async fn lines(person: &Person, request: pb::QueryUsageRequest) -> Vec<String> {
    person.query_usage(request).await.unwrap().rows.iter().map(line).collect()
}

fn cut(request: pb::QueryUsageRequest, interval: Interval) -> pb::QueryUsageRequest {
    pb::QueryUsageRequest { interval: interval.into(), ..request }
}

/// A model whose work costs next to nothing.
const CHEAP: &str = r#"
[[models]]
id = "cheap"
name = "Cheap"
meters = [{ id = "bytes", unit = "byte", credits = "0.000001" }]
"#;

engines! {
    async fn totals_go_on_above_what_one_amount_can_be(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator, most) = (world.person(1), world.operator(), "1000000000000");
        for amount in [most, most, "0.000001"] {
            operator.granted(crate::words::grant(ana.owner, amount)).await;
            ana.charged(spend(ana.owner, amount)).await;
        }
        let balance = ana.get_balance(crate::words::balance_of(ana.owner)).await.unwrap();
        assert_eq!(balance.spent_this_period, "2000000000000.000001");
        let query = pb::QueryUsageRequest { owner: ana.owner.to_string(), ..Default::default() };
        let rows = ana.query_usage(query).await.unwrap().rows;
        let total = |row: &pb::UsageRow| (row.charged.clone(), row.refunded.clone(), row.net.clone(), row.count);
        let sum = "2000000000000.000001".to_owned();
        assert_eq!(rows.iter().map(total).collect::<Vec<_>>(), [(sum.clone(), "0".to_owned(), sum, 3)]);
        world.audit(ana.owner).await;
    }

    async fn sums_by_member_project_and_model(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = three_days(&world).await;
        let of = |groups: &[GroupBy]| usage_of(team, groups);
        let (boss, ben) = (owner.user, id::<bursar_id::kinds::User>(2));
        assert_eq!(lines(&owner, of(&[])).await, [" // 41 20 21 5x"]);
        assert_eq!(lines(&owner, cut(of(&[]), Interval::None)).await, [" // 41 20 21 5x"]);
        let by_member = [format!(" {boss}// 14 0 14 3x"), format!(" {ben}// 27 20 7 2x")];
        assert_eq!(lines(&owner, of(&[Member])).await, by_member);
        let by_project = [" // 4 0 4 2x", " /film/ 30 20 10 2x", " /game/ 7 0 7 1x"];
        assert_eq!(lines(&owner, of(&[Project])).await, by_project);
        let by_model = [" // 3 0 3 1x", " //kling 20 20 0 1x", " //veo-3.1 18 0 18 3x"];
        assert_eq!(lines(&owner, of(&[Model])).await, by_model);
        let by_both = lines(&owner, of(&[Model, Project])).await;
        assert_eq!(by_both.len(), 5, "{by_both:?}");
        world.audit(team).await;
    }

    async fn sums_along_time(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = three_days(&world).await;
        let of = || usage_of(team, &[]);
        let days = [
            "2026-01-15T00:00:00Z // 30 0 30 2x",
            "2026-01-16T00:00:00Z // 8 5 3 2x",
            "2026-01-17T00:00:00Z // 3 15 -12 1x",
        ];
        assert_eq!(lines(&owner, cut(of(), Interval::Day)).await, days, "a refund counts when it was given");
        let hours = [
            "2026-01-15T12:00:00Z // 30 0 30 2x",
            "2026-01-16T12:00:00Z // 7 5 2 1x",
            "2026-01-16T13:00:00Z // 1 0 1 1x",
            "2026-01-17T13:00:00Z // 3 15 -12 1x",
        ];
        assert_eq!(lines(&owner, cut(of(), Interval::Hour)).await, hours);
        let month = ["2026-01-01T00:00:00Z // 41 20 21 5x"];
        assert_eq!(lines(&owner, cut(of(), Interval::Month)).await, month);

        let between = |from: &str, to: &str| pb::QueryUsageRequest {
            from: Some(to_timestamp(at(from))),
            to: Some(to_timestamp(at(to))),
            ..of()
        };
        let cases = [
            ("2026-01-16T12:59:59Z", "2026-01-16T13:00:01Z", Some(" // 8 5 3 2x"), "rounded to whole hours"),
            ("2026-01-15T00:00:00Z", "2026-01-17T00:00:00Z", Some(" // 38 5 33 4x"), "days"),
            ("2026-01-15T12:00:00Z", "2026-01-17T13:00:00Z", Some(" // 38 5 33 4x"), "edges in hours"),
            ("2026-01-15T13:00:00Z", "2026-01-17T14:00:00Z", Some(" // 11 20 -9 3x"), "both edges"),
            ("2025-01-01T00:00:00Z", "2026-01-15T12:00:00Z", None, "before anything"),
            ("2026-01-16T12:00:00Z", "2026-01-16T12:00:00Z", None, "no time at all"),
        ];
        for (from, to, expected, what) in cases {
            let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(lines(&owner, between(from, to)).await, expected, "{what}");
        }
        world.audit(team).await;
    }

    async fn filters_narrow_and_members_are_not_for_everybody(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = three_days(&world).await;
        let ben = id::<bursar_id::kinds::User>(2);
        let of = |member: &str, project: &str, model: &str| pb::QueryUsageRequest {
            member: member.to_owned(),
            project: project.to_owned(),
            model: model.to_owned(),
            ..usage_of(team, &[])
        };
        assert_eq!(lines(&owner, of(&ben.to_string(), "", "")).await, [" // 27 20 7 2x"]);
        assert_eq!(lines(&owner, of("", "film", "")).await, [" // 30 20 10 2x"]);
        assert_eq!(lines(&owner, of("", "", "veo-3.1")).await, [" // 18 0 18 3x"]);
        assert_eq!(lines(&owner, of(&ben.to_string(), "film", "veo-3.1")).await, [""; 0]);
        let member = world.member(2, team, Role::Member, 1);
        assert_eq!(lines(&member, of("", "film", "")).await, [" // 30 20 10 2x"], "totals are everybody's");
        refused(member.query_usage(of(&ben.to_string(), "", "")).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        member.held(reserve(team, "2.5")).await;
        assert_eq!(owner.query_usage(usage_of(team, &[])).await.unwrap().held, "2.5", "shown apart");
        let page = pb::QueryUsageRequest { page_size: 1, ..usage_of(team, &[Model]) };
        let page_token = owner.query_usage(page.clone()).await.unwrap().next_page_token;
        let others = pb::QueryUsageRequest { page_token, model: "veo-3.1".to_owned(), ..page };
        refused(owner.query_usage(others).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn meters_are_totals_of_their_own(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        let by = |usage: &[(&str, &str)]| spend(ana.owner, "").on_model("veo-3.1").for_project("film").using(usage);
        ana.charged(by(&[("seconds", "2.5")])).await;
        let back = ana.charged(by(&[("seconds", "1")])).await;
        ana.charged(spend(ana.owner, "7").on_model("veo-3.1")).await;
        world.product().refund(give_back(&back)).await.unwrap();
        let metered = |groups: &[GroupBy], model: &str| pb::QueryUsageRequest {
            model: model.to_owned(),
            ..usage_of(ana.owner, groups)
        };
        for request in [metered(&[Meter, Model], ""), metered(&[Meter], "veo-3.1")] {
            let rows = ana.query_usage(request).await.unwrap().rows;
            let lines: Vec<_> = rows.iter().map(|it| (&*it.meter, &*it.quantity, &*it.charged, &*it.refunded, &*it.net)).collect();
            assert_eq!(lines, [("seconds", "3.5", "21", "", "")], "gross of refunds, nothing of charges by amount");
        }
        let days = cut(metered(&[Meter, Model], ""), Interval::Day);
        assert_eq!(ana.query_usage(days).await.unwrap().rows[0].interval_start, Some(to_timestamp(at("2026-01-15T00:00:00Z"))));
        assert!(ana.query_usage(metered(&[Meter], "kling-3.0-pro")).await.unwrap().rows.is_empty());
        let cases: Vec<(pb::QueryUsageRequest, &[&str])> = vec![
            (metered(&[Meter], ""), &["group_by"]),
            (metered(&[Meter, Model, Member], ""), &["group_by"]),
            (metered(&[Meter, Model, Project], ""), &["group_by"]),
            (pb::QueryUsageRequest { member: ana.user.to_string(), ..metered(&[Meter, Model], "") }, &["member"]),
            (pb::QueryUsageRequest { project: "film".into(), ..metered(&[Meter, Model], "") }, &["project"]),
        ];
        for (request, fields) in cases {
            let what = format!("{request:?}");
            let bad = refused(ana.query_usage(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, fields, "{what}");
        }
    }

    async fn absurd_quantities_never_fail_a_charge(db: TestDb) {
        let world = World::selling(db, &format!("{BUILT_IN}{CHEAP}")).await;
        let ana = world.person_with(1, "1000000000000").await;
        for _ in 0..12 {
            ana.charged(spend(ana.owner, "").on_model("veo-3.1").using(&[("seconds", "1000000000")])).await;
            ana.charged(spend(ana.owner, "").on_model("cheap").using(&[("", "1000000000000")])).await;
        }
        let rows = ana.query_usage(pb::QueryUsageRequest { model: "cheap".into(), ..usage_of(ana.owner, &[Meter]) }).await.unwrap().rows;
        assert_eq!(rows[0].quantity, "9223372036854.775807", "the sum stays at its greatest");
        world.audit(ana.owner).await;
    }

    async fn rolled_up_days_say_what_hours_said(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = three_days(&world).await;
        let requests = [usage_of(team, &[Member, Project, Model]), cut(usage_of(team, &[]), Interval::Day), cut(usage_of(team, &[]), Interval::Month)];
        let mut before = Vec::new();
        for request in &requests {
            before.push(lines(&owner, request.clone()).await);
        }
        world.passes(Span::from_days(2));
        let through = "SELECT COALESCE(MAX(through), 0) FROM usage_rollups WHERE owner = $1";
        let ended = at("2026-01-19T00:00:00Z").as_micros();
        crate::world::until("the days are rolled up", async || world.number(through, team).await >= ended).await;
        assert!(world.number("SELECT COUNT(*) FROM usage_days WHERE owner = $1", team).await > 0);
        for (request, before) in requests.into_iter().zip(before) {
            assert_eq!(lines(&owner, request).await, before);
        }
        world.audit(team).await;
    }

    async fn pages_go_through_all_rows(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        for n in 0..7 {
            ana.charged(spend(ana.owner, "1").for_project(&format!("p{n}"))).await;
        }
        let whole = lines(&ana, usage_of(ana.owner, &[Project])).await;
        let (mut seen, mut request) = (Vec::new(), pb::QueryUsageRequest { page_size: 3, ..usage_of(ana.owner, &[Project]) });
        for size in [3, 3, 1] {
            let page = ana.query_usage(request.clone()).await.unwrap();
            assert_eq!(page.rows.len(), size);
            seen.extend(page.rows.iter().map(line));
            request.page_token = page.next_page_token;
        }
        assert_eq!((&seen, &*request.page_token), (&whole, ""));
        "rubbish".clone_into(&mut request.page_token);
        refused(ana.query_usage(request).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn every_bad_field_is_named(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1").await;
        let late = Some(to_timestamp(at("2026-01-02T00:00:00Z")));
        let early = Some(to_timestamp(at("2026-01-01T00:00:00Z")));
        let far = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        let of = || usage_of(ana.owner, &[]);
        let cases: Vec<(pb::QueryUsageRequest, &[&str])> = vec![
            (pb::QueryUsageRequest { from: late, to: early, ..of() }, &["to"]),
            (pb::QueryUsageRequest { from: far, ..of() }, &["from"]),
            (pb::QueryUsageRequest { group_by: vec![0], ..of() }, &["group_by"]),
            (pb::QueryUsageRequest { group_by: vec![9], interval: 9, ..of() }, &["group_by", "interval"]),
        ];
        for (request, fields) in cases {
            let what = format!("{request:?}");
            let bad = refused(ana.query_usage(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, fields, "{what}");
        }
        // The same name twice is one.
        ana.charged(spend(ana.owner, "0.5").under("r1")).await;
        assert_eq!(lines(&ana, usage_of(ana.owner, &[Model, Model])).await, [" // 0.5 0 0.5 1x"]);
    }
}
