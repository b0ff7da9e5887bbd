//! `kwsync connectors`.

use kwsync_core::Result;
use kwsync_core::config::{ConnectorInfo, ParamType};

use super::args::ConnectorsArgs;
use super::say;

pub(crate) fn run(args: &ConnectorsArgs) -> Result<u8> {
    let registry = kwsync::registry();
    let mut text = String::new();
    match &args.name {
        None => {
            for info in registry.connectors() {
                text.push_str(&format!(
                    "{:<18} {:<15} {}\n",
                    info.kind().to_string(),
                    info.name(),
                    info.summary()
                ));
            }
            text.push_str("\n`kwsync connectors NAME` shows the parameters of one.\n");
        }
        Some(name) => registry.find(name)?.iter().for_each(|info| show(info, &mut text)),
    }
    say(&text)?;
    Ok(0)
}

fn show(info: &ConnectorInfo, text: &mut String) {
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("{} {}: {}", info.kind(), info.name(), info.summary()));
    if !info.aliases().is_empty() {
        line(format!("  also called {}", info.aliases().join(", ")));
    }
    if info.takes_format() {
        line("  takes format=NAME and that format's parameters".to_owned());
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
        line(format!("  {}={kind}{default}{flags}", param.name()));
        line(format!("      {}", param.help()));
    }
}
