//! A stand-in for TDengine 3 behind taosAdapter, as strict as their documents and published sources say they are: databases with
//! their precision, supertables with subtables, tables without either; rows by their time, where a later one replaces those columns
//! that it names; the REST interface with its codes. It was written from those documents and sources; it is no TDengine.

mod http;
mod insert;
mod select;
mod words;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};

use self::words::{Words, split_type};

/// A literal as it stands in a statement, or a value as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Literal {
    /// NULL.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Digits.
    Number(String),
    /// What stood between quotes.
    Text(String),
}

/// A column or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The type: `VARCHAR(20)`.
    pub sql_type: String,
    /// Whether it is the second column of the primary key.
    pub key: bool,
}

/// A supertable: columns, and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Super {
    /// The columns.
    pub columns: Vec<Column>,
    /// The tags.
    pub tags: Vec<Column>,
}

/// Columns of a row by name.
pub type Row = BTreeMap<String, Literal>;

/// A table with rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The supertable, of a subtable.
    pub home: Option<String>,
    /// The tags by name, of a subtable.
    pub tags: Row,
    /// The columns, of a table that is none.
    pub columns: Vec<Column>,
    /// Rows by time, and by the second column of the key.
    pub rows: BTreeMap<(i64, Literal), Row>,
}

/// A database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// `ms`, `us`, `ns`
    pub precision: String,
    /// The supertables by name.
    pub supers: BTreeMap<String, Super>,
    /// The tables by name, subtables among them.
    pub tables: BTreeMap<String, Table>,
}

/// What the stand-in holds, and what a test wants of it.
#[derive(Debug)]
pub struct State {
    /// `3.3.6.0`
    pub version: String,
    /// The databases by name.
    pub databases: BTreeMap<String, Database>,
    /// Every statement that came.
    pub statements: Vec<String>,
    /// INSERTs so far.
    pub inserts: usize,
    /// Connections are cut at these INSERTs, counted from 1, before anything is done.
    pub cut_before: Vec<usize>,
    /// As `cut_before`, but when the rows are in.
    pub cut_after: Vec<usize>,
    /// A code that these INSERTs are answered with.
    pub refuse: BTreeMap<usize, u16>,
    /// A text that is refused although it fits, and the code.
    pub poison: Option<(String, u16)>,
    /// Where an answer ends early, without a word: as with restfulRowLimit, or a fault behind taosAdapter.
    pub row_limit: Option<usize>,
    /// A piece of statements whose answers end before the first row, without a word, and so many of them.
    pub empty: Option<(String, usize)>,
    /// So many answers to SELECTs of rows are cut in the middle.
    pub cut_answers: usize,
    /// The most bytes of a statement.
    pub most_sql: usize,
    /// The user and the password.
    pub login: (String, String),
    /// A token that stands for them.
    pub token: Option<String>,
    /// How long every INSERT takes.
    pub delay: std::time::Duration,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: "3.3.6.0".to_owned(),
            databases: BTreeMap::new(),
            statements: Vec::new(),
            inserts: 0,
            cut_before: Vec::new(),
            cut_after: Vec::new(),
            refuse: BTreeMap::new(),
            poison: None,
            row_limit: None,
            empty: None,
            cut_answers: 0,
            most_sql: 1 << 20,
            login: ("root".to_owned(), "taosdata".to_owned()),
            token: None,
            delay: std::time::Duration::ZERO,
        }
    }
}

/// The stand-in, which listens as long as the process.
#[derive(Clone, Debug)]
pub struct TdengineServer {
    state: Arc<Mutex<State>>,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

/// What a statement comes to: a result with columns, or a count.
enum Outcome {
    Rows(Vec<(String, String)>, Vec<Vec<Json>>),
    Changed(usize),
    Cut,
}

/// A code and a text.
struct Fault(u16, String);

type Done<T> = std::result::Result<T, Fault>;

fn fault<T>(code: u16, text: impl Into<String>) -> Done<T> {
    Err(Fault(code, text.into()))
}

impl TdengineServer {
    /// Starts one without databases.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("the address of a socket that listens").port();
        let server = Self { state: Arc::default(), port };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || drop(http::serve(&own, stream)));
            }
        });
        server
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement beside all connections, as strictly as they are read from one; the rows of its result.
    ///
    /// # Panics
    /// When the statement has a fault.
    pub fn run(&self, sql: &str) -> Vec<Vec<Json>> {
        match self.state().run(sql) {
            Ok(Outcome::Rows(_, rows)) => rows,
            Ok(Outcome::Changed(_) | Outcome::Cut) => Vec::new(),
            Err(Fault(code, text)) => panic!("{sql}: [0x{code:04X}] {text}"),
        }
    }

    /// The rows of all tables of a database.
    pub fn count(&self, database: &str) -> usize {
        let state = self.state();
        let tables = state.databases.get(database).map(|database| database.tables.values());
        tables.into_iter().flatten().map(|table| table.rows.len()).sum()
    }
}

