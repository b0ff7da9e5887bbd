use super::error::{Refusal, fault};
use super::*;
use crate::config::{Dsn, Params, Secret};
use crate::{ErrorKind, Result};

fn read(address: &str, env: &[(&str, &str)]) -> Result<(ObjectOptions, Option<String>)> {
    let dsn: Dsn = address.parse().unwrap();
    static DECLARED: &[crate::config::Param] = &PARAMS;
    let params = Params::parse("object", DECLARED, dsn.params().filter(|(name, _)| *name != "prefix"))?;
    ObjectOptions::read(&dsn, &params, &|name| {
        env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

const KEY: &str = "id=I&key=hunter2";

#[test]
fn addresses() {
    let known = |address: &str| read(address, &[]).unwrap();
    let (made, object) = known(&format!("s3://b/a/x%20y.csv?{KEY}"));
    assert_eq!(
        (made.bucket.as_str(), made.endpoint.as_deref(), made.region.as_str()),
        ("b", None, "us-east-1")
    );
    assert_eq!((object.as_deref(), made.addressing), (Some("a/x y.csv"), Addressing::Virtual));
    assert_eq!(
        made.credentials,
        Credentials::Key { id: "I".to_owned(), key: Secret::new("hunter2"), token: None }
    );
    assert!(!format!("{made:?}").contains("hunter2"), "{made:?}");

    let (made, object) = known(
        "oss://oss-cn-hangzhou-internal.aliyuncs.com prefix=osstest/example id=XXX key=XXX bucket=testbucket",
    );
    assert_eq!(made.endpoint.as_deref(), Some("https://oss-cn-hangzhou-internal.aliyuncs.com"));
    assert_eq!((made.bucket.as_str(), made.region.as_str()), ("testbucket", "oss-cn-hangzhou"));
    assert_eq!((object, made.addressing), (None, Addressing::Virtual));

    let (made, _) = known("oss+http://127.0.0.1:9000 id=I key=K bucket=b");
    assert_eq!(
        (made.endpoint.as_deref(), made.addressing),
        (Some("http://127.0.0.1:9000"), Addressing::Path)
    );
    let (made, _) = known(&format!("s3://b/k?endpoint=minio:9000/&{KEY}"));
    assert_eq!((made.endpoint.as_deref(), made.addressing), (Some("https://minio:9000"), Addressing::Path));
    let (made, _) = known(&format!("s3://b/k?endpoint=https://s3.eu-west-1.amazonaws.com&{KEY}"));
    assert_eq!((made.region.as_str(), made.addressing), ("eu-west-1", Addressing::Virtual));
    let (made, _) = known(&format!("s3://my.bucket/k?{KEY}"));
    assert_eq!(made.addressing, Addressing::Path);
    let (made, _) = known(&format!("oss://b/k?region=oss-cn-beijing&{KEY}"));
    assert_eq!(made.endpoint.as_deref(), Some("https://oss-cn-beijing.aliyuncs.com"));
    let (made, _) = known("s3://me:hunter2@b/k");
    assert!(matches!(made.credentials, Credentials::Key { id, .. } if id == "me"));
}

#[test]
fn the_environment() {
    let aws = [
        ("AWS_ACCESS_KEY_ID", "A"),
        ("AWS_SECRET_ACCESS_KEY", "S"),
        ("AWS_SESSION_TOKEN", "T"),
        ("AWS_REGION", "eu-north-1"),
        ("AWS_ENDPOINT_URL", "http://localhost:9000"),
    ];
    let (made, _) = read("s3://b/k", &aws).unwrap();
    assert!(matches!(&made.credentials, Credentials::Key { id, token: Some(_), .. } if id == "A"));
    assert_eq!(
        (made.region.as_str(), made.endpoint.as_deref()),
        ("eu-north-1", Some("http://localhost:9000"))
    );
    // What is typed wins, as a whole.
    let (made, _) = read(&format!("s3://b/k?{KEY}"), &aws).unwrap();
    assert!(matches!(&made.credentials, Credentials::Key { id, token: None, .. } if id == "I"));
    let oss = [
        ("OSS_ACCESS_KEY_ID", "O"),
        ("OSS_ACCESS_KEY_SECRET", "S"),
        ("OSS_ENDPOINT", "oss-cn-beijing.aliyuncs.com"),
    ];
    let (made, _) = read("oss://b/k", &oss).unwrap();
    assert!(matches!(&made.credentials, Credentials::Key { id, .. } if id == "O"));
    assert_eq!(made.region, "oss-cn-beijing");
    let role = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")];
    assert_eq!(read("s3://b/k", &role).unwrap().0.credentials, Credentials::Environment);
    assert_eq!(read("s3://b/k?credentials=anonymous", &aws).unwrap().0.credentials, Credentials::Anonymous);
    assert!(read("s3://b/k", &aws[..1]).unwrap_err().to_string().contains("no AWS_SECRET_ACCESS_KEY"));
}

#[test]
fn addresses_say_what_to_do() {
    for (address, expected) in [
        ("s3:///k?id=I&key=hunter2", "names no bucket"),
        ("s3://a,b/k?id=I&key=hunter2", "names no bucket"),
        ("s3://b/k", "there is no access key"),
        ("s3://b/k?id=I", "there is an id=, and no key="),
        ("s3://b/k?key=hunter2", "there is a key=, and no id="),
        ("oss://b/k?id=I&key=hunter2", "names no endpoint"),
        ("oss://oss-cn-hangzhou.aliyuncs.com/k?id=I&key=hunter2", "no bucket is named"),
        ("s3://127.0.0.1:9000/b/k?id=I&key=hunter2", "no bucket is named"),
        ("s3+http://b/k?id=I&key=hunter2", "stands before an endpoint"),
        ("s3+ftp://b/k?id=I&key=hunter2", "not reached by \"ftp\""),
        ("s3://b/k?id=I&key=hunter2&endpoint=ftp://h", "neither https:// nor http://"),
        ("s3://b/k?id=I&key=hunter2&endpoint=https://h/b", "no host with a port"),
        ("s3://h/k?id=I&key=hunter2&endpoint=https://i&bucket=b", "names the endpoint twice"),
        ("s3://b/k?id=I&key=hunter2&endpont=h", "did you mean `endpoint`?"),
        ("s3://b/k?id=I&key=hunter2&oss_speed_time=soon", "oss_speed_time=soon"),
    ] {
        let error = read(address, &[]).unwrap_err();
        let report = error.report();
        assert!(report.contains(expected) && !report.contains("hunter2"), "{address}: {report}");
        assert_eq!(error.kind(), ErrorKind::Config, "{report}");
    }
}

#[test]
fn refusals_keep_their_parts() {
    let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>It &lt;differs&gt; &amp; more.</Message><RequestId>R1</RequestId></Error>";
    let refusal = Refusal::of(403, body, Some("head"));
    assert_eq!((refusal.error_msg.as_str(), refusal.req_id.as_str()), ("It <differs> & more.", "R1"));
    let error = object_store::Error::Generic {
        store: "S3",
        source: format!("Server returned 403: {} in 3 ms", refusal.marked()).into(),
    };
    let error = fault("cannot read s3://b/k", "b", error);
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(
        error.message(),
        "cannot read s3://b/k: It <differs> & more (code 403, error_code SignatureDoesNotMatch, req_id R1)"
    );
    assert_eq!(error.code(), Some("SignatureDoesNotMatch"));
    // After HEAD there is no body.
    let refusal = Refusal::of(403, "", Some("R2"));
    let error = object_store::Error::Generic { store: "S3", source: refusal.marked().into() };
    let error = fault("cannot read s3://b/k", "b", error);
    assert_eq!(error.message(), "cannot read s3://b/k: the service refuses (code 403, req_id R2)");
}

#[test]
fn an_object_is_told_from_another() {
    let object = ObjectInfo { key: "k".to_owned(), size: 3, etag: Some("\"a\"".to_owned()), modified: 7 };
    assert_eq!(object.change(&object), None);
    assert_eq!(object.change(&ObjectInfo { modified: 8, ..object.clone() }), None);
    assert!(
        object.change(&ObjectInfo { size: 4, ..object.clone() }).unwrap().contains("4 bytes instead of 3")
    );
    let other = ObjectInfo { etag: Some("\"b\"".to_owned()), ..object.clone() };
    assert!(object.change(&other).unwrap().contains("ETag"));
    let unknown = ObjectInfo { etag: None, ..object.clone() };
    assert_eq!(object.change(&unknown), None);
    assert!(unknown.change(&ObjectInfo { modified: 8, ..object }).unwrap().contains("another time"));
}
