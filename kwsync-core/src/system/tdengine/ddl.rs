//! Databases, supertables and tables.

use super::names::{CHILD_COLUMN, column_name, database_name, table_name};
use super::types::{ColumnType, Features};
use crate::{Column, DataType, Error, ErrorKind, Location, Result, Role, Schema, TimeUnit};

/// Bytes of a row and of all tags of a table, with some kept free for what comes later.
const ROW_BYTES: u32 = 60_000;
const TAG_BYTES: u32 = 15_000;
/// What the server takes of both.
const MOST_ROW_BYTES: u32 = 65_531;
const MOST_TAGS_BYTES: u32 = 16_384;
/// Bytes from which on a length that is given is made shorter where a row has no room for all of it.
const LONG: u32 = 4_096;

/// Lengths of texts that have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Of columns, in bytes.
    pub column: u32,
    /// Of tags, in bytes.
    pub tag: u32,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { column: 1_024, tag: 256 }
    }
}

/// What the columns of a schema are in TDengine, as places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The time, which is the first column.
    pub time: usize,
    /// The other columns; where [`key`](Self::key) is set, that one first.
    pub fields: Vec<usize>,
    /// The tags, without the name of the subtable.
    pub tags: Vec<usize>,
    /// The name of the row's subtable.
    pub child: Option<usize>,
    /// The second column of the primary key, where the rows have one beside time and subtable.
    pub key: Option<usize>,
}

impl Parts {
    /// Takes a schema apart. The time is the column of that role, else the one called `time_column`, else the first timestamp that
    /// is no tag.
    ///
    /// # Errors
    /// `Schema` for rows without a time, without another column, or with subtables and no tag.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::system::tdengine::Parts;
    /// use kwsync_core::{Column, DataType, Role, Schema, TimeUnit};
    ///
    /// let schema = Schema::new(vec![
    ///     Column::new("host", DataType::Text).with_role(Role::Tag),
    ///     Column::new("load", DataType::Float64),
    ///     Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
    /// ])?;
    /// let parts = Parts::of(&schema, "ts")?;
    /// assert_eq!((parts.time, parts.fields, parts.tags), (2, vec![1], vec![0]));
    /// # Ok::<(), kwsync_core::Error>(())
    /// ```
    pub fn of(schema: &Schema, time_column: &str) -> Result<Self> {
        let columns = schema.columns();
        let is_time =
            |column: &Column| matches!(column.data_type(), DataType::Timestamp(_) | DataType::TimestampTz(_));
        let is_child = |column: &Column| column.name() == CHILD_COLUMN;
        let is_tag = |column: &Column| matches!(column.role(), Role::Tag | Role::PrimaryTag);
        let find = |what: &dyn Fn(&Column) -> bool| {
            columns.iter().position(|column| is_time(column) && what(column))
        };
        let time = find(&|column| column.role() == Role::Timestamp)
            .or_else(|| find(&|column| column.name() == time_column))
            .or_else(|| find(&|column| !is_tag(column)))
            .ok_or_else(|| {
                Error::new(ErrorKind::Schema, "the rows have no time, and every row of TDengine begins with one").with_hint(
                    "name a column of type timestamp: time_column=NAME; or make one: -T cast:NAME=timestamptz(ms)",
                )
            })?;
        let child = columns.iter().position(is_child);
        let places = |what: &dyn Fn(&Column) -> bool| -> Vec<usize> {
            let own = |at: &usize| *at != time && Some(*at) != child && columns.get(*at).is_some_and(what);
            (0..columns.len()).filter(own).collect()
        };
        let (tags, mut fields) = (places(&is_tag), places(&|column| !is_tag(column)));
        if fields.is_empty() {
            let text = "the rows have a time and tags alone, and a table of TDengine has one column more";
            return Err(Error::new(ErrorKind::Schema, text).with_hint(
                "make a field of a tag: -T set-role:field=NAME, or add one: -T add-column:NAME=VALUE",
            ));
        }
        if child.is_some() && tags.is_empty() {
            let text = format!(
                "the rows have a subtable ({CHILD_COLUMN}) and no tag, and a supertable has one at least"
            );
            return Err(Error::new(ErrorKind::Schema, text)
                .with_hint("add one: -T add-tag:NAME=VALUE, or make a column one: -T set-role:tag=NAME"));
        }
        let keys: Vec<usize> =
            fields.iter().copied().filter(|at| columns.get(*at).is_some_and(|c| c.key().is_some())).collect();
        let with_time = columns.get(time).is_some_and(|column| column.key().is_some());
        let fits = |at: usize| {
            use DataType as T;
            columns.get(at).is_some_and(|column| {
                matches!(
                    column.data_type(),
                    T::Int32 | T::Int64 | T::UInt32 | T::UInt64 | T::VarChar(Some(_)) | T::Char(_)
                )
            })
        };
        let key = match keys.as_slice() {
            [key] if with_time && fits(*key) => Some(*key),
            _ => None,
        };
        if let Some(key) = key {
            fields.retain(|at| *at != key);
            fields.insert(0, key);
        }
        Ok(Self { time, fields, tags, child, key })
    }

