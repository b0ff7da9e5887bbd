use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::{ByteReader, ByteSource, Error, ErrorKind, Position, Split, SplitPosition};
use proptest::prelude::*;

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn source(path: impl AsRef<Path>, options: FileOptions) -> FileSource {
    FileSource::new(path.as_ref().display().to_string(), options)
}

fn splits(source: &FileSource, lanes: usize, known: &[Split]) -> Vec<Split> {
    block_on(source.splits(lanes, known)).unwrap()
}

fn read(
    source: &FileSource,
    split: &Split,
    at: Option<&SplitPosition>,
) -> Result<(Option<Position>, Vec<u8>)> {
    block_on(async {
        let mut reader = source.open(split, at).await?;
        let (mut begin, mut bytes) = (None, Vec::new());
        while let Some(chunk) = reader.next_chunk().await? {
            assert!(!chunk.bytes.is_empty());
            if let Some((_, at)) = chunk.begin {
                assert!(begin.replace(at).is_none(), "one input begins once");
            }
            bytes.extend_from_slice(&chunk.bytes);
        }
        Ok((begin, bytes))
    })
}

fn all(source: &FileSource, lanes: usize) -> Vec<u8> {
    splits(source, lanes, &[]).iter().flat_map(|split| read(source, split, None).unwrap().1).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lines(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| format!("cpu,host=h{i} usage={i}\n").into_bytes()).collect()
}

fn cut_small() -> FileOptions {
    FileOptions::new().with_split(SplitMode::Lines).with_split_bytes(1_000).with_chunk_bytes(4 << 10)
}

#[test]
fn plain_and_gzip_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    let text = lines(50_000);
    let (first, second) = text.split_at(700_001);
    // Several members in one file, under a name that does not say gzip.
    for bytes in [text.clone(), gzip(&text), [gzip(first), gzip(second)].concat()] {
        std::fs::write(&path, &bytes).unwrap();
        let source = source(&path, FileOptions::new());
        assert!(all(&source, 4) == text, "{} bytes", bytes.len());
        assert_eq!(splits(&source, 4, &[]).len(), 1);
    }
    std::fs::write(&path, gzip(&text)).unwrap();
    assert!(all(&source(&path, FileOptions::new().with_compression(Compression::None)), 1) == gzip(&text));
    for empty in [Vec::new(), gzip(b"")] {
        std::fs::write(&path, empty).unwrap();
        assert_eq!(all(&source(&path, FileOptions::new()), 2), b"");
    }
    let endings = [
        ("a.lp", "line_influxdb"),
        ("a.influx.gz", "line_influxdb"),
        ("A.CSV", "csv"),
        ("d.x/a.ndjson", "json"),
    ];
    for (name, format) in endings {
        assert_eq!(config::guess_format(&format!("file:{name}").parse().unwrap()), Some(format), "{name}");
    }
    assert_eq!(config::guess_format(&"file:a".parse().unwrap()), None);
    assert_eq!(config::guess_format(&"csv:a".parse().unwrap()), Some("csv"));
    assert_eq!(
        config::guess_format(&format!("file:{}", dir.path().display()).parse().unwrap()),
        Some("line_influxdb")
    );
}

