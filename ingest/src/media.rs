//! The formats of the media plane, without IO: FLV tags in, H.264 and AAC configurations read, ISO BMFF out.
