//! Many at once: what must be unique stays unique, what is limited stays within its limit.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bursar_db::{Db, on};
use bursar_id::{OrganizationId, Role, UserId};
use bursar_organization::store::memberships::{self, Joining};
use bursar_organization::store::users;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::{Refusal, id, rounds};
use bursar_time::Span;
use futures::future::join_all;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::world::{Who, World, accept, invite, leave, transfer};

/// How many race.
pub(crate) const TASKS: u64 = 64;

/// Runs a task for each number, all let go at once.
pub(crate) async fn race<T, Fut>(count: u64, task: impl Fn(u64) -> Fut) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(usize::try_from(count).expect("few")));
    let tasks = (0..count).map(|n| {
        let (barrier, task) = (Arc::clone(&barrier), task(n));
        tokio::spawn(async move {
            barrier.wait().await;
            task.await
        })
    });
    let tasks: Vec<_> = tasks.collect();
    join_all(tasks).await.into_iter().map(|outcome| outcome.expect("no panic")).collect()
}

/// Demands that everybody who failed was refused with one reason, and gives those who succeeded.
#[track_caller]
pub(crate) fn winners<T: std::fmt::Debug>(outcomes: Vec<Result<T, Status>>, code: Code, reason: &str) -> Vec<T> {
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    for status in lost.into_iter().map(Result::unwrap_err) {
        let refusal = Refusal::of(&status);
        assert_eq!((refusal.code, refusal.reason.as_str()), (code, reason), "{refusal:#?}");
    }
    won.into_iter().map(Result::unwrap).collect()
}

async fn create(who: Who, name: &str, slug: String) -> Result<String, Status> {
    let request = proto::CreateOrganizationRequest { name: name.to_owned(), slug, ..Default::default() };
    let created = who.client.organizations().create_organization(request).await?;
    Ok(created.into_inner().organization.expect("an organization").slug)
}

/// Makes the numbered people members, straight in the store.
pub(crate) async fn seat(world: &World, organization: OrganizationId, people: impl Iterator<Item = u64>) {
    let mut tx = world.store.begin().await.expect("a transaction");
    for n in people {
        let user: UserId = id(n);
        let email = format!("u{n}@example.com");
        users::lock(&mut tx, user).await.expect("known");
        let joining = Joining { organization, user, role: Role::Member, email: &email, email_key: &email };
        memberships::join(&mut tx, &joining, world.clock.now()).await.expect("joined");
    }
    tx.commit().await.expect("seated");
}

/// The owners of an organization by its row and by its members' roles, as one statement sees them.
pub(crate) async fn owners(db: &Db, organization: OrganizationId) -> (i64, i64) {
    const OWNERS: &str = "SELECT (SELECT COUNT(*) FROM memberships WHERE organization_id = $1 AND role = 'OWNER'), \
        (SELECT COUNT(*) FROM organizations o JOIN memberships m ON m.organization_id = o.id AND m.user_id = o.owner_user_id \
         WHERE o.id = $1 AND m.role = 'OWNER' AND m.state = 'ACTIVE')";
    let mut tx = db.read().await.expect("a snapshot");
    let read = async {
        Ok::<_, sqlx::Error>(on!(&mut tx, c => sqlx::query_as(OWNERS).bind(organization).fetch_one(c).await?))
    };
    read.await.expect("counted")
}

/// Organizations without exactly one owner who is a member and whose account is there as far as this service knows, as one
/// statement sees them. Identity's own word is asked where both run: in the suite's `departures`.
async fn orphans(db: &Db) -> i64 {
    const ORPHANS: &str = "SELECT COUNT(*) FROM organizations o WHERE 1 <> (SELECT COUNT(*) FROM memberships m \
        WHERE m.organization_id = o.id AND m.role = 'OWNER') OR 1 <> (SELECT COUNT(*) FROM memberships m \
        JOIN users u ON u.id = m.user_id WHERE m.organization_id = o.id AND m.user_id = o.owner_user_id \
        AND m.role = 'OWNER' AND m.state = 'ACTIVE' AND u.deleted_at IS NULL)";
    let mut tx = db.read().await.expect("a snapshot");
    let read = async { Ok::<_, sqlx::Error>(on!(&mut tx, c => sqlx::query_as(ORPHANS).fetch_one(c).await?)) };
    let (count,): (i64,) = read.await.expect("counted");
    count
}

