//! What can be connected: sources, sinks and formats by name.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use super::nearest::did_you_mean;
use super::{Dsn, Param, Params};
use crate::error::{Error, ErrorKind, Result};
use crate::{DeadLetters, DecoderFactory, DynSink, DynSource, Encoder, JobId, SchemaRegistry};

/// Makes an encoder; one for every file or message that is written.
pub type EncoderFactory = Arc<dyn Fn() -> Result<Box<dyn Encoder>> + Send + Sync>;

type MakeSource = Arc<dyn Fn(SourceRequest<'_>) -> Result<Box<dyn DynSource>> + Send + Sync>;
type MakeSink = Arc<dyn Fn(SinkRequest<'_>) -> Result<Box<dyn DynSink>> + Send + Sync>;
type MakeDeadLetters = Arc<dyn Fn(DeadLettersRequest<'_>) -> Result<Arc<dyn DeadLetters>> + Send + Sync>;
type MakeDecoders = Arc<dyn Fn(FormatRequest<'_>) -> Result<DecoderFactory> + Send + Sync>;
type MakeEncoders = Arc<dyn Fn(FormatRequest<'_>) -> Result<EncoderFactory> + Send + Sync>;

/// What a connector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectorKind {
    /// Where data comes from.
    Source,
    /// Where data goes.
    Sink,
    /// How records are written as bytes.
    Format,
    /// Where refused records go.
    DeadLetters,
}

impl fmt::Display for ConnectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Format => "format",
            Self::DeadLetters => "dead-letter target",
        })
    }
}

/// The documentation of a connector or format: what `kwsync connectors NAME` prints.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorInfo {
    kind: ConnectorKind,
    name: &'static str,
    aliases: &'static [&'static str],
    summary: &'static str,
    params: &'static [Param],
    formats: Option<fn(&Dsn) -> Option<&'static str>>,
    line_records: bool,
    spans_lines: Option<(&'static str, &'static str)>,
    takes_parser: bool,
}

impl ConnectorInfo {
    const fn new(kind: ConnectorKind, name: &'static str, summary: &'static str) -> Self {
        Self {
            kind,
            name,
            aliases: &[],
            summary,
            params: &[],
            formats: None,
            line_records: false,
            spans_lines: None,
            takes_parser: false,
        }
    }

    /// A source: `name` is the driver of its addresses (`mqtt`) or the whole scheme (`opc+da`); `summary` is
    /// one line.
    pub const fn source(name: &'static str, summary: &'static str) -> Self {
        Self::new(ConnectorKind::Source, name, summary)
    }

    /// A sink, as [`source`](Self::source).
    pub const fn sink(name: &'static str, summary: &'static str) -> Self {
        Self::new(ConnectorKind::Sink, name, summary)
    }

    /// A place for refused records, as [`source`](Self::source).
    pub const fn dead_letters(name: &'static str, summary: &'static str) -> Self {
        Self::new(ConnectorKind::DeadLetters, name, summary)
    }

    /// A format.
    pub const fn format(name: &'static str, summary: &'static str) -> Self {
        Self::new(ConnectorKind::Format, name, summary)
    }

    /// Other names; a scheme such as `opc+ua` is one, too.
    #[must_use]
    pub const fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its parameters.
    #[must_use]
    pub const fn with_params(mut self, params: &'static [Param]) -> Self {
        self.params = params;
        self
    }

    /// Says that the connector moves bytes, so that a format has to be chosen: by `format=` in the address,
    /// else by `guess`, as from the ending of a file's name. The format's parameters stand in the same address.
    #[must_use]
    pub const fn with_formats(mut self, guess: fn(&Dsn) -> Option<&'static str>) -> Self {
        self.formats = Some(guess);
        self
    }

    /// Says of a source or a format that it takes a parser configuration; the others refuse one.
    #[must_use]
    pub const fn with_parser(mut self) -> Self {
        self.takes_parser = true;
        self
    }

