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
use bursar_id::OwnerId;
use bursar_jobs::{Jobs, Kind, Runner, Terms};
use bursar_mail::{Courier, Mail, Transport, forget, forget_owned, queue, queue_bulk};
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_testkit::{TestDb, organization, personal};
use bursar_time::{Clock, Span, Timestamp};
use sqlx::Row;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use post_office::{PostOffice, Reply};

const FROM: &str = "Bursar <no-reply@bursar.example>";

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much mail in bulk waits, or is under way.
const IN_BULK: &str = "SELECT count(*) FROM jobs WHERE kind = 'mail.bulk' AND dead_at IS NULL";
/// How much of it is under way.
const UNDER_WAY: &str = "SELECT count(*) FROM jobs WHERE kind = 'mail.bulk' AND leased = 1";

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
        self.send_of(owner(1), to, text).await;
    }

    async fn send_of(&self, owner: OwnerId, to: &str, text: &str) {
        let mut tx = self.db.begin().await.expect("begins");
        queue(&self.jobs(), &mut tx, self.clock.now(), &welcome(to, text), owner).await.expect("queues");
        tx.commit().await.expect("commits");
    }

    async fn send_in_bulk(&self, to: &str) {
        self.send_in_bulk_of(owner(1), to).await;
    }

    async fn send_in_bulk_of(&self, owner: OwnerId, to: &str) {
        let mut tx = self.db.begin().await.expect("begins");
        queue_bulk(&self.jobs(), &mut tx, self.clock.now(), &welcome(to, "x"), owner).await.expect("queues");
        tx.commit().await.expect("commits");
    }

    fn jobs(&self) -> Jobs {
        Jobs::new(self.db.clone(), self.sealer.clone(), self.entropy.clone(), self.clock.clone())
    }

    fn runner(&self, transport: Transport) -> (Jobs, Runner) {
        let jobs = self.jobs();
        let mut runner = Runner::new(jobs.clone(), &opentelemetry::global::meter("test"));
        Courier::new(transport, FROM).expect("a good sender").hire(&mut runner);
        (jobs, runner)
    }

    fn hire(&self, transport: Transport) -> (Jobs, JoinHandle<()>) {
        let (jobs, runner) = self.runner(transport);
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

/// The `n`-th organization.
fn owner(n: u64) -> OwnerId {
    organization(n)
}

fn welcome(to: &str, text: &str) -> Mail {
    Mail { to: to.to_owned(), subject: "Welcome".to_owned(), text: text.to_owned(), html: String::new() }
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
        queue(&jobs, &mut undone, world.clock.now(), &letter("undone@example.com"), owner(1)).await.expect("queues");
        undone.rollback().await.expect("rolls back");
        let mut open = world.db.begin().await.expect("begins");
        queue(&jobs, &mut open, world.clock.now(), &letter("ann@example.com"), owner(1)).await.expect("queues");
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

    async fn mail_in_bulk_is_sent_two_at_once_and_keeps_no_other_waiting(at: TestDb) {
        let world = World::new(&at).await;
        let mut office = PostOffice::open().await;
        for number in 0..8 {
            world.send_in_bulk(&format!("u{number}@example.com")).await;
        }
        let (jobs, _) = world.hire(office.transport());
        let mut held = [office.next(PATIENCE).await, office.next(PATIENCE).await];
        // The office is busy with two, six wait: whoever signs up now does not.
        world.send("ann@example.com", "http://x/?token=abc").await;
        jobs.wake();
        let mut ann = office.next(PATIENCE).await;
        assert_eq!(ann.to, "ann@example.com");
        ann.answer(Reply::Accept);
        world.until_queued(0).await;
        // What was answered is struck off before the next is taken, so there are never more than two.
        for sent in 0..6 {
            assert_eq!(count(&world.db, UNDER_WAY).await, 2, "after {sent}");
            assert_eq!(count(&world.db, IN_BULK).await, 8 - sent, "after {sent}");
            held[0].answer(Reply::Accept);
            held.swap(0, 1);
            held[1] = office.next(PATIENCE).await;
        }
        for last in &mut held {
            last.answer(Reply::Accept);
        }
        until("all is sent", async || count(&world.db, IN_BULK).await == 0).await;
        assert!(office.is_idle(), "something was sent twice");
        world.shutdown.cancel();
    }

    async fn mail_in_bulk_is_tried_again_and_given_up_like_any_other(at: TestDb) {
        let world = World::new(&at).await;
        let mut office = PostOffice::open().await;
        let (_, runner) = world.runner(office.transport());
        let usual = runner.terms("mail").expect("it is delivered");
        assert_eq!(runner.terms("mail.bulk"), Some(Terms { at_once: 2, ..usual }));
        world.send_in_bulk("nobody@example.com").await;
        world.send_in_bulk("ann@example.com").await;
        let (jobs, _) = world.hire(office.transport());
        for _ in 0..2 {
            let mut mail = office.next(PATIENCE).await;
            mail.answer(if mail.to == "nobody@example.com" { Reply::NoSuchMailbox } else { Reply::TryLater });
        }
        until("both answers are heard", async || count(&world.db, UNDER_WAY).await == 0).await;
        assert!(office.is_idle(), "asked again at once");
        world.clock.advance(Span::from_secs(10)).expect("a test clock");
        let mut again = office.next(PATIENCE).await;
        assert_eq!(again.to, "ann@example.com");
        again.answer(Reply::Accept);
        until("it is sent", async || count(&world.db, IN_BULK).await == 0).await;
        let dead = jobs.dead_letters(10).await.expect("listed");
        let dead: Vec<_> = dead.iter().map(|it| (it.kind.as_str(), it.reason.as_str())).collect();
        assert_eq!(dead, [("mail.bulk", "the server answered 550")]);
        world.shutdown.cancel();
    }

    /// Kind E: nobody mails the dead, and nobody without the key learns from the table to whom something was to be mailed.
    async fn what_was_for_somebody_who_is_gone_is_neither_sent_nor_revived(at: TestDb) {
        let world = World::new(&at).await;
        world.send("Ann@Example.com", "x").await;
        world.send_in_bulk("ann@example.com").await;
        let mut tx = world.db.begin().await.expect("begins");
        let bury = "UPDATE jobs SET dead_at = 1, failure = 'given up'";
        on!(&mut tx, c => sqlx::query(bury).execute(c).await.expect("buried").rows_affected());
        tx.commit().await.expect("commits");
        world.send("ann@example.com", "y").await;
        world.send("ben@example.com", "z").await;
        let jobs = world.jobs();
        let dead = jobs.dead_letters(10).await.expect("listed");
        assert_eq!(dead.len(), 2);
        assert_eq!(count(&world.db, "SELECT count(*) FROM jobs WHERE unique_key LIKE '%example%'").await, 0);
        let stranger = Sealer::from_key(&Secret::new([8; 32]));
        let stranger = Jobs::new(world.db.clone(), stranger, world.entropy.clone(), world.clock.clone());
        let mut tx = world.db.begin().await.expect("begins");
        assert_eq!(forget(&stranger, &mut tx, "ann@example.com").await.expect("looked for"), 0, "by another key");
        assert_eq!(forget(&jobs, &mut tx, "ANN@example.com").await.expect("forgotten"), 3);
        tx.commit().await.expect("commits");
        for letter in dead {
            assert!(!jobs.retry(letter.id).await.expect("looked for"), "revived");
        }
        let directory = tempfile::tempdir().expect("a directory");
        world.hire(Transport::directory(directory.path()));
        world.until_queued(0).await;
        let sent = files(directory.path());
        assert!(sent.len() == 1 && sent[0].contains("ben@example.com"), "{sent:?}");
        world.shutdown.cancel();
    }

    async fn what_is_of_an_owner_who_has_ended_is_neither_sent_nor_revived_whatever_address_it_is_for(at: TestDb) {
        let world = World::new(&at).await;
        let (gone, person) = (owner(2), personal(2));
        world.send_of(gone, "books@example.com", "x").await;
        world.send_in_bulk_of(gone, "ann@example.com").await;
        let mut tx = world.db.begin().await.expect("begins");
        let bury = "UPDATE jobs SET dead_at = 1, failure = 'given up'";
        on!(&mut tx, c => sqlx::query(bury).execute(c).await.expect("buried").rows_affected());
        tx.commit().await.expect("commits");
        let jobs = world.jobs();
        let dead = jobs.dead_letters(10).await.expect("listed");
        assert_eq!(dead.len(), 2);
        world.send_of(gone, "ben@example.com", "y").await;
        world.send_in_bulk_of(gone, "ben@example.com").await;
        // To the same address, and to who has ended, for others.
        world.send("books@example.com", "others").await;
        world.send_of(person, "cem@example.com", "others").await;
        assert_eq!(count(&world.db, "SELECT count(*) FROM jobs WHERE owner LIKE 'org%' OR owner LIKE 'usr%'").await, 0);
        for left in [3, 1, 0, 0] {
            let mut tx = world.db.begin().await.expect("begins");
            let most = if left == 3 { 1 } else { 2 };
            forget_owned(&jobs, &mut tx, gone, most).await.expect("forgotten");
            tx.commit().await.expect("commits");
            assert_eq!(count(&world.db, "SELECT count(*) FROM jobs").await, left + 2, "so many at a time");
        }
        for letter in dead {
            assert!(!jobs.retry(letter.id).await.expect("looked for"), "revived");
        }
        let directory = tempfile::tempdir().expect("a directory");
        world.hire(Transport::directory(directory.path()));
        world.until_queued(0).await;
        let sent = files(directory.path());
        assert!(sent.len() == 2 && sent.iter().all(|mail| mail.contains("others")), "{sent:?}");
        world.shutdown.cancel();
    }

    /// Of the release before, invoices stand among all other mail.
    async fn what_was_queued_before_there_was_bulk_is_delivered(at: TestDb) {
        let world = World::new(&at).await;
        let directory = tempfile::tempdir().expect("a directory");
        let before = welcome("ann@example.com", "x");
        let mut tx = world.db.begin().await.expect("begins");
        world.jobs().enqueue(&mut tx, Kind::new("mail"), &before, world.clock.now(), None).await.expect("queues");
        tx.commit().await.expect("commits");
        world.hire(Transport::directory(directory.path()));
        world.until_queued(0).await;
        assert_eq!(files(directory.path()).len(), 1);
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