    /// Whether rows go to subtables of a supertable.
    pub fn is_super(&self) -> bool {
        !self.tags.is_empty()
    }

    /// The types that columns get which are made: those of the schema's columns by their place.
    ///
    /// # Errors
    /// As [`ColumnType::of`], with the column; `Schema` with the columns whose lengths have no room in a row.
    pub fn types(
        &self,
        schema: &Schema,
        lengths: Lengths,
        features: Features,
    ) -> Result<Vec<Option<ColumnType>>> {
        let columns = schema.columns();
        let mut types = vec![None; columns.len()];
        let groups: [(&[usize], bool, u32, u32, u32); 2] = [
            (&self.fields, false, lengths.column, ROW_BYTES, MOST_ROW_BYTES),
            (&self.tags, true, lengths.tag, TAG_BYTES, MOST_TAGS_BYTES),
        ];
        for (places, tag, wanted, room, most) in groups {
            let one = |at: usize, length: u32| -> Result<Option<ColumnType>> {
                let Some(column) = columns.get(at) else { return Ok(None) };
                let made = ColumnType::of(column.data_type(), tag, places.len() == 1, length, features);
                made.map(Some)
                    .map_err(|error| error.with_location(Location::new().with_column(column.name())))
            };
            // Texts without a length share what the others leave of a row.
            let (mut fixed, mut open) = (if tag { 0_u32 } else { 8 }, 0_u32);
            let (mut long, mut long_bytes) = (Vec::new(), 0_u32);
            for at in places {
                match (one(*at, 1)?, one(*at, 2)?) {
                    (Some(short), Some(long)) if short != long => {
                        open += long.bytes() - short.bytes();
                        fixed += 2;
                    }
                    (Some(made), _) => {
                        let has_length = made.with_length(1, tag).is_some();
                        if has_length && made.bytes() > LONG {
                            long.push(*at);
                            long_bytes = long_bytes.saturating_add(made.bytes());
                        }
                        fixed = fixed.saturating_add(made.bytes());
                    }
                    _ => {}
                }
            }
            let share = |fixed: u32| match open {
                0 => wanted,
                open => wanted.min((room.saturating_sub(fixed) / open).max(16)),
            };
            let tight = match open {
                0 => fixed > most,
                _ => share(fixed) < wanted.min(256),
            };
            let (mut length, mut longest) = (share(fixed), u32::MAX);
            if tight && !long.is_empty() {
                let short = fixed - long_bytes;
                length = share(short.saturating_add(long.len() as u32 * LONG));
                longest = room.saturating_sub(short + open * length) / long.len() as u32;
                if longest < LONG {
                    let name = |at: &usize| columns.get(*at).map(|column| format!("{:?}", column.name()));
                    let names: Vec<_> = long.iter().filter_map(name).collect();
                    let what = if tag { "the tags of a table" } else { "a row" };
                    let text =
                        format!("{what} of TDengine has {most} bytes, and no room for {}", names.join(", "));
                    return Err(Error::new(ErrorKind::Schema, text).with_hint(
                        "make them shorter: -T cast:NAME=varchar(n), or leave some out: -T drop-columns:NAME",
                    ));
                }
            }
            for at in places {
                let made = one(*at, length)?;
                let made = match made {
                    Some(made) if made.bytes() > longest && long.contains(at) => {
                        let each = if matches!(made, ColumnType::NChar(_)) { 4 } else { 1 };
                        made.with_length((longest - 2) / each, tag)
                    }
                    made => made,
                };
                if let Some(slot) = types.get_mut(*at) {
                    *slot = made;
                }
            }
        }
        if let Some(slot) = types.get_mut(self.time) {
            *slot = Some(ColumnType::Timestamp);
        }
        Ok(types)
    }
}

