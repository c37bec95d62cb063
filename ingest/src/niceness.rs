//! What takes streams in and serves them goes before what makes something of them.

use std::{collections::HashSet, fs};

use rustix::process::{Pid, setpriority_process};
use tokio::process::Child;

/// By setpriority(2), five is a third of the usual share where there is not enough for all.
const NICENESS: i32 = 5;

/// Makes an ffmpeg that was just started give way. What it makes is made without that all the same.
pub(crate) fn give_way(child: &Child) {
    let Some(pid) = child.id() else { return };
    set(pid);
    // Niceness is a thread's, and its own threads will have it. Where this process stood still in between, there are some of
    // before, and they may make others while they are gone through.
    let mut known = HashSet::from([pid]);
    loop {
        let new: Vec<u32> = threads(pid).into_iter().filter(|thread| known.insert(*thread)).collect();
        if new.is_empty() {
            return;
        }
        new.into_iter().for_each(set);
    }
}

fn set(thread: u32) {
    if let Some(thread) = i32::try_from(thread).ok().and_then(Pid::from_raw) {
        let _ = setpriority_process(Some(thread), NICENESS);
    }
}

/// The threads of a process, by proc(5); none where there is no `/proc`, and once it has ended.
fn threads(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::{process::Stdio, time::Duration};

    use tokio::{
        process::Command,
        time::{sleep, timeout},
    };

    use super::*;

    /// Field 19 of proc(5); the name, field 2, is in brackets and may have spaces in it. `None` when it has ended.
    fn niceness(pid: u32, thread: u32) -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        after_name.split_whitespace().nth(16)?.parse().ok()
    }

    #[tokio::test]
    async fn threads_that_are_there_already_give_way_too() {
        // It waits for what it is to read.
        let mut child = Command::new("ffmpeg")
            .args(["-v", "quiet", "-f", "lavfi", "-i", "testsrc2=size=160x90", "-f", "s16le", "-i", "pipe:0"])
            .args(["-c:v", "libx264", "-threads", "4", "-f", "null", "-"])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = child.id().unwrap();
        let is_at_work = async {
            while threads(pid).len() < 2 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(120), is_at_work).await.expect("it makes threads");
        give_way(&child);
        let all: Vec<_> = threads(pid).into_iter().filter_map(|thread| niceness(pid, thread)).collect();
        assert!(all.len() > 1 && all.iter().all(|niceness| *niceness >= NICENESS), "{all:?}");
        child.kill().await.unwrap();
    }
}
