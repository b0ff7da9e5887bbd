//! Statements, cut into words.

use super::{Column, Done, Literal, fault};

#[derive(Clone, Debug, PartialEq)]
enum Word {
    /// In lower case, without backticks.
    Plain(String),
    /// Between backticks.
    Name(String),
    Number(String),
    Text(String),
    Sign(char),
}

/// A statement, taken apart from its front.
pub(super) struct Words {
    words: Vec<Word>,
    at: usize,
}

/// A type's word and its length: `VARCHAR`, 20.
pub(super) fn split_type(sql_type: &str) -> (&str, usize) {
    match sql_type.split_once('(') {
        Some((word, rest)) => {
            (word, rest.trim_end_matches(')').split(',').next().and_then(|n| n.parse().ok()).unwrap_or(0))
        }
        None => {
            let length = match sql_type {
                "BOOL" | "TINYINT" | "TINYINT UNSIGNED" => 1,
                "SMALLINT" | "SMALLINT UNSIGNED" => 2,
                "INT" | "INT UNSIGNED" | "FLOAT" => 4,
                "JSON" => 4_095,
                _ => 8,
            };
            (sql_type, length)
        }
    }
}

impl Words {
    pub(super) fn new(sql: &str) -> Done<Self> {
        let mut words = Vec::new();
        let mut chars = sql.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c.is_whitespace() => {}
                '`' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some((_, '`')) => break,
                            Some((_, c)) => name.push(c),
                            None => return fault(0x2600, "syntax error near: unclosed `"),
                        }
                    }
                    words.push(Word::Name(name));
                }
                '\'' | '"' => {
                    let mut text = String::new();
                    loop {
                        let Some((_, next)) = chars.next() else {
                            return fault(0x2600, "syntax error near: unclosed quote");
                        };
                        if next == c {
                            if chars.next_if(|(_, again)| *again == c).is_none() {
                                break;
                            }
                            text.push(c);
                        } else if next == '\\' {
                            match chars.next().map(|(_, escaped)| escaped) {
                                Some('n') => text.push('\n'),
                                Some('r') => text.push('\r'),
                                Some('t') => text.push('\t'),
                                // These keep their backslash.
                                Some(kept @ ('%' | '_' | 'x')) => text.extend(['\\', kept]),
                                Some(other) => text.push(other),
                                None => return fault(0x2600, "syntax error near: unclosed quote"),
                            }
                        } else {
                            text.push(next);
                        }
                    }
                    words.push(Word::Text(text));
                }
                c if c.is_ascii_digit()
                    || (c == '-' && chars.peek().is_some_and(|(_, next)| next.is_ascii_digit())) =>
                {
                    let mut end = at + 1;
                    let mut before = c;
                    while let Some((next_at, next)) = chars.next_if(|(_, next)| {
                        next.is_ascii_alphanumeric()
                            || *next == '.'
                            || (matches!(next, '+' | '-') && matches!(before, 'e' | 'E'))
                    }) {
                        before = next;
                        end = next_at + next.len_utf8();
                    }
                    words.push(Word::Number(sql.get(at..end).unwrap_or_default().to_owned()));
                }
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let mut end = at + 1;
                    while let Some((next_at, _)) =
                        chars.next_if(|(_, next)| next.is_ascii_alphanumeric() || *next == '_')
                    {
                        end = next_at + 1;
                    }
                    words.push(Word::Plain(sql.get(at..end).unwrap_or_default().to_ascii_lowercase()));
                }
                '<' | '>' if chars.next_if(|(_, next)| *next == '=').is_some() => {
                    // Two signs that have none of their own.
                    words.push(Word::Sign(if c == '<' { '≤' } else { '≥' }));
                }
                c if "(),.=<>*;-".contains(c) => words.push(Word::Sign(c)),
                c => return fault(0x2600, format!("syntax error near {c:?}")),
            }
        }
        Ok(Self { words, at: 0 })
    }

    pub(super) fn syntax<T>(&self) -> Done<T> {
        fault(
            0x2600,
            format!(
                "syntax error near {:?}",
                self.words.get(self.at..).map(|rest| &rest[..rest.len().min(4)])
            ),
        )
    }

    /// Takes a word, or a sign.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = match self.words.get(self.at) {
            Some(Word::Plain(own)) => own == word,
            Some(Word::Sign(own)) => word.chars().eq([*own]),
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    /// Whether a sign is next.
    pub(super) fn is_next(&self, sign: &str) -> bool {
        matches!(self.words.get(self.at), Some(Word::Sign(own)) if sign.chars().eq([*own]))
    }

    pub(super) fn expect(&mut self, word: &str) -> Done<()> {
        if self.take(word) { Ok(()) } else { self.syntax() }
    }

    pub(super) fn is_end(&self) -> bool {
        self.at == self.words.len()
    }

    pub(super) fn end(&mut self) -> Done<()> {
        self.take(";");
        if self.is_end() { Ok(()) } else { self.syntax() }
    }

    pub(super) fn not_exists(&mut self) -> Done<bool> {
        let soft = self.take("if");
        if soft {
            self.expect("not")?;
            self.expect("exists")?;
        }
        Ok(soft)
    }

    pub(super) fn text(&mut self) -> Done<String> {
        match self.words.get(self.at) {
            Some(Word::Text(text)) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => self.syntax(),
        }
    }

    /// A name: `what` has so many bytes at most.
    pub(super) fn name(&mut self, what: &str, most: usize) -> Done<String> {
        let name = match self.words.get(self.at) {
            Some(Word::Plain(name) | Word::Name(name)) => name.clone(),
            _ => return self.syntax(),
        };
        self.at += 1;
        if name.is_empty() || name.len() > most {
            return fault(0x2617, format!("Invalid identifier name: {name}"));
        }
        if what == "table" && name.contains('.') {
            return fault(0x2617, "The table name cannot contain '.'");
        }
        Ok(name)
    }

    /// `db.table`
    pub(super) fn full_name(&mut self) -> Done<(String, String)> {
        let database = self.name("database", 64)?;
        if !self.take(".") {
            return fault(0x2616, "Database not specified");
        }
        Ok((database, self.name("table", 192)?))
    }

    pub(super) fn column(&mut self) -> Done<Column> {
        let name = self.name("column", 64)?;
        let Some(Word::Plain(word)) = self.words.get(self.at).cloned() else { return self.syntax() };
        self.at += 1;
        let mut sql_type = word.to_uppercase();
        if self.take("unsigned") {
            sql_type.push_str(" UNSIGNED");
        }
        if self.take("(") {
            let mut numbers = Vec::new();
            loop {
                match self.literal()? {
                    Literal::Number(number) => numbers.push(number),
                    _ => return self.syntax(),
                }
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
            sql_type = format!("{sql_type}({})", numbers.join(", "));
        }
        if sql_type.starts_with("BINARY(") {
            sql_type = sql_type.replacen("BINARY", "VARCHAR", 1);
        }
        let (kind, length) = split_type(&sql_type);
        let known = [
            "TIMESTAMP",
            "BOOL",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "TINYINT UNSIGNED",
            "SMALLINT UNSIGNED",
            "INT UNSIGNED",
            "BIGINT UNSIGNED",
            "FLOAT",
            "DOUBLE",
            "VARCHAR",
            "NCHAR",
            "VARBINARY",
            "JSON",
            "DECIMAL",
            "GEOMETRY",
        ];
        if !known.contains(&kind) {
            return self.syntax();
        }
        let wants = matches!(kind, "VARCHAR" | "NCHAR" | "VARBINARY" | "DECIMAL");
        if wants != sql_type.contains('(') && kind != "GEOMETRY"
            || (wants && (length == 0 || length > 65_517))
        {
            return fault(0x2642, format!("Invalid column length for var length type: {name}"));
        }
        let key = self.take("primary");
        if key {
            self.expect("key")?;
        }
        Ok(Column { name, sql_type, key })
    }

    pub(super) fn columns(&mut self) -> Done<Vec<Column>> {
        self.expect("(")?;
        let mut columns: Vec<Column> = Vec::new();
        loop {
            let column = self.column()?;
            if columns.iter().any(|known| known.name == column.name) {
                return fault(0x263c, "Duplicated column names");
            }
            columns.push(column);
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(columns)
    }

    /// A list of names between parentheses.
    pub(super) fn names(&mut self) -> Done<Vec<String>> {
        self.expect("(")?;
        let mut names = Vec::new();
        loop {
            names.push(self.name("column", 64)?);
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(names)
    }

    pub(super) fn literal(&mut self) -> Done<Literal> {
        let literal = match self.words.get(self.at) {
            Some(Word::Number(number)) => Literal::Number(number.clone()),
            Some(Word::Text(text)) => Literal::Text(text.clone()),
            Some(Word::Plain(word)) => match word.as_str() {
                "null" => Literal::Null,
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                _ => return self.syntax(),
            },
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(literal)
    }

    /// A list of literals between parentheses.
    pub(super) fn literals(&mut self) -> Done<Vec<Literal>> {
        self.expect("(")?;
        let mut literals = Vec::new();
        loop {
            literals.push(self.literal()?);
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(literals)
    }
}
