//! The media plane: RTMP in, packaging, thumbnails and the origin.

mod media;
pub mod origin;
pub mod packager;
pub mod thumbnails;
