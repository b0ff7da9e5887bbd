//! SELECT.

use serde_json::{Value as Json, json};

use super::words::{Words, split_type};
use super::{Column, Database, Done, Literal, Outcome, State, fault};
use crate::TimeUnit;

/// What is selected.
enum Item {
    Column(String),
    /// `COUNT(*)`, `FIRST(x)`, `LAST(x)`
    Aggregate(String, String),
    /// A literal, and its name.
    Constant(Literal, String),
}

enum Condition {
    Compare(String, char, Literal),
    In(String, Vec<Literal>),
}

/// A row under a query: values by name, with their types.
type Found = Vec<(String, String, Literal)>;

impl State {
    pub(super) fn select(&mut self, words: &mut Words) -> Done<Outcome> {
        let distinct = words.take("distinct");
        let mut items = Vec::new();
        loop {
            items.push(item(words)?);
            if !words.take(",") {
                break;
            }
        }
        if !words.take("from") {
            words.end()?;
            return match items.as_slice() {
                [Item::Aggregate(name, _)] if name == "server_version" => Ok(Outcome::Rows(
                    vec![("server_version()".to_owned(), "VARCHAR".to_owned())],
                    vec![vec![json!(self.version)]],
                )),
                [Item::Aggregate(name, _)] if name == "now" => {
                    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                    let now = now.map_or(0, |now| now.as_millis() as i64);
                    let shown = json!(time(now, "ms"));
                    Ok(Outcome::Rows(vec![("now()".to_owned(), "TIMESTAMP".to_owned())], vec![vec![shown]]))
                }
                _ => words.syntax(),
            };
        }
        let (database, table) = words.full_name()?;
        let (rows, precision) = if database == "information_schema" {
            (self.catalog(&table)?, "ms".to_owned())
        } else {
            let database = self.database(&database)?;
            (found(database, &table, distinct)?, database.precision.clone())
        };
        let conditions = if words.take("where") { conditions(words)? } else { Vec::new() };
        let mut rows: Vec<Found> = rows;
        let known: Vec<(String, String)> = match rows.first() {
            Some(row) => row.iter().map(|(name, kind, _)| (name.clone(), kind.clone())).collect(),
            None => Vec::new(),
        };
        // A row of nulls alone tells the columns where there are none.
        let has = |name: &str| known.iter().any(|(own, _)| own == name);
        for condition in &conditions {
            let (Condition::Compare(name, ..) | Condition::In(name, _)) = condition;
            if !has(name) {
                return fault(0x2602, format!("Invalid column name: {name}"));
            }
        }
        rows.remove(0);
        rows.retain(|row| conditions.iter().all(|condition| holds(condition, row)));
        if words.take("order") {
            words.expect("by")?;
            let by = words.name("column", 64)?;
            if !has(&by) {
                return fault(0x2602, format!("Invalid column name: {by}"));
            }
            rows.sort_by(|a, b| compare(value(a, &by), value(b, &by)));
        }
        let mut limit = usize::MAX;
        if words.take("limit") {
            match words.literal()? {
                Literal::Number(number) => limit = number.parse().unwrap_or(0),
                _ => return words.syntax(),
            }
        }
        words.end()?;
        let kind_of = |name: &str| known.iter().find(|(own, _)| own == name).map(|(_, kind)| kind.clone());
        let mut columns = Vec::new();
        for item in &items {
            columns.push(match item {
                Item::Column(name) => match kind_of(name) {
                    Some(kind) => (name.clone(), kind),
                    None => return fault(0x2602, format!("Invalid column name: {name}")),
                },
                Item::Aggregate(function, _) if function == "count" => {
                    ("count(*)".to_owned(), "BIGINT".to_owned())
                }
                Item::Aggregate(function, name) => match kind_of(name) {
                    Some(kind) if matches!(function.as_str(), "first" | "last") => {
                        (format!("{function}({name})"), kind)
                    }
                    _ => return words.syntax(),
                },
                Item::Constant(literal, name) => {
                    let kind = if matches!(literal, Literal::Number(_)) { "BIGINT" } else { "VARCHAR(64)" };
                    (name.clone(), kind.to_owned())
                }
            });
        }
        let shown = |literal: &Literal, kind: &str| show(literal, kind, &precision);
        if items.iter().any(|item| matches!(item, Item::Aggregate(..))) {
            let mut row = Vec::new();
            for (item, (_, kind)) in items.iter().zip(&columns) {
                let Item::Aggregate(function, name) = item else { return words.syntax() };
                let all = || rows.iter().map(|row| value(row, name)).filter(|value| **value != Literal::Null);
                row.push(match function.as_str() {
                    "count" => json!(rows.len()),
                    "first" => {
                        all().min_by(|a, b| compare(a, b)).map_or(Json::Null, |value| shown(value, kind))
                    }
                    _ => all().max_by(|a, b| compare(a, b)).map_or(Json::Null, |value| shown(value, kind)),
                });
            }
            // FIRST and LAST of nothing are no row.
            let empty = rows.is_empty()
                && !items.iter().any(|item| matches!(item, Item::Aggregate(f, _) if f == "count"));
            return Ok(Outcome::Rows(columns, if empty { Vec::new() } else { vec![row] }));
        }
        let mut data: Vec<Vec<Json>> = Vec::new();
        for row in &rows {
            let one = items.iter().zip(&columns).map(|(item, (_, kind))| match item {
                Item::Column(name) => shown(value(row, name), kind),
                Item::Constant(literal, _) => shown(literal, kind),
                Item::Aggregate(..) => Json::Null,
            });
            let one: Vec<Json> = one.collect();
            if !distinct || !data.contains(&one) {
                data.push(one);
            }
        }
        data.truncate(limit);
        Ok(Outcome::Rows(columns, data))
    }

