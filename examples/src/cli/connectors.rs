//! `kwsync connectors`.

use kwsync_core::Result;
use kwsync_core::config::{ConnectorInfo, ParamType};

use super::args::ConnectorsArgs;

pub(crate) fn run(args: &ConnectorsArgs) -> Result<u8> {
    let registry = kwsync::registry();
    match &args.name {
        None => {
            for info in registry.connectors() {
                println!("{:<7} {:<15} {}", info.kind().to_string(), info.name(), info.summary());
            }
            println!("\n`kwsync connectors NAME` shows the parameters of one.");
        }
        Some(name) => registry.find(name)?.iter().for_each(show),
    }
    Ok(0)
}

fn show(info: &ConnectorInfo) {
    println!("{} {}: {}", info.kind(), info.name(), info.summary());
    if !info.aliases().is_empty() {
        println!("  also called {}", info.aliases().join(", "));
    }
    if info.takes_format() {
        println!("  takes format=NAME and that format's parameters");
    }
    for param in info.params() {
        let kind = match param.kind() {
            ParamType::Choice(words) => words.join("|"),
            other => format!("{other:?}")
                .to_lowercase()
                .split([' ', '{', '('])
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        let default = param.default().map(|text| format!(" (default {text})")).unwrap_or_default();
        let flags = match (param.is_required(), param.is_ignored()) {
            (true, _) => " (required)",
            (_, true) => " (ignored)",
            _ => "",
        };
        println!("  {}={kind}{default}{flags}", param.name());
        println!("      {}", param.help());
    }
}
