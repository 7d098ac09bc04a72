//! Service accounts: making, rotating, disabling, and exchanging a secret for a token.

use bursar_id::ServiceAccountId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::token::ServiceClaims;
use bursar_rpc::{Answer, Asked, Done, Mutation, Origin, ServiceRole};
use bursar_secret::{Secret, Token, TokenDigest};
use bursar_time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Identity;
use super::attempts::Bucket;
use crate::Error;
use crate::domain::display_name::DisplayName;
use crate::domain::service_account::{has_file, is_needed, previous_secret_works};
use crate::store::service_accounts::{self, ServiceAccountRow};

/// An account to make.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// What it is for.
    pub display_name: DisplayName,
    /// Operator or product.
    pub role: ServiceRole,
}

/// An account with the secret it was just given; the secret exists nowhere else.
pub struct NewSecret {
    /// The account.
    pub account: ServiceAccountRow,
    /// Its secret.
    pub secret: Secret,
}

/// A signed service token.
pub struct ServiceToken {
    /// The JWT.
    pub access_token: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// What is kept of a client secret. Secrets have 256 random bits, so there is nothing to guess.
pub(super) fn secret_digest(secret: &str) -> TokenDigest {
    TokenDigest::from_bytes(Sha256::digest(secret.as_bytes()).into())
}

impl Identity {
    /// Makes an account for another program.
    pub async fn create_service_account(&self, asked: &Asked<NewAccount>) -> Result<Answer<NewSecret>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.make_account(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn make_account(
        &self,
        m: &mut Mutation,
        asked: &Asked<NewAccount>,
    ) -> Result<Done<NewSecret, Payload>, Error> {
        m.admit(None);
        let Some(new) = m.open(asked).await? else { return Ok(Done::Replay) };
        let now = m.now();
        let secret = Token::generate(&self.0.entropy).to_text();
        let account = ServiceAccountRow {
            id: self.new_id(now),
            display_name: new.display_name.as_str().to_owned(),
            role: new.role.as_str().to_owned(),
            secret_digest: secret_digest(secret.expose()).as_bytes().to_vec(),
            previous_digest: None,
            previous_until: None,
            created_at: now,
            rotated_at: now,
            disabled_at: None,
        };
        m.about(&account.id);
        if !service_accounts::insert(m.tx(), &account).await? {
            return Err(Error::internal("a new service account's id is taken"));
        }
        Ok(Done::New(NewSecret { account, secret }, Vec::new()))
    }

    /// Accounts, disabled ones too, the oldest first.
    pub async fn list_service_accounts(
        &self,
        page: &PageRequest<ServiceAccountId>,
    ) -> Result<Page<ServiceAccountRow>, Error> {
        let mut tx = self.0.db.read().await?;
        let rows = service_accounts::after(&mut tx, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |row| row.id)?)
    }

    /// Gives an account a new secret; the old one stops working at once.
    pub async fn rotate_service_account_secret(
        &self,
        asked: &Asked<ServiceAccountId>,
    ) -> Result<Answer<NewSecret>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.rotate(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn rotate(
        &self,
        m: &mut Mutation,
        asked: &Asked<ServiceAccountId>,
    ) -> Result<Done<NewSecret, Payload>, Error> {
        m.admit(None);
        let Some(&id) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&id);
        let account = service_accounts::by_id_locked(m.tx(), id).await?.ok_or(Error::ServiceAccountNotFound)?;
        if has_file(id) {
            return Err(Error::ServiceAccountNeeded);
        }
        if account.disabled_at.is_some() {
            return Err(Error::ServiceAccountDisabled);
        }
        let now = m.now();
        let secret = Token::generate(&self.0.entropy).to_text();
        let digest = secret_digest(secret.expose());
        service_accounts::set_secret(m.tx(), id, digest.as_bytes(), None, now).await?;
        Ok(Done::New(NewSecret { account, secret }, Vec::new()))
    }

    /// Disables an account for good.
    pub async fn disable_service_account(
        &self,
        asked: &Asked<ServiceAccountId>,
    ) -> Result<Answer<ServiceAccountRow>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = disable(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    /// Exchanges a client id and its secret for a token. Only failures are counted, in a bucket of their own, and the right
    /// secret is never refused for them: nobody can lock a program out by knowing its id, or by standing beside it.
    pub async fn issue_service_token(
        &self,
        client_id: &str,
        client_secret: &Secret,
        origin: Origin,
    ) -> Result<ServiceToken, Error> {
        let now = self.believed()?;
        let mut tx = self.0.db.read().await?;
        let account = match client_id.parse::<ServiceAccountId>() {
            Ok(id) => service_accounts::by_id(&mut tx, id).await?,
            Err(_) => None,
        };
        drop(tx);
        let presented = secret_digest(client_secret.expose());
        let Some(account) = account.filter(|account| accepts(account, &presented, now)) else {
            let network = origin.within_site().map(Bucket::NetworkSecrets);
            let buckets: Vec<_> = std::iter::once(Bucket::Secrets(origin)).chain(network).collect();
            self.take(&buckets).await?;
            return Err(Error::ClientCredentialsInvalid);
        };
        let role: ServiceRole = account.role.parse().map_err(Error::internal)?;
        let key = self.0.signer.current().await?;
        let claims = ServiceClaims::new(account.id, role, self.believed()?, self.0.config.service_ttl);
        let expires_at = claims.standard.expires_at().ok_or_else(|| Error::internal("a token without an end"))?;
        Ok(ServiceToken { access_token: key.sign(&claims)?, expires_at })
    }
}

async fn disable(m: &mut Mutation, asked: &Asked<ServiceAccountId>) -> Result<Done<ServiceAccountRow, Payload>, Error> {
    m.admit(None);
    let Some(&id) = m.open(asked).await? else { return Ok(Done::Replay) };
    m.about(&id);
    let now = m.now();
    let mut account = service_accounts::by_id_locked(m.tx(), id).await?.ok_or(Error::ServiceAccountNotFound)?;
    if is_needed(id) {
        return Err(Error::ServiceAccountNeeded);
    }
    service_accounts::disable(m.tx(), id, now).await?;
    account.disabled_at = account.disabled_at.or(Some(now));
    Ok(Done::New(account, Vec::new()))
}

/// Whether an account lives and the presented secret is its own, or the one before within the overlap.
fn accepts(account: &ServiceAccountRow, presented: &TokenDigest, now: Timestamp) -> bool {
    let is = |digest: &[u8]| TokenDigest::try_from(digest).is_ok_and(|digest| digest == *presented);
    let previous = account.previous_digest.as_deref().is_some_and(is);
    account.disabled_at.is_none()
        && (is(&account.secret_digest)
            || (previous && previous_secret_works(account.rotated_at, account.previous_until, now)))
}
