//! Values in the form that a column takes, whatever type they came with.

use kwsync_core::{DataType, TimeUnit, Value};

/// The type that values of a column travel as: its own where only that is exact, else text that is read for it.
pub(super) fn carrier(column: &DataType) -> DataType {
    use DataType as T;
    match column {
        T::Bool | T::Int16 | T::Int32 | T::Int64 | T::UInt32 | T::Float32 | T::Float64 => column.clone(),
        T::Bytes | T::Interval | T::Array(_) => column.clone(),
        _ => T::Text,
    }
}

/// The value as `carrier` has it, for a column of type `column`.
pub(super) fn fit(
    value: Value<'static>,
    column: &DataType,
    carrier: &DataType,
) -> Result<Value<'static>, String> {
    use DataType as T;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let fault = |value: &Value<'_>| {
        let text = value.to_string();
        let shown: String = text.chars().take(60).collect();
        Err(format!("{shown:?} is no {column}"))
    };
    match carrier {
        T::Bool => match &value {
            Value::Bool(_) => Ok(value),
            Value::Int(0) => Ok(Value::Bool(false)),
            Value::Int(1) => Ok(Value::Bool(true)),
            Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "t" | "true" | "yes" | "y" | "on" | "1" => Ok(Value::Bool(true)),
                "f" | "false" | "no" | "n" | "off" | "0" => Ok(Value::Bool(false)),
                _ => fault(&value),
            },
            _ => fault(&value),
        },
        T::Int16 | T::Int32 | T::Int64 | T::UInt32 => {
            let number = match &value {
                Value::Int(v) => Some(i128::from(*v)),
                Value::UInt(v) => Some(i128::from(*v)),
                Value::Float64(v) if v.fract() == 0.0 && v.abs() <= 9_007_199_254_740_992.0 => {
                    Some(*v as i128)
                }
                Value::Float32(v) if v.fract() == 0.0 && v.abs() <= 16_777_216.0 => Some(*v as i128),
                Value::Text(text) => text.trim().parse().ok(),
                Value::Decimal(..) => value.to_string().parse().ok(),
                _ => None,
            };
            let range = match carrier {
                T::Int16 => i128::from(i16::MIN)..=i128::from(i16::MAX),
                T::Int32 => i128::from(i32::MIN)..=i128::from(i32::MAX),
                T::UInt32 => 0..=i128::from(u32::MAX),
                _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
            };
            match number.filter(|number| range.contains(number)) {
                Some(number) if *carrier == T::UInt32 => Ok(Value::UInt(number as u64)),
                Some(number) => Ok(Value::Int(number as i64)),
                None => fault(&value),
            }
        }
        T::Float32 | T::Float64 => {
            // The text is rounded once, to what the column holds.
            let text = match &value {
                Value::Text(text) => text.trim().to_owned(),
                Value::Float32(_)
                | Value::Float64(_)
                | Value::Int(_)
                | Value::UInt(_)
                | Value::Decimal(..) => value.to_string(),
                _ => return fault(&value),
            };
            // A number that is too large, or too small to be told from zero, is none; infinities have names.
            let named = text.trim_start_matches(['+', '-']).starts_with(['i', 'I', 'n', 'N']);
            let zero =
                !text.split(['e', 'E']).next().unwrap_or("").contains(|c: char| ('1'..='9').contains(&c));
            let held = |finite: bool, is_zero: bool| named || (finite && is_zero == zero);
            if *carrier == T::Float32 {
                let parsed = text.parse::<f32>().ok().filter(|v| held(v.is_finite(), *v == 0.0));
                parsed.map_or_else(|| fault(&value), |v| Ok(Value::Float32(v)))
            } else {
                let parsed = text.parse::<f64>().ok().filter(|v| held(v.is_finite(), *v == 0.0));
                parsed.map_or_else(|| fault(&value), |v| Ok(Value::Float64(v)))
            }
        }
        T::Bytes => match &value {
            Value::Bytes(_) => Ok(value),
            Value::Text(text) => match text.strip_prefix("\\x") {
                Some(digits) => {
                    hex(digits).map_or_else(|| fault(&value), |bytes| Ok(Value::Bytes(bytes.into())))
                }
                None => Ok(Value::Bytes(text.as_bytes().to_vec().into())),
            },
            _ => fault(&value),
        },
        T::Interval => match &value {
            Value::Interval(..) => Ok(value),
            _ => fault(&value),
        },
        T::Array(_) => match &value {
            Value::List(_) => Ok(value),
            _ => fault(&value),
        },
        _ => text(value, column),
    }
}

/// Text that is read for the column's type.
fn text(value: Value<'static>, column: &DataType) -> Result<Value<'static>, String> {
    let text = match (&value, column) {
        (Value::Text(_), _) => return Ok(value),
        // A number is milliseconds, as elsewhere in this family of clients.
        (Value::Int(ms), DataType::Timestamp(_)) => {
            Value::Timestamp(*ms, TimeUnit::Millisecond, false).to_string()
        }
        (Value::Int(ms), DataType::TimestampTz(_)) => {
            Value::Timestamp(*ms, TimeUnit::Millisecond, true).to_string()
        }
        (Value::Timestamp(v, unit, _), DataType::Timestamp(_)) => {
            Value::Timestamp(*v, *unit, false).to_string()
        }
        (Value::Bytes(bytes), DataType::Uuid) if bytes.len() == 16 => {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        (Value::List(_) | Value::Bytes(_) | Value::Interval(..), _) => {
            return Err(format!("a list, bytes or an interval is no {column}"));
        }
        (other, _) => other.to_string(),
    };
    Ok(Value::Text(text.into()))
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None }).collect()
}

/// Bytes that a value takes in the buffer, roughly.
pub(super) fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(size).sum(),
        _ => 8,
    }
}
