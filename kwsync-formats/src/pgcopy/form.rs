//! The binary forms of PostgreSQL's types, and which of ours go into each.

use kwsync_core::system::postgres::types::{PgKind, PgType, oid};
use kwsync_core::{Cast, DataType, Error, ErrorKind, Result, TimeUnit};

use super::options::{CopyOptions, TimestampNs, TimestampZone};

/// How values of a type travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// With precision and scale.
    Numeric(Option<(u16, i16)>),
    Money,
    Text(TextForm),
    Bytea,
    Date,
    /// These, with the digits of the seconds that are kept.
    Time(u32),
    TimeTz(u32),
    Timestamp(u32, bool),
    Interval(u32),
    Uuid,
    Inet {
        cidr: bool,
    },
    /// 6 or 8 bytes.
    Mac(usize),
    /// So many bits, exactly or at most.
    Bits {
        length: Option<u32>,
        varying: bool,
    },
    Array {
        oid: u32,
        item: Box<Self>,
    },
    /// The place of a row in its table: read only.
    Tid,
}

/// Text, and what it is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextForm {
    /// Characters at most.
    pub(crate) characters: Option<u32>,
    /// Bytes at most.
    pub(crate) bytes: Option<u32>,
    /// Blanks at the end do not count.
    pub(crate) blank_padded: bool,
    /// jsonb: a version byte stands before the text.
    pub(crate) versioned: bool,
}

impl Form {
    /// The form of a type; `None` where only the text form is known.
    pub(crate) fn of(pg_type: &PgType) -> Option<Self> {
        let text = TextForm::default();
        match &pg_type.kind {
            PgKind::Enum => return Some(Self::Text(text)),
            PgKind::Array(item) => {
                return match Self::of(item)? {
                    Self::Array { .. } => None,
                    form => Some(Self::Array { oid: item.oid, item: Box::new(form) }),
                };
            }
            PgKind::Other => return None,
            PgKind::Base => {}
        }
        let digits = pg_type.second_digits();
        Some(match pg_type.oid {
            oid::BOOL => Self::Bool,
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::OID => Self::Oid,
            oid::FLOAT4 => Self::Float4,
            oid::FLOAT8 => Self::Float8,
            oid::NUMERIC => Self::Numeric(pg_type.precision_and_scale()),
            oid::MONEY => Self::Money,
            oid::TEXT | oid::JSON | oid::XML => Self::Text(text),
            oid::VARCHAR => Self::Text(TextForm { characters: pg_type.length(), ..text }),
            oid::BPCHAR => Self::Text(TextForm { characters: pg_type.length(), blank_padded: true, ..text }),
            oid::NAME => Self::Text(TextForm { bytes: Some(63), ..text }),
            oid::JSONB => Self::Text(TextForm { versioned: true, ..text }),
            oid::BYTEA => Self::Bytea,
            oid::DATE => Self::Date,
            oid::TIME => Self::Time(digits),
            oid::TIMETZ => Self::TimeTz(digits),
            oid::TIMESTAMP => Self::Timestamp(digits, false),
            oid::TIMESTAMPTZ => Self::Timestamp(digits, true),
            // `interval year to month` and the like: the server would cut off the rest.
            oid::INTERVAL if pg_type.modifier >= 0 && pg_type.modifier >> 16 != 0x7fff => return None,
            oid::INTERVAL => Self::Interval(digits),
            oid::UUID => Self::Uuid,
            oid::INET => Self::Inet { cidr: false },
            oid::CIDR => Self::Inet { cidr: true },
            oid::MACADDR => Self::Mac(6),
            oid::MACADDR8 => Self::Mac(8),
            oid::BIT => Self::Bits { length: pg_type.length(), varying: false },
            oid::VARBIT => Self::Bits { length: pg_type.length(), varying: true },
            oid::TID => Self::Tid,
            _ => return None,
        })
    }
}

