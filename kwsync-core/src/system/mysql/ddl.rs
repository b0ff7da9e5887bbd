//! Statements that make and change tables. Every name goes through [`quote`].

use super::defaults::{clause, enum_type};
use super::types::sql_type;
use crate::{Column, Error, ErrorKind, Location, Result, Schema, TableId};

/// The longest name, in characters.
pub const MAX_NAME: usize = 64;

/// A name as an identifier of SQL, its case kept.
///
/// # Errors
/// `Data` with the code `name_too_long` or `bad_name`: a name of more than 64 characters, an empty one, one that holds a NUL
/// or a character beyond the Basic Multilingual Plane, or ends in a blank.
///
/// # Examples
/// ```
/// use kwsync_core::system::mysql::ddl::quote;
///
/// assert_eq!(quote("a`b; drop table x")?, "`a``b; drop table x`");
/// assert!(quote(&"x".repeat(65)).is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn quote(name: &str) -> Result<String> {
    let fault = |code: &'static str, text: String| {
        Err(Error::new(ErrorKind::Data, text).with_code(code).with_hint("rename it with a transform"))
    };
    let beyond = |c: char| c == '\0' || u32::from(c) > 0xffff;
    if name.is_empty() || name.ends_with(' ') || name.contains(beyond) {
        return fault("bad_name", format!("{name:?} cannot be a name in MySQL"));
    }
    let length = name.chars().count();
    if length > MAX_NAME {
        return fault(
            "name_too_long",
            format!("the name {name:?} has {length} characters, and the server takes {MAX_NAME}"),
        );
    }
    Ok(format!("`{}`", name.replace('`', "``")))
}

/// The name of a table with its database: the table's own, else `default`, else none.
///
/// # Errors
/// As [`quote`].
pub fn table_name(table: &TableId, default: Option<&str>) -> Result<String> {
    match table.schema().or(default) {
        Some(schema) => Ok(format!("{}.{}", quote(schema)?, quote(table.name())?)),
        None => quote(table.name()),
    }
}

/// A text as a literal of SQL. Written in hexadecimal digits, it means the same under every `sql_mode`.
pub fn literal(text: &str) -> String {
    format!("_utf8mb4 x'{}'", hex(text.as_bytes()))
}

/// Bytes as a literal of SQL.
pub fn bytes_literal(bytes: &[u8]) -> String {
    format!("x'{}'", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// `CREATE TABLE IF NOT EXISTS`, with the columns in order, their defaults, the primary key `key` and the comments. Second, what is
/// left out of that.
///
/// # Errors
/// As [`quote`]; `Schema` for a column of the key whose type has no bound that an index could have.
pub fn create_table(table: &str, schema: &Schema, key: &[String]) -> Result<(String, Vec<String>)> {
    let (mut lines, mut left_out) = (Vec::new(), Vec::new());
    for column in schema.columns() {
        let in_key = key.iter().any(|name| name == column.name());
        let null = if in_key || !column.is_nullable() { " NOT NULL" } else { " NULL" };
        let data_type = column_type(column, in_key);
        let first = key.first().is_some_and(|name| name == column.name());
        let default = clause(column, &data_type, first).unwrap_or_else(|why| {
            left_out.push(why);
            String::new()
        });
        if column.values().is_some() && enum_type(column).is_none() {
            left_out.push(format!("the values of {:?} are none that an enum holds here", column.name()));
        }
        let comment = column.comment().map(|text| format!(" COMMENT {}", quoted(text))).unwrap_or_default();
        lines.push(format!("{} {data_type}{null}{default}{comment}", quote_column(column)?));
    }
    if !key.is_empty() {
        let key: Vec<_> = key.iter().map(|name| quote(name)).collect::<Result<_>>()?;
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let lines = lines.join(", ");
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} ({lines}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    );
    Ok((sql, left_out))
}

/// `ALTER TABLE ... ADD COLUMN`, nullable, since rows are there already.
///
/// # Errors
/// As [`quote`].
pub fn add_column(table: &str, column: &Column) -> Result<String> {
    Ok(format!(
        "ALTER TABLE {table} ADD COLUMN {} {} NULL",
        quote_column(column)?,
        column_type(column, false)
    ))
}

/// The type that a column is made with. One that an index covers needs a bound: 255 characters where it has none.
pub fn column_type(column: &Column, in_key: bool) -> String {
    if let Some(listed) = enum_type(column) {
        return listed;
    }
    match sql_type(column.data_type()).as_str() {
        "longtext" if in_key => "varchar(255)".to_owned(),
        "longblob" if in_key => "varbinary(255)".to_owned(),
        other => other.to_owned(),
    }
}

fn quote_column(column: &Column) -> Result<String> {
    quote(column.name()).map_err(|error| error.with_location(Location::new().with_column(column.name())))
}

/// A comment, which must be a plain literal.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataType;

    #[test]
    fn names_and_literals_cannot_break_out() {
        assert_eq!(quote("é`").unwrap(), "`é```");
        for wrong in ["", "a\0", "end ", "😀"] {
            assert_eq!(quote(wrong).unwrap_err().code(), Some("bad_name"), "{wrong:?}");
        }
        assert_eq!(literal("a'\\"), "_utf8mb4 x'61275c'");
        let columns = vec![
            Column::new("id", DataType::Text).with_nullable(false),
            Column::new("n", DataType::UInt64).with_comment("it's"),
        ];
        let schema = Schema::new(columns).unwrap();
        assert_eq!(
            create_table("`t`", &schema, &["id".to_owned()]).unwrap().0,
            "CREATE TABLE IF NOT EXISTS `t` (`id` varchar(255) NOT NULL, `n` bigint unsigned NULL COMMENT 'it''s', \
             PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        );
    }
}
