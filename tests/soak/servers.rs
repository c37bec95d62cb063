//! Postgres and NATS, to be killed, stopped and started again on the same data.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use embedded::{PostgresOptions, Status};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use crate::{PATIENCE, dice::Dice, leash::Leash, ports::free_port};

/// Weir's own Postgres under Weir's own supervision, as `weir up` has it.
pub struct Postgres {
    options: PostgresOptions,
    running: Option<embedded::Postgres>,
    pub url: String,
}

impl Postgres {
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut options = PostgresOptions::new(folder);
        // A kill loses nothing that was written; only a crash of the machine would.
        options.durable = false;
        options.settings = [("max_connections", "300"), ("shared_buffers", "64MB"), ("max_wal_size", "256MB")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let running = embedded::Postgres::start(options.clone()).await?;
        Ok(Self { options, url: running.url(), running: Some(running) })
    }

    async fn postmaster(&self) -> anyhow::Result<Pid> {
        let mut status = self.running.as_ref().context("Postgres was not started")?.status();
        let running = timeout(PATIENCE, status.wait_for(|status| matches!(status, Status::Running { .. })));
        match *running.await.context("Postgres does not run")?? {
            Status::Running { pid } => pid_of(pid),
            ref other => anyhow::bail!("Postgres is not running: {other:?}"),
        }
    }

    /// The supervisor sees it and starts it again.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let before = self.postmaster().await?;
        kill_process(before, Signal::KILL)?;
        self.running(Some(before)).await
    }

    /// One of its sessions: the postmaster then ends all others, and recovers.
    pub async fn kill_session(&self, dice: &mut Dice) -> anyhow::Result<bool> {
        let postmaster = self.postmaster().await?;
        let is_session = |pid: &Pid| {
            let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("[local]")
        };
        let sessions: Vec<Pid> = children(postmaster).into_iter().filter(is_session).collect();
        if sessions.is_empty() {
            return Ok(false);
        }
        // It may have ended by itself in between.
        Ok(kill_process(*dice.pick(&sessions), Signal::KILL).is_ok())
    }

    pub async fn stop_for(&self, away: Duration) -> anyhow::Result<()> {
        let postmaster = self.postmaster().await?;
        kill_process(postmaster, Signal::STOP)?;
        // A stopped postmaster makes no more of them.
        let stopped: Vec<Pid> =
            children(postmaster).into_iter().filter(|child| kill_process(*child, Signal::STOP).is_ok()).collect();
        sleep(away).await;
        for child in stopped {
            let _ = kill_process(child, Signal::CONT);
        }
        kill_process(postmaster, Signal::CONT)?;
        Ok(())
    }

    /// Stopped in order and started again, as for an update.
    pub async fn restart(&mut self, away: Duration) -> anyhow::Result<()> {
        self.shutdown().await;
        sleep(away).await;
        let running = embedded::Postgres::start(self.options.clone()).await?;
        anyhow::ensure!(running.url() == self.url, "Postgres is at the same address as before");
        self.running = Some(running);
        Ok(())
    }

    /// Waits until it runs, as another process than `before`.
    async fn running(&self, before: Option<Pid>) -> anyhow::Result<()> {
        let mut status = self.running.as_ref().context("Postgres was not started")?.status();
        let other = |status: &Status| match status {
            Status::Running { pid } => pid_of(*pid).ok() != before,
            _ => false,
        };
        timeout(PATIENCE, status.wait_for(other)).await.context("Postgres did not come back")??;
        Ok(())
    }

    pub async fn shutdown(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().await;
        }
    }
}

/// A nats-server as an operator would run one.
pub struct Nats {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
    pub url: String,
}

impl Nats {
    pub async fn start(folder: &Path, leash: &Leash) -> anyhow::Result<Self> {
        let places = ["/usr/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .chain(places)
            .map(|folder| folder.join("nats-server"))
            .find(|program| program.is_file())
            .context("there is no nats-server on this machine; run scripts/setup test")?;
        let folder = folder.join("nats");
        fs::create_dir(&folder)?;
        let port = free_port();
        let url = format!("nats://127.0.0.1:{port}");
        let mut nats = Self { program, folder, port, child: None, url };
        nats.spawn(leash)?;
        nats.answers().await?;
        Ok(nats)
    }

    fn spawn(&mut self, leash: &Leash) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--port", &self.port.to_string(), "--jetstream", "--store_dir"]);
        command.arg(self.folder.join("jetstream"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        leash.hold(&mut command);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        let connects = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, connects).await.context("nats-server did not come up")
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_child(self.child.as_ref().context("nats-server was not started")?))
    }

    pub async fn end(&mut self, signal: Signal, away: Duration, leash: &Leash) -> anyhow::Result<()> {
        kill_process(self.pid()?, signal)?;
        if let Some(mut child) = self.child.take() {
            tokio::task::spawn_blocking(move || child.wait()).await??;
        }
        sleep(away).await;
        self.spawn(leash)?;
        self.answers().await
    }

    pub async fn stop_for(&self, away: Duration) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::STOP)?;
        sleep(away).await;
        kill_process(self.pid()?, Signal::CONT)?;
        Ok(())
    }
}

fn pid_of(pid: u32) -> anyhow::Result<Pid> {
    Pid::from_raw(pid.cast_signed()).context("no process has this number")
}

fn children(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parent = parent.as_raw_nonzero().to_string();
    let is_child = |entry: &fs::DirEntry| {
        // The name of the program, in brackets, may hold anything; state and parent come after it (proc(5)).
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1) == Some(parent.as_str())
    };
    entries
        .flatten()
        .filter(is_child)
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}
