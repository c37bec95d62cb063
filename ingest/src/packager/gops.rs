//! How long groups of pictures are.

/// How many groups are remembered.
const REMEMBERED: usize = 8;

/// The lengths of the last groups of pictures.
#[derive(Debug)]
pub(super) struct Gops {
    key_frame_ms: i64,
    lengths_ms: [i64; REMEMBERED],
    next: usize,
}

impl Gops {
    /// Begins with a key frame at this time.
    pub(super) fn new(key_frame_ms: i64) -> Self {
        Self { key_frame_ms, lengths_ms: [0; REMEMBERED], next: 0 }
    }

    pub(super) fn reach_key_frame(&mut self, time_ms: i64) {
        self.lengths_ms[self.next % REMEMBERED] = time_ms - self.key_frame_ms;
        self.next += 1;
        self.key_frame_ms = time_ms;
    }

    /// Of the groups remembered; 0 before the first is complete.
    pub(super) fn longest_ms(&self) -> i64 {
        self.lengths_ms.iter().copied().max().unwrap_or(0)
    }
}
