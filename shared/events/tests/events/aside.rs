//! Events that cannot be read or stored: set aside, shown, in doubt, and how each of these ends.

use std::sync::Arc;

use bursar_db::{Db, DbError, on};
use bursar_events::{Feed, aside};
use bursar_id::OwnerId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{DeploymentPolicyChanged, OrganizationUpdated};
use bursar_proto::event_type;
use bursar_proto::organization::v1::Policy;
use bursar_rpc::ServiceRole;
use bursar_testkit::id;

use crate::world::{Diary, Source, clock, diary_store, feed, follow_by, store, until, until_lines, until_snapshot};

fn team(n: u64) -> OwnerId {
    OwnerId::Organization(id(n))
}

fn of(owner: OwnerId, name: &str) -> Payload {
    let (organization_id, name) = (owner.to_string(), name.to_owned());
    Payload::OrganizationUpdated(OrganizationUpdated { organization_id, name, ..OrganizationUpdated::default() })
}

/// The deployment's policies, or what cannot be read as such.
fn policy(policy: Option<Policy>) -> Payload {
    Payload::DeploymentPolicyChanged(DeploymentPolicyChanged { policy, version: 1 })
}

/// Owner, type and problem of what is set aside.
async fn kept(db: &Db) -> Vec<(String, String, String)> {
    let mut tx = db.read().await.expect("begins");
    let kept = aside::list(&mut tx).await.expect("reads");
    let mut kept: Vec<_> = kept.into_iter().map(|it| (it.owner, it.kind, it.problem)).collect();
    kept.sort_unstable();
    kept
}

/// Whose events are set aside, in the order in which they are tried.
async fn owners_in_order(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.expect("begins");
    aside::list(&mut tx).await.expect("reads").into_iter().map(|it| it.owner).collect()
}

fn doubted(feed: &Feed) -> Vec<u64> {
    (1..=5).filter(|n| feed.doubts(team(*n))).collect()
}

