//! Mail and the transactions it belongs to, on both engines, against files and a real SMTP conversation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

mod post_office;

use std::path::Path;
use std::time::Duration;

use bursar_db::{Db, Migrations, PoolOptions, on};
use bursar_jobs::{Jobs, Runner};
use bursar_mail::{Courier, Mail, Transport, queue};
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_testkit::TestDb;
use bursar_time::{Clock, Span, Timestamp};
use sqlx::Row;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use post_office::{PostOffice, Reply};

const FROM: &str = "Bursar <no-reply@bursar.example>";

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    db: Db,
    sealer: Sealer,
    entropy: Entropy,
    clock: Clock,
    shutdown: CancellationToken,
}

impl World {
    async fn new(at: &TestDb) -> Self {
        let migrations = Migrations::SHARED;
        let url = at.url().parse().expect("the test kit gives a good address");
        let db = Db::open(&url, &migrations, &PoolOptions::default()).await.expect("opens");
        db.migrate(&migrations).await.expect("migrates");
        let start = Timestamp::from_micros(1_785_000_000_000_000).expect("in range");
        Self {
            db,
            sealer: Sealer::from_key(&Secret::new([7; 32])),
            entropy: Entropy::seeded(1),
            clock: Clock::test(start),
            shutdown: CancellationToken::new(),
        }
    }

    async fn send(&self, to: &str, text: &str) {
        let mail =
            Mail { to: to.to_owned(), subject: "Welcome".to_owned(), text: text.to_owned(), html: String::new() };
        let mut tx = self.db.begin().await.expect("begins");
        queue(&self.jobs(), &mut tx, self.clock.now(), &mail).await.expect("queues");
        tx.commit().await.expect("commits");
    }

    fn jobs(&self) -> Jobs {
        Jobs::new(self.db.clone(), self.sealer.clone(), self.entropy.clone(), self.clock.clone())
    }

    fn hire(&self, transport: Transport) -> (Jobs, JoinHandle<()>) {
        let jobs = self.jobs();
        let mut runner = Runner::new(jobs.clone(), &opentelemetry::global::meter("test"));
        Courier::new(transport, FROM).expect("a good sender").hire(&mut runner);
        (jobs, tokio::spawn(runner.run(self.shutdown.clone(), self.shutdown.clone())))
    }

    async fn queued(&self) -> i64 {
        count(&self.db, "SELECT count(*) FROM jobs WHERE kind = 'mail' AND dead_at IS NULL").await
    }

    /// Waits until the queue holds `count` mails.
    async fn until_queued(&self, count: i64) {
        until(&format!("{count} queued mails"), async || self.queued().await == count).await;
    }
}

async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never reached: {what}");
}

fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory.join("mail")) else {
        return Vec::new();
    };
    entries.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("readable")).collect()
}

