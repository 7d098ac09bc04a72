//! Rows of `policies`: what the deployment has, and what organizations have set themselves.
//!
//! Everywhere but in organization's own store they are what its events told last; there they are what it tells.

use std::collections::HashMap;

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::{OrganizationId, OwnerId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::named::{Named, Row};
use crate::policy::{OwnPolicy, Policy};
use crate::words::stored;

/// The owner of the deployment's own row.
const DEPLOYMENT: &[u8] = &[];

const NAMED: Named = Named {
    sqlite: "SELECT owner, policy FROM policies WHERE owner IN (SELECT unhex(value) FROM json_each($1))",
    postgres: "SELECT owner, policy FROM policies WHERE owner = any($1)",
};
const LEARN: &str = "INSERT INTO policies (owner, policy, incarnation, version) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (owner) DO UPDATE SET policy = excluded.policy, incarnation = excluded.incarnation, \
    version = excluded.version WHERE policies.incarnation < excluded.incarnation \
    OR (policies.incarnation = excluded.incarnation AND policies.version < excluded.version)";
const DECIDE: &str = "INSERT INTO policies (owner, policy, incarnation, version) VALUES ($1, $2, 0, 1) \
    ON CONFLICT (owner) DO UPDATE SET policy = excluded.policy, version = policies.version + 1 \
    WHERE policies.policy <> excluded.policy RETURNING version";
const DEPLOYMENTS: &str = "SELECT policy, version FROM policies WHERE owner = $1";
/// The deployment's row stays until another word comes: nobody can do without.
const FORGET_BEFORE: &str = "DELETE FROM policies WHERE incarnation < $1 AND owner <> $2";
const BETWEEN: &str = "SELECT owner, policy, version FROM policies WHERE owner > $1 AND owner <= $2 \
    ORDER BY owner LIMIT $3";
const ERASE: &str = "DELETE FROM policies WHERE owner = $1 RETURNING version";
const DOUBT: &str = "UPDATE policies SET incarnation = 0, version = 0 WHERE owner = $1";

/// Every statement, for the test that prepares each on both engines.
#[doc(hidden)]
pub const SQLITE: &[&str] = &[NAMED.sqlite, LEARN, DECIDE, DEPLOYMENTS, FORGET_BEFORE, BETWEEN, DOUBT, ERASE];
/// The same for PostgreSQL.
#[doc(hidden)]
pub const POSTGRES: &[&str] = &[NAMED.postgres, LEARN, DECIDE, DEPLOYMENTS, FORGET_BEFORE, BETWEEN, DOUBT, ERASE];

/// The policies of some owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    deployment: Option<Policy>,
    own: HashMap<OwnerId, OwnPolicy>,
}

impl Policies {
    /// What the deployment has; `None` before it was ever told.
    pub fn deployment(&self) -> Option<Policy> {
        self.deployment
    }

    /// What holds for one of the owners that were asked for; `None` before the deployment's policies were ever told.
    pub fn of(&self, owner: OwnerId) -> Option<Policy> {
        let own = self.own.get(&owner).copied().unwrap_or_default();
        self.deployment.map(|deployment| own.over(&deployment))
    }

    /// What one of the owners that were asked for has set itself.
    pub fn own(&self, owner: OwnerId) -> OwnPolicy {
        self.own.get(&owner).copied().unwrap_or_default()
    }
}

/// The policies of these owners, and the deployment's, in a transaction. One round trip, however many.
pub async fn of(tx: &mut Tx, owners: &[OwnerId]) -> Result<Policies, DbError> {
    policies(NAMED.of(tx, keys(owners)).await?)
}

/// The same outside of any transaction.
pub async fn of_now(db: &Db, owners: &[OwnerId]) -> Result<Policies, DbError> {
    policies(NAMED.of_now(db, keys(owners)).await?)
}

/// Their keys, and the deployment's. A person's own account has no policy of its own.
fn keys(owners: &[OwnerId]) -> Vec<Vec<u8>> {
    let organizations = owners.iter().filter(|owner| owner.organization().is_some());
    organizations.map(|owner| owner.to_bytes().to_vec()).chain([DEPLOYMENT.to_vec()]).collect()
}

fn policies(rows: Vec<Row>) -> Result<Policies, DbError> {
    let mut policies = Policies::default();
    for (owner, policy) in rows {
        if owner == DEPLOYMENT {
            policies.deployment = Some(read(&policy)?);
        } else {
            policies.own.insert(owner_of(&owner)?, read(&policy)?);
        }
    }
    Ok(policies)
}

fn owner_of(bytes: &[u8]) -> Result<OwnerId, DbError> {
    OwnerId::from_bytes(bytes).ok_or_else(|| DbError::corrupt("an owner of policies is none"))
}

fn read<P: DeserializeOwned>(policy: &str) -> Result<P, DbError> {
    serde_json::from_str(policy).map_err(|error| DbError::corrupt(format!("a policy: {error}")))
}

