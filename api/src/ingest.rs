//! Ingest: what the server sees of a channel's encoder.

use std::sync::Arc;

use axum::{Json, extract::State};
use domain::channels::ChannelAct;
use openapi::{
    Problem,
    ingest::{IngestAdvice, IngestRefusal, IngestRendition, IngestSample, IngestState, IngestStatus},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{authentication::Authenticated, channels, error::ApiResult, extract::Path, ports, server::Server, streams};

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(get_ingest_status))
}

/// Get the state of the encoder
///
/// The channel's owner and its team may. It changes all the time: ask every second or two while somebody looks.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/ingest", operation_id = "get_ingest_status", tag = "ingest",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "What the server sees of the channel's encoder.", body = IngestStatus),
        (status = 403, description = "`forbidden`: you have no role in the channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_ingest_status(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
) -> ApiResult<Json<IngestStatus>> {
    let channel = channels::allowed_by_handle(&server, &authenticated, &handle, ChannelAct::SeeHealth).await?;
    Ok(Json(status(server.live.status(channel.id).await?)))
}

fn status(status: ports::IngestStatus) -> IngestStatus {
    IngestStatus {
        state: match status.state {
            ports::IngestState::Waiting => IngestState::Waiting,
            ports::IngestState::Receiving => IngestState::Receiving,
            ports::IngestState::Live => IngestState::Live,
            ports::IngestState::Reconnecting => IngestState::Reconnecting,
        },
        stream_id: status.stream_id.map(domain::ids::StreamId::uuid),
        connected_since: status.connected_since,
        video: status.video.map(streams::video),
        audio: status.audio.map(streams::audio),
        encoder: status.encoder.map(|encoder| encoder.as_str().to_owned()),
        bitrate_kbps: status.bitrate_kbps,
        keyframe_interval_ms: status.keyframe_interval_ms,
        frame_rate: status.frame_rate,
        jitter_ms: status.jitter_ms,
        missing_frames: status.missing_frames,
        sound_ahead_ms: status.sound_ahead_ms,
        silent_ms: status.silent_ms,
        waits_ms: status.waits_ms,
        history: status.history.into_iter().map(sample).collect(),
        renditions: status.renditions.into_iter().map(rendition).collect(),
        renditions_remark: status.renditions_remark.map(advice),
        advice: status.advice.into_iter().map(advice).collect(),
        last_refusal: status.last_refusal.map(|ports::IngestRefusal { code, message, at }| IngestRefusal {
            code,
            message,
            at,
        }),
    }
}

fn advice(advice: ports::Advice) -> IngestAdvice {
    IngestAdvice { code: advice.code, message: advice.message }
}

fn sample(sample: ports::IngestSample) -> IngestSample {
    let ports::IngestSample { bitrate_kbps, frame_rate, jitter_ms, missing_frames } = sample;
    IngestSample { bitrate_kbps, frame_rate, jitter_ms, missing_frames }
}

fn rendition(rendition: ports::IngestRendition) -> IngestRendition {
    let ports::IngestRendition { name, width, height, frame_rate, bitrate_kbps, lag_ms } = rendition;
    IngestRendition { name, width, height, frame_rate, bitrate_kbps, lag_ms }
}
