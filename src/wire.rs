//! Adapters behind every port: what one crate needs of another that it may not know.

mod media;
mod publishing;
mod readiness;

pub use media::{ErasedMedia, LocalMedia, RemoteMedia, answer_remote};
pub use publishing::WriteSide;
pub use readiness::{NodeReadiness, Servers};
