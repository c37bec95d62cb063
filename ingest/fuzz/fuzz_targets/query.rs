//! The query of a playlist's address.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::exercise::query(data));