#[test]
fn patterns_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    for name in ["b.lp", "a.lp", "c.csv", "d[1].lp", "sub/e.lp", ".hidden", "_SUCCESS", "f.part"] {
        std::fs::write(dir.path().join(name), format!("{name}\n")).unwrap();
    }
    let text = |pattern: &str| {
        String::from_utf8(all(&source(dir.path().join(pattern), FileOptions::new()), 1)).unwrap()
    };
    assert_eq!(text("*.lp"), "a.lp\nb.lp\nd[1].lp\n");
    assert_eq!(text("?.lp"), "a.lp\nb.lp\n");
    assert_eq!(text("**/*.lp"), "a.lp\nb.lp\nd[1].lp\nsub/e.lp\n");
    // A file of this very name comes first.
    assert_eq!(text("d[1].lp"), "d[1].lp\n");
    assert_eq!(text(""), "a.lp\nb.lp\nc.csv\nd[1].lp\nsub/e.lp\n");
    let fault = |pattern: &str| {
        block_on(source(dir.path().join(pattern), FileOptions::new()).splits(1, &[])).unwrap_err()
    };
    for (pattern, text) in [("*.txt", "no file matches"), ("none.lp", "cannot open"), ("a[", "is wrong")] {
        let error = fault(pattern);
        assert!(error.to_string().contains(text) && error.hint().is_some(), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = block_on(source(empty.path(), FileOptions::new()).splits(1, &[])).unwrap_err();
    assert!(error.to_string().contains("no files in the directory"), "{error}");
}

#[test]
fn pieces_are_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    std::fs::write(&path, lines(5_000)).unwrap();
    let source = source(&path, cut_small());
    let cut = splits(&source, 3, &[]);
    assert!(cut.len() > 8, "{}", cut.len());
    let mut joined = Vec::new();
    for split in &cut {
        let (begin, bytes) = read(&source, split, None).unwrap();
        assert_eq!(bytes.last(), Some(&b'\n'));
        assert_eq!(begin.unwrap(), Position { byte: joined.len() as u64, ..Position::START });
        assert_eq!(split.bytes, Some(bytes.len() as u64));
        joined.extend(bytes);
    }
    assert!(joined == lines(5_000));
    // One lane has nothing to cut for; and lines of a piece are counted from the start of the file on demand.
    assert_eq!(splits(&source, 1, &[]).len(), 1);
    let input = block_on(async {
        let mut reader = source.open(&cut[1], None).await.unwrap();
        reader.next_chunk().await.unwrap().unwrap().begin.unwrap().0
    });
    let before = bytes_before(&path, &cut[1]).iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(input.resolve(Position { line: 7, ..Position::START }).line, 7 + before);
    assert_eq!(input.split(), &*cut[1].id);
}

fn bytes_before(path: &Path, split: &Split) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.truncate(usize::try_from(split.spec["start"].as_u64().unwrap()).unwrap());
    bytes
}

proptest! {
    /// Whatever the lines look like, the pieces are the file, and each ends behind a line end.
    #[test]
    fn pieces_are_the_file(
        lengths in proptest::collection::vec(0usize..300, 0..80),
        ends_in_line: bool,
        lanes in 1usize..5,
        least in 1u64..500,
    ) {
        let mut text: Vec<u8> = lengths.iter().flat_map(|length| [vec![b'x'; *length], vec![b'\n']].concat()).collect();
        if !ends_in_line {
            text.extend(b"tail");
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&text).unwrap();
        let source = source(file.path(), cut_small().with_split_bytes(least).with_compression(Compression::None));
        let cut = splits(&source, lanes, &[]);
        let pieces: Vec<_> = cut.iter().map(|split| read(&source, split, None).unwrap().1).collect();
        prop_assert_eq!(pieces.concat(), text);
        for piece in pieces.iter().rev().skip(1) {
            prop_assert_eq!(piece.last(), Some(&b'\n'));
        }
    }
}

fn position(source: &FileSource, split: &Split, at: Position) -> SplitPosition {
    block_on(async { source.open(split, None).await.unwrap().position(at) })
}

#[test]
fn reading_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let text = lines(5_000);
    for (name, bytes) in [("plain.lp", text.clone()), ("packed.lp", gzip(&text))] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let source = source(&path, FileOptions::new().with_chunk_bytes(4 << 10));
        let split = splits(&source, 1, &[]).remove(0);
        let at = Position { byte: 100_000, line: 4_000, column: 1, record: 3_999 };
        let stored = position(&source, &split, at);
        let (begin, rest) = read(&source, &split, Some(&stored)).unwrap();
        assert_eq!(begin, Some(at));
        assert!(rest == text[100_000..], "{name}");
    }
}

