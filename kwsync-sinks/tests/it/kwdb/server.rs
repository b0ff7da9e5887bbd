//! A stand-in for KWDB's time series, as strict as KWDB V3.2.1 is: the simple protocol alone, one statement a query,
//! literals of the column's own type, nothing of a statement that has a fault, rows of the same primary tags and time
//! replaced. It was written from KWDB's documented and observed behaviour; it is no KWDB.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures_util::{Sink, stream};
use pgwire::api::auth::StartupHandler;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireServerHandlers, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

/// A literal as it stands in a statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Literal {
    Null,
    Word(String),
    Number(String),
    Text(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) sql_type: String,
    pub(crate) not_null: bool,
    pub(crate) tag: bool,
    pub(crate) primary: bool,
}

/// Columns, and rows by primary tags and time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: BTreeMap<Vec<Literal>, BTreeMap<String, Literal>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) statements: Vec<String>,
    pub(crate) rule: String,
    /// Connections are cut at these INSERTs, counted from 1; those of the second list after the rows went in.
    pub(crate) cut_before: Vec<usize>,
    pub(crate) cut_after: Vec<usize>,
    pub(crate) inserts: usize,
    /// A value that the server refuses although it is of its column's type
    pub(crate) poison: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Kwdb {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) port: u16,
}

impl Kwdb {
    pub(crate) async fn start() -> Self {
        let state = State { rule: "override".to_owned(), ..State::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
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

#[async_trait::async_trait]
impl SimpleQueryHandler for Kwdb {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut state = self.state.lock().unwrap();
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
            let name = Words { rest: name }.name()?;
            let table = self.tables.get(&name).ok_or_else(|| fault("42P01", "relation does not exist"))?;
            let row = |c: &Column| {
                vec![c.name.clone(), c.sql_type.clone(), c.primary.to_string(), (!c.not_null).to_string()]
            };
            let rows = table.columns.iter().filter(|column| column.tag).map(row).collect();
            return Ok(answer(&["tag", "type", "is_primary", "nullable"], rows));
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

/// What KWDB checks of a literal for its column.
fn check(column: &Column, literal: &Literal) -> PgWireResult<()> {
    let (kind, limit) = column.sql_type.split_once('(').unwrap_or((&column.sql_type, ""));
    let limit: usize = limit.trim_end_matches(')').parse().unwrap_or(254);
    let wrong = || Err(fault("42804", format!("{literal:?} is no {}", column.sql_type)));
    match (kind, literal) {
        (_, Literal::Null) if column.not_null => Err(fault("23502", format!("null in {}", column.name))),
        (_, Literal::Null) => Ok(()),
        ("TIMESTAMP" | "TIMESTAMPTZ", Literal::Number(text)) => match text.parse::<i64>() {
            Ok(value) if limit == 9 && value < 0 => Err(fault("22026", "timestamp out of range")),
            Ok(_) => Ok(()),
            Err(_) => wrong(),
        },
        ("INT2", Literal::Number(text)) if text.parse::<i64>().is_ok() => {
            text.parse::<i16>().map(drop).map_err(|_| fault("22003", "out of range"))
        }
        ("INT4", Literal::Number(text)) if text.parse::<i64>().is_ok() => {
            text.parse::<i32>().map(drop).map_err(|_| fault("22003", "out of range"))
        }
        ("INT8", Literal::Number(text)) if text.parse::<i64>().is_ok() => Ok(()),
        ("FLOAT4" | "FLOAT8", Literal::Number(text)) if text.parse::<f64>().is_ok_and(f64::is_finite) => {
            Ok(())
        }
        ("BOOL", Literal::Word(word)) if word == "true" || word == "false" => Ok(()),
        ("CHAR" | "VARCHAR", Literal::Text(text)) if text.len() > limit => Err(fault("22001", "too long")),
        ("NCHAR" | "NVARCHAR", Literal::Text(text)) if text.chars().count() > limit => {
            Err(fault("22001", "too long"))
        }
        ("VARBYTES", Literal::Text(text)) => match text.strip_prefix("\\x") {
            Some(digits) if digits.len() / 2 > limit => Err(fault("22001", "too long")),
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => Ok(()),
            _ => wrong(),
        },
        ("CHAR" | "VARCHAR" | "NCHAR" | "NVARCHAR" | "GEOMETRY", Literal::Text(_)) => Ok(()),
        _ => wrong(),
    }
}

/// A statement, taken apart from its front.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) -> PgWireResult<()> {
        let shown: String = self.rest.chars().take(40).collect();
        if self.take(text) { Ok(()) } else { Err(fault("42601", format!("{text:?} expected at {shown:?}"))) }
    }

    fn end(&self) -> PgWireResult<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(fault("42601", "more than one statement")) }
    }

    /// A text between quotes, which are doubled inside.
    fn quoted(&mut self, quote: char) -> PgWireResult<String> {
        self.expect(&quote.to_string())?;
        let mut text = String::new();
        loop {
            let (inside, rest) = self.rest.split_once(quote).ok_or_else(|| fault("42601", "unterminated"))?;
            text.push_str(inside);
            self.rest = rest;
            if !self.take(&quote.to_string()) {
                return Ok(text);
            }
            text.push(quote);
        }
    }

    fn name(&mut self) -> PgWireResult<String> {
        self.quoted('"')
    }

    fn literal(&mut self) -> PgWireResult<Literal> {
        if self.rest.starts_with('\'') {
            return self.quoted('\'').map(Literal::Text);
        }
        let end = self.rest.find([',', ')']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(match word {
            "NULL" => Literal::Null,
            number if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                Literal::Number(number.to_owned())
            }
            word if word.bytes().all(|byte| byte.is_ascii_alphabetic()) && !word.is_empty() => {
                Literal::Word(word.to_owned())
            }
            other => return Err(fault("42601", format!("unsupported input type {other:?}"))),
        })
    }

    fn column(&mut self, tag: bool) -> PgWireResult<Column> {
        let name = self.name()?;
        self.expect(" ")?;
        let mut depth = 0;
        let end = self.rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth < 0 || c == ' ' || (c == ',' && depth == 0)
        });
        let (sql_type, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let sql_type = sql_type.to_owned();
        self.rest = rest;
        let not_null = self.take(" NOT NULL");
        Ok(Column { name, sql_type, not_null, tag, primary: false })
    }

    fn columns(&mut self, tag: bool) -> PgWireResult<Vec<Column>> {
        let mut columns = Vec::new();
        loop {
            columns.push(self.column(tag)?);
            if !self.take(", ") {
                break;
            }
        }
        self.expect(")")?;
        Ok(columns)
    }
}
