//! What a process does and has taken of the processors, from `/proc/<pid>/stat`: proc(5).

use std::time::Duration;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Processor time of it and its threads, in user and system mode.
    pub time: Duration,
    pub state: State,
}

/// What the first thread of a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// A signal has stopped it, or who debugs it.
    Stopped,
    /// It waits in the kernel, in a driver for example, where no signal reaches it.
    Uninterruptible,
    /// It runs, or waits for something.
    #[default]
    Other,
}

/// Looks at a process; `None` when it has ended, and where there is no `/proc`.
pub(super) fn look(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, ticks) = read(&stat)?;
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Process { time: Duration::from_millis(ticks.saturating_mul(1_000) / ticks_per_second), state })
}

/// The state, field 3, and `utime` and `stime` together, fields 14 and 15. The name, field 2, is in brackets and may have any
/// character in it.
fn read(stat: &str) -> Option<(State, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = match fields.next()? {
        "T" | "t" => State::Stopped,
        "D" => State::Uninterruptible,
        _ => State::Other,
    };
    let user: u64 = fields.nth(10)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((state, user.checked_add(system)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = |state| format!("42 (a) R 1 2 (b)) {state} 1 42 42 0 -1 4194304 1 0 0 0 1200 34 0 0 20 0 1 0 5 6 7");
        for (letter, state) in
            [("S", State::Other), ("R", State::Other), ("T", State::Stopped), ("D", State::Uninterruptible)]
        {
            assert_eq!(read(&stat(letter)), Some((state, 1_234)), "{letter}");
        }
        for broken in ["", "42 (a", "42 (a)", "42 (a) S 1 2 3", "42 (a) S 1 2 3 4 5 6 7 8 9 10 x 11"] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_has_taken_some() {
        let pid = std::process::id();
        // More than a tick, however fast the machine is.
        while look(pid).unwrap().time == Duration::ZERO {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        assert_eq!(look(u32::MAX), None);
    }
}
