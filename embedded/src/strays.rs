//! Processes of a service that an earlier run left behind.
//!
//! They are recognised by the service's instance id on their command line (Postgres puts its `cluster_name` into every
//! process title) and by their owner, so no pid is ever trusted.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal},
};

use crate::EmbeddedError;

struct Stray {
    pid: u32,
    // Refers to this very process, whatever happens to its number.
    descriptor: OwnedFd,
}

/// Ends every process of the service: with `first` (skipped where nothing is to be gained by waiting), and what is left after
/// `patience` with SIGKILL. Returns how many there were.
pub(crate) async fn stop(
    program: &'static str,
    instance: &str,
    uid: u32,
    first: Option<Signal>,
    patience: Duration,
) -> Result<usize, EmbeddedError> {
    let strays = find(instance, uid);
    let count = strays.len();
    if count == 0 {
        return Ok(0);
    }
    if let Some(signal) = first {
        send(&strays, signal);
    }
    let asked = Instant::now();
    let kill_after = if first.is_some() { patience } else { Duration::ZERO };
    let mut is_killed = false;
    loop {
        let left = find(instance, uid);
        if left.is_empty() {
            return Ok(count);
        }
        if !is_killed && asked.elapsed() >= kill_after {
            is_killed = true;
            tracing::warn!(program, processes = left.len(), "left over from an earlier run and not ending, killed");
        }
        if is_killed {
            send(&left, Signal::KILL);
        }
        if asked.elapsed() > kill_after + Duration::from_secs(10) {
            let pids = left.iter().map(|stray| stray.pid.to_string()).collect::<Vec<_>>().join(", ");
            return Err(EmbeddedError::StrayLives { program, pids });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn send(strays: &[Stray], signal: Signal) {
    for stray in strays {
        // It may have ended by itself.
        let _ = rustix::process::pidfd_send_signal(&stray.descriptor, signal);
    }
}

fn find(instance: &str, uid: u32) -> Vec<Stray> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            if pid == std::process::id() || !is_ours(pid, instance, uid) {
                return None;
            }
            let descriptor =
                rustix::process::pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
            // The number may have changed hands between the look and the open.
            is_ours(pid, instance, uid).then_some(Stray { pid, descriptor })
        })
        .collect()
}

fn is_ours(pid: u32, instance: &str, uid: u32) -> bool {
    let folder = format!("/proc/{pid}");
    fs::metadata(&folder).is_ok_and(|folder| folder.uid() == uid)
        && fs::read(folder + "/cmdline").is_ok_and(|line| is_of_instance(&line, instance))
}

fn is_of_instance(line: &[u8], instance: &str) -> bool {
    let program = line.split(|byte| *byte == 0 || *byte == b' ').next().unwrap_or_default();
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = name.strip_suffix(b":").unwrap_or(name);
    (name == b"postgres" || name == b"nats-server")
        && line.windows(instance.len()).any(|part| part == instance.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::is_of_instance;

    #[test]
    fn only_servers_of_the_instance_are_ours() {
        let instance = "weir-0123456789abcdef";
        assert!(is_of_instance(
            b"/usr/lib/postgresql/15/bin/postgres\0-c\0cluster_name=weir-0123456789abcdef\0",
            instance
        ));
        assert!(is_of_instance(b"postgres: weir-0123456789abcdef: checkpointer ", instance));
        assert!(is_of_instance(b"/usr/sbin/nats-server\0--name\0weir-0123456789abcdef\0", instance));
        assert!(!is_of_instance(b"postgres: weir-ffffffffffffffff: checkpointer ", instance));
        assert!(!is_of_instance(b"grep\0weir-0123456789abcdef\0", instance));
        assert!(!is_of_instance(b"", instance));
    }
}
