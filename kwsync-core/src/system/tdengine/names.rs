//! Names and texts in statements.

use crate::{Error, ErrorKind, Result};

/// What TDengine calls the name of a row's subtable.
pub const CHILD_COLUMN: &str = "tbname";

/// The most bytes of a name.
const DATABASE_BYTES: usize = 64;
const TABLE_BYTES: usize = 192;
const COLUMN_BYTES: usize = 64;

/// A database's name in a statement, its case kept.
///
/// # Errors
/// `Data` with the code `bad_name` or `name_too_long`: nothing stands for a backtick between backticks, and a name has no dot, no
/// NUL and at most 64 bytes.
pub fn database_name(name: &str) -> Result<String> {
    quoted(name, "database", DATABASE_BYTES, false)
}

/// A table's name in a statement, its case kept: of a supertable, a subtable or another.
///
/// # Errors
/// As [`database_name`], with at most 192 bytes.
///
/// # Examples
/// ```
/// use kwsync_core::system::tdengine::table_name;
///
/// assert_eq!(table_name("d 1")?, "`d 1`");
/// assert!(table_name("cpu.load").is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn table_name(name: &str) -> Result<String> {
    quoted(name, "table", TABLE_BYTES, false)
}

/// A column's or a tag's name in a statement, its case kept.
///
/// # Errors
/// As [`database_name`], but a dot may be in it.
pub fn column_name(name: &str) -> Result<String> {
    quoted(name, "column", COLUMN_BYTES, true)
}

/// Whether a table can have this name.
pub fn is_table_name(name: &str) -> bool {
    fault(name, TABLE_BYTES, false).is_none()
}

fn fault(name: &str, most: usize, dots: bool) -> Option<(&'static str, String)> {
    if name.is_empty() {
        return Some(("bad_name", "is empty".to_owned()));
    }
    if let Some(c) = name.chars().find(|c| matches!(c, '`' | '\0') || (!dots && *c == '.')) {
        return Some(("bad_name", format!("holds {c:?}, which TDengine has no way to write in names")));
    }
    (name.len() > most)
        .then(|| ("name_too_long", format!("has {} bytes, and TDengine keeps {most}", name.len())))
}

fn quoted(name: &str, what: &str, most: usize, dots: bool) -> Result<String> {
    match fault(name, most, dots) {
        None => Ok(format!("`{name}`")),
        Some((code, why)) => Err(Error::new(ErrorKind::Data, format!("the name {name:?} of a {what} {why}"))
            .with_code(code)
            .with_hint("rename it: -T rename-table:replace_with_regex:OLD::NEW, -T rename-column:OLD=NEW")),
    }
}

/// A text in a statement.
///
/// # Errors
/// `Data` with the code `nul_byte`: the server would end the statement there.
pub fn text_literal(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::new(ErrorKind::Data, "a text holds a NUL, which SQL cannot").with_code("nul_byte"));
    }
    Ok(format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_data() {
        assert_eq!(table_name("select; drop 'x'\" \\").unwrap(), "`select; drop 'x'\" \\`");
        assert_eq!(column_name("a.b").unwrap(), "`a.b`");
        assert_eq!(table_name("温度").unwrap(), "`温度`");
        for wrong in ["", "a`b", "a\0", "a.b", &"x".repeat(193)] {
            let error = table_name(wrong).unwrap_err();
            assert!(matches!(error.code(), Some("bad_name" | "name_too_long")), "{wrong}: {error}");
            assert!(!is_table_name(wrong));
        }
        assert!(column_name(&"x".repeat(65)).is_err() && database_name(&"x".repeat(65)).is_err());
        assert!(is_table_name(&"x".repeat(192)));
    }

    #[test]
    fn texts_keep_what_they_hold() {
        assert_eq!(text_literal("it's \\% \\x41\n").unwrap(), "'it\\'s \\\\% \\\\x41\n'");
        assert!(text_literal("a\0b").is_err());
    }
}
