//! Extractors whose every refusal is a problem document that names what is wrong. axum's own answer in plain text.

use std::time::Duration;

use axum::{
    body::HttpBody,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use openapi::FieldError;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::Segment;

use crate::{
    BODY_LIMIT_BYTES,
    error::{ApiError, ApiResult, generic},
};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        json_body(request).await.map(|(value, _)| Self(value))
    }
}

/// A body of JSON: what it says, and as it came.
pub(crate) async fn json_body<T: DeserializeOwned>(request: Request) -> ApiResult<(T, Bytes)> {
    if !is_json(request.headers()) {
        return Err(generic(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
    }
    // What is announced need not be waited for.
    if request.body().size_hint().lower() > BODY_LIMIT_BYTES as u64 {
        return Err(generic(StatusCode::PAYLOAD_TOO_LARGE).into());
    }
    let body = match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Err(_) => return Err(generic(StatusCode::REQUEST_TIMEOUT).into()),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(generic(StatusCode::PAYLOAD_TOO_LARGE).into());
        }
        Ok(Err(_)) => {
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "body_broken", "The body could not be read")
                .detail("The body broke off before its end. Send it again."));
        }
        Ok(Ok(body)) => body,
    };
    Ok((parse_json(&body)?, body))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> ApiResult<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let broken = |error: &serde_json::Error| {
        ApiError::new(StatusCode::BAD_REQUEST, "json_invalid", "The body is not valid JSON")
            .detail(format!("The body is no JSON: {error}."))
    };
    // A derived `Deserialize` takes a list of the fields' values as well.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| broken(&error))?;
        return Err(ApiError::wrong_field(field_error(String::new(), "invalid type, expected an object")));
    }
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // A value where a word of several is expected counts as bad syntax, though the body is JSON.
        if error.inner().classify() != Category::Data && serde_json::from_slice::<IgnoredAny>(body).is_err() {
            return broken(error.inner());
        }
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } => push_token(&mut pointer, key),
                Segment::Enum { variant } => push_token(&mut pointer, variant),
                Segment::Unknown => {}
            }
        }
        let text = error.into_inner().to_string();
        // Where it is in the text helps nobody who has the pointer.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        ApiError::wrong_field(field_error(pointer, text))
    })?;
    deserializer.end().map_err(|error| broken(&error))?;
    Ok(value)
}

/// Adds a reference token to a JSON Pointer (RFC 6901, section 3).
fn push_token(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// What serde says of a field, as one of our codes; `pointer` leads to the field or to what misses it.
fn field_error(mut pointer: String, text: &str) -> FieldError {
    let name = text.split('`').nth(1).unwrap_or_default();
    let mut lead_to_name = || {
        let mut token = String::new();
        push_token(&mut token, name);
        if !pointer.ends_with(&token) {
            pointer.push_str(&token);
        }
    };
    let (code, message) = if text.starts_with("missing field") {
        lead_to_name();
        ("missing", "This field is required.".into())
    } else if text.starts_with("unknown field") {
        lead_to_name();
        let known = text.split_once(", expected ").map_or("none", |(_, known)| known);
        ("unknown_field", format!("There is no such field; expected {known}.").into())
    } else if text.starts_with("duplicate field") {
        lead_to_name();
        ("duplicate", "This field may be given once only.".into())
    } else if text.starts_with("invalid type") {
        let expected = text.rsplit_once("expected ").map_or("another type", |(_, expected)| expected);
        ("type", format!("Wrong type; expected {expected}.").into())
    } else {
        ("invalid", "This value does not fit.".into())
    };
    FieldError { pointer, code: code.into(), message }
}

/// The parameters of the query.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> ApiResult<T> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().iter().next().map(ToString::to_string).unwrap_or_default();
        let text = error.into_inner().to_string();
        if ["missing field", "unknown field", "duplicate field"].iter().any(|start| text.starts_with(start)) {
            let FieldError { pointer, code, message } = field_error(String::new(), &text);
            ApiError::query_invalid(&pointer[1..], code, message)
        } else {
            ApiError::query_invalid(&path, "invalid", format!("This value does not fit: {text}."))
        }
    })
}

