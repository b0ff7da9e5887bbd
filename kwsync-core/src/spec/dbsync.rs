//! Whole databases as rds_dbsync has them: its `my.cfg`, and the list of tables that mysql2pgsql takes.

use super::{Address, PipelineSpec, Translation};
use crate::config::{Dsn, Host, Secret, did_you_mean};
use crate::{Error, Result};

/// Lanes, where nothing is said.
const JOBS: usize = 5;

/// Which of the sources in a `my.cfg` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// `[src.mysql]`, as mysql2pgsql.
    Mysql,
    /// `[src.pgsql]`, as pgsql2pgsql.
    Postgres,
}

/// What stands on the command line beside a `my.cfg`.
#[derive(Clone, Debug, Default)]
pub struct SyncOptions {
    /// The source, where the file has two.
    pub source: Option<SourceKind>,
    /// The name and the text of a list of tables; all tables of the database where there is none.
    pub list: Option<(String, String)>,
    /// Lanes; five where nothing is said.
    pub jobs: Option<usize>,
    /// The schema of the tables in the target; `public` where nothing is said.
    pub schema: Option<String>,
    /// Whether changes are followed once all tables are there, as pgsql2pgsql does; of MySQL by its binary log.
    pub incremental: bool,
}

/// What a `my.cfg` says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sync {
    /// The pipelines: the whole tables together, then each query.
    pub translation: Translation,
    /// Where the table `db_sync_status` is kept: `[local.pgsql]`, or else the target.
    pub status: Address,
}

/// Reads the file `text`, which is called `name` in errors.
///
/// # Errors
/// `Config` with the line of what cannot be read, for a source or a target that is missing, and for two sources of which
/// none was chosen.
///
/// # Examples
/// ```
/// use kwsync_core::spec::dbsync::{self, SyncOptions};
///
/// let text = r#"
/// [src.mysql]
/// host = "192.168.1.1"
/// port = "3306"
/// user = "test"
/// password = "secret"
/// db = "shop"
/// encoding = "utf8"
/// [desc.pgsql]
/// connect_string = "host=192.168.1.2 dbname=shop port=3432 user=test password='p w'"
/// "#;
/// let list = ("tab_list.txt".to_owned(), "t1\nt2 : select * from t2 where c1 > 138888\n".to_owned());
/// let sync = dbsync::read("my.cfg", text, &SyncOptions { list: Some(list), ..SyncOptions::default() })?;
/// let [tables, query] = sync.translation.specs.as_slice() else { panic!("two pipelines") };
/// assert_eq!(tables.from.dsn()?.to_string(), "mysql://test:***@192.168.1.1:3306/shop?tables=t1");
/// assert_eq!(query.from.dsn()?.get("query"), Some("select * from t2 where c1 > 138888"));
/// assert_eq!(tables.to.dsn()?.to_string(), "postgres://test:***@192.168.1.2:3432/shop?schema=public");
/// assert_eq!(tables.jobs, 5);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn read(name: &str, text: &str, options: &SyncOptions) -> Result<Sync> {
    let sections = Sections::parse(name, text)?;
    let mut notes = Vec::new();
    let source = match (options.source, sections.find(&["src.mysql"]), sections.find(&["src.pgsql"])) {
        (Some(SourceKind::Mysql), Some(section), _) | (None, Some(section), None) => {
            sections.mysql(section, &mut notes)?
        }
        (Some(SourceKind::Postgres), _, Some(section)) | (None, None, Some(section)) => {
            sections.postgres(section, &mut notes)?
        }
        (None, Some(_), Some(_)) => {
            return Err(Error::config(format!("{name} has [src.mysql] and [src.pgsql]"))
                .with_hint("choose one with --source mysql or --source pgsql"));
        }
        (Some(SourceKind::Mysql), None, _) => return Err(sections.missing("[src.mysql]")),
        (Some(SourceKind::Postgres), _, None) => return Err(sections.missing("[src.pgsql]")),
        (None, None, None) => return Err(sections.missing("[src.mysql] or [src.pgsql]")),
    };
    let target =
        sections.find(&["desc.pgsql", "dest.pgsql"]).ok_or_else(|| sections.missing("[desc.pgsql]"))?;
    let target = sections.postgres(target, &mut notes)?;
    let status = match sections.find(&["local.pgsql"]) {
        Some(section) => sections.postgres(section, &mut notes)?,
        None => target.clone(),
    };
    let source = if options.incremental { following(source) } else { source };
    let jobs = options.jobs.unwrap_or(JOBS);
    let schema = options.schema.clone().unwrap_or_else(|| "public".to_owned());
    let to = target.with_param("schema", Some(schema));
    let spec = |from: Dsn| {
        let (from, to) = (from.literal(), to.clone().literal());
        PipelineSpec::new(from.to_string_with_secrets(), to.to_string_with_secrets()).with_jobs(jobs)
    };
    let mut specs = Vec::new();
    match &options.list {
        None => {
            let all = source.with_param("tables", Some("*".to_owned()));
            // Where this is kept beside what is read, it is no part of it.
            specs.push(spec(all.with_param("exclude", Some("db_sync_status".to_owned()))));
        }
        Some((list, text)) => {
            let tables = entries(list, text)?;
            let whole: Vec<&str> =
                tables.iter().filter(|(_, query)| query.is_none()).map(|(name, _)| name.as_str()).collect();
            if !whole.is_empty() {
                specs.push(spec(source.clone().with_param("tables", Some(whole.join(",")))));
            }
            for (table, query) in &tables {
                if let Some(query) = query {
                    if options.incremental {
                        let text = format!("{list}: the rows of a query, as of {table}, cannot be followed");
                        return Err(Error::config(text)
                            .with_hint("name the table alone, or migrate without --incremental"));
                    }
                    let from = source.clone().with_param("table", Some(table.clone()));
                    specs.push(spec(from.with_param("query", Some(query.clone()))));
                }
            }
        }
    }
    let status = status.literal().to_string_with_secrets().into();
    Ok(Sync { translation: Translation { specs, notes }, status })
}

