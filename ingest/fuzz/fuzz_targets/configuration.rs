//! Configuration records of H.264, HEVC, AV1 and AAC, and pictures.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::exercise::configuration(data));