#[test]
fn what_changed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    let text = lines(1_000);
    std::fs::write(&path, &text).unwrap();
    let source = source(&path, FileOptions::new());
    let split = splits(&source, 1, &[]).remove(0);
    let stored = position(&source, &split, Position { byte: 50, line: 3, column: 1, record: 2 });
    let fault = |text: &str| {
        let error = read(&source, &split, Some(&stored)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(text) && error.hint().unwrap().contains("--restart"), "{error}");
        let error = block_on(source.splits(1, std::slice::from_ref(&split))).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    };
    // In place: the inode stays.
    let rewrite = |bytes: &[u8]| {
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        (&file).write_all(bytes).unwrap();
    };
    rewrite(&text[..500]);
    fault("it has shrunk from");
    let mut other = text.clone();
    other[10] = b'!';
    rewrite(&other);
    fault("its first 4096 bytes are others");
    rewrite(&text);
    read(&source, &split, Some(&stored)).unwrap();
    std::fs::rename(&path, dir.path().join("old.lp")).unwrap();
    std::fs::write(&path, &text).unwrap();
    fault("it is another file now");
    std::fs::remove_file(&path).unwrap();
    assert!(read(&source, &split, Some(&stored)).is_err());
}

#[test]
fn what_is_appended_is_a_further_piece() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    let text = lines(2_000);
    let (old, new) = text.split_at(lines(800).len());
    std::fs::write(&path, old).unwrap();
    let source = source(&path, cut_small());
    let first = splits(&source, 2, &[]);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(new).unwrap();
    std::fs::write(dir.path().join("y.lp"), "y\n").unwrap();
    // The pieces of the first run stay as they were, whatever the lanes are now.
    let second = splits(&source, 5, &first);
    assert_eq!(second[..first.len()], first);
    assert!(second.len() > first.len());
    let joined: Vec<u8> = second.iter().flat_map(|split| read(&source, split, None).unwrap().1).collect();
    assert!(joined == text);
    let ids: std::collections::HashSet<_> = second.iter().map(|split| &split.id).collect();
    assert_eq!(ids.len(), second.len());
    // Nothing more has come.
    assert_eq!(splits(&source, 1, &second), second);

    std::fs::write(&path, gzip(old)).unwrap();
    let first = splits(&source, 2, &[]);
    file.write_all(&gzip(new)).unwrap();
    let error = block_on(source.splits(2, &first)).unwrap_err();
    assert!(error.to_string().contains("gzip cannot be read on"), "{error}");
}

#[test]
fn damaged_gzip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp.gz");
    let packed = gzip(&lines(5_000));
    let fault = |bytes: &[u8]| -> Error {
        std::fs::write(&path, bytes).unwrap();
        let source = source(&path, FileOptions::new());
        read(&source, &splits(&source, 1, &[])[0], None).unwrap_err()
    };
    let error = fault(&packed[..packed.len() / 2]);
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().ends_with("x.lp.gz ends in the middle of its gzip data"), "{error}");
    let mut damaged = packed.clone();
    let middle = damaged.len() - 6;
    damaged[middle] ^= 1;
    assert!(fault(&damaged).to_string().contains("damaged gzip data"));
    assert!(fault(&[&packed[..], b"rubbish behind it"].concat()).to_string().contains("damaged gzip data"));
}

#[test]
#[cfg(unix)]
fn a_pipe_is_read_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let source = source(&path, cut_small());
    let split = splits(&source, 4, &[]).remove(0);
    assert!(!split.resumable);
    let (sender, receiver) = std::sync::mpsc::channel();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            pipe.write_all(b"first\n").unwrap();
            // The rest comes only when the first has been read.
            receiver.recv().unwrap();
            pipe.write_all(b"second\n").unwrap();
        }
    });
    block_on(async {
        let mut reader = source.open(&split, None).await.unwrap();
        assert_eq!(reader.next_chunk().await.unwrap().unwrap().bytes, "first\n");
        sender.send(()).unwrap();
        assert_eq!(reader.next_chunk().await.unwrap().unwrap().bytes, "second\n");
        assert!(reader.next_chunk().await.unwrap().is_none());
        let stored = reader.position(Position { byte: 6, ..Position::START });
        let error = source.open(&split, Some(&stored)).await.unwrap_err();
        assert!(error.to_string().contains("cannot be read again from byte 6"), "{error}");
    });
    writer.join().unwrap();
}