/// The form that values of `from` take in a column of type `to`, and what the plan says of it.
///
/// # Errors
/// `Schema` when there is no exact way.
pub(crate) fn plan(
    name: &str,
    from: &DataType,
    to: &PgType,
    options: &CopyOptions,
) -> Result<(Form, Option<Cast>)> {
    let fault = |hint: String| {
        Err(Error::new(
            ErrorKind::Schema,
            format!("column {name:?}: there is no exact way from {from} to {}", to.name),
        )
        .with_code("no_exact_cast")
        .with_hint(hint))
    };
    let Some(form) = Form::of(to) else {
        return fault(format!(
            "the binary form of {} is not known here: load it as text, or make the column of another type",
            to.name
        ));
    };
    let note = match way(from, &form, options) {
        Ok(note) => note,
        Err(hint) => return fault(hint),
    };
    let cast = (note.is_some() || to.data_type() != *from).then(|| Cast {
        column: name.to_owned(),
        from: from.to_string(),
        to: to.name.clone(),
        lossy: note.map(str::to_owned),
    });
    Ok((form, cast))
}

const INTEGER_RANGE: &str = "integers out of range are rejected (integer_overflow)";
const WHOLE: &str = "values with a fraction or out of range are rejected (not_an_integer, integer_overflow)";
const FLOAT: &str = "values that the float cannot hold exactly are rejected (float_precision)";
const NUMERIC: &str = "values with too many digits, and infinities before PostgreSQL 14, are rejected (numeric_overflow, numeric_scale, numeric_infinity)";
const READ: &str = "text that does not read as this type is rejected";
const LENGTH: &str = "text that is too long is rejected (text_too_long)";
const SECONDS: &str = "finer parts of a second are rejected unless timestamp_ns=truncate|bigint";
const SECONDS_CUT: &str = "finer parts of a second are cut off (timestamp_ns=truncate)";
const RANGE: &str = "times outside of PostgreSQL's range are rejected";
const ZONE: &str = "times without a zone are taken as UTC (timestamp_zone=utc)";
const UUID: &str = "what is not 16 bytes long is rejected (bad_uuid)";
const ARRAY: &str = "lists of lists of different lengths are rejected (ragged_array)";

