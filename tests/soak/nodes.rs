//! The processes of Weir: one or two for each role, started again whenever they end, as a service manager would.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::Mutex, task::JoinHandle, time::sleep};

use crate::{PATIENCE, clients::until, leash::Leash, ports::free_port};

/// The processes: name, roles, and whether it serves HTTP.
pub const ROLES: &[(&str, &str, bool)] = &[
    ("api-1", "api,projections", true),
    ("api-2", "api", true),
    ("relay-1", "relay", false),
    ("relay-2", "relay", false),
    ("projections-1", "projections", false),
    ("projections-2", "projections", false),
    ("processes-1", "processes", false),
    ("processes-2", "processes", false),
];

/// How long the service manager waits.
const STARTED_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A copy of the binary, as cargo may make another one while the soak runs.
pub fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join("weir");
    // By another process: a descriptor of ours, open for writing, could get into a child that starts just then, and the
    // copy could not be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_weir")).arg(&program).status()?;
    anyhow::ensure!(copied.success(), "the binary cannot be copied to {}", program.display());
    Ok(program)
}

pub struct Node {
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    leash: Arc<Leash>,
    child: Child,
    /// How often it ended although nobody killed it, as it does when it cannot reach Postgres while it starts.
    pub ended_by_itself: u32,
}

impl Node {
    fn spawn(program: &Path, arguments: &[String], log: &Path, leash: &Leash) -> std::io::Result<Child> {
        let file = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
            command.env_remove(name);
        }
        // It asks as fast as it can, all from one address.
        command.env("WEIR_RATE_LIMITS", "off").env("WEIR_MAX_CHANNELS", "0");
        // Who wants to be forgotten is, at once.
        command.env("WEIR_ERASURE_AFTER_DAYS", "0");
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        leash.hold(&mut command);
        command.spawn()
    }

    pub async fn kill(&mut self, away: Duration) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        sleep(away).await;
        self.child = Self::spawn(&self.program, &self.arguments, &self.log, &self.leash)?;
        Ok(())
    }

    pub async fn stop_for(&self, away: Duration) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP)?;
        sleep(away).await;
        kill_process(pid, Signal::CONT)?;
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        self.ended_by_itself += 1;
        let line = format!("---- ended by itself: {status}, signal {:?} ----\n", status.signal());
        fs::OpenOptions::new().append(true).open(&self.log).and_then(|mut log| {
            use std::io::Write;
            log.write_all(line.as_bytes())
        })?;
        self.child = Self::spawn(&self.program, &self.arguments, &self.log, &self.leash)?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub struct Nodes {
    pub all: Vec<Arc<Mutex<Node>>>,
    /// Where the API is served, for each process that serves it.
    pub http: Vec<String>,
    logs: Vec<(&'static str, PathBuf)>,
    manager: JoinHandle<()>,
}

impl Nodes {
    pub fn start(
        program: &Path,
        folder: &Path,
        database_url: &str,
        nats_url: &str,
        leash: &Arc<Leash>,
    ) -> anyhow::Result<Self> {
        let secrets = folder.join("secrets.toml");
        let (mut all, mut http, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        // Tokens are of the install, not of a node.
        let public_url = format!("http://127.0.0.1:{}", free_port());
        for (name, roles, serves_http) in ROLES.iter().copied() {
            let log = folder.join(format!("{name}.log"));
            let mut arguments: Vec<String> = [
                "--data-dir",
                &folder.join(name).display().to_string(),
                "serve",
                "--role",
                roles,
                "--database-url",
                database_url,
                "--nats-url",
                nats_url,
                "--secrets-file",
                &secrets.display().to_string(),
                "--metrics",
                "127.0.0.1:0",
                "--public-url",
                &public_url,
                // So that the log has the ids that its clients give their requests.
                "--trusted-proxies",
                "127.0.0.1",
                // Requests are not logged one by one.
                "--log",
                "info,api=warn",
            ]
            .map(str::to_owned)
            .to_vec();
            if serves_http {
                let address = format!("127.0.0.1:{}", free_port());
                arguments.extend(["--http".to_owned(), address.clone()]);
                http.push(format!("http://{address}"));
            }
            let child = Node::spawn(program, &arguments, &log, leash)?;
            logs.push((name, log.clone()));
            let node = Node {
                name,
                program: program.to_owned(),
                arguments,
                log,
                leash: Arc::clone(leash),
                child,
                ended_by_itself: 0,
            };
            all.push(Arc::new(Mutex::new(node)));
        }
        let manager = tokio::spawn(manage(all.clone()));
        Ok(Self { all, http, logs, manager })
    }

    /// Stops all of them in order. Those that did not end well.
    pub async fn shutdown(&self) -> anyhow::Result<Vec<String>> {
        self.manager.abort();
        let mut failed = Vec::new();
        for node in &self.all {
            let pid = Pid::from_child(&node.lock().await.child);
            // One that was started just now would end on the spot.
            until("a process hears that it is to stop", async || hears_term(pid)).await?;
        }
        for node in &self.all {
            kill_process(Pid::from_child(&node.lock().await.child), Signal::TERM)?;
        }
        for node in &self.all {
            let mut node = node.lock().await;
            let began = Instant::now();
            let status = loop {
                match node.child.try_wait()? {
                    Some(status) => break status,
                    None if began.elapsed() > PATIENCE => anyhow::bail!("{} does not stop", node.name),
                    None => sleep(Duration::from_millis(20)).await,
                }
            };
            if !status.success() {
                failed.push(format!("{} was told to stop and ended with {status}", node.name));
            }
        }
        Ok(failed)
    }

    /// What a panic or the like left in the logs.
    pub fn complaints(&self) -> Vec<String> {
        const BAD: [&str; 3] = ["panicked", "has failed; the process ends", "is ahead of the log"];
        let mut found = Vec::new();
        for (name, log) in &self.logs {
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines = text.lines().filter(|line| BAD.iter().any(|bad| line.contains(bad)));
            found.extend(lines.take(5).map(|line| format!("{name} logged: {line}")));
        }
        found
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.manager.abort();
    }
}

/// Whether a process has a handler of its own for SIGTERM (proc(5), SigCgt), or is no more.
fn hears_term(pid: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    caught >> (Signal::TERM.as_raw() - 1) & 1 == 1
}

async fn manage(all: Vec<Arc<Mutex<Node>>>) {
    loop {
        for node in &all {
            // One that is held is being killed or stopped just now.
            if let Ok(mut node) = node.try_lock()
                && let Err(error) = node.look()
            {
                eprintln!("{} cannot be started again: {error:#}", node.name);
            }
        }
        sleep(STARTED_AGAIN_AFTER).await;
    }
}
