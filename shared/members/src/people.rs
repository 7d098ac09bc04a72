//! Who is suspended, for the stack of a service that knows it from identity's events.

use std::collections::HashSet;

use bursar_db::{Db, DbError};
use bursar_rpc::Suspended;

use crate::standings;

/// Of how many users a process remembers that they are suspended. Operators suspend people one by one; more are a fault,
/// which is logged.
const MOST: usize = 65_536;

/// Whom the store knows to be suspended, for a stack before its first call.
pub async fn known(db: &Db) -> Result<Suspended, DbError> {
    let suspended = Suspended::default();
    follow(db, &suspended).await?;
    Ok(suspended)
}

/// Has this process know whom the store knows to be suspended: to be called often enough that it holds within two seconds,
/// whichever replica has applied the event that told of it.
pub async fn follow(db: &Db, suspended: &Suspended) -> Result<(), DbError> {
    let found: HashSet<_> = standings::suspended(db, MOST + 1).await?.into_iter().collect();
    if found.len() > MOST {
        tracing::error!(most = MOST, "more users are suspended than a process remembers");
    }
    suspended.replace(found);
    Ok(())
}
