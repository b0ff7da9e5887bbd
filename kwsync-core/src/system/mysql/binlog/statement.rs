//! What a statement in the log does to tables, as far as it matters to whoever follows their rows.

use std::fmt;

/// The name of a table in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The database, where it is named; else the one that the statement was run in.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// A transaction begins.
    Begin,
    /// It is committed.
    Commit,
    /// It is undone.
    Rollback,
    /// A part of it is undone.
    RollbackTo,
    /// A place in it to which it might be undone.
    Savepoint,
    /// A part of a transaction of two phases: `XA START`, `XA COMMIT` and so on; the second word.
    Xa(String),
    /// A table is emptied.
    Truncate(Name),
    /// Tables are dropped, or made anew where they were.
    Drop(Vec<Name>),
    /// A database is dropped.
    DropDatabase(String),
    /// Tables get other names.
    Rename(Vec<(Name, Name)>),
    /// A table is altered.
    Alter {
        /// The table.
        table: Name,
        /// Its new name.
        renamed: Option<Name>,
        /// What of its rows comes or goes without a word in the log: `TRUNCATE PARTITION`.
        moves: Option<String>,
        /// The other table that they come from or go to.
        with: Option<Name>,
        /// Whether its columns may be others.
        columns: bool,
    },
    /// Rows are changed by a statement: what it does to them is not in the log.
    Changes,
    /// Nothing of that.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word without quotes.
    Word(String),
    /// A name in quotes.
    Quoted(String),
    Text,
    Other(char),
}

impl Statement {
    /// Reads a statement; `ansi_quotes` says whether text in double quotes is a name.
    pub fn parse(sql: &[u8], ansi_quotes: bool) -> Self {
        let text = String::from_utf8_lossy(sql);
        let tokens = tokens(&text, ansi_quotes);
        Parser { tokens: &tokens }.statement()
    }

    /// Whether a statement holds `name` as a name: a table that it may change.
    pub fn mentions(sql: &[u8], ansi_quotes: bool, name: &str) -> bool {
        let text = String::from_utf8_lossy(sql);
        tokens(&text, ansi_quotes).iter().any(|token| match token {
            Token::Word(word) | Token::Quoted(word) => word.eq_ignore_ascii_case(name),
            _ => false,
        })
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    /// Whether this word comes; it is taken then.
    fn takes(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.first(), Some(Token::Word(own)) if own.eq_ignore_ascii_case(word));
        if is {
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        is
    }

    fn takes_one(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.takes(word))
    }

