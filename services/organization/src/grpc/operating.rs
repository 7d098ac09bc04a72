//! What operators ask about organizations, between the API's messages and what the use cases work with.

use bursar_id::{OrganizationId, UserId};
use bursar_proto::organization::v1::find_organizations_request::Query as Asked;
use bursar_proto::organization::v1::{FindOrganizationsRequest, SuspendOrganizationRequest};
use bursar_rpc::{PageKey, PageRequest, Problem, Violations};

use super::convert;
use crate::domain::description::Description;
use crate::domain::name::Name;
use crate::domain::slug::Slug;
use crate::usecase::{OrganizationsWanted, Query, Suspension};

/// Which organizations an operator looks for.
pub(super) fn wanted(message: &FindOrganizationsRequest, pages: &PageKey) -> Result<OrganizationsWanted, Problem> {
    let (by, text, query) = match &message.query {
        None => ("", "", Query::Name(String::new())),
        Some(Asked::OrganizationId(id)) => {
            ("organization_id", id.as_str(), Query::Id(convert::field::<OrganizationId>("organization_id", id)?))
        }
        Some(Asked::Slug(slug)) => ("slug", slug.as_str(), Query::Slug(Slug::given(slug).ok())),
        Some(Asked::NamePrefix(prefix)) => {
            let name = Name::parse(prefix).map_err(|error| Problem::invalid_field("name_prefix", error.to_string()))?;
            ("name_prefix", prefix.as_str(), Query::Name(name.into()))
        }
        Some(Asked::OwnerUserId(owner)) => {
            ("owner_user_id", owner.as_str(), Query::Owner(convert::field::<UserId>("owner_user_id", owner)?))
        }
    };
    let page = PageRequest::parse(message.page_size, &message.page_token, pages.list("FindOrganizations", [by, text]))?;
    Ok(OrganizationsWanted { query, page })
}

/// Why an organization is suspended.
pub(super) fn suspension(message: &SuspendOrganizationRequest, violations: &mut Violations) -> Option<Suspension> {
    let reason = violations.check("reason", Description::parse(&message.reason));
    Some(Suspension { reason: reason? })
}