/// Looks all the time whether every organization has exactly one living owner.
pub(crate) struct Checker(JoinHandle<()>);

impl Checker {
    /// Begins to look; has looked once when it is there.
    pub(crate) async fn of(world: &World) -> Self {
        assert_eq!(orphans(&world.store).await, 0, "before it begins");
        let db = world.store.clone();
        Self(tokio::spawn(async move {
            loop {
                assert_eq!(orphans(&db).await, 0, "at some committed instant");
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }))
    }

    /// Panics if it ever saw something else.
    pub(crate) async fn ends(self) {
        self.0.abort();
        let ended = self.0.await;
        assert!(ended.is_err_and(|ended| ended.is_cancelled()), "an instant without exactly one living owner");
    }
}

bursar_testkit::engines! {
    async fn one_name_gives_everybody_a_slug_of_their_own(db: TestDb) {
        let world = World::start(db).await;
        let slugs = race(TASKS, |n| create(world.who(n), "Acme", String::new())).await;
        let slugs: BTreeSet<_> = slugs.into_iter().map(|slug| slug.expect("created")).collect();
        assert_eq!(slugs.len(), 64, "{slugs:?}");
        assert!(slugs.contains("acme") && slugs.iter().all(|slug| slug.starts_with("acme")), "{slugs:?}");
    }

    async fn one_slug_goes_to_one(db: TestDb) {
        let world = World::generous(db).await;
        let checker = Checker::of(&world).await;
        for round in 0..rounds() {
            let outcomes = race(TASKS, |n| create(world.who(n), "Acme", format!("wanted-{round}"))).await;
            assert_eq!(winners(outcomes, Code::AlreadyExists, "SLUG_TAKEN"), [format!("wanted-{round}")]);
        }
        checker.ends().await;
    }

    async fn one_request_takes_effect_once(db: TestDb) {
        let world = World::generous(db).await;
        let checker = Checker::of(&world).await;
        for round in 0..rounds() {
            let outcomes = race(TASKS, |_| {
                let (client, request_id) = (world.who(1).client, format!("r{round}"));
                async move {
                    let request = proto::CreateOrganizationRequest { name: "Acme".to_owned(), request_id, ..Default::default() };
                    client.organizations().create_organization(request).await.expect("created").into_inner().organization.expect("it").id
                }
            }).await;
            let ids: BTreeSet<_> = outcomes.into_iter().collect();
            assert_eq!(ids.len(), 1, "{ids:?}");
        }
        checker.ends().await;
        assert_eq!(world.events().await.len() as u64, 2 * rounds());
    }

    async fn the_last_seats_go_to_as_many_as_there_are(db: TestDb) {
        let world = World::generous(db).await;
        let (ada, checker) = (world.who(1), Checker::of(&world).await);
        for round in 0..rounds() {
            let acme = world.create(&ada, "Acme").await.id;
            // One is the owner's.
            let seats = if round.is_multiple_of(2) { 2 } else { 5 };
            world.billing.set_seats(seats);
            let outcomes = race(TASKS, |n| {
                let (ada, acme) = (ada.clone(), acme.clone());
                async move { invite(&ada, &acme, &format!("x{round}-{n}@example.com"), Role::Member).await }
            }).await;
            let invited = winners(outcomes, Code::ResourceExhausted, "SEAT_LIMIT_REACHED").len();
            assert_eq!(invited, seats as usize - 1, "round {round}");
        }
        checker.ends().await;
    }

    async fn one_address_is_invited_once(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let outcomes = race(TASKS, |_| {
            let (ada, acme) = (ada.clone(), acme.clone());
            async move { invite(&ada, &acme, "ben@example.com", Role::Member).await }
        }).await;
        assert_eq!(winners(outcomes, Code::AlreadyExists, "ALREADY_INVITED").len(), 1);
    }

    async fn accepting_at_once_joins_once(db: TestDb) {
        let world = World::generous(db).await;
        let checker = Checker::of(&world).await;
        for round in 0..rounds() {
            // Mail of one instant has no order, and tokens expire.
            world.advance(Span::SECOND);
            let (ada, ben) = (world.who(1), world.who(2));
            let acme = world.create(&ada, "Acme").await.id;
            invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited");
            let token = world.mailbox.next_token(&ben.email).await;
            let outcomes = race(TASKS, |_| {
                let (ben, token) = (ben.clone(), token.clone());
                async move { accept(&ben, &token).await.expect("the same answer for all").etag }
            }).await;
            assert_eq!(outcomes.into_iter().collect::<BTreeSet<_>>().len(), 1, "round {round}");
            let told = world.told_of(ben.user).await;
            assert_eq!(told.iter().filter(|it| it.organization_id == acme).count(), 1, "round {round}: joined once");
        }
        checker.ends().await;
    }

    async fn two_hundred_transfers_and_departures_leave_no_orphan(db: TestDb) {
        const PEOPLE: u64 = 40;
        let world = World::start(db).await;
        let ada = world.who(0);
        let acme = world.create(&ada, "Acme").await.id;
        let organization: OrganizationId = acme.parse().expect("an id");
        seat(&world, organization, 1..PEOPLE).await;
        let checker = Checker::of(&world).await;
        let outcomes = race(200, |n| {
            let (me, to, acme) = (world.who(n % PEOPLE), id((n * 7 + 3) % PEOPLE), acme.clone());
            async move {
                // Everybody passes the organization on for as long as they own it; every fifth wants to leave.
                if n % 5 == 4 {
                    return leave(&me, &acme).await;
                }
                transfer(&me, &acme, to).await.map(|_| ())
            }
        }).await;
        checker.ends().await;
        let allowed = ["NOT_A_MEMBER", "ROLE_NOT_ALLOWED", "NOT_FOUND", "ALREADY_OWNER", "OWNER_MUST_TRANSFER"];
        for status in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            let refusal = Refusal::of(status);
            assert!(allowed.contains(&refusal.reason.as_str()), "{refusal:#?}");
        }
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(done >= 8, "only {done} of 200 took effect");
        assert_eq!(owners(&world.store, organization).await, (1, 1));
        told_in_order(&world).await;
    }

