//! A million rows of 21 columns into PostgreSQL by kwsync's sink and by its peers, by turns, each way in a process of its own:
//! rows a second, the client's CPU seconds, and the most memory that the load took beyond the batches. Peers: `psql \copy` (binary,
//! text), pgpq with tokio-postgres' `copy_in`, `BinaryCopyInWriter`, ADBC (python3 with adbc-driver-postgresql and pyarrow, named by
//! `KWSYNC_BENCH_PYTHON`; left out, and said, where it is not installed).
//! Arguments: rows in thousands (default 1000), rounds (default 3).

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray};
use bytes::BytesMut;
use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_core::config::Dsn;
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::testkit::PgServer;
use kwsync_core::{Column, DataType, JobId, Lane, Origin, Schema, Sink, TableBatch, TimeUnit, Writer};
use kwsync_peers::measure::{Peak, cpu_seconds};
use kwsync_sinks::postgres::{PostgresOptions, PostgresSink, Sort};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

type Failure = Box<dyn std::error::Error>;

/// What a way took: wall seconds, the client's CPU seconds, MiB beyond what it began with.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall: f64,
    cpu: f64,
    memory: f64,
}

const BATCH: usize = 16_384;

/// `rows` rows as the line protocol's decoder leaves them, with times that are a permutation: no table has two alike.
fn batches(rows: usize) -> Result<Vec<TableBatch>, Failure> {
    let block = generate(Kind::Cpu, 8 << 20);
    let decoded = kwsync_peers::batches(&block.into_bytes().into());
    let first = decoded.iter().max_by_key(|batch| batch.rows()).ok_or("no rows")?;
    let mut columns =
        vec![Column::new("time", DataType::TimestampTz(TimeUnit::Microsecond)).with_nullable(false)];
    columns.extend(first.schema().columns().iter().skip(1).cloned());
    let schema = Arc::new(Schema::new(columns)?);
    let (mut all, mut done) = (Vec::new(), 0);
    while done < rows {
        let take = BATCH.min(rows - done).min(first.rows());
        let times: Vec<i64> = (done..done + take)
            .map(|n| 1_700_000_000_000_000 + (n as u64 * 2_654_435_761 % rows as u64) as i64 * 1_000)
            .collect();
        let mut arrays: Vec<ArrayRef> =
            vec![Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))];
        arrays.extend(first.batch().columns().iter().skip(1).map(|array| array.slice(0, take)));
        all.push(TableBatch::from_columns("t", Arc::clone(&schema), arrays, Origin::unknown(take))?);
        done += take;
    }
    Ok(all)
}

/// The same rows for pgpq, whose arrow is another one.
fn for_pgpq(batches: &[TableBatch]) -> Result<Vec<arrow_array_59::RecordBatch>, Failure> {
    let one = |batch: &TableBatch| {
        let columns = batch.schema().columns().iter().zip(batch.batch().columns()).map(|(column, array)| {
            let theirs: arrow_array_59::ArrayRef = if let Some(views) = array.as_string_view_opt() {
                Arc::new(views.iter().collect::<arrow_array_59::StringViewArray>())
            } else if let Some(values) = array.as_primitive_opt::<Int64Type>() {
                Arc::new(values.iter().collect::<arrow_array_59::Int64Array>())
            } else {
                let values = array.as_primitive::<TimestampMicrosecondType>().iter();
                Arc::new(values.collect::<arrow_array_59::TimestampMicrosecondArray>().with_timezone("UTC"))
            };
            (column.name().to_owned(), theirs)
        });
        arrow_array_59::RecordBatch::try_from_iter(columns)
    };
    Ok(batches.iter().map(one).collect::<Result<_, _>>()?)
}

/// Runs one way in this process and prints what it took.
fn alone(way: &str, dsn: &str, rows: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let all = batches(rows)?;
    let address: Dsn = dsn.parse()?;
    match way {
        "pgpq" => {
            let batches = for_pgpq(&all)?;
            measured(|| runtime.block_on(pgpq(dsn, &batches)))
        }
        "writer" => measured(|| runtime.block_on(by_row(dsn, &all))),
        _ => {
            let sort = if way.contains("sorted") { Sort::Key } else { Sort::None };
            let lanes = if way.contains("two") { 2 } else { 1 };
            let options = PostgresOptions::new(ConnectConfig::from_dsn(&address, 5432)?).with_sort(sort);
            measured(|| runtime.block_on(ours(options, &all, lanes)))
        }
    }
}

fn measured(load: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let (peak, cpu, began) = (Peak::start(), cpu_seconds(), Instant::now());
    load()?;
    let wall = began.elapsed().as_secs_f64();
    println!("took {wall} {} {}", cpu_seconds() - cpu, peak.mib());
    Ok(())
}

