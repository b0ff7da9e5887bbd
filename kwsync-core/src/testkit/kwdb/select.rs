//! SELECT, by the extended protocol.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError};

use bytes::{BufMut, BytesMut};
use futures_util::{Sink, stream};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{FieldFormat, FieldInfo, QueryResponse, Response};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::DataRow;
use postgres_types::Kind;

use super::words::Words;
use super::{Column, Kwdb, Literal, State, Table, fault};
use crate::{TimeUnit, Value};

/// One column of a result.
#[derive(Clone, Debug)]
struct Item {
    name: String,
    sql_type: String,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Column(String),
    Constant(Literal),
    Least(String),
    Greatest(String),
}

/// A condition on a column.
#[derive(Clone, Debug)]
enum Condition {
    NotNull(String),
    Compare(String, &'static str, Literal),
}

/// A statement taken apart.
#[derive(Clone, Debug)]
struct Select {
    items: Vec<Item>,
    table: Option<String>,
    conditions: Vec<Condition>,
    order: Option<String>,
}

const OPERATORS: [&str; 6] = [" >= ", " <= ", " <> ", " > ", " < ", " = "];

impl Select {
    fn parse(state: &State, sql: &str) -> PgWireResult<Self> {
        let mut words = Words { rest: sql };
        words.expect("SELECT ")?;
        let mut plain: Vec<(Of, Option<String>)> = Vec::new();
        loop {
            let of = if words.take("now()") {
                let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
                Of::Constant(Literal::Number(now.to_string()))
            } else if words.take("CAST(") {
                let text = words.quoted('\'')?;
                words.expect(" AS TIMESTAMPTZ)")?;
                let nanos =
                    nanoseconds(&text).ok_or_else(|| fault("22007", format!("{text:?} is no time")))?;
                Of::Constant(Literal::Number((nanos / 1_000).to_string()))
            } else if words.take("min(") {
                let name = words.name()?;
                words.expect(")")?;
                Of::Least(name)
            } else if words.take("max(") {
                let name = words.name()?;
                words.expect(")")?;
                Of::Greatest(name)
            } else if words.rest.starts_with('"') {
                Of::Column(words.name()?)
            } else {
                let end = words.rest.find([',', ' ']).unwrap_or(words.rest.len());
                let (word, rest) = words.rest.split_at(end);
                words.rest = rest;
                match word.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => Of::Constant(Literal::Number(word.to_owned())),
                    // Without quotes a name is in lower case.
                    false => Of::Column(word.to_ascii_lowercase()),
                }
            };
            let named = words.take(" AS ") || words.take(" as ");
            let name = match named {
                true if words.rest.starts_with('"') => Some(words.name()?),
                true => {
                    let end = words.rest.find([',', ' ']).unwrap_or(words.rest.len());
                    let (name, rest) = words.rest.split_at(end);
                    words.rest = rest;
                    Some(name.to_owned())
                }
                false => None,
            };
            plain.push((of, name));
            if !words.take(", ") && !words.take(",") {
                break;
            }
        }
        let table = match words.take(" FROM ") {
            true => Some(words.table()?),
            false => None,
        };
        let mut conditions = Vec::new();
        if words.take(" WHERE ") {
            loop {
                let bracket = words.take("(");
                conditions.push(condition(&mut words)?);
                if bracket {
                    words.expect("\n)")?;
                }
                if !words.take(" AND ") {
                    break;
                }
            }
        }
        let order = match words.take(" ORDER BY ") {
            true => Some(words.name()?),
            false => None,
        };
        words.end()?;
        let known = match &table {
            Some(name) => Some(
                state
                    .tables
                    .get(name)
                    .ok_or_else(|| fault("42P01", format!("relation {name:?} does not exist")))?,
            ),
            None => None,
        };
        let column = |name: &str| -> PgWireResult<&Column> {
            known
                .and_then(|table| table.columns.iter().find(|column| column.name == name))
                .ok_or_else(|| fault("42703", format!("column {name:?} does not exist")))
        };
        let mut items = Vec::with_capacity(plain.len());
        for (of, name) in plain {
            let (own, sql_type) = match &of {
                Of::Column(name) => (name.clone(), column(name)?.sql_type.clone()),
                Of::Least(name) => ("min".to_owned(), column(name)?.sql_type.clone()),
                Of::Greatest(name) => ("max".to_owned(), column(name)?.sql_type.clone()),
                Of::Constant(_) if sql.contains("now()") || sql.contains("CAST(") => {
                    ("now".to_owned(), "TIMESTAMPTZ(6)".to_owned())
                }
                Of::Constant(_) => ("?column?".to_owned(), "INT8".to_owned()),
            };
            items.push(Item { name: name.unwrap_or(own), sql_type, of });
        }
        for condition in &conditions {
            let (Condition::NotNull(name) | Condition::Compare(name, ..)) = condition;
            column(name)?;
        }
        if let Some(name) = &order {
            column(name)?;
        }
        Ok(Self { items, table, conditions, order })
    }

