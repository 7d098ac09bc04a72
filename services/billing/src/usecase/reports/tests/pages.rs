//! Pages of reports are the report, whatever they are made of, and what a page costs does not grow with what it does not show.

use bursar_id::UserId;
use bursar_testkit::{engines, id};

use super::super::reading::Bounds;
use super::used::{Pages, Used, model, pick, project};
use super::*;

const GROUPS: [&[Group]; 10] = [
    &[],
    &[Group::Member],
    &[Group::Project],
    &[Group::Model],
    &[Group::Member, Group::Project],
    &[Group::Model, Group::Member],
    &[Group::Project, Group::Model],
    &[Group::Member, Group::Project, Group::Model],
    &[Group::Meter, Group::Model],
    &[Group::Meter],
];
const INTERVALS: [Interval; 4] = [Interval::Whole, Interval::Hour, Interval::Day, Interval::Month];
const ZONES: [&str; 3] = ["UTC", "Europe/Berlin", "Pacific/Kiritimati"];

/// Portions that end everywhere, intervals that are large and small, and what everybody has.
const BOUNDS: [Bounds; 5] = [
    Bounds { portion: 7, few: 0, side_by_side: 10_000, held: 50, page: usize::MAX },
    Bounds { portion: 20, few: 40, side_by_side: 10_000, held: 200, page: usize::MAX },
    Bounds { portion: 50, few: 10, side_by_side: 20, held: 400, page: usize::MAX },
    Bounds { portion: 3, few: 10_000, side_by_side: 0, held: 0, page: usize::MAX },
    Bounds::OF_A_PAGE,
];

/// Over a change of the clock in Berlin.
const FROM: &str = "2026-03-12T00:00:00Z";
const DAYS: u64 = 40;

/// A report that somebody may ask for.
fn random(chance: &Entropy) -> ReportQuery {
    let groups = pick(chance, &GROUPS).to_vec();
    let mut filter = ReportFilter::default();
    if groups.contains(&Group::Meter) {
        let named = groups.contains(&Group::Model) && chance.u64_below(2) == 0;
        filter.model = (!named).then(|| model(pick(chance, &["m", "m1"])));
    } else {
        filter.member = (chance.u64_below(3) == 0).then(|| id::<bursar_id::kinds::User>(chance.u64_below(7)));
        filter.project = (chance.u64_below(4) == 0).then(|| project(pick(chance, &["a", "ab"])));
        filter.model = (chance.u64_below(4) == 0).then(|| model(pick(chance, &["m", "n"])));
    }
    let hour = || Span::from_hours(chance.u64_below(DAYS * 24));
    let (one, other) = (at(FROM).saturating_add(hour()), at(FROM).saturating_add(hour()));
    let (from, to) = match chance.u64_below(3) {
        0 => (one.min(other).saturating_add(Span::SECOND), one.max(other).saturating_add(Span::SECOND)),
        1 => (Timestamp::MIN, one.max(other)),
        _ => (Timestamp::MIN, Timestamp::MAX),
    };
    let interval = pick(chance, &INTERVALS);
    ReportQuery { from, to, groups, interval, zone: pick(chance, &ZONES).parse().unwrap(), filter }
}

fn whole(groups: &[Group], interval: Interval) -> ReportQuery {
    ReportQuery { groups: groups.to_vec(), ..query("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", interval) }
}

/// Each of so many members in each of so many days, with two projects and two models, at noon.
fn busy(days: u64, members: u64) -> Used {
    let mut used = Used::default();
    for day in 0..days {
        let noon = at(FROM).saturating_add(Span::from_days(day)).saturating_add(Span::from_hours(12));
        for member in 0..members {
            for names in [(None, Some("m")), (Some("a"), Some("m")), (Some("a"), Some("n"))] {
                used.add(noon, member, names);
            }
        }
    }
    used
}

/// Up to when all days are rolled up.
fn all() -> Timestamp {
    at("2026-12-31T12:00:00Z")
}