    fn takes_sign(&mut self, sign: char) -> bool {
        let is = self.tokens.first() == Some(&Token::Other(sign));
        if is {
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        is
    }

    fn word(&mut self) -> Option<String> {
        match self.tokens.split_first() {
            Some((Token::Word(word) | Token::Quoted(word), rest)) => {
                self.tokens = rest;
                Some(word.clone())
            }
            _ => None,
        }
    }

    fn name(&mut self) -> Option<Name> {
        let first = self.word()?;
        match self.takes_sign('.') {
            true => Some(Name { schema: Some(first), name: self.word()? }),
            false => Some(Name { schema: None, name: first }),
        }
    }

    fn if_exists(&mut self) {
        if self.takes("if") {
            self.takes("not");
            self.takes("exists");
        }
    }

    fn statement(&mut self) -> Statement {
        // MariaDB: SET STATEMENT variable=value FOR ...
        if self.takes("set") {
            if !self.takes("statement") {
                return Statement::Other;
            }
            while !self.takes("for") {
                match self.tokens.split_first() {
                    Some((_, rest)) => self.tokens = rest,
                    None => return Statement::Other,
                }
            }
        }
        if self.takes("begin") || (self.takes("start") && self.takes("transaction")) {
            return Statement::Begin;
        }
        if self.takes("commit") {
            return Statement::Commit;
        }
        if self.takes("rollback") {
            return if self.takes("to") { Statement::RollbackTo } else { Statement::Rollback };
        }
        if self.takes_one(&["savepoint", "release"]) {
            return Statement::Savepoint;
        }
        if self.takes("xa") {
            return Statement::Xa(self.word().unwrap_or_default().to_ascii_uppercase());
        }
        if self.takes_one(&[
            "insert", "update", "delete", "replace", "load", "call", "do", "select", "with", "import",
        ]) {
            return Statement::Changes;
        }
        if self.takes("truncate") {
            self.takes("table");
            return self.name().map_or(Statement::Other, Statement::Truncate);
        }
        if self.takes("drop") {
            return self.drop_();
        }
        if self.takes("rename") {
            return self.rename();
        }
        if self.takes("alter") {
            return self.alter();
        }
        if self.takes("create") {
            let replaces = self.takes("or") && self.takes("replace");
            if self.takes("temporary") || !self.takes("table") {
                return Statement::Other;
            }
            self.if_exists();
            let name = self.name();
            return match name {
                Some(name) if replaces => Statement::Drop(vec![name]),
                _ => Statement::Other,
            };
        }
        Statement::Other
    }

    fn drop_(&mut self) -> Statement {
        if self.takes_one(&["database", "schema"]) {
            self.if_exists();
            return self.word().map_or(Statement::Other, Statement::DropDatabase);
        }
        if self.takes("index") {
            self.if_exists();
            self.word();
            let table = self.takes("on").then(|| self.name()).flatten();
            return table.map_or(Statement::Other, |table| Statement::Alter {
                table,
                renamed: None,
                moves: None,
                with: None,
                columns: false,
            });
        }
        if self.takes("temporary") || !self.takes_one(&["table", "tables"]) {
            return Statement::Other;
        }
        self.if_exists();
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            if !self.takes_sign(',') {
                break;
            }
        }
        Statement::Drop(names)
    }

    fn rename(&mut self) -> Statement {
        if !self.takes_one(&["table", "tables"]) {
            return Statement::Other;
        }
        self.if_exists();
        let mut names = Vec::new();
        while let Some(from) = self.name() {
            self.wait();
            let Some(to) = self.takes("to").then(|| self.name()).flatten() else { break };
            names.push((from, to));
            if !self.takes_sign(',') {
                break;
            }
        }
        Statement::Rename(names)
    }

    fn wait(&mut self) {
        if self.takes("wait") {
            self.word();
        } else {
            self.takes("nowait");
        }
    }

