//! Columns as they came into Arrow's.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListArray, PrimitiveArray, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use kwsync_core::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use kwsync_core::arrow::schema::{ArrowError, DataType as Arrow, Field};
use kwsync_core::system::clickhouse::types::Type;
use kwsync_core::{Error, ErrorKind, Result, Value};

use super::node::{Node, Strings};

/// A value that a column cannot have.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) row: usize,
    pub(super) code: &'static str,
    pub(super) reason: String,
    /// The value, as far as it can be shown.
    pub(super) value: String,
}

/// One column. Values that it cannot have are null in it, and told in `bad`.
pub(super) fn column(node: &Node, of: &Type, binary: bool, bad: &mut Vec<Bad>) -> Result<ArrayRef> {
    if let Some(item) = plain_items(of) {
        return list(node, item, binary, bad);
    }
    if of.is_plain() {
        return plain(node, of, binary, None, bad);
    }
    let tree = Tree::of(node, of, bad)?;
    let mut out = String::new();
    let mut ends = Vec::with_capacity(node.rows() + 1);
    ends.push(0);
    for row in 0..node.rows() {
        tree.write(row, &mut out)?;
        ends.push(offset(out.len())?);
    }
    let made = StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(out.into_bytes()), None);
    made.map(|array| Arc::new(array) as ArrayRef).map_err(internal)
}

fn plain_items(of: &Type) -> Option<&Type> {
    match of {
        Type::Array(item) if item.is_plain() => Some(item),
        _ => None,
    }
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "a column cannot be made").with_source(error)
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Internal, "a column is not of its type")
}

fn offset(at: usize) -> Result<i32> {
    i32::try_from(at).map_err(|_| {
        Error::new(ErrorKind::Limit, "the texts of a batch have more than 2 GiB")
            .with_hint("ask for fewer rows at once: batch_rows=1000")
    })
}

fn list(node: &Node, of: &Type, binary: bool, bad: &mut Vec<Bad>) -> Result<ArrayRef> {
    let Node::List { ends, item, .. } = node else { return Err(mismatch()) };
    let mut within = Vec::new();
    let values = plain(item, of, binary, None, &mut within)?;
    for one in within {
        bad.push(Bad { row: ends.partition_point(|end| *end <= one.row as u64), ..one });
    }
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    for end in ends {
        offsets.push(i32::try_from(*end).map_err(|_| mismatch())?);
    }
    let item = of.data_type(binary).to_arrow();
    // Texts may lie in another way than usual.
    let field =
        Field::new("item", if values.data_type() == &item { item } else { values.data_type().clone() }, true);
    let made = ListArray::try_new(Arc::new(field), OffsetBuffer::new(offsets.into()), values, None);
    made.map(|array| Arc::new(array) as ArrayRef).map_err(internal)
}

/// Values of a fixed width, whatever the machine's own order of bytes.
fn numbers<const N: usize, T>(data: &[u8], of: impl Fn([u8; N]) -> T) -> ScalarBuffer<T>
where
    T: kwsync_core::arrow::buffer::ArrowNativeType,
{
    let values: Vec<T> = data.chunks_exact(N).map(|bytes| of(bytes.try_into().unwrap_or([0; N]))).collect();
    values.into()
}

fn nulls_of(nulls: &[u8]) -> Option<NullBuffer> {
    nulls.contains(&1).then(|| nulls.iter().map(|null| *null == 0).collect())
}

