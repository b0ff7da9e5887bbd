//! Statements that make and change tables. Every name goes through [`quote`].

use super::defaults::{clause, enum_type};
use super::types::sql_type;
use crate::system::made;
use crate::{
    Column, Error, ErrorKind, ForeignKey, Index, Location, NameScope, ReferentialAction, Result, Schema,
    TableId,
};

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
    let pointing: Vec<_> = schema.foreign_keys().into_iter().flat_map(|key| key.columns).collect();
    for column in schema.columns() {
        let in_key = key.iter().any(|name| name == column.name());
        let null = if in_key || !column.is_nullable() { " NOT NULL" } else { " NULL" };
        // What points to a key is of the key's type.
        let data_type = column_type(column, in_key || pointing.iter().any(|name| **name == *column.name()));
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

/// Bytes that an index of InnoDB can cover.
const INDEX_BYTES: u32 = 3072;
/// Bytes of a character, and characters that are covered of a text without a bound.
const CHAR_BYTES: u32 = 4;
const PREFIX: u32 = 190;

/// Makes an index of another server fit a table that [`create_table`] makes of `schema` with the primary key `key`: of long texts it
/// covers the start.
///
/// # Errors
/// Why it cannot be here, in words.
pub fn fit_index(schema: &Schema, key: &[String], index: &mut Index) -> Result<(), String> {
    let (mut sum, mut short) = (0u32, 0u32);
    let mut long = Vec::new();
    for (at, part) in index.columns.iter().enumerate() {
        let Some(column) = schema.column(&part.name) else { continue };
        let data_type = column_type(column, key.iter().any(|name| *name == *part.name));
        let (word, rest) = data_type.split_once('(').unwrap_or((&data_type, ""));
        let bound = rest.split([')', ',']).next().and_then(|number| number.parse::<u32>().ok());
        let (width, texts) = match word {
            "json" | "geometry" => return Err(format!("{:?} is {word}", part.name)),
            "varchar" | "char" => (CHAR_BYTES, true),
            "varbinary" | "binary" => (1, true),
            word if word.ends_with("text") => (CHAR_BYTES, true),
            word if word.ends_with("blob") => (1, true),
            _ => (16, false),
        };
        let covered = match (texts, part.prefix, bound) {
            (false, ..) => width,
            (true, Some(prefix), Some(bound)) => prefix.min(bound).saturating_mul(width),
            (true, Some(one), None) | (true, None, Some(one)) => one.saturating_mul(width),
            (true, None, None) => u32::MAX,
        };
        sum = covered.saturating_add(sum);
        if texts && covered > PREFIX * CHAR_BYTES {
            long.push(at);
        } else {
            short = covered.saturating_add(short);
        }
    }
    if sum <= INDEX_BYTES {
        return Ok(());
    }
    if index.unique {
        return Err(format!("its columns are longer than the {INDEX_BYTES} bytes that an index covers here"));
    }
    // Long columns are covered in part; a binary one, of a byte each, takes less than is counted here.
    let rest = short
        .saturating_add(u32::try_from(long.len()).unwrap_or(u32::MAX).saturating_mul(PREFIX * CHAR_BYTES));
    if rest > INDEX_BYTES {
        return Err(format!("its columns are longer than the {INDEX_BYTES} bytes that an index covers here"));
    }
    for at in long {
        if let Some(part) = index.columns.get_mut(at) {
            part.prefix = Some(PREFIX);
        }
    }
    Ok(())
}

/// `CREATE INDEX` on a table, `table` as SQL names it.
///
/// # Errors
/// As [`quote`].
pub fn create_index(table: &str, index: &Index) -> Result<String> {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let name = match &*index.name {
        // What the server calls its own.
        name if name.eq_ignore_ascii_case("primary") || name.eq_ignore_ascii_case("gen_clust_index") => {
            format!("{name}_index")
        }
        name => fitted(name),
    };
    let mut columns = Vec::with_capacity(index.columns.len());
    for column in &index.columns {
        let prefix = column.prefix.map(|prefix| format!("({prefix})")).unwrap_or_default();
        let order = if column.descending { " DESC" } else { "" };
        columns.push(quote(&column.name)? + &prefix + order);
    }
    Ok(format!("CREATE {unique}INDEX {} ON {table} ({})", quote(&name)?, columns.join(", ")))
}

/// `ALTER TABLE ... ADD FOREIGN KEY`; both tables as SQL names them. Its name stands behind that of its table where other tables may
/// have one of that name.
///
/// # Errors
/// As [`quote`]; `Unsupported` for SET DEFAULT, which InnoDB does not know.
pub fn add_foreign_key(table: &str, id: &TableId, key: &ForeignKey, referenced: &str) -> Result<String> {
    let list = |names: &[std::sync::Arc<str>]| -> Result<String> {
        Ok(names.iter().map(|name| quote(name)).collect::<Result<Vec<_>>>()?.join(", "))
    };
    let name = match key.scope {
        NameScope::Table if !made::is_of(&key.name, id) => fitted(&format!("{}_{}", id.name(), key.name)),
        _ => fitted(&key.name),
    };
    let mut sql = format!(
        "ALTER TABLE {table} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {referenced} ({})",
        quote(&name)?,
        list(&key.columns)?,
        list(&key.referenced)?
    );
    for (when, action) in [("DELETE", key.on_delete), ("UPDATE", key.on_update)] {
        match action {
            ReferentialAction::NoAction => {}
            ReferentialAction::SetDefault => {
                let text = format!(
                    "foreign key {:?} is ON {when} SET DEFAULT, which InnoDB does not know",
                    key.name
                );
                return Err(Error::new(ErrorKind::Unsupported, text));
            }
            action => sql.push_str(&format!(" ON {when} {}", action.as_sql())),
        }
    }
    Ok(sql)
}

fn fitted(name: &str) -> String {
    made::fitted(name, MAX_NAME, |name| name.chars().count())
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

    #[test]
    fn indexes_cover_what_an_index_can() {
        use crate::IndexColumn;
        let columns = vec![
            Column::new("n", DataType::Int64),
            Column::new("t", DataType::Text),
            Column::new("v", DataType::VarChar(Some(100))),
            Column::new("j", DataType::Json),
        ];
        let schema = Schema::new(columns).unwrap();
        let made = |unique, names: &[&str]| {
            let columns = names.iter().map(|name| IndexColumn::new(*name)).collect();
            let mut index = Index::new("it`s", unique, columns);
            fit_index(&schema, &[], &mut index).map(|()| create_index("`x`", &index).unwrap())
        };
        assert_eq!(made(true, &["n", "v"]).unwrap(), "CREATE UNIQUE INDEX `it``s` ON `x` (`n`, `v`)");
        assert_eq!(made(false, &["n", "t"]).unwrap(), "CREATE INDEX `it``s` ON `x` (`n`, `t`(190))");
        assert!(made(true, &["t"]).unwrap_err().contains("3072 bytes"));
        assert!(made(false, &["j"]).unwrap_err().contains("json"));
    }
}
