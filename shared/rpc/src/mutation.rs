//! [`Mutations`]: the one skeleton of every mutating call, so that all of them are refused, replayed, written and audited
//! in one order:
//!
//! 1. token, context and access rule (the stack), then the caller's own **standing** ([`Mutation::admit`])
//! 2. what was **asked**, well-formed or not, and its **request id**: a replay ends here ([`Mutation::open`])
//! 3. what may have changed since: the member that is named, policy, feed age, catalog, limits
//! 4. load and lock; a pure function decides; write
//! 5. answer, **audit row**, events and commit; or the refusal's row alone ([`Mutations::end`])
//!
//! ```text
//! let mut m = self.mutations.begin(&asked).await?;
//! let done = self.renaming(&mut m, id, &asked).await;   // 1 to 4; every refusal is an `Err`
//! self.mutations.end(m, done).await                     // 5
//! ```
//!
//! Two functions instead of one that takes an async closure: such a closure's future cannot be spawned. There is no way to
//! commit but through [`Mutations::end`], so no refusal gets around the audit log.
//!
//! A replay is no second call: it writes nothing. A refusal rolls everything back, the claim of its request id too. Where
//! another service has to be asked in between, a first mutation looks ([`Mutations::look`]) and lets go of its locks, and
//! a second one acts.
//!
//! What a call decides does not belong here, and neither does what its answer looks like: a use case ends with an outcome
//! of its own, and `grpc/` says with [`Stored`] what is kept of it.

use std::fmt;
use std::future::Future;

use bursar_db::audit::{self, AuditRow, Outcome};
use bursar_db::idempotency::{self, Claim};
use bursar_db::{Db, DbError, Tx};
use bursar_id::{AuditId, OwnerId, RequestId};
use bursar_secret::Entropy;
use bursar_time::{Clock, Timestamp};
use prost::Message;

use crate::access::is_privileged;
use crate::looks::RefusedLooks;
use crate::problem::reason as reasons;
use crate::refusals::RefusedCalls;
use crate::{Asked, Call, Caller, IdempotencyKey, Kept, Problem, Stored};

/// What a mutating use case gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It was carried out just now.
    New(T),
    /// It was carried out before: what was kept of its outcome.
    Replay(Vec<u8>),
}

impl<T> Answer<T> {
    /// The outcome, if it came about just now.
    pub fn made(self) -> Option<T> {
        match self {
            Self::New(outcome) => Some(outcome),
            Self::Replay(_) => None,
        }
    }
}

impl<T: Stored> Answer<T> {
    /// The outcome as it is kept, whenever it came about. An error only for a row that this program cannot have written.
    pub fn message(&self) -> Result<T::Message, Problem> {
        match self {
            Self::New(outcome) => Ok(outcome.to_message()),
            Self::Replay(bytes) => T::Message::decode(bytes.as_slice())
                .map_err(|_| Problem::internal(&"a stored answer is no message of its kind")),
        }
    }
}

/// How a mutation went.
#[derive(Debug)]
pub enum Done<T, V> {
    /// It was carried out: its outcome, and the events that tell of it.
    New(T, Vec<V>),
    /// It had been carried out before ([`Mutation::open`] gave nothing).
    Replay,
}

/// How a look went.
#[derive(Debug)]
pub enum Looked<C, T> {
    /// Nothing stands against it as things are.
    On(C),
    /// It had been carried out before.
    Before(Answer<T>),
}

/// What the skeleton asks of a service's errors; implemented beside their statuses.
pub trait Refusing: From<DbError> + From<Problem> {
    /// The reason that the caller is told; `None` for failures, which refuse nobody anything.
    fn reason(&self) -> Option<&'static str>;
}

/// Where the events go that tell of a mutation: a service's outbox.
pub trait Publish: Send + Sync {
    /// What is told.
    type Event: Send;

    /// Commits the transaction together with these events, in this order.
    fn commit(&self, tx: Tx, events: Vec<Self::Event>) -> impl Future<Output = Result<(), DbError>> + Send;

    /// The event that tells organization of an audit row.
    fn audited(&self, row: &AuditRow) -> Self::Event;
}

/// Carries out a service's mutating calls; see the module.
#[derive(Clone, Debug)]
pub struct Mutations<P> {
    db: Db,
    clock: Clock,
    entropy: Entropy,
    outbox: P,
    tells: bool,
    looks: RefusedLooks,
    refusals: RefusedCalls,
}

