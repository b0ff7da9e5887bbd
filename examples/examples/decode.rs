//! Bytes in, Arrow batches out: `cargo run --example decode`

use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::{Decoder, Input, Position, Result};
use kwsync_formats::influx::{LineDecoder, LineOptions};

fn main() -> Result<()> {
    let mut decoder = LineDecoder::new(LineOptions::default());
    decoder.begin(Arc::new(Input::new("example")), Position::START);

    // Chunks may end anywhere; the second line here is broken.
    for chunk in ["cpu,host=a usage=0.5 17000000000", "00000000\ncpu,host=a usage=half\nmem,host=a free=42i"]
    {
        decoder.decode(&Bytes::from_static(chunk.as_bytes()))?;
    }
    decoder.finish()?;

    let decoded = decoder.flush()?;
    for batch in &decoded.batches {
        println!("{} rows of {}: {}", batch.rows(), batch.table(), batch.row(0).to_json());
    }
    for reject in &decoded.rejects {
        println!("refused: {}", reject.to_error().report());
    }
    Ok(())
}
