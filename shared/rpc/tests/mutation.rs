//! A mutation takes effect once: the stored answer comes back, an id is good for one request only, a refusal undoes
//! everything but its audit row.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use bursar_db::audit::AuditRow;
use bursar_db::{Db, DbError, Migrations, PoolOptions, StoreUrl, Tx, idempotency, on};
use bursar_id::{OwnerId, RequestId, ServiceAccountId, UserId};
use bursar_proto::testing::v1::{AdvanceResponse, SetRequest};
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{
    Answer, Asked, Call, Caller, Done, Mutation, Mutations, Permission, Problem, Publish, Refusing, ServiceCaller,
    ServiceRole, Stored, UserCaller,
};
use bursar_secret::Entropy;
use bursar_time::{Clock, Span, Timestamp};

/// Nobody is told.
#[derive(Clone, Copy, Debug)]
struct Silence;

impl Publish for Silence {
    type Event = ();
    async fn commit(&self, tx: Tx, _: Vec<()>) -> Result<(), DbError> {
        tx.commit().await
    }
    fn audited(&self, _: &AuditRow) {}
}

#[derive(Debug)]
enum Error {
    Problem(Problem),
    Store(DbError),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        Self::Store(error)
    }
}

impl Refusing for Error {
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Problem(problem) => problem.is_refusal().then_some(problem.reason()),
            Self::Store(error) => panic!("the store failed: {error}"),
        }
    }
}

/// The outcome: when.
#[derive(Debug, PartialEq, Eq)]
struct At(Timestamp);

impl Stored for At {
    type Message = AdvanceResponse;
    fn to_message(&self) -> AdvanceResponse {
        AdvanceResponse { now: Some(to_timestamp(self.0)) }
    }
}

struct World {
    db: Db,
    clock: Clock,
    mutations: Mutations<Silence>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = StoreUrl::sqlite(folder.path().join("test.db"));
        let db = Db::open(&url, &Migrations::SHARED, &PoolOptions::default()).await.expect("opened");
        db.migrate(&Migrations::SHARED).await.expect("migrated");
        let clock = Clock::test(Timestamp::EPOCH);
        let mutations = Mutations::new(db.clone(), clock.clone(), Entropy::seeded(1), Silence);
        Self { db, clock, mutations, _folder: folder }
    }

    async fn set(&self, asked: &Asked<i64>) -> Result<Answer<At>, Error> {
        let mut m = self.mutations.begin(asked).await?;
        let done = set(&mut m, asked).await;
        self.mutations.end(m, done).await
    }

    /// Opens what was asked and ends it as `how` says: as an outcome of which the audit log is told less, or more.
    async fn quietly<X>(
        &self,
        asked: &Asked<i64>,
        how: impl FnOnce(&mut Mutation) -> X,
    ) -> (Result<Answer<At>, Error>, Option<X>) {
        let mut m = self.mutations.begin(asked).await.expect("begun");
        let mut said = None;
        let done = match set(&mut m, asked).await {
            Ok(Done::New(at, events)) => {
                said = Some(how(&mut m));
                Ok(Done::New(at, events))
            }
            other => other,
        };
        (self.mutations.end(m, done).await, said)
    }

    async fn run(&self, sql: &'static str) {
        let mut tx = self.db.begin().await.expect("begins");
        on!(&mut tx, c => sqlx::raw_sql(sql).execute(c).await.expect("runs").rows_affected());
        tx.commit().await.expect("commits");
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let mut tx = self.db.read().await.expect("reads");
        let (count,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await.expect("counted"));
        count
    }
}

/// Negative times are refused, even ones by role; anonymous callers are strangers.
async fn set(m: &mut Mutation, asked: &Asked<i64>) -> Result<Done<At, ()>, Error> {
    if asked.caller().service().is_none() {
        return Err(Problem::permission_denied("NOT_A_MEMBER", "a stranger").into());
    }
    m.admit(None::<OwnerId>);
    let Some(&micros) = m.open(asked).await? else { return Ok(Done::Replay) };
    m.about(&micros);
    if micros < 0 && micros % 2 == 0 {
        return Err(Problem::permission_denied("ROLE_NOT_ALLOWED", "the role does not allow this").into());
    }
    if micros < 0 {
        return Err(Problem::failed_precondition("TOO_EARLY", "time never goes back").into());
    }
    Ok(Done::New(At(Timestamp::from_micros(micros).expect("a time")), Vec::new()))
}

fn operator() -> Caller {
    Caller::operator(Permission::Operate)
}

