//! Values of OPC UA as values of columns, exactly or not at all.

use std::borrow::Cow;

use kwsync_core::{DataType, TimeUnit, Value};
use opcua::types::{DateTime, Variant};
use serde_json::Value as Json;

/// What a value is when a server says that it is of a built-in type, by the number that the type has.
pub(super) fn built_in(number: u32) -> Option<DataType> {
    Some(match number {
        1 => DataType::Bool,
        2 => DataType::Int8,
        3 => DataType::UInt8,
        4 => DataType::Int16,
        5 => DataType::UInt16,
        // An enumeration is a number.
        6 | 29 => DataType::Int32,
        // So is a status.
        7 | 19 => DataType::UInt32,
        8 => DataType::Int64,
        9 => DataType::UInt64,
        10 => DataType::Float32,
        11 => DataType::Float64,
        // Text, an XML element, a node, a qualified name, a text in some language.
        12 | 16 | 17 | 18 | 20 | 21 => DataType::Text,
        13 => DataType::TimestampTz(TimeUnit::Nanosecond),
        14 => DataType::Uuid,
        15 => DataType::Bytes,
        _ => return None,
    })
}

/// The type of a value that is there; `None` for none, and for what cannot be read.
pub(super) fn type_of(value: &Variant) -> Option<DataType> {
    match value {
        Variant::Array(array) => built_in(array.value_type as u32).map(|_| DataType::Json),
        Variant::Variant(inner) => type_of(inner),
        value => built_in(value.scalar_type_id()? as u32),
    }
}

/// The value for a column of a type, where that is exact.
pub(super) fn value_for(value: &Variant, wanted: &DataType) -> Result<Value<'static>, String> {
    let unfit = || {
        let kind = match value {
            Variant::Array(array) => format!("an array of {}", array.value_type),
            value => value.scalar_type_id().map_or_else(|| "none".to_owned(), |kind| kind.to_string()),
        };
        format!("the value is {kind}, and the column is {wanted}")
    };
    let text = |text: String| Value::Text(Cow::Owned(text));
    Ok(match (wanted, value) {
        (_, Variant::Empty) => Value::Null,
        (wanted, Variant::Variant(inner)) => return value_for(inner, wanted),
        (DataType::Json, value) => text(json(value)?.to_string()),
        (_, Variant::Array(_)) => return Err(unfit()),
        (DataType::Bool, Variant::Boolean(value)) => Value::Bool(*value),
        (DataType::Int8, value) => int(value, i8::MIN.into(), i8::MAX.into()).ok_or_else(unfit)?,
        (DataType::Int16, value) => int(value, i16::MIN.into(), i16::MAX.into()).ok_or_else(unfit)?,
        (DataType::Int32, value) => int(value, i32::MIN.into(), i32::MAX.into()).ok_or_else(unfit)?,
        (DataType::Int64, value) => int(value, i64::MIN.into(), i64::MAX.into()).ok_or_else(unfit)?,
        (DataType::UInt8, value) => int(value, 0, u8::MAX.into()).ok_or_else(unfit)?,
        (DataType::UInt16, value) => int(value, 0, u16::MAX.into()).ok_or_else(unfit)?,
        (DataType::UInt32, value) => int(value, 0, u32::MAX.into()).ok_or_else(unfit)?,
        (DataType::UInt64, value) => int(value, 0, u64::MAX.into()).ok_or_else(unfit)?,
        (DataType::Float32, Variant::Float(value)) => Value::Float32(*value),
        (DataType::Float32, Variant::Double(value))
            if !value.is_finite() || f64::from(*value as f32) == *value =>
        {
            Value::Float32(*value as f32)
        }
        (DataType::Float32, value) => {
            let number =
                integer(value).filter(|number| number.unsigned_abs() <= 1 << 24).ok_or_else(unfit)?;
            Value::Float32(number as f32)
        }
        (DataType::Float64, Variant::Double(value)) => Value::Float64(*value),
        (DataType::Float64, Variant::Float(value)) => Value::Float64((*value).into()),
        (DataType::Float64, value) => {
            let number =
                integer(value).filter(|number| number.unsigned_abs() <= 1 << 53).ok_or_else(unfit)?;
            Value::Float64(number as f64)
        }
        (DataType::Bytes, Variant::ByteString(bytes)) => match &bytes.value {
            Some(bytes) => Value::Bytes(Cow::Owned(bytes.clone())),
            None => Value::Null,
        },
        (DataType::Uuid, Variant::Guid(guid)) => Value::Bytes(Cow::Owned(guid.to_bytes().to_vec())),
        (DataType::TimestampTz(unit), Variant::DateTime(time)) => moment(time, *unit)?,
        (DataType::Text | DataType::VarChar(_) | DataType::NVarChar(_), value) => match value {
            Variant::String(value) if value.is_null() => Value::Null,
            Variant::LocalizedText(value) if value.text.is_null() => Value::Null,
            Variant::ByteString(value) if value.is_null() => Value::Null,
            Variant::DateTime(value) if value.is_null() => Value::Null,
            Variant::LocalizedText(value) => text(value.text.as_ref().to_owned()),
            value => match json(value)? {
                Json::String(value) => text(value),
                other => text(other.to_string()),
            },
        },
        _ => return Err(unfit()),
    })
}

