//! Requests and answers of `IClientRPCService`, by Thrift's binary protocol.

use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier,
    TMessageIdentifier, TMessageType, TOutputProtocol, TStructIdentifier, TType,
};
use thrift::{Result as Thrift, TConfiguration};

use super::status::protocol;
use super::{SeriesType, Tablet};
use crate::{Error, ErrorKind, Result};

/// The length in front of a message.
pub(super) const FRAME: usize = 4;

/// What the server says of a request, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The number: 200 is success.
    pub code: i32,
    /// What it says.
    pub message: String,
    /// The statuses of the parts, where the parts have some.
    pub parts: Vec<Self>,
}

impl Status {
    /// Whether all is done. A hint at a better node is success, too.
    pub fn is_success(&self) -> bool {
        matches!(self.code, 200 | 400)
    }
}

/// Writes one request behind the bytes of the frame's length.
struct Request {
    out: TBinaryOutputProtocol<Vec<u8>>,
}

type Out = TBinaryOutputProtocol<Vec<u8>>;

impl Request {
    fn field(&mut self, kind: TType, id: i16, write: impl FnOnce(&mut Out) -> Thrift<()>) -> Thrift<()> {
        self.out.write_field_begin(&TFieldIdentifier { name: None, field_type: kind, id: Some(id) })?;
        write(&mut self.out)?;
        self.out.write_field_end()
    }

    fn i64(&mut self, id: i16, value: i64) -> Thrift<()> {
        self.field(TType::I64, id, |out| out.write_i64(value))
    }

    fn i32(&mut self, id: i16, value: i32) -> Thrift<()> {
        self.field(TType::I32, id, |out| out.write_i32(value))
    }

    fn bool(&mut self, id: i16, value: bool) -> Thrift<()> {
        self.field(TType::Bool, id, |out| out.write_bool(value))
    }

    fn text(&mut self, id: i16, value: &str) -> Thrift<()> {
        self.field(TType::String, id, |out| out.write_string(value))
    }

    fn bytes(&mut self, id: i16, value: &[u8]) -> Thrift<()> {
        self.field(TType::String, id, |out| out.write_bytes(value))
    }

    fn list<T>(
        &mut self,
        id: i16,
        kind: TType,
        items: &[T],
        mut write: impl FnMut(&mut Out, &T) -> Thrift<()>,
    ) -> Thrift<()> {
        self.field(TType::List, id, |out| write_list(out, kind, items, &mut write))
    }
}

fn write_list<T>(
    out: &mut Out,
    kind: TType,
    items: &[T],
    write: &mut impl FnMut(&mut Out, &T) -> Thrift<()>,
) -> Thrift<()> {
    out.write_list_begin(&TListIdentifier::new(kind, i32::try_from(items.len()).unwrap_or(i32::MAX)))?;
    items.iter().try_for_each(|item| write(out, item))?;
    out.write_list_end()
}

/// A call of `name`, framed; `arguments` writes the fields of the one structure that every call takes.
fn call(name: &str, arguments: impl FnOnce(&mut Request) -> Thrift<()>) -> Result<Vec<u8>> {
    framed(name, |request| {
        request.out.write_field_begin(&TFieldIdentifier {
            name: None,
            field_type: TType::Struct,
            id: Some(1),
        })?;
        arguments(request)?;
        request.out.write_field_stop()?;
        request.out.write_field_end()
    })
}

fn framed(name: &str, arguments: impl FnOnce(&mut Request) -> Thrift<()>) -> Result<Vec<u8>> {
    let out = TBinaryOutputProtocol::new(vec![0; FRAME], true);
    let mut request = Request { out };
    let mut write = || {
        request.out.write_message_begin(&TMessageIdentifier::new(name, TMessageType::Call, 1))?;
        request.out.write_struct_begin(&TStructIdentifier::new(name))?;
        Thrift::Ok(())
    };
    let fault =
        |error: thrift::Error| Error::new(ErrorKind::Internal, format!("cannot write {name}: {error}"));
    write().map_err(fault)?;
    arguments(&mut request).map_err(fault)?;
    request.out.write_field_stop().map_err(fault)?;
    let mut frame = request.out.transport;
    let length = u32::try_from(frame.len() - FRAME).map_err(|_| {
        Error::new(ErrorKind::Limit, format!("a request of {} bytes is too large", frame.len()))
    })?;
    if let Some(start) = frame.first_chunk_mut::<FRAME>() {
        *start = length.to_be_bytes();
    }
    Ok(frame)
}

pub(super) fn open_session(user: &str, password: &str, zone: &str) -> Result<Vec<u8>> {
    call("openSession", |request| {
        // Version 3.
        request.i32(1, 2)?;
        request.text(2, zone)?;
        request.text(3, user)?;
        request.text(4, password)
    })
}

