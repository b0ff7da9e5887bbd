//! A pipe as a job.

use std::time::Duration;

use super::{Attributes, PipeDefinition};
use crate::config::{Dsn, duration};
use crate::spec::{PipelineSpec, TransformSpec};
use crate::{Error, Result};

/// What a pipe does, in the terms of jobs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PipePlan {
    /// The job. Its name is left to whoever runs it.
    pub spec: PipelineSpec,
    /// A processor that is neither ours nor `do-nothing-processor`: its name and attributes. Whoever runs the pipe has
    /// to know it.
    pub processor: Option<(String, Attributes)>,
    /// How long to wait, when all that was there has been moved, before looking for what is new: the realtime stage of a
    /// source that ends. Without it the pipe ends with its source.
    pub realtime: Option<Duration>,
}

/// IoTDB's own plugins, and the driver of the address that each stands for.
const DRIVERS: [(&str, &str); 8] = [
    ("iotdb-source", "iotdb"),
    ("iotdb-extractor", "iotdb"),
    ("iotdb-thrift-sink", "iotdb+thrift-async"),
    ("iotdb-thrift-async-sink", "iotdb+thrift-async"),
    ("iotdb-thrift-sync-sink", "iotdb+thrift-sync"),
    ("iotdb-legacy-pipe-sink", "iotdb+legacy"),
    ("iotdb-air-gap-sink", "iotdb+air-gap"),
    ("do-nothing-sink", "discard"),
];

impl PipeDefinition {
    /// What the pipe does.
    ///
    /// A part names its plugin, which is a connector (`'sink'='postgres'`), and either the whole address (`'dsn'`) or
    /// what it is made of (`ip` or `host`, `port`, `user`, `password`, `node-urls`, `database` or `path`). All other
    /// attributes are parameters of the connector. Three belong to the pipe: `jobs`, `parser` and `realtime.interval`,
    /// attributes of the source.
    ///
    /// The processor is `do-nothing-processor`, or one of the transforms by name with its text as `value`
    /// (`'processor'='filter', 'value'='usage > 5'`), or `transforms` with several, in the order of their keys.
    ///
    /// # Errors
    /// `Config` where attributes are missing or contradict each other.
    pub fn plan(&self) -> Result<PipePlan> {
        let in_part = |part: &'static str| {
            move |error: Error| error.context(format!("the {part} of pipe {}", self.name))
        };
        let from =
            address("source", &self.source, Some("iotdb-source"), &["jobs", "parser", "realtime.interval"])
                .map_err(in_part("source"))?;
        let to = address("sink", &self.sink, None, &[]).map_err(in_part("sink"))?;
        let from = following(from);
        let mut spec = PipelineSpec::new(from.to_string_with_secrets(), to.to_string_with_secrets());
        if let Some(jobs) = self.source.get("jobs") {
            spec.jobs = jobs.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(|| {
                Error::config(format!("'jobs'='{jobs}' of pipe {} is no number above 0", self.name))
            })?;
        }
        spec.parser = self.source.get("parser").map(str::to_owned);
        let realtime =
            self.source.get("realtime.interval").map(interval).transpose().map_err(in_part("source"))?;
        let mut processor = None;
        match self.processor.plugin("processor").as_deref() {
            None | Some("do-nothing-processor") => {
                if let Some((key, _)) = self.processor.iter().find(|(key, _)| *key != "processor") {
                    return Err(Error::config(format!(
                        "the processor of pipe {} does nothing with '{key}'",
                        self.name
                    ))
                    .with_hint("name one: 'processor'='filter', 'value'='usage > 5'"));
                }
            }
            Some("transforms") => {
                for (key, text) in self.processor.iter().filter(|(key, _)| *key != "processor") {
                    let transform =
                        text.parse::<TransformSpec>().map_err(|error| error.context(format!("'{key}'")));
                    spec.transforms.push(transform.map_err(in_part("processor"))?);
                }
            }
            Some(name) if TransformSpec::names().contains(&name) => {
                let value = self.processor.get("value").unwrap_or_default();
                let other = self.processor.iter().find(|(key, _)| !matches!(*key, "processor" | "value"));
                if let Some((key, _)) = other {
                    return Err(Error::config(format!(
                        "the processor {name} of pipe {} has no '{key}'",
                        self.name
                    ))
                    .with_hint("what it does stands in 'value'"));
                }
                spec.transforms.push(format!("{name}:{value}").parse().map_err(in_part("processor"))?);
            }
            Some(name) => processor = Some((name.to_owned(), self.processor.clone())),
        }
        Ok(PipePlan { spec, processor, realtime })
    }

    /// What two pipes must have in common to share a sink: all of its attributes.
    pub fn sink_key(&self) -> &Attributes {
        &self.sink
    }
}