/// A column within which nothing lies.
fn plain(
    node: &Node,
    of: &Type,
    binary: bool,
    nulls: Option<NullBuffer>,
    bad: &mut Vec<Bad>,
) -> Result<ArrayRef> {
    match (node, of) {
        (Node::Nullable { nulls, inner, .. }, Type::Nullable(of)) => {
            return plain(inner, of, binary, nulls_of(nulls), bad);
        }
        (Node::Low(low), Type::LowCardinality(of)) => {
            return plain(&low.values, of.bare(), binary, nulls_of(&low.nulls), bad);
        }
        (Node::Strings { strings, .. }, _) => return texts(strings, binary, nulls, bad),
        _ => {}
    }
    let Node::Fixed { width, data, .. } = node else { return Err(mismatch()) };
    macro_rules! numbers {
        ($array:ident, $native:ty) => {
            Arc::new($array::try_new(numbers(data, <$native>::from_le_bytes), nulls).map_err(internal)?)
        };
    }
    Ok(match of {
        Type::Int(1) => numbers!(Int8Array, i8),
        Type::Int(2) => numbers!(Int16Array, i16),
        Type::Int(4) => numbers!(Int32Array, i32),
        Type::Int(8) => numbers!(Int64Array, i64),
        Type::UInt(1) => numbers!(UInt8Array, u8),
        Type::UInt(2) => numbers!(UInt16Array, u16),
        Type::UInt(4) => numbers!(UInt32Array, u32),
        Type::UInt(8) => numbers!(UInt64Array, u64),
        Type::Float32 => numbers!(Float32Array, f32),
        Type::Float64 => numbers!(Float64Array, f64),
        Type::BFloat16 => {
            let values = numbers(data, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16));
            Arc::new(Float32Array::try_new(values, nulls).map_err(internal)?)
        }
        Type::Bool => Arc::new(BooleanArray::new(data.iter().map(|byte| *byte != 0).collect(), nulls)),
        Type::Int(16) => {
            wide(numbers(data, |bytes| i256::from_i128(i128::from_le_bytes(bytes))), 39, 0, nulls)?
        }
        Type::UInt(16) => {
            let number = |bytes| i256::from_parts(u128::from_le_bytes(bytes), 0);
            wide(numbers(data, number), 39, 0, nulls)?
        }
        Type::Int(_) => written(
            data.chunks_exact(32),
            nulls,
            |bytes, out| {
                let bytes: [u8; 32] = bytes.try_into().unwrap_or([0; 32]);
                write!(out, "{}", i256::from_le_bytes(bytes)).is_ok()
            },
            bad,
        )?,
        Type::UInt(_) => written(data.chunks_exact(32), nulls, digits, bad)?,
        Type::Decimal(precision @ 39.., scale) => {
            wide(numbers(data, i256::from_le_bytes), *precision, *scale, nulls)?
        }
        Type::Decimal(precision, scale) => {
            let values: ScalarBuffer<i128> = match width {
                4 => numbers(data, |bytes| i32::from_le_bytes(bytes).into()),
                8 => numbers(data, |bytes| i64::from_le_bytes(bytes).into()),
                _ => numbers(data, i128::from_le_bytes),
            };
            let made = Decimal128Array::try_new(values, nulls).map_err(internal)?;
            Arc::new(made.with_precision_and_scale(*precision, *scale as i8).map_err(internal)?)
        }
        Type::Date => days(numbers(data, |bytes| u16::from_le_bytes(bytes).into()), nulls)?,
        Type::Date32 => days(numbers(data, i32::from_le_bytes), nulls)?,
        Type::DateTime => {
            let values = numbers(data, |bytes| i64::from(u32::from_le_bytes(bytes)));
            Arc::new(TimestampSecondArray::try_new(values, nulls).map_err(internal)?.with_timezone("UTC"))
        }
        Type::DateTime64(digits) => times(data, *digits, nulls, bad)?,
        Type::Uuid => {
            // Two halves, the last byte of each first.
            let mut bytes = data.clone();
            bytes.chunks_exact_mut(8).for_each(<[u8]>::reverse);
            Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), nulls).map_err(internal)?)
        }
        Type::Ipv4 => written(
            data.chunks_exact(4),
            nulls,
            |bytes, out| {
                let bytes: [u8; 4] = bytes.try_into().unwrap_or([0; 4]);
                write!(out, "{}", std::net::Ipv4Addr::from(u32::from_le_bytes(bytes))).is_ok()
            },
            bad,
        )?,
        Type::Ipv6 => written(
            data.chunks_exact(16),
            nulls,
            |bytes, out| {
                let bytes: [u8; 16] = bytes.try_into().unwrap_or([0; 16]);
                write!(out, "{}", std::net::Ipv6Addr::from(bytes)).is_ok()
            },
            bad,
        )?,
        Type::Enum(bytes, values) => written(
            data.chunks_exact(usize::from(*bytes)),
            nulls,
            |bytes, out| {
                let number = match *bytes {
                    [low] => i16::from(i8::from_le_bytes([low])),
                    [low, high] => i16::from_le_bytes([low, high]),
                    _ => 0,
                };
                let found = values.binary_search_by_key(&number, |(number, _)| *number).ok();
                match found.and_then(|at| values.get(at)) {
                    Some((_, name)) => out.push_str(name),
                    None => return false,
                }
                true
            },
            bad,
        )?,
        Type::FixedString(width) => {
            let mut strings = Strings::default();
            for bytes in data.chunks_exact(*width) {
                // What it is filled up with belongs to bytes, and to no text.
                let end = if binary {
                    *width
                } else {
                    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
                };
                strings.data.extend_from_slice(bytes.get(..end).unwrap_or_default());
                strings.ends.push(strings.data.len());
            }
            texts(&strings, binary, nulls, bad)?
        }
        Type::Nothing => Arc::new(StringArray::new_null(data.len())),
        _ => return Err(mismatch()),
    })
}

