//! PostgreSQL's types: how a catalog names them, and which [`DataType`] each is.
//!
//! The table, in both directions (docs/type-mapping.md shows it for readers):
//!
//! | PostgreSQL | [`DataType`] | and back |
//! |---|---|---|
//! | boolean | `bool` | boolean |
//! | smallint, integer, bigint | `i16`, `i32`, `i64` | the same; `i8` and `u8` smallint, `u16` integer, `u32` bigint |
//! | | `u64` | numeric(20,0) |
//! | real, double precision | `f32`, `f64` | the same |
//! | numeric(p,s), numeric | `numeric(p,s)`, `numeric` | the same |
//! | money | `money` | money |
//! | char(n), varchar(n), varchar, text, name | `char(n)`, `varchar(n)`, `varchar`, `text` | the same; nchar(n) char(n), nvarchar(n) varchar(n) |
//! | bytea | `bytes` | bytea; varbytes bytea |
//! | date, time, timetz, interval | `date`, `time(us)`, `timetz`, `interval` | the same |
//! | timestamp, timestamptz | `timestamp(us)`, `timestamptz(us)` | the same, of any unit |
//! | json, jsonb, uuid, inet, cidr, macaddr, macaddr8, xml | the same | the same |
//! | bit(n), varbit(n) | `bit(n)`, `varbit(n)` | the same |
//! | T[] | `T[]` | T[] |
//! | enums and all others | `other:NAME` | NAME; geometry text |

use crate::{DataType, TimeUnit};

/// Object ids of the built-in types, from PostgreSQL's `pg_type.dat`.
pub mod oid {
    #![allow(missing_docs, reason = "each is the id of the type it is named after")]
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const TID: u32 = 27;
    pub const JSON: u32 = 114;
    pub const XML: u32 = 142;
    pub const CIDR: u32 = 650;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const MACADDR8: u32 = 774;
    pub const MONEY: u32 = 790;
    pub const MACADDR: u32 = 829;
    pub const INET: u32 = 869;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const TIMETZ: u32 = 1266;
    pub const BIT: u32 = 1560;
    pub const VARBIT: u32 = 1562;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
}

/// What kind of type it is, as far as its values' binary form depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PgKind {
    /// A built-in or other base type.
    Base,
    /// An enum: its values travel as text.
    Enum,
    /// An array of these.
    Array(Box<PgType>),
    /// Composites, ranges and the like, of which only the text form is known.
    Other,
}

/// A column's type as the catalog has it; domains are resolved to what they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgType {
    /// The object id.
    pub oid: u32,
    /// The name as `format_type` prints it, with length or precision.
    pub name: String,
    /// The modifier: length, precision; -1 when there is none.
    pub modifier: i32,
    /// What kind it is.
    pub kind: PgKind,
}

impl PgType {
    /// A base type.
    pub fn base(oid: u32, modifier: i32, name: impl Into<String>) -> Self {
        Self { oid, name: name.into(), modifier, kind: PgKind::Base }
    }

    /// The length of char(n), varchar(n), bit(n), varbit(n): characters or bits.
    pub fn length(&self) -> Option<u32> {
        match self.oid {
            oid::BPCHAR | oid::VARCHAR => u32::try_from(self.modifier - 4).ok().filter(|length| *length > 0),
            oid::BIT | oid::VARBIT => u32::try_from(self.modifier).ok().filter(|length| *length > 0),
            _ => None,
        }
    }

    /// Precision and scale of numeric(p,s). The scale may be negative, or larger than the precision.
    pub fn precision_and_scale(&self) -> Option<(u16, i16)> {
        if self.oid != oid::NUMERIC || self.modifier < 4 {
            return None;
        }
        let packed = self.modifier - 4;
        let scale = packed & 0x7ff;
        // Eleven bits in two's complement, since PostgreSQL 15.
        let scale = if scale >= 0x400 { scale - 0x800 } else { scale };
        Some(((packed >> 16 & 0xffff) as u16, scale as i16))
    }

    /// Digits of the seconds that the type keeps: 6, unless it says fewer.
    pub fn second_digits(&self) -> u32 {
        match self.oid {
            oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ
                if (0..=6).contains(&self.modifier) =>
            {
                self.modifier as u32
            }
            oid::INTERVAL if self.modifier >= 0 && (self.modifier & 0xffff) <= 6 => {
                (self.modifier & 0xffff) as u32
            }
            _ => 6,
        }
    }

