//! What the service refuses, as a person reads it.

use std::fmt::Write;

use object_store::client::{HttpError, HttpErrorKind};

use crate::{Error, ErrorKind, Retry};

/// What stands before a refusal in the body of an answer, once `http` has read it.
const MARK: &str = "\u{1}kwsync-refusal ";

/// A refusal by the service, with the names that the SDKs give the parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Refusal {
    /// The HTTP status
    pub(super) code: u16,
    pub(super) error_code: String,
    pub(super) error_msg: String,
    pub(super) req_id: String,
}

impl Refusal {
    /// That of an answer: its status, its body (XML, or none after HEAD), and the id in its head.
    pub(super) fn of(code: u16, body: &str, req_id: Option<&str>) -> Self {
        let part = |name: &str| element(body, name);
        Self {
            code,
            error_code: part("Code").unwrap_or_default(),
            error_msg: part("Message").unwrap_or_default(),
            req_id: part("RequestId").or(req_id.map(str::to_owned)).unwrap_or_default(),
        }
    }

    /// The text that goes through the library, and comes out in its error.
    pub(super) fn marked(&self) -> String {
        format!("{MARK}{}", serde_json::to_string(self).unwrap_or_default())
    }

    fn found_in(text: &str) -> Option<Self> {
        let (_, json) = text.split_once(MARK)?;
        // What the library wrote behind it does not concern us.
        serde_json::Deserializer::from_str(json).into_iter().next()?.ok()
    }

    fn kind(&self) -> ErrorKind {
        match (self.code, self.error_code.as_str()) {
            (
                _,
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "ExpiredToken"
                | "SecurityTokenExpired"
                | "InvalidSecurityToken"
                | "AuthorizationHeaderMalformed"
                | "RequestTimeTooSkewed"
                | "NotSignedUp",
            )
            | (401, _) => ErrorKind::Auth,
            (403, _) => ErrorKind::Permission,
            (404, _) => ErrorKind::NotFound,
            (412, _) => ErrorKind::NotFound,
            (408 | 429 | 500 | 502 | 503, _) => ErrorKind::Unavailable,
            (504, _) => ErrorKind::Timeout,
            (500.., _) => ErrorKind::Server,
            (300..=399, _) => ErrorKind::Config,
            _ => ErrorKind::Protocol,
        }
    }

    fn hint(&self, bucket: &str) -> Option<String> {
        Some(match (self.code, self.error_code.as_str()) {
            (_, "InvalidAccessKeyId") => "check id=: the service does not know this access key".to_owned(),
            (_, "SignatureDoesNotMatch") => {
                "check key=, and region=: the service computed another signature".to_owned()
            }
            (_, "RequestTimeTooSkewed") => "the clock of this machine is wrong".to_owned(),
            (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect")
            | (301 | 307, _) => {
                format!("the bucket {bucket} lies in another region: give it as region=, and its endpoint")
            }
            (_, "SecondLevelDomainForbidden") => "add addressing=virtual".to_owned(),
            (_, "NoSuchBucket") => {
                format!("make the bucket {bucket} first, or check its name, endpoint= and region=")
            }
            (403, _) => format!("give the access key the right to do this in the bucket {bucket}"),
            _ => return None,
        })
    }
}

/// The text of the first element `name`; of the entities those that a message may hold.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let mut text = text.trim().to_owned();
    for (entity, plain) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")]
    {
        text = text.replace(entity, plain);
    }
    Some(text).filter(|text| !text.is_empty())
}

/// A transfer that was given up.
#[derive(Debug)]
pub(super) struct TooSlow(pub(super) String);

impl std::fmt::Display for TooSlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TooSlow {}

/// An error of ours for one of the library: `what` was being done (`cannot read s3://b/k`).
pub(super) fn fault(what: &str, bucket: &str, error: object_store::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let (mut refusal, mut http, mut slow, mut last) = (None, None, None, String::new());
    while let Some(error) = cause {
        last = error.to_string();
        refusal = Refusal::found_in(&last).or(refusal);
        if let Some(error) = error.downcast_ref::<HttpError>() {
            http = Some(error.kind());
        }
        if let Some(error) = error.downcast_ref::<TooSlow>() {
            slow = Some(error.0.clone());
        }
        cause = error.source();
    }
    if let Some(slow) = slow {
        return too_slow(what, &slow);
    }
    if let Some(refusal) = refusal {
        return refused(what, bucket, &refusal);
    }
    if last.contains("without LOCATION") {
        return refused(what, bucket, &Refusal { code: 301, ..Refusal::default() });
    }
    let (kind, hint) = match (&error, http) {
        (object_store::Error::InvalidPath { .. }, _) => (
            ErrorKind::Unsupported,
            "keys with an empty part, as in a//b, cannot be named: rename the object",
        ),
        (_, Some(HttpErrorKind::Timeout)) => {
            (ErrorKind::Timeout, "check endpoint=, or raise oss_connect_timeout=")
        }
        (_, Some(HttpErrorKind::Connect)) if last.contains("ertificate") => (
            ErrorKind::Tls,
            "the certificate must be signed by an authority of ca=, or of this machine; http:// is without TLS",
        ),
        (_, Some(HttpErrorKind::Connect)) => {
            (ErrorKind::Unavailable, "check that the service runs and that endpoint= is right")
        }
        (_, Some(_)) => {
            (ErrorKind::Unavailable, "the connection is lost; endpoint= must be that of an object storage")
        }
        _ => (ErrorKind::Protocol, "check endpoint=: it must be that of an object storage"),
    };
    Error::new(kind, format!("{what}: {last}")).with_hint(hint)
}

fn refused(what: &str, bucket: &str, refusal: &Refusal) -> Error {
    let Refusal { code, error_code, error_msg, req_id } = refusal;
    let said = match (error_msg.as_str(), error_code.as_str()) {
        ("", "") => match code {
            404 => "there is no such object or bucket",
            403 => "the service refuses",
            _ => "the service refuses, and does not say why",
        },
        ("", code) => code,
        (message, _) => message.trim_end_matches('.'),
    };
    let mut text = format!("{what}: {said} (code {code}");
    // Writing into a string does not fail.
    for (name, value) in [("error_code", error_code), ("req_id", req_id)] {
        if !value.is_empty() {
            write!(text, ", {name} {value}").ok();
        }
    }
    text.push(')');
    let made = Error::new(refusal.kind(), text);
    let made = if error_code.is_empty() { made } else { made.with_code(error_code.clone()) };
    match refusal.hint(bucket) {
        Some(hint) => made.with_hint(hint),
        None => made,
    }
}

/// Given up for good: the operator has said how slow is too slow.
pub(super) fn too_slow(what: &str, slow: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("{what}: {slow}"))
        .with_retry(Retry::Never)
        .with_code("too_slow")
        .with_hint(
            "run the same command again: it resumes; oss_speed_limit= and oss_speed_time= say what is too slow",
        )
}
