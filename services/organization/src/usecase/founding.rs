//! Creating an organization where that takes a paid plan (product.md, `PAID_PLAN`): the creator's subscription becomes the
//! organization's.
//!
//! 1. the organization is made as PENDING and committed, with a job that looks after it: its slug is taken, it counts as
//!    owned, and nobody can use it
//! 2. billing moves the subscription; whoever asks again for the same organization gets the same answer
//! 3. it is ACTIVE and told by event; or, where billing refuses for good and it has no plan of its own, it is removed: its slug
//!    and its request id are free again, it does not count as created that day, and nothing moves there any more, however late
//!    a call of step 2 arrives. Where its owner has called it off, the request id is not free: whoever repeats the call that
//!    creates it, perhaps a client that has not heard of the deletion, is told so, and creates nothing
//!
//! The call that creates it, a repetition of that call and the job all do the same (`Organization::found`): under the lock on
//! the organization's row each finds what another has finished. So a crash anywhere, or a billing that is away, leaves
//! nothing but a job to do. Who comes when it is removed asks billing once more, for the reason. Whoever calls the creation off asks billing otherwise, and does the same with the answer
//! (`calling_off.rs`).
//!
//! | billing answers to step 2 | what becomes of the creation |
//! |---|---|
//! | the subscription, now or on a repetition | ACTIVE with it |
//! | `ALREADY_SUBSCRIBED` | ACTIVE with what it has; the creator's plan stays where it is |
//! | `PLAN_REQUIRED`, `RENEWAL_HELD`, `SUBSCRIPTION_PAST_DUE` | removed |
//! | `TOO_MANY_LOTS`, `BALANCE_TOO_LARGE`, said as `final` | removed: nobody can make room in the account of what nobody can use |
//! | `MOVE_CALLED_OFF` | removed: its owner has deleted it |
//! | `RENEWAL_DUE`, `OVERLOADED`, `STORE_UNAVAILABLE`, nothing in time | asked again: by the call, then by the job |
//! | everything else, such as `REQUEST_ID_REUSED`, `INVALID_FIELDS`, no right to ask | the same; a person has to mend it |
//!
//! The first three are billing's last word about this organization. `TOO_MANY_LOTS` and `BALANCE_TOO_LARGE` are so by their metadata
//! alone: a billing of before says the same and may move the plan a moment later, so there it is asked again. (`TOTALS_FULL` is
//! about charges, and moving a plan is none.)
//!
//! What waits for a person is told in the job's failures, and in its dead letter after some forty days. Its owner need not wait as
//! long, and may delete it.
//!
//! `ALREADY_SUBSCRIBED` means that an operator has given the pending organization a plan by hand, say a contract. It is no word
//! that there is no plan: product.md has a creation take a plan so that what is created is paid for, and this one is. To remove
//! it would leave a subscription that is paid and renewed for an organization that nobody can ever use, and to wait would be to
//! wait for that subscription's end. So nothing is taken from its creator, who is on a personal plan as before. While that plan
//! is not paid for, billing says `RENEWAL_DUE` instead: it may end, and then the creator's moves.

use std::time::Duration;

use bursar_db::audit::{self, AuditRow, Outcome};
use bursar_db::idempotency;
use bursar_id::{AuditId, OrganizationId, OwnerId, Role, UserId};
use bursar_jobs::Kind;
use bursar_members::OrganizationCreation;
use bursar_proto::billing::v1::MoveSubscriptionRequest;
use bursar_proto::billing::v1::subscription_service_client::SubscriptionServiceClient;
use bursar_rpc::problem::{metadata_of, reason_of};
use bursar_rpc::{Begun, Stored as _, UserCaller, persist, retry};
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use tonic::{Request, Status};

