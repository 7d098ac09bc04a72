//! From organization's events to what is known here. Each service's consumer hands its events to [`learn`], in the
//! transaction that also moves the cursor, and does with them besides what is its own.

use bursar_db::{DbError, Tx};
use bursar_events::Unapplied;
use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{
    DeploymentPolicyChanged, Event, MembershipChanged, OrganizationPolicyChanged, OrganizationStandingChanged,
};
use bursar_proto::event_type;
use bursar_rpc::convert;

use crate::policy::{OwnPolicy, Policy};
use crate::standing::Standing;
use crate::standings::Kind;
use crate::word::Word;
use crate::{policies, standings, words};

/// The types of organization's events that are learned here.
pub const TYPES: [&str; 4] = [
    event_type::MEMBERSHIP_CHANGED,
    event_type::ORGANIZATION_POLICY_CHANGED,
    event_type::ORGANIZATION_STANDING_CHANGED,
    event_type::DEPLOYMENT_POLICY_CHANGED,
];

/// Those of them of which each event tells all that earlier ones of its owner may have told.
pub const WHOLE: [&str; 3] = [
    event_type::ORGANIZATION_POLICY_CHANGED,
    event_type::ORGANIZATION_STANDING_CHANGED,
    event_type::DEPLOYMENT_POLICY_CHANGED,
];

/// What an event was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// A membership; what this word says holds unless a later one was known.
    Membership {
        /// The organization.
        owner: OwnerId,
        /// The user.
        user: UserId,
        /// What was told.
        word: Word,
    },
    /// What an organization has set itself.
    Policy {
        /// The organization.
        owner: OwnerId,
    },
    /// How somebody stands, unless something later was known.
    Standing {
        /// The organization or the person.
        owner: OwnerId,
    },
    /// What the deployment has: for every account.
    DeploymentPolicy,
    /// Something else: nothing was written.
    Nothing,
}

/// Writes what an event of organization's says about memberships, policies and standings, unless something later is known.
/// Unreadable is an event of one of [`TYPES`] with a payload that is none, or says what is not known here.
pub async fn learn(tx: &mut Tx, event: &Event) -> Result<Learned, Unapplied> {
    match &event.payload {
        Some(Payload::MembershipChanged(changed)) => membership(tx, event, changed).await,
        Some(Payload::OrganizationPolicyChanged(changed)) => policy(tx, event, changed).await,
        Some(Payload::OrganizationStandingChanged(changed)) => standing(tx, event, changed).await,
        Some(Payload::DeploymentPolicyChanged(changed)) => deployment(tx, event, changed).await,
        None if TYPES.contains(&event.r#type.as_str()) => Err(Unapplied::unreadable("it has no payload known here")),
        Some(_) | None => Ok(Learned::Nothing),
    }
}

/// Writes what an event of identity's says about how a person stands, unless something later is known.
pub async fn learn_person(tx: &mut Tx, event: &Event) -> Result<Learned, Unapplied> {
    match &event.payload {
        Some(Payload::UserStandingChanged(changed)) => {
            let user: UserId = changed.user_id.parse().map_err(Unapplied::unreadable)?;
            let standing = if changed.suspended { Standing::Suspended } else { Standing::Active };
            let owner = OwnerId::User(user);
            standings::learn(tx, owner, standing, (event.incarnation, changed.version)).await?;
            Ok(Learned::Standing { owner })
        }
        None if event.r#type == event_type::USER_STANDING_CHANGED => {
            Err(Unapplied::unreadable("it has no payload known here"))
        }
        Some(_) | None => Ok(Learned::Nothing),
    }
}

/// Ends what a snapshot of this incarnation of organization's has not told of: memberships, policies and standings that
/// earlier ones had.
pub async fn forget_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    words::end_before(tx, incarnation).await?;
    policies::forget_before(tx, incarnation).await?;
    standings::forget_before(tx, Kind::Organizations, incarnation).await
}

/// The same for a snapshot of identity's: how people stood.
pub async fn forget_people_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    standings::forget_before(tx, Kind::People, incarnation).await
}

async fn membership(tx: &mut Tx, event: &Event, changed: &MembershipChanged) -> Result<Learned, Unapplied> {
    let owner = organization(&changed.organization_id)?;
    let user: UserId = changed.user_id.parse().map_err(Unapplied::unreadable)?;
    let role = convert::optional_role(changed.role).map_err(Unapplied::unreadable)?;
    let word = Word { role, incarnation: event.incarnation, version: changed.version };
    words::learn(tx, owner, user, word).await?;
    Ok(Learned::Membership { owner, user, word })
}

async fn policy(tx: &mut Tx, event: &Event, changed: &OrganizationPolicyChanged) -> Result<Learned, Unapplied> {
    let owner = organization(&changed.organization_id)?;
    let own = OwnPolicy::try_from(&changed.policy.clone().unwrap_or_default()).map_err(Unapplied::unreadable)?;
    policies::learn(tx, owner, &own, event.incarnation, changed.version).await?;
    Ok(Learned::Policy { owner })
}

async fn standing(tx: &mut Tx, event: &Event, changed: &OrganizationStandingChanged) -> Result<Learned, Unapplied> {
    let owner = organization(&changed.organization_id)?;
    let standing = Standing::of_state(changed.state, changed.purged)
        .ok_or_else(|| Unapplied::unreadable("it says a state that is not known here"))?;
    standings::learn(tx, owner, standing, (event.incarnation, changed.version)).await?;
    Ok(Learned::Standing { owner })
}

async fn deployment(tx: &mut Tx, event: &Event, changed: &DeploymentPolicyChanged) -> Result<Learned, Unapplied> {
    let policy = changed.policy.as_ref().ok_or_else(|| Unapplied::unreadable("it has no policy"))?;
    let policy = Policy::try_from(policy).map_err(Unapplied::unreadable)?;
    policies::learn_deployment(tx, &policy, event.incarnation, changed.version).await?;
    Ok(Learned::DeploymentPolicy)
}

fn organization(text: &str) -> Result<OwnerId, Unapplied> {
    let organization: OrganizationId = text.parse().map_err(Unapplied::unreadable)?;
    Ok(OwnerId::Organization(organization))
}
