//! An ingest endpoint within a program of your own: line protocol by HTTP, answered when its rows are in the database.
//!
//! ```text
//! cargo run --example ingest -- 127.0.0.1:8086 postgres://me@localhost/metrics
//! curl -i --data-binary 'cpu,host=a usage=0.5' http://127.0.0.1:8086/write
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::{Error, ErrorPolicy, JobId, Pipeline, PipelineOptions, Result};
use kwsync_sources::listen::{ListenOptions, ListenSource};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [at, target] = &arguments[..] else {
        return Err(Error::config("two arguments: IP:PORT postgres://..."));
    };
    let at: SocketAddr = at.parse().map_err(|_| Error::config(format!("{at} is no IP:PORT")))?;
    let mut registry = Registry::new();
    kwsync_formats::register(&mut registry);
    kwsync_sinks::register(&mut registry);

    let open = OpenOptions::new();
    let mut listen = ListenOptions::new(at.ip().to_string(), at.port());
    listen.token = std::env::var("INGEST_TOKEN").ok().map(Into::into);
    let source = ListenSource::new(listen, &registry, &open)?
        .with_ready(|listening| println!("http://{}", listening.http));
    let sink = registry.sink(&target.parse()?, &open)?;

    // A bad line is its sender's business, and a database that is away comes again.
    let mut options = PipelineOptions::new().with_errors(ErrorPolicy::Skip);
    options.retries = u32::MAX;
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let pipeline = Pipeline::new(JobId::new("ingest"), Arc::new(source), Arc::from(sink))
        .with_schemas(open.schemas)
        .with_options(options)
        .with_cancel(cancel);
    let outcome = pipeline.run().await;
    print!("{}", outcome.report);
    Ok(())
}
