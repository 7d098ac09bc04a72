//! Whether a service's clock is to be decided by ([`keep_time`]).
//!
//! On PostgreSQL each replica compares its clock with the database's when it starts and every [`LOOK_EVERY`]: one that
//! differs by more than `max_clock_difference` decides nothing (`CLOCK_DIFFERS`), does no job and is not ready, until it
//! agrees again. SQLite has no other clock: there the clock is compared with how much time has really passed, and at the
//! start with the latest time at which the store was used. One that leaps forward decides nothing for [`GRACE`]; if it
//! stays there (the machine may have slept), it is believed. One that is set back goes on from where it was.
//!
//! Between two looks a clock that leaps is doubted at once ([`Clock::believed`]).
//!
//! A test clock is always believed. It begins where the store was left, since time never goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bursar_db::{Comparison, Db, DbError, Engine};
use bursar_time::{Clock, Doubt, Reading, Span};
use opentelemetry::{KeyValue, metrics::Meter};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Env, Service, Settings};

/// How often the clock is looked at.
const LOOK_EVERY: Span = Span::from_secs(2);

/// How long a clock that leapt forward is not believed where there is no other one to ask.
const GRACE: Duration = Duration::from_secs(30);

/// How often it is noted that the store is used.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Looks at the clock by which a service is about to decide, and goes on looking until everything ends. Gives the
/// surroundings with the clock that is judged by this store.
pub async fn keep_time(service: Service, db: &Db, settings: &Settings, env: Env) -> anyhow::Result<Env> {
    let clock = env.clock.judged_apart();
    let ahead = Arc::new(AtomicI64::new(0));
    measure(service, &clock, &ahead, &env.meter);
    let keeper = Keeper {
        service,
        db: db.clone(),
        clock: clock.clone(),
        most: settings.max_clock_difference.into(),
        ahead,
        leapt: None,
        noted: None,
        told: None,
        set_back: false,
    };
    let keeper = keeper.begin().await?;
    env.tasks.spawn(keeper.run(env.halt.clone()));
    Ok(Env { clock, ..env })
}

/// Shows the difference to whoever looks at the metrics.
fn measure(service: Service, clock: &Clock, ahead: &Arc<AtomicI64>, meter: &Meter) {
    let (clock, ahead) = (clock.clone(), Arc::clone(ahead));
    // The meter keeps the callback; the instrument itself is not needed again.
    let _gauge = meter
        .i64_observable_gauge("bursar.clock.difference")
        .with_unit("ms")
        .with_description(
            "How far ahead this replica's clock is (negative: behind): of the database's, or of the time that passed.",
        )
        .with_callback(move |gauge| {
            let micros = match clock.doubt() {
                Some(Doubt::Leapt { by, ahead: true }) => by.as_micros(),
                Some(doubt @ (Doubt::Leapt { .. } | Doubt::Behind { .. })) => -doubt.by().as_micros(),
                Some(Doubt::Differs { .. }) | None => ahead.load(Ordering::Relaxed),
            };
            gauge.observe(micros / 1_000, &[KeyValue::new("service", service.name())]);
        })
        .build();
}

/// Looks at one service's clock.
struct Keeper {
    service: Service,
    db: Db,
    clock: Clock,
    /// How far it may be from the database's.
    most: Span,
    /// By how much it is, in microseconds.
    ahead: Arc<AtomicI64>,
    /// Since when it has been seen to have leapt.
    leapt: Option<Instant>,
    /// When it was last noted that the store is used.
    noted: Option<Instant>,
    /// What was said about it last.
    told: Option<Doubt>,
    /// Whether the system's clock is behind this one, and that was said.
    set_back: bool,
}

