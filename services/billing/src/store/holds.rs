//! Holds: credits reserved for work in progress.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bursar_db::{DbError, Tx, on};
use bursar_id::{Id, OwnerId, UserId, Uuid};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::{keys, sql, sql_one, unreadable, unreadable_form};
use crate::domain::{Hold, HoldState, HoldTerms, Labels};

#[derive(sqlx::FromRow)]
struct HoldRow {
    owner: Vec<u8>,
    number: i64,
    id: Uuid,
    state: String,
    deadline: Timestamp,
    settled_at: Option<Timestamp>,
    captured: Credits,
    charge: Option<Uuid>,
    member: Uuid,
    labels: Option<String>,
    terms: Vec<u8>,
}

impl HoldRow {
    fn read(self) -> Result<(OwnerId, Hold), DbError> {
        let labels: BTreeMap<String, String> =
            self.labels.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?.unwrap_or_default();
        let bad = |why| unreadable_form(why, format_args!("the terms of hold {}: {why}", self.number));
        let hold = Hold {
            id: Id::from_uuid(self.id),
            number: keys::read_number(self.number)?,
            terms: Arc::new(HoldTerms::from_bytes(&self.terms).map_err(bad)?),
            labels: Labels::parse(labels).map_err(unreadable)?,
            state: self.state.parse().map_err(unreadable)?,
            deadline: self.deadline,
            settled_at: self.settled_at,
            captured: self.captured,
            charge: self.charge.map(Id::from_uuid),
        };
        Ok((keys::read_owner(&self.owner)?, hold))
    }

    fn filed(self) -> Result<Filed, DbError> {
        let member = Id::from_uuid(self.member);
        Ok((self.read()?.1, member))
    }
}

/// A hold, and the member in whose name it is stored: by that it is found when the member's details are to be erased.
pub(crate) type Filed = (Hold, UserId);

fn read(rows: Vec<HoldRow>) -> Result<Vec<(OwnerId, Hold)>, DbError> {
    rows.into_iter().map(HoldRow::read).collect()
}

/// A hold's labels in their stored form; null for none.
pub(super) fn labels(hold: &Hold) -> Option<String> {
    // A map of texts always has a JSON form.
    (!hold.labels.is_empty()).then(|| serde_json::to_string(hold.labels.as_map()).unwrap_or_default())
}

/// Up to `limit` open holds of these owners whose deadline is `now` or before, in the order of owners and then of
/// deadlines.
pub(crate) async fn overdue(
    tx: &mut Tx,
    owners: &[OwnerId],
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(OwnerId, Hold)>, DbError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    read(match tx {
        Tx::Sqlite(t) => {
            let overdue = sqlx::query_as(sql::OVERDUE_HOLDS.sqlite).bind(keys::owner_list(owners)).bind(now);
            overdue.bind(limit).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let [owner] = owners => {
            let overdue = sqlx::query_as(sql_one::OVERDUE_HOLDS).bind(keys::owner(*owner)).bind(now);
            overdue.bind(limit).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let overdue = sqlx::query_as(sql::OVERDUE_HOLDS.postgres).bind(keys::owners(owners)).bind(now);
            overdue.bind(limit).fetch_all(&mut **t).await?
        }
    })
}

/// An open hold whose deadline has come, as far as its end asks for.
#[derive(sqlx::FromRow)]
struct LapsedRow {
    number: i64,
    id: Uuid,
    deadline: Timestamp,
    terms: Vec<u8>,
}

impl LapsedRow {
    fn read(self) -> Result<Hold, DbError> {
        let bad = |why| unreadable_form(why, format_args!("the terms of hold {}: {why}", self.number));
        Ok(Hold {
            id: Id::from_uuid(self.id),
            number: keys::read_number(self.number)?,
            terms: Arc::new(HoldTerms::from_bytes(&self.terms).map_err(bad)?),
            labels: Labels::default(),
            state: HoldState::Open,
            deadline: self.deadline,
            settled_at: None,
            captured: Credits::ZERO,
            charge: None,
        })
    }
}

/// A page of one owner's open holds whose deadline is `now` or before, in the order of their deadlines, after a deadline
/// and number. Their labels are left out: whoever looks past what has lapsed needs none.
pub(crate) async fn lapsed(
    tx: &mut Tx,
    owner: OwnerId,
    now: Timestamp,
    (deadline, number): (Timestamp, u64),
    limit: usize,
) -> Result<Vec<Hold>, DbError> {
    let (number, limit) = (keys::number(number), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows: Vec<LapsedRow> = on!(tx, c => sqlx::query_as(sql::LAPSED_HOLDS)
        .bind(keys::owner(owner)).bind(now).bind(deadline).bind(number).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(LapsedRow::read).collect()
}

/// Holds named one by one by the numbers of the entries that placed them, in whatever state.
pub(crate) async fn named(tx: &mut Tx, holds: &[(OwnerId, u64)]) -> Result<Vec<(OwnerId, Hold)>, DbError> {
    read(rows_named(tx, holds).await?)
}

/// The same, with the members in whose names they are stored.
pub(crate) async fn named_filed(tx: &mut Tx, holds: &[(OwnerId, u64)]) -> Result<Vec<Filed>, DbError> {
    rows_named(tx, holds).await?.into_iter().map(HoldRow::filed).collect()
}

async fn rows_named(tx: &mut Tx, holds: &[(OwnerId, u64)]) -> Result<Vec<HoldRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::HOLDS_NAMED.sqlite).bind(keys::number_list(holds)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(holds) => {
            let named = sqlx::query_as(sql_one::HOLDS_NAMED).bind(keys::owner(owner)).bind(keys::numbers(holds));
            named.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, numbers) = keys::number_columns(holds);
            sqlx::query_as(sql::HOLDS_NAMED.postgres).bind(owners).bind(numbers).fetch_all(&mut **t).await?
        }
    })
}

