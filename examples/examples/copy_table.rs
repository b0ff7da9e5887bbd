//! A table from MariaDB or MySQL into PostgreSQL: `cargo run --example copy_table -- mysql://me@db1/shop postgres://me@db2/shop orders`.
//! Run again after a fault or Ctrl-C it goes on where it was; the table is made with its key, defaults and comments.

use kwsync::{Job, registry};
use kwsync_core::Result;
use kwsync_core::spec::PipelineSpec;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, table] = arguments.as_slice() else {
        return Err(kwsync_core::Error::config("give two addresses and the name of a table"));
    };
    let from = format!("{from}{}table={table}", if from.contains('?') { '&' } else { '?' });
    let job = Job::new(&PipelineSpec::new(from, to.as_str()), &registry())?;

    // What would be made, and what does not come along.
    let preview = job.preview().await?;
    for note in &preview.notes {
        println!("{note}");
    }
    for plan in &preview.plans {
        print!("{plan}");
    }
    let report = job.run().await?.into_result()?;
    println!("{report}");
    Ok(())
}
