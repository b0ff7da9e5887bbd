//! Pipes that lead back to where their data comes from.

use std::collections::{BTreeMap, BTreeSet};

use kwsync_core::config::Dsn;
use kwsync_core::spec::PipeDefinition;
use kwsync_core::{Error, Result};

use super::store::Record;

/// Where data is, whatever the parameters of reading or writing it.
fn endpoint(dsn: &Dsn) -> String {
    // Names of one system; the registry's aliases stand for what is read and written in the same place.
    let driver = match dsn.driver() {
        "postgresql" | "pg" => "postgres",
        "mariadb" => "mysql",
        "kaiwudb" => "kwdb",
        "local" | "csv" => "file",
        "tdengine" | "tmq" => "taos",
        other => other,
    };
    let mut hosts: Vec<String> =
        dsn.hosts().iter().map(|host| format!("{}:{}", host.name(), host.port_or(0))).collect();
    hosts.sort_unstable();
    let object = match driver {
        "file" => dsn.object().map(|path| path.trim_start_matches("./").trim_end_matches('/').to_owned()),
        // The database; pipes of two of its tables lead into each other all the same.
        _ => dsn.object().map(|object| object.split('/').next().unwrap_or_default().to_owned()),
    };
    format!("{driver}://{}/{}", hosts.join(","), object.unwrap_or_default())
}

/// Whether rows of a database go to other tables of it than those that they come from.
fn moves_tables(definition: &PipeDefinition, from: &Dsn, to: &Dsn) -> bool {
    let renames = |text: &str| text.starts_with("rename-") || text.starts_with("merge-tables");
    let differs = |name: &str| to.get(name).is_some() && to.get(name) != from.get(name);
    from.object() != to.object()
        || differs("schema")
        || differs("table")
        || definition.processor.iter().any(|(_, value)| renames(value))
}

/// Refuses a pipe onto its own source, and warns of one that closes a circle of pipes. A pipe that goes nowhere leads
/// nowhere, and one from some tables of a database to others of it is no circle by itself.
pub(super) fn judge(definition: &PipeDefinition, known: &[Record]) -> Result<Vec<String>> {
    let ends = |definition: &PipeDefinition| -> Result<(Dsn, Dsn)> {
        let plan = definition.plan()?;
        Ok((plan.spec.from.dsn()?, plan.spec.to.dsn()?))
    };
    let (from, to) = ends(definition)?;
    if to.driver() == "discard" {
        return Ok(Vec::new());
    }
    let same = endpoint(&from) == endpoint(&to);
    if same && (to.hosts().is_empty() || !moves_tables(definition, &from, &to)) {
        return Err(Error::config(format!(
            "pipe {} would read what it writes: both ends are {}",
            definition.name,
            endpoint(&to)
        ))
        .with_hint("it would never end; give it another target"));
    }
    if same {
        return Ok(Vec::new());
    }
    let mut leads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in known {
        // One that cannot be read any more leads nowhere.
        let Ok((from, to)) = ends(&record.definition) else { continue };
        leads.entry(endpoint(&from)).or_default().insert(endpoint(&to));
    }
    let (start, goal) = (endpoint(&to), endpoint(&from));
    let (mut open, mut seen) = (vec![start.clone()], BTreeSet::from([start]));
    while let Some(place) = open.pop() {
        if place == goal {
            return Ok(vec![format!(
                "with the pipes that are there, {} leads back to its source {goal}: rows may go round for ever",
                definition.name
            )]);
        }
        for next in leads.get(&place).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    Ok(Vec::new())
}
