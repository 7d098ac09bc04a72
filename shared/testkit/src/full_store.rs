//! A service whose store is full (kind L), as callers see it.

use std::time::Duration;

use bursar_db::Db;
use bursar_runtime::ReadyProbe;
use tonic::{Code, Status};

use crate::refusal::Refusal;
use crate::small_disk::SmallDisk;
use crate::sqlite::limit_pages;
use crate::until::until;

/// Fewer pages than there are: what there is stays, and no more is added.
const FULL: u32 = 1;
const ROOMY: u32 = 1_000_000;
/// By how much each call asks for more than the one before.
const MORE: usize = 40_000;
/// About as long as what one call writes may be.
const MOST: usize = 240_000;
/// How often the store fills up.
const ROUNDS: usize = 3;
/// How long a service may take to notice.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has a SQLite store fill up under the service that is on these connections, and demands that it is not ready, refuses what it
/// cannot write down, and goes on once there is room again. `write` has it write so many bytes under a request id; `goes_on` is
/// what works afterwards.
pub async fn fills_up(
    (store, ready): (&Db, &ReadyProbe),
    write: impl AsyncFn(usize, &str) -> Result<(), Status>,
    goes_on: impl AsyncFn(usize),
) {
    let mut length = 0;
    for round in 0..ROUNDS {
        ready.check().await.expect("ready");
        // More each time, so that what was given up before leaves no room for it. The connection may have been thrown away
        // since the limit was set, and another one knows nothing of it: then this was done.
        let (status, request_id) = loop {
            length += MORE;
            assert!(length <= MOST, "{round}: there is always room");
            let request_id = format!("r{length}");
            limit_pages(store, FULL).await;
            if let Err(status) = write(length, &request_id).await {
                break (status, request_id);
            }
        };
        let refusal = Refusal::of(&status);
        assert_eq!((refusal.code, refusal.retryable), (Code::Unavailable, true), "{round}: {refusal:?}");
        // The connection may have been thrown away, and another one knows nothing of the limit.
        until(PATIENCE, "it is not ready", async || {
            limit_pages(store, FULL).await;
            ready.check().await.is_err()
        })
        .await;
        limit_pages(store, ROOMY).await;
        until(PATIENCE, "it is ready again", async || ready.check().await.is_ok()).await;
        let more = write(length + 1, &format!("{request_id} again")).await;
        more.unwrap_or_else(|status| panic!("{round}: there is room again: {status:?}"));
        write(length, &request_id).await.expect("what was refused is done");
        goes_on(round).await;
    }
}

/// The same of a PostgreSQL store whose tables are on this disk, once.
pub async fn fills_up_on(
    disk: &SmallDisk,
    ready: &ReadyProbe,
    write: impl AsyncFn(usize, &str) -> Result<(), Status>,
    goes_on: impl AsyncFn(usize),
) {
    ready.check().await.expect("ready");
    disk.fill();
    let mut length = 0;
    // What tables have room for already is used up.
    let (status, request_id) = loop {
        length += MORE;
        assert!(length <= MOST, "the disk is full and nobody notices");
        let request_id = format!("r{length}");
        if let Err(status) = write(length, &request_id).await {
            break (status, request_id);
        }
    };
    let refusal = Refusal::of(&status);
    assert_eq!((refusal.code, refusal.retryable), (Code::Unavailable, true), "{refusal:?}");
    until(PATIENCE, "it is not ready", async || ready.check().await.is_err()).await;
    disk.clear();
    until(PATIENCE, "it is ready again", async || ready.check().await.is_ok()).await;
    write(length, &request_id).await.expect("what was refused is done");
    goes_on(0).await;
}

/// A text of so many letters that no database makes any shorter: the same each time.
pub fn incompressible(length: usize) -> String {
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // From `?` to `~`, which JSON spells as they are but for the backslash.
        char::from(b'?' + (state.to_be_bytes()[0] >> 2))
    };
    (0..length).map(|_| letter()).collect()
}
