//! `kwsync demo`: the main job on a data set that ships with the program.

use std::path::{Path, PathBuf};

use kwsync::Job;
use kwsync_core::arrow::array::RecordBatch;
use kwsync_core::spec::PipelineSpec;
use kwsync_core::{Column, Error, ErrorKind, Result, Value};
use kwsync_formats::parquet::{BatchReader, ReadOptions};

use super::args::DemoArgs;
use super::say;

/// Host metrics of a Linux machine under load, recorded by `examples/capture.rs`.
static DATA: &[u8] = include_bytes!("../../data/host-metrics.lp.gz");

/// Rows of each table that are shown.
const SHOWN_ROWS: usize = 2;
/// Columns of each table that are shown.
const SHOWN_COLUMNS: usize = 6;

pub(crate) async fn run(args: &DemoArgs) -> Result<u8> {
    let fault = |error| Error::io(format!("cannot write {}", args.dir.display()), error);
    std::fs::create_dir_all(&args.dir).map_err(fault)?;
    let input = args.dir.join("host-metrics.lp.gz");
    let output = args.dir.join("parquet");
    // What an earlier demo wrote makes room for this one; a folder that is not a demo's is left alone.
    if input.exists() && output.exists() {
        std::fs::remove_dir_all(&output).map_err(fault)?;
    }
    std::fs::write(&input, DATA).map_err(fault)?;
    let state = args.dir.join("state");
    let name = |path: &Path| path.display().to_string();
    let (from, to) = (name(&input), format!("file:{}?format=parquet", name(&output)));
    say(&format!("$ kwsync run --from {from} --to '{to}'\n\n"))?;
    let mut spec = PipelineSpec::new(from, to).with_checkpoint(format!("file:{}", name(&state)));
    spec.restart = true;
    let outcome = Job::new(&spec, &kwsync::registry())?.run().await?;
    let status = outcome.exit_status();
    let report = outcome.into_result()?;
    say(&report.to_string())?;
    for table in report.tables.keys() {
        say(&show(table, &output.join(table))?)?;
    }
    say(&format!("\nThe files are under {}; any tool that reads Parquet opens them.\n", output.display()))?;
    Ok(status)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(dir).map_err(|error| Error::io(format!("cannot read {}", dir.display()), error))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "parquet"))
        .collect();
    files.sort();
    Ok(files)
}

fn show(table: &str, dir: &Path) -> Result<String> {
    let Some(first) = files(dir)?.into_iter().next() else {
        return Err(Error::new(ErrorKind::NotFound, format!("no Parquet file in {}", dir.display())));
    };
    let file = std::fs::File::open(&first)
        .map_err(|error| Error::io(format!("cannot open {}", first.display()), error))?;
    let mut reader = BatchReader::from_file(file, &ReadOptions::new().with_batch_rows(SHOWN_ROWS))?;
    let columns: Vec<Column> =
        reader.schema().fields().iter().map(|field| Column::from_field(field)).collect::<Result<_>>()?;
    let head = format!("\n{table} ({} columns)\n", columns.len());
    Ok(match reader.next().transpose()? {
        Some(batch) => head + &grid(&columns, &batch)?,
        None => head,
    })
}

fn grid(columns: &[Column], batch: &RecordBatch) -> Result<String> {
    let shown = columns.len().min(SHOWN_COLUMNS);
    let mut cells: Vec<Vec<String>> = vec![
        columns.iter().take(shown).map(|column| column.name().to_owned()).collect(),
        columns
            .iter()
            .take(shown)
            .map(|column| format!("{} {}", column.role().as_str(), column.data_type()))
            .collect(),
    ];
    for row in 0..batch.num_rows().min(SHOWN_ROWS) {
        let values =
            (0..shown).map(|at| Value::of(batch.column(at).as_ref(), row).map(|value| value.to_string()));
        cells.push(values.collect::<Result<_>>()?);
    }
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..shown).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let line: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let more = if columns.len() > shown { "  ..." } else { "" };
        text.push_str(&format!("  {}{more}\n", line.join("  ").trim_end()));
    }
    Ok(text)
}
