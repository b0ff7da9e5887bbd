//! Defaults and lists of values: what the catalog's words mean, and how a table is made with them.

use std::sync::Arc;

use super::ddl::{literal, quote};
use super::profile::{Profile, Server};
use crate::{Column, ColumnDefault, DataType, Result};

/// What an expression of a default says, as `pg_get_expr` prints it. `Ok(None)` for NULL, which is no default; `Err` for an
/// expression that means nothing outside of this server.
///
/// # Errors
/// The expression itself, when it has no translation.
pub fn parse<'a>(
    expression: &'a str,
    data_type: &DataType,
) -> std::result::Result<Option<ColumnDefault>, &'a str> {
    let mut text = expression.trim();
    while let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        if inner.contains(['(', ')', '\'']) {
            break;
        }
        text = inner.trim();
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("nextval(") {
        return Ok(Some(ColumnDefault::Identity));
    }
    let point = matches!(data_type, DataType::Timestamp(_) | DataType::TimestampTz(_));
    let words = ["now()", "transaction_timestamp()", "statement_timestamp()"];
    let clocks = ["current_timestamp", "localtimestamp"];
    let bare = uncast(&lower);
    if point && (words.contains(&bare) || clocks.iter().any(|word| is_clock(bare, word))) {
        return Ok(Some(ColumnDefault::Now));
    }
    let value = |value: &str| Ok(Some(ColumnDefault::Value(value.into())));
    match bare {
        "null" => return Ok(None),
        "true" | "false" => return value(bare),
        _ => {}
    }
    let number = bare.trim_matches(|c| matches!(c, '(' | ')'));
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        return value(number);
    }
    let quoted = text.strip_prefix('\'').or_else(|| text.strip_prefix("B'")).ok_or(expression)?;
    let (inside, rest) = unquote(quoted).ok_or(expression)?;
    let cast = rest.is_empty() || rest.strip_prefix("::").is_some_and(is_type);
    let temporal = point || matches!(data_type, DataType::Date | DataType::Time(_) | DataType::TimeTz);
    // 'now', 'today', 'infinity': words, not values.
    let word = temporal && !inside.starts_with(|c: char| c.is_ascii_digit());
    match cast && !word {
        true => value(&inside),
        false => Err(expression),
    }
}

/// An expression without a cast of all of it.
fn uncast(text: &str) -> &str {
    match text.split_once("::") {
        Some((inner, data_type)) if is_type(data_type) && !inner.contains('\'') => {
            let inner = inner.trim();
            inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(inner)
        }
        _ => text,
    }
}

fn is_type(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '"' | '.' | '[' | ']' | '(' | ')' | ','))
}

fn is_clock(text: &str, word: &str) -> bool {
    let digits = text.strip_prefix(word).map(|rest| rest.trim_matches(|c| matches!(c, '(' | ')')));
    digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit()))
}

/// A literal behind its first quote, and what follows its last.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        inside.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => {
                inside.push('\'');
                rest = more;
            }
            None => return Some((inside, after)),
        }
    }
}

/// What stands behind the type of a column that is made: `DEFAULT`, identity, `CHECK`; and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clause {
    /// The words, with a blank before them; empty where there are none.
    pub sql: String,
    /// A statement to run before the table is made: the enum's type.
    pub before: Option<String>,
    /// What is left out, and why.
    pub left_out: Vec<String>,
    /// Whether numbers count on by an identity, which has to be moved behind those that are loaded.
    pub identity: bool,
}

