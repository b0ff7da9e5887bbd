//! `kwsync verify`.

use clap::Args;
use kwsync::verify::{VerifyOptions, verify};
use kwsync_core::config::Expand;
use kwsync_core::spec::PipelineSpec;
use kwsync_core::{Error, Result};

use super::args::ReportForm;
use super::say;

/// Exit status where the sides are not the same.
const DIFFERENT: u8 = 3;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Where the rows came from
    #[arg(short, long, value_name = "DSN")]
    pub(crate) from: String,
    /// Where they went; an address of a sink will do, whose tables of the same names are read
    #[arg(short, long, value_name = "DSN")]
    pub(crate) to: String,
    /// What changed the rows on their way; repeat it, they apply in order
    #[arg(short = 'T', long, value_name = "T")]
    pub(crate) transform: Vec<String>,
    /// How many pieces of each side are read at the same time
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub(crate) jobs: usize,
    /// How many rows that differ are named, for each table; 0 saves a second reading
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) keys: usize,
    /// The form of the result
    #[arg(long, value_enum, default_value = "text", env = "KWSYNC_REPORT")]
    pub(crate) report: ReportForm,
}

pub(crate) async fn run(args: &VerifyArgs) -> Result<u8> {
    let mut spec = PipelineSpec::new(args.from.as_str(), args.to.as_str());
    for transform in &args.transform {
        spec = spec.with_transform(transform.parse()?);
    }
    let expand = Expand::from_environment();
    let address = |address: &kwsync_core::spec::Address, what: &'static str| {
        let opened = address.dsn().and_then(|dsn| dsn.expand(&expand));
        opened.map_err(|error: Error| error.context(what))
    };
    let (from, to) = (address(&spec.from, "--from")?, address(&spec.to, "--to")?);
    let mut options = VerifyOptions::default();
    options.jobs = args.jobs;
    options.keys = args.keys;
    options.transforms = spec.build_transforms(&expand)?;
    let found = verify(&from, &to, &kwsync::registry(), &options).await?;
    match args.report {
        ReportForm::Text => say(&found.to_string())?,
        ReportForm::Json => {
            let text = serde_json::to_string(&found).map_err(super::run::internal)?;
            say(&format!("{text}\n"))?;
        }
    }
    Ok(if found.is_equal() { 0 } else { DIFFERENT })
}
