//! What organization can tell of the present: the deployment's policies, organizations, which of them are not active, their
//! policies, memberships, and projects.

use bursar_db::{DbError, Tx};
use bursar_events::{Part, Present};
use bursar_id::OwnerId;
use bursar_members::{OwnPolicy, policies};
use bursar_proto::event::v1::event::Payload;

use super::events;
use crate::store::memberships::{self, PlaceRow};
use crate::store::organizations::{self, OrganizationRow};
use crate::store::projects;

/// Rows in one part.
const PART: i64 = 256;

/// Organization's present state, as events.
#[derive(Clone, Copy, Debug)]
pub struct State;

/// What is told, in this order: what others hang on comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Deployment,
    Organizations,
    Standings,
    Policies,
    Memberships,
    Projects,
}

impl Section {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Deployment, "deployment"),
        (Self::Organizations, "organizations"),
        (Self::Standings, "standings"),
        (Self::Policies, "policies"),
        (Self::Memberships, "memberships"),
        (Self::Projects, "projects"),
    ];

    /// The section and the key that a place names; everything begins at the first.
    fn of(place: &str) -> Option<(Self, &str)> {
        if place.is_empty() {
            return Some((Self::Deployment, ""));
        }
        let (name, key) = place.split_once('/')?;
        Self::ALL.into_iter().find(|(_, word)| *word == name).map(|(section, _)| (section, key))
    }

    /// The place after a key of this section; the beginning of the next section where there is none.
    fn place(self, last: Option<String>) -> String {
        let at = Self::ALL.iter().position(|(section, _)| *section == self).unwrap_or_default();
        let (index, key) = last.map_or((at + 1, String::new()), |key| (at, key));
        Self::ALL.get(index).map_or_else(|| END.to_owned(), |(_, word)| format!("{word}/{key}"))
    }
}

/// The place after everything.
const END: &str = "end";

#[tonic::async_trait]
impl Present for State {
    async fn part(&self, tx: &mut Tx, after: &str) -> Result<Option<Part>, DbError> {
        let Some((section, key)) = Section::of(after) else {
            return Ok(None);
        };
        let (payloads, last) = match section {
            Section::Deployment => {
                let told = policies::told_deployment(tx).await?;
                (told.map(|(policy, version)| events::deployment_policy(policy, version)).into_iter().collect(), None)
            }
            Section::Organizations => {
                let rows = organizations::after(tx, key, PART).await?;
                let last = rows.last().map(|row| row.id.to_string());
                (rows.iter().map(as_created).collect(), last)
            }
            Section::Standings => {
                let rows = organizations::closed_after(tx, key, PART).await?;
                let last = rows.last().map(|row| row.id.to_string());
                (rows.iter().map(events::standing).collect(), last)
            }
            Section::Policies => {
                let after = key.parse().ok().map(OwnerId::Organization);
                let rows = policies::between(tx, (after, None), PART).await?;
                let last = rows.last().map(|(owner, ..)| owner.to_string());
                (rows.into_iter().map(as_policy).collect::<Result<_, _>>()?, last)
            }
            Section::Memberships => {
                let (organization, user) = key.split_once('/').unwrap_or_default();
                let rows = memberships::after(tx, organization, user, PART).await?;
                let last = rows.last().map(|row| format!("{}/{}", row.organization_id, row.user_id));
                (rows.iter().map(as_member).collect::<Vec<Payload>>(), last)
            }
            Section::Projects => {
                let (owner, id) = key.split_once('/').unwrap_or_default();
                let rows = projects::after(tx, owner, id, PART).await?;
                let last = rows.last().map(|(owner, id)| format!("{owner}/{id}"));
                (events::projects_by_owner(&rows), last)
            }
        };
        Ok(Some(Part { payloads, next: section.place(last) }))
    }
}

/// An organization as it is now. The session in which it was created is past.
fn as_created(row: &OrganizationRow) -> Payload {
    events::created_in(row, String::new(), String::new())
}

fn as_policy((owner, own, version): (OwnerId, OwnPolicy, u64)) -> Result<Payload, DbError> {
    let organization = owner.organization().ok_or_else(|| DbError::corrupt("a person's policy"))?;
    Ok(events::policy(organization, own, version))
}

fn as_member(row: &PlaceRow) -> Payload {
    let version = row.version.unsigned_abs();
    match row.role {
        Some(role) => events::member(row.organization_id, row.user_id, role, version),
        None => events::ended(row.organization_id, row.user_id, version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_through_every_section_and_end() {
        assert_eq!(Section::of(""), Some((Section::Deployment, "")));
        assert_eq!(Section::Deployment.place(None), "organizations/");
        assert_eq!(Section::Organizations.place(Some("org_1".into())), "organizations/org_1");
        assert_eq!(Section::of("organizations/org_1"), Some((Section::Organizations, "org_1")));
        assert_eq!(Section::Organizations.place(None), "standings/");
        assert_eq!(Section::Standings.place(None), "policies/");
        assert_eq!(Section::of("memberships/org_1/usr_1"), Some((Section::Memberships, "org_1/usr_1")));
        assert_eq!(Section::Memberships.place(None), "projects/");
        assert_eq!(Section::of("projects/usr_1/prj_1"), Some((Section::Projects, "usr_1/prj_1")));
        assert_eq!(Section::of(&Section::Projects.place(None)), None, "the end");
    }
}
