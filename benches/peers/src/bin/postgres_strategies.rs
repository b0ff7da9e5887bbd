//! The ways into PostgreSQL beside each other and beside their peers, in one run: strategies by kind of table, rows
//! sorted by key or not, upserts, small batches, two connections. Prints tables of rows a second and client CPU.
//! Arguments: rows in thousands (default 1000), rounds (default 3).

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use kwsync_core::config::Dsn;
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::testkit::PgServer;
use kwsync_core::{Column, DataType, JobId, Lane, Origin, Schema, Sink, TableBatch, TimeUnit, Writer};
use kwsync_peers::measure::cpu_seconds;
use kwsync_sinks::postgres::{Mode, PostgresOptions, PostgresSink, Sort, Strategy};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

type Failure = Box<dyn std::error::Error>;

const COLUMNS: &str = "id bigint, at timestamptz, host text, n bigint, v float8, w float8, note text";
const BATCH: usize = 65_536;

/// Batches of `rows` rows whose ids are a permutation of all numbers below.
fn batches(rows: usize, batch: usize) -> Result<Vec<TableBatch>, Failure> {
    let schema = Arc::new(Schema::new(vec![
        Column::new("id", DataType::Int64),
        Column::new("at", DataType::TimestampTz(TimeUnit::Microsecond)),
        Column::new("host", DataType::Text),
        Column::new("n", DataType::Int64),
        Column::new("v", DataType::Float64),
        Column::new("w", DataType::Float64),
        Column::new("note", DataType::Text),
    ])?);
    // A factor without a divisor in common with the number of rows.
    let id = |n: usize| (n as u64 * 2_654_435_761 % rows as u64) as i64;
    let mut all = Vec::new();
    for from in (0..rows).step_by(batch) {
        let range = from..rows.min(from + batch);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(range.clone().map(id).collect::<Int64Array>()),
            Arc::new(
                range
                    .clone()
                    .map(|n| Some(1_700_000_000_000_000 + n as i64))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            Arc::new(StringArray::from_iter_values(range.clone().map(|n| format!("host_{}", n % 1_000)))),
            Arc::new(range.clone().map(|n| n as i64).collect::<Int64Array>()),
            Arc::new(range.clone().map(|n| n as f64 / 7.0).collect::<Float64Array>()),
            Arc::new(range.clone().map(|n| n as f64 * 1.5).collect::<Float64Array>()),
            Arc::new(StringArray::from_iter_values(
                range.clone().map(|n| format!("some words about row {n}")),
            )),
        ];
        all.push(TableBatch::from_columns("t", Arc::clone(&schema), columns, Origin::unknown(range.len()))?);
    }
    Ok(all)
}

struct Bench {
    server: PgServer,
    database: String,
    runtime: tokio::runtime::Runtime,
    rounds: usize,
}

