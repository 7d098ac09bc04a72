//! Mails about organizations' invoices and credit notes: what of [`bursar_notices`] is organization's own. They go to the
//! address that the billing profile had, or to the owner.

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, Role};
use bursar_jobs::Kind;
use bursar_notices::{Addressee, Issued, Means, Owners, Subject, Whose};
use bursar_proto::billing::v1::BillingProfile;
use bursar_time::Timestamp;

use super::rationing::{give_back, ration};
use super::{Organization, Parts};
use crate::store::{memberships, organizations};

/// Mails a document.
pub const INVOICE: Kind<Issued<OrganizationId>> = Kind::new("organization.invoice");

/// How many documents of one organization are mailed a day.
const PER_DAY: u32 = 50;

impl Owners for Organization {
    type Owner = OrganizationId;

    const KIND: Kind<Issued<OrganizationId>> = INVOICE;

    fn means(&self) -> Means<'_> {
        let Parts { db, jobs, clock, entropy, billing, config, .. } = self.parts();
        Means { db, jobs, clock, entropy, billing, product: &config.product, link_base_url: &config.link_base_url }
    }

    async fn count(&self, tx: &mut Tx, subject: Subject<'_, OrganizationId>, now: Timestamp) -> Result<bool, DbError> {
        let (subject, most) = rationed(subject);
        Ok(ration(tx, &subject, most, now).await?.is_none())
    }

    async fn uncount(&self, tx: &mut Tx, subject: Subject<'_, OrganizationId>, now: Timestamp) -> Result<(), DbError> {
        let (subject, _) = rationed(subject);
        give_back(tx, &subject, now, now).await
    }

    /// Of an organization that is gone, or is being erased, nobody is told: a purge forgets what waits to be mailed.
    async fn addressee(
        &self,
        tx: &mut Tx,
        owner: OrganizationId,
        profile: &BillingProfile,
    ) -> Result<Option<Addressee>, DbError> {
        let organization = organizations::by_id_locked(tx, owner).await?;
        let Some(organization) = organization.filter(|it| !it.life.standing.is_erased()) else { return Ok(None) };
        let to = if profile.invoice_mail.is_empty() {
            let owner = memberships::list(tx, owner, Some(Role::Owner), None, 1).await?.pop();
            owner.map(|owner| owner.email).unwrap_or_default()
        } else {
            profile.invoice_mail.clone()
        };
        if to.is_empty() {
            return Ok(None);
        }
        Ok(Some(Addressee { to, whose: Whose::Named(organization.name) }))
    }
}

/// As what mails are counted, and how many there may be a day.
fn rationed(subject: Subject<'_, OrganizationId>) -> (String, u32) {
    match subject {
        Subject::Document(invoice) => (format!("invoice:{invoice}"), 1),
        Subject::Owner(organization) => (format!("invoices:{organization}"), PER_DAY),
    }
}
