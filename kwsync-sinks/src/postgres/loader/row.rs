//! Rows as a program fills them.

use kwsync_core::Value;

/// A row to add, which can be filled again for the next one.
///
/// # Examples
/// ```
/// use kwsync_core::Value;
/// use kwsync_sinks::postgres::LoadRow;
///
/// let mut row = LoadRow::new(2);
/// row.set_column(0, 10).set_column(1, "2018-01-01 08:00:00");
/// row.update_column(0, 11);
/// assert_eq!(row.values()[0], Value::Int(11));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadRow {
    values: Vec<Value<'static>>,
}

impl LoadRow {
    /// A row of so many nulls.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { values: vec![Value::Null; columns] }
    }

    /// Sets the value of a column, counted from 0 in the order of the configured columns; the row grows to it.
    pub fn set_column(&mut self, index: usize, value: impl Into<LoadValue>) -> &mut Self {
        if index >= self.values.len() {
            self.values.resize(index + 1, Value::Null);
        }
        if let Some(slot) = self.values.get_mut(index) {
            *slot = value.into().0;
        }
        self
    }

    /// The same, by the name that a row which is used again has for it.
    pub fn update_column(&mut self, index: usize, value: impl Into<LoadValue>) -> &mut Self {
        self.set_column(index, value)
    }

    /// Sets all values.
    pub fn set_values(&mut self, values: impl IntoIterator<Item = impl Into<LoadValue>>) -> &mut Self {
        self.values = values.into_iter().map(|value| value.into().0).collect();
        self
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[Value<'static>] {
        &self.values
    }
}

/// Anything that can be a value of a row; it is read for the type of its column.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadValue(pub(super) Value<'static>);

impl From<Value<'static>> for LoadValue {
    fn from(value: Value<'static>) -> Self {
        Self(value)
    }
}

macro_rules! from {
    ($($type:ty, $value:ident => $made:expr;)*) => {
        $(impl From<$type> for LoadValue {
            fn from($value: $type) -> Self {
                Self($made)
            }
        })*
    };
}

from! {
    bool, v => Value::Bool(v);
    i16, v => Value::Int(v.into());
    i32, v => Value::Int(v.into());
    i64, v => Value::Int(v);
    u32, v => Value::UInt(v.into());
    u64, v => Value::UInt(v);
    f32, v => Value::Float32(v);
    f64, v => Value::Float64(v);
    &str, v => Value::Text(v.to_owned().into());
    String, v => Value::Text(v.into());
    Vec<u8>, v => Value::Bytes(v.into());
}

impl<T: Into<Self>> From<Option<T>> for LoadValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(Value::Null), Into::into)
    }
}

/// A JSON value as serde makes it of a field.
pub(super) fn from_json(value: serde_json::Value) -> Value<'static> {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Null,
        Json::Bool(v) => Value::Bool(v),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(v), ..) => Value::Int(v),
            (_, Some(v), _) => Value::UInt(v),
            (_, _, Some(v)) => Value::Float64(v),
            _ => Value::Text(number.to_string().into()),
        },
        Json::String(text) => Value::Text(text.into()),
        // For a column of JSON.
        other => Value::Text(other.to_string().into()),
    }
}