impl Database {
    /// The columns and the tags of a table or supertable.
    fn layout(&self, name: &str) -> Option<(&[Column], &[Column])> {
        if let Some(found) = self.supers.get(name) {
            return Some((&found.columns, &found.tags));
        }
        let table = self.tables.get(name)?;
        match &table.home {
            Some(home) => {
                self.supers.get(home).map(|found| (found.columns.as_slice(), found.tags.as_slice()))
            }
            None => Some((&table.columns, &[])),
        }
    }
}

impl State {
    fn database(&mut self, name: &str) -> Done<&mut Database> {
        match self.databases.get_mut(name) {
            Some(found) => Ok(found),
            None => fault(0x0388, "Database not exist"),
        }
    }

    fn run(&mut self, sql: &str) -> Done<Outcome> {
        self.statements.push(sql.to_owned());
        if sql.len() > self.most_sql {
            return fault(0x0219, "SQL statement too long, check maxSQLLength config");
        }
        let words = &mut Words::new(sql)?;
        if words.take("insert") {
            return self.insert(words);
        }
        let asks = words.take("select");
        if asks || words.take("describe") {
            let done = if asks { self.select(words) } else { self.describe(words) };
            return done.map(|outcome| self.ended_early(sql, outcome));
        }
        let done = if words.take("create") {
            self.create(words)
        } else if words.take("alter") {
            self.alter(words)
        } else if words.take("drop") {
            self.drop(words)
        } else {
            words.syntax()
        };
        done.map(|()| Outcome::Changed(0))
    }

    /// What comes of an answer that a fault cuts before its first row, or `restfulRowLimit` behind some.
    fn ended_early(&mut self, sql: &str, outcome: Outcome) -> Outcome {
        let Outcome::Rows(columns, mut rows) = outcome else { return outcome };
        if let Some((piece, left)) = &mut self.empty
            && *left > 0
            && sql.contains(piece.as_str())
        {
            *left -= 1;
            rows.clear();
        }
        rows.truncate(self.row_limit.unwrap_or(usize::MAX));
        Outcome::Rows(columns, rows)
    }

    fn create(&mut self, words: &mut Words) -> Done<()> {
        if words.take("database") {
            let soft = words.not_exists()?;
            let name = words.name("database", 64)?;
            let mut precision = "ms".to_owned();
            if words.take("precision") {
                precision = words.text()?;
                if !["ms", "us", "ns"].contains(&precision.as_str()) {
                    return fault(0x2619, "Invalid option precision");
                }
            }
            words.end()?;
            if self.databases.contains_key(&name) {
                return if soft { Ok(()) } else { fault(0x0381, "Database already exists") };
            }
            self.databases.insert(name, Database { precision, ..Database::default() });
            return Ok(());
        }
        let is_super = words.take("stable");
        if !is_super {
            words.expect("table")?;
        }
        let soft = words.not_exists()?;
        let (database, name) = words.full_name()?;
        let columns = words.columns()?;
        let tags = if words.take("tags") { words.columns()? } else { Vec::new() };
        words.end()?;
        let database = self.database(&database)?;
        if database.layout(&name).is_some() {
            let there = if database.supers.contains_key(&name) { 0x0360 } else { 0x2603 };
            return if soft { Ok(()) } else { fault(there, "Table already exists") };
        }
        check_columns(&columns, &tags)?;
        if is_super || !tags.is_empty() {
            if tags.is_empty() {
                return words.syntax();
            }
            database.supers.insert(name, Super { columns, tags });
        } else {
            database.tables.insert(name, Table { columns, ..Table::default() });
        }
        Ok(())
    }

