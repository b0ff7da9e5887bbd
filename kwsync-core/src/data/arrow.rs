//! [`DataType`] to Arrow and back, exactly.
//!
//! An Arrow type cannot say "varchar(20)": where the Arrow type alone would come back as another
//! [`DataType`], the field's metadata holds the text form under [`TYPE_KEY`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType as Arrow, Field, IntervalUnit, TimeUnit as ArrowUnit};

use super::{Column, DataType, Role, TimeUnit};
use crate::{Error, ErrorKind, Result};

/// Metadata key of a field: the text form of its [`DataType`].
pub(crate) const TYPE_KEY: &str = "kwsync.type";
/// Metadata key of a field: its [`Role`].
pub(crate) const ROLE_KEY: &str = "kwsync.role";
/// Metadata key of a field: its comment.
pub(crate) const COMMENT_KEY: &str = "kwsync.comment";
/// Metadata key of a field: its place in the primary key, and how many parts that has: `1/2`.
pub(crate) const PRIMARY_KEY: &str = "kwsync.key";

/// Metadata key of a field: its default.
pub(crate) const DEFAULT_KEY: &str = "kwsync.default";
/// Metadata key of a field: the values that it takes, a list of JSON.
pub(crate) const VALUES_KEY: &str = "kwsync.values";
/// Metadata key of a field: where it stands in its source, and its part in indexes and foreign keys, as JSON.
pub(crate) const RELATIONS_KEY: &str = "kwsync.relations";

impl From<TimeUnit> for ArrowUnit {
    fn from(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Second,
            TimeUnit::Millisecond => Self::Millisecond,
            TimeUnit::Microsecond => Self::Microsecond,
            TimeUnit::Nanosecond => Self::Nanosecond,
        }
    }
}

impl From<ArrowUnit> for TimeUnit {
    fn from(unit: ArrowUnit) -> Self {
        match unit {
            ArrowUnit::Second => Self::Second,
            ArrowUnit::Millisecond => Self::Millisecond,
            ArrowUnit::Microsecond => Self::Microsecond,
            ArrowUnit::Nanosecond => Self::Nanosecond,
        }
    }
}

impl DataType {
    /// The Arrow type that columns of this type have when nothing speaks for another encoding.
    pub fn to_arrow(&self) -> Arrow {
        match self {
            Self::Bool => Arrow::Boolean,
            Self::Int8 => Arrow::Int8,
            Self::Int16 => Arrow::Int16,
            Self::Int32 => Arrow::Int32,
            Self::Int64 => Arrow::Int64,
            Self::UInt8 => Arrow::UInt8,
            Self::UInt16 => Arrow::UInt16,
            Self::UInt32 => Arrow::UInt32,
            Self::UInt64 => Arrow::UInt64,
            Self::Float32 => Arrow::Float32,
            Self::Float64 => Arrow::Float64,
            Self::Numeric(bounds) => match *bounds {
                Some((precision @ 1..=38, scale)) if (0..=precision as i16).contains(&scale) => {
                    Arrow::Decimal128(precision as u8, scale as i8)
                }
                Some((precision @ 39..=76, scale)) if (0..=precision as i16).contains(&scale) => {
                    Arrow::Decimal256(precision as u8, scale as i8)
                }
                // Wider than any Arrow decimal: exact as text.
                _ => Arrow::Utf8View,
            },
            Self::Money => Arrow::Decimal128(19, 2),
            Self::Bytes | Self::VarBytes(_) => Arrow::BinaryView,
            Self::Date => Arrow::Date32,
            Self::Time(unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => Arrow::Time32((*unit).into()),
            Self::Time(unit) => Arrow::Time64((*unit).into()),
            Self::Timestamp(unit) => Arrow::Timestamp((*unit).into(), None),
            Self::TimestampTz(unit) => Arrow::Timestamp((*unit).into(), Some("UTC".into())),
            Self::Interval => Arrow::Interval(IntervalUnit::MonthDayNano),
            Self::Uuid => Arrow::FixedSizeBinary(16),
            Self::Array(item) => Arrow::List(Arc::new(Field::new("item", item.to_arrow(), true))),
            Self::Char(_)
            | Self::VarChar(_)
            | Self::NChar(_)
            | Self::NVarChar(_)
            | Self::Text
            | Self::TimeTz
            | Self::Json
            | Self::Jsonb
            | Self::Inet
            | Self::Cidr
            | Self::MacAddr
            | Self::MacAddr8
            | Self::Bit(_)
            | Self::VarBit(_)
            | Self::Xml
            | Self::Geometry
            | Self::Other(_) => Arrow::Utf8View,
        }
    }

    /// The type that an Arrow type stands for when no metadata says more; `None` where there is none
    /// (structs, maps, unions ...).
    pub fn from_arrow(arrow: &Arrow) -> Option<Self> {
        Some(match arrow {
            Arrow::Null | Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => Self::Text,
            Arrow::Boolean => Self::Bool,
            Arrow::Int8 => Self::Int8,
            Arrow::Int16 => Self::Int16,
            Arrow::Int32 => Self::Int32,
            Arrow::Int64 => Self::Int64,
            Arrow::UInt8 => Self::UInt8,
            Arrow::UInt16 => Self::UInt16,
            Arrow::UInt32 => Self::UInt32,
            Arrow::UInt64 => Self::UInt64,
            Arrow::Float32 => Self::Float32,
            Arrow::Float64 => Self::Float64,
            Arrow::Decimal128(precision, scale) | Arrow::Decimal256(precision, scale) => {
                Self::Numeric(Some((u16::from(*precision), i16::from(*scale))))
            }
            Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView => Self::Bytes,
            Arrow::FixedSizeBinary(_) => Self::Bytes,
            Arrow::Date32 => Self::Date,
            Arrow::Time32(unit) | Arrow::Time64(unit) => Self::Time((*unit).into()),
            Arrow::Timestamp(unit, None) => Self::Timestamp((*unit).into()),
            Arrow::Timestamp(unit, Some(_)) => Self::TimestampTz((*unit).into()),
            Arrow::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            Arrow::Dictionary(_, values) => Self::from_arrow(values)?,
            Arrow::List(item) | Arrow::LargeList(item) => {
                Self::Array(Box::new(Self::from_arrow(item.data_type())?))
            }
            _ => return None,
        })
    }

    /// Whether a column of this type may lie in memory as `arrow`: the encodings of one value set are
    /// interchangeable (Utf8, LargeUtf8, Utf8View and dictionaries of them).
    pub fn is_stored_as(&self, arrow: &Arrow) -> bool {
        match arrow {
            Arrow::Dictionary(_, values) => self.is_stored_as(values),
            Arrow::Null => true,
            Arrow::FixedSizeBinary(16) if *self == Self::Uuid => true,
            Arrow::FixedSizeBinary(_) => matches!(self, Self::Bytes | Self::VarBytes(_)),
            Arrow::Timestamp(unit, zone) => match self {
                Self::Timestamp(own) => zone.is_none() && ArrowUnit::from(*own) == *unit,
                Self::TimestampTz(own) => zone.is_some() && ArrowUnit::from(*own) == *unit,
                _ => false,
            },
            Arrow::List(item) | Arrow::LargeList(item) => {
                matches!(self, Self::Array(own) if own.is_stored_as(item.data_type()))
            }
            _ => storage_class(&self.to_arrow()) == storage_class(arrow),
        }
    }
}

/// One representative for each set of interchangeable encodings.
fn storage_class(arrow: &Arrow) -> Arrow {
    match arrow {
        Arrow::Utf8 | Arrow::LargeUtf8 => Arrow::Utf8View,
        Arrow::Binary | Arrow::LargeBinary => Arrow::BinaryView,
        other => other.clone(),
    }
}

impl Column {
    /// The Arrow field of this column, its type and role kept in the metadata where Arrow has no word for them.
    pub fn to_field(&self) -> Field {
        self.to_field_as(self.data_type().to_arrow())
    }