/// `CREATE DATABASE`.
///
/// # Errors
/// As [`database_name`].
pub fn create_database(name: &str, precision: TimeUnit) -> Result<String> {
    let precision = match precision {
        TimeUnit::Second | TimeUnit::Millisecond => "ms",
        finer => finer.as_str(),
    };
    Ok(format!("CREATE DATABASE IF NOT EXISTS {} PRECISION '{precision}'", database_name(name)?))
}

/// `CREATE STABLE` for rows with tags, `CREATE TABLE` for others.
///
/// # Errors
/// As [`Parts::types`], and for names that cannot be written.
pub fn create_table(
    database: &str,
    table: &str,
    schema: &Schema,
    parts: &Parts,
    lengths: Lengths,
    features: Features,
) -> Result<String> {
    let name = format!("{}.{}", database_name(database)?, table_name(table)?);
    let types = parts.types(schema, lengths, features)?;
    let one = |at: &usize| -> Result<String> {
        let column = schema.columns().get(*at);
        let (Some(column), Some(Some(made))) = (column, types.get(*at)) else {
            return Err(Error::new(ErrorKind::Internal, "a column without a type"));
        };
        let place = |error: Error| error.with_location(Location::new().with_column(column.name()));
        let key = if parts.key == Some(*at) && features.composite_key { " PRIMARY KEY" } else { "" };
        Ok(format!("{} {made}{key}", column_name(column.name()).map_err(place)?))
    };
    let columns: Vec<_> =
        std::iter::once(&parts.time).chain(&parts.fields).map(one).collect::<Result<_>>()?;
    if !parts.is_super() {
        return Ok(format!("CREATE TABLE IF NOT EXISTS {name} ({})", columns.join(", ")));
    }
    let tags: Vec<_> = parts.tags.iter().map(one).collect::<Result<_>>()?;
    Ok(format!("CREATE STABLE IF NOT EXISTS {name} ({}) TAGS ({})", columns.join(", "), tags.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: Features = Features { decimal: true, composite_key: true };

    fn made(columns: Vec<Column>) -> Result<String> {
        let schema = Schema::new(columns).unwrap();
        create_table("power", "meters", &schema, &Parts::of(&schema, "ts")?, Lengths::default(), FEATURES)
    }

    fn time() -> Column {
        Column::new("ts", DataType::TimestampTz(TimeUnit::Millisecond))
    }

    #[test]
    fn long_texts_share_a_row() {
        let long = |name: &'static str, length| Column::new(name, DataType::VarChar(Some(length)));
        let text = Column::new("note", DataType::Text);
        // As given, where there is room.
        let sql = made(vec![time(), long("a", 50_000), text.clone()]).unwrap();
        assert!(sql.contains("`a` VARCHAR(50000), `note` VARCHAR(1024)"), "{sql}");
        let sql = made(vec![time(), long("a", 65_517)]).unwrap();
        assert!(sql.contains("`a` VARCHAR(65517)"), "{sql}");
        let sql = made(vec![time(), long("a", 60_000), text.clone()]).unwrap();
        assert!(sql.contains("`a` VARCHAR(58964), `note` VARCHAR(1024)"), "{sql}");
        let sql = made(vec![time(), long("a", 65_000), long("b", 65_000)]).unwrap();
        assert!(sql.contains("`a` VARCHAR(29994), `b` VARCHAR(29994)"), "{sql}");
        let many: Vec<_> =
            ('a'..='z').map(|name| Column::new(name.to_string(), DataType::VarChar(Some(9_000)))).collect();
        let error = made([vec![time()], many].concat()).unwrap_err();
        assert!(error.kind() == ErrorKind::Schema && error.message().contains("\"a\", \"b\""), "{error}");
    }

    #[test]
    fn json_alone_is_a_column_of_text() {
        let sql = made(vec![time(), Column::new("j", DataType::Json)]).unwrap();
        assert!(sql.ends_with("(`ts` TIMESTAMP, `j` VARCHAR(1024))"), "{sql}");
    }

    #[test]
    fn rows_with_tags_make_a_supertable() {
        let tag = |name: &'static str, data_type| Column::new(name, data_type).with_role(Role::Tag);
        assert_eq!(
            made(vec![
                tag("location", DataType::VarChar(Some(20))),
                Column::new("tbname", DataType::Text).with_role(Role::PrimaryTag),
                Column::new("voltage", DataType::Int32),
                time(),
                tag("groupid", DataType::Int32),
            ])
            .unwrap(),
            "CREATE STABLE IF NOT EXISTS `power`.`meters` (`ts` TIMESTAMP, `voltage` INT) \
             TAGS (`location` VARCHAR(20), `groupid` INT)"
        );
        assert_eq!(
            made(vec![time(), Column::new("v", DataType::Float64), Column::new("s", DataType::Text)])
                .unwrap(),
            "CREATE TABLE IF NOT EXISTS `power`.`meters` (`ts` TIMESTAMP, `v` DOUBLE, `s` VARCHAR(1024))"
        );
        assert_eq!(
            made(vec![
                time().with_key(1, 2),
                Column::new("v", DataType::Float64),
                Column::new("id", DataType::Int64).with_key(2, 2)
            ])
            .unwrap(),
            "CREATE TABLE IF NOT EXISTS `power`.`meters` (`ts` TIMESTAMP, `id` BIGINT PRIMARY KEY, `v` DOUBLE)"
        );
    }

    #[test]
    fn texts_without_a_length_share_a_row() {
        let texts = |number: usize, role| -> Vec<Column> {
            (0..number).map(|at| Column::new(format!("c{at}"), DataType::Text).with_role(role)).collect()
        };
        let mut columns = vec![time()];
        columns.extend(texts(100, Role::Field));
        assert!(made(columns).unwrap().contains("`c99` VARCHAR(597)"));
        let mut columns = vec![time(), Column::new("v", DataType::Int8)];
        columns.extend(texts(128, Role::Tag));
        assert!(made(columns).unwrap().contains("`c127` VARCHAR(115)"));
    }

    #[test]
    fn rows_that_no_table_can_have() {
        for (columns, wanted) in [
            (vec![Column::new("v", DataType::Int8)], "no time"),
            (vec![time()], "time and tags alone"),
            (vec![time(), Column::new("v", DataType::Int8), Column::new("tbname", DataType::Text)], "no tag"),
            (vec![time(), Column::new("a`b", DataType::Int8)], "a`b"),
            (vec![time(), Column::new("g", DataType::Geometry)], "geometry"),
        ] {
            let error = made(columns).unwrap_err();
            assert!(error.report().contains(wanted), "{}", error.report());
        }
    }

    #[test]
    fn databases_have_a_precision() {
        assert_eq!(
            create_database("power", TimeUnit::Second).unwrap(),
            "CREATE DATABASE IF NOT EXISTS `power` PRECISION 'ms'"
        );
        assert!(create_database("a.b", TimeUnit::Nanosecond).is_err());
    }
}
