//! Names and literals. Every name goes through [`quote`].

use crate::{Error, ErrorKind, Result, TableId};

/// A name as an identifier of SQL, its case kept.
///
/// # Errors
/// `Data` with the code `bad_name` for an empty name, or one that holds a NUL.
///
/// # Examples
/// ```
/// use kwsync_core::system::clickhouse::sql::quote;
///
/// assert_eq!(quote("a`b\\; drop table x")?, r"`a\`b\\; drop table x`");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn quote(name: &str) -> Result<String> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::new(ErrorKind::Data, format!("{name:?} cannot be a name in ClickHouse"))
            .with_code("bad_name")
            .with_hint("rename it with a transform"));
    }
    Ok(format!("`{}`", escaped(name, '`')))
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

/// A text as a literal of SQL.
///
/// # Examples
/// ```
/// use kwsync_core::system::clickhouse::sql::literal;
///
/// assert_eq!(literal("it's \\ so"), r"'it\'s \\ so'");
/// ```
pub fn literal(text: &str) -> String {
    format!("'{}'", escaped(text, '\''))
}

fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
        }
        match c {
            '\0' => out.push_str("\\0"),
            c => out.push(c),
        }
    }
    out
}
