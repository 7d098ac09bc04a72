//! Mails about people's invoices and credit notes: what of [`bursar_notices`] is identity's own. They go to the address that
//! the billing profile had, or to the person.

use bursar_db::{DbError, Tx};
use bursar_id::UserId;
use bursar_jobs::Kind;
use bursar_notices::{Addressee, Issued, Means, Owners, Subject, Whose};
use bursar_proto::billing::v1::BillingProfile;
use bursar_time::Timestamp;

use super::alerts::proven_and_held;
use super::attempts::Bucket;
use super::{Identity, Parts};

/// Mails a document.
pub const INVOICE: Kind<Issued<UserId>> = Kind::new("identity.invoice");

impl Owners for Identity {
    type Owner = UserId;

    const KIND: Kind<Issued<UserId>> = INVOICE;

    fn means(&self) -> Means<'_> {
        let Parts { db, jobs, clock, entropy, billing, config, .. } = self.parts();
        Means { db, jobs, clock, entropy, billing, product: &config.product, link_base_url: &config.link_base_url }
    }

    async fn count(&self, tx: &mut Tx, subject: Subject<'_, UserId>, now: Timestamp) -> Result<bool, DbError> {
        bucket(subject).fits(tx, now).await
    }

    async fn uncount(&self, tx: &mut Tx, subject: Subject<'_, UserId>, _now: Timestamp) -> Result<(), DbError> {
        bucket(subject).give_back(tx).await
    }

    /// Nobody is told who has not proven the address, or is about to go.
    async fn addressee(
        &self,
        tx: &mut Tx,
        owner: UserId,
        profile: &BillingProfile,
    ) -> Result<Option<Addressee>, DbError> {
        Ok(proven_and_held(tx, owner).await?.map(|email| told(email, profile)))
    }
}

/// By which bucket mails are counted.
fn bucket(subject: Subject<'_, UserId>) -> Bucket<'_> {
    match subject {
        Subject::Document(invoice) => Bucket::Invoice(invoice),
        Subject::Owner(user) => Bucket::Invoices(user),
    }
}

/// Who is told of a document of a person with this address. The profile's address may be somebody else's, who is told the
/// profile's name.
fn told(email: String, profile: &BillingProfile) -> Addressee {
    match profile.invoice_mail.as_str() {
        named if named.is_empty() || named == email => Addressee { to: email, whose: Whose::Own },
        named => Addressee { to: named.to_owned(), whose: Whose::Named(profile.name.clone()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_address_is_told_before_the_person_and_somebody_else_by_the_profiles_name() {
        const ADA: &str = "ada@example.com";
        const BOOKS: &str = "books@example.com";
        for (invoice_mail, name, to, whose) in [
            ("", "", ADA, Whose::Own),
            ("", "Ada Films", ADA, Whose::Own),
            (ADA, "Ada Films", ADA, Whose::Own),
            (BOOKS, "", BOOKS, Whose::Named(String::new())),
            (BOOKS, "Ada Films", BOOKS, Whose::Named("Ada Films".to_owned())),
            // Another spelling is another address, as far as anybody knows here.
            ("Ada@example.com", "Ada Films", "Ada@example.com", Whose::Named("Ada Films".to_owned())),
        ] {
            let (invoice_mail, name) = (invoice_mail.to_owned(), name.to_owned());
            let profile = BillingProfile { name, invoice_mail, ..BillingProfile::default() };
            let addressee = told(ADA.to_owned(), &profile);
            assert_eq!(addressee.to, to);
            assert!(addressee.whose == whose, "{to}");
        }
    }
}
