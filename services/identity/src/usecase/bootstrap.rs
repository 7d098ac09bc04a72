//! The service accounts that exist from the first start on: the suite's own and the operator's.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use bursar_id::ServiceAccountId;
use bursar_rpc::ServiceRole;
use bursar_secret::{Secret, Token, TokenDigest};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::accounts::secret_digest;
use crate::Error;
use crate::domain::service_account::SECRET_OVERLAP;
use crate::store::service_accounts::{self, ServiceAccountRow};

/// The operator's credentials as they stand in `operator.json`.
#[derive(Serialize, Deserialize)]
struct OperatorFile {
    client_id: String,
    client_secret: String,
}

impl Identity {
    /// Makes sure that one of the suite's own accounts exists and takes the secret from its file. When the file
    /// has changed, the secret before works on for the overlap.
    pub async fn ensure_own_account(
        &self,
        id: ServiceAccountId,
        role: ServiceRole,
        secret: &Secret,
    ) -> Result<(), Error> {
        // A service starts by a wrong clock, too; the secret before is to work for its overlap and no longer.
        let now = self.0.db.time_by(&self.0.clock).await?;
        let digest = secret_digest(secret.expose());
        let mut tx = self.0.db.begin().await?;
        if service_accounts::insert(&mut tx, &built_in(id, role, digest, now)).await? {
            tracing::info!(account = %id, %role, "made a service account");
        } else if let Some(account) = service_accounts::by_id_locked(&mut tx, id).await?
            && account.secret_digest != digest.as_bytes()
        {
            let previous = (account.secret_digest.as_slice(), now.saturating_add(SECRET_OVERLAP));
            service_accounts::set_secret(&mut tx, id, digest.as_bytes(), Some(previous), now).await?;
            tracing::info!(account = %id, %role, "took a service account's new secret from its file");
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes the operator's account at first start and writes its secret to `path`, once: an account that exists
    /// is left alone, whether its file is still there or not.
    ///
    /// The file is written before the account, so a crash in between leaves a file whose secret the next start
    /// takes.
    pub async fn ensure_operator(&self, path: &Path) -> anyhow::Result<()> {
        let mut tx = self.0.db.read().await?;
        let exists = service_accounts::by_id(&mut tx, ServiceAccountId::OPERATOR).await?.is_some();
        drop(tx);
        if exists {
            return Ok(());
        }
        let (secret, fresh) =
            self.operator_secret(path).with_context(|| format!("operator_file {}", path.display()))?;
        let digest = secret_digest(secret.expose());
        let now = self.0.db.time_by(&self.0.clock).await?;
        let account = built_in(ServiceAccountId::OPERATOR, ServiceRole::Operator, digest, now);
        let mut tx = self.0.db.begin().await?;
        let made = service_accounts::insert(&mut tx, &account).await?;
        tx.commit().await?;
        if made {
            tracing::info!(path = %path.display(), "wrote the operator's service account");
        } else if fresh {
            // Another replica was faster: what stands in this file opens nothing.
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// The secret in the operator's file, which is made if it does not exist; and whether it was.
    fn operator_secret(&self, path: &Path) -> anyhow::Result<(Secret, bool)> {
        let client_id = ServiceAccountId::OPERATOR.to_string();
        match fs::read(path) {
            Ok(text) => {
                let file: OperatorFile = serde_json::from_slice(&text)?;
                anyhow::ensure!(file.client_id == client_id, "is the file of another account: move it away");
                // Somebody wrote it by hand, perhaps: nothing that could be guessed opens the most powerful account.
                let secret = Token::parse(Secret::new(file.client_secret).expose()).context("client_secret")?;
                Ok((secret.to_text(), false))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Token::generate(&self.0.entropy).to_text();
                let file = OperatorFile { client_id, client_secret: secret.expose().clone() };
                write_once(path, &serde_json::to_vec_pretty(&file)?, self.0.entropy.u64_below(u64::MAX))?;
                Ok((secret, true))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn built_in(id: ServiceAccountId, role: ServiceRole, digest: TokenDigest, now: Timestamp) -> ServiceAccountRow {
    ServiceAccountRow {
        id,
        display_name: role.as_str().to_owned(),
        role: role.as_str().to_owned(),
        secret_digest: digest.as_bytes().to_vec(),
        previous_digest: None,
        previous_until: None,
        created_at: now,
        rotated_at: now,
        disabled_at: None,
    }
}

/// Writes a file that only this user can read; it appears whole, and never replaces another.
fn write_once(path: &Path, text: &[u8], unique: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{unique:x}.tmp"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file
        .write_all(text)
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    written
}
