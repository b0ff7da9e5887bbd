//! Command lines of taosX: `taosx run -f DSN -t DSN ...`.

#[cfg(test)]
mod tests;

use super::{Settings, Translation};
use crate::config::did_you_mean;
use crate::{Error, Result};

/// A flag: its short name, its long name, the key of a spec.
const FLAGS: [(char, &str, &str); 5] = [
    ('f', "from", "from"),
    ('t', "to", "to"),
    ('p', "parser", "parser"),
    ('T', "transform", "transforms"),
    ('j', "jobs", "jobs"),
];

/// The specs of the command lines in `text`, as a shell reads them: with quotes, backslashes at the ends of lines, and
/// comments. Each starts with `taosx` or `kwsync`; `run` may be left out. Variables of the shell are not replaced.
///
/// Addresses stay as they are: the connectors here take taosX's. What a command reads or writes may be a system that this
/// build has no connector for; then only running it is refused.
///
/// # Errors
/// `Config` for quotes that are not closed, an unknown or a missing flag, and all faults of the values at once.
///
/// # Examples
/// ```
/// use kwsync_core::spec::taosx;
///
/// let made = taosx::read(
///     "taosx run -f 'kafka://h:9092/?topics=tp1,tp2&timeout=5000' \\\n  -t taos://h:6030/db -T add-tag:site=berlin -j 2 -vv",
/// )?;
/// let spec = &made.specs[0];
/// assert_eq!((spec.from.dsn()?.get("topics"), spec.jobs), (Some("tp1,tp2"), 2));
/// assert_eq!(made.notes, ["-vv is about the log: give it to the command"]);
///
/// let error = taosx::read("taosx run -f a.lp --form b").unwrap_err();
/// assert!(error.to_string().contains("there is no flag `--form`, did you mean `--from`?"), "{error}");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn read(text: &str) -> Result<Translation> {
    // A line that goes on is one line; the crate would find an empty word at its end.
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    let mut words = shlex::Shlex::new(&joined);
    let mut commands: Vec<Vec<String>> = Vec::new();
    for word in words.by_ref() {
        let starts = ["taosx", "kwsync"].contains(&word.as_str());
        match commands.last_mut() {
            _ if starts => commands.push(Vec::new()),
            Some(command) => command.push(word),
            None => {
                return Err(Error::config(format!("{word:?} stands before the command"))
                    .with_hint("a command line starts with taosx or kwsync"));
            }
        }
    }
    if words.had_error {
        return Err(Error::config(format!("a quote is not closed{}", unclosed(text)))
            .with_hint("close it, or write \\\" and \\' for quotes that mean themselves"));
    }
    if commands.is_empty() {
        return Err(Error::config("there is no command").with_hint("write taosx run -f FROM -t TO"));
    }
    let mut made = Translation { specs: Vec::new(), notes: Vec::new() };
    let several = commands.len() > 1;
    for (at, command) in commands.into_iter().enumerate() {
        let read = one(command, &mut made.notes);
        made.specs.push(read.map_err(|error| {
            if several { error.context(format_args!("command {}", at + 1)) } else { error }
        })?);
    }
    Ok(made)
}

/// Where a quote was left open: the first line with an odd number of one kind.
fn unclosed(text: &str) -> String {
    let mut open: Option<(char, usize)> = None;
    let mut chars = text.chars();
    let mut line = 1;
    while let Some(c) = chars.next() {
        match (open, c) {
            (_, '\n') => line += 1,
            (Some(('"', _)) | None, '\\') => line += usize::from(chars.next() == Some('\n')),
            (Some((quote, _)), c) if c == quote => open = None,
            (None, '\'' | '"') => open = Some((c, line)),
            _ => {}
        }
    }
    open.map(|(quote, line)| format!(": the `{quote}` in line {line}")).unwrap_or_default()
}

fn one(words: Vec<String>, notes: &mut Vec<String>) -> Result<super::PipelineSpec> {
    let mut settings = Settings::new();
    let mut words = words.into_iter().peekable();
    if words.peek().is_some_and(|word| word == "run") {
        words.next();
    }
    while let Some(word) = words.next() {
        let (flag, attached) = match word.strip_prefix("--") {
            Some(long) => match long.split_once('=') {
                Some((name, value)) => (format!("--{name}"), Some(value.to_owned())),
                None => (word.clone(), None),
            },
            None => match word.strip_prefix('-').and_then(|rest| rest.chars().next()) {
                Some('v') if word.chars().skip(1).all(|c| c == 'v') => (word.clone(), None),
                Some(short) => {
                    let rest = word.get(1 + short.len_utf8()..).unwrap_or_default();
                    let rest = rest.strip_prefix('=').unwrap_or(rest);
                    (format!("-{short}"), Some(rest.to_owned()).filter(|rest| !rest.is_empty()))
                }
                None => {
                    return Err(Error::config(format!("{word:?} belongs to no flag")).with_hint(
                        "write taosx run -f FROM -t TO; put a value with blanks, & or ; in quotes",
                    ));
                }
            },
        };
        if flag.starts_with("-v") || flag == "--verbose" {
            notes.push(format!("{flag} is about the log: give it to the command"));
            continue;
        }
        let Some((_, long, key)) =
            FLAGS.iter().find(|(short, long, _)| flag == format!("-{short}") || flag == format!("--{long}"))
        else {
            let names = FLAGS.map(|(_, long, _)| format!("--{long}"));
            let meant = did_you_mean(&flag, names.iter().map(String::as_str));
            return Err(Error::config(format!("there is no flag `{flag}`{meant}"))
                .with_hint("known are -f, -t, -p, -T, -j and -v, or --from, --to, --parser, --transform, --jobs and --verbose"));
        };
        let value = match attached {
            Some(value) => value,
            None => words.next().ok_or_else(|| {
                Error::config(format!("the flag `{flag}` has no value"))
                    .with_hint(format!("write --{long} VALUE"))
            })?,
        };
        settings = settings.with_flag(key, &format!("--{long}"), value);
    }
    settings.spec()
}