    fn alter(&mut self, words: &mut Words) -> Done<()> {
        if !words.take("stable") {
            words.expect("table")?;
        }
        let (database, name) = words.full_name()?;
        let database = self.database(&database)?;
        if words.take("set") {
            words.expect("tag")?;
            let tag = words.name("column", 64)?;
            words.expect("=")?;
            let literal = words.literal()?;
            words.end()?;
            let home = database.tables.get(&name).and_then(|table| table.home.clone());
            let Some(known) = home.and_then(|home| database.supers.get(&home)) else {
                return fault(0x2603, format!("Table does not exist: {name}"));
            };
            let Some(column) = known.tags.iter().find(|column| column.name == tag) else {
                return fault(0x260e, format!("Invalid tag name: {tag}"));
            };
            let literal = insert::checked(column, literal, "ms", true)?;
            if let Some(table) = database.tables.get_mut(&name) {
                table.tags.insert(tag, literal);
            }
            return Ok(());
        }
        let modify = words.take("modify");
        if !modify {
            words.expect("add")?;
        }
        let tag = words.take("tag");
        if !tag {
            words.expect("column")?;
        }
        let column = words.column()?;
        words.end()?;
        let mut found = match (database.supers.get_mut(&name), database.tables.get_mut(&name)) {
            (Some(found), _) => Super { columns: found.columns.clone(), tags: found.tags.clone() },
            (None, Some(table)) if table.home.is_none() && !tag => {
                Super { columns: table.columns.clone(), tags: Vec::new() }
            }
            (None, Some(_)) => return fault(0x2649, "Invalid alter table statement"),
            (None, None) => return fault(0x2603, format!("Table does not exist: {name}")),
        };
        let list = if tag { &mut found.tags } else { &mut found.columns };
        match list.iter_mut().find(|known| known.name == column.name) {
            Some(known) if modify => {
                let ((own, before), (new, after)) =
                    (split_type(&known.sql_type), split_type(&column.sql_type));
                if own != new || before >= after || !matches!(own, "VARCHAR" | "NCHAR" | "VARBINARY") {
                    return fault(
                        0x264b,
                        "Only binary/nchar/geometry column length could be modified, and the length can only be increased",
                    );
                }
                known.sql_type = column.sql_type;
            }
            None if modify => return fault(0x2602, format!("Invalid column name: {}", column.name)),
            Some(_) => return fault(if tag { 0x0369 } else { 0x036b }, "Column already exists"),
            None => list.push(column),
        }
        let mut names: Vec<&str> = found.columns.iter().chain(&found.tags).map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return fault(0x263c, "Duplicated column names");
        }
        check_columns(&found.columns, &found.tags)?;
        match database.supers.get_mut(&name) {
            Some(known) => *known = found,
            None => {
                if let Some(table) = database.tables.get_mut(&name) {
                    table.columns = found.columns;
                }
            }
        }
        Ok(())
    }

    fn drop(&mut self, words: &mut Words) -> Done<()> {
        let stable = words.take("stable");
        if !stable && words.take("database") {
            let name = words.name("database", 64)?;
            self.databases.remove(&name);
            return words.end();
        }
        if !stable {
            words.expect("table")?;
        }
        let (database, name) = words.full_name()?;
        words.end()?;
        let database = self.database(&database)?;
        if database.layout(&name).is_none() {
            return fault(0x2603, format!("Table does not exist: {name}"));
        }
        database.supers.remove(&name);
        database.tables.retain(|own, table| *own != name && table.home.as_ref() != Some(&name));
        Ok(())
    }

    fn describe(&mut self, words: &mut Words) -> Done<Outcome> {
        let (database, name) = words.full_name()?;
        words.end()?;
        let database = self.database(&database)?;
        let Some((columns, tags)) = database.layout(&name) else {
            return fault(0x2603, format!("Table does not exist: {name}"));
        };
        let row = |column: &Column, note: &str| {
            let (kind, length) = split_type(&column.sql_type);
            let shown = if kind == "DECIMAL" { column.sql_type.as_str() } else { kind };
            let note = if column.key { "PRIMARY KEY" } else { note };
            vec![json!(column.name), json!(shown), json!(length), json!(note)]
        };
        let mut rows: Vec<_> = columns.iter().map(|column| row(column, "")).collect();
        rows.extend(tags.iter().map(|column| row(column, "TAG")));
        let names = [("field", "VARCHAR"), ("type", "VARCHAR"), ("length", "INT"), ("note", "VARCHAR")];
        Ok(Outcome::Rows(names.map(|(name, kind)| (name.to_owned(), kind.to_owned())).to_vec(), rows))
    }
}

/// What is checked of the columns and tags of a table.
fn check_columns(columns: &[Column], tags: &[Column]) -> Done<()> {
    if columns.first().is_none_or(|column| column.sql_type != "TIMESTAMP") {
        return fault(0x2641, "First column must be timestamp");
    }
    if columns.len() < 2 || columns.len() + tags.len() > 4_096 {
        return fault(0x263f, "Illegal number of columns");
    }
    if tags.len() > 128 {
        return fault(0x2643, "The number of tags should be in [1, 128]");
    }
    if columns.iter().any(|column| column.sql_type == "JSON")
        || (tags.len() > 1 && tags.iter().any(|tag| tag.sql_type == "JSON"))
    {
        return fault(0x2633, "Only one tag is allowed if there is a json tag");
    }
    let width = |columns: &[Column]| -> usize {
        let one = |column: &Column| match split_type(&column.sql_type) {
            ("VARCHAR" | "VARBINARY", length) => length + 2,
            ("NCHAR", length) => 4 * length + 2,
            ("JSON", _) => 4_096,
            (_, length) => length,
        };
        columns.iter().map(one).sum()
    };
    if width(columns) > 65_531 {
        return fault(0x263e, "Row length exceeds max length: 65531");
    }
    if width(tags) > 16_384 {
        return fault(0x263d, "Tags length exceeds max length: 16384");
    }
    Ok(())
}
