//! A sink of one's own: prints rows. `cargo run --example own_sink -- FILE`

use kwsync_core::{config::ConnectorInfo, spec::PipelineSpec, *};

struct Print;

impl Sink for Print {
    type Writer = Self;
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("print")
    }
    async fn open(&self, _lane: &Lane) -> Result<Self> {
        Ok(Self)
    }
}

impl Writer for Print {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        (0..batch.rows()).for_each(|row| println!("{} {}", batch.table(), batch.row(row).to_json()));
        Ok(Settled::written(batch.table(), batch.rows()))
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
    let spec = PipelineSpec::new(from, "print://");
    println!("{}", kwsync::run(&spec, &registry).await?.into_result()?);
    Ok(())
}
