//! Digests of rows by value, so that rows of different databases can be compared.

use std::fmt::Write;

use arrow_array::{Array, ArrayRef};
use sha2::{Digest, Sha256};

use super::{DataType, Value};
use crate::Result;

/// As what the values of two columns are compared.
///
/// Numbers are compared as numbers, whatever their width: a boolean is 0 or 1, a float the shortest decimal of its double.
/// Timestamps are compared as points on one line, with a zone or without, dates as their midnights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparable {
    /// As they are.
    Plain,
    /// Text without the blanks at its end, as one of fixed length has them.
    Trimmed,
    /// JSON by its content: without blanks, keys in order.
    Json,
    /// UUIDs, as bytes or as text.
    Uuid,
}

impl Comparable {
    /// As what columns of two types can be compared.
    pub fn between(a: &DataType, b: &DataType) -> Self {
        use DataType as T;
        let either = |is: fn(&DataType) -> bool| is(a) || is(b);
        if either(|of| matches!(of, T::Uuid)) {
            Self::Uuid
        } else if either(|of| matches!(of, T::Json | T::Jsonb)) {
            Self::Json
        } else if either(|of| matches!(of, T::Char(_) | T::NChar(_))) {
            Self::Trimmed
        } else {
            Self::Plain
        }
    }
}

/// Makes the digests of rows: 128 bits of SHA-256 over their values, in a form that does not depend on how a value
/// lies in memory.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use kwsync_core::arrow::array::{ArrayRef, Float64Array, Int16Array, Int64Array};
/// use kwsync_core::{Comparable, RowDigest};
///
/// let small: ArrayRef = Arc::new(Int16Array::from(vec![7]));
/// let large: ArrayRef = Arc::new(Int64Array::from(vec![7]));
/// let other: ArrayRef = Arc::new(Float64Array::from(vec![7.5]));
/// let mut digest = RowDigest::new([Comparable::Plain]);
/// assert_eq!(digest.of(&[small.clone()], 0)?, digest.of(&[large], 0)?);
/// assert_ne!(digest.of(&[small], 0)?, digest.of(&[other], 0)?);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowDigest {
    columns: Vec<Comparable>,
    /// The form of the row in hand.
    form: Vec<u8>,
    text: String,
}

impl RowDigest {
    /// For rows of these columns; further ones are taken as they are.
    pub fn new(columns: impl IntoIterator<Item = Comparable>) -> Self {
        Self { columns: columns.into_iter().collect(), form: Vec::new(), text: String::new() }
    }

    /// The digest of row `row`.
    ///
    /// # Errors
    /// `Unsupported` for Arrow types that no [`DataType`] is stored as.
    ///
    /// # Panics
    /// When `row` is outside the arrays.
    pub fn of(&mut self, columns: &[ArrayRef], row: usize) -> Result<u128> {
        self.form.clear();
        for (at, column) in columns.iter().enumerate() {
            let value = Value::of(column.as_ref() as &dyn Array, row)?;
            let by = self.columns.get(at).copied().unwrap_or(Comparable::Plain);
            self.push(&value, by);
        }
        Ok(Self::of_bytes(&self.form))
    }

    /// The digest of a text or of other bytes.
    pub fn of_bytes(bytes: &[u8]) -> u128 {
        let hash = Sha256::digest(bytes);
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        u128::from_be_bytes(half)
    }

    /// Adds a part that cannot run into its neighbours: what it is, its length, itself.
    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.form.push(kind);
        self.form.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.form.extend_from_slice(bytes);
    }

    fn number(&mut self, value: impl std::fmt::Display) {
        self.text.clear();
        // Writing into a String does not fail.
        let _written = write!(self.text, "{value}");
        let text = std::mem::take(&mut self.text);
        let plain = match text.split_once('.') {
            Some((whole, part)) => match part.trim_end_matches('0') {
                "" => whole,
                kept => text.get(..whole.len() + 1 + kept.len()).unwrap_or(&text),
            },
            None => &text,
        };
        self.part(1, if plain == "-0" { "0" } else { plain }.as_bytes());
        self.text = text;
    }

    fn push(&mut self, value: &Value<'_>, by: Comparable) {
        match value {
            Value::Null => self.form.push(0),
            Value::Bool(value) => self.number(u8::from(*value)),
            Value::Int(value) => self.number(value),
            Value::UInt(value) => self.number(value),
            Value::Float32(value) => self.number(f64::from(*value)),
            Value::Float64(value) => self.number(value),
            Value::Decimal(..) => self.number(value),
            Value::Text(text) => self.text(text, by),
            Value::Bytes(bytes) if by == Comparable::Uuid && bytes.len() == 16 => {
                let digits = bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
                    let _written = write!(text, "{byte:02x}");
                    text
                });
                self.part(3, digits.as_bytes());
            }
            Value::Bytes(bytes) => self.part(4, bytes),
            Value::Date(days) => self.time(5, i128::from(*days) * 86_400_000_000_000),
            Value::Timestamp(value, unit, _) => self.time(5, i128::from(*value) * i128::from(unit.nanos())),
            Value::Time(value, unit) => self.time(6, i128::from(*value) * i128::from(unit.nanos())),
            Value::Interval(0, 0, nanos) => self.time(6, i128::from(*nanos)),
            Value::Interval(months, days, nanos) => {
                self.text.clear();
                let _written = write!(self.text, "{months} {days} {nanos}");
                let text = std::mem::take(&mut self.text);
                self.part(7, text.as_bytes());
                self.text = text;
            }
            Value::List(items) => {
                self.form.push(8);
                self.form.extend_from_slice(&(items.len() as u64).to_be_bytes());
                items.iter().for_each(|item| self.push(item, by));
            }
        }
    }

    fn text(&mut self, text: &str, by: Comparable) {
        match by {
            Comparable::Plain => self.part(3, text.as_bytes()),
            Comparable::Trimmed => self.part(3, text.trim_end_matches(' ').as_bytes()),
            Comparable::Json => match serde_json::from_str::<serde_json::Value>(text) {
                Ok(json) => {
                    let mut plain = String::with_capacity(text.len());
                    canonical(&json, &mut plain);
                    self.part(3, plain.as_bytes());
                }
                Err(_) => self.part(3, text.as_bytes()),
            },
            Comparable::Uuid => {
                let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
                self.part(3, digits.to_ascii_lowercase().as_bytes());
            }
        }
    }

    fn time(&mut self, kind: u8, nanos: i128) {
        self.part(kind, &nanos.to_be_bytes());
    }
}