pub(super) fn close_session(session: i64) -> Result<Vec<u8>> {
    call("closeSession", |request| request.i64(1, session))
}

pub(super) fn get_properties() -> Result<Vec<u8>> {
    framed("getProperties", |_| Ok(()))
}

pub(super) fn request_statement(session: i64) -> Result<Vec<u8>> {
    framed("requestStatementId", |request| request.i64(1, session))
}

pub(super) fn execute(
    name: &str,
    ids: (i64, i64),
    statement: &str,
    rows: i32,
    timeout_ms: i64,
) -> Result<Vec<u8>> {
    call(name, |request| {
        request.i64(1, ids.0)?;
        request.text(2, statement)?;
        request.i64(3, ids.1)?;
        request.i32(4, rows)?;
        request.i64(5, timeout_ms)?;
        request.bool(6, false)
    })
}

pub(super) fn fetch(
    ids: (i64, i64),
    query: i64,
    statement: &str,
    rows: i32,
    timeout_ms: i64,
) -> Result<Vec<u8>> {
    call("fetchResultsV2", |request| {
        request.i64(1, ids.0)?;
        request.text(2, statement)?;
        request.i32(3, rows)?;
        request.i64(4, query)?;
        request.bool(5, true)?;
        request.i64(6, timeout_ms)?;
        request.i64(7, ids.1)
    })
}

pub(super) fn close_operation(ids: (i64, i64), query: i64) -> Result<Vec<u8>> {
    call("closeOperation", |request| {
        request.i64(1, ids.0)?;
        request.i64(2, query)?;
        request.i64(3, ids.1)
    })
}

fn codes(types: &[SeriesType]) -> Vec<i32> {
    types.iter().map(|series| series.code()).collect()
}

fn length(tablet: &Tablet) -> i32 {
    i32::try_from(tablet.rows).unwrap_or(i32::MAX)
}

pub(super) fn insert_tablet(session: i64, tablet: &Tablet, aligned: bool) -> Result<Vec<u8>> {
    call("insertTablet", |request| {
        request.i64(1, session)?;
        request.text(2, &tablet.device)?;
        request.list(3, TType::String, &tablet.measurements, |out, name| out.write_string(name))?;
        request.bytes(4, &tablet.values)?;
        request.bytes(5, &tablet.times)?;
        request.list(6, TType::I32, &codes(&tablet.types), |out, code| out.write_i32(*code))?;
        request.i32(7, length(tablet))?;
        request.bool(8, aligned)
    })
}

pub(super) fn insert_tablets(session: i64, tablets: &[Tablet], aligned: bool) -> Result<Vec<u8>> {
    call("insertTablets", |request| {
        request.i64(1, session)?;
        request.list(2, TType::String, tablets, |out, tablet| out.write_string(&tablet.device))?;
        request.list(3, TType::List, tablets, |out, tablet| {
            write_list(out, TType::String, &tablet.measurements, &mut |out, name| out.write_string(name))
        })?;
        request.list(4, TType::String, tablets, |out, tablet| out.write_bytes(&tablet.values))?;
        request.list(5, TType::String, tablets, |out, tablet| out.write_bytes(&tablet.times))?;
        request.list(6, TType::List, tablets, |out, tablet| {
            write_list(out, TType::I32, &codes(&tablet.types), &mut |out, code| out.write_i32(*code))
        })?;
        request.list(7, TType::I32, tablets, |out, tablet| out.write_i32(length(tablet)))?;
        request.bool(8, aligned)
    })
}

type In<'a> = TBinaryInputProtocol<&'a [u8]>;

/// Goes over the fields of a structure; what `take` does not know (false) is skipped.
fn fields(input: &mut In<'_>, mut take: impl FnMut(&mut In<'_>, i16, TType) -> Thrift<bool>) -> Thrift<()> {
    input.read_struct_begin()?;
    loop {
        let field = input.read_field_begin()?;
        if field.field_type == TType::Stop {
            break;
        }
        if !take(input, field.id.unwrap_or_default(), field.field_type)? {
            input.skip(field.field_type)?;
        }
        input.read_field_end()?;
    }
    input.read_struct_end()
}

fn read_list<T>(input: &mut In<'_>, mut read: impl FnMut(&mut In<'_>) -> Thrift<T>) -> Thrift<Vec<T>> {
    let list = input.read_list_begin()?;
    // The number is the server's word: nothing is set aside for it.
    let mut items = Vec::new();
    for _ in 0..list.size {
        items.push(read(input)?);
    }
    input.read_list_end()?;
    Ok(items)
}

