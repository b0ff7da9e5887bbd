//! Jobs to be filled in.

use super::heading;
use super::plugin::{self, Family, Plugin, READERS, WRITERS};
use crate::spec::document::Wrong;
use crate::{Error, Result};

/// A job of this reader and this writer, with a place for every parameter that they need and for the usual others. It reads
/// as it stands.
///
/// # Errors
/// `Config` for a name that no reader or writer has, with the nearest known one.
///
/// # Examples
/// ```
/// use kwsync_core::spec::datax;
///
/// let job = datax::template("mysqlreader", "kaiwudbwriter")?;
/// assert!(job.contains(r#""jdbcUrl": "jdbc:kaiwudb://HOST:26257/DATABASE""#));
/// assert_eq!(datax::read("job.json", &job)?.specs.len(), 1);
/// assert!(datax::template("mysqlraeder", "kaiwudbwriter").unwrap_err().to_string().contains("did you mean `mysqlreader`?"));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub fn template(reader: &str, writer: &str) -> Result<String> {
    let reader = find(reader, &READERS, "reader")?;
    let writer = find(writer, &WRITERS, "writer")?;
    Ok(format!(
        r#"{{
  "job": {{
    "content": [
      {{
        "reader": {{
          "name": "{}",
          "parameter": {{
            {}
          }}
        }},
        "writer": {{
          "name": "{}",
          "parameter": {{
            {}
          }}
        }}
      }}
    ],
    "setting": {{
      "speed": {{"channel": 1}},
      "errorLimit": {{"record": 0}}
    }}
  }}
}}
"#,
        reader.name,
        indented(&read(reader)),
        writer.name,
        indented(&written(writer, reader.family == Family::OpenTsdb)),
    ))
}

fn find(name: &str, plugins: &'static [Plugin], kind: &str) -> Result<&'static Plugin> {
    plugin::find(name, plugins).ok_or_else(|| {
        let (text, hint) = plugin::unknown(name, plugins, kind);
        Error::config(format!("{}{text}", heading(Wrong::Value))).with_hint(hint)
    })
}

fn indented(lines: &[String]) -> String {
    lines.join(",\n            ")
}

fn url(plugin: &Plugin) -> String {
    match plugin.jdbc {
        "oracle" => format!("jdbc:oracle:thin:@//HOST:{}/SERVICE", plugin.port),
        "sqlserver" => format!("jdbc:sqlserver://HOST:{};DatabaseName=DATABASE", plugin.port),
        jdbc => format!("jdbc:{jdbc}://HOST:{}/DATABASE", plugin.port),
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

const LOGIN: [&str; 2] = [r#""username": "USER""#, r#""password": "PASSWORD""#];

fn read(plugin: &Plugin) -> Vec<String> {
    let mut all = lines(&LOGIN);
    match plugin.family {
        Family::Sql | Family::Tdengine => {
            all.extend(lines(&[r#""column": ["COLUMN1", "COLUMN2"]"#, r#""splitPk": """#, r#""where": """#]));
            all.push(format!(r#""connection": [{{"table": ["TABLE"], "jdbcUrl": ["{}"]}}]"#, url(plugin)));
        }
        Family::Kaiwudb => {
            all.push(format!(r#""jdbcUrl": "{}""#, url(plugin)));
            all.extend(lines(&[
                r#""table": "TABLE""#,
                r#""column": ["k_timestamp", "COLUMN2"]"#,
                r#""where": """#,
                r#""tsColumn": "k_timestamp""#,
                r#""beginDateTime": "2024-05-01 00:00:00""#,
                r#""endDateTime": "2024-05-02 00:00:00""#,
                r#""splitIntervalS": 60"#,
            ]));
        }
        Family::MongoDb => {
            all = lines(&[
                r#""address": ["HOST:27017"]"#,
                r#""userName": "USER""#,
                r#""userPassword": "PASSWORD""#,
                r#""dbName": "DATABASE""#,
                r#""collectionName": "COLLECTION""#,
                r#""column": [{"name": "COLUMN1", "type": "string"}, {"name": "COLUMN2", "type": "long"}]"#,
            ]);
        }
        Family::InfluxDb if plugin.name.contains("20") => {
            all = lines(&[
                r#""token": "TOKEN""#,
                r#""connection": [{"endpoint": "http://HOST:8086", "org": "ORGANISATION", "bucket": "BUCKET", "table": ["MEASUREMENT"]}]"#,
            ]);
            all.extend(windows());
        }
        Family::InfluxDb => {
            all.push(r#""connection": [{"endpoint": "http://HOST:8086", "database": "DATABASE", "table": ["MEASUREMENT"]}]"#.to_owned());
            all.extend(windows());
        }
        Family::OpenTsdb => {
            all = lines(&[
                r#""endpoint": "http://HOST:4242""#,
                r#""column": ["METRIC"]"#,
                r#""beginDateTime": "2024-05-01 00:00:00""#,
                r#""endDateTime": "2024-05-02 00:00:00""#,
            ]);
        }
    }
    all
}

fn windows() -> Vec<String> {
    lines(&[
        r#""column": ["COLUMN1", "COLUMN2"]"#,
        r#""beginDateTime": "2024-05-01 00:00:00""#,
        r#""endDateTime": "2024-05-02 00:00:00""#,
        r#""splitIntervalS": 60"#,
    ])
}

fn written(plugin: &Plugin, by_metric: bool) -> Vec<String> {
    let mut all = lines(&LOGIN);
    if plugin.family == Family::Kaiwudb {
        all.push(format!(r#""jdbcUrl": "{}""#, url(plugin)));
        if !by_metric {
            all.push(r#""table": "TABLE""#.to_owned());
        }
    } else {
        let table = if by_metric { "" } else { r#""table": ["TABLE"], "# };
        all.push(format!(r#""connection": [{{{table}"jdbcUrl": "{}"}}]"#, url(plugin)));
    }
    if !by_metric {
        all.push(r#""column": ["COLUMN1", "COLUMN2"]"#.to_owned());
    }
    if plugin.family != Family::Tdengine {
        all.push(r#""writeMode": "INSERT""#.to_owned());
    }
    all.extend(lines(&[r#""preSql": [""]"#, r#""postSql": [""]"#, r#""batchSize": 1000"#]));
    all
}
