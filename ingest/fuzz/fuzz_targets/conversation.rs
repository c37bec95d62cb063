//! What a peer sends after the handshake, through the guard, rml_rtmp's session and the packager.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::exercise::conversation_in_reads(data));
