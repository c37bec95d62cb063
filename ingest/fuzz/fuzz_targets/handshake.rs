//! What a peer sends from its first byte on.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::exercise::handshake(data));
