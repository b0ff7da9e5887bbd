//! A stand-in for KWDB's time series, as strict as KWDB V3.2.1 is. Written: the simple protocol alone, one statement a
//! query, literals of the column's own type, nothing of a statement that has a fault, rows of the same primary tags and time
//! replaced. Read: SELECT of columns and tags under conditions, by the extended protocol, its binary times in microseconds,
//! its text with nine digits, FLOAT4 as text with six; no COPY. It was written from KWDB's documented and observed behaviour;
//! it is no KWDB.

mod select;
mod words;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures_util::{Sink, stream};
use pgwire::api::auth::StartupHandler;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireServerHandlers, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

use self::words::{Words, check};

/// A literal as it stands in a statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Literal {
    /// NULL.
    Null,
    /// `true`, `false`.
    Word(String),
    /// Digits.
    Number(String),
    /// What stood between quotes.
    Text(String),
}

/// A column or tag.
#[derive(Clone, Debug)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The type: `TIMESTAMPTZ(3)`.
    pub sql_type: String,
    /// Whether it refuses nulls.
    pub not_null: bool,
    /// Whether it is a tag.
    pub tag: bool,
    /// Whether it is a primary tag.
    pub primary: bool,
}

/// Columns, and rows by primary tags and time.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The columns, then the tags.
    pub columns: Vec<Column>,
    /// Rows by their primary tags and time.
    pub rows: BTreeMap<Vec<Literal>, BTreeMap<String, Literal>>,
}

/// What the stand-in holds, and what a test wants of it.
#[derive(Debug, Default)]
pub struct State {
    /// The tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Every statement that came.
    pub statements: Vec<String>,
    /// `ts.dedup.rule`
    pub rule: String,
    /// Connections are cut at these INSERTs, counted from 1; those of the second list after the rows went in.
    pub cut_before: Vec<usize>,
    /// As `cut_before`, but after the rows went in.
    pub cut_after: Vec<usize>,
    /// INSERTs so far.
    pub inserts: usize,
    /// A value that the server refuses although it is of its column's type
    pub poison: Option<String>,
}

/// The stand-in, which listens as long as the runtime that started it.
#[derive(Clone, Debug)]
pub struct Kwdb {
    /// What it holds.
    pub state: Arc<Mutex<State>>,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Kwdb {
    /// Starts one without tables.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let state = State { rule: "override".to_owned(), ..State::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("the address of a socket that listens").port();
        let kwdb = Self { state: Arc::new(Mutex::new(state)), port };
        let own = kwdb.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let handlers = Arc::new(own.clone());
                tokio::spawn(async move { pgwire::tokio::process_socket(socket, None, handlers).await });
            }
        });
        kwdb
    }
}

impl PgWireServerHandlers for Kwdb {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::new(self.clone())
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(self.clone())
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::new(self.clone())
    }
}

impl NoopStartupHandler for Kwdb {}

fn fault(code: &str, text: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), code.to_owned(), text.into())))
}

fn answer(names: &[&str], rows: Vec<Vec<String>>) -> Response {
    let field =
        |name: &&str| FieldInfo::new((*name).to_owned(), None, None, Type::VARCHAR, FieldFormat::Text);
    let fields = Arc::new(names.iter().map(field).collect::<Vec<_>>());
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            row.iter().try_for_each(|value| encoder.encode_field(value))?;
            Ok(encoder.take_row())
        })
        .collect();
    Response::Query(QueryResponse::new(fields, stream::iter(rows)))
}

impl Kwdb {
    /// Runs a statement beside all connections: `CREATE TABLE IF NOT EXISTS`, `ALTER TABLE`, `INSERT INTO`, `DROP TABLE`, as
    /// strictly as they are read from a connection.
    ///
    /// # Panics
    /// When the statement has a fault.
    pub fn run(&self, sql: &str) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = state.run(sql) {
            panic!("{sql}: {error}");
        }
    }
}

#[async_trait::async_trait]
impl SimpleQueryHandler for Kwdb {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.statements.push(query.to_owned());
        state.run(query).map(|response| vec![response])
    }
}

