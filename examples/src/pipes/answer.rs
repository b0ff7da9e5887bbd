//! What a statement about pipes answers.

use std::fmt;

use super::PipeState;

/// The answer to a statement. `Display` writes it as IoTDB's prompt does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PipeAnswer {
    /// What was done.
    Done(String),
    /// Pipes.
    Pipes(Vec<PipeStatus>),
    /// Plugins.
    Plugins(Vec<PipePlugin>),
}

/// A pipe as `SHOW PIPES` shows it. Secrets are hidden.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PipeStatus {
    /// Its name.
    pub id: String,
    /// When it was made, in UTC: `2026-11-21T19:00:00.123`.
    pub creation_time: String,
    /// Whether it runs.
    pub state: PipeState,
    /// The attributes of its source, as `{key=value, ...}`.
    pub source: String,
    /// Those of its processor.
    pub processor: String,
    /// Those of its sink.
    pub sink: String,
    /// Why it was stopped; `{}` when there was no error.
    pub exception: String,
}

/// A plugin as `SHOW PIPEPLUGINS` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipePlugin {
    /// Its name.
    pub name: String,
    /// `source`, `processor` or `sink`.
    pub kind: &'static str,
    /// Whether it is one of kwsync's (`Builtin`) or of the program that embeds it (`External`).
    pub origin: &'static str,
    /// What it does, in a line.
    pub summary: String,
}

impl fmt::Display for PipeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(text) => writeln!(f, "{text}"),
            Self::Pipes(pipes) => {
                let head = [
                    "ID",
                    "CreationTime",
                    "State",
                    "PipeSource",
                    "PipeProcessor",
                    "PipeSink",
                    "ExceptionMessage",
                ];
                let rows: Vec<[&str; 7]> = pipes
                    .iter()
                    .map(|pipe| {
                        [
                            pipe.id.as_str(),
                            pipe.creation_time.as_str(),
                            pipe.state.as_str(),
                            pipe.source.as_str(),
                            pipe.processor.as_str(),
                            pipe.sink.as_str(),
                            pipe.exception.as_str(),
                        ]
                    })
                    .collect();
                table(f, head, &rows)
            }
            Self::Plugins(plugins) => {
                let rows: Vec<[&str; 4]> = plugins
                    .iter()
                    .map(|plugin| [plugin.name.as_str(), plugin.kind, plugin.origin, plugin.summary.as_str()])
                    .collect();
                table(f, ["PluginName", "PluginType", "Origin", "Summary"], &rows)
            }
        }
    }
}

/// A table in lines of `+`, `-` and `|`; what has line ends of its own is put into one line.
fn table<const N: usize>(f: &mut fmt::Formatter<'_>, head: [&str; N], rows: &[[&str; N]]) -> fmt::Result {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.map(|cell| cell.replace(['\r', '\n'], " "))).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    });
    let rule = |f: &mut fmt::Formatter<'_>| {
        for width in widths {
            write!(f, "+{:-<width$}", "")?;
        }
        writeln!(f, "+")
    };
    let line = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &str>| {
        for (cell, width) in cells.zip(widths) {
            write!(f, "|{cell:<width$}")?;
        }
        writeln!(f, "|")
    };
    rule(f)?;
    line(f, &mut head.into_iter())?;
    rule(f)?;
    for row in &rows {
        line(f, &mut row.iter().map(String::as_str))?;
        rule(f)?;
    }
    writeln!(f, "Total line number = {}", rows.len())
}