/// The address that attributes describe; `own` are those that are no part of it.
fn address(part: &str, attributes: &Attributes, default: Option<&str>, own: &[&str]) -> Result<Dsn> {
    let Some(plugin) = attributes.plugin(part).or_else(|| default.map(str::to_owned)) else {
        return Err(Error::config(format!("'{part}' is missing")));
    };
    let driver =
        DRIVERS.iter().find(|(name, _)| *name == plugin).map_or(plugin.as_str(), |(_, driver)| *driver);
    let first = |keys: &[&'static str]| keys.iter().copied().find(|key| attributes.get(key).is_some());
    let host = first(&["ip", "host"]);
    let object = first(&["database", "path", "object"]);
    let mut used = vec![part, "dsn"];
    used.extend(own);
    let mut dsn = match attributes.get("dsn") {
        Some(text) => {
            let keys = ["ip", "host", "port", "user", "password", "node-urls", "database", "path"];
            if let Some(other) = keys.iter().find(|key| attributes.get(key).is_some()) {
                return Err(Error::config(format!("'dsn' is the whole address, and '{other}' a part of it"))
                    .with_hint("give one or the other"));
            }
            let dsn: Dsn = text.parse()?;
            if ![dsn.driver(), &dsn.scheme()].contains(&driver) {
                return Err(Error::config(format!(
                    "'dsn' is an address of {}, and not of {plugin}",
                    dsn.driver()
                ))
                .with_hint(format!("'{part}'='{}' goes with it", dsn.driver())));
            }
            dsn
        }
        None => {
            let mut text = format!("{driver}:");
            let port = attributes.get("port");
            let hosts = match (host.and_then(|key| attributes.get(key)), port, attributes.get("node-urls")) {
                (None, None, Some(urls)) => Some(urls.to_owned()),
                (Some(host), port, None) => {
                    let host = if host.contains(':') && !host.starts_with('[') {
                        format!("[{host}]")
                    } else {
                        host.to_owned()
                    };
                    Some(port.map_or(host.clone(), |port| format!("{host}:{port}")))
                }
                (None, Some(_), _) => return Err(Error::config("a 'port' needs an 'ip'")),
                (Some(_), _, Some(_)) => {
                    return Err(Error::config("'ip' and 'node-urls' both say where")
                        .with_hint("give one or the other"));
                }
                (None, None, None) => None,
            };
            let object = object.and_then(|key| attributes.get(key));
            match (hosts, object) {
                (Some(hosts), object) => {
                    text.push_str("//");
                    text.push_str(&hosts);
                    if object.is_some() {
                        text.push('/');
                    }
                    let mut dsn: Dsn = text.parse()?;
                    if let Some(object) = object {
                        dsn = dsn.with_object(object);
                    }
                    dsn
                }
                (None, Some(path)) => Dsn::of_path(driver, path),
                (None, None) if matches!(driver, "discard" | "iotdb") => Dsn::of_path(driver, ""),
                (None, None) => {
                    return Err(Error::config(format!("{plugin} is not told where: 'dsn' is missing"))
                        .with_hint(format!("add '{part}.dsn'='{driver}://...'")));
                }
            }
        }
    };
    used.extend(["ip", "host", "port", "node-urls", "user", "password"]);
    used.extend(object);
    if let Some(user) = attributes.get("user") {
        dsn = dsn.with_user(user);
    }
    if let Some(password) = attributes.get("password") {
        dsn = dsn.with_password(password.into());
    }
    for (key, value) in attributes.iter().filter(|(key, _)| !used.contains(key)) {
        dsn = dsn.with_param(key, Some(value.to_owned()));
    }
    Ok(dsn)
}

/// IoTDB's own source goes on with what comes later, if `realtime.enable` does not say otherwise.
fn following(from: Dsn) -> Dsn {
    let told = ["follow", "realtime.enable"].iter().any(|name| from.has(name));
    if from.driver() == "iotdb" && !told { from.with_param("follow", Some("true".to_owned())) } else { from }
}

fn interval(text: &str) -> Result<Duration> {
    duration(text.trim(), Duration::from_secs(1)).filter(|wait| !wait.is_zero()).ok_or_else(|| {
        Error::config(format!("'realtime.interval'='{text}' is no time"))
            .with_hint("as in 500ms, 10s, 5m or 1h")
    })
}
