//! What the tests share.

use kwsync_core::config::Dsn;
use kwsync_core::system::postgres::wire::ConnectConfig;
use kwsync_core::testkit::PgServer;
use kwsync_core::{JobId, Lane, Result, RowCounts, Settled, Sink, TableBatch, Writer};
use kwsync_sinks::postgres::{PostgresOptions, PostgresSink};

/// Options for a database of the server.
pub(crate) fn options(server: &PgServer, database: &str) -> PostgresOptions {
    let dsn: Dsn = server.dsn(database).parse().unwrap();
    PostgresOptions::new(ConnectConfig::from_dsn(&dsn, 5432).unwrap())
}

/// Prepares, writes and commits batches; returns what became of the rows.
pub(crate) async fn load(options: PostgresOptions, batches: &[TableBatch]) -> Result<Settled> {
    let sink = PostgresSink::new(options);
    let mut writer = sink.open(&Lane { job: JobId::new("test"), index: 0, generation: 1 }).await?;
    let mut settled = Settled::default();
    for batch in batches {
        sink.prepare(batch.table(), batch.schema()).await?;
        settled.merge(writer.write(batch).await?);
    }
    settled.merge(writer.flush().await?);
    settled.merge(writer.close().await?);
    let total: RowCounts = settled.total();
    assert_eq!(total.rows(), batches.iter().map(|batch| batch.rows() as u64).sum::<u64>(), "{total:?}");
    assert_eq!(total.rejected, settled.rejects.len() as u64);
    Ok(settled)
}

/// Random numbers; the seed is printed, and taken from KWSYNC_SEED.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64);
        let seed = std::env::var("KWSYNC_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now);
        println!("KWSYNC_SEED={seed}");
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
