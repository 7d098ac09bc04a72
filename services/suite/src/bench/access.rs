//! What a service of the product's asks before each request of its own: what somebody is in an organization.

use std::time::Duration;

use bursar_proto::organization::v1::CheckAccessRequest;
use bursar_proto::organization::v1::member_service_client::MemberServiceClient;
use bursar_runtime::Service;
use tonic::Status;

use super::load::{Measured, What, run_paced};
use super::server::Server;
use super::team::Team;

/// How often it is asked in a second.
pub(crate) const PER_SECOND: u32 = 5_000;
/// Connections that callers share, as the processes of a product would have them.
const CONNECTIONS: usize = 8;

/// So many a second, evenly, over all callers: how long each takes is what is looked for, not how many there could be.
pub(super) async fn steadily(server: &Server, team: &Team, callers: usize, time: Duration) -> anyhow::Result<Measured> {
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        clients.push(MemberServiceClient::new(server.connect(Service::Organization).await?));
    }
    let (team, pace) = (team.clone(), Duration::from_secs(1) * u32::try_from(callers)? / PER_SECOND);
    run_paced(server, (What::Access, "CheckAccess at 5,000 a second"), callers, (time, pace), move |caller, _| {
        let mut client = clients[caller % clients.len()].clone();
        let user_id = team.members[caller % team.members.len()].id.clone();
        let request = team.product.on(CheckAccessRequest { organization_id: team.owner.clone(), user_id });
        async move {
            let found = client.check_access(request).await?.into_inner();
            if found.member { Ok(1) } else { Err(Status::internal("a member is told to be none")) }
        }
    })
    .await
}