    /// The [`DataType`] that columns of this type are.
    pub fn data_type(&self) -> DataType {
        use DataType as T;
        match &self.kind {
            PgKind::Array(item) => return T::Array(Box::new(item.data_type())),
            PgKind::Enum | PgKind::Other => return T::Other(self.name.as_str().into()),
            PgKind::Base => {}
        }
        match self.oid {
            oid::BOOL => T::Bool,
            oid::BYTEA => T::Bytes,
            oid::INT2 => T::Int16,
            oid::INT4 => T::Int32,
            oid::INT8 => T::Int64,
            oid::OID => T::UInt32,
            oid::FLOAT4 => T::Float32,
            oid::FLOAT8 => T::Float64,
            oid::NUMERIC => T::Numeric(self.precision_and_scale()),
            oid::MONEY => T::Money,
            oid::BPCHAR => self.length().map_or(T::Text, T::Char),
            oid::VARCHAR => T::VarChar(self.length()),
            oid::TEXT | oid::NAME => T::Text,
            oid::DATE => T::Date,
            oid::TIME => T::Time(TimeUnit::Microsecond),
            oid::TIMETZ => T::TimeTz,
            oid::TIMESTAMP => T::Timestamp(TimeUnit::Microsecond),
            oid::TIMESTAMPTZ => T::TimestampTz(TimeUnit::Microsecond),
            oid::INTERVAL => T::Interval,
            oid::JSON => T::Json,
            oid::JSONB => T::Jsonb,
            oid::UUID => T::Uuid,
            oid::INET => T::Inet,
            oid::CIDR => T::Cidr,
            oid::MACADDR => T::MacAddr,
            oid::MACADDR8 => T::MacAddr8,
            oid::BIT => T::Bit(self.length().unwrap_or(1)),
            oid::VARBIT => T::VarBit(self.length()),
            oid::XML => T::Xml,
            _ => T::Other(self.name.as_str().into()),
        }
    }
}

/// The type that a column of `data_type` is created with.
pub fn sql_type(data_type: &DataType) -> String {
    use DataType as T;
    let bounded = |name: &str, length: &Option<u32>| match length {
        Some(length) => format!("{name}({length})"),
        None => name.to_owned(),
    };
    let digits = |name: &str, unit: &TimeUnit| match unit {
        TimeUnit::Second => format!("{name}(0)"),
        TimeUnit::Millisecond => format!("{name}(3)"),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => name.to_owned(),
    };
    match data_type {
        T::Bool => "boolean".to_owned(),
        T::Int8 | T::Int16 | T::UInt8 => "smallint".to_owned(),
        T::Int32 | T::UInt16 => "integer".to_owned(),
        T::Int64 | T::UInt32 => "bigint".to_owned(),
        T::UInt64 => "numeric(20,0)".to_owned(),
        T::Float32 => "real".to_owned(),
        T::Float64 => "double precision".to_owned(),
        T::Numeric(None) => "numeric".to_owned(),
        T::Numeric(Some((precision, scale))) => format!("numeric({precision},{scale})"),
        T::Money => "money".to_owned(),
        T::Char(length) | T::NChar(length) => format!("char({length})"),
        T::VarChar(length) | T::NVarChar(length) => bounded("varchar", length),
        T::Text | T::Geometry => "text".to_owned(),
        T::Bytes | T::VarBytes(_) => "bytea".to_owned(),
        T::Date => "date".to_owned(),
        T::Time(unit) => digits("time", unit),
        T::TimeTz => "timetz".to_owned(),
        T::Timestamp(unit) => digits("timestamp", unit),
        T::TimestampTz(unit) => digits("timestamptz", unit),
        T::Interval => "interval".to_owned(),
        T::Json => "json".to_owned(),
        T::Jsonb => "jsonb".to_owned(),
        T::Uuid => "uuid".to_owned(),
        T::Inet => "inet".to_owned(),
        T::Cidr => "cidr".to_owned(),
        T::MacAddr => "macaddr".to_owned(),
        T::MacAddr8 => "macaddr8".to_owned(),
        T::Bit(length) => format!("bit({length})"),
        T::VarBit(length) => bounded("varbit", length),
        T::Xml => "xml".to_owned(),
        T::Array(item) => format!("{}[]", sql_type(item)),
        // The name comes from a catalog's format_type, which quotes it.
        T::Other(name) => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_tell_lengths_and_scales() {
        let numeric = |modifier| PgType::base(oid::NUMERIC, modifier, "numeric").data_type();
        assert_eq!(numeric(-1), DataType::Numeric(None));
        assert_eq!(numeric((10 << 16 | 2) + 4), DataType::Numeric(Some((10, 2))));
        assert_eq!(numeric((5 << 16 | (0x800 - 3)) + 4), DataType::Numeric(Some((5, -3))));
        assert_eq!(PgType::base(oid::VARCHAR, 24, "").data_type(), DataType::VarChar(Some(20)));
        assert_eq!(PgType::base(oid::BIT, 3, "").data_type(), DataType::Bit(3));
        assert_eq!(PgType::base(oid::TIMESTAMP, 3, "").second_digits(), 3);
        assert_eq!(PgType::base(oid::TIMESTAMP, -1, "").second_digits(), 6);
    }

    #[test]
    fn arrays_and_enums() {
        let item = PgType::base(oid::INT4, -1, "integer");
        let list =
            PgType { oid: 1007, name: "integer[]".into(), modifier: -1, kind: PgKind::Array(Box::new(item)) };
        assert_eq!(list.data_type().to_string(), "i32[]");
        assert_eq!(sql_type(&list.data_type()), "integer[]");
        let mood = PgType { oid: 90_000, name: "mood".into(), modifier: -1, kind: PgKind::Enum };
        assert_eq!(mood.data_type(), DataType::Other("mood".into()));
    }
}
