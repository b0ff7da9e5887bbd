//! A session over HTTP, and what the server complains of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use kwsync_core::{Error, ErrorKind, Result};

use super::config::ClickHouseOptions;
use crate::series::{Answer, Ask, Http, encode, kind_of};

/// Settings may not be changed: none of them, or not one of them.
const READONLY: [&str; 2] = ["164", "452"];
/// With which settings answers have all of the rows, or none and an error.
const WHOLE: [(&str, &str); 15] = [
    ("distinct_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("join_overflow_mode", "throw"),
    ("limit", "0"),
    ("offset", "0"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("result_overflow_mode", "throw"),
    ("set_overflow_mode", "throw"),
    ("skip_unavailable_shards", "0"),
    ("sort_overflow_mode", "throw"),
    ("timeout_overflow_mode", "throw"),
    ("timeout_overflow_mode_leaf", "throw"),
    ("transfer_overflow_mode", "throw"),
    // Nothing is left out without it; the server goes on for whoever has gone.
    (CANCEL, "1"),
];
const CANCEL: &str = "cancel_http_readonly_queries_on_client_close";

/// A session; connects as it is asked.
#[derive(Debug)]
pub(super) struct Session {
    http: Http,
    /// Which of the servers it is, and whether it has answered.
    at: usize,
    answered: bool,
    options: Arc<ClickHouseOptions>,
    /// Whether the user may change no setting, so that blocks are as large as the server makes them.
    fixed: AtomicBool,
    /// Those of `WHOLE` that the server knows and the user's profile has otherwise; none before it was asked.
    settings: Option<Vec<(&'static str, &'static str)>>,
}

impl Session {
    /// A session. Nothing is connected yet.
    pub(super) fn new(options: &Arc<ClickHouseOptions>) -> Result<Self> {
        let http = Self::http(options, 0)?;
        let options = Arc::clone(options);
        Ok(Self { http, at: 0, answered: false, options, fixed: AtomicBool::new(false), settings: None })
    }

    fn http(options: &ClickHouseOptions, at: usize) -> Result<Http> {
        let server = options.http.get(at).or(options.http.first());
        let server = server.ok_or_else(|| Error::config("the address names no server"))?;
        Http::new(Arc::clone(server))
    }

    /// Asks the server in hand, or the next one if it is not there.
    async fn send(&mut self, ask: &Ask) -> Result<Answer> {
        loop {
            match self.http.ask(ask).await {
                Err(error)
                    if !self.answered
                        && self.at + 1 < self.options.http.len()
                        && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) =>
                {
                    tracing::warn!(%error, "trying the next server");
                    self.at += 1;
                    self.http = Self::http(&self.options, self.at)?;
                }
                Ok(answer) => {
                    self.answered = true;
                    return Ok(answer);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer to a statement, of blocks of so many rows.
    pub(super) async fn ask(&mut self, sql: &str, block_rows: usize) -> Result<Answer> {
        if self.settings.is_none() {
            let mut answer = self.ask_with(&settings_sql(), 65_536, &[]).await?;
            let text = answer.text().await?;
            if let Some(error) = complaint(text.as_bytes()) {
                return Err(error);
            }
            let said = cell(text.trim_end_matches('\n')).unwrap_or_default();
            self.settings = Some(to_set(&said)?);
        }
        let settings = self.settings.clone().unwrap_or_default();
        self.ask_with(sql, block_rows, &settings).await
    }

    async fn ask_with(&mut self, sql: &str, block_rows: usize, settings: &[(&str, &str)]) -> Result<Answer> {
        loop {
            let fixed = self.fixed.load(Ordering::Relaxed);
            let mut path = format!("/?database={}", encode(&self.options.database));
            if fixed {
                cuts_short(settings)?;
            } else {
                for (name, value) in settings {
                    path.push_str(&format!("&{name}={value}"));
                }
                path.push_str(&format!("&max_block_size={block_rows}"));
                if self.options.gzip {
                    path.push_str("&enable_http_compression=1");
                }
            }
            let ask = Ask::post(path, "text/plain; charset=UTF-8", sql.to_owned());
            let mut answer = self.send(&ask).await?;
            if answer.status.is_success() {
                return Ok(answer);
            }
            let said = answer.text().await?;
            let error = refused(answer.status, &said);
            if error.code().is_some_and(|code| READONLY.contains(&code)) && !fixed {
                tracing::debug!("the user may change no settings: blocks are of the server's size");
                self.fixed.store(true, Ordering::Relaxed);
                continue;
            }
            return Err(error);
        }
    }

    /// The rows of a small answer, as texts; null is none.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut answer = self.ask(&format!("{sql}\nFORMAT TabSeparated"), 65_536).await?;
        let text = answer.text().await?;
        if let Some(error) = complaint(text.as_bytes()) {
            return Err(error);
        }
        Ok(text.lines().map(|line| line.split('\t').map(cell).collect()).collect())
    }
}

fn settings_sql() -> String {
    let names: Vec<String> = WHOLE.iter().map(|(name, _)| format!("'{name}'")).collect();
    // As one row, which what is looked for does not cut short.
    format!(
        "SELECT arrayStringConcat(groupArray(concat(name, '\\t', value)), '\\n') FROM system.settings WHERE name IN \
         ({})\nFORMAT TabSeparated",
        names.join(", ")
    )
}

/// What has to be set, where the server says what is.
fn to_set(said: &str) -> Result<Vec<(&'static str, &'static str)>> {
    // Every version has it.
    if !said.contains("result_overflow_mode\t") {
        return Err(Error::new(ErrorKind::Protocol, "the server does not tell its settings")
            .with_hint("the user needs to see system.settings, and no `offset` in the profile"));
    }
    let has = |name: &str, value: &str| {
        let set = said.lines().filter_map(|line| line.split_once('\t')).find(|(known, _)| *known == name);
        set.is_none_or(|(_, set)| set == value)
    };
    Ok(WHOLE.into_iter().filter(|(name, value)| !has(name, value)).collect())
}

/// Refuses settings that can leave rows out and may not be changed.
fn cuts_short(settings: &[(&str, &str)]) -> Result<()> {
    match settings.iter().find(|(name, _)| *name != CANCEL) {
        None => Ok(()),
        Some((name, value)) => {
            let text = format!(
                "the user's profile has {name} other than {value}, and the user may not change it: rows could be left out without a word"
            );
            Err(Error::new(ErrorKind::Permission, text).with_hint(format!(
                "set {name} to {value} in the profile, or give the user one with readonly=2"
            )))
        }
    }
}

/// A value of TSV.
fn cell(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next)) => {
                chars.next();
                out.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    '0' => '\0',
                    other => other,
                });
            }
            (c, _) => out.push(c),
        }
    }
    Some(out)
}

