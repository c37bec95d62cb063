//! Invites: links that let their bearers into a private channel, with or without an account.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::streams::StreamChannel;

/// A link that lets its bearer into a channel, for the channel's owner.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// Its id, by which it is taken back.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d21")]
    pub id: Uuid,
    /// The link. Whoever has it may watch: show it to nobody else.
    #[schema(format = "uri-reference", example = "https://weir.example.org/invite#AZNaPHxefMGbHi8aSh6dIWgxk3")]
    pub url: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it ends by itself. `null`: never.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-28T10:00:00Z")]
    pub expires_at: Option<OffsetDateTime>,
}

/// The invites of a channel that are good.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InviteList {
    /// Newest first.
    pub items: Vec<Invite>,
}

/// An invite to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInviteRequest {
    /// After how many days it ends by itself, 1 to 365; left out for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 7, minimum = 1, maximum = 365)]
    pub days: Option<u16>,
}

/// An invite that somebody has.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UseInviteRequest {
    /// What stands in the link after the `#`.
    #[schema(example = "AZNaPHxefMGbHi8aSh6dIWgxk3", max_length = 100)]
    pub invite: String,
}

/// What an invite shows its bearer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvitedChannel {
    /// The channel.
    pub channel: StreamChannel,
    /// What its owner says of it; possibly empty.
    #[schema(example = "Every Friday at eight.")]
    pub description: String,
    /// Whether a stream is on.
    #[schema(example = true)]
    pub is_live: bool,
    /// Where it plays, with a token in it: show it to nobody.
    #[schema(
        format = "uri-reference",
        example = "https://weir.example.org/live/t/AQMBk1o8/channels/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/index.m3u8"
    )]
    pub hls_url: String,
    /// The same for players of DASH.
    #[schema(
        format = "uri-reference",
        example = "https://weir.example.org/live/t/AQMBk1o8/channels/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/index.mpd"
    )]
    pub dash_url: String,
    /// When the addresses stop working; ask again before, and when they are answered by 403. `null`: never, since the channel
    /// is public by now.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T22:00:00Z")]
    pub expires_at: Option<OffsetDateTime>,
}