    /// Says of a format that no record of it ever holds a line end, so that a file may be cut at any line end.
    #[must_use]
    pub const fn with_line_records(mut self) -> Self {
        self.line_records = true;
        self
    }

    /// Says that records of this format may hold line ends after all where its parameter `name`, one of words, is
    /// `word`.
    #[must_use]
    pub const fn with_spanned_lines(mut self, name: &'static str, word: &'static str) -> Self {
        self.spans_lines = Some((name, word));
        self
    }

    /// Whether a line end always ends a record under these parameters.
    fn line_records_under(&self, params: &Params) -> bool {
        self.line_records && self.spans_lines.is_none_or(|(name, word)| params.choice(name) != Some(word))
    }

    /// Whether a line end always ends a record of this format, if its parameters do not say otherwise.
    pub fn has_line_records(&self) -> bool {
        self.line_records
    }

    /// Source, sink or format.
    pub fn kind(&self) -> ConnectorKind {
        self.kind
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The other names.
    pub fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// One line that says what it is.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Its parameters, in the order in which they are shown.
    pub fn params(&self) -> &'static [Param] {
        self.params
    }

    /// Whether it takes a format, and with it `format=` and the format's parameters.
    pub fn takes_format(&self) -> bool {
        self.formats.is_some()
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The format that was chosen for a connector.
#[derive(Clone)]
#[non_exhaustive]
pub struct Chosen<'a, F> {
    /// Its name.
    pub name: &'static str,
    /// The format's own parameters.
    pub params: &'a Params,
    /// Whether a line end always ends a record.
    pub line_records: bool,
    /// What makes its decoders or encoders; `None` for one that the connector has to know itself, as Parquet.
    pub factory: Option<F>,
}

/// What a source is made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceRequest<'a> {
    /// The address.
    pub dsn: &'a Dsn,
    /// The source's own parameters.
    pub params: &'a Params,
    /// The format; always there for a source that [takes one](ConnectorInfo::with_formats).
    pub format: Option<Chosen<'a, DecoderFactory>>,
    /// Where it is registered: a source whose every message says of which format it is makes decoders of it.
    pub registry: &'a Registry,
    /// What stands beside the address.
    pub options: &'a OpenOptions,
}

impl SourceRequest<'_> {
    /// What makes the decoders of the format.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if the format has none.
    pub fn decoder(&self) -> Result<DecoderFactory> {
        factory(self.format.as_ref(), "read")
    }
}

/// What a sink is made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkRequest<'a> {
    /// The address.
    pub dsn: &'a Dsn,
    /// The sink's own parameters.
    pub params: &'a Params,
    /// The format; always there for a sink that [takes one](ConnectorInfo::with_formats).
    pub format: Option<Chosen<'a, EncoderFactory>>,
}

impl SinkRequest<'_> {
    /// What makes the encoders of the format.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if the format has none.
    pub fn encoder(&self) -> Result<EncoderFactory> {
        factory(self.format.as_ref(), "written")
    }
}

/// What a place for refused records is made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLettersRequest<'a> {
    /// The address.
    pub dsn: &'a Dsn,
    /// Its parameters.
    pub params: &'a Params,
}

fn factory<F: Clone>(format: Option<&Chosen<'_, F>>, verb: &str) -> Result<F> {
    format.and_then(|format| format.factory.clone()).ok_or_else(|| {
        let name = format.map_or("none", |format| format.name);
        Error::new(ErrorKind::Unsupported, format!("the format `{name}` cannot be {verb} here"))
            .with_hint("choose another with format=NAME; `kwsync connectors` lists all of them")
    })
}

/// What decoders and encoders are made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FormatRequest<'a> {
    /// The address whose bytes are of this format.
    pub dsn: &'a Dsn,
    /// The format's own parameters.
    pub params: &'a Params,
    /// The text of the operator's parser configuration.
    pub parser: Option<&'a str>,
    /// The schemas of the job, shared by its lanes.
    pub schemas: &'a Arc<SchemaRegistry>,
}

