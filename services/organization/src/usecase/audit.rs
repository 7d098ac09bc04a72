//! The audit log: listing what was done in an organization, whichever service did it.

use bursar_db::audit::AuditRow;
use bursar_id::{OrganizationId, OwnerId};
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Call, Caller, Problem};

use super::Organization;
use crate::Error;
use crate::store::audit::{self, Filter, Place};
use crate::store::organizations;

/// Rows that a page looks at, however few of them match its filters: what a page costs at most.
const SCAN: i64 = 5_000;

/// Which rows of the audit log to list.
#[derive(Debug)]
pub struct AuditWanted {
    /// Those that match.
    pub filter: Filter,
    /// Which page.
    pub page: PageRequest<Place>,
}

impl Organization {
    /// An organization's audit log, newest first. What its members may not see gets a row itself; operators see it all.
    ///
    /// There are no places for it, as for what is costly in billing: whatever it is filtered by, a page is a walk along one
    /// index over 5,000 rows at most, which the database compares. Billing's filtered ledger looks at as many, but has to read
    /// and check each by itself.
    pub async fn list_audit_events(
        &self,
        call: &Call,
        id: OrganizationId,
        wanted: Result<AuditWanted, Problem>,
    ) -> Result<Page<AuditRow>, Error> {
        let owner = OwnerId::Organization(id);
        match call.caller() {
            Caller::Service(service) if service.on_behalf_of.is_none() => self.known(id).await?,
            caller => self.see(call, caller.user()?, id).await?,
        }
        let AuditWanted { filter, page } = wanted?;
        let mut tx = self.0.db.read().await?;
        let found = audit::list(&mut tx, owner, &filter, page.after(), (page.limit(), SCAN)).await?;
        drop(tx);
        Ok(page.page_within(found.rows, |row| (row.at, row.id), found.edge)?)
    }

    async fn known(&self, id: OrganizationId) -> Result<(), Error> {
        let found = organizations::by_id(&mut self.0.db.read().await?, id).await?;
        found.map(drop).ok_or_else(|| Problem::not_found("organization").into())
    }
}