/// A member for whom a service calls, with the member's token.
fn member() -> Caller {
    let (person, permission) = (UserCaller::for_test(UserId::from_parts(1, [1; 10])), Permission::ManageOrganization);
    Caller::Service(ServiceCaller {
        account: ServiceAccountId::BILLING,
        role: ServiceRole::Product,
        on_behalf_of: Some(UserCaller { permission, ..person }),
        permission,
    })
}

fn asked_of(caller: Caller, method: &'static str, id: &str, micros: i64) -> Asked<i64> {
    let body = SetRequest { now: Some(to_timestamp(Timestamp::from_micros(micros).expect("a time"))) };
    Asked::read(Call::new(caller, method), id, &body, |_, _| Some(micros))
}

fn asked(id: &str, micros: i64) -> Asked<i64> {
    asked_of(operator(), "Clock/Set", id, micros)
}

fn by_member(id: &str, micros: i64) -> Asked<i64> {
    asked_of(member(), "Clock/Set", id, micros)
}

#[track_caller]
fn refused(outcome: Result<Answer<At>, Error>, reason: &str) {
    match outcome {
        Err(Error::Problem(problem)) => assert_eq!(problem.reason(), reason),
        other => panic!("must be refused with {reason}: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_answered_once_and_then_replayed() {
    let world = World::new().await;
    refused(world.set(&asked("a", -1)).await, "TOO_EARLY");
    let first = world.set(&asked("a", 1)).await.expect("a refusal burns no id");
    assert_eq!(first, Answer::New(At(Timestamp::from_micros(1).expect("a time"))));
    let again = world.set(&asked("a", 1)).await.expect("replayed");
    assert!(matches!(again, Answer::Replay(_)), "{again:?}");
    assert_eq!(again.message().expect("a message"), first.message().expect("a message"));
    refused(world.set(&asked("a", 2)).await, "REQUEST_ID_REUSED");
    refused(world.set(&asked("a", -1)).await, "REQUEST_ID_REUSED");
    refused(world.set(&asked_of(operator(), "Clock/Advance", "a", 1)).await, "REQUEST_ID_REUSED");
    assert!(matches!(world.set(&asked("b", 1)).await.expect("another id"), Answer::New(_)));
    for _ in 0..2 {
        assert!(matches!(world.set(&asked("", 1)).await.expect("no id, no memory"), Answer::New(_)));
    }
    assert_eq!(world.count("requests").await, 2);
    assert_eq!(world.count("audit WHERE outcome = 'DONE'").await, 4, "a replay is no second call");
    assert_eq!(world.count("audit WHERE outcome = 'REFUSED' AND reason = 'REQUEST_ID_REUSED'").await, 3);
}

#[tokio::test]
async fn a_refusal_leaves_nothing_but_its_row_and_a_strangers_not_even_that() {
    let world = World::new().await;
    refused(world.set(&asked("a", -1)).await, "TOO_EARLY");
    refused(world.set(&asked("\n", 1)).await, "INVALID_FIELDS");
    refused(world.set(&asked_of(Caller::Anonymous, "Clock/Set", "a", 1)).await, "NOT_A_MEMBER");
    refused(world.set(&asked_of(operator().at(Permission::UseWorkspace), "Clock/Set", "a", -1)).await, "TOO_EARLY");
    assert_eq!(world.count("requests").await, 0);
    assert_eq!(world.count("audit").await, 2, "what is privileged, by somebody who belongs there");
    assert_eq!(world.count("audit WHERE target = '-1' AND request_id = 'a' AND reason = 'TOO_EARLY'").await, 1);
}

#[tokio::test]
async fn a_refusal_by_role_has_a_row_also_where_every_member_may_call() {
    let world = World::new().await;
    let every = || operator().at(Permission::UseWorkspace);
    for _ in 0..2 {
        refused(world.set(&asked_of(every(), "Clock/Set", "a", -2)).await, "ROLE_NOT_ALLOWED");
    }
    refused(world.set(&asked_of(every(), "Clock/Set", "a", -1)).await, "TOO_EARLY");
    assert_eq!(world.count("audit").await, 2, "each call that would change something");
    assert_eq!(world.count("audit WHERE target = '-2' AND request_id = 'a' AND reason = 'ROLE_NOT_ALLOWED'").await, 2);
}

#[tokio::test]
async fn of_refused_looks_that_are_alike_one_in_an_hour_has_a_row() {
    let world = World::new().await;
    let owner = OwnerId::User(UserId::from_parts(1, [0; 10]));
    let look = async |method: &'static str, permission: Permission, reason: &'static str| {
        let call = Call::new(operator().at(permission), method);
        let error = Error::Problem(Problem::permission_denied(reason, "no"));
        let error = world.mutations.refused_look(&call, owner, error).await;
        assert_eq!(error.reason(), Some(reason), "it is given back");
    };
    for _ in 0..5 {
        look("Books/Look", Permission::ViewBilling, "ROLE_NOT_ALLOWED").await;
        // What every member may look at is refused for reasons that are of no interest.
        look("Books/Look", Permission::UseWorkspace, "NOT_READY").await;
    }
    assert_eq!(world.count("audit WHERE method = 'Books/Look' AND outcome = 'REFUSED'").await, 1);
    look("Books/List", Permission::ViewBilling, "ROLE_NOT_ALLOWED").await;
    look("Books/Look", Permission::Own, "SECOND_FACTOR_REQUIRED").await;
    assert_eq!(world.count("audit").await, 3, "another page, and another reason at what is for few");
    world.clock.advance(Span::HOUR).expect("time moves on");
    look("Books/Look", Permission::ViewBilling, "ROLE_NOT_ALLOWED").await;
    assert_eq!(world.count("audit WHERE method = 'Books/Look' AND reason = 'ROLE_NOT_ALLOWED'").await, 2);
    assert_eq!(world.count("audit WHERE owner IS NOT NULL AND target IS NULL AND request_id IS NULL").await, 4);
}

#[tokio::test]
async fn of_refused_calls_that_are_alike_ten_have_a_row_and_then_those_that_say_how_many() {
    let world = World::new().await;
    let owner = OwnerId::User(UserId::from_parts(1, [0; 10]));
    for n in 0..100 {
        refused(world.set(&by_member(&format!("r{n}"), -1)).await, "TOO_EARLY");
        // What is carried out elsewhere is counted as well.
        let call = Call::new(member(), "Books/Grant");
        let error = Error::Problem(Problem::permission_denied("ROLE_NOT_ALLOWED", "no"));
        assert_eq!(world.mutations.refused(&call, owner, error).await.reason(), Some("ROLE_NOT_ALLOWED"));
    }
    for (method, reason) in [("Clock/Set", "TOO_EARLY"), ("Books/Grant", "ROLE_NOT_ALLOWED")] {
        assert_eq!(world.count(&format!("audit WHERE method = '{method}'")).await, 13);
        assert_eq!(world.count(&format!("audit WHERE method = '{method}' AND reason = '{reason}'")).await, 10);
        for count in [20, 40, 80] {
            let told = format!("audit WHERE method = '{method}' AND reason = '{reason} ({count})'");
            assert_eq!(world.count(&told).await, 1, "{told}");
        }
    }
    // What takes effect has its row however much is refused, and so has another refusal.
    world.set(&by_member("r", 1)).await.expect("done");
    refused(world.set(&by_member("r", -3)).await, "REQUEST_ID_REUSED");
    refused(world.set(&by_member("", -5)).await, "TOO_EARLY");
    assert_eq!(world.count("audit WHERE method = 'Clock/Set'").await, 16);
    world.clock.advance(Span::HOUR).expect("time moves on");
    refused(world.set(&by_member("", -1)).await, "TOO_EARLY");
    assert_eq!(world.count("audit WHERE method = 'Clock/Set' AND target = '-1' AND reason = 'TOO_EARLY'").await, 11);
}

#[tokio::test]
async fn each_refused_call_of_an_operators_has_a_row_whatever_it_was_to_be_done_to() {
    let world = World::new().await;
    for n in 0..200 {
        refused(world.set(&asked("", -1 - 2 * n)).await, "TOO_EARLY");
        refused(world.set(&asked("", -1)).await, "TOO_EARLY");
    }
    assert_eq!(world.count("audit WHERE reason = 'TOO_EARLY'").await, 400);
}

#[tokio::test]
async fn a_refused_call_whose_row_could_not_be_written_is_told_the_next_time() {
    let world = World::new().await;
    for _ in 0..19 {
        refused(world.set(&by_member("", -1)).await, "TOO_EARLY");
    }
    world.run("ALTER TABLE audit RENAME TO elsewhere").await;
    refused(world.set(&by_member("", -1)).await, "TOO_EARLY");
    world.run("ALTER TABLE elsewhere RENAME TO audit").await;
    assert_eq!(world.count("audit").await, 10);
    refused(world.set(&by_member("", -1)).await, "TOO_EARLY");
    assert_eq!(world.count("audit WHERE reason = 'TOO_EARLY (21)'").await, 1);
}

#[tokio::test]
async fn a_look_whose_row_could_not_be_written_is_told_the_next_time() {
    let world = World::new().await;
    let owner = OwnerId::User(UserId::from_parts(1, [0; 10]));
    let look = async || {
        let error = Error::Problem(Problem::permission_denied("ROLE_NOT_ALLOWED", "no"));
        let call = Call::new(operator().at(Permission::ViewBilling), "Books/Look");
        drop(world.mutations.refused_look(&call, owner, error).await);
    };
    world.run("ALTER TABLE audit RENAME TO elsewhere").await;
    look().await;
    world.run("ALTER TABLE elsewhere RENAME TO audit").await;
    assert_eq!(world.count("audit").await, 0);
    look().await;
    look().await;
    assert_eq!(world.count("audit").await, 1);
}

#[tokio::test]
async fn a_refusal_that_is_to_stand_is_committed_and_repeated_and_told_nowhere() {
    let world = World::new().await;
    let (first, _) = world.quietly(&asked("a", 1), Mutation::refuse_for_good).await;
    let first = first.expect("an outcome that says no");
    assert!(matches!(first, Answer::New(_)), "{first:?}");
    assert_eq!((world.count("requests").await, world.count("audit").await), (1, 0));
    // Now it could be done: it is not, under this id.
    let again = world.set(&asked("a", 1)).await.expect("replayed");
    assert!(matches!(again, Answer::Replay(_)), "{again:?}");
    assert_eq!(again.message().expect("a message"), first.message().expect("a message"));
    refused(world.set(&asked("a", 2)).await, "REQUEST_ID_REUSED");
    assert_eq!(world.count("audit WHERE outcome = 'DONE'").await, 0);
}

#[tokio::test]
async fn what_takes_effect_in_two_contexts_leaves_a_row_in_each_and_none_again() {
    let world = World::new().await;
    let there = OwnerId::User(UserId::from_parts(1, [0; 10]));
    for _ in 0..2 {
        let (answer, _) = world.quietly(&asked("a", 1), |m| m.also_in(there, &7)).await;
        answer.expect("done, and replayed");
        assert_eq!(world.count("audit").await, 2);
    }
    assert_eq!(world.count("audit WHERE target = '1' AND owner IS NULL AND request_id = 'a'").await, 1);
    assert_eq!(world.count("audit WHERE target = '7' AND owner IS NOT NULL AND request_id = 'a'").await, 1);
    // What is refused takes effect nowhere.
    refused(world.quietly(&asked("b", -1), |m| m.also_in(there, &7)).await.0, "TOO_EARLY");
    assert_eq!(world.count("audit").await, 3, "the refusal's own row");
}

#[tokio::test]
async fn what_is_left_to_be_finished_is_told_by_whoever_finishes_it() {
    let world = World::new().await;
    let (first, begun) = world.quietly(&asked("a", 1), Mutation::leave_to_be_finished).await;
    first.expect("begun");
    let begun = begun.expect("was asked").expect("somebody begins it");
    let operator = ServiceAccountId::OPERATOR.to_string();
    assert_eq!((begun.actor.as_str(), begun.on_behalf_of, begun.method), (operator.as_str(), None, "Clock/Set"));
    assert_eq!(begun.request_id.as_ref().map(RequestId::as_str), Some("a"));
    assert_eq!(world.count("audit").await, 0, "nothing is done yet");
    assert!(matches!(world.set(&asked("a", 1)).await.expect("replayed"), Answer::Replay(_)));
    // It comes to nothing: the id is free again, by what was given.
    let mut tx = world.db.begin().await.expect("begins");
    let scope = begun.scope.expect("an id was claimed");
    idempotency::forget(&mut tx, &scope, "a").await.expect("forgotten");
    tx.commit().await.expect("commits");
    assert!(matches!(world.set(&asked("a", 2)).await.expect("another request"), Answer::New(_)));
    assert_eq!(world.count("audit WHERE outcome = 'DONE'").await, 1);
    // Without an id there is nothing to be freed.
    let (_, begun) = world.quietly(&asked("", 1), Mutation::leave_to_be_finished).await;
    let begun = begun.expect("was asked").expect("somebody begins it");
    assert_eq!((begun.request_id, begun.scope), (None, None));
}

#[tokio::test]
async fn a_mutation_that_is_dropped_writes_nothing() {
    let world = World::new().await;
    let asked = asked("a", 1);
    let mut m = world.mutations.begin(&asked).await.expect("begun");
    set(&mut m, &asked).await.expect("would do");
    drop(m);
    assert_eq!((world.count("requests").await, world.count("audit").await), (0, 0));
}
