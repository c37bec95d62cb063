//! Stream keys: seen and replaced by who has shown lately who they are.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use commands::{CommandError, Done, channels};
use domain::channels::ChannelAct;
use openapi::{Problem, channels::StreamKey};
use tracing::warn;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{SHOWN_FROM, allowed_by_handle, refused};
use crate::{
    accounts::need_proof,
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Path,
    idempotency::{Answer, Key, once},
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(get_stream_key)).routes(routes!(rotate_stream_key))
}

/// Get the stream key
///
/// Its owner may, within ten minutes of signing in or of `prove_session`, and programs whose personal token has the scope `stream_keys`.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/stream-key", operation_id = "get_stream_key", tag = "channels",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "What an encoder needs.", body = StreamKey),
        (status = 403, description = "`forbidden`: somebody else owns it; `reauthentication_required`: it is too long since the session was opened or proved (`prove_session`); `scope_missing`: the personal token may not do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_stream_key(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
) -> ApiResult<Response> {
    let channel_id = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::UseStreamKey).await?.id;
    need_proof(&server, &authenticated).await?;
    let stream_key =
        channels::stream_key(&server.commands, authenticated.account_id, channel_id).await.map_err(refused)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], JsonBody(shown(&server, &stream_key))).into_response())
}

/// Rotate the stream key
///
/// Its owner may, as for seeing it. The old key is refused from then on, and an encoder that publishes with it is cut. A repeat with the same
/// `Idempotency-Key` rotates nothing, and answers the key of that moment.
#[utoipa::path(
    post, path = "/api/v1/channels/{handle}/stream-key/rotate", operation_id = "rotate_stream_key", tag = "channels",
    params(
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "A UUID or other text that is this request's own. Sent again within a day with the same key and body, it gets the first answer.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00"),
    ),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The new key.", body = StreamKey),
        (status = 403, description = "`forbidden`: somebody else owns it; `reauthentication_required`: it is too long since the session was opened or proved (`prove_session`); `scope_missing`: the personal token may not do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment; `idempotency_in_flight`: the same request is being carried out.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`idempotency_key_reused`: the key came with another request.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn rotate_stream_key(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Key(key): Key,
    Path(handle): Path<String>,
) -> ApiResult<Response> {
    let by = authenticated.account_id;
    // Before anything is recalled of a request that came before.
    let channel_id = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::UseStreamKey).await?.id;
    need_proof(&server, &authenticated).await?;
    // A task of its own, so that a caller who hangs up does not keep the encoder from being cut.
    let answering = tokio::spawn(async move {
        let carry_out = async |metadata| {
            let rotated = channels::rotate_stream_key(&server.commands, by, channel_id, metadata).await;
            if matches!(rotated, Ok(_) | Err(CommandError::OutcomeUnknown(_)))
                && server.publishers.cut(channel_id).await.is_err()
            {
                // With the old key it is refused when it connects again.
                warn!(channel.id = %channel_id, "the encoder of a channel whose key was rotated could not be cut");
            }
            let (stream_key, position) = rotated.map_err(refused)?;
            // The answer comes from the write side; the wait is for the channel's version, which is read next.
            server.has_read(SHOWN_FROM, position).await;
            Ok(JsonBody(shown(&server, &stream_key)).into_response())
        };
        let recalled = async |done: Done| {
            let channel_id = done.aggregate_id.parse().map_err(ApiError::internal)?;
            let stream_key = channels::stream_key(&server.commands, by, channel_id).await.map_err(refused)?;
            Ok(JsonBody(shown(&server, &stream_key)).into_response())
        };
        once(&server, &authenticated, key, Answer::Secret, carry_out, recalled).await
    });
    answering.await.map_err(ApiError::internal)?
}

fn shown(server: &Server, stream_key: &channels::StreamKey) -> StreamKey {
    StreamKey {
        stream_key: stream_key.expose().to_owned(),
        rtmp_url: server.addresses.rtmp_url().to_owned(),
        rtmps_url: server.addresses.rtmps_url().map(ToOwned::to_owned),
    }
}
