//! Channels as they were, from the log.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use commands::{
    AsOf, LoadError,
    channels::as_of::{self, ChannelAsOf as Stored},
};
use domain::recordings::RecordingPolicy;
use openapi::{
    channels::{ChannelAsOf, ChannelQuery, LogPoint, RecordingAsOf, TeamMemberAsOf},
    recordings::RecordingLimits,
};
use time::OffsetDateTime;

use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    events::{FoundChannel, parsed_time, position},
    extract::Query,
    server::Server,
};

/// The parameter `as_of` and who asks; `None` without it, when anybody may ask.
pub(super) struct Asked(pub(super) Option<(AsOf, Authenticated)>);

impl FromRequestParts<Arc<Server>> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> ApiResult<Self> {
        let Query(ChannelQuery { as_of }) = Query::from_request_parts(parts, server).await?;
        let Some(text) = as_of else { return Ok(Self(None)) };
        let by = <Authenticated as FromRequestParts<_>>::from_request_parts(parts, server).await?;
        Ok(Self(Some((parse(&text)?, by))))
    }
}

fn parse(text: &str) -> ApiResult<AsOf> {
    let invalid = |code, message| ApiError::query_invalid("as_of", code, message);
    if let Some(position) = position(text) {
        return Ok(AsOf::Position(position));
    }
    let message = "Give a position of the log, or a time as in RFC 3339, `2026-11-21T10:00:00Z` for example.";
    let time = parsed_time(text).ok_or_else(|| invalid("as_of_invalid", message))?;
    if time > OffsetDateTime::now_utc() {
        return Err(invalid("time_to_come", "Give a time that is over; what will be is not known."));
    }
    Ok(AsOf::Time(time))
}

/// The channel of `handle` as it was, for whoever may see its history now.
///
/// # Errors
/// `forbidden`; `not_found` where there was no channel at that point; `position_beyond_head`.
pub(super) async fn get(server: &Server, by: &Authenticated, handle: &str, as_of: AsOf) -> ApiResult<ChannelAsOf> {
    let found = FoundChannel::of_handle(server, handle).await?;
    found.authorise(server, by.account_id).await?;
    let failed = |error| match error {
        LoadError::PositionBeyondHead { head, .. } => ApiError::position_beyond_head("as_of", head),
        error => error.into(),
    };
    let point = as_of::point(&server.commands, as_of).await.map_err(failed)?;
    let stored = as_of::at(&server.commands, found.id, point.position).await.map_err(failed)?;
    let (Some(Stored { channel, version, created_at, updated_at }), Some(time)) = (stored, point.time) else {
        return Err(ApiError::not_found("The channel did not exist yet at that point."));
    };
    let (Some(handle), Some(title), Some(description), Some(owner_id)) =
        (channel.handle(), channel.title(), channel.description(), channel.owner_id())
    else {
        return Err(ApiError::not_found("The channel was closed at that point. Give an earlier one."));
    };
    Ok(ChannelAsOf {
        id: found.id.uuid(),
        handle: handle.as_str().to_owned(),
        title: title.as_str().to_owned(),
        description: description.as_str().to_owned(),
        visibility: super::visibility(channel.visibility().unwrap_or_default()),
        owner_id: owner_id.uuid(),
        team: channel
            .team()
            .map(|(account_id, role)| TeamMemberAsOf { account_id: account_id.uuid(), role: super::team::role(role) })
            .collect(),
        recording: recording(channel.recording().unwrap_or_default()),
        created_at,
        updated_at,
        version,
        as_of: LogPoint { position: point.position, time },
    })
}

fn recording(policy: RecordingPolicy) -> RecordingAsOf {
    let RecordingPolicy { is_on, keep_days, max_size_bytes, max_count } = policy;
    RecordingAsOf { is_on, own_limits: RecordingLimits { keep_days, max_size_bytes, max_count } }
}
