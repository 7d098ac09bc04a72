//! The form in a database: BIGINT microseconds on both engines, `BIGINT[]` where `PostgreSQL` takes
//! whole columns.
//!
//! A stored number outside the range is an error on reading, never a wrong time.

use sqlx::database::Database;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{Decode, Type};

use crate::{Span, Timestamp};

/// The BIGINT form of a type that is a checked number of microseconds.
macro_rules! bigint_column {
    ($type:ty) => {
        impl<DB: Database> Type<DB> for $type
        where
            i64: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <i64 as Type<DB>>::type_info()
            }
            fn compatible(ty: &DB::TypeInfo) -> bool {
                <i64 as Type<DB>>::compatible(ty)
            }
        }
        impl<'q, DB: Database> Encode<'q, DB> for $type
        where
            i64: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <i64 as Encode<'q, DB>>::encode_by_ref(&self.as_micros(), buffer)
            }
        }
        impl<'r, DB: Database> Decode<'r, DB> for $type
        where
            i64: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(Self::from_micros(<i64 as Decode<'r, DB>>::decode(value)?)?)
            }
        }
        impl PgHasArrayType for $type {
            fn array_type_info() -> PgTypeInfo {
                <i64 as PgHasArrayType>::array_type_info()
            }
        }
    };
}

bigint_column!(Timestamp);
bigint_column!(Span);