impl Bench {
    /// Medians of wall and CPU seconds; the table is made anew each time.
    fn measure(
        &self,
        table: &str,
        mut what: impl FnMut() -> Result<f64, Failure>,
    ) -> Result<(f64, f64), Failure> {
        let (mut walls, mut cpus) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            self.server.psql(&self.database, &format!("DROP TABLE IF EXISTS t; {table}; CHECKPOINT"));
            let started = Instant::now();
            let cpu = what()?;
            walls.push(started.elapsed().as_secs_f64());
            cpus.push(cpu);
        }
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Ok((median(&mut walls), median(&mut cpus)))
    }

    fn options(&self) -> Result<PostgresOptions, Failure> {
        let dsn: Dsn = format!("{}?sslmode=disable", self.server.dsn(&self.database)).parse()?;
        Ok(PostgresOptions::new(ConnectConfig::from_dsn(&dsn, 5432)?))
    }

    /// Loads batches by our sink, in as many connections; commits after so many batches. Returns CPU seconds.
    fn ours(
        &self,
        options: &PostgresOptions,
        batches: &[TableBatch],
        lanes: usize,
        commit: usize,
    ) -> Result<f64, Failure> {
        let cpu = cpu_seconds();
        self.runtime.block_on(async {
            let sink = Arc::new(PostgresSink::new(options.clone()));
            sink.prepare(batches[0].table(), batches[0].schema()).await?;
            let mut tasks = tokio::task::JoinSet::new();
            for lane in 0..lanes {
                let mine: Vec<_> = batches.iter().skip(lane).step_by(lanes).cloned().collect();
                let sink = Arc::clone(&sink);
                tasks.spawn(async move {
                    let lane = Lane { job: JobId::new("bench"), index: lane, generation: 1 };
                    let mut writer = sink.open(&lane).await?;
                    for batches in mine.chunks(commit) {
                        for batch in batches {
                            writer.write(batch).await?;
                        }
                        writer.flush().await?;
                    }
                    writer.close().await
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            Ok::<_, Failure>(())
        })?;
        Ok(cpu_seconds() - cpu)
    }

    /// The same by tokio-postgres.
    fn theirs(&self, rows: &[Row], upsert: bool) -> Result<f64, Failure> {
        let cpu = cpu_seconds();
        self.runtime.block_on(async {
            let address = format!(
                "host=127.0.0.1 port={} user={} password={} dbname={}",
                self.server.port(), self.server.superuser(), self.server.password(), self.database
            );
            let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await?;
            let connection = tokio::spawn(connection);
            if upsert {
                let most = 1_000;
                let values = |rows: usize| -> String {
                    (0..rows).map(|row| {
                        let places: Vec<String> = (1..=7).map(|column| format!("${}", row * 7 + column)).collect();
                        format!("({})", places.join(","))
                    }).collect::<Vec<_>>().join(",")
                };
                let sql = format!(
                    "INSERT INTO t VALUES {} ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at, host = EXCLUDED.host, \
                     n = EXCLUDED.n, v = EXCLUDED.v, w = EXCLUDED.w, note = EXCLUDED.note", values(most));
                client.batch_execute("BEGIN").await?;
                let statement = client.prepare(&sql).await?;
                for rows in rows.chunks_exact(most) {
                    let values: Vec<&(dyn ToSql + Sync)> = rows.iter().flat_map(Row::values).collect();
                    client.execute(&statement, &values).await?;
                }
                client.batch_execute("COMMIT").await?;
            } else {
                let sink = client.copy_in("COPY t FROM STDIN BINARY").await?;
                let types = [Type::INT8, Type::TIMESTAMPTZ, Type::TEXT, Type::INT8, Type::FLOAT8, Type::FLOAT8, Type::TEXT];
                let writer = BinaryCopyInWriter::new(sink, &types);
                let mut writer = std::pin::pin!(writer);
                for row in rows {
                    writer.as_mut().write(&row.values()).await?;
                }
                writer.finish().await?;
            }
            drop(client);
            connection.await??;
            Ok::<_, Failure>(())
        })?;
        Ok(cpu_seconds() - cpu)
    }

    fn psql(&self, sql: &str) -> Result<f64, Failure> {
        let script = format!(
            "TIMEFORMAT='%U %S'; time psql -X -q -h {} -p {} -U {} {} -c '{sql}' >/dev/null",
            self.server.socket_dir().display(),
            self.server.port(),
            self.server.superuser(),
            self.database
        );
        let ran = std::process::Command::new("bash").args(["-c", &script]).output()?;
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        let times = err.lines().last().unwrap_or("").split(' ').filter_map(|word| word.parse::<f64>().ok());
        if ran.status.success() { Ok(times.sum()) } else { Err(err.into()) }
    }
}

/// A row as tokio-postgres takes it.
struct Row(i64, std::time::SystemTime, String, i64, f64, f64, String);

impl Row {
    fn values(&self) -> [&(dyn ToSql + Sync); 7] {
        [&self.0, &self.1, &self.2, &self.3, &self.4, &self.5, &self.6]
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let rows = args.first().copied().unwrap_or(1_000) * 1_000;
    let rounds = args.get(1).copied().unwrap_or(3).max(1);
    let Some(server) = PgServer::start() else { return Ok(()) };
    let database = server.create_database();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bench = Bench { server, database, runtime, rounds };
    let dir = std::env::temp_dir().join(format!("kwsync-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let all = batches(rows, BATCH)?;
    let micros =
        |n: usize| std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_000 + n as u64);
    let plain: Vec<Row> = (0..rows)
        .map(|n| {
            let id = (n as u64 * 2_654_435_761 % rows as u64) as i64;
            Row(
                id,
                micros(n),
                format!("host_{}", n % 1_000),
                n as i64,
                n as f64 / 7.0,
                n as f64 * 1.5,
                format!("some words about row {n}"),
            )
        })
        .collect();
    let base = bench.options()?;
    let none = PostgresOptions::clone(&base).with_sort(Sort::None);
    // What psql loads.
    bench.server.psql(&bench.database, &format!("CREATE TABLE t ({COLUMNS})"));
    bench.ours(&none, &all, 1, usize::MAX)?;
    let (binary, text) = (dir.join("t.bin"), dir.join("t.txt"));
    bench.psql(&format!("\\copy t to {} (format binary)", binary.display()))?;
    bench.psql(&format!("\\copy t to {}", text.display()))?;

    let show = |name: &str, rows: usize, (wall, cpu): (f64, f64)| {
        println!("| {name} | {:.0} | {wall:.2} | {cpu:.2} |", rows as f64 / wall / 1_000.0);
    };
    let tables = [
        ("unlogged", format!("CREATE UNLOGGED TABLE t ({COLUMNS})")),
        ("logged", format!("CREATE TABLE t ({COLUMNS})")),
        ("unlogged, primary key", format!("CREATE UNLOGGED TABLE t ({COLUMNS}, PRIMARY KEY (id))")),
        ("logged, primary key", format!("CREATE TABLE t ({COLUMNS}, PRIMARY KEY (id))")),
    ];
    for (name, table) in &tables {
        println!(
            "\n{name}, {rows} rows\n| way | thousand rows/s | wall s | client CPU s |\n|---|---|---|---|"
        );
        let psql = |file: &std::path::Path, format: &str| format!("\\copy t from {}{format}", file.display());
        show(
            "psql \\copy binary",
            rows,
            bench.measure(table, || bench.psql(&psql(&binary, " (format binary)")))?,
        );
        show("psql \\copy text", rows, bench.measure(table, || bench.psql(&psql(&text, "")))?);
        show("BinaryCopyInWriter", rows, bench.measure(table, || bench.theirs(&plain, false))?);
        show("kwsync copy-binary", rows, bench.measure(table, || bench.ours(&none, &all, 1, usize::MAX))?);
        show(
            "kwsync copy-binary, two connections",
            rows,
            bench.measure(table, || bench.ours(&none, &all, 2, usize::MAX))?,
        );
        if name.contains("key") {
            show(
                "kwsync copy-binary, sort=key",
                rows,
                bench.measure(table, || bench.ours(&base, &all, 1, usize::MAX))?,
            );
            let once = batches(rows, rows)?;
            show(
                "kwsync copy-binary, sort=key, one batch",
                rows,
                bench.measure(table, || bench.ours(&base, &once, 1, usize::MAX))?,
            );
        }
        if *name == "unlogged" {
            for (name, strategy) in
                [("merge", Strategy::Merge), ("insert", Strategy::Insert), ("unnest", Strategy::Unnest)]
            {
                let options = none.clone().with_strategy(strategy);
                show(
                    &format!("kwsync {name}"),
                    rows,
                    bench.measure(table, || bench.ours(&options, &all, 1, usize::MAX))?,
                );
            }
        }
    }

    let few = rows / 5;
    let (some, key) = (batches(few, BATCH)?, &tables[2].1);
    let same: Vec<Row> = (0..few)
        .map(|n| {
            let id = (n as u64 * 2_654_435_761 % few as u64) as i64;
            Row(
                id,
                micros(n),
                format!("host_{}", n % 1_000),
                n as i64,
                0.5,
                1.5,
                format!("some words about row {n}"),
            )
        })
        .collect();
    let full = format!(
        "{key}; INSERT INTO t SELECT n, now(), 'h', n, 1, 2, 'x' FROM generate_series(0, {few} - 1) n; ANALYZE t"
    );
    for (name, table) in [("all new", key), ("all there", &full)] {
        println!(
            "\nupsert, {name}, {few} rows\n| way | thousand rows/s | wall s | client CPU s |\n|---|---|---|---|"
        );
        show(
            "tokio-postgres, INSERT of 1,000 rows",
            few,
            bench.measure(table, || bench.theirs(&same, true))?,
        );
        for (name, strategy) in
            [("merge", Strategy::Merge), ("insert", Strategy::Insert), ("unnest", Strategy::Unnest)]
        {
            for (order, sort) in [("", Sort::Auto), (", sort=none", Sort::None)] {
                let options = base.clone().with_mode(Mode::Upsert).with_strategy(strategy).with_sort(sort);
                show(
                    &format!("kwsync {name}{order}"),
                    few,
                    bench.measure(table, || bench.ours(&options, &some, 1, usize::MAX))?,
                );
            }
        }
    }

    println!(
        "\nsmall commits, thousand rows/s\n| rows of a commit | copy-binary | insert | unnest | merge |\n|---|---|---|---|---|"
    );
    for size in [1, 10, 100, 1_000, 10_000] {
        let rows = (size * 500).min(100_000);
        let small = batches(rows, size)?;
        let mut line = format!("| {size}");
        for strategy in [Strategy::CopyBinary, Strategy::Insert, Strategy::Unnest, Strategy::Merge] {
            let options = none.clone().with_strategy(strategy);
            let (wall, _) = bench.measure(&tables[0].1, || bench.ours(&options, &small, 1, 1))?;
            line.push_str(&format!(" | {:.1}", rows as f64 / wall / 1_000.0));
        }
        println!("{line} |");
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
