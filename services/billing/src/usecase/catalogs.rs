//! Catalogs by version: the present one is kept at start, every one that was ever used can be read.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bursar_db::{Db, DbError};
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

use crate::catalog::{self, FORMAT};
use crate::domain::{Catalog, CatalogVersion, KeptCatalog};
use crate::error::Error;
use crate::store::catalogs::{self, CatalogRow};

/// How often keeping a catalog is tried. Each time it fails another replica has kept another catalog.
const ATTEMPTS: u32 = 16;

/// Gives a catalog its version: the one it was used under before, or the next.
pub(crate) async fn keep(db: &Db, catalog: Arc<Catalog>, now: Timestamp) -> Result<KeptCatalog, Error> {
    let body = catalog::canonical(&catalog).map_err(|error| DbError::corrupt(error.to_string()))?;
    let digest = Sha256::digest(&body);
    for _ in 0..ATTEMPTS {
        let mut tx = db.begin().await?;
        if let Some(row) = catalogs::by_digest(&mut tx, &digest).await? {
            return Ok(KeptCatalog { version: row.version()?, first_used_at: row.first_used_at, catalog });
        }
        catalogs::insert(&mut tx, &digest, FORMAT, &body, now).await?;
        tx.commit().await?;
    }
    Err(Error::Unavailable)
}

/// Reads catalogs.
#[derive(Clone)]
pub(crate) struct CatalogUseCases {
    pub(crate) db: Db,
    /// The catalog that this process sells and prices by.
    pub(crate) present: Arc<KeptCatalog>,
}

impl CatalogUseCases {
    /// The catalog of this version; the present one for zero.
    pub(crate) async fn version(&self, number: u32) -> Result<Arc<KeptCatalog>, Error> {
        let Some(version) = CatalogVersion::new(number).filter(|version| *version != self.present.version) else {
            return Ok(Arc::clone(&self.present));
        };
        let mut tx = self.db.read().await?;
        let row = catalogs::by_version(&mut tx, version).await?.ok_or(Error::CatalogVersionNotFound(number))?;
        Ok(Arc::new(read(&row)?))
    }
}

/// A catalog of its kept text.
pub(super) fn read(row: &CatalogRow) -> Result<KeptCatalog, Error> {
    let version = row.version()?;
    if row.format > FORMAT {
        return Err(Error::NewerFormat);
    }
    let damaged = |what: &str| Error::Store(DbError::corrupt(format!("catalog {version}: {what}")));
    if Sha256::digest(&row.body)[..] != row.digest[..] {
        return Err(damaged("its text is not what was kept"));
    }
    let catalog = catalog::from_canonical(&row.body).map_err(|flaws| damaged(&flaws.join("; ")))?;
    Ok(KeptCatalog { version, first_used_at: row.first_used_at, catalog: Arc::new(catalog) })
}
