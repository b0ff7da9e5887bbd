//! Statements that make and change tables. Every name goes through [`quote`].

use super::profile::{Profile, Server};
use super::types::sql_type;
use crate::system::made;
use crate::{Column, Error, ErrorKind, ForeignKey, Index, Location, NameScope, Result, TableId};

/// The longest name that PostgreSQL keeps, in bytes; it cuts longer ones off, and two of them may become one.
pub const MAX_NAME_BYTES: usize = 63;

/// A name as an identifier of SQL, its case kept.
///
/// # Errors
/// `Data` with the code `name_too_long` or `bad_name`: a name that the server would cut off, an empty one, or one
/// that holds a NUL.
///
/// # Examples
/// ```
/// use kwsync_core::system::postgres::ddl::quote;
///
/// assert_eq!(quote(r#"a"b; drop table x"#)?, r#""a""b; drop table x""#);
/// assert!(quote(&"x".repeat(64)).is_err());
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn quote(name: &str) -> Result<String> {
    let fault = |code: &'static str, text: String, hint: &'static str| {
        Err(Error::new(ErrorKind::Data, text).with_code(code).with_hint(hint))
    };
    if name.is_empty() || name.contains('\0') {
        return fault("bad_name", format!("{name:?} cannot be a name"), "rename it with a transform");
    }
    if name.len() > MAX_NAME_BYTES {
        let text =
            format!("the name {name:?} has {} bytes, and the server keeps {MAX_NAME_BYTES}", name.len());
        return fault("name_too_long", text, "rename it with a transform");
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// [`quote`] for a column, which the error names.
fn quote_column(column: &Column) -> Result<String> {
    quote(column.name()).map_err(|error| error.with_location(Location::new().with_column(column.name())))
}

/// What every table has by itself; `IF NOT EXISTS` would take it for the column that is asked for.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// [`quote_column`] for one that is to be made.
fn quote_new_column(column: &Column) -> Result<String> {
    if SYSTEM_COLUMNS.contains(&column.name()) {
        let text = format!("the name {:?} is that of a system column", column.name());
        return Err(Error::new(ErrorKind::Data, text)
            .with_code("bad_name")
            .with_hint("rename it with a transform")
            .with_location(Location::new().with_column(column.name())));
    }
    quote_column(column)
}

/// A text as a literal of SQL.
pub fn literal(text: &str) -> String {
    // Doubling quotes is all it takes while standard_conforming_strings is on, which the E'' form does not need.
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// The name of a table with its schema: the table's own, else `default_schema`, else none.
///
/// # Errors
/// As [`quote`].
pub fn table_name(table: &TableId, default_schema: Option<&str>) -> Result<String> {
    match table.schema().or(default_schema) {
        Some(schema) => Ok(format!("{}.{}", quote(schema)?, quote(table.name())?)),
        None => quote(table.name()),
    }
}

/// `CREATE TABLE IF NOT EXISTS`, with the columns in order and the primary key, if there is one. `unlogged` leaves the
/// write-ahead log out.
///
/// # Errors
/// As [`quote`]; `Data` with the code `bad_name` for the name of a system column.
pub fn create_table<'a>(
    table: &str,
    columns: impl IntoIterator<Item = (&'a Column, String)>,
    key: &[String],
    unlogged: bool,
) -> Result<String> {
    let mut lines = Vec::new();
    for (column, data_type) in columns {
        let null = if column.is_nullable() { "" } else { " NOT NULL" };
        lines.push(format!("{} {data_type}{null}", quote_new_column(column)?));
    }
    if !key.is_empty() {
        let key: Vec<_> = key.iter().map(|name| quote(name)).collect::<Result<_>>()?;
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let unlogged = if unlogged { "UNLOGGED " } else { "" };
    Ok(format!("CREATE {unlogged}TABLE IF NOT EXISTS {table} ({})", lines.join(", ")))
}

/// `ALTER TABLE ... ADD COLUMN IF NOT EXISTS` for one column, which is nullable, since rows are there already.
///
/// # Errors
/// As [`create_table`].
pub fn add_column(table: &str, column: &Column, data_type: &str, profile: &Profile) -> Result<String> {
    // Greenplum 6 does not know the words.
    let missing =
        if profile.server == Server::Greenplum && profile.version < (9, 6) { "" } else { "IF NOT EXISTS " };
    Ok(format!("ALTER TABLE {table} ADD COLUMN {missing}{} {data_type}", quote_new_column(column)?))
}

/// `ALTER TABLE ... ALTER COLUMN ... TYPE` for one column.
///
/// # Errors
/// As [`quote`].
pub fn widen_column(table: &str, column: &Column, data_type: &str) -> Result<String> {
    Ok(format!("ALTER TABLE {table} ALTER COLUMN {} TYPE {data_type}", quote_column(column)?))
}

/// `CREATE INDEX` on a table, `table` as SQL names it. The name is the index's own; where other tables may have one of that name, the
/// table's stands before it. Without `named` the server chooses one.
///
/// # Errors
/// As [`quote`].
pub fn create_index(table: &str, id: &TableId, index: &Index, named: bool) -> Result<String> {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let name = match (named, index.scope) {
        (false, _) => String::new(),
        (true, NameScope::Schema) => format!("{} ", quote(&fitted(&index.name))?),
        (true, NameScope::Table) => format!("{} ", quote(&apart(id, &index.name))?),
    };
    let mut columns = Vec::with_capacity(index.columns.len());
    for column in &index.columns {
        columns.push(quote(&column.name)? + if column.descending { " DESC" } else { "" });
    }
    Ok(format!("CREATE {unique}INDEX {name}ON {table} ({})", columns.join(", ")))
}

/// `ALTER TABLE ... ADD FOREIGN KEY`; both tables as SQL names them.
///
/// # Errors
/// As [`quote`].
pub fn add_foreign_key(table: &str, key: &ForeignKey, referenced: &str) -> Result<String> {
    let list = |names: &[std::sync::Arc<str>]| -> Result<String> {
        Ok(names.iter().map(|name| quote(name)).collect::<Result<Vec<_>>>()?.join(", "))
    };
    let mut sql = format!(
        "ALTER TABLE {table} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {referenced} ({})",
        quote(&fitted(&key.name))?,
        list(&key.columns)?,
        list(&key.referenced)?
    );
    for (when, action) in [("DELETE", key.on_delete), ("UPDATE", key.on_update)] {
        if action != crate::ReferentialAction::NoAction {
            sql.push_str(&format!(" ON {when} {}", action.as_sql()));
        }
    }
    Ok(sql)
}

/// A name that no index of another table has.
fn apart(table: &TableId, name: &str) -> String {
    if made::is_of(name, table) { fitted(name) } else { fitted(&format!("{}_{name}", table.name())) }
}

fn fitted(name: &str) -> String {
    made::fitted(name, MAX_NAME_BYTES, str::len)
}

/// The type that a column is created with, unless the caller chooses another.
pub fn column_type(column: &Column) -> String {
    sql_type(column.data_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataType;

    #[test]
    fn names_and_literals_cannot_break_out() {
        assert_eq!(quote("a\"b").unwrap(), "\"a\"\"b\"");
        assert_eq!(quote("é").unwrap(), "\"é\"");
        for (wrong, code) in [("", "bad_name"), ("a\0b", "bad_name")] {
            assert_eq!(quote(wrong).unwrap_err().code(), Some(code));
        }
        assert_eq!(quote(&"x".repeat(64)).unwrap_err().code(), Some("name_too_long"));
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn no_column_is_made_that_every_table_has() {
        let column = |name: &str| Column::new(name, DataType::Int64);
        let made = |name: &str| create_table("t", [(&column(name), "int8".to_owned())], &[], false);
        let error = made("xmin").unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Data, Some("bad_name")));
        assert_eq!(error.location().and_then(Location::column), Some("xmin"));
        assert!(made("XMIN").is_ok() && made("oid").is_ok());
    }

    #[test]
    fn indexes_and_foreign_keys_are_named_apart() {
        use crate::{IndexColumn, ReferentialAction};
        let columns = vec![IndexColumn::new("a\"b"), IndexColumn::new("c").with_descending(true)];
        let index = Index::new("idx", true, columns);
        let (table, id) = ("\"s\".\"t\"", TableId::with_schema("s", "t"));
        assert_eq!(
            create_index(table, &id, &index, true).unwrap(),
            "CREATE UNIQUE INDEX \"t_idx\" ON \"s\".\"t\" (\"a\"\"b\", \"c\" DESC)"
        );
        let index = index.with_scope(NameScope::Schema);
        assert!(
            create_index(table, &id, &index, true).unwrap().starts_with("CREATE UNIQUE INDEX \"idx\" ON")
        );
        assert!(create_index(table, &id, &index, false).unwrap().starts_with("CREATE UNIQUE INDEX ON"));
        let key = ForeignKey::new("é".repeat(40), vec!["a".into()], "o".into(), vec!["id".into()])
            .with_actions(ReferentialAction::SetNull, ReferentialAction::NoAction);
        let sql = add_foreign_key(table, &key, "\"o\"").unwrap();
        assert!(sql.ends_with("FOREIGN KEY (\"a\") REFERENCES \"o\" (\"id\") ON DELETE SET NULL"), "{sql}");
        assert!(sql.contains(&format!("CONSTRAINT \"{}_", "é".repeat(27))), "{sql}");
    }

    #[test]
    fn tables_are_created_and_grow() {
        let time =
            Column::new("time", DataType::TimestampTz(crate::TimeUnit::Nanosecond)).with_nullable(false);
        let n = Column::new("n", DataType::UInt64);
        let table = table_name(&TableId::new("cpu.load"), Some("public")).unwrap();
        let columns = [&time, &n].map(|column| (column, column_type(column)));
        assert_eq!(
            create_table(&table, columns, &[], true).unwrap(),
            "CREATE UNLOGGED TABLE IF NOT EXISTS \"public\".\"cpu.load\" (\"time\" timestamptz NOT NULL, \"n\" numeric(20,0))"
        );
        assert_eq!(
            add_column(&table, &n, "bigint", &Profile::of(Server::PostgreSql, None)).unwrap(),
            "ALTER TABLE \"public\".\"cpu.load\" ADD COLUMN IF NOT EXISTS \"n\" bigint"
        );
    }
}