fn days(values: ScalarBuffer<i32>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    Ok(Arc::new(Date32Array::try_new(values, nulls).map_err(internal)?))
}

fn wide(values: ScalarBuffer<i256>, precision: u8, scale: u8, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let made = Decimal256Array::try_new(values, nulls).map_err(internal)?;
    Ok(Arc::new(made.with_precision_and_scale(precision, scale as i8).map_err(internal)?))
}

fn times(data: &[u8], digits: u8, nulls: Option<NullBuffer>, bad: &mut Vec<Bad>) -> Result<ArrayRef> {
    let lacking = match digits {
        0 => 0,
        digits => (3 - digits % 3) % 3,
    };
    let factor = 10_i64.pow(lacking.into());
    let mut values: ScalarBuffer<i64> = numbers(data, i64::from_le_bytes);
    if factor > 1 {
        let scaled = |(row, value): (usize, &i64)| {
            value.checked_mul(factor).unwrap_or_else(|| {
                if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                    let reason = format!(
                        "{value} at {digits} digits behind the second is beyond what nanoseconds span"
                    );
                    bad.push(Bad { row, code: "timestamp_out_of_range", reason, value: value.to_string() });
                }
                0
            })
        };
        values = values.iter().enumerate().map(scaled).collect::<Vec<_>>().into();
    }
    fn made<T>(array: Result<PrimitiveArray<T>, ArrowError>) -> Result<ArrayRef>
    where
        T: arrow_array::types::ArrowTimestampType,
    {
        Ok(Arc::new(array.map_err(internal)?.with_timezone("UTC")))
    }
    match digits {
        0 => made(TimestampSecondArray::try_new(values, nulls)),
        1..=3 => made(TimestampMillisecondArray::try_new(values, nulls)),
        4..=6 => made(TimestampMicrosecondArray::try_new(values, nulls)),
        _ => made(TimestampNanosecondArray::try_new(values, nulls)),
    }
}

/// Values of a fixed width as text; `write` is false for a value that is none.
fn written<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    nulls: Option<NullBuffer>,
    write: impl Fn(&[u8], &mut String) -> bool,
    bad: &mut Vec<Bad>,
) -> Result<ArrayRef> {
    let mut out = String::new();
    let mut ends = vec![0];
    for (row, value) in values.enumerate() {
        let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        if valid && !write(value, &mut out) {
            let reason = format!("the server sent {value:02x?}, which is no value of its type");
            bad.push(Bad { row, code: "bad_value", reason, value: hex(value) });
        }
        ends.push(offset(out.len())?);
    }
    let made =
        StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(out.into_bytes()), nulls);
    Ok(Arc::new(made.map_err(internal)?))
}

/// 256 bits without a sign, in digits.
fn digits(bytes: &[u8], out: &mut String) -> bool {
    const CHUNK: u128 = 1_000_000_000_000_000_000;
    let mut words = [0_u64; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8]));
    }
    let mut chunks = Vec::new();
    loop {
        let mut rest = 0_u128;
        for word in words.iter_mut().rev() {
            let all = rest << 64 | u128::from(*word);
            *word = (all / CHUNK) as u64;
            rest = all % CHUNK;
        }
        chunks.push(rest);
        if words == [0; 4] {
            break;
        }
    }
    let mut chunks = chunks.iter().rev();
    let first = chunks.next().copied().unwrap_or(0);
    write!(out, "{first}").is_ok() && chunks.all(|chunk| write!(out, "{chunk:018}").is_ok())
}

/// Texts, or bytes. What is no UTF-8 is bad as text.
fn texts(strings: &Strings, binary: bool, nulls: Option<NullBuffer>, bad: &mut Vec<Bad>) -> Result<ArrayRef> {
    let mut ends = Vec::with_capacity(strings.ends.len() + 1);
    ends.push(0);
    for end in &strings.ends {
        ends.push(offset(*end)?);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    let data = Buffer::from_slice_ref(&strings.data);
    if binary {
        return Ok(Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(internal)?));
    }
    if let Ok(array) = StringArray::try_new(offsets, data, nulls.clone()) {
        return Ok(Arc::new(array));
    }
    let values = (0..strings.ends.len()).map(|row| {
        let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let text = std::str::from_utf8(strings.get(row)).ok();
        if valid && text.is_none() {
            let reason = "the text is not UTF-8; binary=COLUMN reads the column as bytes".to_owned();
            bad.push(Bad { row, code: "bad_utf8", reason, value: hex(strings.get(row)) });
        }
        text.filter(|_| valid)
    });
    Ok(Arc::new(values.collect::<StringArray>()))
}