    fn fields(&self, format: Option<&Format>) -> Vec<FieldInfo> {
        let field = |(at, item): (usize, &Item)| {
            let form = format.map_or(FieldFormat::Text, |format| format.format_for(at));
            FieldInfo::new(item.name.clone(), None, None, wire_type(&item.sql_type), form)
        };
        self.items.iter().enumerate().map(field).collect()
    }

    fn rows(&self, state: &State) -> PgWireResult<Vec<Vec<Literal>>> {
        let empty = Table::default();
        let table = self.table.as_ref().and_then(|name| state.tables.get(name)).unwrap_or(&empty);
        let type_of = |name: &str| {
            let column = table.columns.iter().find(|column| column.name == name);
            column.map_or("", |column| column.sql_type.as_str())
        };
        let mut found = Vec::new();
        for row in table.rows.values() {
            let value = |name: &str| row.get(name).unwrap_or(&Literal::Null);
            let mut fits = true;
            for condition in &self.conditions {
                fits &= match condition {
                    Condition::NotNull(name) => *value(name) != Literal::Null,
                    Condition::Compare(name, operator, literal) => {
                        let ordering = compare(type_of(name), value(name), literal)?;
                        ordering.is_some_and(|ordering| match *operator {
                            " >= " => ordering != Ordering::Less,
                            " <= " => ordering != Ordering::Greater,
                            " <> " => ordering != Ordering::Equal,
                            " > " => ordering == Ordering::Greater,
                            " < " => ordering == Ordering::Less,
                            _ => ordering == Ordering::Equal,
                        })
                    }
                };
            }
            if fits {
                found.push(row);
            }
        }
        if let Some(order) = &self.order {
            let number = |row: &&std::collections::BTreeMap<String, Literal>| match row.get(order) {
                Some(Literal::Number(text)) => text.parse().unwrap_or(i128::MAX),
                _ => i128::MAX,
            };
            found.sort_by_key(number);
        }
        let end = |name: &str, greatest: bool| {
            let numbers = found.iter().filter_map(|row| match row.get(name) {
                Some(Literal::Number(text)) => text.parse::<i128>().ok(),
                _ => None,
            });
            let end = if greatest { numbers.max() } else { numbers.min() };
            end.map_or(Literal::Null, |number| Literal::Number(number.to_string()))
        };
        let single = self.items.iter().any(|item| !matches!(item.of, Of::Column(_) | Of::Constant(_)));
        if single || self.table.is_none() {
            let one = |item: &Item| match &item.of {
                Of::Least(name) => end(name, false),
                Of::Greatest(name) => end(name, true),
                Of::Constant(literal) => literal.clone(),
                Of::Column(_) => Literal::Null,
            };
            return Ok(vec![self.items.iter().map(one).collect()]);
        }
        let one = |row: &&std::collections::BTreeMap<String, Literal>| {
            let value = |item: &Item| match &item.of {
                Of::Column(name) => row.get(name).cloned().unwrap_or(Literal::Null),
                Of::Constant(literal) => literal.clone(),
                _ => Literal::Null,
            };
            self.items.iter().map(value).collect()
        };
        Ok(found.iter().map(one).collect())
    }
}

