//! Times in a database. `PostgreSQL` takes the same implementations; the crates that own tables try them
//! there.

use bursar_time::{Span, Timestamp};
use sqlx::postgres::{PgHasArrayType, Postgres};
use sqlx::{Connection as _, Decode, Encode, Row as _, SqliteConnection, Type};

#[tokio::test]
async fn times_and_spans_come_back_as_they_were_bound() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for time in [Timestamp::MIN, Timestamp::EPOCH, Timestamp::MAX] {
        let row = sqlx::query("SELECT $1 AS time, $2 AS span, $3 AS none, 9223372036854775807 AS high")
            .bind(time)
            .bind(Span::DAY)
            .bind(None::<Timestamp>)
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert_eq!(row.get::<i64, _>("time"), time.as_micros());
        assert_eq!(row.get::<Timestamp, _>("time"), time);
        assert_eq!(row.get::<Span, _>("span"), Span::DAY);
        assert_eq!(row.get::<Option<Timestamp>, _>("none"), None);
        assert!(row.try_get::<Timestamp, _>("high").is_err());
        assert!(row.try_get::<Span, _>("high").is_err());
    }
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
    is_bigint::<Timestamp>();
    is_bigint::<Span>();
}
