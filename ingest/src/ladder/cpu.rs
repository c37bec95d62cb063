//! What a process has taken of the processors, from `/proc/<pid>/stat`: proc(5).

use std::time::Duration;

/// Processor time of a process and its threads, in user and system mode; `None` when it has ended, and where there is no
/// `/proc`.
pub(super) fn time_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks.saturating_mul(1_000) / ticks_per_second))
}

/// `utime` and `stime`, fields 14 and 15. The name, field 2, is in brackets and may have any character in it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = "42 (a) R 1 2 (b)) S 1 42 42 0 -1 4194304 1 0 0 0 1200 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(1_234));
        for broken in ["", "42 (a", "42 (a) S 1 2 3", "42 (a) S 1 2 3 4 5 6 7 8 9 10 x 11"] {
            assert_eq!(ticks(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_has_taken_some() {
        let pid = std::process::id();
        // More than a tick, however fast the machine is.
        while time_of(pid).unwrap() == Duration::ZERO {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        assert_eq!(time_of(u32::MAX), None);
    }
}
