//! The media plane: RTMP in, packaging, thumbnails and the origin.
