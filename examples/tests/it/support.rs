//! What the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kwsync_core::{Column, Role, Value};
use kwsync_formats::parquet::{BatchReader, ReadOptions};

/// A folder of its own for one test, with its own state of jobs.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_kwsync"), arguments)
    }

    pub(crate) fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir.path()).env("XDG_STATE_HOME", self.path("state"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().unwrap())
    }
}

pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self(output)
    }

    pub(crate) fn status(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Its output, once it has ended with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status(), status, "stdout: {}\nstderr: {}", self.out(), self.err());
        self
    }
}

/// A job that listens; it goes with the test.
pub(crate) struct Job(Option<Child>);

impl Job {
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::of(place.command(arguments))
    }

    /// Any program as one.
    pub(crate) fn of(mut command: Command) -> Self {
        Self(Some(
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        ))
    }

    pub(crate) fn end(mut self) -> Ran {
        Ran::of(self.0.take().unwrap().wait_with_output().unwrap())
    }

    pub(crate) fn terminate(self) -> Ran {
        let pid = self.0.as_ref().unwrap().id().to_string();
        assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
        self.end()
    }
}

impl Job {
    /// Kills it with SIGKILL.
    pub(crate) fn kill(self) {}

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Waits for what must come.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The sample files, or `None`, said loudly, where they are not.
pub(crate) fn sample_data() -> Option<PathBuf> {
    let dir = std::env::var_os("KWSYNC_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("SKIPPED: no sample data at {}; set KWSYNC_TEST_DATA", dir.display());
    None
}

/// One row, in a form that does not depend on the order of columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) table: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) fields: BTreeMap<String, (String, String)>,
    pub(crate) timestamp: Option<i64>,
}

/// The rows of the `points` format.
pub(crate) fn points(text: &str) -> Vec<Point> {
    let string = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    text.lines()
        .map(|line| {
            let point: serde_json::Value = serde_json::from_str(line).unwrap();
            let list = |name: &str| point[name].as_array().unwrap().clone();
            Point {
                table: string(&point["table"]),
                tags: list("tags").iter().map(|tag| (string(&tag[0]), string(&tag[1]))).collect(),
                fields: list("fields")
                    .iter()
                    .map(|field| (string(&field[0]), (string(&field[1]), string(&field[2]))))
                    .collect(),
                timestamp: point["timestamp"].as_i64(),
            }
        })
        .collect()
}

/// Every finished Parquet file below `dir`.
pub(crate) fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The rows of every Parquet file below `dir`, one folder a table.
pub(crate) fn parquet_points(dir: &Path) -> Vec<Point> {
    let mut points = Vec::new();
    for path in parquet_files(dir) {
        let table = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let file = std::fs::File::open(&path).unwrap();
        for batch in BatchReader::from_file(file, &ReadOptions::new()).unwrap() {
            let batch = batch.unwrap();
            let schema = batch.schema();
            let columns: Vec<Column> =
                schema.fields().iter().map(|field| Column::from_field(field).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let mut point = Point {
                    table: table.clone(),
                    tags: BTreeMap::new(),
                    fields: BTreeMap::new(),
                    timestamp: None,
                };
                for (at, column) in columns.iter().enumerate() {
                    let value = Value::of(batch.column(at).as_ref(), row).unwrap();
                    let name = column.name().to_owned();
                    match (column.role(), value) {
                        (_, Value::Null) => {}
                        (Role::Timestamp, Value::Timestamp(at, ..)) => point.timestamp = Some(at),
                        (Role::Tag, value) => {
                            point.tags.insert(name, value.to_string());
                        }
                        (_, value) => {
                            let kind = match &value {
                                Value::Bool(_) => "bool",
                                Value::Int(_) => "i64",
                                Value::UInt(_) => "u64",
                                Value::Float64(_) => "f64",
                                Value::Text(_) => "string",
                                other => panic!("no field of line protocol is {other:?}"),
                            };
                            point.fields.insert(name, (kind.to_owned(), value.to_string()));
                        }
                    }
                }
                points.push(point);
            }
        }
    }
    points
}

/// A block of a language in a document below docs/, by its number from 0.
pub(crate) fn block(document: &str, language: &str, nth: usize) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, block))) => block.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    blocks.into_iter().filter(|(found, _)| *found == language).nth(nth).unwrap().1
}
