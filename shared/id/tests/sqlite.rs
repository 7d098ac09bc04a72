//! Ids in a database. `PostgreSQL` takes the same implementations; the crates that own tables try them there.

use bursar_id::{LotId, OrganizationId, OwnerId, RequestId, Role, UserId};
use sqlx::postgres::{PgHasArrayType, Postgres};
use sqlx::{Connection as _, Decode, Encode, Row as _, SqliteConnection, Type};

#[tokio::test]
async fn every_type_comes_back_as_it_was_bound() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let lot = LotId::from_parts(1, [9; 10]);
    let owners = [OwnerId::from(UserId::from_parts(2, [8; 10])), OwnerId::from(OrganizationId::from_parts(3, [7; 10]))];
    let request = RequestId::parse("Gr\u{fc}\u{df}e").unwrap();
    sqlx::query("CREATE TABLE t (lot TEXT, owner TEXT, role TEXT, request TEXT, none TEXT) STRICT")
        .execute(&mut db)
        .await
        .unwrap();
    for owner in owners {
        let row = sqlx::query("INSERT INTO t VALUES ($1, $2, $3, $4, $5) RETURNING *")
            .bind(lot)
            .bind(owner)
            .bind(Role::Admin)
            .bind(&request)
            .bind(None::<LotId>)
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert_eq!(row.get::<String, _>("lot"), lot.to_string());
        assert_eq!(row.get::<LotId, _>("lot"), lot);
        assert_eq!(row.get::<OwnerId, _>("owner"), owner);
        assert_eq!(row.get::<Role, _>("role"), Role::Admin);
        assert_eq!(row.get::<RequestId, _>("request"), request);
        assert_eq!(row.get::<Option<LotId>, _>("none"), None);
    }
}

#[tokio::test]
async fn a_column_of_another_kind_is_an_error() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let user = UserId::from_parts(2, [8; 10]);
    let row = sqlx::query("SELECT $1 AS id, 'GUEST' AS role").bind(user).fetch_one(&mut db).await.unwrap();
    assert_eq!(row.try_get::<UserId, _>("id").ok(), Some(user));
    let error = row.try_get::<OrganizationId, _>("id").unwrap_err().to_string();
    assert!(error.contains("must be an id that starts with org_"), "{error}");
    let error = row.try_get::<Role, _>("role").unwrap_err().to_string();
    assert!(error.contains("must be OWNER, ADMIN or MEMBER"), "{error}");
}

#[test]
fn postgres_takes_text_and_arrays_of_text() {
    fn is_text<T: Type<Postgres> + PgHasArrayType>()
    where
        for<'q> Vec<T>: Encode<'q, Postgres> + Decode<'q, Postgres>,
    {
        assert_eq!(T::type_info(), <String as Type<Postgres>>::type_info());
        assert!(T::compatible(&<String as Type<Postgres>>::type_info()));
        assert_eq!(T::array_type_info(), String::array_type_info());
        assert_eq!(<Vec<T> as Type<Postgres>>::type_info(), <Vec<String> as Type<Postgres>>::type_info());
    }
    is_text::<UserId>();
    is_text::<OwnerId>();
    is_text::<Role>();
    is_text::<RequestId>();
}
