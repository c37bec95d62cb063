//! Channels: creating, listing, editing, their stream keys and teams.

mod team;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

pub use self::team::{
    ChannelRole, ChannelStanding, GiveRoleRequest, TeamAccount, TeamList, TeamMember, TeamMemberAsOf,
};
use crate::{Limit, Page, accounts::Avatar, recordings::RecordingLimits, streams::Playback};

/// Who may watch a channel: everybody, and it is in every list (`public`); whoever knows its address, and it is in no list
/// (`unlisted`); its owner, its team and administrators, and nobody else learns that it is there (`private`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody, and it is in every list.
    Public,
    /// Whoever knows its address, and it is in no list.
    Unlisted,
    /// Its owner, its team and administrators.
    Private,
}

/// What people watch and follow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub id: Uuid,
    /// Its unique name in addresses, in lower case.
    #[schema(example = "river_talks")]
    pub handle: String,
    /// Its title, which a stream takes over when it starts.
    #[schema(example = "Talks by the river")]
    pub title: String,
    /// What it is about; may be empty and have several lines.
    #[schema(example = "Every Friday at eight.")]
    pub description: String,
    /// Whose it is.
    pub owner: ChannelOwner,
    /// What the asker is to it; `null` for everybody else, and who is not signed in.
    #[schema(required = true)]
    pub standing: Option<ChannelStanding>,
    /// Who may watch it.
    pub visibility: Visibility,
    /// Whether a stream is running.
    #[schema(example = true)]
    pub is_live: bool,
    /// The running stream; `null` while offline.
    #[schema(required = true, example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02")]
    pub live_stream_id: Option<Uuid>,
    /// How long a stream waits for its encoder when that is lost, in seconds; then it ends. The same for all channels.
    #[schema(example = 60, minimum = 1, maximum = 3600)]
    pub reconnect_grace_seconds: u32,
    /// Where it plays: for a public channel an address that stays the same and can be shared before going live. For the
    /// others it is the asker's own, and good for eleven hours or more; `get_channel_playback` makes a new one.
    pub playback: Playback,
    /// A recent picture of the running stream; `null` while offline. Answers 404 until the first picture is taken.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/live/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02/thumbnail.jpg"
    )]
    pub thumbnail_url: Option<String>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; an edit sends it back in `If-Match`.
    #[schema(example = 1, minimum = 1)]
    pub version: i64,
}

/// Some channels.
pub type ChannelPage = Page<Channel>;

/// Whose a channel is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelOwner {
    /// The account.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its unique name.
    #[schema(example = "mira")]
    pub username: String,
    /// What the person wants to be called; `null` for the username.
    #[schema(required = true, example = "Mira of the river")]
    pub display_name: Option<String>,
    /// The person's picture; `null` where there is none.
    #[schema(required = true)]
    pub avatar: Option<Avatar>,
}

/// A channel's settings as they were.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelAsOf {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub id: Uuid,
    /// Its unique name in addresses, in lower case.
    #[schema(example = "river_talks")]
    pub handle: String,
    /// Its title at that point.
    #[schema(example = "Talks by the river")]
    pub title: String,
    /// What it was about.
    #[schema(example = "Every Friday at eight.")]
    pub description: String,
    /// Who could watch it.
    pub visibility: Visibility,
    /// The account that owned it.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub owner_id: Uuid,
    /// Who had which role in it.
    pub team: Vec<TeamMemberAsOf>,
    /// Whether its streams were recorded, and how much of that was to be kept.
    pub recording: RecordingAsOf,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it had last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub updated_at: OffsetDateTime,
    /// The version that it had.
    #[schema(example = 1, minimum = 1)]
    pub version: i64,
    /// The point at which all this was so.
    pub as_of: LogPoint,
}

/// What held for the recordings of a channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecordingAsOf {
    /// Whether streams were recorded that started then.
    #[schema(example = true)]
    pub is_on: bool,
    /// What the owner had said; what the server allowed at most is not in the log.
    pub own_limits: RecordingLimits,
}

/// A point of the log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogPoint {
    /// The last event that counts.
    #[schema(example = 42, minimum = 1)]
    pub position: i64,
    /// The time that was asked for, or when the log took that event.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub time: OffsetDateTime,
}

/// A channel as it is, or with `as_of` as it was.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ChannelAnswer {
    /// As it is.
    Now(Channel),
    /// As it was.
    AsOf(ChannelAsOf),
}

/// At which point to look at a channel.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChannelQuery {
    /// The channel as it was at this time (RFC 3339) or position of the log. Its owner and administrators may ask.
    #[param(example = "2026-11-21T10:00:00Z", max_length = 64)]
    pub as_of: Option<String>,
}

/// A new channel.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateChannelRequest {
    /// Its unique name in addresses: a to z, 0 to 9 and `_`. Upper case is made lower; it cannot be changed later.
    #[schema(example = "river_talks", min_length = 3, max_length = 25, pattern = "^[A-Za-z0-9_]+$")]
    pub handle: String,
    /// Its title, on one line.
    #[schema(example = "Talks by the river", min_length = 1, max_length = 140, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub title: String,
    /// What it is about; empty when left out.
    #[serde(default)]
    #[schema(
        example = "Every Friday at eight.",
        max_length = 2000,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
    )]
    pub description: Option<String>,
}

/// What to change about a channel; what is left out or `null` stays as it is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditChannelRequest {
    /// A new title, on one line.
    #[serde(default)]
    #[schema(example = "Talks by the sea", min_length = 1, max_length = 140, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub title: Option<String>,
    /// A new description; `""` empties it.
    #[serde(default)]
    #[schema(
        example = "Every Saturday at nine.",
        max_length = 2000,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
    )]
    pub description: Option<String>,
    /// Who may watch from now on. Whoever may no longer is cut within a second.
    #[serde(default)]
    #[schema(example = "unlisted")]
    pub visibility: Option<Visibility>,
}

/// Where a channel plays for whoever asks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChannelPlayback {
    /// The HLS master playlist. With a token in it where the channel is not public: show it to nobody.
    #[schema(
        format = "uri-reference",
        example = "https://weir.example.org/live/channels/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/index.m3u8"
    )]
    pub hls_url: String,
    /// When the address stops working; ask for another before. `null`: never.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T22:00:00Z")]
    pub expires_at: Option<OffsetDateTime>,
}

/// What an encoder needs to publish to a channel. Keep it as you would a password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamKey {
    /// The secret; in OBS the field “Stream Key”.
    #[schema(example = "live_p3t1k7m2q5r8s1v4x7z0b3d6f9h2j5l8")]
    pub stream_key: String,
    /// Where to publish; in OBS the field “Server”.
    #[schema(example = "rtmp://weir.example.org:1935/live")]
    pub rtmp_url: String,
    /// The same under TLS, so that nobody on the way reads the key; `null` where this install has none.
    #[schema(required = true, example = "rtmps://weir.example.org:1936/live")]
    pub rtmps_url: Option<String>,
}

/// Which channels to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChannelsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
    /// `true`: only those with a running stream; `false`: only the others.
    #[param(example = true)]
    pub live: Option<bool>,
    /// Only those of the account with this username.
    #[param(example = "mira", min_length = 3, max_length = 25, pattern = "^[A-Za-z0-9_]+$")]
    pub account: Option<String>,
    /// `true`: only your own and those in which you have a role; needs an access token.
    pub mine: Option<bool>,
}