/// What stands beside the address when a source or a sink is opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The text of the operator's parser configuration.
    pub parser: Option<String>,
    /// The schemas of the job, shared by its lanes.
    pub schemas: Arc<SchemaRegistry>,
    /// The job: what a source keeps at its system is called by it.
    pub job: Option<JobId>,
}

impl OpenOptions {
    /// No parser configuration, and schemas of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the text of the parser configuration.
    #[must_use]
    pub fn with_parser(mut self, parser: impl Into<String>) -> Self {
        self.parser = Some(parser.into());
        self
    }

    fn format<'a>(&'a self, dsn: &'a Dsn, params: &'a Params) -> FormatRequest<'a> {
        FormatRequest { dsn, params, parser: self.parser.as_deref(), schemas: &self.schemas }
    }

    /// Says which job it is.
    #[must_use]
    pub fn with_job(mut self, job: JobId) -> Self {
        self.job = Some(job);
        self
    }

    /// Shares the schemas of a job.
    #[must_use]
    pub fn with_schemas(mut self, schemas: Arc<SchemaRegistry>) -> Self {
        self.schemas = schemas;
        self
    }
}

#[derive(Clone)]
struct Format {
    info: ConnectorInfo,
    decoders: Option<MakeDecoders>,
    encoders: Option<MakeEncoders>,
}

/// Sources, sinks and formats by name. Registering is a call; a later one of the same name replaces the
/// earlier, so that an embedder can put its own in the place of ours.
///
/// # Examples
/// ```
/// use kwsync_core::config::{ConnectorInfo, OpenOptions, Param, Registry};
/// use kwsync_core::{Error, ErrorKind};
///
/// static PARAMS: &[Param] = &[Param::text("topic", "what to read").required()];
/// let mut registry = Registry::new();
/// registry.register_source(ConnectorInfo::source("bus", "our message bus").with_params(PARAMS), |request| {
///     let topic = request.params.text("topic").unwrap_or_default().to_owned();
///     Err(Error::new(ErrorKind::Unavailable, format!("no bus carries {topic}")))
/// });
///
/// let error = registry.source(&"bos://h?topic=a".parse()?, &OpenOptions::new()).err().unwrap();
/// assert_eq!(error.to_string(), "there is no source `bos`, did you mean `bus`?");
/// let error = registry.source(&"bus://h?topic=a".parse()?, &OpenOptions::new()).err().unwrap();
/// assert_eq!(error.to_string(), "no bus carries a");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    sources: Vec<(ConnectorInfo, MakeSource)>,
    sinks: Vec<(ConnectorInfo, MakeSink)>,
    dead_letters: Vec<(ConnectorInfo, MakeDeadLetters)>,
    formats: Vec<Format>,
}

