//! Weir, a self-hosted live-streaming platform.

fn main() {}