use super::organizations::Created;
use super::rationing::{creations, give_back};
use super::{Organization, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::standing::Standing;
use crate::store::foundings::{self, FoundingRow};
use crate::store::{memberships, organizations, standings};

/// Finishes what nobody else has.
pub const FOUNDING: Kind<Founding> = Kind::new("organization.founding");

/// When an organization is looked after that its call has not finished.
const UNFINISHED: Span = Span::from_secs(10);

/// How long before its caller stops waiting a call answers that it is still pending.
const ANSWER: Duration = Duration::from_millis(500);

/// Which organization to finish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Founding {
    /// The organization.
    pub organization: OrganizationId,
    /// Who has called it off, if somebody has. A program of before does not read it, and finishes it as any other.
    #[serde(default)]
    pub called_off: Option<Ending>,
}

/// Who has called a creation off, and how: what the audit log is told by whoever removes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    id: AuditId,
    at: Timestamp,
    actor: String,
    on_behalf_of: Option<String>,
    method: String,
    request_id: Option<String>,
}

impl Ending {
    /// When its owner wanted it.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// What there is to be told in the end. The row is the same, whoever tells it: it is kept once.
    pub(super) fn row(&self, organization: OrganizationId) -> AuditRow {
        let Self { id, at, actor, on_behalf_of, method, request_id } = self.clone();
        let (owner, target) = (Some(OwnerId::Organization(organization)), Some(organization.to_string()));
        let (outcome, reason) = (Outcome::Done, None);
        AuditRow { id, at, owner, actor, on_behalf_of, method, target, outcome, reason, request_id }
    }
}

impl Organization {
    /// Where the life of an organization begins in this deployment.
    pub(super) fn beginning(&self) -> Standing {
        match self.0.config.policies.organization_creation {
            OrganizationCreation::Anyone => Standing::Active,
            OrganizationCreation::PaidPlan => Standing::Pending,
        }
    }

    /// Remembers, in the transaction that makes a pending organization, how it is finished, and has it finished.
    pub(super) async fn await_plan(
        &self,
        tx: &mut bursar_db::Tx,
        organization: OrganizationId,
        (by, begun): (&UserCaller, Begun),
        now: Timestamp,
    ) -> Result<(), Error> {
        let row = FoundingRow {
            organization_id: organization,
            creator: by.user,
            session: by.session.to_string(),
            branch: by.branch.map(|branch| branch.to_string()).unwrap_or_default(),
            actor: begun.actor,
            on_behalf_of: begun.on_behalf_of,
            method: begun.method.to_owned(),
            request_id: begun.request_id.map(|id| id.as_str().to_owned()),
            scope: begun.scope,
        };
        foundings::insert(tx, &row).await?;
        let (founding, unique) = (Founding { organization, called_off: None }, organization.to_string());
        self.0.jobs.enqueue(tx, FOUNDING, &founding, now.saturating_add(UNFINISHED), Some(&unique)).await?;
        Ok(())
    }

    /// Who begins to call a creation off now, by the same words.
    pub(super) fn ending(&self, begun: Begun, now: Timestamp) -> Ending {
        let Begun { actor, on_behalf_of, method, request_id, .. } = begun;
        let request_id = request_id.map(|id| id.as_str().to_owned());
        Ending { id: self.new_id(now), at: now, actor, on_behalf_of, method: method.to_owned(), request_id }
    }

    /// Has the creation called off, in the transaction that remembers that its owner wants it, if nobody else does it before.
    pub(super) async fn have_called_off(
        &self,
        tx: &mut bursar_db::Tx,
        organization: OrganizationId,
        ending: &Ending,
    ) -> Result<(), Error> {
        let (unique, due) = (format!("{organization}/called-off"), ending.at.saturating_add(UNFINISHED));
        let founding = Founding { organization, called_off: Some(ending.clone()) };
        self.0.jobs.enqueue(tx, FOUNDING, &founding, due, Some(&unique)).await?;
        Ok(())
    }

