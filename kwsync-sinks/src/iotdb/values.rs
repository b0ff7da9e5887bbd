//! Values as tablets have them: exactly, or not at all.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use kwsync_core::system::iotdb::{SeriesType, date_number};
use kwsync_core::{DataType, TimeUnit, Value};

/// Why a value cannot be written: code and reason.
pub(super) type Fault = (&'static str, String);

/// What times become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The server's precision.
    pub(super) unit: TimeUnit,
    /// Whether what is finer is cut off.
    pub(super) truncate: bool,
}

impl Times {
    /// A time in the server's unit, and whether something was cut off.
    pub(super) fn exact(self, value: i64, unit: TimeUnit) -> Result<(i64, bool), Fault> {
        let nanos = i128::from(value) * i128::from(unit.nanos());
        let step = i128::from(self.unit.nanos());
        let cut = nanos.rem_euclid(step) != 0;
        if cut && !self.truncate {
            let text = format!(
                "the time is finer than the server's {}; timestamp_ns=truncate cuts it off",
                self.unit.as_str()
            );
            return Err(("timestamp_too_fine", text));
        }
        let value = i64::try_from(nanos.div_euclid(step)).map_err(|_| {
            (
                "timestamp_out_of_range",
                format!("the time does not fit into 64 bits of {}", self.unit.as_str()),
            )
        })?;
        Ok((value, cut))
    }
}

/// A column of a tablet.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// Which rows have no value; `None` where all have.
    pub(super) nulls: Option<Vec<bool>>,
    /// Times that were cut off.
    pub(super) cut: u64,
}

/// Writes the values of `rows` for a series of type `series`; faults are pairs of a place in `rows` and why.
pub(super) fn encode(
    array: &ArrayRef,
    data_type: &DataType,
    rows: &[usize],
    series: SeriesType,
    times: Times,
    faults: &mut Vec<(usize, Fault)>,
) -> Encoded {
    let mut nulls = None;
    if array.null_count() > 0 {
        let marks: Vec<bool> = rows.iter().map(|row| array.is_null(*row)).collect();
        nulls = marks.contains(&true).then_some(marks);
    }
    let mut encoded = Encoded { bytes: Vec::with_capacity(rows.len() * 8), nulls, cut: 0 };
    if plain(array, rows, series, &mut encoded.bytes) {
        return encoded;
    }
    for (at, row) in rows.iter().enumerate() {
        let value = match Value::of(array.as_ref(), *row) {
            Ok(value) => value,
            Err(error) => {
                faults.push((at, ("cannot_encode", error.to_string())));
                continue;
            }
        };
        if matches!(value, Value::Null) {
            // A dictionary may have a null among its values.
            encoded.nulls.get_or_insert_with(|| vec![false; rows.len()])[at] = true;
        }
        match one(&value, data_type, series, times, &mut encoded.bytes) {
            Ok(cut) => encoded.cut += u64::from(cut),
            Err(fault) => faults.push((at, fault)),
        }
    }
    encoded
}

/// The values of arrays that lie in memory as the series has them; false for all others.
fn plain(array: &ArrayRef, rows: &[usize], series: SeriesType, bytes: &mut Vec<u8>) -> bool {
    macro_rules! primitive {
        ($array:expr) => {{
            let values = $array.values();
            for row in rows {
                bytes.extend_from_slice(&values[*row].to_be_bytes());
            }
            true
        }};
    }
    if let (SeriesType::Double, Some(values)) = (series, array.as_primitive_opt::<Float64Type>()) {
        return primitive!(values);
    }
    if let (SeriesType::Int64, Some(values)) = (series, array.as_primitive_opt::<Int64Type>()) {
        return primitive!(values);
    }
    if let (SeriesType::Float, Some(values)) = (series, array.as_primitive_opt::<Float32Type>()) {
        return primitive!(values);
    }
    if let (SeriesType::Int32, Some(values)) = (series, array.as_primitive_opt::<Int32Type>()) {
        return primitive!(values);
    }
    false
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, Fault> {
    let length = i32::try_from(bytes.len())
        .map_err(|_| ("value_too_long", "a value has more than 2 GiB".to_owned()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(false)
}

/// Writes one value; true where a time was cut off.
fn one(
    value: &Value<'_>,
    data_type: &DataType,
    series: SeriesType,
    times: Times,
    out: &mut Vec<u8>,
) -> Result<bool, Fault> {
    let misfit = || ("type_conflict", format!("{value} cannot be {} exactly", series.name()));
    let whole = || match value {
        Value::Int(number) => Ok(*number),
        Value::UInt(number) => i64::try_from(*number).map_err(|_| misfit()),
        Value::Null => Ok(0),
        _ => Err(misfit()),
    };
    match series {
        SeriesType::Boolean => match value {
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::Null => out.push(0),
            _ => return Err(misfit()),
        },
        SeriesType::Int32 => {
            out.extend_from_slice(&i32::try_from(whole()?).map_err(|_| misfit())?.to_be_bytes());
        }
        SeriesType::Int64 => out.extend_from_slice(&whole()?.to_be_bytes()),
        SeriesType::Float => {
            let float = match value {
                Value::Float32(value) => *value,
                Value::Float64(value) => {
                    let near = *value as f32;
                    if f64::from(near) != *value && !value.is_nan() {
                        return Err(misfit());
                    }
                    near
                }
                _ => {
                    let number = whole()?;
                    let near = number as f32;
                    if i128::from(number) != near as i128 {
                        return Err(misfit());
                    }
                    near
                }
            };
            out.extend_from_slice(&float.to_be_bytes());
        }
        SeriesType::Double => {
            let double = match value {
                Value::Float32(value) => f64::from(*value),
                Value::Float64(value) => *value,
                _ => {
                    let number = whole()?;
                    let near = number as f64;
                    if i128::from(number) != near as i128 {
                        return Err(misfit());
                    }
                    near
                }
            };
            out.extend_from_slice(&double.to_be_bytes());
        }
        SeriesType::Text | SeriesType::String => {
            return match value {
                Value::Null => sized(b"", out),
                Value::Text(text) => sized(text.as_bytes(), out),
                Value::Bytes(bytes) if *data_type == DataType::Uuid => sized(uuid(bytes).as_bytes(), out),
                Value::Bytes(_) | Value::List(_) => Err(misfit()),
                other => sized(other.to_string().as_bytes(), out),
            };
        }
        SeriesType::Blob => {
            return match value {
                Value::Null => sized(b"", out),
                Value::Bytes(bytes) => sized(bytes, out),
                _ => Err(misfit()),
            };
        }
        SeriesType::Date => {
            let number = match value {
                Value::Date(days) => date_number(*days).ok_or_else(misfit)?,
                // A date that is none would be refused although the mark of null stands behind it.
                Value::Null => 19_700_101,
                _ => return Err(misfit()),
            };
            out.extend_from_slice(&number.to_be_bytes());
        }
        SeriesType::Timestamp => {
            let (moment, cut) = match value {
                Value::Timestamp(value, unit, _) => times.exact(*value, *unit)?,
                Value::Null => (0, false),
                _ => return Err(misfit()),
            };
            out.extend_from_slice(&moment.to_be_bytes());
            return Ok(cut);
        }
    }
    Ok(false)
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