    /// A table of information_schema, behind a row of nulls.
    fn catalog(&self, table: &str) -> Done<Vec<Found>> {
        let row = |cells: &[(&str, Option<&str>)]| -> Found {
            let cell = |(name, value): &(&str, Option<&str>)| {
                let literal = value.map_or(Literal::Null, |value| Literal::Text(value.to_owned()));
                ((*name).to_owned(), "VARCHAR(192)".to_owned(), literal)
            };
            cells.iter().map(cell).collect()
        };
        let mut rows = Vec::new();
        match table {
            "ins_databases" => {
                rows.push(row(&[("name", None), ("precision", None)]));
                for (name, database) in &self.databases {
                    rows.push(row(&[("name", Some(name)), ("precision", Some(&database.precision))]));
                }
            }
            "ins_stables" => {
                let one = |own, name, numbers| {
                    let mut made = row(&[("stable_name", own), ("db_name", name)]);
                    made.extend(counts(["columns", "tags"], numbers));
                    made
                };
                rows.push(one(None, None, [0, 0]));
                for (name, database) in &self.databases {
                    rows.extend(database.supers.iter().map(|(own, found)| {
                        one(Some(own.as_str()), Some(name.as_str()), [found.columns.len(), found.tags.len()])
                    }));
                }
            }
            "ins_tables" => {
                let mut nothing =
                    row(&[("table_name", None), ("db_name", None), ("stable_name", None), ("type", None)]);
                nothing.extend(counts(["columns"], [0]));
                rows.push(nothing);
                for (name, database) in &self.databases {
                    rows.extend(database.tables.iter().map(|(own, table)| {
                        let kind = if table.home.is_some() { "CHILD_TABLE" } else { "NORMAL_TABLE" };
                        let mut made = row(&[
                            ("table_name", Some(own)),
                            ("db_name", Some(name)),
                            ("stable_name", table.home.as_deref()),
                            ("type", Some(kind)),
                        ]);
                        let columns = database.layout(own).map_or(0, |(columns, _)| columns.len());
                        made.extend(counts(["columns"], [columns]));
                        made
                    }));
                }
            }
            other => return fault(0x2603, format!("Table does not exist: {other}")),
        }
        Ok(rows)
    }
}

/// Cells that count.
fn counts<const N: usize>(names: [&str; N], numbers: [usize; N]) -> Found {
    let cell = |(name, number): (&str, usize)| {
        (name.to_owned(), "INT".to_owned(), Literal::Number(number.to_string()))
    };
    names.into_iter().zip(numbers).map(cell).collect()
}

/// The rows of a table or supertable, behind one of nulls; subtables without rows count where tags are asked for alone.
fn found(database: &Database, table: &str, distinct: bool) -> Done<Vec<Found>> {
    let Some((columns, tags)) = database.layout(table) else {
        return fault(0x2603, format!("Table does not exist: {table}"));
    };
    let cell = |column: &Column, literal: Option<&Literal>| {
        (column.name.clone(), column.sql_type.clone(), literal.cloned().unwrap_or(Literal::Null))
    };
    let name = |literal| ("tbname".to_owned(), "VARCHAR(192)".to_owned(), literal);
    let mut nothing: Found = columns.iter().chain(tags).map(|column| cell(column, None)).collect();
    nothing.push(name(Literal::Null));
    let mut rows = vec![nothing];
    let own =
        database.tables.iter().filter(|(own, found)| *own == table || found.home.as_deref() == Some(table));
    for (own, found) in own {
        let none = Default::default();
        let empty = (distinct && found.rows.is_empty()).then_some(&none);
        for row in found.rows.values().chain(empty) {
            let mut made: Found = columns.iter().map(|column| cell(column, row.get(&column.name))).collect();
            made.extend(tags.iter().map(|tag| cell(tag, found.tags.get(&tag.name))));
            made.push(name(Literal::Text(own.clone())));
            rows.push(made);
        }
    }
    Ok(rows)
}

