//! RTMP's clock: milliseconds in 32 bits, shared by picture and sound, which wrap every 49.7 days.

/// Further than this from the message before, in either direction, a timestamp is a jump and no longer time.
pub(crate) const MAX_STEP_MS: i64 = 10_000;

/// Unwraps timestamps to 64 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    latest_ms: Option<i64>,
}

/// The encoder's clock jumped; it was set to the new time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    /// From the message before, negative where it went back.
    pub step_ms: i64,
}

impl Clock {
    /// The time of a message. After a jump the same message can be asked for again.
    pub(crate) fn unwrap(&mut self, timestamp_ms: u32) -> Result<i64, Jump> {
        let Some(latest_ms) = self.latest_ms else {
            self.latest_ms = Some(i64::from(timestamp_ms));
            return Ok(i64::from(timestamp_ms));
        };
        let step_ms = i64::from(timestamp_ms.wrapping_sub(latest_ms as u32) as i32);
        self.latest_ms = Some(latest_ms + step_ms);
        if step_ms.abs() > MAX_STEP_MS { Err(Jump { step_ms }) } else { Ok(latest_ms + step_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_where_32_bits_wrap() {
        let mut clock = Clock::default();
        let times: Vec<i64> =
            [u32::MAX - 20, u32::MAX, 12, 5, 40].into_iter().map(|raw| clock.unwrap(raw).unwrap()).collect();
        let wrap = 1_i64 << 32;
        assert_eq!(times, [wrap - 21, wrap - 1, wrap + 12, wrap + 5, wrap + 40]);
    }

    #[test]
    fn a_jump_is_told_once() {
        let mut clock = Clock::default();
        assert_eq!(clock.unwrap(5_000), Ok(5_000));
        let step_ms = i64::from(2_999_995_000_u32 as i32);
        assert_eq!(clock.unwrap(3_000_000_000), Err(Jump { step_ms }));
        let after = clock.unwrap(3_000_000_000).unwrap();
        assert_eq!(clock.unwrap(3_000_000_040), Ok(after + 40));
    }
}
