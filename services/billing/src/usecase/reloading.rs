//! Reading the catalog's file anew, and that of the taxes, while everything goes on.
//!
//! This process sells and prices by the new catalog from one instant on, or by the old one as before: a file with a flaw
//! changes nothing, of the other one neither. Each process has files and a catalog in use of its own. The others do not
//! follow: a version says in which order catalogs were first used, not which of them is wanted, so whoever followed the
//! greatest could never be brought back to an earlier one, nor keep apart from a replica whose file is older.

use std::path::PathBuf;
use std::sync::Arc;

use bursar_db::{Asker, Db, DbError};
use bursar_events::Outbox;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, Mutations};
use bursar_time::Clock;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::Instrument as _;

use super::catalogs::{CatalogHandle, CatalogSource, keep, keep_in};
use super::invoices::Taxes;
use super::keeping;
use crate::catalog::taxes::{self, TaxError};
use crate::catalog::{self, CatalogError};
use crate::domain::{Catalog, CatalogVersion, KeptCatalog, TaxProvider};
use crate::error::Error;
use crate::lane::RulesSource;

/// How many flaws of a file the log tells, and how many characters of each: more than anybody reads.
const LOGGED: usize = 100;
const LOGGED_CHARACTERS: usize = 500;

/// The settings that name the files.
const CATALOG_FILE: &str = "catalog_file";
const TAX_FILE: &str = "invoices.tax_file";

/// Replaces the catalog that this process sells and prices by. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reloading(Arc<Parts>);

struct Parts {
    /// The catalog's, and that of the taxes.
    files: (Option<PathBuf>, Option<PathBuf>),
    clock: Clock,
    mutations: Mutations<Outbox>,
    outbox: Outbox,
    db: Db,
    source: CatalogSource,
    taxes: Taxes,
    rules: Arc<RulesSource>,
    meters: Meters,
    /// The file that is read last is the one that is used, so one is read and put to use at a time.
    turn: Arc<Mutex<()>>,
}

/// Which catalog is in use since, and which one was until then: the same, where the file says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reloaded {
    pub(crate) kept: KeptCatalog,
    pub(crate) before: CatalogVersion,
    /// The taxes that are added to its prices since.
    taxes: Arc<TaxProvider>,
}

/// What the files say.
struct Said {
    catalog: Arc<Catalog>,
    taxes: Arc<TaxProvider>,
}

impl Reloading {
    /// Reads the catalog's file (the built-in catalog without one) into what is sold and the rules by which it is priced, and
    /// that of the taxes (none without one) into those that are added.
    pub(crate) fn new(
        files: (Option<PathBuf>, Option<PathBuf>),
        (source, taxes): (CatalogSource, Taxes),
        rules: &Arc<RulesSource>,
        (db, clock, mutations, outbox): (&Db, &Clock, &Mutations<Outbox>, &Outbox),
        meter: &Meter,
    ) -> Self {
        let meters = Meters::new(meter);
        meters.version.record(source.handle().current().present().version.get().into(), &[]);
        Self(Arc::new(Parts {
            files,
            clock: clock.clone(),
            mutations: mutations.clone(),
            outbox: outbox.clone(),
            db: db.clone(),
            source,
            taxes,
            rules: Arc::clone(rules),
            meters,
            turn: Arc::default(),
        }))
    }

    /// Where it is read what is sold.
    pub(crate) fn handle(&self) -> CatalogHandle {
        self.0.source.handle()
    }

