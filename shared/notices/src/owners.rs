//! What a service says of the owners whose documents it has mailed.

use std::fmt;

use bursar_db::{Db, DbError, Tx};
use bursar_id::OwnerId;
use bursar_jobs::{Jobs, Kind};
use bursar_proto::billing::v1::BillingProfile;
use bursar_rpc::Transport;
use bursar_secret::Entropy;
use bursar_time::{Clock, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Addressee, Issued};

/// A service that knows the owners of some accounts.
pub trait Owners: Send + Sync + 'static {
    /// Whose accounts these are.
    type Owner: Copy + Into<OwnerId> + fmt::Display + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The job that mails a document.
    const KIND: Kind<Issued<Self::Owner>>;

    /// What mailing works on.
    fn means(&self) -> Means<'_>;

    /// Counts one more mail, unless it would be one too many: then nothing is counted, and this is `false`. The subject stays
    /// locked until the transaction ends.
    ///
    /// A document is counted once, and remembered for a day. How many there may be of an owner is the service's affair.
    fn count(
        &self,
        tx: &mut Tx,
        subject: Subject<'_, Self::Owner>,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, DbError>> + Send;

    /// Takes back what was counted at `now` in this transaction, and came to nothing.
    fn uncount(
        &self,
        tx: &mut Tx,
        subject: Subject<'_, Self::Owner>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Who is told of a document of this owner, by the billing profile that stands on it (an empty one where it has none);
    /// `None`: nobody, as of one who has ended, or is about to: held, so that no mail is queued behind the back of that.
    fn addressee(
        &self,
        tx: &mut Tx,
        owner: Self::Owner,
        profile: &BillingProfile,
    ) -> impl Future<Output = Result<Option<Addressee>, DbError>> + Send;
}

/// What mailing works on: parts of the service.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The store.
    pub db: &'a Db,
    /// Work for later.
    pub jobs: &'a Jobs,
    /// The time.
    pub clock: &'a Clock,
    /// Randomness.
    pub entropy: &'a Entropy,
    /// The way to billing, with the service's own token.
    pub billing: &'a Transport,
    /// What mails call the product.
    pub product: &'a str,
    /// What links in mails start with.
    pub link_base_url: &'a str,
}

/// About what mails are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a, O> {
    /// One document.
    Document(&'a str),
    /// All documents of one owner.
    Owner(O),
}