    async fn whoever_owns_at_the_end_was_told_last(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(0);
        let acme = world.create(&ada, "Acme").await.id;
        let organization: OrganizationId = acme.parse().expect("an id");
        seat(&world, organization, 1..3).await;
        let (ben, checker) = (world.who(1), Checker::of(&world).await);
        for _ in 0..rounds() {
            let outcomes = race(TASKS, |n| {
                let (from, to) = if n % 2 == 0 { (ada.clone(), ben.clone()) } else { (ben.clone(), ada.clone()) };
                let acme = acme.clone();
                async move { transfer(&from, &acme, to.user).await.map(|_| ()) }
            }).await;
            assert!(!winners(outcomes, Code::PermissionDenied, "ROLE_NOT_ALLOWED").is_empty(), "somebody owns it");
            assert_eq!(owners(&world.store, organization).await, (1, 1));
        }
        checker.ends().await;
        told_in_order(&world).await;
    }
}

/// Demands that the versions of each membership were told in order without a gap.
async fn told_in_order(world: &World) {
    let mut last: HashMap<String, u64> = HashMap::new();
    for event in world.events().await {
        if let Payload::MembershipChanged(changed) = event {
            // The store's own seats were not told; their first version is 1 all the same.
            let version = last.entry(changed.user_id.clone()).or_insert(changed.version - 1);
            assert_eq!(changed.version, *version + 1, "{changed:?}");
            *version = changed.version;
        }
    }
}