/// JSON as every database means it: keys in order, without blanks, 1.0 and 1 the same.
fn canonical(json: &serde_json::Value, out: &mut String) {
    use serde_json::Value as Json;
    match json {
        Json::Number(number) => {
            let float = number.as_f64().filter(|_| !number.is_i64() && !number.is_u64());
            // Writing into a String does not fail.
            let _written = match float {
                Some(float) => write!(out, "{float}"),
                None => write!(out, "{number}"),
            };
        }
        Json::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        // Keys come in order out of its map.
        Json::Object(members) => {
            out.push('{');
            for (key, value) in members {
                canonical(&Json::from(key.as_str()), out);
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        other => {
            let _written = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Column, Schema, TableBatch, TimeUnit};

    fn digest(data_type: DataType, value: Value<'static>, other: &DataType) -> u128 {
        let by = Comparable::between(&data_type, other);
        let schema = Arc::new(Schema::new(vec![Column::new("c", data_type)]).unwrap());
        let batch = TableBatch::from_rows("t", schema, &[vec![value]]).unwrap();
        RowDigest::new([by]).of(batch.batch().columns(), 0).unwrap()
    }

    #[test]
    fn equal_values_of_other_types_have_one_digest() {
        use DataType as T;
        let text = |text: &'static str| Value::Text(text.into());
        let micro = TimeUnit::Microsecond;
        let numeric =
            |digits: i64, scale: i8| Value::Decimal(arrow_buffer::i256::from_i128(digits.into()), scale);
        let same = [
            (T::Bool, Value::Bool(true), T::Int8, Value::Int(1)),
            (T::Int16, Value::Int(-5), T::Numeric(Some((10, 2))), numeric(-500, 2)),
            (T::Float64, Value::Float64(0.1), T::Numeric(Some((5, 3))), numeric(100, 3)),
            (T::Float64, Value::Float64(-0.0), T::Int32, Value::Int(0)),
            (
                T::Float64,
                Value::Float64(1e25),
                T::Numeric(Some((38, 0))),
                Value::Decimal(arrow_buffer::i256::from_i128(10_i128.pow(25)), 0),
            ),
            (T::Float32, Value::Float32(0.1), T::Float64, Value::Float64(f64::from(0.1_f32))),
            (T::Char(4), text("ab  "), T::Text, text("ab")),
            (T::Jsonb, text("{\"a\": 1.0, \"b\": [1,2e0]}"), T::Text, text("{\"b\":[1, 2],\"a\":1}")),
            (
                T::Uuid,
                Value::Bytes((0..16).collect::<Vec<u8>>().into()),
                T::Text,
                text("00010203-0405-0607-0809-0A0B0C0D0E0F"),
            ),
            (T::Date, Value::Date(1), T::Timestamp(micro), Value::Timestamp(86_400_000_000, micro, false)),
            (
                T::Timestamp(TimeUnit::Second),
                Value::Timestamp(2, TimeUnit::Second, false),
                T::TimestampTz(micro),
                Value::Timestamp(2_000_000, micro, true),
            ),
            (T::Time(micro), Value::Time(1_000, micro), T::Interval, Value::Interval(0, 0, 1_000_000)),
        ];
        for (a, value, b, other) in same {
            let shown = format!("{value:?} {other:?}");
            assert_eq!(digest(a.clone(), value, &b), digest(b, other, &a), "{shown}");
        }
    }

    #[test]
    fn other_values_have_another() {
        use DataType as T;
        let text = |text: &'static str| Value::Text(text.into());
        let all = [
            digest(T::Text, Value::Null, &T::Text),
            digest(T::Text, text(""), &T::Text),
            digest(T::Text, text("0"), &T::Text),
            digest(T::Int32, Value::Int(0), &T::Text),
            digest(T::Int32, Value::Int(10), &T::Text),
            digest(T::Float64, Value::Float64(f64::NAN), &T::Text),
            digest(T::Float64, Value::Float64(f64::INFINITY), &T::Text),
            digest(T::Text, text("ab "), &T::Text),
            digest(T::Text, text("ab"), &T::Text),
            digest(T::Date, Value::Date(0), &T::Text),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
        // A border between columns counts.
        let of = |a: &str, b: &str| {
            let array = |text: &str| Arc::new(arrow_array::StringArray::from(vec![text])) as ArrayRef;
            RowDigest::new([]).of(&[array(a), array(b)], 0).unwrap()
        };
        assert_ne!(of("ab", "c"), of("a", "bc"));
    }
}
