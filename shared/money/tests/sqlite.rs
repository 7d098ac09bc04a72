//! Amounts in a database. `PostgreSQL` takes the same implementations; the crates that own tables try them
//! there.

use bursar_money::{CreditDelta, Credits, Currency, Quantity};
use sqlx::postgres::{PgHasArrayType, Postgres};
use sqlx::{Connection as _, Decode, Encode, Row as _, SqliteConnection, Type};

#[tokio::test]
async fn every_type_comes_back_as_it_was_bound() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::query("CREATE TABLE t (credits INTEGER, delta INTEGER, quantity INTEGER, currency TEXT) STRICT")
        .execute(&mut db)
        .await
        .unwrap();
    for credits in [Credits::ZERO, Credits::ONE, Credits::MAX] {
        let row = sqlx::query("INSERT INTO t VALUES ($1, $2, $3, $4) RETURNING *")
            .bind(credits)
            .bind(CreditDelta::minus(credits))
            .bind(Quantity::ONE)
            .bind(Currency::EUR)
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert_eq!(row.get::<i64, _>("credits"), credits.micro());
        assert_eq!(row.get::<Credits, _>("credits"), credits);
        assert_eq!(row.get::<CreditDelta, _>("delta"), CreditDelta::minus(credits));
        assert_eq!(row.get::<Quantity, _>("quantity"), Quantity::ONE);
        assert_eq!(row.get::<Currency, _>("currency"), Currency::EUR);
    }
}

#[tokio::test]
async fn a_number_outside_the_range_is_an_error() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let row = sqlx::query("SELECT -1 AS low, 9223372036854775807 AS high, 'usd' AS currency, '1' AS text")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let message = |error: sqlx::Error| error.to_string();
    assert!(message(row.try_get::<Credits, _>("low").unwrap_err()).contains("must not be negative"));
    assert!(message(row.try_get::<Credits, _>("high").unwrap_err()).contains("must not be more than"));
    assert!(row.try_get::<CreditDelta, _>("low").is_ok());
    assert!(row.try_get::<CreditDelta, _>("high").is_err());
    assert!(row.try_get::<Quantity, _>("low").is_err());
    assert!(row.try_get::<Currency, _>("currency").is_err());
    assert!(row.try_get::<Credits, _>("text").is_err());
}

#[test]
fn postgres_takes_bigint_and_arrays_of_it() {
    fn is_bigint<T: Type<Postgres> + PgHasArrayType>()
    where
        for<'q> Vec<T>: Encode<'q, Postgres> + Decode<'q, Postgres>,
    {
        assert_eq!(T::type_info(), <i64 as Type<Postgres>>::type_info());
        assert_eq!(<Vec<T> as Type<Postgres>>::type_info(), <Vec<i64> as Type<Postgres>>::type_info());
    }
    is_bigint::<Credits>();
    is_bigint::<CreditDelta>();
    is_bigint::<Quantity>();
    assert_eq!(Currency::array_type_info(), String::array_type_info());
}