bursar_testkit::engines! {
    async fn an_event_that_cannot_be_read_is_set_aside_and_its_owner_alone_is_in_doubt(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::with_state(&there, ServiceRole::Billing);
        source.tell(vec![of(team(1), "0"), of(team(2), "blot"), of(team(3), "1"), of(team(4), "2")]).await;
        // And one that the source itself cannot read any more.
        let mut tx = there.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::query("UPDATE outbox SET payload = $1 WHERE seq = 3").bind(vec![0xff_u8])
            .execute(c).await.expect("works").rows_affected());
        tx.commit().await.expect("commits");
        let diary = Arc::new(Diary { illegible: Some("blot"), ..Diary::default() });
        let feed = feed();
        let (following, shutdown) = follow_by(&diary, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 2).await, ["0", "2"], "neither it nor what it wrote");
        let (kind, two, three) = (event_type::ORGANIZATION_UPDATED.to_owned(), team(2).to_string(), team(3).to_string());
        let expected = [(two.clone(), kind.clone(), "illegible".to_owned()), (three, kind, "no payload".to_owned())];
        assert_eq!(kept(&mine).await, expected);
        until("both are in doubt", async || doubted(&feed) == [2, 3]).await;
        assert_eq!(feed.set_aside(), 2);
        assert!(feed.describe().ends_with("2 of its events set aside"), "{}", feed.describe());
        shutdown.cancel();
        following.await.expect("ends");
        // A snapshot tells everything anew, and what cannot be read of it counts again.
        bursar_events::begin_incarnation(&there, clock().now()).await.expect("begins");
        source.tell(vec![of(team(5), "3")]).await;
        follow_by(&diary, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 3).await, ["0", "2", "3"]);
        until_snapshot(&mine).await;
        assert_eq!(kept(&mine).await.into_iter().map(|(owner, ..)| owner).collect::<Vec<_>>(), [two]);
        until("only what the snapshot told unreadably is in doubt", async || doubted(&feed) == [2]).await;
    }

    async fn what_the_store_refuses_for_good_stops_its_owner_alone(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::with_state(&there, ServiceRole::Billing);
        source.tell(vec![of(team(1), "0"), of(team(2), "smudge"), of(team(3), "1"), of(team(4), "2")]).await;
        let diary = Arc::new(Diary::default());
        let feed = feed();
        let (following, shutdown) = follow_by(&diary, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 3).await, ["0", "1", "2"], "those after it do not wait");
        let kind = event_type::ORGANIZATION_UPDATED.to_owned();
        let refused = [(team(2).to_string(), kind, "constraint clean refused a write (Check)".to_owned())];
        assert_eq!(kept(&mine).await, refused);
        until("its owner alone is in doubt", async || doubted(&feed) == [2]).await;
        // Once when it came, three others, and once more by the keeper.
        let asked = || diary.asked.load(std::sync::atomic::Ordering::SeqCst);
        until("it was tried once more", async || asked() == 5).await;
        shutdown.cancel();
        following.await.expect("ends");
        // A snapshot with it in the midst comes to its end, too.
        bursar_events::begin_incarnation(&there, clock().now()).await.expect("begins");
        source.tell(vec![of(team(5), "3")]).await;
        follow_by(&diary, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 4).await, ["0", "1", "2", "3"]);
        until_snapshot(&mine).await;
        assert_eq!(kept(&mine).await, refused);
        until("its owner alone is in doubt after a snapshot", async || doubted(&feed) == [2]).await;
    }

    async fn an_event_that_always_overruns_stops_its_owner_alone(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::with_state(&there, ServiceRole::Billing);
        let told = [(1, "0"), (2, "slow 1"), (3, "1"), (2, "slow 2"), (4, "2")];
        source.tell(told.map(|(n, name)| of(team(n), name)).to_vec()).await;
        let slow = Arc::new(Diary { overruns: Some("slow"), ..Diary::default() });
        let feed = feed();
        let (following, shutdown) = follow_by(&slow, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 3).await, ["0", "1", "2"], "those after them do not wait, and nothing of them stays");
        let overran = (team(2).to_string(), event_type::ORGANIZATION_UPDATED.to_owned(), DbError::TimedOut.to_string());
        assert_eq!(kept(&mine).await, [overran.clone(), overran.clone()]);
        until("their owner alone is in doubt", async || doubted(&feed) == [2]).await;
        // The first one three times, the second one once, as its owner is in doubt already, three others; and once more both
        // of them by the keeper.
        let asked = || slow.asked.load(std::sync::atomic::Ordering::SeqCst);
        until("each was tried once more", async || asked() == 9).await;
        let mut tx = mine.begin().await.expect("begins");
        for event in aside::list(&mut tx).await.expect("reads") {
            assert!(aside::try_again(&mut tx, &event.id, clock().now()).await.expect("works"));
        }
        tx.commit().await.expect("commits");
        until("each was tried when an operator said so", async || asked() == 11).await;
        shutdown.cancel();
        following.await.expect("ends");
        // A snapshot with both in the midst comes to its end, too.
        bursar_events::begin_incarnation(&there, clock().now()).await.expect("begins");
        source.tell(vec![of(team(5), "3")]).await;
        let (following, shutdown) = follow_by(&slow, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 4).await, ["0", "1", "2", "3"]);
        until_snapshot(&mine).await;
        assert_eq!(kept(&mine).await, [overran.clone(), overran]);
        until("their owner alone is in doubt after a snapshot", async || doubted(&feed) == [2]).await;
        shutdown.cancel();
        following.await.expect("ends");
        // A program that is quicker, or a store, is enough.
        follow_by(&Arc::new(Diary::default()), &source, &mine, &feed);
        until("nobody is in doubt", async || doubted(&feed).is_empty()).await;
        let mut lines = until_lines(&mine, 6).await;
        lines.sort_unstable();
        assert_eq!(lines, ["0", "1", "2", "3", "slow 1", "slow 2"]);
    }

    async fn what_is_set_aside_is_tried_by_each_program_once_and_when_an_operator_says_so(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        source.tell(vec![of(team(1), "blot"), of(team(2), "0")]).await;
        let old = Arc::new(Diary { illegible: Some("blot"), ..Diary::default() });
        let feed = feed();
        let (following, shutdown) = follow_by(&old, &source, &mine, &feed);
        until("it is in doubt", async || doubted(&feed) == [1]).await;
        let asked = || old.asked.load(std::sync::atomic::Ordering::SeqCst);
        // Found unreadable when it came and once more by the keeper; then only when somebody asks.
        until("it was tried", async || asked() == 3).await;
        let mut tx = mine.begin().await.expect("begins");
        let first = aside::list(&mut tx).await.expect("reads").remove(0);
        assert!(aside::try_again(&mut tx, &first.id, clock().now()).await.expect("works"));
        assert!(!aside::try_again(&mut tx, "evt_x", clock().now()).await.expect("works"));
        tx.commit().await.expect("commits");
        until("it was tried again", async || asked() == 4).await;
        assert_eq!(doubted(&feed), [1], "in vain");
        shutdown.cancel();
        following.await.expect("ends");
        // An upgrade is enough, also where its store fails the first time: that was no attempt.
        let new = Arc::new(Diary { busy: 1.into(), ..Diary::default() });
        follow_by(&new, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 2).await, ["0", "blot"]);
        until("nobody is in doubt", async || doubted(&feed).is_empty()).await;
        assert_eq!((kept(&mine).await, feed.set_aside()), (Vec::new(), 0));
    }

    async fn what_fails_for_good_starves_nobody_beside_it(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        source.tell(vec![of(team(1), "blot 1"), of(team(2), "blot 2"), of(team(3), "0")]).await;
        let feed = feed();
        let old = Arc::new(Diary { illegible: Some("blot"), ..Diary::default() });
        let (following, shutdown) = follow_by(&old, &source, &mine, &feed);
        until("both are in doubt", async || doubted(&feed) == [1, 2]).await;
        assert_eq!(until_lines(&mine, 1).await, ["0"]);
        shutdown.cancel();
        following.await.expect("ends");
        // An upgrade reads both; its store takes the second one only.
        let first = owners_in_order(&mine).await.remove(0);
        let (chokes, other) = if first == team(1).to_string() { ("blot 1", "blot 2") } else { ("blot 2", "blot 1") };
        let new = Arc::new(Diary { chokes: Some(chokes), ..Diary::default() });
        follow_by(&new, &source, &mine, &feed);
        assert_eq!(until_lines(&mine, 2).await, ["0", other], "nothing of the first, which was rolled back");
        until("its owner alone is in doubt", async || doubted(&feed).len() == 1).await;
        let left = kept(&mine).await;
        assert_eq!(left, [(first, event_type::ORGANIZATION_UPDATED.to_owned(), "the store is corrupt: it sticks".to_owned())]);
        // Once more only when somebody asks.
        let asked = || new.asked.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(asked(), 2);
        let mut tx = mine.begin().await.expect("begins");
        let left = aside::list(&mut tx).await.expect("reads").remove(0);
        assert!(aside::try_again(&mut tx, &left.id, clock().now()).await.expect("works"));
        tx.commit().await.expect("commits");
        until("it was tried again, and nothing else was", async || asked() == 3).await;
    }

    async fn an_operator_drops_what_nobody_will_ever_read(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let source = Source::new(&store(&elsewhere).await);
        source.tell(vec![of(team(1), "blot")]).await;
        let diary = Arc::new(Diary { illegible: Some("blot"), ..Diary::default() });
        let feed = feed();
        follow_by(&diary, &source, &mine, &feed);
        until("it is in doubt", async || doubted(&feed) == [1]).await;
        let mut tx = mine.begin().await.expect("begins");
        let first = aside::list(&mut tx).await.expect("reads").remove(0);
        assert!(aside::discard(&mut tx, &first.id).await.expect("works"));
        assert!(!aside::discard(&mut tx, &first.id).await.expect("works"), "it is gone");
        tx.commit().await.expect("commits");
        until("nobody is in doubt", async || doubted(&feed).is_empty()).await;
    }

    async fn what_no_answer_rests_on_puts_nobody_in_doubt(at: TestDb) {
        const POLICIES: &[&str] = &[event_type::DEPLOYMENT_POLICY_CHANGED];
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::new(&there);
        source.tell(vec![of(team(1), "blot"), policy(None)]).await;
        let diary = Arc::new(Diary { illegible: Some("blot"), ..Diary::default() });
        let limit = std::time::Duration::from_mins(5);
        let feed = Feed::resting_on("organization", &bursar_time::Monotonic::test(), limit, POLICIES);
        follow_by(&diary, &source, &mine, &feed);
        until("policies are in doubt", async || doubted(&feed) == [1, 2, 3, 4, 5]).await;
        assert_eq!(feed.set_aside(), 2);
        source.tell(vec![policy(Some(Policy::default()))]).await;
        until("they are not", async || doubted(&feed).is_empty()).await;
        assert_eq!(feed.set_aside(), 1, "the other event is shown, and tried again");
        let mut tx = mine.read().await.expect("begins");
        for (types, expected) in [(POLICIES, false), (&[event_type::ORGANIZATION_UPDATED][..], true)] {
            let concerns = aside::concerns(&mut tx, "organization", types, team(1)).await.expect("reads");
            assert_eq!(concerns, expected, "{types:?}");
        }
    }

    async fn what_names_nobody_counts_against_every_organization_until_a_later_word_makes_up_for_it(at: TestDb) {
        let mine = diary_store(&at).await;
        let elsewhere = bursar_testkit::sqlite::file();
        let there = store(&elsewhere).await;
        let source = Source::new(&there);
        source.tell(vec![policy(None), of(team(1), "0")]).await;
        let diary = Arc::new(Diary::default());
        let feed = feed();
        follow_by(&diary, &source, &mine, &feed);
        until("everybody is in doubt", async || doubted(&feed) == [1, 2, 3, 4, 5]).await;
        assert!(!feed.doubts(OwnerId::User(id(1))), "but people");
        source.tell(vec![policy(Some(Policy::default()))]).await;
        until("nobody is in doubt", async || doubted(&feed).is_empty()).await;
        // An owner that is none is nobody's, too.
        source.tell(vec![of(team(1), "1")]).await;
        until_lines(&mine, 2).await;
        let mut tx = there.begin().await.expect("begins");
        on!(&mut tx, c => {
            let spoil = "UPDATE outbox SET owner = 'org_?', payload = $1 WHERE seq = 4";
            sqlx::query(spoil).bind(vec![0xff_u8]).execute(c).await.expect("works").rows_affected()
        });
        tx.commit().await.expect("commits");
        let late = bursar_testkit::sqlite::file();
        let late = diary_store(&late).await;
        let other = crate::world::feed();
        follow_by(&Arc::new(Diary::default()), &source, &late, &other);
        // The policy that could not be read was set aside before it, and made up for.
        let (nobody, kind) = (String::new(), event_type::ORGANIZATION_UPDATED.to_owned());
        let expected = [(nobody, kind, "no payload".to_owned())];
        until("it alone is set aside", async || kept(&late).await == expected).await;
        until("everybody is in doubt", async || doubted(&other) == [1, 2, 3, 4, 5]).await;
    }
}