/// `Ok`: there is a way, and what it may reject; `Err`: there is none, and what helps.
fn way(from: &DataType, form: &Form, options: &CopyOptions) -> Result<Option<&'static str>, String> {
    use DataType as T;
    let bits = |t: &DataType| match t {
        T::Int8 => Some((7, 8)),
        T::UInt8 => Some((8, 8)),
        T::Int16 => Some((15, 16)),
        T::UInt16 => Some((16, 16)),
        T::Int32 => Some((31, 32)),
        T::UInt32 => Some((32, 32)),
        T::Int64 => Some((63, 64)),
        T::UInt64 => Some((64, 64)),
        _ => None,
    };
    let text = is_text(from);
    let cut = |finer: bool| match (finer, options.timestamp_ns) {
        (false, _) => RANGE,
        (true, TimestampNs::Reject) => SECONDS,
        (true, TimestampNs::Truncate) => SECONDS_CUT,
    };
    let digits_of = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let unless = |exact: bool, note| Ok((!exact).then_some(note));
    match form {
        Form::Bool if *from == T::Bool => Ok(None),
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => {
            let room = match form {
                Form::Int2 => 15,
                Form::Int4 => 31,
                Form::Int8 => 63,
                _ => 32,
            };
            let signed = matches!(from, T::Int8 | T::Int16 | T::Int32 | T::Int64);
            match from {
                _ if bits(from).is_some() => unless(
                    bits(from).is_some_and(|(bits, _)| bits <= room) && !(*form == Form::Oid && signed),
                    INTEGER_RANGE,
                ),
                T::Float32 | T::Float64 | T::Numeric(Some(_)) | T::Money => Ok(Some(WHOLE)),
                T::Timestamp(_) | T::TimestampTz(_) if *form == Form::Int8 => Ok(None),
                T::Timestamp(_) | T::TimestampTz(_) => {
                    Err("make the column bigint, which takes a timestamp's count".into())
                }
                _ => Err("cast the column to an integer before, by a transform".into()),
            }
        }
        Form::Float4 | Form::Float8 => {
            let mantissa = if *form == Form::Float4 { 24 } else { 53 };
            match from {
                T::Float32 => Ok(None),
                T::Float64 => unless(*form == Form::Float8, FLOAT),
                _ if bits(from).is_some() => {
                    unless(bits(from).is_some_and(|(bits, _)| bits <= mantissa), FLOAT)
                }
                _ => Err("cast the column to a float before, by a transform; or make it numeric".into()),
            }
        }
        Form::Numeric(bounds) => match (from, bounds) {
            (T::Float32 | T::Float64, _) => Ok(Some(NUMERIC)),
            (_, None) if bits(from).is_some() => Ok(None),
            (_, Some((precision, scale))) if bits(from).is_some() => {
                let digits = bits(from).map_or(0.0, |(bits, _)| f64::from(bits) * std::f64::consts::LOG10_2);
                unless(*scale >= 0 && i32::from(*precision) - i32::from(*scale) > digits as i32, NUMERIC)
            }
            (T::Numeric(Some(_)) | T::Money, None) => Ok(None),
            (T::Numeric(Some((p, s))), Some((precision, scale))) => {
                let whole = |p: u16, s: i16| i32::from(p) - i32::from(s);
                unless(s <= scale && whole(*p, *s) <= whole(*precision, *scale), NUMERIC)
            }
            (T::Money, Some(_)) => Ok(Some(NUMERIC)),
            (T::Numeric(None), _) => Ok(Some(NUMERIC)),
            _ if text => Ok(Some(READ)),
            _ => Err("cast the column to a number before, by a transform".into()),
        },
        Form::Money => match from {
            T::Money => Ok(None),
            _ if bits(from).is_some() || matches!(from, T::Numeric(_)) => Ok(Some(NUMERIC)),
            _ if text => Ok(Some(READ)),
            _ => Err("cast the column to numeric before, by a transform".into()),
        },
        Form::Text(of) => match from {
            _ if !text => Err("cast the column to text before, by a transform".into()),
            T::Char(n) | T::VarChar(Some(n)) if of.characters.is_some_and(|limit| *n <= limit) => Ok(None),
            _ => unless(of.characters.is_none() && of.bytes.is_none(), LENGTH),
        },
        Form::Bytea if matches!(from, T::Bytes | T::VarBytes(_) | T::Uuid) => Ok(None),
        Form::Bytea => Err("cast the column to bytes before, by a transform".into()),
        Form::Date if *from == T::Date => Ok(Some(RANGE)),
        Form::Time(digits) if matches!(from, T::Time(_)) => match from {
            T::Time(unit) => Ok(Some(cut(digits_of(unit) > *digits))),
            _ => Ok(None),
        },
        Form::Timestamp(digits, zoned) if matches!(from, T::Timestamp(_) | T::TimestampTz(_) | T::Date) => {
            let (unit, has_zone) = match from {
                T::Timestamp(unit) => (unit, false),
                T::TimestampTz(unit) => (unit, true),
                _ => (&TimeUnit::Second, false),
            };
            if has_zone != *zoned {
                return match options.timestamp_zone {
                    TimestampZone::Utc => Ok(Some(ZONE)),
                    TimestampZone::Reject => Err(
                        "say timestamp_zone=utc to take times without a zone as UTC, or make the column of the other type"
                            .into(),
                    ),
                };
            }
            Ok(Some(cut(digits_of(unit) > *digits)))
        }
        Form::Interval(_) if *from == T::Interval => Ok(Some(cut(true))),
        Form::Interval(_) => Err("cast the column to interval before, by a transform".into()),
        Form::Uuid if *from == T::Uuid => Ok(None),
        Form::Uuid if matches!(from, T::Bytes | T::VarBytes(_)) => Ok(Some(UUID)),
        Form::Array { item, .. } => match from {
            T::Array(inner) => {
                let mut leaf = &**inner;
                let nested = matches!(leaf, T::Array(_));
                while let T::Array(inner) = leaf {
                    leaf = inner;
                }
                way(leaf, item, options).map(|note| note.or(nested.then_some(ARRAY)))
            }
            _ => Err("make a list of the column before, or make it no array".into()),
        },
        Form::Date
        | Form::Time(_)
        | Form::TimeTz(_)
        | Form::Timestamp(..)
        | Form::Uuid
        | Form::Inet { .. }
        | Form::Mac(_)
        | Form::Bits { .. }
            if text =>
        {
            Ok(Some(READ))
        }
        _ => {
            Err("cast the column before, by a transform; or make it of the type that it has in the batch"
                .into())
        }
    }
}

/// Whether values lie in memory as text.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type.to_arrow(), arrow_schema::DataType::Utf8View)
}