fn condition(words: &mut Words<'_>) -> PgWireResult<Condition> {
    let name = words.name()?;
    if words.take(" IS NOT NULL") {
        return Ok(Condition::NotNull(name));
    }
    for operator in OPERATORS {
        if words.take(operator) {
            let literal = if words.rest.starts_with('\'') {
                Literal::Text(words.quoted('\'')?)
            } else {
                let end = words.rest.find([' ', '\n', ')']).unwrap_or(words.rest.len());
                let (word, rest) = words.rest.split_at(end);
                words.rest = rest;
                Literal::Number(word.to_owned())
            };
            return Ok(Condition::Compare(name, operator, literal));
        }
    }
    Err(fault("42601", "a condition that the stand-in does not know"))
}

/// How a value stands to a literal; none if either is null.
fn compare(sql_type: &str, value: &Literal, literal: &Literal) -> PgWireResult<Option<Ordering>> {
    Ok(match (value, literal) {
        (Literal::Null, _) | (_, Literal::Null) => None,
        (Literal::Number(own), Literal::Text(text)) if sql_type.starts_with("TIMESTAMP") => {
            let nanos = nanoseconds(text).ok_or_else(|| fault("22007", format!("{text:?} is no time")))?;
            let own = own.parse::<i128>().unwrap_or_default() * i128::from(unit(sql_type).nanos());
            Some(own.cmp(&nanos))
        }
        // KWDB asks for a text.
        (_, Literal::Number(_)) if sql_type.starts_with("TIMESTAMP") => {
            return Err(fault("22023", "an integer is compared with a timestamp"));
        }
        (Literal::Number(own), Literal::Number(other)) => own
            .parse::<f64>()
            .ok()
            .zip(other.parse::<f64>().ok())
            .and_then(|(own, other)| own.partial_cmp(&other)),
        (Literal::Text(own), Literal::Text(other)) => Some(own.cmp(other)),
        _ => return Err(fault("22023", "values of two types are compared")),
    })
}

fn unit(sql_type: &str) -> TimeUnit {
    let digits = sql_type.split_once('(').map_or("3", |(_, rest)| rest.trim_end_matches(')'));
    digits.parse().unwrap_or(TimeUnit::Millisecond)
}

fn wire_type(sql_type: &str) -> Type {
    let own = |name: &str, oid| Type::new(name.to_owned(), oid, Kind::Simple, "pg_catalog".to_owned());
    match sql_type.split('(').next().unwrap_or_default() {
        "TIMESTAMP" => Type::TIMESTAMP,
        "TIMESTAMPTZ" => Type::TIMESTAMPTZ,
        "INT2" => Type::INT2,
        "INT4" => Type::INT4,
        "INT8" => Type::INT8,
        "FLOAT4" => Type::FLOAT4,
        "FLOAT8" => Type::FLOAT8,
        "BOOL" => Type::BOOL,
        "CHAR" => Type::BPCHAR,
        "NCHAR" => own("nchar", 91_002),
        "NVARCHAR" => own("nvarchar", 91_004),
        "VARBYTES" => own("varbytes", 91_006),
        "GEOMETRY" => own("geometry", 91_008),
        _ => Type::VARCHAR,
    }
}

