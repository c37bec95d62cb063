//! Adapters behind every port: what one crate needs of another that it may not know.

mod access;
mod limits;
mod media;
mod publishing;
mod readiness;
mod recordings;
mod rights;

pub use access::access;
pub use limits::share_limits;
pub use media::{ErasedMedia, LocalMedia, RemoteMedia, answer_remote};
pub use publishing::WriteSide;
pub use readiness::{NodeReadiness, Servers};
pub use recordings::{RecordingDoor, RecordingsSide};
pub use rights::{Tokens, follow_rights, playback_keys};
