//! The formats of the media plane, without IO: FLV tags in, H.264 and AAC configurations read, ISO BMFF out.
//!
//! Everything here takes bytes from strangers: a reader returns an error for what it cannot read, and never panics or
//! allocates more than it was given.

pub(crate) mod aac;
pub(crate) mod av1;
pub(crate) mod avc;
mod bits;
pub(crate) mod clock;
pub(crate) mod flv;
pub(crate) mod fragment;
pub(crate) mod hevc;
pub(crate) mod init;
pub(crate) mod split;
pub(crate) mod times;
pub(crate) mod video;