async fn ours(options: PostgresOptions, batches: &[TableBatch], lanes: usize) -> Result<(), Failure> {
    let sink = Arc::new(PostgresSink::new(options));
    sink.prepare(batches[0].table(), batches[0].schema()).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..lanes {
        let mine: Vec<_> = batches.iter().skip(index).step_by(lanes).cloned().collect();
        let sink = Arc::clone(&sink);
        tasks.spawn(async move {
            let mut writer = sink.open(&Lane { job: JobId::new("bench"), index, generation: 1 }).await?;
            for batch in &mine {
                writer.write(batch).await?;
            }
            writer.flush().await?;
            writer.close().await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn connect(dsn: &str) -> Result<tokio_postgres::Client, Failure> {
    let (client, connection) = tokio_postgres::connect(dsn, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn pgpq(dsn: &str, batches: &[arrow_array_59::RecordBatch]) -> Result<(), Failure> {
    use futures_util::SinkExt;
    let client = connect(dsn).await?;
    let sink = client.copy_in("COPY t FROM STDIN BINARY").await?;
    let mut sink = std::pin::pin!(sink);
    let mut encoder = pgpq::ArrowToPostgresBinaryEncoder::try_new(&batches[0].schema())?;
    let mut out = BytesMut::new();
    encoder.write_header(&mut out)?;
    for batch in batches {
        encoder.write_batch(batch, &mut out)?;
        sink.send(out.split().freeze()).await?;
    }
    encoder.write_footer(&mut out)?;
    sink.send(out.freeze()).await?;
    sink.finish().await?;
    Ok(())
}

async fn by_row(dsn: &str, batches: &[TableBatch]) -> Result<(), Failure> {
    let client = connect(dsn).await?;
    let sink = client.copy_in("COPY t FROM STDIN BINARY").await?;
    let columns = batches[0].batch().columns();
    let types: Vec<Type> = columns
        .iter()
        .enumerate()
        .map(|(i, array)| match array.as_string_view_opt() {
            _ if i == 0 => Type::TIMESTAMPTZ,
            Some(_) => Type::TEXT,
            None => Type::INT8,
        })
        .collect();
    let writer = BinaryCopyInWriter::new(sink, &types);
    let mut writer = std::pin::pin!(writer);
    for batch in batches {
        let columns = batch.batch().columns();
        let times = columns[0].as_primitive::<TimestampMicrosecondType>();
        let texts: Vec<_> = columns.iter().filter_map(|array| array.as_string_view_opt()).collect();
        let numbers: Vec<_> =
            columns.iter().filter_map(|array| array.as_primitive_opt::<Int64Type>()).collect();
        for row in 0..batch.rows() {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(times.value(row) as u64);
            let texts: Vec<&str> = texts.iter().map(|array| array.value(row)).collect();
            let numbers: Vec<i64> = numbers.iter().map(|array| array.value(row)).collect();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&time];
            values.extend(texts.iter().map(|text| text as &(dyn ToSql + Sync)));
            values.extend(numbers.iter().map(|number| number as &(dyn ToSql + Sync)));
            writer.as_mut().write(&values).await?;
        }
    }
    writer.finish().await?;
    Ok(())
}

/// Runs a command that tells what it took, or whose own time is taken.
fn run(command: &mut Command) -> Result<Took, Failure> {
    let (cpu, began) = (kwsync_peers::measure::children_cpu_seconds(), Instant::now());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut most = 0.0f64;
    while child.try_wait()?.is_none() {
        most = most.max(kwsync_peers::measure::peak_mib(child.id()));
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = began.elapsed().as_secs_f64();
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        return Err(format!("{command:?}: {}: {out}{err}", output.status).into());
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let told: Vec<f64> = told
        .lines()
        .find_map(|line| line.strip_prefix("took "))
        .map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect())
        .unwrap_or_default();
    Ok(match told[..] {
        [wall, cpu, memory] => Took { wall, cpu, memory },
        _ => Took { wall, cpu: kwsync_peers::measure::children_cpu_seconds() - cpu, memory: most },
    })
}

/// A way, and the command that goes it.
type Way<'a> = (&'a str, Box<dyn Fn() -> Command + 'a>);

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, way, dsn, rows] = &args[..]
        && flag == "--alone"
    {
        return alone(way, dsn, rows.parse()?);
    }
    let rows = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(1_000) * 1_000;
    let rounds: usize = args.get(1).and_then(|arg| arg.parse().ok()).unwrap_or(3);
    let Some(server) = PgServer::start() else { return Ok(()) };
    let database = server.create_database();
    let dir = std::env::temp_dir().join(format!("kwsync-peers-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let dsn = format!("{}?sslmode=disable", server.dsn(&database));
    let this = std::env::current_exe()?;
    let alone = |way: &str| {
        let mut command = Command::new(&this);
        command.args(["--alone", way, &dsn, &rows.to_string()]);
        command
    };

    // The files that the programs load are what our sink wrote.
    let columns = columns(&batches(1)?[0]);
    server.psql(&database, &format!("CREATE TABLE t ({columns})"));
    run(&mut alone("kwsync"))?;
    let psql = |sql: &str| {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-h"]).arg(server.socket_dir());
        command.args(["-p", &server.port().to_string(), "-U", server.superuser(), &database, "-c", sql]);
        command
    };
    let file = |name: &str| dir.join(name).display().to_string();
    for (name, options) in [("t.bin", "(format binary)"), ("t.txt", ""), ("t.csv", "(format csv)")] {
        run(&mut psql(&format!("\\copy t to '{}' {options}", file(name))))?;
    }
    let python = python();
    let adbc = dir.join("adbc_ingest.py");
    std::fs::write(&adbc, include_str!("../../adbc_ingest.py"))?;

    let (adbc, dsn, csv) = (&adbc, &dsn, &file("t.csv"));
    let mut ways: Vec<Way<'_>> = vec![
        (
            "psql \\copy binary",
            Box::new(|| psql(&format!("\\copy t from '{}' (format binary)", file("t.bin")))),
        ),
        ("psql \\copy text", Box::new(|| psql(&format!("\\copy t from '{}'", file("t.txt"))))),
        ("kwsync", Box::new(|| alone("kwsync"))),
        ("kwsync, two connections", Box::new(|| alone("kwsync two"))),
        ("kwsync, sorted by key", Box::new(|| alone("kwsync sorted"))),
        ("pgpq and copy_in", Box::new(|| alone("pgpq"))),
        ("BinaryCopyInWriter", Box::new(|| alone("writer"))),
    ];
    match &python {
        Some(python) => ways.push((
            "ADBC's ingest",
            Box::new(move || {
                let mut command = Command::new(python);
                command.arg(adbc).arg(dsn).arg(csv);
                command
            }),
        )),
        None => eprintln!(
            "SKIPPED: ADBC (no python3 with adbc-driver-postgresql and pyarrow; KWSYNC_BENCH_PYTHON)"
        ),
    }
    for (name, before, key) in [
        ("unlogged", "UNLOGGED", ""),
        ("logged", "", ""),
        ("unlogged, primary key", "UNLOGGED", ", PRIMARY KEY (time)"),
        ("logged, primary key", "", ", PRIMARY KEY (time)"),
    ] {
        let make = format!("DROP TABLE t; CREATE {before} TABLE t ({columns}{key}); CHECKPOINT");
        let mut took: Vec<Vec<Took>> = vec![Vec::new(); ways.len()];
        for _ in 0..rounds.max(1) {
            for (i, (way, command)) in ways.iter().enumerate() {
                if key.is_empty() && way.contains("sorted") {
                    continue;
                }
                server.psql(&database, &make);
                took[i].push(run(&mut command())?);
                assert_eq!(server.psql(&database, "SELECT count(*) FROM t").trim(), rows.to_string());
            }
        }
        println!("\n{name}, {rows} rows of 21 columns, medians of {rounds}");
        println!(
            "| way | thousand rows/s | wall s | of psql's binary | client CPU s | MiB |\n|---|---|---|---|---|---|"
        );
        let first = median(&took[0], |took| took.wall);
        for ((way, _), took) in ways.iter().zip(&took).filter(|(_, took)| !took.is_empty()) {
            let wall = median(took, |took| took.wall);
            println!(
                "| {way} | {:.0} | {wall:.2} | {:.2} | {:.2} | {:.0} |",
                rows as f64 / wall / 1_000.0,
                wall / first,
                median(took, |took| took.cpu),
                median(took, |took| took.memory)
            );
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn median(took: &[Took], of: impl Fn(&Took) -> f64) -> f64 {
    let mut values: Vec<f64> = took.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The columns as SQL.
fn columns(batch: &TableBatch) -> String {
    let kind = |array: &ArrayRef| match array.as_string_view_opt() {
        Some(_) => "text",
        None if array.as_primitive_opt::<Int64Type>().is_some() => "bigint",
        None => "timestamptz",
    };
    let columns = batch.schema().columns().iter().zip(batch.batch().columns());
    columns
        .map(|(column, array)| format!("\"{}\" {}", column.name(), kind(array)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A Python that has what ADBC needs.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("KWSYNC_BENCH_PYTHON").unwrap_or_else(|| "python3".into()));
    let test = "import adbc_driver_postgresql.dbapi, pyarrow";
    let ran = Command::new(&python).args(["-c", test]).stderr(Stdio::null()).status().ok()?;
    ran.success().then_some(python)
}