#[test]
fn standard_input_is_one_piece_that_is_read_once() {
    let source = FileSource::new("-", cut_small());
    let cut = splits(&source, 4, &[]);
    assert_eq!(cut.len(), 1);
    assert!(!cut[0].resumable);
    assert_eq!(splits(&source, 2, &cut), cut);
}

#[test]
fn dropping_a_future_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    std::fs::write(&path, lines(5_000)).unwrap();
    let source = source(&path, FileOptions::new().with_chunk_bytes(4 << 10));
    let split = splits(&source, 1, &[]).remove(0);
    let bytes = block_on(async {
        let mut reader = source.open(&split, None).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            // Polled once and dropped, ready or not.
            let polled = {
                let mut next = std::pin::pin!(reader.next_chunk());
                std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context))).await
            };
            match polled {
                std::task::Poll::Pending => tokio::task::yield_now().await,
                std::task::Poll::Ready(chunk) => match chunk.unwrap() {
                    Some(chunk) => bytes.extend_from_slice(&chunk.bytes),
                    None => return bytes,
                },
            }
        }
    });
    assert!(bytes == lines(5_000));
}

fn append(path: &Path, bytes: &[u8]) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn an_empty_file_that_grows_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    std::fs::write(&path, "").unwrap();
    let source = source(&path, cut_small());
    let first = splits(&source, 2, &[]);
    assert_eq!(first, []);
    append(&path, b"cpu usage=1\n");
    let second = splits(&source, 2, &first);
    assert_eq!(second.len(), 1);
    assert_eq!(read(&source, &second[0], None).unwrap().1, b"cpu usage=1\n");
}

#[test]
fn growth_from_the_middle_of_a_line_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    let grown = |old: &str, more: &str, options: FileOptions| {
        std::fs::write(&path, old).unwrap();
        let source = source(&path, options);
        let first = splits(&source, 1, &[]);
        append(&path, more.as_bytes());
        let second = block_on(source.splits(1, &first))?;
        Ok::<_, Error>(
            second[1..].iter().flat_map(|split| read(&source, split, None).unwrap().1).collect::<Vec<_>>(),
        )
    };
    for more in ["2 1000\n", "\r2\n", "\r"] {
        let error = grown("cpu usage=0\ncpu usage=1", more, cut_small()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("x.lp has grown from the middle of a line"), "{error}");
        assert!(
            error.to_string().contains("byte 23") && error.hint().unwrap().contains("--restart"),
            "{error}"
        );
    }
    // A line end that came late belongs to the record that was read.
    for (more, rest) in [("\n", ""), ("\ncpu usage=2\n", "cpu usage=2\n"), ("\r\ncpu usage=3", "cpu usage=3")]
    {
        assert_eq!(grown("cpu usage=1", more, cut_small()).unwrap(), rest.as_bytes(), "{more:?}");
    }
    assert_eq!(grown("cpu usage=1\n", "\ncpu usage=2", cut_small()).unwrap(), b"\ncpu usage=2");
    // Not so where records are no lines.
    assert_eq!(grown("ab", "cd", FileOptions::new().with_lines(false)).unwrap(), b"cd");
}

#[test]
fn a_file_truncated_while_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    std::fs::write(&path, lines(50_000)).unwrap();
    let source = source(&path, FileOptions::new().with_chunk_bytes(4 << 10));
    let split = splits(&source, 1, &[]).remove(0);
    let error = block_on(async {
        let mut reader = source.open(&split, None).await.unwrap();
        // The thread is a few chunks ahead at most.
        reader.next_chunk().await.unwrap().unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();
        loop {
            match reader.next_chunk().await {
                Ok(chunk) => assert!(chunk.is_some(), "the end of input was told"),
                Err(error) => return error,
            }
        }
    });
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("truncated while it was read: it ends at byte 100000"), "{error}");
    assert!(error.hint().unwrap().contains("--restart"));
}