impl Keeper {
    async fn begin(mut self) -> Result<Self, DbError> {
        if self.clock.is_test() {
            let until = self.db.used_until().await?;
            // It may be there already, by another service of this process.
            if until > self.clock.now() && self.clock.set(until).is_ok() {
                tracing::info!(service = %self.service, now = %until, "the test clock begins where the store was left");
            }
            self.db.use_at(self.clock.now()).await?;
            return Ok(self);
        }
        if self.db.engine() == Engine::Sqlite {
            let (now, used_until) = (self.clock.now(), self.db.used_until().await?);
            if used_until.since(now) > self.most {
                self.clock.distrust(Doubt::Behind { now, used_until });
            }
        }
        self.look().await?;
        Ok(self)
    }

    async fn run(mut self, halt: CancellationToken) {
        while !halt.is_cancelled() {
            // Taken before looking, so that no leap of a test clock is missed.
            let again = self.clock.sleep(LOOK_EVERY);
            if let Err(error) = self.look().await {
                tracing::debug!(service = %self.service, %error, "the store cannot be asked about the time");
            }
            tokio::select! {
                () = halt.cancelled() => {}
                () = again => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), DbError> {
        if self.clock.is_test() {
            return self.db.use_at(self.clock.now()).await;
        }
        let looked = match self.db.compare(&self.clock).await {
            Ok(Some((reading, comparison))) => {
                self.by_the_database(reading, comparison);
                Ok(())
            }
            Ok(None) => self.by_itself().await,
            Err(error) => Err(error),
        };
        self.tell();
        looked
    }

    /// The database's clock decides.
    fn by_the_database(&mut self, reading: Reading, comparison: Comparison) {
        self.ahead.store(comparison.ahead, Ordering::Relaxed);
        let (reading, found) = match comparison.doubt(self.most) {
            None => (reading, comparison),
            Some(doubt) => {
                // The system's clock may have been set right, and this one goes on from where it was.
                let system = Comparison { ahead: comparison.ahead.saturating_add(self.clock.system_lead()) };
                if system.doubt(self.most).is_some() {
                    self.clock.distrust(doubt);
                    return;
                }
                self.clock.follow_system();
                self.ahead.store(system.ahead, Ordering::Relaxed);
                (self.clock.read(), system)
            }
        };
        // Both together keep what is written within the bound.
        self.clock.confirm(reading, self.most.saturating_sub(found.difference()).max(Span::from_millis(100)));
    }

    /// There is no other clock than this machine's.
    async fn by_itself(&mut self) -> Result<(), DbError> {
        let reading = self.clock.read();
        match self.clock.doubt_about(reading) {
            None => {
                self.leapt = None;
                self.clock.confirm(reading, self.most);
            }
            Some(Doubt::Behind { .. }) => {
                let used_until = self.db.used_until().await?;
                if used_until.since(reading.shown()) <= self.most {
                    self.clock.confirm(reading, self.most);
                }
            }
            Some(Doubt::Leapt { .. } | Doubt::Differs { .. }) => {
                let since = *self.leapt.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE {
                    tracing::warn!(service = %self.service, now = %self.clock.now(), "the clock stays where it has leapt to: it is believed");
                    self.clock.follow_system();
                    self.clock.confirm(self.clock.read(), self.most);
                    self.leapt = None;
                }
            }
        }
        let due = self.noted.is_none_or(|noted| noted.elapsed() >= NOTE_EVERY);
        if due && let Ok(now) = self.clock.believed() {
            self.db.use_at(now).await?;
            self.noted = Some(Instant::now());
        }
        Ok(())
    }

    /// Says what has changed.
    fn tell(&mut self) {
        let doubt = self.clock.doubt();
        let service = self.service;
        match (doubt, self.told) {
            (Some(doubt), None) => tracing::warn!(%service, %doubt, "nothing is decided by this clock"),
            (None, Some(_)) => tracing::info!(%service, "the clock is right again"),
            _ => {}
        }
        self.told = doubt;
        let lead = self.clock.system_lead();
        let behind = Span::from_micros(lead.saturating_neg()).is_ok_and(|behind| behind > self.most);
        if behind && !self.set_back {
            let micros = lead.saturating_neg();
            tracing::warn!(%service, micros, "the system's clock was set back: time goes on from where it was");
        }
        self.set_back = behind;
    }
}
