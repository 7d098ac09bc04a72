//! Usage in a store, and the report of it that a reader makes who has all of it in memory.

use std::collections::BTreeMap;

use bursar_db::Db;
use bursar_id::OwnerId;
use bursar_testkit::{TestDb, id, personal};

use super::super::reading::{Bounds, Found, read};
use super::super::{Position, ReportLine};
use super::*;
use crate::domain::{Account, Changes, MeterDelta, MeterName, UsageDelta};
use crate::store::write::{Batch, Layout, Unsaved, write};
use crate::store::{MIGRATIONS, accounts};
use crate::usecase::rollups;

/// Some names are the beginning of others.
const PROJECTS: [Option<&str>; 6] = [None, Some("a"), Some("a b"), Some("ab"), Some("ä"), Some("z")];
const MODELS: [Option<&str>; 5] = [None, Some("m"), Some("m-1"), Some("m1"), Some("n")];
const METERS: [&str; 3] = ["in", "input", "out"];

/// One owner's usage.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) hours: BTreeMap<UsageKey, UsageTotals>,
    pub(super) meters: BTreeMap<MeterKey, MeterTotals>,
}

pub(super) fn owner() -> OwnerId {
    personal(1)
}

pub(super) fn project(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

pub(super) fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

/// One of these.
pub(super) fn pick<T: Clone>(chance: &Entropy, of: &[T]) -> T {
    of[usize::try_from(chance.u64_below(of.len() as u64)).unwrap()].clone()
}

impl Used {
    /// One hour of it.
    pub(super) fn add(&mut self, hour: Timestamp, member: u64, names: (Option<&str>, Option<&str>)) {
        let (project, model) = (names.0.map(project), names.1.map(model));
        let key = UsageKey { hour, member: id(member), project, model };
        let more = i64::try_from(self.hours.len()).unwrap() + 1;
        self.hours.entry(key).or_default().add(&UsageTotals { charged: more, refunded: more % 7, charges: 1 });
    }

    /// So many hours of usage of some members in the days after a time, and as many of meters.
    pub(super) fn random(chance: &Entropy, from: Timestamp, (days, members, rows): (u64, u64, usize)) -> Self {
        let mut used = Self::default();
        for _ in 0..rows {
            let hour = from.saturating_add(Span::from_hours(chance.u64_below(days * 24)));
            used.add(hour, chance.u64_below(members), (pick(chance, &PROJECTS), pick(chance, &MODELS)));
            let meter = MeterName::parse(pick(chance, &METERS)).unwrap();
            let key = MeterKey { hour, model: model(pick(chance, &["m", "m-1", "m1"])), meter };
            used.meters.entry(key).or_default().add(&MeterTotals { quantity: 3, charged: 5 });
        }
        used
    }

    /// The same in a store, its days rolled up as far as that time.
    pub(super) async fn stored(&self, db: &TestDb, rolled_up: Timestamp) -> Db {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = db.begin().await.unwrap();
        accounts::open(&mut tx, &[owner()], Timestamp::MIN).await.unwrap();
        let account: Account = accounts::find(&mut tx, owner()).await.unwrap().unwrap();
        let usage: Vec<_> = self.hours.iter().map(|(key, add)| UsageDelta { key: key.clone(), add: *add }).collect();
        let meters: Vec<_> = self.meters.iter().map(|(key, add)| MeterDelta { key: key.clone(), add: *add }).collect();
        let changes = Changes {
            owner: owner(),
            account,
            lapse_moved: false,
            crossed: false,
            entries: Vec::new(),
            lots_inserted: Vec::new(),
            lots_updated: Vec::new(),
            holds_inserted: Vec::new(),
            holds_updated: Vec::new(),
            usage,
            meters,
            used: Vec::new(),
            alerts: Vec::new(),
            allowance_alerts: Vec::new(),
        };
        let unsaved = [Unsaved { changes, next_due: None }];
        let batch = Batch { basis: vec![(owner(), &account)], unsaved: &unsaved };
        assert!(write(&mut tx, Layout::Together, &batch).await.unwrap(), "the account is as the batch rests on it");
        tx.commit().await.unwrap();
        rollups::round(&db, rollups::until(rolled_up)).await.unwrap();
        db
    }

    /// The whole report, by adding up everything.
    pub(super) fn report(&self, query: &ReportQuery) -> Shown {
        let from = query.from.start_of_hour();
        let within = |hour: Timestamp| hour >= from && hour < query.to;
        let starts_at = |hour: Timestamp| match query.interval {
            Interval::Whole => from,
            Interval::Hour => hour,
            Interval::Day => query.zone.day(hour).0,
            Interval::Month => query.zone.month(hour).0,
        };
        if query.groups.contains(&Group::Meter) {
            let mut lines: BTreeMap<ReportKey, MeterTotals> = BTreeMap::new();
            let admitted = |key: &MeterKey| query.filter.model.as_ref().is_none_or(|it| *it == key.model);
            for (key, totals) in self.meters.iter().filter(|(key, _)| within(key.hour) && admitted(key)) {
                lines.entry(counted(query, starts_at(key.hour), key)).or_default().add(totals);
            }
            return lines.into_iter().map(|(key, it)| (key, ReportLine::Meter(it))).collect();
        }
        let mut lines: BTreeMap<ReportKey, UsageTotals> = BTreeMap::new();
        for (key, totals) in self.hours.iter().filter(|(key, _)| within(key.hour) && query.filter.admits(key)) {
            lines.entry(used(query, starts_at(key.hour), key)).or_default().add(totals);
        }
        lines.into_iter().map(|(key, it)| (key, ReportLine::Usage(it))).collect()
    }
}

/// Lines in their order.
pub(super) type Shown = Vec<(ReportKey, ReportLine)>;

/// One page after another.
pub(super) struct Pages<'a> {
    pub(super) db: &'a Db,
    pub(super) query: &'a ReportQuery,
    pub(super) size: usize,
    pub(super) bounds: Bounds,
    /// Where the next one begins.
    after: Option<Position>,
    over: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(db: &'a Db, query: &'a ReportQuery, size: usize, bounds: Bounds) -> Self {
        Self { db, query, size, bounds, after: None, over: false }
    }

    /// The next page, as `ReportUseCases::page` makes it, and how many rows that took; nothing after the last.
    pub(super) async fn next(&mut self) -> Result<Option<(Shown, usize)>, Error> {
        if self.over {
            return Ok(None);
        }
        let mut tx = self.db.read().await.unwrap();
        let asked = (self.query, self.after.as_ref());
        let Found { mut lines, next, read } = read(&mut tx, owner(), asked, self.size + 1, self.bounds).await?;
        let more = lines.len() > self.size;
        lines.truncate(self.size);
        let next = next.or_else(|| lines.last().filter(|_| more).map(|(key, _)| Position::after(key)));
        self.over = next.is_none();
        // As it travels in a page's token.
        self.after = next.map(|it| serde_json::from_str(&serde_json::to_string(&it).unwrap()).unwrap());
        Ok(Some((lines, read)))
    }

    /// All that are left, one after the other, and what each cost.
    pub(super) async fn rest(&mut self) -> Result<(Shown, Vec<usize>), Error> {
        let (mut lines, mut costs) = (Vec::new(), Vec::new());
        while let Some((page, read)) = self.next().await? {
            lines.extend(page);
            costs.push(read);
            assert!(costs.len() < 10_000, "it ends some time: {:?}", self.query);
        }
        Ok((lines, costs))
    }
}
