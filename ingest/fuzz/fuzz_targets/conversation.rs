//! What a peer sends after the handshake, through the guard, rml_rtmp's session and the packager.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((read_bytes, bytes)) = data.split_first() else { return };
    ingest::exercise::conversation(bytes, usize::from(*read_bytes) + 1);
});
