//! Keeping catalogs and reading them again, on both engines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bursar_db::Db;
use bursar_testkit::{at, engines};
use sqlx::AssertSqlSafe;

use super::{CatalogSource, CatalogUseCases, assortment, keep};
use crate::catalog;
use crate::domain::Catalog;
use crate::error::Error;
use crate::store::MIGRATIONS;

const NOON: &str = "2026-01-15T12:00:00Z";
const LATER: &str = "2026-02-15T12:00:00Z";

/// A catalog with a display name of its own.
fn named(name: &str) -> Arc<Catalog> {
    let built_in = catalog::canonical(&catalog::load(None).unwrap()).unwrap();
    Arc::new(catalog::from_canonical(&built_in.replace("Veo 3.1", name)).unwrap())
}

async fn version(db: &Db, name: &str, now: &str) -> u32 {
    keep(db, named(name), at(now)).await.unwrap().version.get()
}

async fn sql(db: &Db, text: &str) {
    let text = AssertSqlSafe(text.to_owned());
    match db {
        Db::Sqlite { write, .. } => sqlx::raw_sql(text).execute(write.pool()).await.map(|_| ()).unwrap(),
        Db::Postgres(pool) => sqlx::raw_sql(text).execute(pool.pool()).await.map(|_| ()).unwrap(),
    }
}

async fn use_cases(db: &Db, name: &str) -> CatalogUseCases {
    let present = keep(db, named(name), at(LATER)).await.unwrap();
    let sold = assortment(db, present, at(LATER)).await.unwrap();
    CatalogUseCases { db: db.clone(), present: CatalogSource::new(sold).handle() }
}

engines! {
    async fn a_catalog_keeps_its_version(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        assert_eq!(version(&db, "First", NOON).await, 1);
        assert_eq!(version(&db, "First", LATER).await, 1, "it was used before");
        assert_eq!(version(&db, "Second", LATER).await, 2);
        assert_eq!(version(&db, "First", LATER).await, 1, "whatever was used in between");
        assert_eq!(version(&db, "Third", LATER).await, 3);

        let catalogs = use_cases(&db, "Second").await;
        let first = catalogs.version(1).await.unwrap();
        assert_eq!((first.version.get(), first.first_used_at), (1, at(NOON)));
        assert_eq!(first.catalog, named("First"), "it reads back as it was");
        for number in [0, 2] {
            let present = catalogs.version(number).await.unwrap();
            assert_eq!((present.version.get(), &present.catalog), (2, &named("Second")), "version {number}");
        }
        for number in [4, u32::MAX] {
            let missing = catalogs.version(number).await;
            assert!(matches!(missing, Err(Error::CatalogVersionNotFound(it)) if it == number), "{missing:?}");
        }
    }

    async fn replicas_that_start_at_once_agree(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let racers = (0..16).map(|number| {
            let db = db.clone();
            tokio::spawn(async move { (number % 4, version(&db, &format!("Catalog {}", number % 4), NOON).await) })
        });
        let mut versions: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for racer in racers.collect::<Vec<_>>() {
            let (catalog, version) = racer.await.unwrap();
            versions.entry(catalog).or_default().insert(version);
        }
        assert!(versions.values().all(|it| it.len() == 1), "one version for each catalog: {versions:?}");
        let given: BTreeSet<u32> = versions.into_values().flatten().collect();
        assert_eq!(given, BTreeSet::from([1, 2, 3, 4]), "without gaps");
    }

    async fn a_program_begins_with_what_earlier_catalogs_had(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let built_in = catalog::canonical(&catalog::load(None).unwrap()).unwrap();
        let calling = |plan: &str| {
            let text = built_in.replace(r#""id":"business""#, &format!(r#""id":"{plan}""#));
            Arc::new(catalog::from_canonical(&text).unwrap())
        };
        for plan in ["gold", "tin", "lead"] {
            keep(&db, calling(plan), at(NOON)).await.unwrap();
        }
        let begins = async || {
            let present = keep(&db, calling("tin"), at(LATER)).await.unwrap();
            let sold = assortment(&db, present, at(LATER)).await.unwrap();
            ["gold", "tin", "lead", "silver"].map(|id| (sold.catalog().plan(id).is_some(), sold.plan_of(id).is_some()))
        };
        assert_eq!(begins().await, [(false, true), (true, true), (false, true), (false, false)]);
        // What cannot be read any more keeps nobody from selling.
        sql(&db, "UPDATE catalogs SET format = 1000 WHERE version = 1").await;
        sql(&db, "UPDATE catalogs SET body = REPLACE(body, 'Veo', 'Neo') WHERE version = 3").await;
        assert_eq!(begins().await, [(false, false), (true, true), (false, false), (false, false)]);
    }

    async fn what_cannot_be_read_says_why(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        for name in ["First", "Second"] {
            version(&db, name, NOON).await;
        }
        let catalogs = use_cases(&db, "Third").await;
        sql(&db, "UPDATE catalogs SET format = 1000 WHERE version = 1").await;
        sql(&db, "UPDATE catalogs SET body = REPLACE(body, 'Second', 'Forged') WHERE version = 2").await;
        let newer = catalogs.version(1).await;
        assert!(matches!(newer, Err(Error::NewerFormat)), "{newer:?}");
        let forged = catalogs.version(2).await;
        assert!(matches!(forged, Err(Error::Store(bursar_db::DbError::Corrupt { .. }))), "{forged:?}");
        assert_eq!(catalogs.version(3).await.unwrap().catalog, named("Third"));
    }
}
