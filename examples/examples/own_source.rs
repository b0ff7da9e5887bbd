//! A source of one's own, as a plugin beside ours: `cargo run --example own_source`

use std::sync::Arc;

use kwsync_core::config::ConnectorInfo;
use kwsync_core::spec::PipelineSpec;
use kwsync_core::*;

struct Squares;
struct SquaresReader(Option<u64>);

impl Source for Squares {
    type Reader = SquaresReader;
    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        Ok(vec![Split { id: "squares".into(), spec: 0.into(), bytes: None, resumable: true }])
    }
    async fn open(&self, _split: &Split, at: Option<&SplitPosition>) -> Result<SquaresReader> {
        Ok(SquaresReader(at.is_none().then_some(10)))
    }
}

impl Reader for SquaresReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some(count) = self.0.take() else { return Ok(None) };
        let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::UInt64)])?);
        let rows: Vec<_> = (0..count).map(|n| vec![Value::UInt(n * n)]).collect();
        let decoded =
            Decoded { batches: vec![TableBatch::from_rows("squares", schema, &rows)?], ..Decoded::default() };
        Ok(Some(SourceBatch { decoded, position: SplitPosition(count.into()), bytes: 0 }))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut registry = kwsync::registry();
    registry.register_source(ConnectorInfo::source("squares", "the first square numbers"), |_| {
        Ok(Box::new(Squares))
    });
    println!(
        "{}",
        kwsync::run(&PipelineSpec::new("squares://", "discard:"), &registry).await?.into_result()?
    );
    Ok(())
}
