//! `kwsync ddl`.

use kwsync::Job;
use kwsync_core::Result;
use kwsync_core::spec::PipelineSpec;

use super::args::DdlArgs;
use super::say;

pub(crate) async fn run(args: &DdlArgs) -> Result<u8> {
    show(&args.spec()?).await?;
    Ok(0)
}

/// Prints the statements that would make the tables of a job.
pub(super) async fn show(spec: &PipelineSpec) -> Result<()> {
    let preview = Job::new(spec, &kwsync::registry())?.preview().await?;
    let mut text = String::new();
    for note in &preview.notes {
        text.push_str(&format!("-- {note}\n"));
    }
    if preview.plans.is_empty() {
        text.push_str("-- the tables are known only when data is read\n");
    }
    for plan in &preview.plans {
        let mut made = plan.statements.iter().filter(|statement| !is_our_own(statement)).peekable();
        if made.peek().is_none() {
            text.push_str(&format!("-- {} is there already, with these columns\n", plan.table));
        }
        for what in &plan.left_out {
            text.push_str(&format!("-- {}, not carried over: {what}\n", plan.table));
        }
        for cast in &plan.casts {
            if let Some(loss) = &cast.lossy {
                text.push_str(&format!(
                    "-- {}.{}: {} -> {}: {loss}\n",
                    plan.table, cast.column, cast.from, cast.to
                ));
            }
        }
        for statement in made {
            text.push_str(&format!("{};\n", statement.trim_end_matches(';')));
        }
    }
    if !preview.ending.statements.is_empty() {
        text.push_str("-- when all rows are there\n");
    }
    for what in &preview.ending.left_out {
        text.push_str(&format!("-- not carried over: {what}\n"));
    }
    for statement in &preview.ending.statements {
        text.push_str(&format!("{};\n", statement.trim_end_matches(';')));
    }
    say(&text)
}

/// The table of checkpoints is the job's, and no part of what is migrated.
fn is_our_own(statement: &str) -> bool {
    statement.contains("kwsync_checkpoint")
}