#[test]
#[cfg(unix)]
fn a_pipe_without_a_writer_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (sender, receiver) = std::sync::mpsc::channel();
    let reading = path.clone();
    std::thread::spawn(move || {
        let source = source(&reading, cut_small());
        let split = splits(&source, 1, &[]).remove(0);
        let mut reader = block_on(source.open(&split, None)).unwrap();
        sender.send(None).unwrap();
        sender.send(block_on(reader.next_chunk()).unwrap()).unwrap();
    });
    // It fails after this, rather than to hang.
    let wait = std::time::Duration::from_secs(30);
    assert!(receiver.recv_timeout(wait).expect("open() blocks").is_none());
    std::fs::write(&path, "first\n").unwrap();
    assert_eq!(receiver.recv_timeout(wait).unwrap().unwrap().bytes, "first\n");
}

#[test]
#[cfg(unix)]
fn a_file_that_became_a_pipe_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp");
    std::fs::write(&path, "cpu usage=1\n").unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let source = source(&path, cut_small());
        let known = splits(&source, 1, &[]);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        sender.send(block_on(source.splits(1, &known)).unwrap_err()).unwrap();
        sender.send(block_on(source.open(&known[0], None)).unwrap_err()).unwrap();
    });
    for _ in 0..2 {
        let error = receiver.recv_timeout(std::time::Duration::from_secs(30)).expect("it blocks");
        assert!(error.to_string().contains("is no regular file"), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn linked_folders_are_not_walked() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir(dir.path().join("other")).unwrap();
    for (name, text) in [("root/sub/a.lp", "a\n"), ("other/b.lp", "b\n")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink(&root, root.join("sub/up")).unwrap();
    std::os::unix::fs::symlink("../../other", root.join("sub/other")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("other/b.lp"), root.join("linked.lp")).unwrap();
    let read = |path: &Path| all(&source(path, FileOptions::new()), 1);
    // A linked file is a file, and the directory itself may be a link.
    assert_eq!(read(&root), b"b\na\n");
    assert_eq!(read(&root.join("sub/up")), b"b\na\n");
    // A pattern follows links, but brings each folder once.
    assert_eq!(read(&root.join("**/*.lp")), b"b\na\nb\n");
    assert_eq!(read(&root.join("s*/o*/*.lp")), b"b\n");
    std::fs::remove_file(root.join("sub/a.lp")).unwrap();
    let error = block_on(source(root.join("sub"), FileOptions::new()).splits(1, &[])).unwrap_err();
    assert!(error.hint().unwrap().contains("linked folders"), "{error}");
}

#[test]
fn the_length_of_gzip_data_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lp.gz");
    std::fs::write(&path, gzip(&lines(1_000))).unwrap();
    assert_eq!(splits(&source(&path, FileOptions::new()), 1, &[])[0].bytes, None);
}

#[test]
fn many_known_files() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300 {
        std::fs::write(dir.path().join(format!("{n:03}.lp")), lines(20)).unwrap();
    }
    let source = source(dir.path(), cut_small().with_split_bytes(100));
    let known = splits(&source, 2, &[]);
    assert!(known.len() > 600, "{}", known.len());
    assert_eq!(splits(&source, 2, &known), known);
    append(&dir.path().join("123.lp"), b"more\n");
    let grown = splits(&source, 2, &known);
    assert_eq!(grown[..known.len()], known);
    assert_eq!(grown.len(), known.len() + 1);
    assert_eq!(read(&source, &grown[known.len()], None).unwrap().1, b"more\n");
}