fn written<P: Serialize>(policy: &P) -> Result<String, DbError> {
    serde_json::to_string(policy).map_err(|error| DbError::corrupt(format!("a policy: {error}")))
}

/// Remembers what an organization has set, unless something later is known.
pub(crate) async fn learn(
    tx: &mut Tx,
    owner: OwnerId,
    own: &OwnPolicy,
    incarnation: u64,
    version: u64,
) -> Result<(), DbError> {
    save(tx, &owner.to_bytes(), written(own)?, incarnation, version).await
}

/// Remembers what the deployment has, unless something later is known.
pub(crate) async fn learn_deployment(
    tx: &mut Tx,
    policy: &Policy,
    incarnation: u64,
    version: u64,
) -> Result<(), DbError> {
    save(tx, DEPLOYMENT, written(policy)?, incarnation, version).await
}

async fn save(tx: &mut Tx, owner: &[u8], policy: String, incarnation: u64, version: u64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(LEARN)
        .bind(owner)
        .bind(policy)
        .bind(stored(incarnation))
        .bind(stored(version))
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Forgets what organizations had set when no word of this incarnation or a later one told of it.
pub(crate) async fn forget_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET_BEFORE).bind(stored(incarnation)).bind(DEPLOYMENT).execute(c).await?.rows_affected());
    Ok(())
}

/// What is known of the policies of the organizations after one and up to another, and under which version, in the order of
/// their ids, at most `limit`; `None` is the beginning, and the end.
pub async fn between(
    tx: &mut Tx,
    (after, last): (Option<OwnerId>, Option<OwnerId>),
    limit: i64,
) -> Result<Vec<(OwnerId, OwnPolicy, u64)>, DbError> {
    let after = after.map_or_else(|| DEPLOYMENT.to_vec(), |owner| owner.to_bytes().to_vec());
    let last = last.map_or_else(|| vec![0xff; 17], |owner| owner.to_bytes().to_vec());
    let rows: Vec<(Vec<u8>, String, i64)> =
        on!(tx, c => sqlx::query_as(BETWEEN).bind(after).bind(last).bind(limit).fetch_all(c).await?);
    let read = |(owner, policy, version): (Vec<u8>, String, i64)| {
        Ok((owner_of(&owner)?, read(&policy)?, version.unsigned_abs()))
    };
    rows.into_iter().map(read).collect()
}

/// Has any word hold against what is known of an owner's policies, the deployment's where there is none: it is wrong. Nothing
/// else changes until one comes.
pub async fn doubt(tx: &mut Tx, owner: Option<OwnerId>) -> Result<(), DbError> {
    let owner = owner.map_or_else(|| DEPLOYMENT.to_vec(), |owner| owner.to_bytes().to_vec());
    on!(tx, c => sqlx::query(DOUBT).bind(owner).execute(c).await?.rows_affected());
    Ok(())
}

/// For organization alone, in its own store: an organization decides. The version under which that is to be told;
/// `None` when it is as it was. The organization must be locked.
pub async fn decide(tx: &mut Tx, organization: OrganizationId, own: &OwnPolicy) -> Result<Option<u64>, DbError> {
    decided(tx, &OwnerId::Organization(organization).to_bytes(), written(own)?).await
}

/// For organization alone, in its own store: an organization that decides nothing any more. The version under which that is to
/// be told; `None` when it never decided anything. The organization must be locked.
pub async fn erase(tx: &mut Tx, organization: OrganizationId) -> Result<Option<u64>, DbError> {
    let owner = OwnerId::Organization(organization).to_bytes();
    let version: Option<(i64,)> = on!(tx, c => sqlx::query_as(ERASE).bind(owner.as_slice()).fetch_optional(c).await?);
    Ok(version.map(|(version,)| version.unsigned_abs().saturating_add(1)))
}

/// For organization alone, in its own store: the settings say what the deployment has. The version under which that is to
/// be told; `None` when it was told already.
pub async fn decide_deployment(tx: &mut Tx, policy: &Policy) -> Result<Option<u64>, DbError> {
    decided(tx, DEPLOYMENT, written(policy)?).await
}

async fn decided(tx: &mut Tx, owner: &[u8], policy: String) -> Result<Option<u64>, DbError> {
    let version: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(DECIDE).bind(owner).bind(policy).fetch_optional(c).await?);
    Ok(version.map(|(version,)| version.unsigned_abs()))
}

/// For organization's snapshot: what the deployment has, and under which version it was told.
pub async fn told_deployment(tx: &mut Tx) -> Result<Option<(Policy, u64)>, DbError> {
    let row: Option<(String, i64)> =
        on!(tx, c => sqlx::query_as(DEPLOYMENTS).bind(DEPLOYMENT).fetch_optional(c).await?);
    row.map(|(policy, version)| Ok((read(&policy)?, version.unsigned_abs()))).transpose()
}
