//! Moves of a subscription to an organization that were refused for good.

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::OwnerId;
use bursar_rpc::Kept;
use bursar_time::{Span, Timestamp};

use super::subscriptions::read_kept;

/// How long a refusal stands: longer than organization's job may ask again, which gives up after some forty days.
pub(crate) const KEEP: Span = Span::from_days(366);

const INSERT: &str = "INSERT INTO refused_moves (owner, request, request_hash, first_answer, refused_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner) DO NOTHING";
const KEPT: &str = "SELECT request_hash, first_answer FROM refused_moves WHERE owner = $1 AND request = $2";
/// Up to the age of the last of so many: more only of one age.
const FORGET: &str = "DELETE FROM refused_moves WHERE refused_at <= (SELECT MAX(oldest.refused_at) FROM \
     (SELECT refused_at FROM refused_moves WHERE refused_at < $1 ORDER BY refused_at LIMIT $2) AS oldest)";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 3] = [("INSERT", INSERT), ("KEPT", KEPT), ("FORGET", FORGET)];

/// Remembers that nothing moves to this organization, by what is kept of the request that was refused.
pub(crate) async fn insert(tx: &mut Tx, to: OwnerId, kept: &Kept, now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(INSERT)
        .bind(to).bind(kept.request.as_slice()).bind(kept.body_hash.as_slice()).bind(kept.answer.as_slice()).bind(now)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// What is kept of the request by which a move to this organization was refused.
pub(crate) async fn kept(tx: &mut Tx, to: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, DbError> {
    let row = on!(tx, c => sqlx::query_as(KEPT).bind(to).bind(request.as_slice()).fetch_optional(c).await?);
    read_kept(request, row)
}

/// Forgets the refusals that are older than [`KEEP`], in small transactions; how many.
pub(crate) async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    bursar_db::forget_before(db, FORGET, now.saturating_sub(KEEP)).await
}

#[cfg(test)]
mod tests {
    use bursar_testkit::{engines, id};

    use super::*;
    use crate::store::MIGRATIONS;

    engines! {
        async fn a_refusal_is_forgotten_when_nobody_can_ask_any_more(db: TestDb) {
            let db = db.open(&MIGRATIONS).await;
            let [first, second] = [1, 2].map(|n| OwnerId::Organization(id(n)));
            let now = Timestamp::from_micros(1_785_000_000_000_000).unwrap();
            let later = now.saturating_add(Span::HOUR);
            let kept_as = |answer: &[u8]| Kept { request: [7; 16], body_hash: [8; 32], answer: answer.to_vec() };
            let mut tx = db.begin().await.unwrap();
            insert(&mut tx, first, &kept_as(b"no"), now).await.unwrap();
            insert(&mut tx, first, &kept_as(b"yes"), later).await.unwrap();
            insert(&mut tx, second, &kept_as(b"no"), later).await.unwrap();
            assert_eq!(kept(&mut tx, first, [7; 16]).await.unwrap(), Some(kept_as(b"no")), "the first answer stands");
            assert_eq!(kept(&mut tx, first, [9; 16]).await.unwrap(), None, "another request");
            tx.commit().await.unwrap();
            for (at, gone) in [(now.saturating_add(KEEP), 0), (later.saturating_add(KEEP), 1), (later.saturating_add(KEEP), 0)] {
                assert_eq!(forget(&db, at).await.unwrap(), gone);
            }
            let mut tx = db.begin().await.unwrap();
            assert_eq!(kept(&mut tx, first, [7; 16]).await.unwrap(), None);
            assert_eq!(kept(&mut tx, second, [7; 16]).await.unwrap(), Some(kept_as(b"no")));
        }
    }
}