    /// Like [`to_field`](Self::to_field), for a column that lies in memory as `arrow`.
    pub fn to_field_as(&self, arrow: Arrow) -> Field {
        let mut metadata = HashMap::new();
        if DataType::from_arrow(&arrow).as_ref() != Some(self.data_type()) {
            metadata.insert(TYPE_KEY.to_owned(), self.data_type().to_string());
        }
        if self.role() != Role::Field {
            metadata.insert(ROLE_KEY.to_owned(), self.role().as_str().to_owned());
        }
        if let Some(comment) = self.comment() {
            metadata.insert(COMMENT_KEY.to_owned(), comment.to_owned());
        }
        if let Some((place, parts)) = self.key() {
            metadata.insert(PRIMARY_KEY.to_owned(), format!("{place}/{parts}"));
        }
        if let Some(default) = self.default() {
            metadata.insert(DEFAULT_KEY.to_owned(), default.to_string());
        }
        if let Some(values) = self.values() {
            let list: serde_json::Value = values.iter().map(|value| &**value).collect();
            metadata.insert(VALUES_KEY.to_owned(), list.to_string());
        }
        if let Some(json) = self.relations().and_then(|relations| serde_json::to_string(relations).ok()) {
            metadata.insert(RELATIONS_KEY.to_owned(), json);
        }
        Field::new(self.name(), arrow, self.is_nullable()).with_metadata(metadata)
    }

    /// The column that an Arrow field describes.
    ///
    /// # Errors
    /// `Unsupported` for an Arrow type that no database column has (struct, map, union ...), `Schema`
    /// for metadata that contradicts the field's type.
    pub fn from_field(field: &Field) -> Result<Self> {
        let name = field.name();
        let data_type = match field.metadata().get(TYPE_KEY) {
            Some(text) => {
                let data_type: DataType = text.parse()?;
                if !data_type.is_stored_as(field.data_type()) {
                    return Err(Error::new(
                        ErrorKind::Schema,
                        format!("column {name:?} says it is {data_type}, but holds {}", field.data_type()),
                    ));
                }
                data_type
            }
            None => DataType::from_arrow(field.data_type()).ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!("column {name:?} has the Arrow type {}", field.data_type()),
                )
                .with_hint("cast it to text or JSON before, or leave the column out")
            })?,
        };
        let role = match field.metadata().get(ROLE_KEY) {
            Some(text) => text.parse()?,
            None => Role::Field,
        };
        let mut column =
            Self::new(name.as_str(), data_type).with_role(role).with_nullable(field.is_nullable());
        let key = field.metadata().get(PRIMARY_KEY).and_then(|text| text.split_once('/'));
        if let Some((Ok(place), Ok(parts))) = key.map(|(place, parts)| (place.parse(), parts.parse())) {
            column = column.with_key(place, parts);
        }
        if let Some(default) = field.metadata().get(DEFAULT_KEY) {
            column = column.with_default(default.parse()?);
        }
        let values = field.metadata().get(VALUES_KEY);
        if let Some(values) = values.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok()) {
            column = column.with_values(values);
        }
        let relations = field.metadata().get(RELATIONS_KEY);
        if let Some(relations) = relations.and_then(|json| serde_json::from_str(json).ok()) {
            column = column.with_own_relations(relations);
        }
        Ok(match field.metadata().get(COMMENT_KEY) {
            Some(comment) => column.with_comment(comment.as_str()),
            None => column,
        })
    }
}
