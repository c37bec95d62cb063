use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::Limit;

/// A person's picture, square, as a JPEG. The addresses are new with each picture: what is behind one never changes, until it
/// is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Avatar {
    /// 64 pixels wide.
    #[schema(
        format = "uri-reference",
        example = "https://weir.example.org/media/avatars/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00/b0b1b2b3b4b5b6b7b8b9b0b1b2b3b4b5b6b7b8b9-64.jpg"
    )]
    pub small_url: String,
    /// 256 pixels wide.
    #[schema(
        format = "uri-reference",
        example = "https://weir.example.org/media/avatars/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00/b0b1b2b3b4b5b6b7b8b9b0b1b2b3b4b5b6b7b8b9-256.jpg"
    )]
    pub large_url: String,
}

/// What one shows of oneself, to be edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// The account.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its unique name.
    #[schema(example = "mira")]
    pub username: String,
    /// What the person wants to be called; `null` for the username.
    #[schema(required = true, example = "Mira of the river")]
    pub display_name: Option<String>,
    /// What the person tells of themselves; may be empty and have several lines.
    #[schema(example = "Locks, ships and water levels.")]
    pub bio: String,
    /// The person's picture; `null` where there is none.
    #[schema(required = true)]
    pub avatar: Option<Avatar>,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; an edit sends it back in `If-Match`.
    #[schema(example = 1, minimum = 0)]
    pub version: i64,
}

/// What to change about what one shows of oneself; what is left out or `null` stays as it is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditProfileRequest {
    /// What to be called, on one line; `""` for the username.
    #[serde(default)]
    #[schema(
        example = "Mira of the river",
        max_length = 50,
        pattern = r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"
    )]
    pub display_name: Option<String>,
    /// What to tell of oneself; `""` empties it.
    #[serde(default)]
    #[schema(
        example = "Locks, ships and water levels.",
        max_length = 500,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
    )]
    pub bio: Option<String>,
}

/// A picture: a JPEG, PNG or WebP file of 8 MB and 25 million pixels at most. Its middle is shown.
#[derive(Debug, Clone, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct PictureFile(pub Vec<u8>);

/// An account as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicAccount {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its unique name, in lower case.
    #[schema(example = "mira")]
    pub username: String,
    /// What the person wants to be called; `null` for the username.
    #[schema(required = true, example = "Mira of the river")]
    pub display_name: Option<String>,
    /// What the person tells of themselves; may be empty and have several lines.
    #[schema(example = "Locks, ships and water levels.")]
    pub bio: String,
    /// The person's picture; `null` where there is none.
    #[schema(required = true)]
    pub avatar: Option<Avatar>,
    /// How many public channels it has.
    #[schema(example = 2, minimum = 0)]
    pub channel_count: i64,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
}

/// Which part of an account's list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountListQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
}