/// Nanoseconds since 1970 of `2024-05-01 10:00:00[.fraction][+00:00]`; no other zone is known here.
fn nanoseconds(text: &str) -> Option<i128> {
    let text = text.strip_suffix("+00:00").or_else(|| text.strip_suffix("+00")).unwrap_or(text);
    let (date, clock) = text.split_once(' ')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let whole = |text: &str| text.parse::<i128>().ok();
    let date: Vec<i128> = date.split('-').map(whole).collect::<Option<_>>()?;
    let clock: Vec<i128> = clock.split(':').map(whole).collect::<Option<_>>()?;
    let ([year, month, day], [hour, minute, second]) = (date.as_slice(), clock.as_slice()) else {
        return None;
    };
    // Day by day, since it need not be quick.
    let leap = |year: i128| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_of = |year: i128| if leap(year) { 366 } else { 365 };
    let years: i128 = match *year >= 1970 {
        true => (1970..*year).map(days_of).sum(),
        false => -(*year..1970).map(days_of).sum::<i128>(),
    };
    let months = [31, if leap(*year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: i128 = months.iter().take(usize::try_from(*month - 1).ok()?).sum();
    let seconds = (years + before + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let part = if fraction.is_empty() { 0 } else { whole(fraction)? * 10_i128.pow(9 - digits) };
    Some(seconds * 1_000_000_000 + part)
}

/// A value as the server sends it.
fn encode(sql_type: &str, value: &Literal, binary: bool, out: &mut BytesMut) {
    let mut field: Vec<u8> = Vec::new();
    let kind = sql_type.split('(').next().unwrap_or_default();
    match (kind, value) {
        (_, Literal::Null) => {
            out.put_i32(-1);
            return;
        }
        ("TIMESTAMP" | "TIMESTAMPTZ", Literal::Number(text)) => {
            let (count, unit) = (text.parse::<i64>().unwrap_or_default(), unit(sql_type));
            if binary {
                let micros = i128::from(count) * i128::from(unit.nanos()) / 1_000;
                field.put_i64((micros - 946_684_800_000_000) as i64);
            } else {
                let text = Value::Timestamp(count, unit, false).to_string().replacen('T', " ", 1);
                field.extend_from_slice(text.as_bytes());
                field.extend_from_slice(b"+00:00");
            }
        }
        ("INT2", Literal::Number(text)) if binary => field.put_i16(text.parse().unwrap_or_default()),
        ("INT4", Literal::Number(text)) if binary => field.put_i32(text.parse().unwrap_or_default()),
        ("INT8", Literal::Number(text)) if binary => field.put_i64(text.parse().unwrap_or_default()),
        ("FLOAT4", Literal::Number(text)) if binary => field.put_f32(text.parse().unwrap_or_default()),
        ("FLOAT8", Literal::Number(text)) if binary => field.put_f64(text.parse().unwrap_or_default()),
        // As text it keeps six digits.
        ("FLOAT4", Literal::Number(text)) => {
            field = format!("{:.6}", text.parse::<f32>().unwrap_or_default()).into_bytes();
        }
        ("BOOL", Literal::Word(word)) if binary => field.push(u8::from(word == "true")),
        ("VARBYTES", Literal::Text(text)) if binary => {
            let digits = text.strip_prefix("\\x").unwrap_or_default().as_bytes();
            field = digits
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
        }
        (_, Literal::Number(text) | Literal::Word(text) | Literal::Text(text)) => {
            field = text.clone().into_bytes()
        }
    }
    out.put_i32(field.len() as i32);
    out.extend_from_slice(&field);
}

#[async_trait::async_trait]
impl QueryParser for Kwdb {
    type Statement = String;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<String>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.statements.push(sql.to_owned());
        Select::parse(&state, sql).map(|_| Some(sql.to_owned()))
    }

    fn get_parameter_types(&self, _statement: &String) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(&self, sql: &String, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Select::parse(&state, sql)?.fields(format))
    }
}

#[async_trait::async_trait]
impl ExtendedQueryHandler for Kwdb {
    type Statement = String;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<String>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = String>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let select = Select::parse(&state, &portal.statement.statement)?;
        let fields = select.fields(Some(&portal.result_column_format));
        let rows = select.rows(&state)?;
        let encoded: Vec<PgWireResult<DataRow>> = rows
            .iter()
            .map(|row| {
                let mut out = BytesMut::new();
                for ((item, field), value) in select.items.iter().zip(&fields).zip(row) {
                    encode(&item.sql_type, value, field.format() == FieldFormat::Binary, &mut out);
                }
                Ok(DataRow::new(out, row.len() as i16))
            })
            .collect();
        Ok(Response::Query(QueryResponse::new(Arc::new(fields), stream::iter(encoded))))
    }
}
