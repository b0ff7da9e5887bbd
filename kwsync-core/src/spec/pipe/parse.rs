//! The statements, out of `sqlparser`'s tokens.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{Attributes, PipeDefinition, PipeStatement};
use crate::config::did_you_mean;
use crate::{Error, Result};

/// Reads all statements of `text`, with or without `;` between them.
pub(super) fn statements(text: &str) -> Result<Vec<PipeStatement>> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|error| {
        Error::config(format!(
            "line {}, column {}: {}",
            error.location.line, error.location.column, error.message
        ))
        .with_hint("keys and values stand in '...'")
    })?;
    let tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut parser = Parser { tokens: &tokens, at: 0 };
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
    tokens: &'a [TokenWithSpan],
    at: usize,
}

/// What begins a statement.
const BEGINNINGS: [&str; 5] = ["CREATE", "START", "STOP", "DROP", "SHOW"];

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.word().is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    /// A fault at the current place.
    fn fault(&self, wanted: &str) -> Error {
        match self.tokens.get(self.at) {
            Some(token) => {
                let place = token.span.start;
                Error::config(format!(
                    "line {}, column {}: {} where {wanted} belongs",
                    place.line,
                    place.column,
                    shown(&token.token)
                ))
            }
            None => incomplete(format!("the statement ends where {wanted} belongs")),
        }
    }

    fn expect_word(&mut self, wanted: &str) -> Result<()> {
        if self.take_word(wanted) { Ok(()) } else { Err(self.fault(wanted)) }
    }

    fn expect(&mut self, token: &Token, wanted: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.fault(wanted)) }
    }

    fn statement(&mut self) -> Result<PipeStatement> {
        let Some(first) = self.word().map(str::to_ascii_uppercase) else {
            return Err(self.fault("CREATE, START, STOP, DROP or SHOW"));
        };
        if !BEGINNINGS.contains(&first.as_str()) {
            let meant = did_you_mean(&first, BEGINNINGS);
            let fault = self.fault("CREATE, START, STOP, DROP or SHOW");
            return Err(Error::config(format!("{}{meant}", fault.message())).with_hint(
                "the statements are CREATE|START|STOP|DROP PIPE name, SHOW PIPE[S], SHOW PIPEPLUGINS",
            ));
        }
        self.at += 1;
        match first.as_str() {
            "CREATE" => {
                self.expect_word("PIPE")?;
                self.create().map(PipeStatement::Create)
            }
            "SHOW" => self.show(),
            other => {
                self.expect_word("PIPE")?;
                let name = self.name()?;
                Ok(match other {
                    "START" => PipeStatement::Start(name),
                    "STOP" => PipeStatement::Stop(name),
                    _ => PipeStatement::Drop(name),
                })
            }
        }
    }

    fn show(&mut self) -> Result<PipeStatement> {
        if self.take_word("PIPEPLUGINS") {
            return Ok(PipeStatement::ShowPlugins);
        }
        if self.take_word("PIPE") {
            return self.name().map(|name| PipeStatement::Show(Some(name)));
        }
        if !self.take_word("PIPES") {
            return Err(self.fault("PIPE, PIPES or PIPEPLUGINS"));
        }
        if !self.take_word("WHERE") {
            return Ok(PipeStatement::Show(None));
        }
        if !self.take_word("SINK") && !self.take_word("CONNECTOR") {
            return Err(self.fault("SINK"));
        }
        self.expect_word("USED")?;
        self.expect_word("BY")?;
        self.name().map(PipeStatement::ShowSharing)
    }

    /// A word, also with `-` in it, or anything in backquotes or quotes.
    fn name(&mut self) -> Result<String> {
        let mut name = match self.peek() {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::Number(text, _)) => text.clone(),
            Some(Token::SingleQuotedString(text)) => text.clone(),
            _ => return Err(self.fault("the name of a pipe")),
        };
        let quoted = match self.peek() {
            Some(Token::Word(word)) => word.quote_style.is_some(),
            other => !matches!(other, Some(Token::Number(..))),
        };
        self.at += 1;
        while !quoted && self.adjoins() {
            match self.peek() {
                Some(Token::Minus) => name.push('-'),
                Some(Token::Word(word)) if word.quote_style.is_none() => name.push_str(&word.value),
                Some(Token::Number(text, _)) => name.push_str(text),
                Some(Token::Period) => name.push('.'),
                _ => break,
            }
            self.at += 1;
        }
        if name.is_empty() {
            return Err(Error::config("a pipe needs a name"));
        }
        Ok(name)
    }

    /// Whether no blank stands before the current token.
    fn adjoins(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        matches!((before, self.tokens.get(self.at)), (Some(before), Some(now)) if before.span.end == now.span.start)
    }

    fn create(&mut self) -> Result<PipeDefinition> {
        if self.take_word("IF") {
            return Err(Error::config("IF NOT EXISTS is not known: SHOW PIPES tells which there are"));
        }
        let name = self.name()?;
        let mut parts: [Option<Attributes>; 3] = [None, None, None];
        while self.take_word("WITH") {
            let (part, prefixes) = if self.take_word("SOURCE") || self.take_word("EXTRACTOR") {
                (0, ["source", "extractor"])
            } else if self.take_word("PROCESSOR") {
                (1, ["processor", "processor"])
            } else if self.take_word("SINK") || self.take_word("CONNECTOR") {
                (2, ["sink", "connector"])
            } else {
                return Err(self.fault("SOURCE, PROCESSOR or SINK"));
            };
            let place = self.fault("");
            let attributes = self.attributes(prefixes)?;
            match parts.get_mut(part) {
                Some(none @ None) => *none = Some(attributes),
                _ => {
                    let text = place.message().split(':').next().unwrap_or_default().to_owned();
                    return Err(Error::config(format!(
                        "{text}: WITH {} stands twice",
                        prefixes[0].to_uppercase()
                    )));
                }
            }
        }
        let [source, processor, sink] = parts;
        let Some(sink) = sink else {
            let fault = self.fault("WITH SINK (...)");
            let text = format!("pipe {name} has no sink: {}", fault.message());
            let fault = if self.peek().is_none() { incomplete(text) } else { Error::config(text) };
            return Err(fault
                .with_hint("CREATE PIPE name WITH SINK ('sink'='postgres', 'sink.dsn'='postgres://...')"));
        };
        if sink.plugin("sink").is_none() {
            return Err(Error::config(format!("the sink of pipe {name} does not say what it is"))
                .with_hint("add 'sink'='NAME'; SHOW PIPEPLUGINS lists the names"));
        }
        Ok(PipeDefinition {
            name,
            source: source.unwrap_or_default(),
            processor: processor.unwrap_or_default(),
            sink,
        })
    }

    fn attributes(&mut self, prefixes: [&str; 2]) -> Result<Attributes> {
        self.expect(&Token::LParen, "(")?;
        let mut attributes = Attributes::default();
        while !self.take(&Token::RParen) {
            let key = self.text("a key in '...'")?;
            self.expect(&Token::Eq, "=")?;
            let value = self.text("a value in '...'")?;
            let plain = prefixes
                .iter()
                .find_map(|prefix| key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')))
                .unwrap_or(&key);
            // What older versions called the parts.
            let plain = if plain == prefixes[1] { prefixes[0] } else { plain };
            if plain.is_empty() {
                return Err(Error::config(format!("the key '{key}' has nothing behind its dot")));
            }
            if !attributes.insert(plain, value) {
                return Err(Error::config(format!("'{plain}' stands twice, as '{key}' and before"))
                    .with_hint(format!("'{0}.{plain}' and '{plain}' are one key", prefixes[0])));
            }
            if !self.take(&Token::Comma) {
                self.expect(&Token::RParen, ", or )")?;
                break;
            }
        }
        Ok(attributes)
    }

    fn text(&mut self, wanted: &str) -> Result<String> {
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
            Some(Token::Word(word)) if word.quote_style == Some('"') => word.value.clone(),
            _ => return Err(self.fault(wanted)),
        };
        self.at += 1;
        Ok(text)
    }
}

/// More text may mend it, which a prompt has to know.
fn incomplete(text: String) -> Error {
    Error::config(text).with_code("incomplete")
}

fn shown(token: &Token) -> String {
    match token {
        // A value may be a secret.
        Token::SingleQuotedString(_) => "a text in '...'".to_owned(),
        other => format!("`{other}`"),
    }
}
