//! Bytes out of files: opened, uncompressed, cut.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use kwsync_core::{Error, ErrorKind, Result};

use super::Compression;
use super::ahead::Ahead;

/// The path that means standard input.
pub(super) const STDIN: &str = "-";

/// What gzip data starts with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Bytes that are read as they come rather than until a chunk is full: a pipe may be slow.
const PIPE_BYTES: usize = 256 << 10;

/// Opens a regular file. Nothing else: a pipe without a writer would hold up whoever opens it.
pub(super) fn open(path: &Path) -> Result<File> {
    let failed = |error| Error::io(format_args!("cannot open {}", path.display()), error);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let text = format!("{} is no regular file, and cannot be read from any place on", path.display());
        return Err(Error::new(ErrorKind::Unsupported, text)
            .with_hint("give a regular file; if it was one when the job began, begin anew with --restart"));
    }
    File::open(path).map_err(failed)
}

/// Whether a regular file is to be uncompressed. Leaves it at its start.
pub(super) fn is_gzip(path: &Path, file: &mut File, compression: Compression) -> Result<bool> {
    let failed = |error| Error::io(format_args!("cannot read {}", path.display()), error);
    match compression {
        Compression::None => Ok(false),
        Compression::Gzip => Ok(true),
        Compression::Auto => {
            let mut magic = Vec::new();
            file.take(2).read_to_end(&mut magic).map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            Ok(magic == GZIP)
        }
    }
}

/// What one reader reads.
pub(super) enum Piece {
    /// A range of a plain file.
    Plain { file: File, from: u64, to: u64 },
    /// A gzip file from an uncompressed byte on.
    Gzip { file: File, from: u64 },
    /// Standard input or a pipe, which may be compressed. It is opened by the thread, since that may take until
    /// somebody writes.
    Pipe { compression: Compression },
}

/// Reads `piece` on a thread of its own.
pub(super) fn read_ahead(path: PathBuf, piece: Piece, chunk_bytes: usize) -> Result<Ahead<Bytes>> {
    Ahead::spawn(shown(&path), move |send| read(&path, piece, chunk_bytes, send))
}

fn read(path: &Path, piece: Piece, chunk_bytes: usize, send: &mut dyn FnMut(Bytes) -> bool) -> Result<()> {
    let name = shown(path);
    let failed = |error| explained(&name, error);
    match piece {
        Piece::Plain { mut file, from, to } => {
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            let wanted = to.saturating_sub(from);
            let read = whole_chunks(file.take(wanted), chunk_bytes, send).map_err(failed)?;
            if read.is_some_and(|read| read < wanted) {
                let end = from + read.unwrap_or_default();
                let text =
                    format!("{name} was truncated while it was read: it ends at byte {end} instead of {to}");
                return Err(Error::new(ErrorKind::Io, text).with_hint(
                    "put the whole file back and run the same command to resume, or begin anew with --restart",
                ));
            }
            Ok(())
        }
        Piece::Gzip { file, from } => {
            let mut input = MultiGzDecoder::new(BufReader::with_capacity(128 << 10, file));
            std::io::copy(&mut (&mut input).take(from), &mut std::io::sink()).map_err(failed)?;
            whole_chunks(input, chunk_bytes, send).map(drop).map_err(failed)
        }
        Piece::Pipe { compression } => {
            let input: Box<dyn Read> = if path == Path::new(STDIN) {
                Box::new(std::io::stdin())
            } else {
                Box::new(
                    File::open(path).map_err(|error| Error::io(format_args!("cannot open {name}"), error))?,
                )
            };
            let mut input = BufReader::with_capacity(PIPE_BYTES, input);
            // A first byte of a pipe may come long before the second.
            let gzip = match compression {
                Compression::None => false,
                Compression::Gzip => true,
                Compression::Auto => input.fill_buf().map_err(failed)?.first() == Some(&GZIP[0]),
            };
            let result =
                if gzip { as_it_comes(MultiGzDecoder::new(input), send) } else { as_it_comes(input, send) };
            result.map_err(failed)
        }
    }
}

