//! Rows of a statement as they come, by the extended protocol, each column in the form that was asked for.

use bytes::Buf;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use super::connection::{Connection, protocol};
use super::error::ServerError;
use crate::{Error, Result};

/// The form of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As text.
    Text,
    /// As binary, of the type that [`describe`](Connection::describe) tells.
    Binary,
}

/// The rows of a statement under way.
#[derive(Debug)]
pub struct RowStream<'a> {
    connection: &'a mut Connection,
    done: bool,
}

impl Connection {
    /// Runs `sql`, one statement without parameters, and streams its rows; `forms` says for each column how its values
    /// come.
    ///
    /// # Errors
    /// When the connection is lost. What the server says comes with the first [`read`](RowStream::read).
    ///
    /// # Cancel safety
    /// Dropping the future breaks the session.
    pub async fn stream(&mut self, sql: &str, forms: &[Form]) -> Result<RowStream<'_>> {
        self.start()?;
        let nul = |error: std::io::Error| Error::config("a statement holds a NUL").with_source(error);
        frontend::parse("", sql, [], &mut self.output).map_err(nul)?;
        let forms = forms.iter().map(|form| i16::from(*form == Form::Binary));
        let none: [Option<&str>; 0] = [];
        frontend::bind(
            "",
            "",
            [],
            none,
            |_: Option<&str>, _| Ok(postgres_protocol::IsNull::Yes),
            forms,
            &mut self.output,
        )
        .map_err(|_| Error::config("a statement has too many columns"))?;
        frontend::execute("", 0, &mut self.output).map_err(nul)?;
        frontend::sync(&mut self.output);
        self.send().await?;
        Ok(RowStream { connection: self, done: false })
    }
}

impl RowStream<'_> {
    /// Passes on all rows that have arrived, and waits where there is none. False at the end. A row is its number of
    /// columns in two bytes, and for each column its length in four (-1 for null) and its bytes: as a row of COPY BINARY.
    ///
    /// # Errors
    /// What the server says: the session goes on. What `take` says: the session is broken.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call goes on.
    pub async fn read(&mut self, mut take: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<bool> {
        while !self.done {
            let mut used = 0;
            let mut taken = Ok(());
            while let Some((&[b'D', a, b, c, d], rest)) =
                self.connection.input.get(used..).and_then(|input| input.split_first_chunk::<5>())
            {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let Some(row) = length.checked_sub(4).and_then(|length| rest.get(..length)) else { break };
                used += 1 + length;
                taken = take(row);
                if taken.is_err() {
                    break;
                }
            }
            self.connection.input.advance(used);
            taken?;
            if used > 0 {
                return Ok(true);
            }
            // No whole row is there: another message is, or more must come.
            match self.connection.parse()? {
                None => self.connection.fill().await?,
                Some(message) => match self.connection.note(message)? {
                    Some(Message::ErrorResponse(body)) => {
                        let error = ServerError::parse(body.fields()).map_err(protocol)?;
                        self.done = true;
                        self.connection.until_ready().await?;
                        return Err(error.into());
                    }
                    Some(Message::ReadyForQuery(_)) => self.done = true,
                    _ => {}
                },
            }
        }
        Ok(false)
    }
}
