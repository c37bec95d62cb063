//! What a peer sends from its first byte on.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    ingest::exercise::connection(data, 700);
});