    fn alter(&mut self) -> Statement {
        self.takes("online");
        let ignores = self.takes("ignore");
        if !self.takes("table") {
            return Statement::Other;
        }
        self.if_exists();
        let Some(table) = self.name() else { return Statement::Other };
        self.wait();
        let (mut renamed, mut with, mut columns) = (None, None, false);
        // Rows that are twice for a unique index go.
        let mut moves = ignores.then(|| "IGNORE".to_owned());
        let mut depth = 0_usize;
        let mut first = true;
        while let Some(token) = self.tokens.first() {
            let begins = std::mem::replace(&mut first, false) && depth == 0;
            match token {
                Token::Other('(') => depth += 1,
                Token::Other(')') => depth = depth.saturating_sub(1),
                Token::Other(',') if depth == 0 => first = true,
                _ => {}
            }
            if begins {
                if self.takes("rename") {
                    let _ = self.takes_one(&["to", "as"]) || self.takes_sign('=');
                    if self.takes("column") {
                        columns = true;
                    } else if !self.takes_one(&["index", "key"]) {
                        renamed = self.name();
                    }
                    continue;
                }
                let what = match token {
                    Token::Word(word) => word.to_ascii_uppercase(),
                    _ => String::new(),
                };
                columns |= self.touches_columns(&what);
                if matches!(
                    what.as_str(),
                    "TRUNCATE" | "DROP" | "EXCHANGE" | "DISCARD" | "IMPORT" | "CONVERT"
                ) {
                    self.takes(&what);
                    if matches!(what.as_str(), "DISCARD" | "IMPORT") || self.takes("partition") {
                        moves = Some(format!("{what} PARTITION"));
                    } else if what == "CONVERT" && self.takes("table") {
                        moves = Some("CONVERT TABLE".to_owned());
                        with = self.name();
                    } else if what == "DROP" && self.takes("system") {
                        moves = Some("DROP SYSTEM VERSIONING".to_owned());
                    }
                    continue;
                }
            }
            if moves.is_some() && depth == 0 && self.takes("table") {
                with = self.name();
                continue;
            }
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        Statement::Alter { table, renamed, moves, with, columns }
    }

    /// Whether a part of `ALTER TABLE` that begins with a word here may make other columns. What is not known may.
    fn touches_columns(&self, what: &str) -> bool {
        let next = match self.tokens.get(1) {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        match what {
            "ADD" => !matches!(
                next.as_str(),
                "INDEX"
                    | "KEY"
                    | "UNIQUE"
                    | "PRIMARY"
                    | "FULLTEXT"
                    | "SPATIAL"
                    | "CONSTRAINT"
                    | "FOREIGN"
                    | "CHECK"
                    | "PARTITION"
            ),
            "DROP" => !matches!(
                next.as_str(),
                "INDEX" | "KEY" | "PRIMARY" | "FOREIGN" | "CHECK" | "CONSTRAINT" | "PARTITION"
            ),
            "CONVERT" => !matches!(next.as_str(), "PARTITION" | "TABLE"),
            "ALTER" | "ALGORITHM" | "ANALYZE" | "AUTO_INCREMENT" | "CHECK" | "COALESCE" | "COMMENT"
            | "DISABLE" | "DISCARD" | "ENABLE" | "ENGINE" | "EXCHANGE" | "FORCE" | "IMPORT" | "LOCK"
            | "OPTIMIZE" | "ORDER" | "PARTITION" | "REBUILD" | "REMOVE" | "REORGANIZE" | "REPAIR"
            | "ROW_FORMAT" | "TRUNCATE" => false,
            _ => true,
        }
    }
}

/// The words of a statement. What stands in comments for some versions counts, and other comments do not.
fn tokens(text: &str, ansi_quotes: bool) -> Vec<Token> {
    let mut made = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '#' => while chars.next().is_some_and(|c| c != '\n') {},
            '-' if chars.peek() == Some(&'-') => while chars.next().is_some_and(|c| c != '\n') {},
            '/' if chars.peek() == Some(&'*') => {
                chars.next();
                // /*!50003 ... */ and /*M!100100 ... */
                if chars.peek() == Some(&'M') {
                    chars.next();
                }
                if chars.peek() == Some(&'!') {
                    chars.next();
                    while chars.peek().is_some_and(char::is_ascii_digit) {
                        chars.next();
                    }
                    continue;
                }
                let mut star = false;
                for c in chars.by_ref() {
                    if star && c == '/' {
                        break;
                    }
                    star = c == '*';
                }
            }
            '*' if chars.peek() == Some(&'/') => drop(chars.next()),
            '`' | '"' | '\'' => {
                let name = c == '`' || (c == '"' && ansi_quotes);
                let mut inside = String::new();
                while let Some(next) = chars.next() {
                    if next == '\\' && !name {
                        chars.next();
                    } else if next != c {
                        inside.push(next);
                    } else if chars.peek() == Some(&c) {
                        inside.push(c);
                        chars.next();
                    } else {
                        break;
                    }
                }
                made.push(if name { Token::Quoted(inside) } else { Token::Text });
            }
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| is_word(*c)) {
                    word.push(c);
                }
                made.push(Token::Word(word));
            }
            c => made.push(Token::Other(c)),
        }
    }
    made
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}
