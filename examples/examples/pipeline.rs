//! A pipeline in code: `cargo run --example pipeline -- FROM TO`

use kwsync::{Job, registry};
use kwsync_core::Result;
use kwsync_core::spec::PipelineSpec;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let from = arguments.next().unwrap_or_else(|| "examples/data/host-metrics.lp.gz".to_owned());
    let to = arguments.next().unwrap_or_else(|| "discard:".to_owned());

    let spec = PipelineSpec::new(from, to).with_transform("add-tag:site=berlin".parse()?);
    let job = Job::new(&spec, &registry())?;
    let progress = job.progress();
    let report = job.run().await?.into_result()?;
    println!("{report}{} rows settled", progress.snapshot().rows_settled);
    Ok(())
}