    /// Finishes an organization that its creator waits for, for as long as the call may take; says where it is in its life
    /// then. It may still be pending.
    ///
    /// # Errors
    /// [`Error::Refused`]: billing has refused for good, and the organization is no more.
    pub async fn founded(&self, organization: OrganizationId, creator: UserId) -> Result<Standing, Error> {
        let founded = persist(&self.0.entropy, ANSWER, || async move {
            match self.found(organization, creator).await {
                Err(Error::Billing(status)) => {
                    tracing::warn!(%organization, code = ?status.code(), "billing does not move a plan at the moment");
                    None
                }
                decided => Some(decided),
            }
        });
        founded.await.unwrap_or(Ok(Standing::Pending))
    }

    /// Asks billing for the plan that a pending organization of this person's waits for, and finishes or removes it by the
    /// answer.
    ///
    /// # Errors
    /// [`Error::Refused`]: billing has refused for good, for this reason, and the organization is removed; who comes later is told
    /// the same. [`Error::Billing`]: nothing is decided, or not why.
    async fn found(&self, organization: OrganizationId, creator: UserId) -> Result<Standing, Error> {
        let mut tx = self.0.db.read().await?;
        let founding = foundings::find(&mut tx, organization).await?;
        let standing = standings::find(&mut tx, organization).await?;
        drop(tx);
        if let (None, Some(standing)) = (&founding, standing) {
            // Somebody else has finished it.
            return Ok(standing);
        }
        let (from_owner, to_owner) = (creator.to_string(), organization.to_string());
        let answered = self.ask_billing(MoveSubscriptionRequest { from_owner, to_owner, ..Default::default() }).await;
        if founding.is_some() {
            return self.settle(organization, answered, None).await;
        }
        // Somebody else has removed it, by an answer which billing gives again to whoever asks the same.
        let Err(status) = answered else { return Err(Error::Internal("a plan has moved to what was removed")) };
        match for_good(&status) {
            Some(Verdict::NoPlan(refusal)) => Err(refusal.into()),
            Some(Verdict::HasItsOwn) | None => Err(Error::Billing(Box::new(status))),
        }
    }

    /// Finishes an organization that nobody else has, as its owner wanted last; where it is removed, tells who wanted that.
    ///
    /// # Errors
    /// [`Error::Refused`]: billing has refused for good, and the organization is removed. [`Error::Billing`]: nothing is decided.
    pub async fn finish(&self, Founding { organization, called_off }: Founding) -> Result<(), Error> {
        let mut tx = self.0.db.read().await?;
        let founding = foundings::find(&mut tx, organization).await?;
        let standing = standings::find(&mut tx, organization).await?;
        drop(tx);
        match (founding, called_off) {
            (Some(founding), None) => self.found(organization, founding.creator).await.map(drop),
            (Some(founding), Some(ending)) => {
                self.end_creation(organization, founding.creator, Some(&ending)).await.map(drop)
            }
            // Whoever has removed it may have known nothing of that.
            (None, Some(ending)) if standing.is_none() => {
                let mut tx = self.0.db.begin().await?;
                audit::record(&mut tx, &ending.row(organization)).await?;
                Ok(tx.commit().await?)
            }
            (None, _) => Ok(()),
        }
    }

    /// Asks billing to move no plan to a pending organization of this person's any more, and removes or finishes it by the
    /// answer; with who wants it removed, unless the job tells that.
    ///
    /// # Errors
    /// As [`Organization::finish`].
    pub(super) async fn end_creation(
        &self,
        organization: OrganizationId,
        creator: UserId,
        ending: Option<&Ending>,
    ) -> Result<Standing, Error> {
        let (to_owner, called_off_for) = (organization.to_string(), creator.to_string());
        let message = MoveSubscriptionRequest { to_owner, called_off_for, ..Default::default() };
        let answered = self.ask_billing(message).await;
        let row = ending.map(|ending| ending.row(organization));
        self.settle(organization, answered, row.as_ref()).await
    }

