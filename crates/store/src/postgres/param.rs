//! Arguments of statements, with their types: a statement that names them need not be prepared first.

use tokio_postgres::types::{ToSql, Type};

/// One argument.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) value: Box<dyn ToSql + Sync + Send>,
    pub(super) of: Type,
}

/// A type of ours that is one of the database.
pub(super) trait Typed: ToSql + Sync + Send + 'static {
    /// Which one.
    const TYPE: Type;
}

macro_rules! typed {
    ($($rust:ty => $one:ident, $array:ident;)*) => {$(
        impl Typed for $rust { const TYPE: Type = Type::$one; }
        impl Typed for Option<$rust> { const TYPE: Type = Type::$one; }
        impl Typed for Vec<$rust> { const TYPE: Type = Type::$array; }
        impl Typed for Vec<Option<$rust>> { const TYPE: Type = Type::$array; }
        impl Typed for Option<Vec<$rust>> { const TYPE: Type = Type::$array; }
    )*};
}

typed! {
    bool => BOOL, BOOL_ARRAY;
    i16 => INT2, INT2_ARRAY;
    i32 => INT4, INT4_ARRAY;
    i64 => INT8, INT8_ARRAY;
    String => TEXT, TEXT_ARRAY;
    Vec<u8> => BYTEA, BYTEA_ARRAY;
}

impl Param {
    pub(super) fn new<T: Typed>(value: T) -> Self {
        Self { value: Box::new(value), of: T::TYPE }
    }
}

/// The arguments of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::postgres::param::Param::new($value)),*] };
}
pub(super) use params;