bursar_testkit::engines! {
    async fn mail_is_sent_when_its_transaction_commits_and_not_before(at: TestDb) {
        let world = World::new(&at).await;
        let directory = tempfile::tempdir().expect("a directory");
        let (jobs, at_work) = world.hire(Transport::directory(directory.path()));
        let letter = |to: &str| Mail { to: to.into(), subject: "Hi".into(), text: format!("http://x/?token={to}\n"), html: String::new() };

        let mut undone = world.db.begin().await.expect("begins");
        queue(&jobs, &mut undone, world.clock.now(), &letter("undone@example.com")).await.expect("queues");
        undone.rollback().await.expect("rolls back");
        let mut open = world.db.begin().await.expect("begins");
        queue(&jobs, &mut open, world.clock.now(), &letter("ann@example.com")).await.expect("queues");
        jobs.wake();
        tokio::task::yield_now().await;
        assert!(files(directory.path()).is_empty(), "sent before the commit");
        open.commit().await.expect("commits");
        jobs.wake();
        world.until_queued(0).await;

        let sent = files(directory.path());
        assert_eq!(sent.len(), 1, "{sent:?}");
        for line in ["To: ann@example.com", "From: Bursar <no-reply@bursar.example>", "http://x/?token=ann@example.com"] {
            assert!(sent[0].lines().any(|found| found == line), "no line {line} in {}", sent[0]);
        }
        world.shutdown.cancel();
        at_work.await.expect("goes home quietly");
    }

    async fn a_courier_that_dies_after_handing_over_leaves_the_mail_to_another(at: TestDb) {
        let world = World::new(&at).await;
        let mut office = PostOffice::open().await;
        world.send("ann@example.com", "http://x/?token=abc").await;

        let (_, dying) = world.hire(office.transport());
        let mut first = office.next(PATIENCE).await;
        // The office has the mail, the courier does not know yet.
        dying.abort();
        dying.await.expect_err("killed");
        first.answer(Reply::Accept);
        assert_eq!(world.queued().await, 1, "not struck off");

        let (_, _other) = world.hire(office.transport());
        world.clock.advance(Span::from_mins(6)).expect("a test clock");
        let mut second = office.next(PATIENCE).await;
        assert!(second.text.contains("token=abc"), "{}", second.text);
        assert_eq!(message_id(&first.text), message_id(&second.text));
        second.answer(Reply::Accept);
        world.until_queued(0).await;
        world.shutdown.cancel();
    }

    async fn a_busy_server_is_asked_again_later(at: TestDb) {
        let world = World::new(&at).await;
        let mut office = PostOffice::open().await;
        world.send("ann@example.com", "x").await;
        world.hire(office.transport());
        // The last: our own password is wrong, which is nobody's mail's fault.
        for (longest, reply) in [(0, Reply::TryLater), (10, Reply::TryLater), (20, Reply::NotAllowed), (40, Reply::Accept)] {
            world.clock.advance(Span::from_secs(longest)).expect("a test clock");
            office.next(PATIENCE).await.answer(reply);
            if reply != Reply::Accept {
                until("the answer is heard", async || {
                    count(&world.db, "SELECT count(*) FROM jobs WHERE kind = 'mail' AND leased = 1").await == 0
                }).await;
                assert!(office.is_idle(), "asked again at once");
            }
        }
        world.until_queued(0).await;
        world.shutdown.cancel();
    }

    async fn a_mailbox_that_does_not_exist_is_given_up_and_blocks_nobody(at: TestDb) {
        let world = World::new(&at).await;
        let mut office = PostOffice::open().await;
        world.send("nobody@example.com", "x").await;
        world.send("not an address", "x").await;
        world.send("ann@example.com", "x").await;
        let (jobs, _) = world.hire(office.transport());
        for _ in 0..2 {
            let mut mail = office.next(PATIENCE).await;
            let reply = if mail.to == "nobody@example.com" { Reply::NoSuchMailbox } else { Reply::Accept };
            mail.answer(reply);
        }
        world.until_queued(0).await;
        let mut reasons: Vec<_> = jobs.dead_letters(10).await.expect("listed").into_iter().map(|it| it.reason).collect();
        reasons.sort();
        assert_eq!(reasons, ["the recipient's address is malformed", "the server answered 550"]);
        world.shutdown.cancel();
    }

    async fn several_couriers_send_each_mail_once(at: TestDb) {
        let world = World::new(&at).await;
        let mut office = PostOffice::open().await;
        for number in 0..24 {
            world.send(&format!("u{number}@example.com"), "x").await;
        }
        for _ in 0..3 {
            world.hire(office.transport());
        }
        let mut to = Vec::new();
        for _ in 0..24 {
            let mut mail = office.next(PATIENCE).await;
            to.push(mail.to.clone());
            mail.answer(Reply::Accept);
        }
        world.until_queued(0).await;
        assert!(office.is_idle(), "something was sent twice");
        to.sort();
        to.dedup();
        assert_eq!(to.len(), 24, "{to:?}");
        world.shutdown.cancel();
    }
}

async fn count(db: &Db, statement: &'static str) -> i64 {
    let mut tx = db.read().await.expect("begins");
    on!(&mut tx, c => sqlx::query(statement).fetch_one(c).await.expect("counts").get(0))
}

fn message_id(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("Message-ID: ")).expect("every mail has one")
}