/// The source, so that what comes after the copy is followed.
fn following(source: Dsn) -> Dsn {
    source.with_param("changes", Some("true".to_owned())).with_param("mode", Some("all".to_owned()))
}

/// The tables of a list, each with its query, if it has one: `TABLE`, `TABLE :` or `TABLE : QUERY` a line.
fn entries(name: &str, text: &str) -> Result<Vec<(String, Option<String>)>> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (table, query) = line.split_once(':').unwrap_or((line, ""));
        let (table, query) = (table.trim(), query.trim().trim_end_matches(';').trim_end());
        let fault = |text: String| Error::config(format!("{name}, line {}: {text}", at + 1));
        if table.is_empty() || table.contains([',', ' ']) {
            return Err(fault(format!("{table:?} is no name of a table"))
                .with_hint("write TABLE, or TABLE : select ... from ..."));
        }
        if found.iter().any(|(known, _)| known == table) {
            return Err(fault(format!("the table {table} is there twice")));
        }
        found.push((table.to_owned(), (!query.is_empty()).then(|| query.to_owned())));
    }
    if found.is_empty() {
        return Err(Error::config(format!("{name} names no table"))
            .with_hint("write one a line; without a list all tables are read"));
    }
    Ok(found)
}

/// A line of a section: its number, its key, its value.
type Line = (usize, String, String);

/// The sections of a `my.cfg`.
struct Sections<'a> {
    file: &'a str,
    sections: Vec<(String, Vec<Line>)>,
}

const SECTIONS: [&str; 5] = ["src.mysql", "src.pgsql", "local.pgsql", "desc.pgsql", "dest.pgsql"];

