//! What it means when a request fails.

use std::{fmt, time::Duration};

use s3::error::S3Error;

use crate::{Operation, StorageError, error::Source};

/// How much of an answer is kept.
const MAX_SAID_CHARS: usize = 400;

#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answers, or asks to be asked later.
    Unavailable(Source),
    /// There is no such object.
    Absent(Source),
    NoBucket(Source),
    Denied(Source),
    Full(Source),
    /// Nothing of the object lies in the range.
    OutOfRange,
    Other(Source),
}

/// What a server said.
#[derive(Debug)]
struct Said {
    status: u16,
    code: String,
    message: String,
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, code, message } = self;
        write!(formatter, "HTTP {status} {code}: {message}")
    }
}

impl std::error::Error for Said {}

impl Failure {
    pub(super) fn timed_out(patience: Duration) -> Self {
        Self::Unavailable(format!("there was no answer within {} s", patience.as_secs()).into())
    }

    /// For metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Absent(_) => "absent",
            Self::NoBucket(_) => "no_bucket",
            Self::Denied(_) => "denied",
            Self::Full(_) => "full",
            Self::OutOfRange | Self::Other(_) => "failed",
        }
    }

    /// An object that is not there is no failure.
    pub(super) fn absent<T>(self) -> Result<Option<T>, Self> {
        match self {
            Self::Absent(_) => Ok(None),
            failure => Err(failure),
        }
    }

    pub(super) fn into_error(self, operation: Operation, object: &str) -> StorageError {
        let object = object.to_owned();
        match self {
            Self::Unavailable(source) => StorageError::Unavailable { operation, object, source },
            Self::NoBucket(source) => StorageError::NoBucket { operation, object, source },
            Self::Denied(source) => StorageError::Denied { operation, object, source },
            Self::Full(source) => StorageError::DiskFull { operation, object, source },
            Self::Absent(source) | Self::Other(source) => StorageError::Io { operation, object, source },
            Self::OutOfRange => StorageError::Io { operation, object, source: "the range is not in it".into() },
        }
    }

    fn of_answer(status: u16, body: &str) -> Self {
        let code = element(body, "Code").unwrap_or_default().to_owned();
        let message = element(body, "Message").unwrap_or(body).chars().take(MAX_SAID_CHARS).collect();
        let kind = match (status, code.as_str()) {
            (404, "NoSuchBucket") => Self::NoBucket,
            (404, _) => Self::Absent,
            (416, _) => |_| Self::OutOfRange,
            // RFC 4918 section 11.5, and how servers name a full disk or a quota.
            (507, _) => Self::Full,
            (_, "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "InsufficientStorage") => {
                Self::Full
            }
            (401 | 403, _) => Self::Denied,
            (408 | 429 | 500 | 502 | 503 | 504, _) | (_, "RequestTimeout" | "SlowDown") => Self::Unavailable,
            _ => Self::Other,
        };
        kind(Said { status, code, message }.into())
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        match error {
            S3Error::HttpFailWithBody(status, body) => Self::of_answer(status, &body),
            S3Error::Reqwest(error) if !error.is_builder() && !error.is_redirect() => Self::Unavailable(error.into()),
            S3Error::Io(error) => Self::Unavailable(error.into()),
            error => Self::Other(error.into()),
        }
    }
}

/// The text of an element, as in `<Code>NoSuchKey</Code>`.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let kind = |status, code: &str| {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so</Message></Error>");
            Failure::from(S3Error::HttpFailWithBody(status, body)).name()
        };
        for (status, code, expected) in [
            (404, "NoSuchKey", "absent"),
            (404, "NoSuchBucket", "no_bucket"),
            (403, "AccessDenied", "denied"),
            (403, "QuotaExceeded", "full"),
            (507, "XMinioStorageFull", "full"),
            (503, "SlowDown", "unavailable"),
            (400, "RequestTimeout", "unavailable"),
            (500, "InternalError", "unavailable"),
            (400, "InvalidArgument", "failed"),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code}");
        }
        assert_eq!(Failure::from(S3Error::HttpFailWithBody(404, String::new())).name(), "absent", "of HEAD");
        let error = Failure::of_answer(403, "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>");
        let error = error.into_error(Operation::Put, "a/b");
        assert_eq!(error.to_string(), "storage refuses to put a/b");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "HTTP 403 AccessDenied: No.");
    }
}
