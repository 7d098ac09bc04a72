//! Reports by other calendars than UTC's, and reports as files.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::GroupBy::{Member, Model, Project};
use bursar_proto::billing::v1::Interval;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{at, engines, id, refused};
use bursar_time::{Span, Timestamp, Zone};
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::words::{Spending, batch, give_back, spend, usage_of};
use crate::world::{Person, World, until};

fn in_zone(name: &str, interval: Interval, request: pb::QueryUsageRequest) -> pb::QueryUsageRequest {
    pb::QueryUsageRequest { time_zone: name.to_owned(), interval: interval.into(), ..request }
}

async fn rows(person: &Person, request: pb::QueryUsageRequest) -> Vec<(Timestamp, i64, u64)> {
    let rows = person.query_usage(request).await.unwrap().rows;
    let net = |text: &str| text.parse::<i64>().expect("whole credits");
    let begins = |row: &pb::UsageRow| Timestamp::from_unix_secs(row.interval_start.expect("a start").seconds).unwrap();
    rows.iter().map(|row| (begins(row), net(&row.net), row.count)).collect()
}

/// The same report made of hours by hand.
async fn by_hand(person: &Person, owner: OwnerId, name: &str, interval: Interval) -> Vec<(Timestamp, i64, u64)> {
    let zone: Zone = name.parse().unwrap();
    let mut sums: Vec<(Timestamp, i64, u64)> = Vec::new();
    for (hour, net, count) in rows(person, in_zone("", Interval::Hour, usage_of(owner, &[]))).await {
        let start = if interval == Interval::Day { zone.day(hour).0 } else { zone.month(hour).0 };
        match sums.last_mut() {
            Some(last) if last.0 == start => *last = (start, last.1 + net, last.2 + count),
            _ => sums.push((start, net, count)),
        }
    }
    sums
}

/// Two credits every 35 hours for ten weeks around a change of the clock, every third charge given back later.
async fn ten_weeks(world: &World, person: &Person) {
    world.passes(at("2026-02-20T03:00:00Z").since(world.now()));
    for n in 0..48 {
        let charge = person.charged(spend(person.owner, "2")).await;
        world.passes(Span::from_hours(35));
        if n % 3 == 0 {
            world.product().refund(give_back(&charge)).await.unwrap();
        }
    }
}

async fn exported(who: &Caller, request: pb::ExportUsageRequest) -> Result<Vec<Vec<u8>>, Status> {
    let mut stream = who.0.usage().export_usage(request).await?.into_inner();
    let mut chunks = Vec::new();
    while let Some(part) = stream.message().await? {
        chunks.push(part.chunk);
    }
    Ok(chunks)
}

/// What a report asks for, to export.
fn export_of(request: pb::QueryUsageRequest) -> pb::ExportUsageRequest {
    let pb::QueryUsageRequest { owner, from, to, group_by, member, project, model, interval, time_zone, .. } = request;
    pb::ExportUsageRequest { owner, from, to, group_by, member, project, model, interval, time_zone }
}

/// One credit for each of so many projects with long names.
async fn many_projects(world: &World, payer: &Person, projects: usize) {
    let name = |n: usize| format!("{n:05} {}", "long ".repeat(20).trim_end());
    let charges: Vec<_> = (0..projects).map(|n| spend(payer.owner, "1").for_project(&name(n)).by(payer.user)).collect();
    for charges in charges.chunks(500) {
        world.product().batch_charge(batch(charges.to_vec())).await.unwrap();
    }
}

