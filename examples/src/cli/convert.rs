//! `kwsync convert`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use kwsync_core::config::{Dsn, OpenOptions};
use kwsync_core::{
    BoxFuture, Decoded, DynReader, Encoder, Error, ErrorKind, ErrorPolicy, Location, Reject, RejectWriter,
    Result, TableBatch,
};
use kwsync_formats::influx::{self, Dialect, Precision};
use kwsync_formats::{ipc, parquet};

use super::args::ConvertArgs;

pub(crate) async fn run(args: &ConvertArgs) -> Result<u8> {
    let registry = kwsync::registry();
    let input = args.input.as_deref().unwrap_or("-");
    let (format, params) = format(&args.from)?;
    let mut from = Dsn::of_path("file", input).with_param("format", Some(format));
    for (name, value) in params {
        from = from.with_param(name, value);
    }
    if let Some(precision) = &args.precision {
        from = from.with_param("precision", Some(precision.clone()));
    }
    let source = registry.source(&from, &OpenOptions::new())?;
    let errors: ErrorPolicy = args.errors.parse()?;
    // The input first: a slip in its name must not empty the output that is there.
    let splits = source.splits(1, &[]).await?;
    let mut output = output(args, &registry)?;
    let mut rejects = match &errors {
        ErrorPolicy::Reject(path) => Some(RejectWriter::open(path, 0)?),
        ErrorPolicy::DeadLetters(dsn) => {
            return Err(Error::config(format!("convert does not send rejects to {dsn}"))
                .with_hint("use reject:PATH; `kwsync run` takes addresses"));
        }
        _ => None,
    };
    let mut rejected = 0;
    for split in splits {
        let mut reader = source.open(&split, None).await?;
        while let Some(batch) = next(reader.as_mut()).await? {
            let mut refused = batch.decoded.rejects;
            let decoded = Decoded { rejects: Vec::new(), ..batch.decoded };
            output.write(decoded.batches, &mut refused)?;
            if let (Some(first), ErrorPolicy::Fail) = (refused.first(), &errors) {
                output.finish()?;
                return Err(first.to_error());
            }
            rejected += refused.len() as u64;
            if let Some(file) = &mut rejects {
                file.append(&refused)?;
            }
        }
    }
    output.finish()?;
    if rejected > 0 {
        eprintln!("kwsync: {rejected} records rejected");
    }
    Ok(if rejected > 0 { 3 } else { 0 })
}

/// Names and values as they stand in an address.
type Settings = Vec<(String, Option<String>)>;

/// A format's name and its parameters, written like those of an address: `csv?header=true&delimiter=;`.
fn format(text: &str) -> Result<(String, Settings)> {
    let Some((name, _)) = text.split_once('?') else { return Ok((text.to_owned(), Vec::new())) };
    let address: Dsn = format!("file:{text}").parse()?;
    let params = address.params().map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    Ok((name.to_owned(), params.collect()))
}

/// The one parameter that files of batches take here; the first that is known is the default.
fn compression<C: Copy>(format: &str, params: &Settings, known: &[(&str, C)]) -> Result<C> {
    let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let mut chosen = known.first().map(|(_, first)| *first);
    for (name, value) in params {
        if name != "compression" {
            return Err(Error::config(format!("{format} has no parameter {name:?} here"))
                .with_hint(format!("it takes compression={}", names())));
        }
        chosen = known.iter().find(|(name, _)| value.as_deref() == Some(name)).map(|(_, found)| *found);
    }
    chosen.ok_or_else(|| {
        Error::config(format!("that is no compression of {format}")).with_hint(format!("one of {}", names()))
    })
}

fn next(reader: &mut dyn DynReader) -> BoxFuture<'_, Result<Option<kwsync_core::SourceBatch>>> {
    reader.next()
}

/// What turns batches into bytes.
enum Form {
    /// Of line protocol, from its text; of other formats, from their rows
    Points(Option<(Precision, Dialect)>),
    Encoder(Box<dyn Encoder>),
    /// One table, begun with its first batch
    Batches(BatchFormat, Option<Box<Table>>),
}

#[derive(Clone, Copy)]
enum BatchFormat {
    Parquet(parquet::Compression),
    Arrow(ipc::Layout, ipc::Compression),
}

