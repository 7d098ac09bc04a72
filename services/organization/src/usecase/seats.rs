//! What billing says about an organization's plan, at the moment it matters.

use bursar_id::OrganizationId;
use bursar_proto::billing::v1::GetEntitlementsRequest;
use bursar_proto::billing::v1::subscription_service_client::SubscriptionServiceClient;
use bursar_rpc::peer::retry;
use tonic::Request;

use super::Organization;
use crate::Error;
use crate::store::seats;

impl Organization {
    /// How many people the organization's plan has seats for. To be asked before a transaction begins: no
    /// lock is held while another service thinks. What it says is remembered, for showing who is over the limit.
    pub(super) async fn seats(&self, organization: OrganizationId) -> Result<u32, Error> {
        let known = seats::known(&mut self.0.db.read().await?, organization).await?;
        let message = GetEntitlementsRequest { owner: organization.to_string() };
        let answer = retry(&self.0.entropy, || {
            let mut client = SubscriptionServiceClient::new(self.0.billing.clone());
            let request = Request::new(message.clone());
            async move { client.get_entitlements(request).await }
        });
        let answer = answer.await.map_err(|status| Error::Billing(Box::new(status)))?;
        let said = answer.into_inner().seats;
        if known.seats != Some(said) {
            let mut tx = self.0.db.begin().await?;
            seats::note(&mut tx, organization, said, known.version).await?;
            tx.commit().await?;
        }
        Ok(said)
    }
}
