//! A document that billing tells of, and taking note of it.

use bursar_db::{DbError, Tx};
use serde::{Deserialize, Serialize};

use crate::{Owners, Subject};

/// Which document of whose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued<O> {
    /// Whose account it is for.
    pub owner: O,
    /// The document, `ivc_…` or `crn_…`.
    pub invoice: String,
}

/// Has a document mailed, in the transaction that takes note of its event. It may go to any address that somebody has written
/// down, so only so many of an owner are mailed; the others stand in the list of invoices all the same.
///
/// An event may be told again when its job is done long since: which documents are mailed is remembered for a day, much
/// longer than a snapshot takes, after which events come once more.
pub async fn note<O: Owners>(owners: &O, tx: &mut Tx, issued: &Issued<O::Owner>) -> Result<(), DbError> {
    let (Issued { owner, invoice }, means) = (issued, owners.means());
    let (now, document) = (means.clock.now(), Subject::Document(invoice));
    if !owners.count(tx, document, now).await? {
        return Ok(());
    }
    if !owners.count(tx, Subject::Owner(*owner), now).await? {
        tracing::warn!(%owner, %invoice, "not mailed: too many of this owner today");
        // It is not mailed, so it is not remembered as if it were.
        return owners.uncount(tx, document, now).await;
    }
    means.jobs.enqueue(tx, O::KIND, issued, now, Some(invoice)).await
}

#[cfg(test)]
mod tests {
    use bursar_id::{OrganizationId, UserId};

    use super::*;

    /// Jobs outlive the program that enqueued them.
    #[test]
    fn a_job_is_read_as_it_was_always_written() {
        let (user, organization) = (UserId::from_parts(1, [0; 10]), OrganizationId::from_parts(1, [0; 10]));
        let written = |owner: &str| format!(r#"{{"owner":"{owner}","invoice":"ivc_1"}}"#);
        let by_user = Issued { owner: user, invoice: "ivc_1".to_owned() };
        let by_organization = Issued { owner: organization, invoice: "ivc_1".to_owned() };
        for (json, wanted) in [
            (serde_json::to_string(&by_user), written(&user.to_string())),
            (serde_json::to_string(&by_organization), written(&organization.to_string())),
        ] {
            assert_eq!(json.expect("JSON"), wanted);
        }
        let read: Issued<UserId> = serde_json::from_str(&written(&user.to_string())).expect("a job of a person's");
        assert_eq!(read, by_user);
    }
}