#[test]
fn a_thread_that_breaks_off_is_no_end() {
    let mut ahead = ahead::Ahead::spawn("x.lp".to_owned(), |send| {
        assert!(send(1) && !send(2), "broken off on purpose");
        Ok(())
    })
    .unwrap();
    block_on(async {
        assert_eq!(ahead.next().await.unwrap(), Some(1));
        assert_eq!(ahead.next().await.unwrap(), Some(2));
        for _ in 0..2 {
            let error = ahead.next().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert_eq!(error.to_string(), "the reading of x.lp broke off before its end");
        }
    });
    let mut ahead = ahead::Ahead::<u8>::spawn("x.lp".to_owned(), |_| Ok(())).unwrap();
    assert_eq!(block_on(async { (ahead.next().await.unwrap(), ahead.next().await.unwrap()) }), (None, None));
}

#[test]
fn registered() {
    let mut registry = Registry::new();
    register(&mut registry);
    registry.register_decoder(ConnectorInfo::format("line_influxdb", "line protocol"), |_| {
        Ok(Arc::new(|| Err(Error::new(ErrorKind::Internal, "not asked for"))))
    });
    let open = |dsn: &str| registry.source(&dsn.parse().unwrap(), &OpenOptions::new());
    open("./x.lp").unwrap();
    open("file:x.lp.gz?split=lines&chunk=256KiB&compression=gzip").unwrap();
    open("-?format=line_influxdb").unwrap();
    let fault = |dsn: &str| open(dsn).map(drop).unwrap_err().to_string();
    assert_eq!(
        fault("./x.lp?splits=lines"),
        "source `file`: unknown parameter `splits`, did you mean `split`?"
    );
    assert_eq!(fault("-"), "`file:-` does not say which format its records have");
    assert!(fault("file://data/x.lp").contains("names the host `data`"));
    #[cfg(feature = "parquet")]
    {
        open("x.parquet").unwrap();
        let source = open("-?format=parquet").unwrap();
        let error = block_on(source.splits(1, &[])).unwrap_err();
        assert!(error.to_string().contains("cannot be read from standard input"), "{error}");
    }
    #[cfg(feature = "ipc")]
    {
        open("x.arrow").unwrap();
        let source = open("-?format=arrow&table=t").unwrap();
        let splits = block_on(source.splits(4, &[])).unwrap();
        assert_eq!((splits.len(), splits[0].resumable), (1, false));
    }
}

#[test]
#[cfg(feature = "ipc")]
fn arrow_by_runs_of_batches() {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use kwsync_core::{Reader, Source};
    use kwsync_formats::ipc::{BatchWriter, Layout, WriteOptions};

    let batch = |from: i64, to: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    };
    // Eight bytes a row: batches of 32 MiB, so that two make a split.
    let each = 4 << 20;
    for (layout, cut_into, batches) in [(Layout::File, 2, 5), (Layout::Stream, 1, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.arrow");
        let options = WriteOptions::new().with_layout(layout);
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = BatchWriter::try_new(file, &batch(0, 1).schema(), &options).unwrap();
        (0..batches).for_each(|n| writer.write(&batch(n * each, (n + 1) * each)).unwrap());
        writer.finish().unwrap();
        block_on(async {
            let source = BatchFileSource::arrow(path.display().to_string());
            let cut = Source::splits(&source, 1, &[]).await.unwrap();
            assert_eq!(cut.len(), cut_into);
            assert_eq!(Source::splits(&source, 3, &cut).await.unwrap(), cut);
            let (mut rows, mut bytes, mut first) = (0, 0, None);
            for split in &cut {
                let mut reader = Source::open(&source, split, None).await.unwrap();
                while let Some(next) = reader.next().await.unwrap() {
                    first.get_or_insert_with(|| next.position.clone());
                    bytes += next.bytes;
                    for batch in &next.decoded.batches {
                        assert_eq!((batch.table().name(), batch.rows() <= 16 << 10), ("cpu", true));
                        assert_eq!(batch.row(0).get("n").unwrap(), kwsync_core::Value::Int(rows));
                        rows += batch.rows() as i64;
                    }
                }
            }
            assert_eq!(rows, batches * each);
            assert!(bytes.abs_diff(rows as u64 * 8) < bytes / 100, "{bytes} of {rows} rows");
            // The place is behind whole batches.
            let mut reader = Source::open(&source, &cut[0], first.as_ref()).await.unwrap();
            let second = reader.next().await.unwrap().unwrap();
            assert_eq!(second.decoded.batches[0].row(0).get("n").unwrap(), kwsync_core::Value::Int(each));
            // A file that breaks off is no end of input.
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
            assert!(
                Source::open(&source, &cut[0], None).await.unwrap_err().to_string().contains("has shrunk")
            );
            let fresh = BatchFileSource::arrow(path.display().to_string());
            let told = match Source::splits(&fresh, 1, &[]).await {
                Err(error) => error,
                Ok(cut) => {
                    let mut reader = Source::open(&fresh, &cut[0], None).await.unwrap();
                    loop {
                        match reader.next().await {
                            Ok(batch) => assert!(batch.is_some(), "the end of input was told"),
                            Err(error) => break error,
                        }
                    }
                }
            };
            assert!(told.to_string().contains("cpu.arrow"), "{told}");
        });
    }
}

