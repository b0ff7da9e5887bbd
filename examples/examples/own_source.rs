//! A source of one's own, beside ours: `cargo run --example own_source`

use std::sync::Arc;

use kwsync_core::{config::ConnectorInfo, spec::PipelineSpec, *};

struct Squares;
struct Numbers(std::ops::Range<u64>);

impl Source for Squares {
    type Reader = Numbers;
    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        Ok(vec![Split::whole("squares")])
    }
    async fn open(&self, _split: &Split, at: Option<&SplitPosition>) -> Result<Numbers> {
        Ok(Numbers(at.and_then(|at| at.0.as_u64()).unwrap_or(0)..10))
    }
}

impl Reader for Numbers {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some(n) = self.0.next() else { return Ok(None) };
        let schema = Arc::new(Schema::new(vec![Column::new("square", DataType::UInt64)])?);
        let batch = TableBatch::from_rows("squares", schema, &[vec![Value::UInt(n * n)]])?;
        Ok(Some(SourceBatch::new(vec![batch], SplitPosition(self.0.start.into()))))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut registry = kwsync::registry();
    registry.register_source(ConnectorInfo::source("squares", "square numbers"), |_| Ok(Box::new(Squares)));
    let spec = PipelineSpec::new("squares://", "discard:");
    println!("{}", kwsync::run(&spec, &registry).await?.into_result()?);
    Ok(())
}
