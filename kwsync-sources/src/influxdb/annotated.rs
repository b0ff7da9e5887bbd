//! Annotated CSV, as Flux answers.

use kwsync_core::{Error, ErrorKind, Result};

/// A record of CSV, cut out of bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Records {
    cell: Vec<u8>,
    cells: Vec<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the beginning of a cell.
    #[default]
    Start,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the end of the cell, or the first of two.
    Quote,
}

impl Records {
    /// Takes bytes up to the end of a record; gives the record, if there is one whole, and the number of bytes taken. The record of
    /// an empty line has one empty cell.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Vec<String>>)> {
        for (at, byte) in bytes.iter().copied().enumerate() {
            match (self.state, byte) {
                (State::Start, b'"') => self.state = State::Quoted,
                (State::Quoted, b'"') => self.state = State::Quote,
                (State::Quote, b'"') => {
                    self.cell.push(b'"');
                    self.state = State::Quoted;
                }
                (State::Quoted, byte) => self.cell.push(byte),
                (_, b',') => self.end_cell()?,
                (_, b'\n') => {
                    if self.state == State::Plain && self.cell.last() == Some(&b'\r') {
                        self.cell.pop();
                    }
                    self.end_cell()?;
                    return Ok((at + 1, Some(std::mem::take(&mut self.cells))));
                }
                // A carriage return behind a quote belongs to the end of the line.
                (State::Quote, _) => {}
                (_, byte) => {
                    self.cell.push(byte);
                    self.state = State::Plain;
                }
            }
        }
        Ok((bytes.len(), None))
    }

    /// Bytes of the record that has begun.
    pub(super) fn begun(&self) -> usize {
        self.cell.len() + self.cells.iter().map(String::len).sum::<usize>()
    }

    /// The last record, where its line has no end.
    pub(super) fn finish(&mut self) -> Result<Option<Vec<String>>> {
        if self.state == State::Start && self.cells.is_empty() {
            return Ok(None);
        }
        Ok(self.push(b"\n")?.1)
    }

    fn end_cell(&mut self) -> Result<()> {
        let cell = String::from_utf8(std::mem::take(&mut self.cell)).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the server sent a text that is no UTF-8").with_source(error)
        })?;
        self.cells.push(cell);
        self.state = State::Start;
        Ok(())
    }
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row<'t> {
    pub(super) columns: &'t [Column],
    /// One a column, and more never.
    pub(super) cells: Vec<String>,
}

/// A column of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the annotation has it: `long`, `dateTime:RFC3339Nano`.
    pub(super) data_type: String,
    default: String,
}

/// The tables of an answer.
#[derive(Debug, Default)]
pub(super) struct Tables {
    columns: Vec<Column>,
    types: Vec<String>,
    defaults: Vec<String>,
    /// Whether the next line that is no annotation names the columns.
    header: bool,
    /// Whether rows are what the server complains of.
    complains: bool,
}

/// Whether these are the names of the columns of a complaint, and nothing else: rows of data have `result` and `table` before theirs,
/// so fields may be called `error` and `reference`. It may come without annotations.
fn is_complaint(cells: &[String]) -> bool {
    let names = cells.strip_prefix(&[String::new()]).unwrap_or(cells);
    names == ["error", "reference"]
}