/// The name of an input in messages.
pub(super) fn shown(path: &Path) -> String {
    if path == Path::new(STDIN) { "standard input".to_owned() } else { path.display().to_string() }
}

/// How many bytes came until the end; `None` if nobody listens any more.
fn whole_chunks(
    mut input: impl Read,
    chunk_bytes: usize,
    send: &mut dyn FnMut(Bytes) -> bool,
) -> std::io::Result<Option<u64>> {
    let mut total = 0;
    loop {
        let mut chunk = Vec::with_capacity(chunk_bytes);
        let result = (&mut input).take(chunk_bytes as u64).read_to_end(&mut chunk);
        // What came before a fault is good.
        total += chunk.len() as u64;
        if !chunk.is_empty() && !send(chunk.into()) {
            return Ok(None);
        }
        if result? == 0 {
            return Ok(Some(total));
        }
    }
}

fn as_it_comes(mut input: impl Read, send: &mut dyn FnMut(Bytes) -> bool) -> std::io::Result<()> {
    loop {
        let mut chunk = vec![0; PIPE_BYTES];
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                chunk.truncate(read);
                // A small read must not hold a large buffer.
                if read < PIPE_BYTES / 4 {
                    chunk.shrink_to_fit();
                }
                if !send(chunk.into()) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn explained(path: &str, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::Io, format!("{path} ends in the middle of its gzip data"))
                .with_source(error)
                .with_hint(
                    "the file was cut off: fetch or write it again, then run the same command; it resumes",
                )
        }
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            Error::new(ErrorKind::Io, format!("{path} holds damaged gzip data"))
                .with_source(error)
                .with_hint("check it with `gzip -t`; compression=none reads it as it is")
        }
        _ => Error::io(format_args!("cannot read {path}"), error),
    }
}

/// The first byte behind a line end at or after `at - 1`: where the first line starts that starts at `at` or
/// behind it; `len` if there is none.
pub(super) fn line_start(path: &Path, file: &mut File, at: u64, len: u64) -> Result<u64> {
    if at == 0 || at >= len {
        return Ok(at.min(len));
    }
    let failed = |error| Error::io(format_args!("cannot read {}", path.display()), error);
    let mut position = at - 1;
    file.seek(SeekFrom::Start(position)).map_err(failed)?;
    let mut buffer = vec![0; 64 << 10];
    while position < len {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        if let Some(found) = memchr::memchr(b'\n', &buffer[..read]) {
            return Ok((position + found as u64 + 1).min(len));
        }
        position += read as u64;
    }
    Ok(len)
}

/// Where the lines begin that were appended to a file that was read up to `end`. A line end that came late belongs
/// to the last line that was read.
pub(super) fn appended(path: &Path, file: &mut File, end: u64) -> Result<u64> {
    let failed = |error| Error::io(format_args!("cannot read {}", path.display()), error);
    let Some(last) = end.checked_sub(1) else { return Ok(end) };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(last)).map_err(failed)?;
    file.take(3).read_to_end(&mut bytes).map_err(failed)?;
    match *bytes.as_slice() {
        [b'\n', ..] => Ok(end),
        [_, b'\n', ..] => Ok(end + 1),
        [_, b'\r', b'\n'] => Ok(end + 2),
        _ => {
            let text = format!(
                "{} has grown from the middle of a line: it ended at byte {end} without a line end, and the job took \
                 what was there for a whole record",
                path.display()
            );
            Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "remove that record from the target if it is wrong, and load the file anew with --restart; let \
                 whoever writes it end a line before a job reads it",
            ))
        }
    }
}

/// Line ends before byte `to`; of a file that is gone, none.
pub(super) fn count_lines(path: &Path, to: u64) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let (mut input, mut lines) = (BufReader::with_capacity(256 << 10, file.take(to)), 0);
    while let Ok(bytes) = input.fill_buf() {
        if bytes.is_empty() {
            break;
        }
        lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let read = bytes.len();
        input.consume(read);
    }
    lines
}
