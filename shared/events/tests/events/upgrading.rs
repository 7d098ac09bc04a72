//! Programs that ask for different types side by side, as during a rolling upgrade.

use std::sync::Arc;

use bursar_db::{Db, DbError, Tx, on};
use bursar_events::{Consumer, Following, Unapplied, run};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, UserUpdated};
use bursar_proto::event_type;
use bursar_rpc::ServiceRole;
use bursar_secret::Entropy;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{
    Diary, Source, clock, diary_store, feed, follow, next_event, renamed, repeated, store, until_lines, until_snapshot,
};

/// Where a program stands that keeps no types beside its cursor.
const EARLIER: &str = "INSERT INTO consumer_cursors (source, cursor) VALUES ('organization', $1)";

/// Keeps a diary of users' names, too.
struct Newer(Arc<Diary>);

impl Consumer for Newer {
    const NAME: &'static str = "newer";

    fn types() -> &'static [&'static str] {
        &[event_type::ORGANIZATION_UPDATED, event_type::DEPLOYMENT_POLICY_CHANGED, event_type::USER_UPDATED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        if let Some(Payload::UserUpdated(updated)) = &event.payload {
            let event = Event { payload: Some(renamed(&updated.display_name)), ..event.clone() };
            return self.0.apply(tx, &event).await;
        }
        self.0.apply(tx, event).await
    }

    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        self.0.forget_before(tx, incarnation).await
    }

    fn applied(&self) {
        self.0.applied();
    }
}

fn user(name: impl Into<String>) -> Payload {
    Payload::UserUpdated(UserUpdated { display_name: name.into(), ..UserUpdated::default() })
}

fn follow_newer(diary: &Arc<Diary>, source: &Source, db: &Db) -> (JoinHandle<()>, CancellationToken) {
    let shutdown = CancellationToken::new();
    let following = Following {
        feed: feed(),
        transport: source.transport.clone(),
        db: db.clone(),
        clock: clock(),
        entropy: Entropy::system(),
        shutdown: shutdown.clone(),
    };
    (tokio::spawn(run(Newer(Arc::clone(diary)), following)), shutdown)
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

bursar_testkit::engines! {
    async fn what_only_the_newer_program_asks_for_reaches_it_whoever_moves_on(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::with_state(&store(&elsewhere).await, ServiceRole::Billing);
        source.tell(vec![renamed("a"), user("b"), renamed("c")]).await;
        let (old, new) = (Arc::new(Diary::default()), Arc::new(Diary::default()));
        let (_older, stop_older) = follow(&old, &source, &mine);
        assert_eq!(until_lines(&mine, 2).await, ["a", "c"]);
        // A snapshot tells it what the older one has gone over, and begins nothing anew for that one.
        let (newer, stop_newer) = follow_newer(&new, &source, &mine);
        assert_eq!(sorted(until_lines(&mine, 3).await), ["a", "b", "c"]);
        assert_eq!(until_snapshot(&mine).await, [1]);
        let before = repeated(&mine).await;
        // Side by side, neither takes anything from the other, and what both want is applied once.
        for number in 0..20 {
            source.tell(vec![renamed(format!("d{number}")), user(format!("e{number}"))]).await;
        }
        assert_eq!(until_lines(&mine, 43).await.len(), 43);
        assert_eq!(repeated(&mine).await, before, "what both want, one applies");
        // The newer one rests; the older one goes on.
        stop_newer.cancel();
        newer.await.expect("ends");
        source.tell(vec![user("f"), renamed("g")]).await;
        assert_eq!(until_lines(&mine, 44).await.last().map(String::as_str), Some("g"));
        let (_newer, _) = follow_newer(&new, &source, &mine);
        assert_eq!(until_lines(&mine, 45).await.last().map(String::as_str), Some("f"));
        // And the older one ends for good.
        stop_older.cancel();
        source.tell(vec![renamed("h"), user("i")]).await;
        until_lines(&mine, 47).await;
        assert_eq!(repeated(&mine).await, before);
        assert_eq!(until_snapshot(&mine).await, [1], "one snapshot was enough");
    }

    async fn a_cursor_that_was_kept_without_its_types_is_not_believed(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::with_state(&store(&elsewhere).await, ServiceRole::Billing);
        source.tell(vec![user("a"), renamed("b")]).await;
        let (cursor, _) = next_event(&mut source.watch("", &[event_type::ORGANIZATION_UPDATED]).await.expect("begins")).await;
        let mut tx = mine.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::query(EARLIER).bind(cursor).execute(c).await.expect("works").rows_affected());
        tx.commit().await.expect("commits");
        source.tell(vec![user("c")]).await;
        let diary = Arc::new(Diary::default());
        follow_newer(&diary, &source, &mine);
        assert_eq!(sorted(until_lines(&mine, 3).await), ["a", "b", "c"]);
        assert_eq!(until_snapshot(&mine).await, [1]);
        // It goes on from where the earlier program stood: what is no state, a snapshot does not tell.
        crate::world::until("the event since is told again", async || repeated(&mine).await == ["c"]).await;
    }
}