    /// Reloads because an operator asks for it.
    pub(crate) async fn asked(&self, asked: &Asked<()>) -> Result<Answer<Reloaded>, Error> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        // A task of its own: whoever hangs up leaves no catalog that is written down as used and is not.
        let (reloading, asked) = (self.clone(), asked.clone());
        let work = Asker::current().scope(async move { reloading.by_request(turn, &asked).await });
        tokio::spawn(work.in_current_span()).await.map_err(|_| Error::Failed)?
    }

    async fn by_request(&self, _turn: OwnedMutexGuard<()>, asked: &Asked<()>) -> Result<Answer<Reloaded>, Error> {
        let read = self.read().await;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.replace(&mut m, asked, read).await;
        let answer = self.0.mutations.end(m, done).await;
        match &answer {
            Ok(Answer::New(reloaded)) => self.put_to_use(reloaded).await,
            // Nothing was asked for that is not done, or nothing that could be done: the file has no part in it.
            Ok(Answer::Replay(_)) | Err(Error::Problem(_)) => {}
            Err(error) => self.told_of(error),
        }
        answer
    }

    async fn replace(
        &self,
        m: &mut Mutation,
        asked: &Asked<()>,
        read: Result<Said, Error>,
    ) -> Result<Done<Reloaded, Payload>, Error> {
        m.admit(None);
        if m.open(asked).await?.is_none() {
            return Ok(Done::Replay);
        }
        let (now, Said { catalog, taxes }) = (m.now(), read?);
        let kept = keep_in(m.tx(), catalog, now).await?;
        m.about(&kept.version);
        Ok(Done::New(self.of(kept, taxes), Vec::new()))
    }

    /// Reloads because the process was told to read its files anew; what comes of it is told to the log.
    pub(crate) async fn told(self) {
        let _turn = self.0.turn.lock().await;
        match self.by_signal().await {
            Ok(reloaded) => self.put_to_use(&reloaded).await,
            Err(error) => self.told_of(&error),
        }
    }

    async fn by_signal(&self) -> Result<Reloaded, Error> {
        let Said { catalog, taxes } = self.read().await?;
        let now = self.0.clock.believed().map_err(DbError::Clock)?;
        Ok(self.of(keep(&self.0.db, catalog, now).await?, taxes))
    }

    fn of(&self, kept: KeptCatalog, taxes: Arc<TaxProvider>) -> Reloaded {
        Reloaded { kept, before: self.handle().current().present().version, taxes }
    }

    /// The files as they are now: both can be used, or neither is. On a network's file system it may take its time.
    async fn read(&self) -> Result<Said, Error> {
        let (catalog, taxes) = self.0.files.clone();
        let reading =
            tokio::task::spawn_blocking(move || (catalog::load(catalog.as_deref()), taxes::load(taxes.as_deref())));
        match reading.await.map_err(|_| Error::Failed)? {
            (Ok(catalog), Ok(taxes)) => Ok(Said { catalog: Arc::new(catalog), taxes: Arc::new(taxes) }),
            (catalog, taxes) => {
                let catalog = catalog.err().map_or_else(Vec::new, CatalogError::into_flaws);
                let taxes = taxes.err().map_or_else(Vec::new, TaxError::into_flaws);
                let flaws = catalog.into_iter().map(|flaw| (CATALOG_FILE, flaw));
                Err(Error::CatalogInvalid(flaws.chain(taxes.into_iter().map(|flaw| (TAX_FILE, flaw))).collect()))
            }
        }
    }

    /// From here on it is sold and priced by this one. What earlier programs have sold stays what it is by the one before.
    async fn put_to_use(&self, reloaded: &Reloaded) {
        let Reloaded { kept, before, taxes } = reloaded;
        self.0.meters.loaded(kept.version);
        if self.0.taxes.replace(taxes) {
            tracing::info!("other taxes are in use");
        }
        if kept.version == *before {
            tracing::info!(version = %kept.version, "the catalog's file was read again: it says the same");
            return;
        }
        let (present, now) = (self.handle().current(), self.0.clock.now());
        if let Err(error) = Box::pin(keeping::round(&self.0.db, &self.0.outbox, &present)).await {
            tracing::warn!(%error, "what earlier programs have sold includes what the other catalog says");
        }
        let next = Arc::new(present.followed_by(Arc::new(kept.clone()), now));
        self.0.rules.change(|rules| rules.price_by(&next));
        self.0.source.replace(next);
        tracing::info!(version = %kept.version, %before, "another catalog is in use");
    }

    /// It stays as it was.
    fn told_of(&self, error: &Error) {
        let in_use = self.handle().current().present().version;
        let Error::CatalogInvalid(flaws) = error else {
            self.0.meters.failed();
            tracing::warn!(%in_use, %error, "the catalog was not reloaded: the one in use stays");
            return;
        };
        self.0.meters.refused();
        for (setting, flaw) in flaws.iter().take(LOGGED) {
            let flaw: String = flaw.trim_end().chars().take(LOGGED_CHARACTERS).collect();
            tracing::warn!(setting, %flaw, "a file that was read anew is wrong");
        }
        tracing::warn!(%in_use, flaws = flaws.len(), "the catalog was not reloaded: the one in use stays");
    }
}

/// What operators see of it.
struct Meters {
    loads: Counter<u64>,
    refused: Gauge<u64>,
    version: Gauge<u64>,
}

impl Meters {
    fn new(meter: &Meter) -> Self {
        Self {
            loads: meter
                .u64_counter("billing.catalog.loads")
                .with_unit("{load}")
                .with_description(
                    "Readings of the catalog's file since the start, by outcome: loaded, refused, failed.",
                )
                .build(),
            refused: meter
                .u64_gauge("billing.catalog.refused")
                .with_description("1 while the catalog's file cannot be used and what was read before stays in use.")
                .build(),
            version: meter
                .u64_gauge("billing.catalog.version")
                .with_description("The version of the catalog that this process sells and prices by.")
                .build(),
        }
    }

    fn loaded(&self, version: CatalogVersion) {
        self.count("loaded");
        self.refused.record(0, &[]);
        self.version.record(version.get().into(), &[]);
    }

    fn refused(&self) {
        self.count("refused");
        self.refused.record(1, &[]);
    }

    /// The file was not what failed.
    fn failed(&self) {
        self.count("failed");
    }

    fn count(&self, outcome: &'static str) {
        self.loads.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}
