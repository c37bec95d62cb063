//! What a process uses, from /proc, and the machine.

use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

/// Processor time that a process has used, itself, without its children.
pub fn processor(pid: u32) -> Duration {
    ticks(pid, 11)
}

/// Processor time of its children that have ended.
pub fn processor_of_ended_children(pid: u32) -> Duration {
    ticks(pid, 13)
}

/// Two fields of a process's `stat` from this one on, counted from after its name, added up.
fn ticks(pid: u32, first: usize) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name may hold spaces; what follows its bracket does not.
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks: u64 = fields.iter().skip(first).take(2).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory of its own in KiB.
pub fn own_memory_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0)
}

/// A process and its workers.
pub fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// Processor time of several.
pub fn processor_of(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| processor(*pid)).sum()
}

/// The load average over a minute, to be printed beside a figure.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// A machine's description.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores,{}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// A child that ends with the value.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        // nginx stops its workers itself, but only when it is asked to.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if began.elapsed() > Duration::from_secs(5) {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