impl Tables {
    /// Takes a record; gives it back as a row, if it is one.
    ///
    /// # Errors
    /// What the server complains of in the middle of its answer.
    pub(super) fn push(&mut self, mut cells: Vec<String>) -> Result<Option<Row<'_>>> {
        let first = cells.first().map(String::as_str).unwrap_or_default();
        match first {
            "#datatype" => (self.types, self.header) = (cells, true),
            "#default" => (self.defaults, self.header) = (cells, true),
            text if text.starts_with('#') => self.header = true,
            _ if cells.len() <= 1 => {}
            _ if self.header || is_complaint(&cells) => {
                self.header = false;
                self.complains = is_complaint(&cells);
                let (mut types, mut defaults) = (
                    std::mem::take(&mut self.types).into_iter(),
                    std::mem::take(&mut self.defaults).into_iter(),
                );
                let mut column = |name| Column {
                    name,
                    data_type: types.next().unwrap_or_default(),
                    default: defaults.next().unwrap_or_default(),
                };
                self.columns = cells.into_iter().map(&mut column).collect();
            }
            _ => {
                if cells.len() > self.columns.len() {
                    let text =
                        format!("the server sent {} cells for {} columns", cells.len(), self.columns.len());
                    return Err(Error::new(ErrorKind::Protocol, text));
                }
                cells.resize(self.columns.len(), String::new());
                for (cell, column) in cells.iter_mut().zip(&self.columns) {
                    if cell.is_empty() {
                        cell.clone_from(&column.default);
                    }
                }
                let row = Row { columns: &self.columns, cells };
                if self.complains {
                    return Err(super::server::complaint(row.get("error").unwrap_or_default()));
                }
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

impl Row<'_> {
    /// The cell of a column.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        self.cells.get(at).map(String::as_str)
    }

    /// The type of a column.
    pub(super) fn type_of(&self, name: &str) -> Option<&str> {
        self.columns.iter().find(|column| column.name == name).map(|column| column.data_type.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "#datatype,string,long,dateTime:RFC3339Nano,double,string\r\n#group,false,false,false,false,true\r\n\
        #default,_result,,,,none\r\n,result,table,_time,usage,host\r\n,,0,2023-06-01T00:00:00.000000001Z,0.5,\"a,\"\"b\"\"\r\nc\"\r\n\
        ,,0,2023-06-01T00:00:01Z,,\r\n\r\n#datatype,string,long,long\r\n#group,false,false,false\r\n#default,_result,,\r\n\
        ,result,table,_value\r\n,,1,9007199254740993";

    #[test]
    fn any_cut_gives_the_same_rows() {
        let read = |pieces: &[&[u8]]| {
            let (mut records, mut tables, mut rows) = (Records::default(), Tables::default(), Vec::new());
            let mut take = |record: Option<Vec<String>>| {
                let row = record.and_then(|record| tables.push(record).unwrap());
                rows.extend(row.map(|row| (row.columns.to_vec(), row.cells)));
            };
            for mut piece in pieces.iter().copied() {
                while !piece.is_empty() {
                    let (taken, record) = records.push(piece).unwrap();
                    piece = &piece[taken..];
                    take(record);
                }
            }
            take(records.finish().unwrap());
            rows
        };
        let whole = read(&[ANSWER.as_bytes()]);
        let cells: Vec<_> = whole.iter().map(|(_, cells)| cells[2..].to_vec()).collect();
        assert_eq!(
            cells,
            [
                vec!["0", "2023-06-01T00:00:00.000000001Z", "0.5", "a,\"b\"\r\nc"],
                vec!["0", "2023-06-01T00:00:01Z", "", "none"],
                vec!["1", "9007199254740993"],
            ]
        );
        assert_eq!(whole[2].0[3].data_type, "long");
        for at in 0..ANSWER.len() {
            let (a, b) = ANSWER.as_bytes().split_at(at);
            assert_eq!(read(&[a, b]), whole, "cut at {at}");
        }
    }

    #[test]
    fn complaints_in_the_middle_are_errors() {
        // With annotations as with none, as versions differ; behind rows.
        for complaint in [
            "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,engine is closed,897\n",
            "\nerror,reference\nengine is closed,\n",
        ] {
            let (mut records, mut tables, mut fault) = (Records::default(), Tables::default(), None);
            let text = format!("{ANSWER}\r\n{complaint}");
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (taken, record) = records.push(rest).unwrap();
                rest = &rest[taken..];
                fault = fault.or(record.and_then(|record| tables.push(record).err()));
            }
            let fault = fault.unwrap();
            assert!(fault.message().contains("engine is closed"), "{fault}");
        }
    }

    #[test]
    fn fields_called_as_a_complaint_are_none() {
        let mut tables = Tables::default();
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        for line in ["#datatype,string,long,string,string", ",result,table,error,reference"] {
            assert!(tables.push(cells(line)).unwrap().is_none());
        }
        let row = tables.push(cells(",_result,0,none,x-1")).unwrap().unwrap();
        assert_eq!((row.get("error"), row.get("reference")), (Some("none"), Some("x-1")));
    }
}
