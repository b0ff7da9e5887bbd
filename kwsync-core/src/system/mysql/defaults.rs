//! Defaults and lists of values: what the catalog's words mean, and how a table is made with them.

use super::ddl::bytes_literal;
use crate::{Column, ColumnDefault, DataType};

/// What the catalog says of a column's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogDefault {
    /// `COLUMN_DEFAULT`.
    pub text: Option<String>,
    /// `EXTRA`, in lower case.
    pub extra: String,
    /// Whether texts are quoted there, as MariaDB has them.
    pub quoted: bool,
}

impl CatalogDefault {
    /// A default as the catalog has it.
    pub fn new(text: Option<String>, extra: &str, quoted: bool) -> Self {
        Self { text, extra: extra.to_ascii_lowercase(), quoted }
    }

    /// What it says for a column of `data_type`. `Ok(None)` where there is none.
    ///
    /// # Errors
    /// The expression, when it has no translation.
    pub fn parse(&self, data_type: &DataType) -> Result<Option<ColumnDefault>, String> {
        if self.extra.contains("auto_increment") {
            return Ok(Some(ColumnDefault::Identity));
        }
        let Some(text) = self.text.as_deref() else { return Ok(None) };
        if self.quoted && text == "NULL" {
            return Ok(None);
        }
        let lower = text.to_ascii_lowercase();
        let point = matches!(data_type, DataType::Timestamp(_) | DataType::TimestampTz(_));
        if point && (lower.starts_with("current_timestamp") || lower.starts_with("now(")) {
            return Ok(Some(ColumnDefault::Now));
        }
        let number = lower.strip_prefix('-').unwrap_or(&lower);
        let number = number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let bits = lower.strip_prefix("b'").and_then(|rest| rest.strip_suffix('\''));
        let value = if let Some(bits) = bits {
            bits.to_owned()
        } else if self.quoted {
            match number {
                true => text.to_owned(),
                false => unquote(text).ok_or_else(|| text.to_owned())?,
            }
        } else if self.extra.contains("default_generated") {
            return Err(text.to_owned());
        } else {
            text.to_owned()
        };
        canonical(&value, data_type)
            .map(|value| Some(ColumnDefault::Value(value.into())))
            .ok_or_else(|| text.to_owned())
    }

    /// What happens to the column when a row is changed, if anything does.
    pub fn on_update(&self) -> Option<&str> {
        self.extra.find("on update").and_then(|at| self.extra.get(at..))
    }
}

/// A constant as every server reads it for the type; none where they would not agree.
fn canonical(value: &str, data_type: &DataType) -> Option<String> {
    use DataType as T;
    match data_type {
        // In the session's zone, which is not the table's.
        T::TimestampTz(_) => None,
        // Zero dates are none elsewhere.
        T::Date | T::Timestamp(_) => {
            let zero = value.get(..10).is_none_or(|day| day.contains("-00") || day.starts_with("0000"));
            (!zero).then(|| value.to_owned())
        }
        T::Bit(bits) => {
            let digits = value.len() <= *bits as usize && value.chars().all(|c| matches!(c, '0' | '1'));
            digits.then(|| format!("{value:0>width$}", width = *bits as usize))
        }
        T::Bytes | T::VarBytes(_) if value.is_ascii() => {
            Some(value.bytes().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}")))
        }
        T::Bytes | T::VarBytes(_) => None,
        _ => Some(value.to_owned()),
    }
}

/// A literal of MariaDB's catalog.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut made = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next() == Some('\'') => made.push('\''),
            // The end of it, and more behind: an expression.
            '\'' => return None,
            '\\' => made.push(match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'Z' => '\u{1a}',
                other => other,
            }),
            other => made.push(other),
        }
    }
    Some(made)
}

/// The values of `enum('a','it''s')`; none of other types.
pub fn values(column_type: &str) -> Option<Vec<String>> {
    listed(column_type, "enum(")
}

/// The values of `set('a','it''s')`; none of other types.
pub fn members(column_type: &str) -> Option<Vec<String>> {
    listed(column_type, "set(")
}