/// A page of one owner's open holds in the order of their deadlines, after a deadline and number.
pub(crate) async fn open(
    tx: &mut Tx,
    owner: OwnerId,
    after: (Timestamp, u64),
    limit: i64,
) -> Result<Vec<Hold>, DbError> {
    Ok(open_filed(tx, owner, after, limit).await?.into_iter().map(|(hold, _)| hold).collect())
}

/// The same with the members in whose names they are stored.
pub(crate) async fn open_filed(
    tx: &mut Tx,
    owner: OwnerId,
    (deadline, number): (Timestamp, u64),
    limit: i64,
) -> Result<Vec<Filed>, DbError> {
    let rows: Vec<HoldRow> = on!(tx, c => sqlx::query_as(sql::OPEN_HOLDS)
        .bind(keys::owner(owner)).bind(deadline).bind(keys::number(number)).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(HoldRow::filed).collect()
}

/// The next deadline after `now` of each of these owners that has an open hold then.
pub(crate) async fn next_deadlines(
    tx: &mut Tx,
    owners: &[OwnerId],
    now: Timestamp,
) -> Result<HashMap<OwnerId, Timestamp>, DbError> {
    let rows: Vec<(Vec<u8>, Timestamp)> = match tx {
        Tx::Sqlite(t) => {
            let next = sqlx::query_as(sql::NEXT_DEADLINES.sqlite).bind(keys::owner_list(owners)).bind(now);
            next.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let [owner] = owners => {
            let next = sqlx::query_as(sql_one::NEXT_DEADLINE).bind(keys::owner(*owner)).bind(now);
            next.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let next = sqlx::query_as(sql::NEXT_DEADLINES.postgres).bind(keys::owners(owners)).bind(now);
            next.fetch_all(&mut **t).await?
        }
    };
    rows.into_iter().map(|(owner, deadline)| Ok((keys::read_owner(&owner)?, deadline))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_a_later_program_are_newer_and_not_broken() {
        let row = |format: u8| HoldRow {
            owner: Vec::new(),
            number: 1,
            id: Uuid::nil(),
            state: "OPEN".to_owned(),
            deadline: Timestamp::EPOCH,
            settled_at: None,
            captured: Credits::ZERO,
            charge: None,
            member: Uuid::nil(),
            labels: None,
            terms: vec![format],
        };
        let corrupt = DbError::corrupt(String::new());
        let same = |a: &DbError, b: &DbError| std::mem::discriminant(a) == std::mem::discriminant(b);
        assert!(matches!(row(2).read(), Err(DbError::NewerFormat { .. })));
        assert!(row(0).read().is_err_and(|error| same(&error, &corrupt)));
        assert!(row(1).read().is_err_and(|error| same(&error, &corrupt)), "cut off");
    }
}
