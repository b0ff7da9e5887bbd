//! A server of HTTP for tests, where the real one cannot be had.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kwsync_core::{Reader, Result, Source, TableBatch};

/// What came, as the stand-in was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

/// How it answers: a status, and a body; a body that is cut is sent without its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) gzip: bool,
    pub(crate) cut: bool,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), gzip: false, cut: false }
    }
}

/// A server that answers by a function, on connections that it keeps.
pub(crate) struct StandIn {
    pub(crate) port: u16,
    pub(crate) asked: Arc<Mutex<Vec<Request>>>,
}

impl StandIn {
    pub(crate) fn start(
        version: &'static str,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || drop(serve(stream, version, &seen, answer.as_ref())));
            }
        });
        Self { port, asked }
    }
}

fn serve(
    stream: TcpStream,
    version: &str,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut request, mut length, mut line) = (Request::default(), 0, String::new());
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        request.path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => request.authorization = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.body = String::from_utf8(body).unwrap();
        if request.path == "/ping" {
            write!(
                stream,
                "HTTP/1.1 204 No Content\r\nX-Influxdb-Version: {version}\r\nDate: Thu, 01 Jun 2023 00:00:00 GMT\r\n\r\n"
            )?;
            continue;
        }
        seen.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        let mut bytes = reply.body;
        let mut encoding = "";
        if reply.gzip {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&bytes)?;
            (bytes, encoding) = (gzip.finish()?, "Content-Encoding: gzip\r\n");
        }
        write!(stream, "HTTP/1.1 {} X\r\n{encoding}Transfer-Encoding: chunked\r\n\r\n", reply.status)?;
        // In small pieces, so that records lie across them.
        for piece in bytes.chunks(37) {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        }
        if reply.cut {
            return Ok(());
        }
        stream.write_all(b"0\r\n\r\n")?;
    }
}

/// The batches with rows of a source, split by split.
pub(crate) async fn read_all<S: Source>(source: &S, lanes: usize) -> Result<Vec<TableBatch>> {
    let mut batches = Vec::new();
    for split in source.splits(lanes, &[]).await? {
        let mut reader = source.open(&split, None).await?;
        while let Some(read) = reader.next().await? {
            batches.extend(read.decoded.batches.into_iter().filter(|batch| batch.rows() > 0));
        }
    }
    Ok(batches)
}

/// The rows of batches, as JSON.
pub(crate) fn rows(batches: &[TableBatch]) -> Vec<serde_json::Value> {
    batches.iter().flat_map(|batch| (0..batch.rows()).map(|row| batch.row(row).to_json())).collect()
}

/// JSON out of texts.
pub(crate) fn parsed(texts: &[&str]) -> Vec<serde_json::Value> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