#[test]
#[cfg(feature = "parquet")]
fn parquet_by_row_groups() {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use kwsync_core::{Reader, Source, Value};
    use kwsync_formats::parquet::{BatchWriter, WriteOptions};

    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("a%2Fb")).unwrap();
    let path = dir.path().join("a%2Fb/1.parquet");
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50_000));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let options = WriteOptions::new().with_row_group_rows(30_000);
    let mut writer =
        BatchWriter::try_new(std::fs::File::create(&path).unwrap(), &batch.schema(), &options).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();

    block_on(async {
        let source = BatchFileSource::parquet(dir.path().display().to_string());
        let cut = Source::splits(&source, 1, &[]).await.unwrap();
        assert_eq!(cut.len(), 2);
        assert_eq!(Source::splits(&source, 3, &cut).await.unwrap(), cut);
        let (mut rows, mut bytes, mut middle) = (Vec::new(), 0, None);
        for split in &cut {
            let mut reader = Source::open(&source, split, None).await.unwrap();
            while let Some(next) = reader.next().await.unwrap() {
                middle.get_or_insert_with(|| next.position.clone());
                bytes += next.bytes;
                let batch = &next.decoded.batches[0];
                assert_eq!(batch.table().name(), "a/b");
                rows.extend((0..batch.rows()).map(|row| batch.row(row).get("n").unwrap() == Value::Int(0)));
            }
        }
        assert_eq!((rows.len(), rows[0], rows[30_000]), (50_000, true, false));
        assert!(bytes > 0);
        let mut reader = Source::open(&source, &cut[0], middle.as_ref()).await.unwrap();
        let first = reader.next().await.unwrap().unwrap();
        assert_eq!(first.decoded.batches[0].row(0).get("n").unwrap(), Value::Int(16 << 10));
        // A row group that ends early is no end of input.
        let mut short = cut[1].clone();
        short.spec["count"] = 20_001.into();
        let mut reader = Source::open(&source, &short, None).await.unwrap();
        let error = loop {
            match reader.next().await {
                Ok(batch) => assert!(batch.is_some(), "the end of input was told"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("row group 1 ends after 20000 of its 20001 rows"), "{error}");
        let whole = std::fs::read(&path).unwrap();
        for other in [b"no Parquet".to_vec(), [&whole[..], b"more"].concat()] {
            std::fs::write(&path, other).unwrap();
            let error = Source::open(&source, &cut[0], None).await.unwrap_err();
            assert!(error.to_string().contains("was changed"), "{error}");
            let error = Source::splits(&source, 1, &cut).await.unwrap_err();
            assert!(error.to_string().contains("was changed") && error.hint().is_some(), "{error}");
        }
    });
}