/// A mutating call that is being carried out, in a transaction of its own. Dropping it undoes everything.
#[derive(Debug)]
pub struct Mutation {
    tx: Tx,
    now: Timestamp,
    call: Call,
    /// Whether the caller is known to belong there.
    admitted: bool,
    /// In whose context; `None` is the deployment's, or not known yet.
    owner: Option<OwnerId>,
    /// Who an anonymous caller proved to be, or for whom a service acts.
    proven: Option<String>,
    target: Option<String>,
    /// Where else it takes effect, and on what.
    elsewhere: Option<(OwnerId, String)>,
    /// The caller's own; the key of a single-use token is not told.
    request_id: Option<RequestId>,
    /// The scope and the id that are claimed by this transaction.
    claimed: Option<(String, RequestId)>,
    before: Option<Vec<u8>>,
    /// What of it the audit log is told when it is committed.
    told: Told,
}

/// Who began what is finished later, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Who acts: a person, an operator or a service.
    pub actor: String,
    /// For whom, if it is for somebody else.
    pub on_behalf_of: Option<String>,
    /// By which RPC.
    pub method: &'static str,
    /// Under which id of the caller's.
    pub request_id: Option<RequestId>,
    /// Whose request ids these are: with the id, what was answered can be forgotten ([`idempotency::forget`]), where what
    /// was begun comes to nothing.
    pub scope: Option<String>,
}

/// What the audit log is told of a mutation that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// That it was done.
    Done,
    /// Nothing: it is the first step of something whose last one tells, or a refusal that is to stand.
    Nothing,
}

impl<P: Publish> Mutations<P> {
    /// Mutations in a store, with events into an outbox of the same store.
    pub fn new(db: Db, clock: Clock, entropy: Entropy, outbox: P) -> Self {
        let (looks, refusals) = (RefusedLooks::default(), RefusedCalls::default());
        Self { db, clock, entropy, outbox, tells: false, looks, refusals }
    }

    /// Tells organization, which lists everybody's, of each audit row.
    #[must_use]
    pub fn telling(mut self) -> Self {
        self.tells = true;
        self
    }

    /// Begins to carry out what was asked. On SQLite this waits for its turn to write.
    pub async fn begin<C>(&self, asked: &Asked<C>) -> Result<Mutation, DbError> {
        let tx = self.db.begin().await?;
        Ok(Mutation {
            tx,
            now: self.clock.believed()?,
            call: asked.call.clone(),
            admitted: false,
            owner: None,
            proven: None,
            target: None,
            elsewhere: None,
            request_id: asked.key().filter(|_| !asked.by_token).and_then(|key| key.id().cloned()),
            claimed: None,
            before: None,
            told: Told::Done,
        })
    }

    /// Ends a mutation that looked whether anything stands against it, before another service is asked: nothing is
    /// written, and no lock is held any more. `looked` is `None` where [`Mutation::open`] gave nothing.
    pub async fn look<C, T, E: Refusing>(&self, m: Mutation, looked: Result<Option<C>, E>) -> Result<Looked<C, T>, E> {
        match looked {
            Ok(Some(found)) => {
                m.tx.rollback().await?;
                Ok(Looked::On(found))
            }
            Ok(None) => Ok(Looked::Before(m.replay().await?)),
            Err(error) => Err(self.refuse(m, error).await),
        }
    }

    /// Ends a mutation: its answer, its audit row and its events are committed with what it wrote; or nothing is, and the
    /// refusal's row where one is due.
    pub async fn end<T: Stored, E: Refusing>(
        &self,
        m: Mutation,
        done: Result<Done<T, P::Event>, E>,
    ) -> Result<Answer<T>, E> {
        match done {
            Ok(Done::New(outcome, events)) => {
                self.commit(m, &outcome, events).await?;
                Ok(Answer::New(outcome))
            }
            Ok(Done::Replay) => Ok(m.replay().await?),
            Err(error) => Err(self.refuse(m, error).await),
        }
    }

    async fn commit<T: Stored>(&self, mut m: Mutation, outcome: &T, mut events: Vec<P::Event>) -> Result<(), DbError> {
        if let Some((scope, id)) = &m.claimed {
            let answer = outcome.to_message().encode_to_vec();
            idempotency::settle(&mut m.tx, scope, id.as_str(), &answer).await?;
        }
        let rows = match m.told {
            Told::Done => self.rows(&m),
            Told::Nothing => Vec::new(),
        };
        for row in rows {
            audit::record(&mut m.tx, &row).await?;
            events.extend(self.tells.then(|| self.outbox.audited(&row)));
        }
        self.outbox.commit(m.tx, events).await
    }

