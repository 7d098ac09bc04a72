//! What identity asks organization, at the moment it needs to know.

use bursar_id::{OrganizationId, UserId};
use bursar_members::Word;
use bursar_proto::organization::v1::member_service_client::MemberServiceClient;
use bursar_proto::organization::v1::organization_service_client::OrganizationServiceClient;
use bursar_proto::organization::v1::{
    CheckAccessRequest, ListOrganizationsRequest, ListOrganizationsResponse, Role as ProtoRole,
};
use bursar_rpc::convert;
use bursar_rpc::peer::retry;
use bursar_rpc::transport::context::on_behalf;
use tonic::{Request, Status};

use super::Identity;
use crate::Error;

/// Organizations asked for at once when all of them matter.
const ALL_AT_ONCE: i32 = 1_000;

/// Of the organizations that somebody owns this many are named.
const OWNED_NAMED: usize = 20;

/// The organizations that somebody owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// How many.
    pub count: u32,
    /// The first of them, in the order of their names.
    pub first: Vec<OrganizationId>,
}

impl Identity {
    /// What a user is in an organization now.
    pub(super) async fn live_membership(&self, user: UserId, organization: OrganizationId) -> Result<Word, Error> {
        let message = CheckAccessRequest { organization_id: organization.to_string(), user_id: user.to_string() };
        let answer = retry(&self.0.entropy, || {
            let mut client = MemberServiceClient::new(self.0.organization.clone());
            let request = Request::new(message.clone());
            async move { client.check_access(request).await }
        });
        let answer = answer.await.map_err(unanswered)?.into_inner();
        let role = convert::optional_role(answer.role).map_err(Error::internal)?;
        Ok(Word { role: role.filter(|_| answer.member), incarnation: answer.incarnation, version: answer.version })
    }

    /// A page of the organizations of the user whose call is being served.
    pub(super) async fn organizations(
        &self,
        page_size: i32,
        page_token: &str,
    ) -> Result<ListOrganizationsResponse, Error> {
        let message = ListOrganizationsRequest { page_size, page_token: page_token.to_owned() };
        let answer = retry(&self.0.entropy, || {
            let mut client = OrganizationServiceClient::new(self.0.organization.clone());
            let request = on_behalf(Request::new(message.clone()));
            async move { client.list_organizations(request).await }
        });
        Ok(answer.await.map_err(unanswered)?.into_inner())
    }

    /// The organizations that the user whose call is being served owns.
    pub(super) async fn owned_organizations(&self) -> Result<Owned, Error> {
        let (mut owned, mut page_token) = (Owned::default(), String::new());
        loop {
            let page = self.organizations(ALL_AT_ONCE, &page_token).await?;
            let as_owner = i32::from(ProtoRole::Owner);
            for organization in page.organizations.into_iter().filter(|it| it.role == as_owner) {
                owned.count += 1;
                if owned.first.len() < OWNED_NAMED {
                    owned.first.push(organization.id.parse().map_err(Error::internal)?);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(owned);
            }
        }
    }
}

fn unanswered(status: Status) -> Error {
    Error::Organization(Box::new(status))
}
