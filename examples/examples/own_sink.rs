//! A sink of one's own: prints rows. `cargo run --example own_sink`

use std::sync::Arc;

use kwsync_core::config::ConnectorInfo;
use kwsync_core::spec::PipelineSpec;
use kwsync_core::*;

struct Print;

impl Sink for Print {
    type Writer = Self;
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("print")
    }
    async fn plan(&self, table: &TableId, _schema: &Arc<Schema>) -> Result<Plan> {
        Ok(Plan::new(table.to_string(), "printed lines", Delivery::AtLeastOnce))
    }
    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        println!("{table} has {} columns", schema.columns().len());
        Ok(())
    }
    async fn open(&self, _lane: &Lane) -> Result<Self> {
        Ok(Self)
    }
}

impl Writer for Print {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        (0..batch.rows()).for_each(|row| println!("{} {}", batch.table(), batch.row(row).to_json()));
        let mut settled = Settled::default();
        settled.add(batch.table(), RowCounts { written: batch.rows() as u64, ..RowCounts::default() });
        Ok(settled)
    }
    async fn flush(&mut self) -> Result<Settled> {
        Ok(Settled::default())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut registry = kwsync::registry();
    registry.register_sink(ConnectorInfo::sink("print", "prints rows"), |_| Ok(Box::new(Print)));
    let from = std::env::args().nth(1).unwrap_or_else(|| "examples/data/host-metrics.lp.gz".to_owned());
    println!("{}", kwsync::run(&PipelineSpec::new(from, "print://"), &registry).await?.into_result()?);
    Ok(())
}
