use super::*;
use crate::ErrorKind;
use crate::config::{Dsn, Param, Params};

static PARAMS: &[Param] = &[
    params::USE_SSL,
    params::CA,
    params::CERT,
    params::CERT_KEY,
    params::SASL_MECHANISM,
    params::CONNECT_TIMEOUT,
    params::PROPERTIES,
];

fn options(address: &str) -> crate::Result<ClientOptions> {
    let dsn: Dsn = address.parse()?;
    ClientOptions::from_dsn(&dsn, &Params::parse("kafka", PARAMS, dsn.params())?)
}

#[test]
fn addresses_become_properties() {
    let made = options("kafka://u:s3cret@a,b:1?kafka.client.rack=r&kafka.fetch.min.bytes=7").unwrap();
    let config = made.config(&[("client.rack", "default"), ("fetch.wait.max.ms", "5")]);
    for (name, value) in [
        ("bootstrap.servers", "a:9092,b:1"),
        ("security.protocol", "sasl_plaintext"),
        ("sasl.username", "u"),
        ("sasl.password", "s3cret"),
        ("sasl.mechanism", "PLAIN"),
        ("client.rack", "r"),
        ("fetch.min.bytes", "7"),
        ("fetch.wait.max.ms", "5"),
    ] {
        assert_eq!(config.get(name), Some(value), "{name}");
    }
    assert!(!format!("{made:?}").contains("s3cret"));
}

#[test]
fn mistakes_in_addresses_say_what_to_do() {
    for (address, expected) in [
        ("kafka://h?kafka=1", "unknown parameter `kafka`"),
        ("kafka://h?kafka.=1", "kafka.NAME=VALUE"),
        ("kafka://h?use_sll=true", "did you mean `use_ssl`?"),
        ("kafka:x?use_ssl=false", "names its brokers"),
        ("kafka://u:p@h?sasl_mechanism=SCRAM", "SCRAM-SHA-256"),
    ] {
        let error = options(address).unwrap_err().report();
        assert!(error.contains(expected), "{address}: {error}");
    }
    if cfg!(not(feature = "kafka-tls")) {
        for address in ["kafka://h?use_ssl", "kafka://u:p@h?sasl_mechanism=SCRAM-SHA-512", "kafkas://h"] {
            let error = options(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.report().contains("kafka-tls"), "{error}");
        }
    } else {
        let made = options("kafkas://h?ca=/a/ca.crt&cert=-----BEGIN&cert_key=k").unwrap().config(&[]);
        assert_eq!(made.get("ssl.ca.location"), Some("/a/ca.crt"));
        assert_eq!(made.get("ssl.certificate.pem"), Some("-----BEGIN"));
        assert!(options("kafka://h?cert=c").unwrap_err().report().contains("go together"));
    }
}

#[test]
fn a_wrong_property_is_named_without_its_value() {
    let config = ClientOptions::new("h").with_property("linger.ms", "s3cret").config(&[]);
    let fault = config.create::<rdkafka::consumer::BaseConsumer>().err().unwrap();
    let error = error(fault);
    assert_eq!(error.kind(), ErrorKind::Config);
    let report = error.report();
    assert!(report.contains("linger.ms") && !report.contains("s3cret"), "{report}");
}
