//! The form in a database: TEXT on both engines, and `TEXT[]` where `PostgreSQL` takes whole columns.
//!
//! What a database holds is parsed as strictly as what a caller sends: a column of the wrong kind is
//! an error, never another id.

use sqlx::database::Database;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{Decode, Type};

use crate::{Id, Kind, OwnerId, RequestId, Role};

/// The column form of a type: how it borrows its text, and how it is read back.
macro_rules! text_column {
    ([$($generics:tt)*] $type:ty, $value:ident => $text:expr, $parse:expr) => {
        impl<DB: Database, $($generics)*> Type<DB> for $type where str: Type<DB> {
            fn type_info() -> DB::TypeInfo {
                <str as Type<DB>>::type_info()
            }
            fn compatible(ty: &DB::TypeInfo) -> bool {
                <str as Type<DB>>::compatible(ty)
            }
        }
        impl<'q, DB: Database, $($generics)*> Encode<'q, DB> for $type
        where
            for<'s> &'s str: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let $value = self;
                Encode::<DB>::encode_by_ref(&$text, buffer)
            }
            fn size_hint(&self) -> usize {
                let $value = self;
                $text.len()
            }
        }
        impl<'r, DB: Database, $($generics)*> Decode<'r, DB> for $type where &'r str: Decode<'r, DB> {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                let text = <&str as Decode<'r, DB>>::decode(value)?;
                Ok($parse(text)?)
            }
        }
        impl<$($generics)*> PgHasArrayType for $type {
            fn array_type_info() -> PgTypeInfo {
                <&str as PgHasArrayType>::array_type_info()
            }
            fn array_compatible(ty: &PgTypeInfo) -> bool {
                <&str as PgHasArrayType>::array_compatible(ty)
            }
        }
    };
}

text_column!([K: Kind] Id<K>, id => id.text().as_str(), Self::parse);
text_column!([] OwnerId, owner => owner.text().as_str(), Self::parse);
text_column!([] Role, role => role.as_str(), str::parse::<Self>);
text_column!([] RequestId, id => id.as_str(), Self::parse);
