//! Commands that may be sent twice: a client that does not know whether its request arrived sends it again with the same
//! `Idempotency-Key`, and gets the first answer.
//!
//! A handler takes [`Key`] (or [`KeyedJson`] for a body) and puts what it does into [`once`], with what to answer when a
//! repeat finds that it was done but not what was answered.

use std::sync::Arc;

use axum::{
    body::{self, Body},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use commands::{Actor, Done, Idempotency, Metadata, RecallError, Recalled};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::debug;

use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::json_body,
    server::Server,
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Set on answers that were given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The client's key for a request without a body, if it gave one.
pub(crate) struct Key(pub(crate) Option<Idempotency>);

impl FromRequestParts<Arc<Server>> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> ApiResult<Self> {
        key(server, &parts.headers, &[parts.method.as_str().as_bytes(), parts.uri.path().as_bytes()]).map(Self)
    }
}

/// A body of JSON, and the client's key for the request, if it gave one.
pub(crate) struct KeyedJson<T>(pub(crate) T, pub(crate) Option<Idempotency>);

impl<T: DeserializeOwned> FromRequest<Arc<Server>> for KeyedJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Arc<Server>) -> ApiResult<Self> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let headers = request.headers().clone();
        // Before the body, which may take its time.
        key(server, &headers, &[])?;
        let (value, body) = json_body(request).await?;
        let key = key(server, &headers, &[method.as_str().as_bytes(), path.as_bytes(), &body])?;
        Ok(Self(value, key))
    }
}

fn key(server: &Server, headers: &HeaderMap, request: &[&[u8]]) -> ApiResult<Option<Idempotency>> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let key = key.to_str().ok().and_then(|key| server.commands.idempotency(key, request).ok());
    key.map(Some).ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "idempotency_key_invalid", "The header Idempotency-Key is not valid")
            .detail("Send a UUID, or 1 to 255 visible ASCII characters.")
    })
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is kept, and a repeat gets the same.
    Kept,
    /// It is a secret: a repeat gets what `recalled` makes.
    Secret,
}

/// Answers with what `carry_out` does, once for each key: for a repeat with the answer that was kept, or, where none was,
/// with what `recalled` makes of what the command led to. Without a key it just carries out.
///
/// # Errors
/// `idempotency_key_reused` or `idempotency_in_flight`, and those of `carry_out`, which are not kept: a repeat decides
/// anew.
pub(crate) async fn once(
    server: &Server,
    by: &Authenticated,
    key: Option<Idempotency>,
    answer: Answer,
    carry_out: impl AsyncFnOnce(Metadata) -> ApiResult<Response>,
    recalled: impl AsyncFnOnce(Done) -> ApiResult<Response>,
) -> ApiResult<Response> {
    let mut metadata = by.metadata();
    let Some(key) = key else { return carry_out(metadata).await };
    let actor = Actor::Account(by.account_id);
    match server.commands.recall(actor, &key).await.map_err(refused)? {
        Recalled::Done(mut done) => {
            let kept = done.response.take().and_then(|kept| Kept::read(&kept));
            let mut response = match kept {
                Some(kept) => kept.into_response(),
                // It was carried out, whatever fails in telling how.
                None => recalled(done).await.map_err(ApiError::half_done)?,
            };
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Recalled::New(in_flight) => {
            let command_id = metadata.command_id;
            metadata.idempotency = Some(key.clone());
            let mut response = carry_out(metadata).await?;
            if answer == Answer::Kept {
                let (kept, same) = Kept::of(response).await?;
                response = same;
                let remembered = server.commands.remember_response(actor, &key, command_id, &kept).await;
                if let Err(error) = remembered {
                    debug!(
                        error = &error as &dyn std::error::Error,
                        "an answer could not be kept; a repeat makes it anew"
                    );
                }
            }
            drop(in_flight);
            Ok(response)
        }
    }
}

fn refused(error: RecallError) -> ApiError {
    match error {
        RecallError::Reused => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "The key was used for another request",
        )
        .detail(
            "The Idempotency-Key came with another request within the last 24 hours. Take a new key for a new request.",
        ),
        RecallError::InFlight => ApiError::idempotency_in_flight(),
        RecallError::Unavailable(source) => ApiError::unavailable(source),
    }
}

/// An answer as it is kept: what a client acts on.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Kept {
    /// `response` in the form in which it is kept, and itself.
    async fn of(response: Response) -> ApiResult<(Vec<u8>, Response)> {
        let (parts, body) = response.into_parts();
        let body = body::to_bytes(body, usize::MAX).await.map_err(ApiError::internal)?;
        let headers = [header::CONTENT_TYPE, header::LOCATION].into_iter().filter_map(|name| {
            let value = parts.headers.get(&name)?.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        let kept = Self {
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body: String::from_utf8(body.to_vec()).map_err(ApiError::internal)?,
        };
        let kept = serde_json::to_vec(&kept).map_err(ApiError::internal)?;
        Ok((kept, Response::from_parts(parts, Body::from(body))))
    }

    fn read(kept: &[u8]) -> Option<Self> {
        serde_json::from_slice(kept).ok()
    }
}

impl IntoResponse for Kept {
    fn into_response(self) -> Response {
        let mut response = Body::from(self.body).into_response();
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