/// What the server complains of at the end of an answer that began well: `Code: 241, e.displayText() = DB::Exception: ...`,
/// `Code: 241. DB::Exception: ...`.
pub(super) fn complaint(tail: &[u8]) -> Option<Error> {
    let text = String::from_utf8_lossy(tail);
    let mut starts: Vec<usize> = text.match_indices("Code: ").map(|(at, _)| at).collect();
    starts.reverse();
    let found = starts.into_iter().filter_map(|at| text.get(at..)).find(|said| {
        let behind = said.get(6..).unwrap_or_default().trim_start_matches(|c: char| c.is_ascii_digit());
        [", e.displayText() = DB::Exception", ". DB::Exception"].iter().any(|mark| behind.starts_with(mark))
    })?;
    Some(refused(StatusCode::OK, found))
}

/// What the server complains of, as an error.
pub(super) fn refused(status: StatusCode, said: &str) -> Error {
    let said = said.trim();
    let code: Option<u32> = said.strip_prefix("Code: ").and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    let mut words = said.split_once("DB::Exception: ").map_or(said, |(_, words)| words);
    words = words.split(", e.what() =").next().unwrap_or(words);
    let mut words: String = words.chars().take(600).collect();
    words.truncate(words.trim_end().len());
    let text = match (code, words.is_empty()) {
        (_, true) => format!("ClickHouse: {status}"),
        (Some(code), _) => format!("ClickHouse: {words} (code {code})"),
        (None, _) => format!("ClickHouse: {words}"),
    };
    let of = |kind| {
        let made = Error::new(kind, text.clone());
        match code {
            Some(code) => made.with_code(code.to_string()),
            None => made,
        }
    };
    let hinted = |kind, hint: &'static str| of(kind).with_hint(hint);
    match code {
        Some(60 | 218) => hinted(ErrorKind::NotFound, "check the database and the case of the name"),
        Some(81) => hinted(
            ErrorKind::NotFound,
            "the database is the path of the address: clickhouse://HOST:8123/DATABASE",
        ),
        Some(10 | 16 | 36 | 42 | 43 | 46 | 47 | 53 | 62 | 179 | 215 | 386) => hinted(
            ErrorKind::Config,
            "columns=, where= and query= are in ClickHouse's SQL; names are as they were written, case counts",
        ),
        Some(192 | 193 | 194 | 516) => hinted(
            ErrorKind::Auth,
            "check user and password of the address: clickhouse://USER:PASSWORD@HOST:8123/DATABASE",
        ),
        Some(291 | 497) => {
            hinted(ErrorKind::Permission, "the user needs the right to read: GRANT SELECT ON db.* TO user")
        }
        Some(159) => hinted(
            ErrorKind::Timeout,
            "raise max_execution_time of the user, or cut the table into more pieces: split_rows=100000",
        ),
        Some(158 | 241 | 307 | 396) => hinted(
            ErrorKind::Limit,
            "cut the table into more pieces (split_rows=100000), or read without an order (order=none)",
        ),
        Some(202 | 203 | 209 | 210 | 236 | 242 | 279 | 394 | 425 | 439 | 999) => of(ErrorKind::Unavailable),
        Some(_) => of(ErrorKind::Server),
        None if status.is_success() => of(ErrorKind::Server),
        None => {
            let made = of(kind_of(status));
            match said.contains("HTTPS") || status.is_redirection() {
                true => made.with_hint("with TLS the address begins with clickhouse+https"),
                false => made.with_hint(
                    "check host and port: this is not how ClickHouse answers by HTTP, usually at port 8123",
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_have_their_kinds() {
        for (status, said, kind, words) in [
            (
                404,
                "Code: 60, e.displayText() = DB::Exception: Table d.x doesn't exist., e.what() = DB::Exception\n",
                ErrorKind::NotFound,
                "Table d.x doesn't exist.",
            ),
            (
                404,
                "Code: 60. DB::Exception: Table d.x does not exist. (UNKNOWN_TABLE) (version 24.3.1.1)\n",
                ErrorKind::NotFound,
                "Table d.x does not exist. (UNKNOWN_TABLE)",
            ),
            (
                401,
                "Code: 193, e.displayText() = DB::Exception: Wrong password for user me, e.what() = DB::Exception",
                ErrorKind::Auth,
                "Wrong password",
            ),
            (
                403,
                "Code: 497. DB::Exception: me: Not enough privileges.",
                ErrorKind::Permission,
                "privileges",
            ),
            (500, "Code: 241. DB::Exception: Memory limit (for query) exceeded", ErrorKind::Limit, "Memory"),
            (503, "", ErrorKind::Unavailable, "503"),
            (
                200,
                "Code: 395, e.displayText() = DB::Exception: thrown, e.what() = DB::Exception",
                ErrorKind::Server,
                "thrown (code 395)",
            ),
        ] {
            let error = refused(StatusCode::from_u16(status).unwrap(), said);
            assert_eq!(error.kind(), kind, "{said}");
            assert!(error.message().contains(words) && !error.message().contains("e.what"), "{error}");
        }
    }

    #[test]
    fn settings_that_leave_rows_out_are_set_or_refused() {
        let said = "read_overflow_mode\tthrow\nresult_overflow_mode\tthrow\nsort_overflow_mode\tbreak\n\
                    group_by_overflow_mode\tany\nlimit\t0\n";
        let set = to_set(said).unwrap();
        assert_eq!(set, [("group_by_overflow_mode", "throw"), ("sort_overflow_mode", "throw")]);
        let error = cuts_short(&set).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.to_string().contains("group_by_overflow_mode other than throw"), "{error}");
        let harmless =
            to_set("cancel_http_readonly_queries_on_client_close\t0\nresult_overflow_mode\tthrow\n").unwrap();
        assert_eq!(harmless, [(CANCEL, "1")]);
        cuts_short(&harmless).unwrap();
        assert!(to_set("").is_err());
    }

    #[test]
    fn a_complaint_is_found_behind_rows_and_only_a_real_one() {
        let tail = b"\x01\x05Code: 1 no\0\0Code: 395, e.displayText() = DB::Exception: thrown, e.what() = DB::Exception\n";
        assert_eq!(complaint(tail).unwrap().code(), Some("395"));
        assert!(complaint(b"Code: 5 DB::Exception").is_none());
        assert_eq!(cell("a\\tb\\\\n\\'").as_deref(), Some("a\tb\\n'"));
        assert_eq!(cell("\\N"), None);
    }
}
