//! Giving what is secret in an item to the product's services.

use bursar_id::ItemId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};
use serde_json::{Map, Value};

use super::super::Organization;
use super::super::access::demand_served;
use crate::Error;

/// The secret fields of an item that are set.
#[derive(Clone, PartialEq)]
pub struct Revealed(pub Map<String, Value>);

impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Revealed([redacted])")
    }
}

impl Organization {
    /// What is secret in an item. It changes nothing, and still goes the way of a mutation: its audit row is committed
    /// before anything is answered.
    pub async fn reveal_secrets(&self, asked: &Asked<ItemId>) -> Result<Answer<Revealed>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.open_secrets(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn open_secrets(&self, m: &mut Mutation, asked: &Asked<ItemId>) -> Result<Done<Revealed, Payload>, Error> {
        self.visit_for_item(m, asked.caller()).await?;
        let Some(id) = m.open(asked).await? else { return Ok(Done::Replay) };
        let row = self.item(m.tx(), asked.caller(), *id).await?;
        m.about(&row.id);
        m.admit(row.owner);
        demand_served(m.tx(), row.owner).await?;
        let secrets = self.secrets(&row)?;
        Ok(Done::New(Revealed(secrets), Vec::new()))
    }
}