/// What stands behind `sql_type`, the type that a column is made with.
///
/// # Errors
/// As [`quote`].
pub fn clause(column: &Column, sql_type: &str, profile: &Profile) -> Result<Clause> {
    let mut made = Clause::default();
    let name = column.name();
    let point = matches!(column.data_type(), DataType::Timestamp(_) | DataType::TimestampTz(_));
    match column.default() {
        None => {}
        Some(ColumnDefault::Identity) => {
            let counts = matches!(sql_type, "smallint" | "integer" | "bigint");
            if counts && profile.server == Server::PostgreSql && profile.version >= (10, 0) {
                made.sql.push_str(" GENERATED BY DEFAULT AS IDENTITY");
                made.identity = true;
            } else {
                let why = if counts { profile.server.to_string() } else { format!("a column of {sql_type}") };
                made.left_out.push(format!("{name:?} counts on by itself, which {why} cannot"));
            }
        }
        Some(ColumnDefault::Now) if point => made.sql.push_str(" DEFAULT CURRENT_TIMESTAMP"),
        Some(ColumnDefault::Now) => {
            made.left_out.push(format!("the default of {name:?}, the current time, is none of {sql_type}"));
        }
        Some(ColumnDefault::Value(value)) => made.sql.push_str(&format!(" DEFAULT {}", literal(value))),
    }
    if let Some(values) = column.values() {
        let list = values.iter().map(|value| literal(value)).collect::<Vec<_>>().join(", ");
        match column.data_type() {
            // An enum of another PostgreSQL, by its name there.
            DataType::Other(own) if is_plain(own) => {
                made.before = Some(format!(
                    "DO $kwsync$ BEGIN CREATE TYPE {own} AS ENUM ({list}); EXCEPTION WHEN duplicate_object THEN NULL; END $kwsync$"
                ));
            }
            DataType::Other(own) => {
                made.left_out.push(format!("the type {own} of {name:?} is not made: create it before"));
            }
            _ => made.sql.push_str(&format!(" CHECK ({} IN ({list}))", quote(name)?)),
        }
    }
    Ok(made)
}

/// Whether a type's name is of no schema, so that it can be made where the table is.
fn is_plain(name: &Arc<str>) -> bool {
    let quoted = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(inner) => !inner.replace("\"\"", "").contains('"'),
        None => !name.contains(['.', '"', ' ', '(']),
    }
}

/// The statement that moves the sequence of an identity behind the greatest number in its column; it never moves it back.
/// `table` is quoted already.
///
/// # Errors
/// As [`quote`].
pub fn advance_identity(table: &str, column: &str) -> Result<String> {
    let name = quote(column)?;
    Ok(format!(
        "SELECT pg_catalog.setval(s.name, m.most) FROM (SELECT max({name})::bigint AS most FROM {table}) m, \
         (SELECT pg_catalog.pg_get_serial_sequence({}, {})::regclass AS name) s \
         WHERE s.name IS NOT NULL AND m.most > coalesce(pg_catalog.pg_sequence_last_value(s.name), 0)",
        literal(table),
        literal(column)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeUnit;

    #[test]
    fn expressions_of_the_catalog() {
        let us = TimeUnit::Microsecond;
        let value = |text: &str| Ok(Some(ColumnDefault::Value(text.into())));
        for (expression, data_type, expected) in [
            ("0", DataType::Int32, value("0")),
            ("'-1'::integer", DataType::Int32, value("-1")),
            ("(-5)", DataType::Int32, value("-5")),
            ("1.50", DataType::Numeric(None), value("1.50")),
            ("(0)::numeric", DataType::Numeric(None), value("0")),
            ("true", DataType::Bool, value("true")),
            ("'it''s (x)'::character varying", DataType::Text, value("it's (x)")),
            ("'{}'::jsonb", DataType::Jsonb, value("{}")),
            ("'\\x00ff'::bytea", DataType::Bytes, value("\\x00ff")),
            ("B'101'::\"bit\"", DataType::Bit(3), value("101")),
            ("'2024-01-01'::date", DataType::Date, value("2024-01-01")),
            ("NULL::character varying", DataType::Text, Ok(None)),
            ("now()", DataType::TimestampTz(us), Ok(Some(ColumnDefault::Now))),
            ("CURRENT_TIMESTAMP", DataType::TimestampTz(us), Ok(Some(ColumnDefault::Now))),
            ("LOCALTIMESTAMP(3)", DataType::Timestamp(us), Ok(Some(ColumnDefault::Now))),
            ("(now())::timestamp without time zone", DataType::Timestamp(us), Ok(Some(ColumnDefault::Now))),
            ("nextval('t_id_seq'::regclass)", DataType::Int32, Ok(Some(ColumnDefault::Identity))),
        ] {
            assert_eq!(parse(expression, &data_type), expected, "{expression}");
        }
        for (expression, data_type) in [
            ("gen_random_uuid()", DataType::Uuid),
            ("'now'::date", DataType::Date),
            ("'infinity'::timestamp", DataType::Timestamp(us)),
            ("('a'::text || 'b'::text)", DataType::Text),
            ("CURRENT_DATE", DataType::Date),
            ("now()", DataType::Text),
        ] {
            assert_eq!(parse(expression, &data_type), Err(expression), "{expression}");
        }
    }
}