engines! {
    async fn days_and_months_begin_where_the_zone_says(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        ten_weeks(&world, &ana).await;
        let zones = ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati"];
        let through = "SELECT COALESCE(MAX(through), 0) FROM usage_rollups WHERE owner = $1";
        for rolled_up in [false, true] {
            if rolled_up {
                world.passes(Span::from_days(2));
                let ended = at("2026-04-30T00:00:00Z").as_micros();
                until("the days are rolled up", async || world.number(through, ana.owner).await >= ended).await;
            }
            for name in zones {
                for interval in [Interval::Day, Interval::Month] {
                    let report = rows(&ana, in_zone(name, interval, usage_of(ana.owner, &[]))).await;
                    assert!(report.len() >= 3, "{name} {interval:?}: {report:?}");
                    assert_eq!(report, by_hand(&ana, ana.owner, name, interval).await, "{name} {interval:?} {rolled_up}");
                    let mut request = in_zone(name, interval, usage_of(ana.owner, &[]));
                    request.page_size = 1;
                    let first = ana.query_usage(request.clone()).await.unwrap();
                    request.page_token = first.next_page_token;
                    let second = rows(&ana, request).await;
                    assert_eq!(second[0], report[1], "a page goes on where the one before ended");
                }
            }
        }
        world.audit(ana.owner).await;
    }

    async fn a_day_has_as_many_hours_as_its_clock_shows(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        world.passes(at("2026-03-28T22:30:00Z").since(world.now()));
        for _ in 0..25 {
            ana.charged(spend(ana.owner, "1")).await;
            world.passes(Span::HOUR);
        }
        let expected = [
            (at("2026-03-27T23:00:00Z"), 1, 1),
            (at("2026-03-28T23:00:00Z"), 23, 23),
            (at("2026-03-29T22:00:00Z"), 1, 1),
        ];
        let days = rows(&ana, in_zone("europe/berlin", Interval::Day, usage_of(ana.owner, &[]))).await;
        assert_eq!(days, expected, "a day of 23 hours");
    }

    async fn zones_with_other_than_whole_hours_are_refused(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10").await;
        for used in [false, true] {
            if used {
                ana.charged(spend(ana.owner, "1")).await;
            }
            for interval in [Interval::None, Interval::Hour, Interval::Day, Interval::Month] {
                let request = in_zone("Asia/Kolkata", interval, usage_of(ana.owner, &[]));
                let bad = refused(ana.query_usage(request.clone()).await, Code::InvalidArgument, "TIME_ZONE_UNSUPPORTED");
                assert_eq!(bad.fields, ["time_zone"]);
                refused(exported(&ana, export_of(request)).await, Code::InvalidArgument, "TIME_ZONE_UNSUPPORTED");
            }
        }
        let lord_howe = |to: &str| pb::QueryUsageRequest {
            to: Some(to_timestamp(at(to))),
            ..in_zone("Australia/Lord_Howe", Interval::Day, usage_of(ana.owner, &[]))
        };
        assert_eq!(rows(&ana, lord_howe("2026-02-01T00:00:00Z")).await.len(), 1, "whole hours in summer");
        world.passes(at("2026-07-01T00:00:00Z").since(world.now()));
        assert_eq!(rows(&ana, lord_howe("2026-02-01T00:00:00Z")).await.len(), 1, "and still of that summer");
        let winter = ana.query_usage(lord_howe("2026-06-01T00:00:00Z")).await;
        refused(winter, Code::InvalidArgument, "TIME_ZONE_UNSUPPORTED");
        for name in ["Mars/Olympus", "+05:30", "CET-1CEST", &"x".repeat(10_000)] {
            let request = in_zone(name, Interval::Day, usage_of(ana.owner, &[]));
            let bad = refused(ana.query_usage(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["time_zone"]);
        }
    }

    async fn an_export_has_what_the_report_has(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "5000").await;
        ana.charged(spend(ana.owner, "0.5").for_project("=cmd, \"now\"").on_model("veo-3.1")).await;
        many_projects(&world, &ana, 1_500).await;
        let request = in_zone("Europe/Berlin", Interval::Day, usage_of(ana.owner, &[Project, Model]));
        let chunks = exported(&ana, export_of(request)).await.unwrap();
        assert_eq!(chunks.len(), 2, "a thousand lines each");
        let text = String::from_utf8(chunks.concat()).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 1 + 1_501);
        assert_eq!(lines[0], "interval_start,member,project,model,meter,quantity,charged,refunded,net,count");
        assert_eq!(lines[1501], "2026-01-14T23:00:00Z,,\"'=cmd, \"\"now\"\"\",veo-3.1,,,0.5,0,0.5,1");
        assert!(lines[1].starts_with("2026-01-14T23:00:00Z,,00000 long") && lines[1].ends_with(",,,,1,0,1,1"));
        let none = exported(&world.person(2), export_of(usage_of(world.person(2).owner, &[]))).await.unwrap();
        assert_eq!(none.concat(), format!("{}\r\n", lines[0]).into_bytes(), "nothing used: the header alone");
    }

    // More than is read at a time, and more than is read anew for each page.
    async fn a_long_report_goes_through_its_pages_and_chunks(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "10000").await;
        many_projects(&world, &ana, 4_600).await;
        for groups in [&[Member, Project][..], &[Project]] {
            let mut request = pb::QueryUsageRequest { page_size: 1_000, ..usage_of(ana.owner, groups) };
            let (mut seen, mut sizes) = (Vec::new(), Vec::new());
            loop {
                let page = ana.query_usage(request.clone()).await.unwrap();
                assert!(page.rows.iter().all(|row| (&*row.charged, row.count) == ("1", 1)), "{groups:?}");
                sizes.push(page.rows.len());
                seen.extend(page.rows.into_iter().map(|row| row.project));
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(sizes, [1_000, 1_000, 1_000, 1_000, 600], "{groups:?}");
            let numbers: Vec<_> = seen.iter().map(|name| name[..5].parse::<usize>().unwrap()).collect();
            assert!(numbers.into_iter().eq(0..4_600), "{groups:?}");
            let chunks = exported(&ana, export_of(usage_of(ana.owner, groups))).await.unwrap();
            assert_eq!(chunks.len(), 5);
            let text = String::from_utf8(chunks.concat()).unwrap();
            let projects = text.split_terminator("\r\n").skip(1).map(|line| line.split(',').nth(2).unwrap());
            assert!(projects.eq(seen.iter().map(String::as_str)), "{groups:?}");
        }
        world.audit(ana.owner).await;
    }

    async fn an_export_is_for_whom_the_report_is(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "10000").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let (member, stranger) = (world.member(2, team, Role::Member, 1), world.person(9));
        owner.charged(spend(team, "1").on_model("veo-3.1")).await;
        let of = |groups: &[pb::GroupBy]| export_of(usage_of(team, groups));
        assert!(exported(&owner, of(&[Member])).await.is_ok());
        assert!(exported(&world.operator(), of(&[Member])).await.is_ok());
        assert!(exported(&member, of(&[Model])).await.is_ok(), "totals are everybody's");
        refused(exported(&member, of(&[Member])).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(exported(&stranger, of(&[])).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(exported(&world.product(), of(&[])).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(exported(world.nobody(), of(&[])).await, Code::Unauthenticated, "TOKEN_MISSING");
        let unopened = export_of(usage_of(world.person(7).owner, &[]));
        refused(exported(&world.operator(), unopened).await, Code::NotFound, "NOT_FOUND");
        let bad = pb::ExportUsageRequest { group_by: vec![9], ..of(&[]) };
        let bad = refused(exported(&owner, bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["group_by"]);
    }

    async fn who_is_removed_gets_no_more_of_an_export(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "10000").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let member = world.member(2, team, Role::Member, 1);
        many_projects(&world, &owner, 3_500).await;
        let mut stream = member.0.usage().export_usage(export_of(usage_of(team, &[Project]))).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        world.hears(team, id(2), None, 2).await;
        let mut more = 0;
        let ended = loop {
            match stream.message().await {
                Ok(Some(_)) => more += 1,
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
        };
        refused(ended, Code::PermissionDenied, "NOT_A_MEMBER");
        assert!(more < 3, "of what was not on its way");
    }
}
