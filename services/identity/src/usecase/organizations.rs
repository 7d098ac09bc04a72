//! What identity asks organization, at the moment it needs to know.

use bursar_db::DbError;
use bursar_id::{OrganizationId, UserId};
use bursar_members::{Standing, Word};
use bursar_proto::organization::v1::member_service_client::MemberServiceClient;
use bursar_proto::organization::v1::organization_service_client::OrganizationServiceClient;
use bursar_proto::organization::v1::{
    CheckAccessRequest, ConfirmDepartureRequest, ListOrganizationsRequest, ListOrganizationsResponse,
};
use bursar_rpc::convert;
use bursar_rpc::peer::retry;
use bursar_rpc::transport::context::on_behalf;
use tonic::{Code, Request, Status};

use super::Identity;
use super::departures::Leaving;
use crate::Error;

/// The organizations that somebody owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// How many.
    pub count: u32,
    /// The first of them, in the order of their ids.
    pub first: Vec<OrganizationId>,
}

/// What organization says of a user's membership now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    /// What the user is there, whatever becomes of that by how the organization stands.
    pub(super) word: Word,
    /// How the organization stands; of one to which the user does not belong nothing is told.
    pub(super) standing: Standing,
}

impl Identity {
    /// What a user is in an organization now.
    pub(super) async fn live_membership(&self, user: UserId, organization: OrganizationId) -> Result<Live, Error> {
        let message = CheckAccessRequest { organization_id: organization.to_string(), user_id: user.to_string() };
        let answer = retry(&self.0.entropy, || {
            let mut client = MemberServiceClient::new(self.0.organization.clone());
            let request = Request::new(message.clone());
            async move { client.check_access(request).await }
        });
        let answer = answer.await.map_err(unanswered)?.into_inner();
        let role = convert::optional_role(answer.role).map_err(Error::internal)?.filter(|_| answer.member);
        let standing = match (role, Standing::of_state(answer.state, false)) {
            // A state that this program does not know lets nobody in.
            (Some(_), standing) => standing.ok_or_else(|| Error::internal("an organization stands in no known way"))?,
            (None, standing) => standing.unwrap_or_default(),
        };
        Ok(Live { word: Word { role, incarnation: answer.incarnation, version: answer.version }, standing })
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

    /// Asks organization to let somebody go who is leaving: what they own stands in the way. The address, if any, is erased there
    /// when they have gone.
    pub(super) async fn ask_to_let_go(
        &self,
        leaving: Leaving,
        incarnation: u64,
        email: String,
    ) -> Result<Owned, Error> {
        let (user_id, number) = (leaving.user.to_string(), leaving.number.unsigned_abs());
        let message = ConfirmDepartureRequest { user_id, incarnation, number, email };
        let answer = retry(&self.0.entropy, || {
            let mut client = MemberServiceClient::new(self.0.organization.clone());
            let request = Request::new(message.clone());
            async move { client.confirm_departure(request).await }
        });
        let answer = answer.await.map_err(|status| match status.code() {
            // Somebody has taken this departure back meanwhile.
            Code::Aborted => DbError::Serialization.into(),
            _ => unanswered(status),
        })?;
        let answer = answer.into_inner();
        let first = answer.organization_ids.iter().map(|id| id.parse().map_err(Error::internal));
        Ok(Owned { count: answer.organizations, first: first.collect::<Result<_, _>>()? })
    }
}

fn unanswered(status: Status) -> Error {
    Error::Organization(Box::new(status))
}