fn read_status(input: &mut In<'_>) -> Thrift<Status> {
    let mut status = Status::default();
    fields(input, |input, id, kind| {
        match (id, kind) {
            (1, TType::I32) => status.code = input.read_i32()?,
            (2, TType::String) => status.message = input.read_string()?,
            (3, TType::List) => status.parts = read_list(input, read_status)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(status)
}

/// The answer to a call: what `read` makes of the field of success.
fn answer<T>(frame: &[u8], read: impl FnOnce(&mut In<'_>) -> Thrift<T>) -> Result<T> {
    // The frame is in memory: what it says of sizes can only run into its end.
    let mut input = TBinaryInputProtocol::with_config(frame, true, TConfiguration::no_limits());
    let fault = |error: thrift::Error| protocol(format!("the answer of IoTDB cannot be read: {error}"));
    let head = input.read_message_begin().map_err(fault)?;
    if head.message_type == TMessageType::Exception {
        let error = thrift::Error::read_application_error_from_in_protocol(&mut input).map_err(fault)?;
        return Err(Error::new(
            ErrorKind::Server,
            format!("IoTDB cannot answer {}: {}", head.name, error.message),
        ));
    }
    let mut found = None;
    let mut read = Some(read);
    fields(&mut input, |input, id, _| {
        if id == 0
            && let Some(read) = read.take()
        {
            found = Some(read(input)?);
            return Ok(true);
        }
        Ok(false)
    })
    .map_err(fault)?;
    found.ok_or_else(|| protocol(format!("IoTDB answers {} with nothing", head.name)))
}

pub(super) fn status(frame: &[u8]) -> Result<Status> {
    answer(frame, read_status)
}

pub(super) fn number(frame: &[u8]) -> Result<i64> {
    answer(frame, |input| input.read_i64())
}

pub(super) fn opened(frame: &[u8]) -> Result<(Status, i64)> {
    answer(frame, |input| {
        let (mut status, mut session) = (Status::default(), 0);
        fields(input, |input, id, kind| {
            match (id, kind) {
                (1, TType::Struct) => status = read_status(input)?,
                (3, TType::I64) => session = input.read_i64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok((status, session))
    })
}

/// What a server says of itself.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) version: String,
    pub(super) precision: String,
    pub(super) most_bytes: Option<i32>,
}

pub(super) fn properties(frame: &[u8]) -> Result<Properties> {
    answer(frame, |input| {
        let mut found = Properties::default();
        fields(input, |input, id, kind| {
            match (id, kind) {
                (1, TType::String) => found.version = input.read_string()?,
                (3, TType::String) => found.precision = input.read_string()?,
                (5, TType::I32) => found.most_bytes = Some(input.read_i32()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(found)
    })
}

/// The beginning of a result, or the end of a statement that has none.
#[derive(Debug, Default)]
pub(super) struct Executed {
    pub(super) status: Status,
    pub(super) query: Option<i64>,
    pub(super) columns: Vec<String>,
    pub(super) types: Vec<String>,
    pub(super) without_time: bool,
    /// Which column of the blocks a name is, at servers before 2.0.
    pub(super) by_name: Vec<(String, i32)>,
    /// Which column of the blocks each column is, at later ones.
    pub(super) by_place: Option<Vec<i32>>,
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) more: bool,
}

pub(super) fn executed(frame: &[u8]) -> Result<Executed> {
    answer(frame, |input| {
        let mut found = Executed::default();
        fields(input, |input, id, kind| {
            match (id, kind) {
                (1, TType::Struct) => found.status = read_status(input)?,
                (2, TType::I64) => found.query = Some(input.read_i64()?),
                (3, TType::List) => found.columns = read_list(input, |input| input.read_string())?,
                (5, TType::Bool) => found.without_time = input.read_bool()?,
                (6, TType::List) => found.types = read_list(input, |input| input.read_string())?,
                (9, TType::Map) => {
                    let map = input.read_map_begin()?;
                    for _ in 0..map.size {
                        found.by_name.push((input.read_string()?, input.read_i32()?));
                    }
                    input.read_map_end()?;
                }
                (13, TType::List) => found.blocks = read_list(input, |input| input.read_bytes())?,
                (14, TType::Bool) => found.more = input.read_bool()?,
                (17, TType::List) => found.by_place = Some(read_list(input, |input| input.read_i32())?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(found)
    })
}

/// The next part of a result.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) status: Status,
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) more: bool,
}

pub(super) fn fetched(frame: &[u8]) -> Result<Fetched> {
    answer(frame, |input| {
        let mut found = Fetched::default();
        fields(input, |input, id, kind| {
            match (id, kind) {
                (1, TType::Struct) => found.status = read_status(input)?,
                (6, TType::List) => found.blocks = read_list(input, |input| input.read_bytes())?,
                (7, TType::Bool) => found.more = input.read_bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(found)
    })
}