/// The table that a file of batches holds.
struct Table {
    id: kwsync_core::TableId,
    schema: kwsync_core::arrow::schema::SchemaRef,
    writer: BatchWriter,
}

type Out = Box<dyn Write + Send>;

enum BatchWriter {
    Parquet(parquet::BatchWriter<Out>),
    Arrow(ipc::BatchWriter<Out>),
}

impl BatchFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Parquet(_) => "Parquet",
            Self::Arrow(..) => "Arrow",
        }
    }

    fn begin(self, out: Out, schema: &kwsync_core::arrow::schema::SchemaRef) -> Result<BatchWriter> {
        Ok(match self {
            Self::Parquet(compression) => {
                let options = parquet::WriteOptions::new().with_compression(compression);
                BatchWriter::Parquet(parquet::BatchWriter::try_new(out, schema, &options)?)
            }
            Self::Arrow(layout, compression) => {
                let options = ipc::WriteOptions::new().with_layout(layout).with_compression(compression);
                BatchWriter::Arrow(ipc::BatchWriter::try_new(out, schema, &options)?)
            }
        })
    }
}

impl BatchWriter {
    fn write(&mut self, batch: &TableBatch) -> Result<()> {
        match self {
            Self::Parquet(writer) => writer.write(batch.batch()),
            Self::Arrow(writer) => writer.write(batch.batch()),
        }
    }

    fn finish(self) -> Result<Out> {
        match self {
            Self::Parquet(writer) => writer.finish(),
            Self::Arrow(writer) => writer.finish(),
        }
    }
}

struct Output {
    form: Form,
    file: Option<Box<dyn Write + Send>>,
    name: String,
    buffer: Vec<u8>,
}

fn output(args: &ConvertArgs, registry: &kwsync_core::config::Registry) -> Result<Output> {
    let mut head = Vec::new();
    let (to, params) = format(&args.to)?;
    let path = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let form = match to.as_str() {
        "points" => {
            let (name, params) = format(&args.from)?;
            let known = registry.find(&name)?;
            let of = |wanted: &str| {
                params.iter().rev().find(|(name, _)| name == wanted).and_then(|(_, value)| value.as_deref())
            };
            let line = known.iter().any(|info| info.name() == "line_influxdb").then(|| {
                let precision = args.precision.as_deref().or_else(|| of("precision"));
                // Both have been checked when the source was made.
                let precision = precision.and_then(|text| text.parse().ok()).unwrap_or_default();
                (precision, of("dialect").and_then(|text| text.parse().ok()).unwrap_or_default())
            });
            Form::Points(line)
        }
        "parquet" => {
            use parquet::Compression;
            let known = [
                ("zstd", Compression::Zstd),
                ("snappy", Compression::Snappy),
                ("gzip", Compression::Gzip),
                ("none", Compression::None),
            ];
            Form::Batches(BatchFormat::Parquet(compression(&to, &params, &known)?), None)
        }
        // What is read while it is written has no end to look at.
        "arrow" => {
            use ipc::{Compression, Layout};
            let layout = if path.is_some() { Layout::File } else { Layout::Stream };
            let known = [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];
            Form::Batches(BatchFormat::Arrow(layout, compression(&to, &params, &known)?), None)
        }
        name => {
            let mut plain = Dsn::of_path("file", "-");
            for (name, value) in params {
                plain = plain.with_param(name, value);
            }
            let mut encoder = registry.encoder(name, &plain, &OpenOptions::new())?()?;
            encoder.begin(&mut head)?;
            Form::Encoder(encoder)
        }
    };
    if let (Some(path), Some(input)) = (path, args.input.as_deref())
        && let (Ok(path), Ok(input)) = (path.canonicalize(), Path::new(input).canonicalize())
        && path == input
    {
        return Err(Error::config("input and output are one file").with_hint("write to another one"));
    }
    let (mut file, name): (Box<dyn Write + Send>, _) = match path {
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Error::io(format!("cannot create {}", path.display()), error))?;
            (Box::new(BufWriter::with_capacity(1 << 20, file)), path.display().to_string())
        }
        None => (Box::new(std::io::stdout()), "standard output".to_owned()),
    };
    file.write_all(&head).map_err(|error| Error::io(format!("cannot write {name}"), error))?;
    Ok(Output { form, file: Some(file), name, buffer: Vec::new() })
}