engines! {
    async fn pages_are_the_report_whatever_is_asked(db: TestDb) {
        let chance = Entropy::seeded(81);
        let used = Used::random(&chance, at(FROM), (DAYS, 7, 500));
        let store = used.stored(&db, at("2026-04-03T12:00:00Z")).await;
        for number in 0..150 {
            let (query, bounds) = (random(&chance), pick(&chance, &BOUNDS));
            let expected = used.report(&query);
            let size = 1 + expected.len() / (1 + usize::try_from(chance.u64_below(12)).unwrap());
            let (lines, _) = Pages::new(&store, &query, size, bounds).rest().await.unwrap();
            assert!(lines == expected, "report {number}: {query:?} in pages of {size} by {bounds:?}: {lines:#?}\n{expected:#?}");
        }
    }

    async fn a_page_that_may_read_little_is_short_and_the_report_is_whole(db: TestDb) {
        let chance = Entropy::seeded(82);
        let used = Used::random(&chance, at(FROM), (DAYS, 7, 500));
        let store = used.stored(&db, at("2026-04-03T12:00:00Z")).await;
        let (mut short, mut refused) = (0, 0);
        for number in 0..200 {
            let query = random(&chance);
            let page = 100 + usize::try_from(chance.u64_below(400)).unwrap();
            let bounds = Bounds { portion: 30, few: 20, side_by_side: 30, held: 60, page };
            let expected = used.report(&query);
            // As many pages as it has anyway, and all on one if that may be.
            let size = 1 + if number % 2 == 0 { expected.len() } else { expected.len() / 4 };
            let mut pages = Pages::new(&store, &query, size, bounds);
            match pages.rest().await {
                Ok((lines, costs)) => {
                    assert!(lines == expected, "report {number}: {query:?} by {bounds:?}: {lines:#?}\n{expected:#?}");
                    // Looking for what is read side by side is bounded by how much of that there may be.
                    let most = page + bounds.side_by_side;
                    assert!(costs.iter().all(|read| *read <= most), "report {number}: {costs:?} of {page}");
                    short += usize::from(costs.len() > 1 + expected.len() / size);
                }
                Err(Error::ReportTooLarge(limit)) if limit == page => refused += 1,
                Err(error) => panic!("report {number}: {query:?}: {error}"),
            }
        }
        assert!(short > 0 && refused > 0, "both happen: {short} with short pages, {refused} refused");
    }

    async fn what_fits_into_a_page_by_its_intervals_or_members_is_never_refused(db: TestDb) {
        let used = busy(60, 40);
        let store = used.stored(&db, all()).await;
        // All is 7,200 rows; a month's 3,720 at most, a day's 120, and one member's 180.
        let bounds = Bounds { portion: 100, few: 200, side_by_side: 100, held: 800, page: 4_100 };
        let cases: [(&[Group], Interval, bool); 8] = [
            (&[Group::Project], Interval::Month, true),
            (&[], Interval::Month, true),
            (&[Group::Member], Interval::Whole, true),
            (&[Group::Member, Group::Model], Interval::Whole, true),
            (&[Group::Member, Group::Project, Group::Model], Interval::Hour, true),
            (&[Group::Project, Group::Model], Interval::Day, true),
            (&[Group::Project], Interval::Whole, false),
            (&[], Interval::Whole, false),
        ];
        for (groups, interval, fits) in cases {
            let query = whole(groups, interval);
            let expected = used.report(&query);
            for size in [1.max(expected.len() / 20), 1_000] {
                match Pages::new(&store, &query, size, bounds).rest().await {
                    Ok((lines, _)) => assert!(fits && lines == expected, "{groups:?} {interval:?} by {size}"),
                    Err(error) => {
                        let too_large = matches!(error, Error::ReportTooLarge(4_100));
                        assert!(!fits && too_large, "{groups:?} {interval:?} by {size}: {error}");
                    }
                }
            }
        }
        let one = ReportFilter { member: Some(id(7)), ..ReportFilter::default() };
        let query = ReportQuery { filter: one, ..whole(&[], Interval::Whole) };
        let (lines, costs) = Pages::new(&store, &query, 10, bounds).rest().await.unwrap();
        assert_eq!((lines, costs.len()), (used.report(&query), 1), "one member's is few");
    }

    async fn nothing_that_matches_is_found_in_empty_pages(db: TestDb) {
        let used = busy(20, 10);
        let store = used.stored(&db, all()).await;
        let nothing = ReportFilter { project: Some(project("nowhere")), ..ReportFilter::default() };
        let bounds = Bounds { portion: 20, few: 20, side_by_side: 100, held: 400, page: 130 };
        for (groups, interval) in [(vec![Group::Project], Interval::Day), (vec![Group::Member], Interval::Hour)] {
            let query = ReportQuery { filter: nothing.clone(), ..whole(&groups, interval) };
            let (lines, costs) = Pages::new(&store, &query, 10, bounds).rest().await.unwrap();
            assert!(lines.is_empty() && costs.len() > 4, "{groups:?}: {costs:?}");
        }
    }

    async fn what_a_page_costs_does_not_grow_with_the_time_before_it(db: TestDb) {
        let used = busy(60, 20);
        let store = used.stored(&db, at("2026-04-20T12:00:00Z")).await;
        let bounds = Bounds { portion: 30, few: 60, side_by_side: 1_000, held: 300, page: 100_000 };
        for interval in [Interval::Hour, Interval::Day] {
            let query = whole(&[Group::Member, Group::Project, Group::Model], interval);
            let (lines, costs) = Pages::new(&store, &query, 20, bounds).rest().await.unwrap();
            assert_eq!(lines, used.report(&query));
            assert_eq!(costs.len(), 180);
            let most = costs.iter().max().unwrap();
            assert!(*most <= 20 + 2 * bounds.portion + 2 * bounds.few, "{interval:?}: {costs:?}");
        }
    }

    async fn what_a_page_costs_does_not_grow_with_the_lines_before_it_and_all_pages_cost_little_more_than_all_rows(db: TestDb) {
        let used = busy(60, 40);
        let store = used.stored(&db, at("2026-04-20T12:00:00Z")).await;
        let bounds = Bounds { portion: 30, few: 60, side_by_side: 1_000, held: 600, page: 100_000 };
        let (rows, days) = (used.hours.len(), 60);
        let groupings: [&[Group]; 4] = [
            &[Group::Member],
            &[Group::Member, Group::Project],
            &[Group::Member, Group::Project, Group::Model],
            &[Group::Member, Group::Model],
        ];
        for groups in groupings {
            let query = whole(groups, Interval::Whole);
            let (lines, costs) = Pages::new(&store, &query, lines_of(&used, &query) / 8, bounds).rest().await.unwrap();
            assert_eq!(lines, used.report(&query));
            // Of each of nine pages: an eighth of the rows and one more line's or member's, what is read ahead of each day, each
            // day's place, and what is read to see that they are many.
            let most = rows / 8 + 2 * rows / 40 + days * bounds.each(days) + days + bounds.few + bounds.portion;
            assert!(costs.iter().all(|read| *read <= most), "{groups:?}: {costs:?}, at most {most} of {rows}");
            let all: usize = costs.iter().sum();
            assert!(all <= rows + costs.len() * (most - rows / 8), "{groups:?}: {all} of {rows}");
        }
        // One member's report costs what that member used.
        let query = ReportQuery { filter: only(id(7)), ..whole(&[Group::Project], Interval::Whole) };
        let (lines, costs) = Pages::new(&store, &query, 10, bounds).rest().await.unwrap();
        assert_eq!((lines, costs.len()), (used.report(&query), 1));
        assert!(costs[0] <= 3 * days + days + bounds.few + bounds.portion, "{costs:?}");
    }
}

fn only(member: UserId) -> ReportFilter {
    ReportFilter { member: Some(member), ..ReportFilter::default() }
}

fn lines_of(used: &Used, query: &ReportQuery) -> usize {
    used.report(query).len()
}