impl<'a> Sections<'a> {
    fn parse(file: &'a str, text: &str) -> Result<Self> {
        let mut made = Self { file, sections: Vec::new() };
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let fault = |text: String| Error::config(format!("{file}, line {}: {text}", at + 1));
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let name = name.trim().to_ascii_lowercase();
                if !SECTIONS.contains(&name.as_str()) {
                    let near = did_you_mean(&name, SECTIONS);
                    return Err(fault(format!("there is no section [{name}]{near}")));
                }
                made.sections.push((name, Vec::new()));
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(fault(format!("{line:?} is no key = \"value\"")));
            };
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            let Some((_, lines)) = made.sections.last_mut() else {
                return Err(
                    fault("a key before the first section".to_owned()).with_hint("begin with [src.mysql]")
                );
            };
            lines.push((at + 1, key.trim().to_ascii_lowercase(), bare.to_owned()));
        }
        Ok(made)
    }

    fn find(&self, names: &[&str]) -> Option<&(String, Vec<Line>)> {
        self.sections.iter().find(|(name, _)| names.contains(&name.as_str()))
    }

    fn missing(&self, section: &str) -> Error {
        Error::config(format!("{} has no section {section}", self.file))
    }

    fn mysql(&self, (section, lines): &(String, Vec<Line>), notes: &mut Vec<String>) -> Result<Dsn> {
        let mut pairs = Vec::new();
        for (line, key, value) in lines {
            match key.as_str() {
                "host" | "port" | "user" | "password" => pairs.push((*line, key.clone(), value.clone())),
                "db" => pairs.push((*line, "dbname".to_owned(), value.clone())),
                "encoding" | "encodingdir" => notes.push(format!("{key} ignored: text is always Unicode")),
                other => return Err(self.unknown(*line, other, &["host", "port", "user", "password", "db"])),
            }
        }
        self.address("mysql", section, pairs)
    }

    fn postgres(&self, (section, lines): &(String, Vec<Line>), notes: &mut Vec<String>) -> Result<Dsn> {
        let mut pairs = Vec::new();
        for (line, key, value) in lines {
            if key != "connect_string" {
                return Err(self.unknown(*line, key, &["connect_string"]));
            }
            let words = connect_string(value).ok_or_else(|| {
                // Without the text, which has a password.
                Error::config(format!("{}, line {line}: the connect_string cannot be read", self.file))
                    .with_hint("write key=value pairs; quote a value with blanks: password='p w'")
            })?;
            for (key, value) in words {
                match key.as_str() {
                    "host" | "port" | "user" | "password" | "dbname" | "sslmode" | "sslrootcert"
                    | "sslcert" | "sslkey" | "application_name" => pairs.push((*line, key, value)),
                    "hostaddr" => pairs.push((*line, "host".to_owned(), value)),
                    "connect_timeout" => pairs.push((*line, key, format!("{value}s"))),
                    other => notes.push(format!("{other} of [{section}] ignored")),
                }
            }
        }
        self.address("postgres", section, pairs)
    }

    fn unknown(&self, line: usize, key: &str, known: &[&str]) -> Error {
        let near = did_you_mean(key, known.iter().copied());
        Error::config(format!("{}, line {line}: there is no key {key}{near}", self.file))
            .with_hint(format!("the section has {}", known.join(", ")))
    }

    fn address(&self, driver: &str, section: &str, pairs: Vec<Line>) -> Result<Dsn> {
        let get =
            |name: &str| pairs.iter().rfind(|(_, key, _)| key == name).map(|(line, _, value)| (*line, value));
        let needed = |name: &str| {
            let shown = if name == "dbname" && driver == "mysql" { "db" } else { name };
            get(name)
                .filter(|(_, value)| !value.is_empty())
                .map(|(_, value)| value.clone())
                .ok_or_else(|| Error::config(format!("{}: [{section}] does not say {shown}", self.file)))
        };
        let port =
            match get("port") {
                None => None,
                Some((line, text)) => Some(text.trim().parse::<u16>().map_err(|_| {
                    Error::config(format!("{}, line {line}: {text:?} is no port", self.file))
                })?),
            };
        let mut dsn = Dsn::of_host(driver, Host::new(needed("host")?, port)).with_user(needed("user")?);
        if let Some((_, password)) = get("password") {
            dsn = dsn.with_password(Secret::new(password.clone()));
        }
        dsn = dsn.with_object(needed("dbname")?);
        for name in ["sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name"] {
            if let Some((_, value)) = get(name) {
                dsn = dsn.with_param(name, Some(value.clone()));
            }
        }
        Ok(dsn)
    }
}

