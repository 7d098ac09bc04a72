//! Catalogs by version: the one that is in use and those before it, every one of which can be read.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bursar_db::{Db, DbError, Tx};
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::catalog::{self, FORMAT};
use crate::domain::{Assortment, Catalog, CatalogVersion, KeptCatalog};
use crate::error::Error;
use crate::store::catalogs::{self, CatalogRow};

/// How often keeping a catalog is tried. Each time it fails another replica has kept another catalog.
const ATTEMPTS: u32 = 16;

/// Of how many catalogs it is looked at start what they had that the present one has not.
const EARLIER: u32 = 100;

/// Gives a catalog its version: the one it was used under before, or the next.
pub(crate) async fn keep(db: &Db, catalog: Arc<Catalog>, now: Timestamp) -> Result<KeptCatalog, Error> {
    let mut tx = db.begin().await?;
    let kept = keep_in(&mut tx, catalog, now).await?;
    tx.commit().await?;
    Ok(kept)
}

/// The same in a transaction that does more.
pub(super) async fn keep_in(tx: &mut Tx, catalog: Arc<Catalog>, now: Timestamp) -> Result<KeptCatalog, Error> {
    let body = catalog::canonical(&catalog).map_err(|error| DbError::corrupt(error.to_string()))?;
    let digest = Sha256::digest(&body);
    for _ in 0..ATTEMPTS {
        if let Some(row) = catalogs::by_digest(tx, &digest).await? {
            return Ok(KeptCatalog { version: row.version()?, first_used_at: row.first_used_at, catalog });
        }
        catalogs::insert(tx, &digest, catalog::format(&catalog), &body, now).await?;
    }
    Err(Error::Unavailable)
}

/// What a program begins with: its catalog, and what those had that were used before and this one has not.
pub(crate) async fn assortment(db: &Db, present: KeptCatalog, now: Timestamp) -> Result<Assortment, Error> {
    let mut assortment = Assortment::new(Arc::new(present), now);
    let mut tx = db.read().await?;
    let last = catalogs::latest(&mut tx, 1).await?.first().map(CatalogRow::version).transpose()?;
    let last = last.map_or(0, CatalogVersion::get);
    // One by one: together they may be as long as a hundred of them.
    for number in (last.saturating_sub(EARLIER)..=last).rev() {
        let earlier = CatalogVersion::new(number).filter(|it| *it != assortment.present().version);
        let Some(version) = earlier else { continue };
        let Some(row) = catalogs::by_version(&mut tx, version).await? else { continue };
        match read(&row) {
            Ok(kept) => assortment.remember(&kept),
            // A later program has kept it, or it is damaged: whoever asks for it is told so. Selling goes on.
            Err(error) => tracing::warn!(%version, %error, "what an earlier catalog had cannot be read"),
        }
    }
    Ok(assortment)
}

/// Where it is read what this process sells and prices by. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CatalogHandle(watch::Receiver<Arc<Assortment>>);

/// By which it is replaced.
#[derive(Debug)]
pub(crate) struct CatalogSource(watch::Sender<Arc<Assortment>>);

impl CatalogSource {
    /// A source that begins with this.
    pub(crate) fn new(assortment: Assortment) -> Self {
        Self(watch::Sender::new(Arc::new(assortment)))
    }

    /// Where it is read.
    pub(crate) fn handle(&self) -> CatalogHandle {
        CatalogHandle(self.0.subscribe())
    }

    /// Replaces it as a whole.
    pub(super) fn replace(&self, next: Arc<Assortment>) {
        self.0.send_replace(next);
    }
}

impl CatalogHandle {
    /// What is sold now. Whoever decides one thing by it asks once: it may be replaced at any time.
    pub(crate) fn current(&self) -> Arc<Assortment> {
        Arc::clone(&self.0.borrow())
    }
}

/// Reads catalogs.
#[derive(Clone)]
pub(crate) struct CatalogUseCases {
    pub(crate) db: Db,
    /// The catalog that this process sells and prices by.
    pub(crate) present: CatalogHandle,
}

impl CatalogUseCases {
    /// The catalog that is in use.
    pub(crate) fn present(&self) -> Arc<KeptCatalog> {
        Arc::clone(self.present.current().present())
    }

    /// The catalog of this version; the present one for zero.
    pub(crate) async fn version(&self, number: u32) -> Result<Arc<KeptCatalog>, Error> {
        let present = self.present();
        let Some(version) = CatalogVersion::new(number).filter(|version| *version != present.version) else {
            return Ok(present);
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
