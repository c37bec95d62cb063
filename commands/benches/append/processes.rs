use std::{fs, path::PathBuf, process, time::Duration};

/// This process and the server that it started.
pub(crate) struct Processes {
    server: u32,
}

/// The processor time that was spent so far.
pub(crate) struct Times {
    pub(crate) ours: Duration,
    pub(crate) servers: Duration,
}

struct Stat {
    parent: u32,
    program: String,
    /// With that of children that have ended.
    time: Duration,
}

impl Processes {
    pub(crate) fn find() -> Self {
        let server = all().find(|(_, stat)| stat.program == "postgres" && is_ours(stat.parent));
        Self { server: server.expect("the server is a child of this process").0 }
    }

    /// The program of the server.
    pub(crate) fn server_program(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.server)).unwrap()
    }

    pub(crate) fn times(&self) -> Times {
        let servers = all().filter(|(pid, stat)| *pid == self.server || stat.parent == self.server);
        Times { ours: stat(process::id()).unwrap().time, servers: servers.map(|(_, stat)| stat.time).sum() }
    }
}

/// Whether the process is this one or comes from it.
fn is_ours(mut pid: u32) -> bool {
    while pid > 1 {
        if pid == process::id() {
            return true;
        }
        pid = stat(pid).map_or(0, |stat| stat.parent);
    }
    false
}

fn all() -> impl Iterator<Item = (u32, Stat)> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((pid, stat(pid)?))
    })
}

/// proc_pid_stat(5), in clock ticks of 10 ms. `None` when there is no such process.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let of_self = pid == process::id();
    // Children of this process are other peers, and the server.
    let times = if of_self { &fields[11..13] } else { &fields[11..15] };
    let ticks: u64 = times.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Stat {
        parent: fields[1].parse().ok()?,
        program: before.split_once('(')?.1.to_owned(),
        time: Duration::from_millis(ticks * 10),
    })
}