    /// Undoes everything and keeps the refusal's row, if one is due: of a privileged call by somebody who belongs there, or of
    /// any that the role does not allow; of a member's many that are alike some, which tell how many. A stranger's refusal is
    /// counted by the stack's metrics only; a log that strangers can fill is a weapon.
    async fn refuse<E: Refusing>(&self, m: Mutation, error: E) -> E {
        let reason = error.reason().filter(|reason| m.admitted && is_told(&m.call, reason));
        let row = reason.and_then(|reason| self.row(&m, Outcome::Refused, Some(reason)));
        // Its connection and its locks are needed back.
        if let Err(error) = m.tx.rollback().await {
            tracing::warn!(%error, "cannot roll a refused call back; the store does when its connection goes");
        }
        if let Some(row) = row {
            self.keep_refused_call(&m.call.caller, &row).await;
        }
        error
    }

    /// Keeps the row of a refused look at what only few may see, the first in an hour of those that are alike; gives the
    /// refusal back. The caller belongs to `owner`: strangers must not get here.
    pub async fn refused_look<E: Refusing>(&self, call: &Call, owner: OwnerId, error: E) -> E {
        if let Some(row) = self.refusal(call, owner, &error)
            && self.looks.is_first(&row)
            && !self.keep_refusal(&row).await
        {
            self.looks.forget(&row);
        }
        error
    }

    /// Keeps the row of a refused call that is carried out elsewhere; gives the refusal back. The caller belongs to `owner`:
    /// strangers must not get here.
    pub async fn refused<E: Refusing>(&self, call: &Call, owner: OwnerId, error: E) -> E {
        if let Some(row) = self.refusal(call, owner, &error) {
            self.keep_refused_call(&call.caller, &row).await;
        }
        error
    }

    /// The row of a call that was refused before anything of it began, if one is due.
    fn refusal<E: Refusing>(&self, call: &Call, owner: OwnerId, error: &E) -> Option<AuditRow> {
        let reason = error.reason().filter(|reason| is_told(call, reason))?;
        let (actor, on_behalf_of) = call.caller.names()?;
        let believed = self.clock.believed().inspect_err(|failure| {
            tracing::error!(error = %failure, method = call.method, "cannot write the audit row of a refusal");
        });
        let at = believed.ok()?;
        Some(AuditRow {
            id: AuditId::from_parts(at.as_millis(), self.entropy.bytes()),
            at,
            owner: Some(owner),
            actor,
            on_behalf_of,
            method: call.method.to_owned(),
            target: None,
            outcome: Outcome::Refused,
            reason: Some(reason.to_owned()),
            request_id: None,
        })
    }

    /// Keeps the row of a refused call, or what there is to be told of a member's many that are alike.
    async fn keep_refused_call(&self, caller: &Caller, row: &AuditRow) {
        if !caller.is_persons() {
            self.keep_refusal(row).await;
        } else if let Some(told) = self.refusals.told(row)
            && !self.keep_refusal(&told).await
        {
            self.refusals.take_back(row);
        }
    }

    /// Whether the row is kept. Whoever is refused is told so in any case.
    async fn keep_refusal(&self, row: &AuditRow) -> bool {
        let kept = self.keep(row).await;
        if let Err(failure) = &kept {
            tracing::error!(error = %failure, method = row.method, "cannot write the audit row of a refusal");
        }
        kept.is_ok()
    }

    async fn keep(&self, row: &AuditRow) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        audit::record(&mut tx, row).await?;
        let events = self.tells.then(|| self.outbox.audited(row));
        self.outbox.commit(tx, events.into_iter().collect()).await
    }

    /// The audit rows of a call that takes effect: where it does, and where else.
    fn rows(&self, m: &Mutation) -> Vec<AuditRow> {
        let Some(row) = self.row(m, Outcome::Done, None) else {
            return Vec::new();
        };
        let elsewhere = m.elsewhere.as_ref().map(|(owner, target)| AuditRow {
            id: self.row_id(m),
            owner: Some(*owner),
            target: Some(target.clone()),
            ..row.clone()
        });
        [Some(row), elsewhere].into_iter().flatten().collect()
    }

    fn row_id(&self, m: &Mutation) -> AuditId {
        AuditId::from_parts(m.now.as_millis(), self.entropy.bytes())
    }

    /// The call's audit row; `None` for a caller of whom nothing is known.
    fn row(&self, m: &Mutation, outcome: Outcome, reason: Option<&'static str>) -> Option<AuditRow> {
        let (actor, on_behalf_of) = m.actor()?;
        Some(AuditRow {
            id: self.row_id(m),
            at: m.now,
            owner: m.owner,
            actor,
            on_behalf_of,
            method: m.call.method.to_owned(),
            target: m.target.clone(),
            outcome,
            reason: reason.map(str::to_owned),
            request_id: m.request_id.as_ref().map(|id| id.as_str().to_owned()),
        })
    }
}

