//! Operation: whether the server lives and can serve, and answers that had to be given early.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was asked is done and recorded, but could not be read back in time; look at `location` in a moment. Do not
/// repeat the request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The position of the recorded event.
    #[schema(example = 42, minimum = 0)]
    pub position: i64,
    /// Where the result will be; the same as the header `Location`.
    #[schema(format = "uri-reference", example = "/api/v1/channels/river_talks")]
    pub location: String,
}

/// The process lives.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: String,
}

/// What the server needs in order to serve, and whether it has it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReadinessReport {
    /// Always `ready`: a server that is not answers 503.
    #[schema(example = "ready")]
    pub status: String,
    /// What was looked at.
    pub checks: Vec<ReadinessCheck>,
}

/// One thing that the server needs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReadinessCheck {
    /// What.
    #[schema(example = "postgres")]
    pub name: String,
    /// Whether it is as it must be.
    #[schema(example = true)]
    pub ok: bool,
    /// In one sentence, for people.
    #[schema(example = "answers in 1 ms")]
    pub detail: String,
}