/// The parameters of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "path_invalid", "The address is not valid")
                .detail("The address holds something that is not UTF-8.")),
        }
    }
}

/// The version that an edit was made from, from the header `If-Match`; `None` without the header or for `*`.
pub(crate) struct IfMatch(pub(crate) Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let value = value.to_str().unwrap_or_default().trim();
        if value == "*" {
            return Ok(Self(None));
        }
        let version = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).and_then(|v| v.parse().ok());
        match version {
            Some(version) => Ok(Self(Some(version))),
            None => Err(ApiError::new(StatusCode::BAD_REQUEST, "if_match_invalid", "The header If-Match is not valid")
                .detail("Send the resource's `version` in quotes, `If-Match: \"3\"` for example.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use openapi::{
        channels::{ChannelsQuery, CreateChannelRequest},
        streams::StreamsQuery,
    };

    use super::*;

    fn refused(body: &str) -> (u16, String) {
        let problem = parse_json::<CreateChannelRequest>(body.as_bytes()).map(drop).unwrap_err().into_problem();
        let errors: Vec<_> = problem.errors.iter().map(|e| format!("{} {} {}", e.pointer, e.code, e.message)).collect();
        (problem.status, errors.join("; "))
    }

    #[test]
    fn bodies_that_are_no_json_are_400() {
        for body in ["", "{", "nil", "{\"handle\": \"\u{1}\"}", "{'a': 1}", "[", "[] x", "\u{feff}{}"] {
            assert_eq!(refused(body).0, 400, "{body}");
        }
    }

    #[test]
    fn what_comes_after_a_body_is_400() {
        let body = br#"{"handle": "river", "title": "The river"} {}"#;
        assert_eq!(parse_json::<CreateChannelRequest>(body).map(drop).unwrap_err().into_problem().status, 400);
        assert!(parse_json::<CreateChannelRequest>(&body[..body.len() - 2]).is_ok());
    }

    #[test]
    fn wrong_fields_are_named() {
        let cases = [
            (r#"{"handle": 5, "title": "t"}"#, "/handle type Wrong type; expected a string."),
            (r#"{"title": "t"}"#, "/handle missing This field is required."),
            (
                r#"{"handle": "h", "title": "t", "colour": "blue"}"#,
                "/colour unknown_field There is no such field; expected one of `handle`, `title`, `description`.",
            ),
            (r#"{"handle": "h", "handle": "h"}"#, "/handle duplicate This field may be given once only."),
            (r#"{"handle": {"a": 1}}"#, "/handle type Wrong type; expected a string."),
            ("[]", " type Wrong type; expected an object."),
            (r#" ["river", "The river", ""]"#, " type Wrong type; expected an object."),
            (
                r#"{"a/b~c": 1}"#,
                "/a~1b~0c unknown_field There is no such field; expected one of `handle`, `title`, `description`.",
            ),
        ];
        for (body, errors) in cases {
            assert_eq!(refused(body), (422, errors.to_owned()), "{body}");
        }
    }

    #[test]
    fn queries_are_strict() {
        let query = parse_query::<ChannelsQuery>("limit=7&live=true&account=mira").unwrap();
        assert_eq!((query.limit.get(), query.live, query.account.as_deref()), (7, Some(true), Some("mira")));
        assert_eq!(parse_query::<StreamsQuery>("").unwrap().limit.get(), 20);
        for wrong in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "limit=99999999999999999999",
            "live=yes",
            "limt=5",
            "limit=1&limit=2",
        ] {
            assert!(parse_query::<ChannelsQuery>(wrong).is_err(), "{wrong}");
        }
    }
}