fn item(words: &mut Words) -> Done<Item> {
    if let Ok(literal) = words.literal() {
        words.expect("as")?;
        return Ok(Item::Constant(literal, words.name("column", 64)?));
    }
    let name = words.name("column", 64)?;
    if !words.take("(") {
        return Ok(Item::Column(name));
    }
    let of = if words.take("*") || words.take(")") { String::new() } else { words.name("column", 64)? };
    if name == "count" || !of.is_empty() {
        words.expect(")")?;
    }
    Ok(Item::Aggregate(name, of))
}

fn conditions(words: &mut Words) -> Done<Vec<Condition>> {
    let mut conditions = Vec::new();
    loop {
        if words.take("(") {
            conditions.extend(self::conditions(words)?);
            words.expect(")")?;
            if words.take("and") {
                continue;
            }
            return Ok(conditions);
        }
        let name = words.name("column", 64)?;
        if words.take("in") {
            conditions.push(Condition::In(name, words.literals()?));
        } else {
            let sign = ['=', '<', '>', '≤', '≥'].into_iter().find(|sign| words.take(&sign.to_string()));
            let Some(sign) = sign else { return words.syntax() };
            conditions.push(Condition::Compare(name, sign, words.literal()?));
        }
        if !words.take("and") {
            return Ok(conditions);
        }
    }
}

fn value<'a>(row: &'a Found, name: &str) -> &'a Literal {
    row.iter().find(|(own, ..)| own == name).map_or(&Literal::Null, |(.., literal)| literal)
}

fn compare(a: &Literal, b: &Literal) -> std::cmp::Ordering {
    match (a, b) {
        (Literal::Number(a), Literal::Number(b)) => match (a.parse::<i128>(), b.parse::<i128>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse().unwrap_or(0.0)),
        },
        (a, b) => a.cmp(b),
    }
}

fn holds(condition: &Condition, row: &Found) -> bool {
    use std::cmp::Ordering as O;
    match condition {
        Condition::In(name, list) => list.contains(value(row, name)),
        Condition::Compare(name, sign, literal) => {
            let own = value(row, name);
            let order = compare(own, literal);
            *own != Literal::Null
                && match sign {
                    '=' => order == O::Equal,
                    '<' => order == O::Less,
                    '>' => order == O::Greater,
                    '≤' => order != O::Greater,
                    _ => order != O::Less,
                }
        }
    }
}

/// A value as taosAdapter writes it.
fn show(literal: &Literal, sql_type: &str, precision: &str) -> Json {
    let (kind, _) = split_type(sql_type);
    match (literal, kind) {
        (Literal::Null, _) => Json::Null,
        (Literal::Bool(value), _) => json!(value),
        (Literal::Number(number), "TIMESTAMP") => json!(time(number.parse().unwrap_or(0), precision)),
        (Literal::Number(number), "DECIMAL") => json!(number),
        (Literal::Number(number), "FLOAT" | "DOUBLE") => json!(number.parse::<f64>().unwrap_or(0.0)),
        (Literal::Number(number), _) => number.parse().unwrap_or(Json::Null),
        (Literal::Text(text), "VARBINARY") => json!(text.trim_start_matches("\\x")),
        (Literal::Text(text), "JSON") => text.parse().unwrap_or(Json::Null),
        (Literal::Text(text), _) => json!(text),
    }
}

/// `2022-08-05T10:00:00.000Z`
fn time(value: i64, precision: &str) -> String {
    let (unit, digits) = match precision {
        "ns" => (TimeUnit::Nanosecond, 9),
        "us" => (TimeUnit::Microsecond, 6),
        _ => (TimeUnit::Millisecond, 3),
    };
    let per_second = 1_000_000_000 / unit.nanos();
    let seconds = crate::Value::Timestamp(value.div_euclid(per_second), TimeUnit::Second, false).to_string();
    let seconds = seconds.split('.').next().unwrap_or_default();
    format!("{seconds}.{:0digits$}Z", value.rem_euclid(per_second))
}
