//! The statements, out of `sqlparser`'s tokens.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::config::Dsn;
use crate::{Error, ErrorKind, Result};

/// What stands between schema and table in a [`name`](Parser::name): a dot may be part of either.
pub(super) const SEPARATOR: char = '\u{1f}';

/// An external table.
#[derive(Debug)]
pub(super) struct ExternalTable {
    pub(super) name: String,
    pub(super) writable: bool,
    /// `"name" type, ...`; `None` where they are those of another table.
    pub(super) columns: Option<String>,
    pub(super) location: Dsn,
    pub(super) format: &'static str,
    /// Parameters of the format, in order.
    pub(super) options: Vec<(&'static str, String)>,
    /// What rows that cannot be loaded are kept under.
    pub(super) log: Option<String>,
    /// How many there may be, and whether that is a share.
    pub(super) reject_limit: Option<(u64, bool)>,
}

/// `INSERT INTO into SELECT ...`
#[derive(Debug)]
pub(super) struct Insert {
    pub(super) into: String,
    /// The statement behind INTO, as it was written.
    pub(super) select: String,
    /// The only table that it reads.
    pub(super) from: Option<String>,
    /// Whether it is `SELECT * FROM from` and nothing else.
    pub(super) all: bool,
}

#[derive(Debug)]
pub(super) enum Statement {
    Create(Box<ExternalTable>),
    Insert(Insert),
    /// One that is passed over, with the reason.
    Other(String),
}

/// Reads all statements. A line that begins with `#` is a comment, as the manual has them.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>> {
    let plain: String = text
        .split_inclusive('\n')
        .map(|line| {
            if line.trim_start().starts_with('#') {
                line.replace(|c: char| c != '\n', " ")
            } else {
                line.to_owned()
            }
        })
        .collect();
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, &plain).tokenize_with_location().map_err(|error| {
        let place = error.location;
        Error::config(format!("line {}, column {}: {}", place.line, place.column, error.message))
    })?;
    let tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut parser = Parser { text: &plain, tokens: &tokens, at: 0 };
    let mut statements = Vec::new();
    loop {
        while parser.take(&Token::SemiColon) {}
        if parser.peek().is_none() {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn is_word(&self, at: usize, wanted: &str) -> bool {
        matches!(self.tokens.get(at).map(|token| &token.token),
            Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    }

    /// Takes all of these words, or none.
    fn take_words(&mut self, wanted: &[&str]) -> bool {
        let found = wanted.iter().enumerate().all(|(by, word)| self.is_word(self.at + by, word));
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn fault(&self, wanted: &str) -> Error {
        match self.tokens.get(self.at) {
            Some(token) => {
                let place = token.span.start;
                let shown = match &token.token {
                    Token::Word(word) if word.quote_style.is_none() => format!("`{}`", word.value),
                    Token::Number(text, _) => format!("`{text}`"),
                    Token::LParen
                    | Token::RParen
                    | Token::Comma
                    | Token::SemiColon
                    | Token::Period
                    | Token::Mul => {
                        format!("`{}`", token.token)
                    }
                    // However it is quoted, it may be a location, which holds the access key.
                    _ => "a quoted text or a sign".to_owned(),
                };
                let text =
                    format!("line {}, column {}: {shown} where {wanted} belongs", place.line, place.column);
                Error::config(text)
            }
            None => Error::config(format!("the statement ends where {wanted} belongs")),
        }
    }

    fn expect(&mut self, token: &Token, wanted: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.fault(wanted)) }
    }

    fn statement(&mut self) -> Result<Statement> {
        let readable = self.take_words(&["CREATE", "READABLE", "EXTERNAL", "TABLE"]);
        if readable || self.take_words(&["CREATE", "EXTERNAL", "TABLE"]) {
            return self.external(false).map(|table| Statement::Create(Box::new(table)));
        }
        if self.take_words(&["CREATE", "WRITABLE", "EXTERNAL", "TABLE"]) {
            return self.external(true).map(|table| Statement::Create(Box::new(table)));
        }
        if self.take_words(&["INSERT", "INTO"]) {
            return self.insert().map(Statement::Insert);
        }
        let what = if self.take_words(&["CREATE", "TABLE"]) {
            "CREATE TABLE is not run: run it in the database, or add create=missing to the database's address to have the \
             table made with the columns of the external table"
        } else if self.take_words(&["CREATE", "EXTENSION"]) || self.take_words(&["DROP", "EXTENSION"]) {
            "CREATE and DROP EXTENSION mean nothing here: no plug-in is needed"
        } else if self.take_words(&["DROP", "EXTERNAL", "TABLE"]) || self.take_words(&["DROP", "TABLE"]) {
            "DROP TABLE is not run: external tables are those of the file, and others are the database's"
        } else if self.take_words(&["EXPLAIN"]) {
            "EXPLAIN is not run: --dry-run shows what would be done"
        } else if self.take_words(&["SELECT"]) {
            "SELECT is not run: rows that cannot be loaded are in the file of --errors"
        } else {
            return Err(self.fault("CREATE EXTERNAL TABLE or INSERT INTO"));
        };
        while self.peek().is_some_and(|token| *token != Token::SemiColon) {
            self.at += 1;
        }
        Ok(Statement::Other(what.to_owned()))
    }

    /// A table's name, with [`SEPARATOR`] behind its schema; in lower case where it is not quoted.
    fn name(&mut self) -> Result<String> {
        let mut name = self.word()?;
        while self.take(&Token::Period) {
            name = format!("{name}{SEPARATOR}{}", self.word()?);
        }
        Ok(name)
    }

    fn word(&mut self) -> Result<String> {
        let Some(Token::Word(word)) = self.peek() else { return Err(self.fault("a name")) };
        let name = match word.quote_style {
            None => word.value.to_lowercase(),
            Some(_) => word.value.clone(),
        };
        self.at += 1;
        Ok(name)
    }

    fn string(&mut self, wanted: &str) -> Result<String> {
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            _ => return Err(self.fault(wanted)),
        };
        self.at += 1;
        Ok(text)
    }

    /// Behind `CREATE ... EXTERNAL TABLE`.
    fn external(&mut self, writable: bool) -> Result<ExternalTable> {
        let name = self.name()?;
        let columns = self.columns()?;
        if !self.take_words(&["LOCATION"]) {
            return Err(self.fault("LOCATION"));
        }
        let location = self.location()?;
        if !self.take_words(&["FORMAT"]) {
            return Err(self.fault("FORMAT 'TEXT' or FORMAT 'CSV'"));
        }
        let format = match self.string("'TEXT' or 'CSV'")?.to_ascii_lowercase().as_str() {
            "csv" => "csv",
            "text" => "text",
            other => {
                return Err(Error::config(format!("FORMAT '{other}' of {name} is neither TEXT nor CSV")));
            }
        };
        let mut options = Vec::new();
        if self.take(&Token::LParen) {
            // The manual writes two of them.
            let twice = self.take(&Token::LParen);
            while !self.take(&Token::RParen) {
                options.push(self.option()?);
                // Commas between them are tolerated.
                self.take(&Token::Comma);
            }
            if twice {
                self.expect(&Token::RParen, ")")?;
            }
        }
        let mut table = ExternalTable {
            name,
            writable,
            columns,
            location,
            format,
            options,
            log: None,
            reject_limit: None,
        };
        self.clauses(&mut table)?;
        Ok(table)
    }

    /// `( name type, ... )` as parameter `columns`, or `( LIKE other )`.
    fn columns(&mut self) -> Result<Option<String>> {
        self.expect(&Token::LParen, "( and the columns")?;
        if self.take_words(&["LIKE"]) {
            self.name()?;
            self.expect(&Token::RParen, ")")?;
            return Ok(None);
        }
        let mut columns = Vec::new();
        loop {
            let name = self.word()?;
            if name.contains('"') {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("the column {name:?} has a quote in its name"),
                ));
            }
            let (begin, mut depth) = (self.at, 0);
            let mut data_type = String::new();
            while let Some(token) = self.peek() {
                match token {
                    Token::LParen => depth += 1,
                    Token::RParen if depth == 0 => break,
                    Token::RParen => depth -= 1,
                    Token::Comma if depth == 0 => break,
                    _ => {}
                }
                let blank = self.at > begin && matches!(token, Token::Word(_));
                data_type = format!("{data_type}{}{token}", if blank { " " } else { "" });
                self.at += 1;
            }
            if data_type.is_empty() {
                return Err(self.fault(&format!("the type of column {name}")));
            }
            columns.push(format!("\"{name}\" {}", short(&data_type)));
            if !self.take(&Token::Comma) {
                self.expect(&Token::RParen, ", or )")?;
                return Ok(Some(columns.join(", ")));
            }
        }
    }

    fn location(&mut self) -> Result<Dsn> {
        self.expect(&Token::LParen, "( behind LOCATION")?;
        let place = self.fault("").message().split(": ").next().unwrap_or_default().to_owned();
        let text = self.string("'oss://...'")?;
        if self.take(&Token::Comma) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{place}: a table with several locations"),
            )
            .with_hint("make an external table of each"));
        }
        self.expect(&Token::RParen, ")")?;
        let dsn: Dsn = text.parse().map_err(|error: Error| {
            // Without its excerpt, which would show the access key.
            let made = Error::config(format!("{place}: the location is wrong: {}", error.message()));
            match error.hint() {
                Some(hint) => made.with_hint(hint.to_owned()),
                None => made,
            }
        })?;
        if !matches!(dsn.driver(), "oss" | "s3") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{place}: the location is one of `{}:`, and only oss: and s3: are known",
                    dsn.driver()
                ),
            )
            .with_hint("files, servers and others are read by kwsync run --from"));
        }
        Ok(dsn)
    }

    /// One option of the format, as its parameter.
    fn option(&mut self) -> Result<(&'static str, String)> {
        for (words, parameter) in
            [(&["HEADER"][..], "header"), (&["FILL", "MISSING", "FIELDS"], "fill_missing_fields")]
        {
            if self.take_words(words) {
                return Ok((parameter, "true".to_owned()));
            }
        }
        for (words, parameter) in
            [(&["FORCE", "NOT", "NULL"][..], "force_not_null"), (&["FORCE", "QUOTE"], "force_quote")]
        {
            if self.take_words(words) {
                return Ok((parameter, self.list()?));
            }
        }
        for (word, parameter) in [
            ("DELIMITER", "delimiter"),
            ("NULL", "null"),
            ("QUOTE", "quote"),
            ("ESCAPE", "escape"),
            ("NEWLINE", "newline"),
        ] {
            if self.take_words(&[word]) {
                self.take_words(&["AS"]);
                let value = self.string("a text in '...'")?;
                return Ok((parameter, quoted(parameter, value)));
            }
        }
        Err(self.fault("HEADER, DELIMITER, NULL, QUOTE, ESCAPE, NEWLINE, FORCE or FILL MISSING FIELDS"))
    }

    fn list(&mut self) -> Result<String> {
        if self.take(&Token::Mul) {
            return Ok("*".to_owned());
        }
        let mut names = vec![self.word()?];
        while self.take(&Token::Comma) {
            names.push(self.word()?);
        }
        Ok(names.join(","))
    }

    /// What may stand behind the format.
    fn clauses(&mut self, table: &mut ExternalTable) -> Result<()> {
        loop {
            if self.take_words(&["ENCODING"]) {
                let encoding = self.string("the name of an encoding in '...'")?;
                table.options.push(("encoding", encoding));
            } else if self.take_words(&["LOG", "ERRORS"]) {
                let own = table.name.replace(SEPARATOR, ".");
                table.log = Some(match self.take_words(&["INTO"]) {
                    true => self.name()?.replace(SEPARATOR, "."),
                    false => own,
                });
                self.take_words(&["KEEP"]);
            } else if self.take_words(&["SEGMENT", "REJECT", "LIMIT"]) {
                let count = match self.peek() {
                    Some(Token::Number(text, _)) => text.parse().ok(),
                    _ => None,
                };
                let Some(count) = count else { return Err(self.fault("a whole number")) };
                self.at += 1;
                let percent = self.take_words(&["PERCENT"]);
                if !percent {
                    self.take_words(&["ROWS"]);
                }
                table.reject_limit = Some((count, percent));
            } else if self.take_words(&["DISTRIBUTED", "RANDOMLY"]) {
                // Nothing is distributed here.
            } else if self.take_words(&["DISTRIBUTED", "BY"]) {
                self.expect(&Token::LParen, "(")?;
                self.list()?;
                self.expect(&Token::RParen, ")")?;
            } else if matches!(self.peek(), None | Some(Token::SemiColon)) || self.begins() {
                return Ok(());
            } else {
                return Err(self.fault("ENCODING, LOG ERRORS, SEGMENT REJECT LIMIT, DISTRIBUTED or ;"));
            }
        }
    }

    /// Whether another statement begins here: the manual leaves `;` out in places.
    fn begins(&self) -> bool {
        ["CREATE", "INSERT", "DROP", "EXPLAIN", "SELECT"].iter().any(|word| self.is_word(self.at, word))
    }

    /// Behind `INSERT INTO`.
    fn insert(&mut self) -> Result<Insert> {
        let into = self.name()?;
        let begin = self.at;
        if !self.take_words(&["SELECT"]) {
            return Err(self.fault("SELECT"));
        }
        let star = self.take(&Token::Mul);
        while self.peek().is_some_and(|token| *token != Token::SemiColon) && !self.is_word(self.at, "FROM") {
            self.at += 1;
        }
        let plain = star && self.at == begin + 2;
        let from = if self.take_words(&["FROM"]) { self.name().ok() } else { None };
        let all = plain && from.is_some() && matches!(self.peek(), None | Some(Token::SemiColon));
        while self.peek().is_some_and(|token| *token != Token::SemiColon) {
            self.at += 1;
        }
        Ok(Insert { into, select: self.written(begin), from, all })
    }

    /// The text of the tokens from `begin` on up to the present one.
    fn written(&self, begin: usize) -> String {
        let byte = |line: u64, column: u64| {
            let before: usize =
                self.text.split_inclusive('\n').take(line.saturating_sub(1) as usize).map(str::len).sum();
            let rest = self.text.get(before..).unwrap_or_default();
            let within = rest.char_indices().nth(column.saturating_sub(1) as usize);
            before + within.map_or(rest.len(), |(at, _)| at)
        };
        let (Some(first), Some(last)) =
            (self.tokens.get(begin), self.at.checked_sub(1).and_then(|at| self.tokens.get(at)))
        else {
            return String::new();
        };
        let (from, to) = (first.span.start, last.span.end);
        self.text.get(byte(from.line, from.column)..byte(to.line, to.column)).unwrap_or_default().to_owned()
    }
}

/// A type as it is called here, where the standard's name has several words.
fn short(data_type: &str) -> String {
    let lower = data_type.to_ascii_lowercase();
    for (long, name, ending) in [
        ("timestamp", "timestamptz", " with time zone"),
        ("timestamp", "timestamp", " without time zone"),
        ("time", "timetz", " with time zone"),
        ("time", "time", " without time zone"),
    ] {
        let rest = lower.strip_suffix(ending).and_then(|front| front.strip_prefix(long));
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('(')) {
            return format!("{name}{rest}");
        }
    }
    data_type.to_owned()
}

/// A value as the parameter takes it: what is empty or a control character by another name.
fn quoted(parameter: &str, value: String) -> String {
    match (parameter, value.as_str()) {
        ("delimiter" | "quote" | "escape", "") => "off".to_owned(),
        (_, "\t") => "\\t".to_owned(),
        // An empty value would count as none given.
        ("null", _) => format!("'{value}'"),
        _ => value,
    }
}