impl Registry {
    /// A registry of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source, or replaces the one of this name.
    pub fn register_source(
        &mut self,
        info: ConnectorInfo,
        make: impl Fn(SourceRequest<'_>) -> Result<Box<dyn DynSource>> + Send + Sync + 'static,
    ) {
        let info = ConnectorInfo { kind: ConnectorKind::Source, ..info };
        self.sources.retain(|(old, _)| old.name != info.name);
        self.sources.push((info, Arc::new(make)));
    }

    /// Adds a sink, or replaces the one of this name.
    pub fn register_sink(
        &mut self,
        info: ConnectorInfo,
        make: impl Fn(SinkRequest<'_>) -> Result<Box<dyn DynSink>> + Send + Sync + 'static,
    ) {
        let info = ConnectorInfo { kind: ConnectorKind::Sink, ..info };
        self.sinks.retain(|(old, _)| old.name != info.name);
        self.sinks.push((info, Arc::new(make)));
    }

    /// Adds a place for refused records, or replaces the one of this name.
    pub fn register_dead_letters(
        &mut self,
        info: ConnectorInfo,
        make: impl Fn(DeadLettersRequest<'_>) -> Result<Arc<dyn DeadLetters>> + Send + Sync + 'static,
    ) {
        let info = ConnectorInfo { kind: ConnectorKind::DeadLetters, ..info };
        self.dead_letters.retain(|(old, _)| old.name != info.name);
        self.dead_letters.push((info, Arc::new(make)));
    }

    /// Adds a format that connectors know themselves, as Parquet, which is no stream of records; or replaces
    /// the documentation of the one of this name.
    pub fn register_format(&mut self, info: ConnectorInfo) {
        self.format_entry(info);
    }

    /// Adds the reading side of a format, or replaces that of the one of this name.
    pub fn register_decoder(
        &mut self,
        info: ConnectorInfo,
        make: impl Fn(FormatRequest<'_>) -> Result<DecoderFactory> + Send + Sync + 'static,
    ) {
        self.format_entry(info).decoders = Some(Arc::new(make));
    }

    /// Adds the writing side of a format, or replaces that of the one of this name.
    pub fn register_encoder(
        &mut self,
        info: ConnectorInfo,
        make: impl Fn(FormatRequest<'_>) -> Result<EncoderFactory> + Send + Sync + 'static,
    ) {
        self.format_entry(info).encoders = Some(Arc::new(make));
    }

    fn format_entry(&mut self, info: ConnectorInfo) -> &mut Format {
        let info = ConnectorInfo { kind: ConnectorKind::Format, ..info };
        let at = self.formats.iter().position(|format| format.info.name == info.name).unwrap_or_else(|| {
            self.formats.push(Format { info, decoders: None, encoders: None });
            self.formats.len() - 1
        });
        let format = &mut self.formats[at];
        format.info = info;
        format
    }

    /// Everything that is registered: sources, sinks, formats, places for refused records, each in the order of their names.
    pub fn connectors(&self) -> Vec<ConnectorInfo> {
        let mut all: Vec<_> = self.sources.iter().map(|(info, _)| *info).collect();
        all.extend(self.sinks.iter().map(|(info, _)| *info));
        all.extend(self.dead_letters.iter().map(|(info, _)| *info));
        all.extend(self.formats.iter().map(|format| format.info));
        all.sort_by_key(|info| (info.kind, info.name));
        all
    }

    /// Everything that is called `name`: often a source and a sink.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), naming the nearest known name, if there is none.
    pub fn find(&self, name: &str) -> Result<Vec<ConnectorInfo>> {
        let all = self.connectors();
        let found: Vec<_> =
            all.iter().filter(|info| info.names().any(|known| known == name)).copied().collect();
        if found.is_empty() {
            let meant = did_you_mean(name, all.iter().flat_map(ConnectorInfo::names));
            return Err(Error::config(format!("there is no connector or format `{name}`{meant}"))
                .with_hint("`kwsync connectors` lists all of them"));
        }
        Ok(found)
    }

    /// The documentation of the source that `dsn` names.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), naming the nearest known one, if there is none.
    pub fn source_info(&self, dsn: &Dsn) -> Result<ConnectorInfo> {
        self.look_up(ConnectorKind::Source, dsn, &self.sources).map(|(info, _)| *info)
    }

    /// The documentation of the sink that `dsn` names.
    ///
    /// # Errors
    /// As [`source_info`](Self::source_info).
    pub fn sink_info(&self, dsn: &Dsn) -> Result<ConnectorInfo> {
        self.look_up(ConnectorKind::Sink, dsn, &self.sinks).map(|(info, _)| *info)
    }

    /// Makes the source that `dsn` names. All parameters, of the source and of its format, are checked before.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for an unknown driver, format or parameter, and for wrong values; otherwise
    /// what the source's own factory says.
    pub fn source(&self, dsn: &Dsn, options: &OpenOptions) -> Result<Box<dyn DynSource>> {
        let (info, make) = self.look_up(ConnectorKind::Source, dsn, &self.sources)?;
        let format = self.choose_format(info, dsn)?;
        let (params, format_params) = check(info, format, dsn)?;
        if options.parser.is_some()
            && !info.takes_parser
            && !format.is_some_and(|format| format.info.takes_parser)
        {
            let what = match format {
                Some(format) => format!("the format `{}`", format.info.name),
                None => format!("the source `{}`", info.name),
            };
            let takers = self.connectors().into_iter().filter(|info| info.takes_parser);
            let takers: Vec<_> = takers.map(|info| format!("{} {}", info.kind, info.name)).collect();
            return Err(Error::new(ErrorKind::Unsupported, format!("{what} takes no parser configuration"))
                .with_hint(format!("leave it out; one is taken by: {}", takers.join(", "))));
        }
        let format = match (format, &format_params) {
            (Some(format), Some(params)) => {
                let factory =
                    format.decoders.as_ref().map(|make| make(options.format(dsn, params))).transpose()?;
                Some(Chosen {
                    name: format.info.name,
                    params,
                    line_records: format.info.line_records_under(params),
                    factory,
                })
            }
            _ => None,
        };
        make(SourceRequest { dsn, params: &params, format, registry: self, options })
    }

    /// Makes the sink that `dsn` names, as [`source`](Self::source).
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn sink(&self, dsn: &Dsn, options: &OpenOptions) -> Result<Box<dyn DynSink>> {
        let (info, make) = self.look_up(ConnectorKind::Sink, dsn, &self.sinks)?;
        let format = self.choose_format(info, dsn)?;
        let (params, format_params) = check(info, format, dsn)?;
        let format = match (format, &format_params) {
            (Some(format), Some(params)) => {
                let factory =
                    format.encoders.as_ref().map(|make| make(options.format(dsn, params))).transpose()?;
                Some(Chosen {
                    name: format.info.name,
                    params,
                    line_records: format.info.line_records_under(params),
                    factory,
                })
            }
            _ => None,
        };
        make(SinkRequest { dsn, params: &params, format })
    }

    /// Makes the place for refused records that `dsn` names. Its parameters are checked before.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn dead_letters(&self, dsn: &Dsn) -> Result<Arc<dyn DeadLetters>> {
        let (info, make) = self.look_up(ConnectorKind::DeadLetters, dsn, &self.dead_letters)?;
        let (params, _) = check(info, None, dsn)?;
        make(DeadLettersRequest { dsn, params: &params })
    }

    /// What makes the encoders of the format called `name`; its parameters stand in `dsn`.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for an unknown name or parameter; [`Unsupported`](ErrorKind::Unsupported) for
    /// a format that is only read.
    pub fn encoder(&self, name: &str, dsn: &Dsn, options: &OpenOptions) -> Result<EncoderFactory> {
        let (format, params) = self.format_of(name, dsn)?;
        match &format.encoders {
            Some(make) => make(options.format(dsn, &params)),
            None => {
                Err(Error::new(ErrorKind::Unsupported, format!("the format `{name}` cannot be written here"))
                    .with_hint("`kwsync connectors` lists all formats"))
            }
        }
    }

    /// What makes the decoders of the format called `name`; its parameters stand in `dsn`, and nothing else does.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for an unknown name or parameter; [`Unsupported`](ErrorKind::Unsupported) for
    /// a format that is only written.
    pub fn decoder(&self, name: &str, dsn: &Dsn, options: &OpenOptions) -> Result<DecoderFactory> {
        let (format, params) = self.format_of(name, dsn)?;
        match &format.decoders {
            Some(make) => make(options.format(dsn, &params)),
            None => {
                Err(Error::new(ErrorKind::Unsupported, format!("the format `{name}` cannot be read here"))
                    .with_hint("`kwsync connectors` lists all formats"))
            }
        }
    }

    /// The format called `name`, and its parameters in `dsn`.
    fn format_of(&self, name: &str, dsn: &Dsn) -> Result<(&Format, Params)> {
        let format = self.find_format(name)?;
        let what = format!("format `{}`", format.info.name);
        let mut sets = Params::parse_sets(&what, &[format.info.params], dsn.params())?.into_iter();
        let params =
            sets.next().ok_or_else(|| Error::new(ErrorKind::Internal, "no parameters were parsed"))?;
        Ok((format, params))
    }

    fn find_format(&self, name: &str) -> Result<&Format> {
        let found = self.formats.iter().find(|format| format.info.names().any(|known| known == name));
        found.ok_or_else(|| {
            let meant = did_you_mean(name, self.formats.iter().flat_map(|format| format.info.names()));
            Error::config(format!("there is no format `{name}`{meant}")).with_hint(
                "`kwsync connectors` lists all of them; one that is missing may need a feature of this build",
            )
        })
    }

    /// The parameters of the connector and its format that `dsn` gives, checked, without opening anything.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) as [`source`](Self::source).
    pub fn check(&self, kind: ConnectorKind, dsn: &Dsn) -> Result<Vec<Params>> {
        let info = match kind {
            ConnectorKind::Sink => self.sink_info(dsn)?,
            _ => self.source_info(dsn)?,
        };
        let (params, format_params) = check(&info, self.choose_format(&info, dsn)?, dsn)?;
        Ok(std::iter::once(params).chain(format_params).collect())
    }

    fn look_up<'a, M>(
        &self,
        kind: ConnectorKind,
        dsn: &Dsn,
        known: &'a [(ConnectorInfo, M)],
    ) -> Result<&'a (ConnectorInfo, M)> {
        let scheme = dsn.scheme();
        let called = |name: &str| known.iter().rfind(|(info, _)| info.names().any(|known| known == name));
        if let Some(found) = called(&scheme).or_else(|| called(dsn.driver())) {
            return Ok(found);
        }
        let others = self.connectors();
        let other =
            others.iter().find(|info| info.kind != kind && info.names().any(|name| name == dsn.driver()));
        Err(match other {
            Some(other) => Error::config(format!("`{}` is a {}, and no {kind}", dsn.driver(), other.kind)),
            None => {
                let meant = did_you_mean(dsn.driver(), known.iter().flat_map(|(info, _)| info.names()));
                Error::config(format!("there is no {kind} `{scheme}`{meant}"))
            }
        }
        .with_hint({
            let mut names: Vec<_> = known.iter().map(|(info, _)| info.name).collect();
            names.sort_unstable();
            format!(
                "this build has the {kind}s {}; another one may need a feature (`kwsync connectors` lists all)",
                names.join(", ")
            )
        }))
    }

    fn choose_format(&self, info: &ConnectorInfo, dsn: &Dsn) -> Result<Option<&Format>> {
        let Some(guess) = info.formats else { return Ok(None) };
        let Some(name) = dsn.get("format").or_else(|| guess(dsn)) else {
            let known: Vec<_> = self.formats.iter().map(|format| format.info.name).collect();
            let mut shown = dsn.clone();
            shown.redact(info.params);
            return Err(Error::config(format!("`{shown}` does not say which format its records have"))
                .with_hint(format!("add format=NAME; known are: {}", known.join(", "))));
        };
        self.find_format(name).map(Some)
    }
}

/// The declared parameters of connector and format, out of one address.
fn check(info: &ConnectorInfo, format: Option<&Format>, dsn: &Dsn) -> Result<(Params, Option<Params>)> {
    static FORMAT: &[Param] =
        &[Param::text("format", "the format of the records; default: by the ending of the name")];
    let subject = format!("{} `{}`", info.kind, info.name);
    let declared: &[&'static [Param]] = match format {
        Some(format) => &[info.params, format.info.params, FORMAT],
        None => &[info.params],
    };
    let mut sets = Params::parse_sets(&subject, declared, dsn.params())?.into_iter();
    let own = sets.next().ok_or_else(|| Error::new(ErrorKind::Internal, "no parameters were parsed"))?;
    Ok((own, format.and(sets.next())))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.connectors().iter().map(|info| (info.kind, info.name))).finish()
    }
}

impl<F> fmt::Debug for Chosen<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen")
            .field("name", &self.name)
            .field("params", self.params)
            .finish_non_exhaustive()
    }
}