const NOT_UTF8_WITHIN: &str = "a text within it is not UTF-8; columns= can write its bytes as digits: hex(tupleElement(COLUMN, 1)), \
                               arrayMap(x -> hex(x), COLUMN.values)";

/// What lies within each other, as JSON.
enum Tree<'a> {
    Plain(ArrayRef),
    List(&'a [u64], Box<Self>),
    Tuple(Vec<(Option<&'a str>, Self)>),
    Map(&'a [u64], Box<Self>, Box<Self>),
}

impl<'a> Tree<'a> {
    fn of(node: &'a Node, of: &'a Type, bad: &mut Vec<Bad>) -> Result<Self> {
        let mut within = Vec::new();
        let (made, ends) = match (node, of) {
            (Node::List { ends, item, .. }, Type::Array(of)) => {
                (Self::List(ends, Box::new(Self::of(item, of, &mut within)?)), Some(ends))
            }
            (Node::List { ends, item, .. }, Type::Map(key, value)) => {
                let Node::Tuple(parts) = item.as_ref() else { return Err(mismatch()) };
                let [keys, values] = parts.as_slice() else { return Err(mismatch()) };
                let (keys, values) =
                    (Self::of(keys, key, &mut within)?, Self::of(values, value, &mut within)?);
                (Self::Map(ends, Box::new(keys), Box::new(values)), Some(ends))
            }
            (Node::Tuple(nodes), Type::Tuple(parts)) => {
                let made = nodes
                    .iter()
                    .zip(parts)
                    .map(|(node, (name, of))| Ok((name.as_deref(), Self::of(node, of, &mut within)?)));
                (Self::Tuple(made.collect::<Result<_>>()?), None)
            }
            _ => (Self::Plain(plain(node, of, false, None, &mut within)?), None),
        };
        for one in within {
            let row = ends.map_or(one.row, |ends| ends.partition_point(|end| *end <= one.row as u64));
            // Bytes have no place in JSON, whatever binary= says.
            let reason = if one.code == "bad_utf8" { NOT_UTF8_WITHIN.to_owned() } else { one.reason };
            bad.push(Bad { row, reason, ..one });
        }
        Ok(made)
    }

    fn write(&self, row: usize, out: &mut String) -> Result<()> {
        let range = |ends: &[u64]| {
            let from = row.checked_sub(1).and_then(|row| ends.get(row)).copied().unwrap_or(0);
            from as usize..ends.get(row).copied().unwrap_or(from) as usize
        };
        match self {
            Self::Plain(array) => out.push_str(&json(array, row)?.to_string()),
            Self::List(ends, item) => {
                out.push('[');
                for (nth, at) in range(ends).enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    item.write(at, out)?;
                }
                out.push(']');
            }
            Self::Map(ends, keys, values) => {
                out.push('{');
                for (nth, at) in range(ends).enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    let mut key = String::new();
                    keys.write(at, &mut key)?;
                    // Keys of JSON are texts.
                    out.push_str(&if key.starts_with('"') {
                        key
                    } else {
                        serde_json::Value::from(key).to_string()
                    });
                    out.push(':');
                    values.write(at, out)?;
                }
                out.push('}');
            }
            Self::Tuple(parts) => {
                let named = parts.iter().all(|(name, _)| name.is_some());
                out.push(if named { '{' } else { '[' });
                for (nth, (name, part)) in parts.iter().enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    if let Some(name) = name.filter(|_| named) {
                        out.push_str(&serde_json::Value::from(name).to_string());
                        out.push(':');
                    }
                    part.write(row, out)?;
                }
                out.push(if named { '}' } else { ']' });
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    Value::Bytes(bytes.into()).to_string()
}

fn json(array: &ArrayRef, row: usize) -> Result<serde_json::Value> {
    Ok(match Value::of(array.as_ref(), row)? {
        Value::Bytes(bytes) if matches!(array.data_type(), Arrow::FixedSizeBinary(_)) => {
            let hex = hex(&bytes);
            let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
            let parts = [part(2..10), part(10..14), part(14..18), part(18..22), part(22..34)];
            serde_json::Value::from(parts.join("-"))
        }
        other => other.to_json(),
    })
}

/// A row for whoever looks at a reject, as JSON, with the value that is bad in its place.
pub(super) fn shown(arrays: &[ArrayRef], row: usize, at: usize, bad: &str) -> String {
    let values = arrays.iter().enumerate().map(|(column, array)| match column == at {
        true => bad.into(),
        false => json(array, row).unwrap_or_default(),
    });
    serde_json::Value::Array(values.collect()).to_string()
}