impl State {
    fn run(&mut self, sql: &str) -> PgWireResult<Response> {
        let mut words = Words { rest: sql };
        let tail = |prefix: &str| sql.strip_prefix(prefix);
        if sql == "SELECT version()" {
            return Ok(answer(&["version"], vec![vec!["KaiwuDB V3.2.1 (x86_64-linux-gnu)".to_owned()]]));
        }
        if sql.contains("databatype") {
            return Ok(answer(&["databatype"], vec![vec!["TIMESERIES".to_owned()]]));
        }
        if sql == "SHOW CLUSTER SETTING ts.dedup.rule" {
            return Ok(answer(&["ts.dedup.rule"], vec![vec![self.rule.clone()]]));
        }
        if sql.contains("information_schema.columns") {
            let name =
                sql.split("table_name = '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or("");
            let yes = |is: bool| if is { "YES" } else { "NO" }.to_owned();
            let rows = self.tables.get(name).map_or_else(Vec::new, |table| {
                let row = |c: &Column| vec![c.name.clone(), c.sql_type.clone(), yes(!c.not_null), yes(c.tag)];
                table.columns.iter().map(row).collect()
            });
            return Ok(answer(&["column_name", "kwdb_sql_type", "is_nullable", "is_tag"], rows));
        }
        if let Some(name) = tail("SHOW TAGS FROM ") {
            let name = Words { rest: name }.table()?;
            let table = self.tables.get(&name).ok_or_else(|| fault("42P01", "relation does not exist"))?;
            let row = |c: &Column| {
                vec![c.name.clone(), c.sql_type.clone(), c.primary.to_string(), (!c.not_null).to_string()]
            };
            let rows = table.columns.iter().filter(|column| column.tag).map(row).collect();
            return Ok(answer(&["tag", "type", "is_primary", "nullable"], rows));
        }
        if sql.contains("information_schema.tables") {
            let row = |name: &String| vec!["public".to_owned(), name.clone(), "TIME SERIES TABLE".to_owned()];
            let rows = self.tables.keys().map(row).collect();
            return Ok(answer(&["table_schema", "table_name", "table_type"], rows));
        }
        if words.take("SET TIME ZONE ") {
            return Ok(Response::Execution(Tag::new("SET")));
        }
        if let Some(name) = tail("DROP TABLE ") {
            self.tables.remove(&Words { rest: name }.name()?);
            return Ok(Response::Execution(Tag::new("DROP TABLE")));
        }
        if words.take("CREATE TABLE IF NOT EXISTS ") {
            let name = words.name()?;
            words.expect(" (")?;
            let mut columns = words.columns(false)?;
            words.expect(" TAGS (")?;
            columns.extend(words.columns(true)?);
            words.expect(" PRIMARY TAGS (")?;
            loop {
                let primary = words.name()?;
                let column = columns.iter_mut().find(|column| column.name == primary && column.tag);
                column.ok_or_else(|| fault("42601", "a primary tag that is no tag"))?.primary = true;
                if !words.take(", ") {
                    break;
                }
            }
            words.expect(")")?;
            words.end()?;
            if !columns[0].sql_type.starts_with("TIMESTAMP") || !columns[0].not_null {
                return Err(fault("42804", "the first column must be a timestamp that is not null"));
            }
            self.tables.entry(name).or_insert(Table { columns, rows: BTreeMap::new() });
            return Ok(Response::Execution(Tag::new("CREATE TABLE")));
        }
        if words.take("ALTER TABLE ") {
            let name = words.name()?;
            words.expect(" ADD ")?;
            let tag = words.take("TAG ");
            if !tag {
                words.expect("COLUMN ")?;
            }
            let column = words.column(tag)?;
            words.end()?;
            let table =
                self.tables.get_mut(&name).ok_or_else(|| fault("42P01", "relation does not exist"))?;
            table.columns.push(column);
            return Ok(Response::Execution(Tag::new("ALTER TABLE")));
        }
        if words.take("INSERT INTO ") {
            self.inserts += 1;
            let cut = || PgWireError::IoError(std::io::Error::other("cut"));
            if self.cut_before.contains(&self.inserts) {
                return Err(cut());
            }
            let number = self.inserts;
            let rows = self.insert(&mut words)?;
            if self.cut_after.contains(&number) {
                return Err(cut());
            }
            return Ok(Response::Execution(Tag::new("INSERT").with_oid(0).with_rows(rows)));
        }
        Err(fault("42601", format!("syntax error: {}", sql.get(..60).unwrap_or(sql))))
    }

    fn insert(&mut self, words: &mut Words<'_>) -> PgWireResult<usize> {
        let name = words.name()?;
        let poison = self.poison.clone();
        let table = self.tables.get_mut(&name).ok_or_else(|| fault("42P01", "relation does not exist"))?;
        words.expect(" (")?;
        let mut columns = Vec::new();
        loop {
            let name = words.name()?;
            let column = table.columns.iter().find(|column| column.name == name);
            columns.push(column.cloned().ok_or_else(|| fault("42703", format!("no column {name}")))?);
            if !words.take(", ") {
                break;
            }
        }
        words.expect(") VALUES ")?;
        for column in table.columns.iter().filter(|column| column.primary) {
            if !columns.iter().any(|own| own.name == column.name) {
                return Err(fault("42601", "need to specify all primary tag"));
            }
        }
        let time = table.columns[0].name.clone();
        // The whole statement is checked before anything is written.
        let mut rows = Vec::new();
        loop {
            words.expect("(")?;
            let mut row = BTreeMap::new();
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    words.expect(",")?;
                }
                let literal = words.literal()?;
                check(column, &literal)?;
                if poison.as_deref().is_some_and(|poison| literal == Literal::Text(poison.to_owned())) {
                    return Err(fault("22026", "the server does not like it"));
                }
                row.insert(column.name.clone(), literal);
            }
            words.expect(")")?;
            let mut key: Vec<Literal> =
                table.columns.iter().filter(|c| c.primary).map(|c| row[&c.name].clone()).collect();
            key.push(row.get(&time).cloned().ok_or_else(|| fault("23502", "no timestamp"))?);
            rows.push((key, row));
            if !words.take(",") {
                break;
            }
        }
        words.end()?;
        let count = rows.len();
        table.rows.extend(rows);
        Ok(count)
    }
}
