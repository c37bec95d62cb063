//! Adapters behind every port: what one crate needs of another that it may not know.

mod access;
mod cuts;
mod fields;
mod kept_out;
mod limits;
mod media;
mod nodes;
mod publishing;
mod readiness;
mod recordings;
mod remembered;
mod rights;
mod withdrawn;

pub use access::access;
pub use cuts::Cuts;
pub use limits::share_limits;
pub use media::{LocalMedia, NodePictures, RemoteMedia, answer_remote};
pub use nodes::{Elsewhere, LostNodes, beat, let_go};
pub use publishing::WriteSide;
pub use readiness::{NodeReadiness, Servers};
pub use recordings::{RecordingDoor, RecordingsSide};
pub use remembered::Remembered;
pub use rights::{Tokens, Unread, follow_rights, playback_keys};