    /// Finishes or removes a pending organization by what billing has answered; with the audit row of who wants it removed, if
    /// somebody does.
    ///
    /// # Errors
    /// [`Error::Refused`]: billing has refused for good, for this reason, and the organization is removed. [`Error::Billing`]:
    /// nothing is decided.
    async fn settle(
        &self,
        organization: OrganizationId,
        answered: Result<(), Status>,
        by: Option<&AuditRow>,
    ) -> Result<Standing, Error> {
        let Err(status) = answered else { return self.open(organization).await };
        match for_good(&status) {
            Some(Verdict::HasItsOwn) => {
                tracing::info!(%organization, "a pending organization has a plan of its own: its creator's stays");
                self.open(organization).await
            }
            Some(Verdict::NoPlan(refusal)) => {
                self.withdraw(organization, refusal, by).await?;
                Err(refusal.into())
            }
            None => Err(Error::Billing(Box::new(status))),
        }
    }

    /// Asks billing to move a plan to an organization, or to move none there any more.
    async fn ask_billing(&self, message: MoveSubscriptionRequest) -> Result<(), Status> {
        let moved = retry(&self.0.entropy, || {
            let mut client = SubscriptionServiceClient::new(self.0.billing.clone());
            let request = Request::new(message.clone());
            async move { client.move_subscription(request).await }
        });
        moved.await.map(drop)
    }

    /// The organization has its plan: it can be used, and others are told of it.
    async fn open(&self, id: OrganizationId) -> Result<Standing, Error> {
        let mut tx = self.0.db.begin().await?;
        let row = organizations::by_id_locked(&mut tx, id).await?;
        let mut row = row.ok_or(Error::Internal("an organization with a plan was removed"))?;
        let (Some(founding), Some(opened)) = (foundings::take(&mut tx, id).await?, row.life.standing.opened()) else {
            return Ok(row.life.standing);
        };
        row.life = standings::open(&mut tx, id, opened).await?;
        let now = self.now();
        let owner = memberships::place(&mut tx, id, row.owner_user_id).await?;
        audit::record(&mut tx, &self.founder_row(&founding, now)).await?;
        let told = vec![
            events::created_in(&row, founding.session, founding.branch),
            events::standing(&row),
            events::member(id, row.owner_user_id, Role::Owner, owner.version),
        ];
        self.0.outbox.commit(tx, told).await?;
        Ok(Standing::Active)
    }

    /// No plan moves there: the organization never was.
    async fn withdraw(&self, id: OrganizationId, why: Refusal, by: Option<&AuditRow>) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        let row = organizations::by_id_locked(&mut tx, id).await?;
        // Who wants it removed is told that it is, whoever was faster.
        if let Some(by) = by {
            audit::record(&mut tx, by).await?;
        }
        let Some(founding) = foundings::take(&mut tx, id).await? else { return Ok(tx.commit().await?) };
        let row = row.ok_or(Error::Internal("a pending organization has no row"))?;
        let made = row.created_at;
        // It was counted when it was made. Before its slug is freed: another creation of the same person's waits for the slug
        // with the count locked.
        give_back(&mut tx, &creations(founding.creator), made, self.now()).await?;
        foundings::erase(&mut tx, id).await?;
        if let (Some(scope), Some(request_id)) = (&founding.scope, &founding.request_id) {
            // Also where billing had another reason before: its owner is told that it is deleted.
            if by.is_some() || why == Refusal::CreationCalledOff {
                let answer = Created(row.never_was(self.now())).to_bytes();
                idempotency::amend(&mut tx, scope, request_id, made, &answer).await?;
            } else {
                idempotency::forget(&mut tx, scope, request_id).await?;
            }
        }
        tx.commit().await?;
        tracing::info!(organization = %id, %why, "a pending organization was removed: no plan moves there");
        Ok(())
    }

    /// The audit row of the call that began it.
    fn founder_row(&self, founding: &FoundingRow, now: Timestamp) -> AuditRow {
        AuditRow {
            id: self.new_id(now),
            at: now,
            owner: Some(OwnerId::Organization(founding.organization_id)),
            actor: founding.actor.clone(),
            on_behalf_of: founding.on_behalf_of.clone(),
            method: founding.method.clone(),
            target: Some(founding.organization_id.to_string()),
            outcome: Outcome::Done,
            reason: None,
            request_id: founding.request_id.clone(),
        }
    }
}

