//! Statements and literals.

use pgwire::error::PgWireResult;

use super::{Column, Literal, fault};

/// What KWDB checks of a literal for its column.
pub(super) fn check(column: &Column, literal: &Literal) -> PgWireResult<()> {
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
pub(super) struct Words<'a> {
    pub(super) rest: &'a str,
}

impl Words<'_> {
    pub(super) fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub(super) fn expect(&mut self, text: &str) -> PgWireResult<()> {
        let shown: String = self.rest.chars().take(40).collect();
        if self.take(text) { Ok(()) } else { Err(fault("42601", format!("{text:?} expected at {shown:?}"))) }
    }

    pub(super) fn end(&self) -> PgWireResult<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(fault("42601", "more than one statement")) }
    }

    /// A text between quotes, which are doubled inside.
    pub(super) fn quoted(&mut self, quote: char) -> PgWireResult<String> {
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

    pub(super) fn name(&mut self) -> PgWireResult<String> {
        self.quoted('"')
    }

    /// The name of a table, which is in the schema public.
    pub(super) fn table(&mut self) -> PgWireResult<String> {
        let name = self.name()?;
        if name == "public" && self.take(".") { self.name() } else { Ok(name) }
    }

    pub(super) fn literal(&mut self) -> PgWireResult<Literal> {
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

    pub(super) fn column(&mut self, tag: bool) -> PgWireResult<Column> {
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

    pub(super) fn columns(&mut self, tag: bool) -> PgWireResult<Vec<Column>> {
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