fn listed(column_type: &str, kind: &str) -> Option<Vec<String>> {
    let head = column_type.get(..kind.len()).filter(|head| head.eq_ignore_ascii_case(kind))?;
    let mut rest = column_type.strip_prefix(head)?.strip_suffix(')')?;
    let mut values = Vec::new();
    loop {
        rest = rest.strip_prefix('\'')?;
        let mut value = String::new();
        loop {
            let (before, after) = rest.split_once('\'')?;
            value.push_str(before);
            rest = after;
            match after.strip_prefix('\'') {
                Some(more) => {
                    value.push('\'');
                    rest = more;
                }
                None => break,
            }
        }
        values.push(value);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(values),
        }
    }
}

/// The type `enum(...)` of a column whose values are listed; none where an enum cannot hold them.
pub fn enum_type(column: &Column) -> Option<String> {
    let values = column.values()?;
    // The server takes blanks off the end, and has a meaning of its own for the empty text.
    let plain =
        values.iter().all(|value| !value.is_empty() && !value.ends_with(' ') && value.chars().count() <= 255);
    let list: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    (plain && (1..=65_535).contains(&list.len())).then(|| format!("enum({})", list.join(",")))
}

/// What stands behind a column that is made of type `sql_type`, with a blank before it; or what is left out, and why. `first` says
/// whether it is the first of the primary key.
pub fn clause(column: &Column, sql_type: &str, first: bool) -> Result<String, String> {
    use DataType as T;
    let name = column.name();
    let Some(default) = column.default() else { return Ok(String::new()) };
    let value = match default {
        ColumnDefault::Identity => {
            let counts = sql_type.split(['(', ' ']).next().is_some_and(|word| word.ends_with("int"));
            return match counts && first {
                true => Ok(" AUTO_INCREMENT".to_owned()),
                false => Err(format!(
                    "{name:?} counts on by itself, which takes a number that begins the primary key"
                )),
            };
        }
        ColumnDefault::Now => {
            return match sql_type.strip_prefix("datetime") {
                Some("(0)") => Ok(" DEFAULT CURRENT_TIMESTAMP".to_owned()),
                Some(digits) => Ok(format!(" DEFAULT CURRENT_TIMESTAMP{digits}")),
                None => Err(format!("the default of {name:?}, the current time, is none of {sql_type}")),
            };
        }
        ColumnDefault::Value(value) => &**value,
    };
    let cannot = || Err(format!("the default of {name:?}, {value:?}, is none of {sql_type}"));
    let digits = value.strip_prefix('-').unwrap_or(value);
    let number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let sql = match column.data_type() {
        T::Bool => match value {
            "true" | "t" | "1" => "1".to_owned(),
            "false" | "f" | "0" => "0".to_owned(),
            _ => return cannot(),
        },
        T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::UInt8
        | T::UInt16
        | T::UInt32
        | T::UInt64
        | T::Float32
        | T::Float64
        | T::Numeric(Some(_))
            if number =>
        {
            value.to_owned()
        }
        T::Date | T::Timestamp(_) | T::Time(_) => {
            // A zone has no place there.
            let plain = value.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | ' ' | 'T'));
            match plain {
                true => quoted(&value.replace('T', " ")),
                false => return cannot(),
            }
        }
        T::Bit(1..=64) if value.chars().all(|c| matches!(c, '0' | '1')) => format!("b'{value}'"),
        T::Bytes | T::VarBytes(_) => {
            let hex = value.strip_prefix("\\x").filter(|hex| hex.len() % 2 == 0);
            let bytes: Option<Vec<u8>> = hex.and_then(|hex| {
                (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
                    .collect()
            });
            match bytes {
                Some(bytes) => bytes_literal(&bytes),
                None => return cannot(),
            }
        }
        T::Text
        | T::Char(_)
        | T::NChar(_)
        | T::VarChar(_)
        | T::NVarChar(_)
        | T::Json
        | T::Jsonb
        | T::Uuid
        | T::Inet
        | T::Xml => quoted(value),
        T::Other(_) if sql_type.starts_with("enum(") => quoted(value),
        _ => return cannot(),
    };
    // Of the large types only an expression may be one.
    let large = ["longtext", "longblob", "json", "geometry"].contains(&sql_type);
    Ok(if large { format!(" DEFAULT ({sql})") } else { format!(" DEFAULT {sql}") })
}