/// The pairs of a connection string as libpq reads it: values may stand in single quotes, with backslashes.
fn connect_string(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        chars.next_if_eq(&'=')?;
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\'') if quoted => break,
                Some('\\') => value.push(chars.next()?),
                Some(c) if !quoted && c.is_whitespace() => break,
                Some(c) => value.push(c),
                None if quoted => return None,
                None => break,
            }
        }
        if key.is_empty() {
            return None;
        }
        pairs.push((key.to_ascii_lowercase(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: &str = "[src.pgsql]\nconnect_string = \"host=a dbname=d user=u password='p\\'w' sslmode=require options=x\"\n[local.pgsql]\nconnect_string = \"host=l dbname=d user=u\"\n[dest.pgsql]\nconnect_string=\"host = b dbname=e port=3432 user=v connect_timeout=3\"\n";

    #[test]
    fn all_tables_and_where_the_status_is() {
        let sync =
            read("my.cfg", POSTGRES, &SyncOptions { jobs: Some(2), ..SyncOptions::default() }).unwrap();
        let [spec] = sync.translation.specs.as_slice() else { panic!("one pipeline") };
        let (from, to) = (spec.from.dsn().unwrap(), spec.to.dsn().unwrap());
        assert_eq!(from.to_string(), "postgres://u:***@a/d?sslmode=require&tables=*&exclude=db_sync_status");
        assert_eq!(from.password().unwrap().expose(), "p'w");
        assert_eq!(to.to_string(), "postgres://v@b:3432/e?connect_timeout=3s&schema=public");
        assert_eq!((spec.jobs, sync.status.dsn().unwrap().to_string()), (2, "postgres://u@l/d".to_owned()));
        assert_eq!(sync.translation.notes, ["options of [src.pgsql] ignored"]);
    }

    #[test]
    fn incremental_follows_whole_tables() {
        let options = SyncOptions { incremental: true, ..SyncOptions::default() };
        let sync = read("my.cfg", POSTGRES, &options).unwrap();
        let from = sync.translation.specs[0].from.dsn().unwrap();
        assert_eq!((from.get("changes"), from.get("mode")), (Some("true"), Some("all")));
        let list = |text: &str| SyncOptions { list: Some(("l".into(), text.into())), ..options.clone() };
        let from = read("my.cfg", POSTGRES, &list("t1\nt2\n")).unwrap().translation.specs[0]
            .from
            .dsn()
            .unwrap()
            .to_string();
        assert!(from.contains("tables=t1,t2") && from.contains("changes=true"), "{from}");
        let error = read("my.cfg", POSTGRES, &list("t1 : select 1\n")).unwrap_err().to_string();
        assert!(error.contains("cannot be followed"), "{error}");
        let mysql =
            "[src.mysql]\nhost=h\nuser=u\ndb=d\n[desc.pgsql]\nconnect_string=\"host=b dbname=e user=v\"\n";
        let from = read("my.cfg", mysql, &options).unwrap().translation.specs[0].from.dsn().unwrap();
        assert_eq!((from.driver(), from.get("changes")), ("mysql", Some("true")));
    }

    #[test]
    fn lists_of_tables() {
        let text = "table1 : select * from table_big where column1 < '2016-08-05'\n table2 :  \n\ntable3\ntable4: select a::text from x;\n";
        let found = entries("l", text).unwrap();
        let of = |at: usize| (found[at].0.as_str(), found[at].1.as_deref());
        assert_eq!(of(0), ("table1", Some("select * from table_big where column1 < '2016-08-05'")));
        assert_eq!((of(1), of(2)), (("table2", None), ("table3", None)));
        assert_eq!(of(3), ("table4", Some("select a::text from x")));
        for (text, words) in
            [("", "names no table"), ("a b", "line 1"), ("a\na", "twice"), (": select 1", "no name")]
        {
            let error = entries("l", text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn faults_say_where() {
        let both = format!("[src.mysql]\nhost=h\nuser=u\ndb=d\n{POSTGRES}");
        for (text, words) in [
            ("[src.mysq]", "there is no section [src.mysq], did you mean"),
            ("host=x", "before the first section"),
            ("[src.mysql]\nhots=x", "line 2: there is no key hots, did you mean"),
            ("[src.mysql]\nhost=h\nuser=u\n[desc.pgsql]", "[src.mysql] does not say db"),
            (
                "[desc.pgsql]\nconnect_string=\"host=a dbname=b user=c\"",
                "no section [src.mysql] or [src.pgsql]",
            ),
            ("[src.pgsql]\nconnect_string=\"host=a dbname=b user=c\"", "no section [desc.pgsql]"),
            ("[src.pgsql]\nconnect_string=\"host='a\"", "line 2: the connect_string"),
            ("[src.pgsql]\nconnect_string=\"host=a port=x user=u dbname=d\"", "\"x\" is no port"),
            (both.as_str(), "has [src.mysql] and [src.pgsql]"),
        ] {
            let error = read("my.cfg", text, &SyncOptions::default()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let chosen = SyncOptions { source: Some(SourceKind::Mysql), ..SyncOptions::default() };
        let sync = read("my.cfg", &both, &chosen).unwrap();
        assert_eq!(sync.translation.specs[0].from.dsn().unwrap().driver(), "mysql");
    }
}
