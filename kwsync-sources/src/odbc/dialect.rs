//! What differs between the servers behind drivers: quotes, literals, what a session begins with.

use kwsync_core::{Error, ErrorKind, Result, TableId};

/// The server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    PostgreSql,
    MySql,
    MsSql,
    Oracle,
    Sqlite,
    Other,
}

/// How SQL is written for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) server: Server,
    /// What stands on both sides of a name; none where names cannot be quoted.
    quote: Option<char>,
}

impl Dialect {
    /// By what the driver says the server is, and how names are quoted.
    pub(super) fn of(name: &str, quote: Option<char>) -> Self {
        let name = name.to_ascii_lowercase();
        let server = match name.as_str() {
            name if name.contains("postgres") => Server::PostgreSql,
            name if name.contains("mysql") || name.contains("maria") => Server::MySql,
            name if name.contains("sql server") => Server::MsSql,
            name if name.contains("oracle") => Server::Oracle,
            name if name.contains("sqlite") => Server::Sqlite,
            _ => Server::Other,
        };
        let quote = match server {
            Server::MySql => Some('`'),
            _ => quote.filter(|quote| !quote.is_whitespace()),
        };
        Self { server, quote }
    }

    /// What a session begins with, so that what comes does not depend on the server's settings.
    pub(super) fn begin(&self) -> &'static [&'static str] {
        match self.server {
            Server::PostgreSql => &["SET TIME ZONE 'UTC'", "SET extra_float_digits = 3"],
            Server::MySql => &["SET SESSION time_zone = '+00:00'"],
            Server::Oracle => {
                &["ALTER SESSION SET TIME_ZONE = 'UTC'", "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,'"]
            }
            _ => &[],
        }
    }

    /// A name as an identifier, its case kept.
    pub(super) fn quote(&self, name: &str) -> Result<String> {
        let fault = |text: String| Err(Error::new(ErrorKind::Schema, text).with_code("bad_name"));
        if name.is_empty() || name.contains('\0') {
            return fault(format!("{name:?} cannot be a name"));
        }
        if self.server == Server::MsSql {
            return Ok(format!("[{}]", name.replace(']', "]]")));
        }
        match self.quote {
            Some(quote) => Ok(format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))),
            None if name.chars().all(|c| c.is_alphanumeric() || c == '_') => Ok(name.to_owned()),
            None => fault(format!("the driver has no way to quote the name {name:?}")),
        }
    }

    /// A table's name with its schema.
    pub(super) fn table(&self, table: &TableId) -> Result<String> {
        match table.schema() {
            Some(schema) => Ok(format!("{}.{}", self.quote(schema)?, self.quote(table.name())?)),
            None => self.quote(table.name()),
        }
    }

    /// A text as a literal.
    pub(super) fn text(&self, text: &str) -> String {
        let doubled = text.replace('\'', "''");
        match self.server {
            Server::MsSql | Server::Oracle => format!("N'{doubled}'"),
            Server::MySql => format!("'{}'", doubled.replace('\\', "\\\\")),
            _ => format!("'{doubled}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_break_out() {
        let of = |name: &str| Dialect::of(name, Some('"'));
        for (server, name, text) in [
            ("PostgreSQL", "\"a\"\"]`b\"", "'it''s \\'"),
            ("MariaDB", "`a\"]``b`", "'it''s \\\\'"),
            ("Microsoft SQL Server", "[a\"]]`b]", "N'it''s \\'"),
            ("Oracle", "\"a\"\"]`b\"", "N'it''s \\'"),
            ("SQLite", "\"a\"\"]`b\"", "'it''s \\'"),
        ] {
            assert_eq!(of(server).quote("a\"]`b").unwrap(), name, "{server}");
            assert_eq!(of(server).text("it's \\"), text, "{server}");
        }
        let none = Dialect::of("Something", None);
        assert_eq!(none.quote("plain_1").unwrap(), "plain_1");
        assert!(none.quote("a b").is_err() && none.quote("").is_err());
        assert_eq!(of("SQLite").table(&TableId::with_schema("s", "t.u")).unwrap(), "\"s\".\"t.u\"");
    }
}