/// A time, exactly. The first of all stands for none.
pub(super) fn moment(time: &DateTime, unit: TimeUnit) -> Result<Value<'static>, String> {
    if time.is_null() {
        return Ok(Value::Null);
    }
    in_unit(nanoseconds(time, 0), unit)
        .ok_or_else(|| format!("{time} has no place in a timestamp of {}", unit.as_str()))
}

/// Nanoseconds since 1970 in a unit, if that is exact.
pub(super) fn in_unit(nanos: i128, unit: TimeUnit) -> Option<Value<'static>> {
    let per = i128::from(unit.nanos());
    let units = (nanos % per == 0).then(|| i64::try_from(nanos / per).ok())??;
    Some(Value::Timestamp(units, unit, true))
}

/// Nanoseconds since 1970, with what `picoseconds` (tens of them) add.
pub(super) fn nanoseconds(time: &DateTime, picoseconds: u16) -> i128 {
    let time = time.as_chrono();
    let whole = i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
    whole + i128::from(picoseconds.min(9_999) / 100)
}

fn integer(value: &Variant) -> Option<i128> {
    Some(match value {
        Variant::SByte(value) => (*value).into(),
        Variant::Byte(value) => (*value).into(),
        Variant::Int16(value) => (*value).into(),
        Variant::UInt16(value) => (*value).into(),
        Variant::Int32(value) => (*value).into(),
        Variant::UInt32(value) => (*value).into(),
        Variant::Int64(value) => (*value).into(),
        Variant::UInt64(value) => (*value).into(),
        Variant::StatusCode(value) => value.bits().into(),
        _ => return None,
    })
}

fn int(value: &Variant, least: i128, most: i128) -> Option<Value<'static>> {
    let number = integer(value).filter(|number| (least..=most).contains(number))?;
    match i64::try_from(number) {
        Ok(number) => Some(Value::Int(number)),
        Err(_) => u64::try_from(number).ok().map(Value::UInt),
    }
}

/// Any value as JSON: numbers are exact, what JSON has no number for is text, bytes are base64.
fn json(value: &Variant) -> Result<Json, String> {
    let float = |value: f64, shortest: String| match value {
        value if value.is_nan() => Json::from("NaN"),
        f64::INFINITY => Json::from("Infinity"),
        f64::NEG_INFINITY => Json::from("-Infinity"),
        _ => serde_json::from_str(&shortest).unwrap_or(Json::String(shortest)),
    };
    Ok(match value {
        Variant::Empty => Json::Null,
        Variant::Boolean(value) => Json::from(*value),
        Variant::Float(value) => float((*value).into(), format!("{value:?}")),
        Variant::Double(value) => float(*value, format!("{value:?}")),
        Variant::String(value) => value.value().as_deref().map_or(Json::Null, Json::from),
        Variant::DateTime(value) if value.is_null() => Json::Null,
        Variant::DateTime(value) => Json::from(value.as_chrono().to_rfc3339()),
        Variant::Guid(value) => Json::from(value.to_string()),
        Variant::ByteString(value) if value.is_null() => Json::Null,
        Variant::ByteString(value) => Json::from(value.as_base64()),
        Variant::XmlElement(value) => Json::from(value.to_string()),
        Variant::NodeId(value) => Json::from(value.to_string()),
        Variant::ExpandedNodeId(value) => Json::from(value.to_string()),
        Variant::QualifiedName(value) => Json::from(value.to_string()),
        Variant::LocalizedText(value) => value.text.value().as_deref().map_or(Json::Null, Json::from),
        Variant::Variant(value) => json(value)?,
        Variant::DataValue(value) => value.value.as_ref().map_or(Ok(Json::Null), json)?,
        Variant::Array(array) => {
            let items = array.values.iter().map(json).collect::<Result<Vec<_>, _>>()?;
            nested(items, array.dimensions.as_deref().unwrap_or_default())
        }
        Variant::ExtensionObject(_) | Variant::DiagnosticInfo(_) => {
            return Err("the value is a structure, which cannot be read".to_owned());
        }
        value => match integer(value) {
            Some(number) if number < 0 => Json::from(number as i64),
            Some(number) => Json::from(number as u64),
            None => return Err("the value is of an unknown type".to_owned()),
        },
    })
}

/// Items in the order of an array of several dimensions, as lists of lists.
fn nested(items: Vec<Json>, dimensions: &[u32]) -> Json {
    let mut level = items;
    for size in dimensions.iter().skip(1).rev() {
        let size = *size as usize;
        if size == 0 || !level.len().is_multiple_of(size) {
            break;
        }
        let mut above = Vec::with_capacity(level.len() / size);
        let mut items = level.into_iter();
        while let Some(first) = items.next() {
            above.push(Json::Array(std::iter::once(first).chain(items.by_ref().take(size - 1)).collect()));
        }
        level = above;
    }
    Json::Array(level)
}

/// About so many bytes of memory.
pub(super) fn weight(value: &Variant) -> usize {
    let more = match value {
        Variant::String(value) => value.as_ref().len(),
        Variant::LocalizedText(value) => value.text.as_ref().len(),
        Variant::QualifiedName(value) => value.name.as_ref().len(),
        Variant::ByteString(value) => value.value.as_ref().map_or(0, Vec::len),
        Variant::Array(array) => array.values.iter().map(weight).sum(),
        Variant::Variant(value) => weight(value),
        _ => 0,
    };
    more + 32
}