impl Mutation {
    /// The transaction in which everything happens.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// When it happens.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The caller belongs here: to this owner, or (`None`) to those who run the deployment. Whether the role allows the
    /// call is the next question, and to be refused then is told to the audit log.
    pub fn admit(&mut self, owner: impl Into<Option<OwnerId>>) {
        self.admitted = true;
        self.owner = owner.into();
    }

    /// An anonymous caller has proven (by a password, by a token from a mail) to be this user, or to hold this invitation; or a
    /// service acts for this user.
    pub fn prove(&mut self, actor: &impl fmt::Display) {
        self.proven = Some(actor.to_string());
    }

    /// What it is done to, for the audit log: an id.
    pub fn about(&mut self, target: &impl fmt::Display) {
        self.target = Some(target.to_string());
    }

    /// It takes effect in the context of another owner as well, on this: whoever looks there finds a row, too.
    pub fn also_in(&mut self, owner: OwnerId, target: &impl fmt::Display) {
        self.elsewhere = Some((owner, target.to_string()));
    }

    /// It is refused for good: what is committed is the refusal, which the outcome says, and a repetition under its id is
    /// refused as well. For where the caller does something that the call must not take effect after. The audit log hears
    /// nothing of it: services alone are refused so, for whom it is an answer like another.
    pub fn refuse_for_good(&mut self) {
        self.told = Told::Nothing;
    }

    /// It is the first step of something that is finished later: whoever does that tells the audit log by what this gives.
    pub fn leave_to_be_finished(&mut self) -> Result<Begun, Problem> {
        let (actor, on_behalf_of) = self.actor().ok_or_else(|| Problem::internal(&"nobody begins it"))?;
        self.told = Told::Nothing;
        Ok(Begun {
            actor,
            on_behalf_of,
            method: self.call.method,
            request_id: self.request_id.clone(),
            scope: self.claimed.as_ref().map(|(scope, _)| scope.clone()),
        })
    }

    /// What was asked, once the caller's standing allows to ask: its bad fields are refused, then its request id is
    /// looked up and claimed. `None`: it had been carried out before, answer with [`Done::Replay`].
    ///
    /// A twin that runs at the same time waits here until the first commits.
    pub async fn open<'c, C>(&mut self, asked: &'c Asked<C>) -> Result<Option<&'c C>, Problem> {
        let (key, command) = asked.read.as_ref().map_err(Problem::clone)?;
        let Some(id) = key.id() else {
            return Ok(Some(command));
        };
        let scope = self.scope(key);
        let claim = idempotency::claim(&mut self.tx, &scope, id.as_str(), key.method(), key.body_hash(), self.now);
        match claim.await? {
            Claim::New => {
                self.claimed = Some((scope, id.clone()));
                Ok(Some(command))
            }
            Claim::Replay(answer) => {
                self.before = Some(answer);
                Ok(None)
            }
            Claim::Mismatch => Err(Problem::request_id_reused()),
        }
    }

    /// The request was found with what it once made: the same body gets the first answer with [`Done::Replay`], another
    /// one under the id is refused.
    pub fn recall<C>(&mut self, asked: &Asked<C>, kept: Kept) -> Result<(), Problem> {
        if asked.key().is_some_and(|key| *key.body_hash() == kept.body_hash) {
            self.before = Some(kept.answer);
            Ok(())
        } else {
            Err(Problem::request_id_reused())
        }
    }

    /// Whose request ids these are: the actor's, within the account.
    fn scope(&self, key: &IdempotencyKey) -> String {
        match self.owner {
            Some(owner) => format!("{}/{owner}", key.scope()),
            None => key.scope().to_owned(),
        }
    }

    fn actor(&self) -> Option<(String, Option<String>)> {
        actor(&self.call.caller, self.proven.as_ref())
    }

    async fn replay<T>(self) -> Result<Answer<T>, DbError> {
        self.tx.rollback().await?;
        let answer = self.before.ok_or_else(|| DbError::corrupt("a replay of nothing"))?;
        Ok(Answer::Replay(answer))
    }
}

/// Whether the audit log hears of this refusal of somebody who belongs there.
fn is_told(call: &Call, reason: &str) -> bool {
    reason == reasons::ROLE_NOT_ALLOWED || is_privileged(call.caller.permission())
}

/// Who acts, and for whom: `proven` is whom an anonymous caller proved to be, or for whom a service acts.
fn actor(caller: &Caller, proven: Option<&String>) -> Option<(String, Option<String>)> {
    match caller.names() {
        None => Some((proven?.clone(), None)),
        Some((service, None)) if caller.service().is_some() => Some((service, proven.cloned())),
        named => named,
    }
}
