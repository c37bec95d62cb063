//! FLV tags through the packager.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::exercise::tags(data));
