//! Rows one at a time into PostgreSQL: `cargo run --example loader -- postgres://me@localhost/db`.
//! The table: `CREATE TABLE cpu (host text, at timestamptz, usage float8, PRIMARY KEY (host, at))`.

use kwsync_sinks::postgres::{LoadRow, Loader, LoaderConfig};

#[derive(serde::Serialize)]
struct Cpu<'a> {
    host: &'a str,
    at: &'a str,
    usage: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("give the address of a database")?;
    let config = LoaderConfig::from_address(&address)?.with_table("cpu", ["host", "at", "usage"]);
    let mut loader = Loader::connect(config).await?;
    loader.add("cpu", &Cpu { host: "a", at: "2026-01-01 00:00:00Z", usage: 0.5 }).await?;
    let mut row = LoadRow::new(3);
    for second in 0..100_000_i64 {
        // A time as a number is milliseconds; a number may be text.
        row.set_column(0, "b").set_column(1, 1_767_225_600_000 + second * 1000).set_column(2, "0.25");
        loader.add_row("cpu", &row).await?;
    }
    if let Err(error) = loader.commit().await {
        for row in error.failed_rows() {
            eprintln!("{}: {:?}", row.reason, row.values);
        }
    }
    println!("{:?}", loader.counts());
    Ok(loader.stop().await?)
}
