//! A token for playback in an address.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::exercise::token(data));
