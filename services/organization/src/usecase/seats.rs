//! How many people an organization's plan has seats for, and what else it allows: what billing told last, or says when that
//! would not do.

use bursar_db::{DbError, Tx};
use bursar_id::OrganizationId;
use bursar_proto::billing::v1::subscription_service_client::SubscriptionServiceClient;
use bursar_proto::billing::v1::{Feature, GetEntitlementsRequest, GetEntitlementsResponse};
use bursar_proto::event::v1::SubscriptionChanged;
use bursar_rpc::peer::retry;
use tonic::{Code, Request};

use super::Organization;
use crate::Error;
use crate::domain::entitlements::{Features, OddWord, PlanName, Told};
use crate::domain::standing::Standing;
use crate::store::seats::{self, Known};
use crate::store::{memberships, standings};

/// About how many plans billing is asked at once that were not told whole.
const ASKED: i64 = 50;

/// What a seat is wanted for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanting {
    /// One more is to be reserved.
    OneMore,
    /// One that is reserved already is to become a member's.
    Reserved,
}

impl Organization {
    /// How many people the organization's plan has seats for, as far as it matters to somebody who wants one more. Billing's
    /// last word serves where it leaves room, so nobody has to be asked. Where it leaves none, or there was none, billing
    /// is: the plan may have grown a moment ago. While it does not answer its last word serves, whatever it leaves. A word that
    /// may be out of date serves neither way ([`Organization::is_plan_old`]).
    ///
    /// To be asked before a transaction begins: no lock is held while another service thinks.
    pub(super) async fn seats(&self, organization: OrganizationId, wanting: Wanting) -> Result<u32, Error> {
        let is_old = self.is_plan_old(organization);
        let mut tx = self.0.db.read().await?;
        let known = seats::known(&mut tx, organization).await?;
        let taken = match wanting {
            Wanting::OneMore => seats::seating(&mut tx, organization, self.now()).await?.taken(),
            Wanting::Reserved => memberships::head_count(&mut tx, organization).await?,
        };
        drop(tx);
        if let Some(seats) = known.seats.filter(|seats| !is_old && taken < *seats) {
            return Ok(seats);
        }
        match (self.ask_for_seats(organization, &known).await, known.seats) {
            (Err(Error::Billing(status)), Some(seats)) if is_away(status.code()) => {
                if is_old {
                    Err(Error::FeedStale(self.0.feeds.plans.source()))
                } else {
                    Ok(seats)
                }
            }
            (answer, _) => answer,
        }
    }

    /// Asks billing what plans allow of which not all was told, where a program of before, here or there, knew no more: of
    /// plans that do not change nobody would tell again. Some after the given organization, in the order of ids; says after
    /// which to go on, `None` being the first. So nobody waits for ever for those of which billing has no better word.
    pub async fn learn_plans(&self, after: Option<OrganizationId>) -> Result<Option<OrganizationId>, Error> {
        let from = after.map(|id| id.to_string()).unwrap_or_default();
        let untold = seats::untold_after(&mut self.0.db.read().await?, &from, ASKED).await?;
        for id in &untold {
            let known = seats::known(&mut self.0.db.read().await?, *id).await?;
            match self.ask_for_seats(*id, &known).await {
                Ok(_) => {}
                Err(Error::Billing(status)) if is_away(status.code()) => {
                    tracing::debug!(code = ?status.code(), "billing does not say what plans allow at the moment");
                    // It may be so of this one alone: the next time it is another one's turn.
                    return Ok(Some(*id));
                }
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => tracing::warn!(organization = %id, %error, "what a plan allows stays unknown"),
            }
        }
        let full = i64::try_from(untold.len()).is_ok_and(|asked| asked >= ASKED);
        Ok(untold.last().copied().filter(|_| full))
    }

    /// What billing says now. What differs from what was known is remembered, unless an event has told something since.
    async fn ask_for_seats(&self, organization: OrganizationId, known: &Known) -> Result<u32, Error> {
        let message = GetEntitlementsRequest { owner: organization.to_string() };
        let answer = retry(&self.0.entropy, || {
            let mut client = SubscriptionServiceClient::new(self.0.billing.clone());
            let request = Request::new(message.clone());
            async move { client.get_entitlements(request).await }
        });
        let answer = answer.await.map_err(|status| Error::Billing(Box::new(status)))?;
        let said = said(&answer.into_inner())
            .map_err(|_| Error::Internal("billing says of a plan what it never says of one"))?;
        if !known.is(&said) {
            let mut tx = self.0.db.begin().await?;
            if !has_no_plan(&mut tx, organization).await? {
                seats::note(&mut tx, organization, &said, known.version).await?;
            }
            tx.commit().await?;
        }
        Ok(said.seats)
    }
}

/// What billing's event says of a plan.
pub(crate) fn word(changed: &SubscriptionChanged) -> Result<Told, OddWord> {
    let features = changed.features.as_ref();
    let features = features.map(|it| Features::parse(it.names.iter().map(String::as_str))).transpose()?;
    Ok(Told { plan: PlanName::parse(&changed.plan_id)?, seats: changed.seats, features })
}

/// What billing answers about one. Where it knows of features that have no name here it says too little of them.
fn said(answer: &GetEntitlementsResponse) -> Result<Told, OddWord> {
    let name = |number: &i32| Feature::try_from(*number).ok()?.as_str_name().strip_prefix("FEATURE_");
    let names: Option<Vec<&str>> = answer.features.iter().map(name).collect();
    let features = names.map(Features::parse).transpose()?;
    Ok(Told { plan: PlanName::parse(&answer.plan_id)?, seats: answer.seats, features })
}

/// Whether an organization is purged: it has no plan any more, and nothing of one is written. If it is not, that stays so until
/// the transaction ends.
pub(crate) async fn has_no_plan(tx: &mut Tx, organization: OrganizationId) -> Result<bool, DbError> {
    Ok(matches!(standings::hold(tx, organization).await?, Some(Standing::Purged(_))))
}

/// Whether an answer says no more than that there is none now.
fn is_away(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled)
}
