use super::*;
use crate::{Source, Split, SplitPosition};

/// A source that remembers nothing and reads nothing.
struct Empty;

struct EmptyReader;

impl crate::Reader for EmptyReader {
    async fn next(&mut self) -> Result<Option<crate::SourceBatch>> {
        Ok(None)
    }
}

impl Source for Empty {
    type Reader = EmptyReader;

    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        Ok(Vec::new())
    }

    async fn open(&self, _split: &Split, _at: Option<&SplitPosition>) -> Result<EmptyReader> {
        Ok(EmptyReader)
    }
}

static BUS: &[Param] = &[Param::text("topic", "what to read").required()];
static TEXT: &[Param] =
    &[Param::choice("delimiter", &["tab", "comma"], "between fields").with_default("tab")];

fn guess(dsn: &Dsn) -> Option<&'static str> {
    dsn.object().filter(|path| path.ends_with(".txt")).map(|_| "text")
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register_source(
        ConnectorInfo::source("bus", "a bus")
            .with_parser()
            .with_params(BUS)
            .with_aliases(&["opc+da"])
            .with_formats(guess),
        |request| {
            // A source that decodes needs the decoders.
            request.decoder()?;
            Ok(Box::new(Empty))
        },
    );
    registry.register_source(ConnectorInfo::source("plain", "no format"), |request| {
        assert!(request.format.is_none());
        Ok(Box::new(Empty))
    });
    registry.register_sink(ConnectorInfo::sink("mysql", "a sink"), |_| {
        Err(Error::new(ErrorKind::Unavailable, "reached"))
    });
    registry.register_decoder(
        ConnectorInfo::format("text", "text").with_params(TEXT).with_aliases(&["txt"]),
        |request| {
            assert_eq!(request.parser, Some("{}"));
            let delimiter = request.params.choice("delimiter");
            Ok(Arc::new(move || Err(Error::new(ErrorKind::Internal, format!("{delimiter:?}")))))
        },
    );
    registry.register_format(ConnectorInfo::format("parquet", "columns"));
    registry
}

fn source(dsn: &str) -> Result<Box<dyn DynSource>> {
    registry().source(&dsn.parse()?, &OpenOptions::new().with_parser("{}"))
}

fn fault(dsn: &str) -> String {
    source(dsn).err().unwrap_or_else(|| panic!("{dsn} is a source")).to_string()
}

#[test]
fn sources_and_their_formats() {
    for dsn in [
        "bus:a.txt?topic=t",
        "bus:a?topic=t&format=text&delimiter=comma",
        "bus://h?topic=t&format=txt",
        "opc+da://h?topic=t&format=text",
    ] {
        assert!(source(dsn).is_ok(), "{dsn}");
    }
    let plain: Dsn = "plain://h".parse().unwrap();
    assert!(registry().source(&plain, &OpenOptions::new()).is_ok());
    assert_eq!(fault("plain://h"), "the source `plain` takes no parser configuration");
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(fault("bos://h"), "there is no source `bos`, did you mean `bus`?");
    assert_eq!(fault("opc+ad://h"), "there is no source `opc+ad`");
    assert_eq!(fault("mysql://h"), "`mysql` is a sink, and no source");
    assert_eq!(
        fault("bus://me:secret@h?topic=t"),
        "`bus://me:***@h?topic=t` does not say which format its records have"
    );
    assert_eq!(fault("bus://h?topic=t&format=tetx"), "there is no format `tetx`, did you mean `text`?");
    assert_eq!(fault("bus://h?topic=t&format=parquet"), "the format `parquet` cannot be read here");
    assert_eq!(
        fault("bus://h?format=text&tpoic=x&delimiter=dot"),
        "source `bus`: 3 faults: (1) unknown parameter `tpoic`, did you mean `topic`?; \
         (2) `delimiter=dot` is wrong: it takes one of tab, comma; (3) the parameter `topic` is missing"
    );
    // Only what takes a format has one.
    assert_eq!(fault("plain://h?format=text"), "source `plain`: unknown parameter `format`");
    let error = registry().sink(&"mysql://h".parse().unwrap(), &OpenOptions::new()).err().unwrap();
    assert_eq!(error.to_string(), "reached");
}

#[test]
fn later_ones_replace_earlier_ones() {
    let mut registry = registry();
    registry.register_source(ConnectorInfo::source("bus", "mine"), |_| Ok(Box::new(Empty)));
    let dsn = "bus://h".parse().unwrap();
    assert_eq!(registry.source_info(&dsn).unwrap().summary(), "mine");
    assert!(registry.source(&dsn, &OpenOptions::new()).is_ok());
    assert_eq!(registry.find("bus").unwrap().len(), 1);
}

#[test]
fn listing() {
    let registry = registry();
    let names: Vec<_> = registry.connectors().iter().map(|info| (info.kind(), info.name())).collect();
    assert_eq!(
        names,
        [
            (ConnectorKind::Source, "bus"),
            (ConnectorKind::Source, "plain"),
            (ConnectorKind::Sink, "mysql"),
            (ConnectorKind::Format, "parquet"),
            (ConnectorKind::Format, "text"),
        ]
    );
    assert_eq!(registry.find("txt").unwrap()[0].params().len(), 1);
    assert_eq!(
        registry.find("parqet").unwrap_err().to_string(),
        "there is no connector or format `parqet`, did you mean `parquet`?"
    );
    let params = registry.check(ConnectorKind::Source, &"bus:a.txt?topic=t".parse().unwrap()).unwrap();
    assert_eq!(params.iter().flat_map(Params::settings).count(), 2);
}