/// A plain literal, as a definition of a column takes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeUnit;

    #[test]
    fn words_of_the_catalog() {
        let value = |text: &str| Ok(Some(ColumnDefault::Value(text.into())));
        let us = TimeUnit::Microsecond;
        for (text, extra, quoted, data_type, expected) in [
            ("0", "", true, DataType::Int32, value("0")),
            ("'it\\'s'", "", true, DataType::Text, value("it's")),
            ("it's", "", false, DataType::Text, value("it's")),
            ("NULL", "", true, DataType::Text, Ok(None)),
            ("NULL", "", false, DataType::Text, value("NULL")),
            ("current_timestamp(6)", "", true, DataType::Timestamp(us), Ok(Some(ColumnDefault::Now))),
            (
                "CURRENT_TIMESTAMP",
                "DEFAULT_GENERATED",
                false,
                DataType::TimestampTz(us),
                Ok(Some(ColumnDefault::Now)),
            ),
            ("b'101'", "", true, DataType::Bit(5), value("00101")),
            ("'ab'", "", true, DataType::Bytes, value("\\x6162")),
            ("'2024-01-01'", "", true, DataType::Date, value("2024-01-01")),
            ("'0000-00-00'", "", true, DataType::Date, Err("'0000-00-00'".to_owned())),
            ("uuid()", "", true, DataType::Text, Err("uuid()".to_owned())),
            ("uuid()", "DEFAULT_GENERATED", false, DataType::Text, Err("uuid()".to_owned())),
            ("concat('a','b')", "", true, DataType::Text, Err("concat('a','b')".to_owned())),
        ] {
            let default = CatalogDefault::new(Some(text.to_owned()), extra, quoted);
            assert_eq!(default.parse(&data_type), expected, "{text}");
        }
        let counted = CatalogDefault::new(None, "auto_increment", true);
        assert_eq!(counted.parse(&DataType::Int32), Ok(Some(ColumnDefault::Identity)));
        assert_eq!(values("enum('a','it''s','')").unwrap(), ["a", "it's", ""]);
        assert_eq!((values("set('a')"), values("enum('a'")), (None, None));
        assert_eq!(members("set('a','B c')").unwrap(), ["a", "B c"]);
    }

    #[test]
    fn what_stands_behind_a_column() {
        let of = |data_type: DataType, default: &str| {
            Column::new("c", data_type).with_default(ColumnDefault::Value(default.into()))
        };
        for (column, sql_type, expected) in [
            (of(DataType::Int32, "-5"), "int", " DEFAULT -5"),
            (of(DataType::Bool, "true"), "tinyint(1)", " DEFAULT 1"),
            (of(DataType::Text, "it's \\"), "longtext", " DEFAULT ('it''s \\\\')"),
            (of(DataType::VarChar(Some(9)), ""), "varchar(9)", " DEFAULT ''"),
            (of(DataType::Bytes, "\\x00ff"), "longblob", " DEFAULT (x'00ff')"),
            (of(DataType::Bit(3), "101"), "bit(3)", " DEFAULT b'101'"),
        ] {
            assert_eq!(clause(&column, sql_type, false).as_deref(), Ok(expected));
        }
        let identity = Column::new("c", DataType::Int64).with_default(ColumnDefault::Identity);
        assert_eq!(clause(&identity, "bigint", true).as_deref(), Ok(" AUTO_INCREMENT"));
        assert!(clause(&identity, "bigint", false).is_err());
        assert!(clause(&of(DataType::Int32, "1; DROP"), "int", false).is_err());
        let listed = Column::new("c", DataType::Text).with_values(["a", "it's"]);
        assert_eq!(enum_type(&listed).as_deref(), Some("enum('a','it''s')"));
        assert_eq!(enum_type(&Column::new("c", DataType::Text).with_values(["a "])), None);
    }
}