/// What it means that billing moves nothing to a pending organization any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has a plan without: it is opened.
    HasItsOwn,
    /// There is none for it: it is removed, and this is said.
    NoPlan(Refusal),
}

/// What billing has answered for good; `None`: it is asked again.
fn for_good(status: &Status) -> Option<Verdict> {
    let is_final = || metadata_of(status, "final").as_deref() == Some("true");
    let refusal = match reason_of(status)?.as_str() {
        "ALREADY_SUBSCRIBED" => return Some(Verdict::HasItsOwn),
        "PLAN_REQUIRED" => Refusal::PlanRequired,
        "RENEWAL_HELD" => Refusal::RenewalHeld,
        "SUBSCRIPTION_PAST_DUE" => Refusal::SubscriptionPastDue,
        "TOO_MANY_LOTS" if is_final() => {
            let limit = metadata_of(status, "limit").and_then(|limit| limit.parse().ok());
            Refusal::TooManyLots { limit: limit.unwrap_or_default() }
        }
        "BALANCE_TOO_LARGE" if is_final() => Refusal::BalanceTooLarge,
        "MOVE_CALLED_OFF" => Refusal::CreationCalledOff,
        _ => return None,
    };
    Some(Verdict::NoPlan(refusal))
}

#[cfg(test)]
mod tests {
    use bursar_rpc::Problem;
    use tonic::Code;

    use super::*;

    #[test]
    fn each_answer_of_billing_opens_it_or_removes_it_or_is_asked_for_again() {
        let cases = [
            (Code::FailedPrecondition, "ALREADY_SUBSCRIBED", Some(Verdict::HasItsOwn)),
            (Code::FailedPrecondition, "PLAN_REQUIRED", Some(Verdict::NoPlan(Refusal::PlanRequired))),
            (Code::FailedPrecondition, "RENEWAL_HELD", Some(Verdict::NoPlan(Refusal::RenewalHeld))),
            (Code::FailedPrecondition, "SUBSCRIPTION_PAST_DUE", Some(Verdict::NoPlan(Refusal::SubscriptionPastDue))),
            (Code::FailedPrecondition, "MOVE_CALLED_OFF", Some(Verdict::NoPlan(Refusal::CreationCalledOff))),
            (Code::Unavailable, "RENEWAL_DUE", None),
            (Code::Unavailable, "STORE_UNAVAILABLE", None),
            (Code::Unavailable, "FEED_STALE", None),
            (Code::Unavailable, "NEWER_FORMAT", None),
            (Code::ResourceExhausted, "OVERLOADED", None),
            // A billing of before, which may move the plan a moment later.
            (Code::ResourceExhausted, "TOO_MANY_LOTS", None),
            (Code::FailedPrecondition, "BALANCE_TOO_LARGE", None),
            (Code::FailedPrecondition, "TOTALS_FULL", None),
            (Code::AlreadyExists, "REQUEST_ID_REUSED", None),
            (Code::InvalidArgument, "INVALID_FIELDS", None),
            (Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED", None),
        ];
        for (code, reason, expected) in cases {
            let status = Status::from(Problem::new(code, reason, "no"));
            assert_eq!(for_good(&status), expected, "{reason}");
        }
        assert_eq!(for_good(&Status::deadline_exceeded("late")), None);
        let full = [
            (Code::ResourceExhausted, "TOO_MANY_LOTS", Refusal::TooManyLots { limit: 1_000 }),
            (Code::FailedPrecondition, "BALANCE_TOO_LARGE", Refusal::BalanceTooLarge),
        ];
        for (code, reason, refusal) in full {
            let full = Problem::new(code, reason, "no").with_metadata("limit", "1000").with_metadata("final", "true");
            assert_eq!(for_good(&full.into()), Some(Verdict::NoPlan(refusal)), "{reason}");
        }
    }
}