impl Output {
    fn write(&mut self, batches: Vec<TableBatch>, refused: &mut Vec<Reject>) -> Result<()> {
        self.buffer.clear();
        match &mut self.form {
            Form::Points(Some((precision, dialect))) => {
                points(&batches, *precision, *dialect, &mut self.buffer)?;
            }
            Form::Points(None) => super::points::rows(&batches, &mut self.buffer)?,
            Form::Encoder(encoder) => {
                for batch in &batches {
                    encode_rows(encoder.as_mut(), batch, &mut self.buffer, refused)?;
                }
            }
            Form::Batches(..) => {
                for batch in batches {
                    self.write_batch(&batch)?;
                }
                return Ok(());
            }
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer)
                .map_err(|error| Error::io(format!("cannot write {}", self.name), error))?;
        }
        Ok(())
    }

    fn write_batch(&mut self, batch: &TableBatch) -> Result<()> {
        let Form::Batches(format, open) = &mut self.form else { return Ok(()) };
        let schema = batch.batch().schema();
        if let Some(table) = open {
            if table.id != *batch.table() || table.schema != schema {
                let name = format.name();
                return Err(Error::new(
                    ErrorKind::Schema,
                    format!("the input holds several tables or columns that change, and one {name} file holds one table"),
                )
                .with_location(Location::new().with_table(batch.table().name()))
                .with_hint(format!(
                    "use `kwsync run --from FILE --to 'file:DIR?format={}'`: a folder for each table",
                    name.to_lowercase()
                )));
            }
            return table.writer.write(batch);
        }
        let Some(file) = self.file.take() else { return Ok(()) };
        let mut writer = format.begin(file, &schema)?;
        writer.write(batch)?;
        *open = Some(Box::new(Table { id: batch.table().clone(), schema, writer }));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.buffer.clear();
        match &mut self.form {
            Form::Batches(_, open) => {
                let Some(table) = open.take() else {
                    return Err(Error::new(
                        ErrorKind::Data,
                        "there is no row, and without one no column is known",
                    ));
                };
                self.file = Some(table.writer.finish()?);
            }
            Form::Encoder(encoder) => encoder.end(&mut self.buffer)?,
            Form::Points(_) => {}
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(&self.buffer)
            .and_then(|()| file.flush())
            .map_err(|error| Error::io(format!("cannot write {}", self.name), error))
    }
}

/// Encodes all rows; one that the format cannot hold is refused alone.
fn encode_rows(
    encoder: &mut dyn Encoder,
    batch: &TableBatch,
    out: &mut Vec<u8>,
    refused: &mut Vec<Reject>,
) -> Result<()> {
    let mut from = 0;
    while from < batch.rows() {
        match encoder.encode(batch, from..batch.rows(), out) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Data => {
                let bad = error.location().and_then(Location::row).map_or(from, |row| row as usize);
                encoder.encode(batch, from..bad, out)?;
                let code = error.code().unwrap_or("cannot_encode").to_owned();
                refused.push(batch.reject(bad, kwsync_core::Stage::Encode, code, error.message()));
                from = bad + 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the parser saw, in the order of the input, whichever table a record went to.
fn points(batches: &[TableBatch], precision: Precision, dialect: Dialect, out: &mut Vec<u8>) -> Result<()> {
    let mut records: Vec<(kwsync_core::Position, &[u8])> = Vec::new();
    for batch in batches {
        for row in 0..batch.rows() {
            if let (Some(at), Some(raw)) = (batch.origin().position(row), batch.origin().raw(row)) {
                records.push((at, raw));
            }
        }
    }
    records.sort_unstable_by_key(|(at, _)| at.byte);
    for (at, raw) in records {
        for line in influx::lines(raw).with_dialect(dialect).at_line(at.line) {
            let line = line.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
            influx::write_point(&line, precision, out)
                .map_err(|reason| Error::new(ErrorKind::Internal, reason.message()))?;
        }
    }
    Ok(())
}
