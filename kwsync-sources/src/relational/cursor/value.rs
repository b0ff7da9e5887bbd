//! Values of a cursor.

use std::time::Duration;

use arrow_array::Array;
use kwsync_core::{DataType, Error, Result, TimeUnit, Value};

/// What a cursor's values are; each is a whole number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    /// Days since 1970-01-01.
    Date,
    /// Units since 1970-01-01 00:00; true for points in time, false for local time.
    Timestamp(TimeUnit, bool),
}

impl Kind {
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        use DataType as T;
        Some(match data_type {
            T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
                Self::Integer
            }
            T::Date => Self::Date,
            T::Timestamp(unit) => Self::Timestamp(*unit, false),
            T::TimestampTz(unit) => Self::Timestamp(*unit, true),
            _ => return None,
        })
    }

    /// As a position has it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Integer => "integer".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Timestamp(unit, true) => format!("timestamptz({})", unit.as_str()),
            Self::Timestamp(unit, false) => format!("timestamp({})", unit.as_str()),
        }
    }

    /// Nanoseconds of one unit; none of a number.
    pub(crate) fn nanos(self) -> Option<i128> {
        match self {
            Self::Integer => None,
            Self::Date => Some(86_400_000_000_000),
            Self::Timestamp(unit, _) => Some(unit.nanos().into()),
        }
    }

    /// A value as text: digits, or a time without its zone.
    pub(crate) fn text(self, value: i128) -> String {
        match self {
            Self::Integer => value.to_string(),
            Self::Date => Value::Date(value.clamp(i32::MIN.into(), i32::MAX.into()) as i32).to_string(),
            Self::Timestamp(unit, _) => {
                let value = value.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                Value::Timestamp(value, unit, false).to_string().replacen('T', " ", 1)
            }
        }
    }

    /// The values of a column.
    ///
    /// # Errors
    /// `Config` for a null, which has no place in the order, and for what is no such value.
    pub(crate) fn values(self, column: &dyn Array, name: &str) -> Result<Vec<i128>> {
        (0..column.len())
            .map(|row| match Value::of(column, row)? {
                Value::Int(value) => Ok(value.into()),
                Value::UInt(value) => Ok(value.into()),
                Value::Date(days) => Ok(days.into()),
                Value::Timestamp(value, unit, _) => {
                    let own = self.nanos().unwrap_or(1);
                    Ok(i128::from(value) * i128::from(unit.nanos()) / own)
                }
                other => Err(Error::config(format!("the cursor {name:?} has the value {other}"))
                    .with_hint("a cursor is a column of integers, dates or timestamps")),
            })
            .collect()
    }
}

/// A distance between values: a time, or a plain number for columns of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Time(Duration),
    Number(u64),
}

impl Span {
    /// `500ms`, `10m`, `1d`, or `1000`.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
        let nanos: u64 = match unit.trim() {
            "" => 0,
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" | "a" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => u64::MAX,
        };
        let made = digits.parse::<u64>().ok().filter(|_| nanos != u64::MAX).and_then(|number| match nanos {
            0 => Some(Self::Number(number)),
            nanos => number.checked_mul(nanos).map(|nanos| Self::Time(Duration::from_nanos(nanos))),
        });
        made.ok_or_else(|| {
            Error::config(format!("{name}={text}: this is no distance"))
                .with_hint("write a time, as 500ms, 10m or 1d; for a column of integers a number")
        })
    }

    /// The distance in units of a cursor, rounded up.
    pub(crate) fn units(self, name: &str, kind: Kind) -> Result<i128> {
        match (self, kind.nanos()) {
            (Self::Time(time), Some(nanos)) => Ok((time.as_nanos() as i128 + nanos - 1) / nanos),
            (Self::Number(number), None) => Ok(number.into()),
            // Nothing is nothing in any unit.
            (Self::Number(0), _) => Ok(0),
            (Self::Time(time), None) if time.is_zero() => Ok(0),
            (Self::Number(number), Some(_)) => {
                Err(Error::config(format!("{name}={number}: the cursor is a time"))
                    .with_hint(format!("say how long: {name}={number}s")))
            }
            (Self::Time(_), None) => {
                Err(Error::config(format!("{name}: the cursor is a column of integers"))
                    .with_hint(format!("give a number instead of a time: {name}=1000")))
            }
        }
    }
}
