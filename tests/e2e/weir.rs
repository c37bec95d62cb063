//! A running `weir up` in a folder of its own, on ports that the system chooses.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use self::ports::free_port;

// Here, so that whoever includes this file has it, too.
#[path = "ports.rs"]
pub mod ports;

/// How long anything may take before a test gives up: far longer than it ever takes, so that a slow machine does not
/// make a test fail.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` gives a value; also one that itself waits for ever is given up.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let waiting = async {
        loop {
            if let Some(value) = condition().await {
                return Some(value);
            }
            if began.elapsed() > PATIENCE {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let found = tokio::time::timeout(2 * PATIENCE, waiting).await.ok().flatten();
    found.unwrap_or_else(|| panic!("still waiting after {:?} for: {what}", began.elapsed()))
}

/// A folder that a child under another user can reach, removed at the end; what still runs in it ends then.
pub struct DataDir(tempfile::TempDir);

impl Drop for DataDir {
    fn drop(&mut self) {
        // A test that failed may leave servers behind, which nobody else would end. Postgres returns its shared memory by QUIT.
        for signal in [Signal::QUIT, Signal::KILL] {
            let left = self.processes();
            for process in left.iter().filter_map(|(pid, _)| Pid::from_raw(*pid)) {
                let _ = kill_process(process, Signal::CONT);
                let _ = kill_process(process, signal);
            }
            let began = Instant::now();
            while !left.is_empty() && !self.processes().is_empty() && began.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl DataDir {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("weir-e2e-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The processes, other than this one, whose command line or working folder names this folder.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let folder = self.path().to_str().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            if pid != std::process::id().cast_signed() && (line.contains(folder) || cwd.starts_with(folder)) {
                found.push((pid, line));
            }
        }
        found
    }

    /// The one child of Weir whose program is called `name`: of Postgres the postmaster.
    pub fn child(&self, name: &str) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(pid) = self.child_if_any(name) {
                return pid;
            }
            assert!(began.elapsed() < PATIENCE, "not one {name} runs: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops all processes of a child, of Postgres its sessions too, until what this gives is dropped.
    pub fn suspend(&self, name: &str) -> Suspended {
        let is_called = |line: &str| {
            let program = line.split(' ').next().unwrap_or_default().trim_end_matches(':');
            Path::new(program).ends_with(name)
        };
        // The one that makes the others first.
        let first = Pid::from_raw(self.child(name)).unwrap();
        kill_process(first, Signal::STOP).unwrap();
        let others = self.processes().into_iter().filter(|(_, line)| is_called(line));
        let all =
            others.filter_map(|(pid, _)| Pid::from_raw(pid)).filter(|pid| kill_process(*pid, Signal::STOP).is_ok());
        Suspended(all.collect())
    }

    /// Where its own Postgres is.
    pub fn database_url(&self) -> String {
        format!("postgres://weir@localhost/weir?host={}", self.path().join("data/postgres/run").display())
    }

    /// The same; `None` where there is none just now. A session that Postgres has just made has the name of its server, also after the
    /// server was killed: then nobody knows which is which until it has ended.
    pub fn child_if_any(&self, name: &str) -> Option<i32> {
        let is_called = |line: &str| Path::new(line.split(' ').next().unwrap_or_default()).ends_with(name);
        let found: Vec<i32> =
            self.processes().into_iter().filter(|(_, line)| is_called(line)).map(|(pid, _)| pid).collect();
        // A child of it that was made just now still has its name.
        let is_child = |pid: &i32| parent(*pid).is_some_and(|parent| found.contains(&parent));
        let found: Vec<i32> = found.iter().copied().filter(|pid| !is_child(pid)).collect();
        if let [pid] = found[..] { Some(pid) } else { None }
    }
}

/// Processes that are stopped, and go on when this is dropped.
pub struct Suspended(Vec<Pid>);

impl Drop for Suspended {
    fn drop(&mut self) {
        for process in &self.0 {
            // It may have been killed meanwhile.
            let _ = kill_process(*process, Signal::CONT);
        }
    }
}

pub struct Weir {
    child: Child,
    /// `http://127.0.0.1:port`, or the public address where it was given one.
    pub http: String,
    /// `rtmp://127.0.0.1:port/live`.
    pub rtmp: String,
    /// What it printed until it was up.
    pub said: Vec<String>,
    log: PathBuf,
}

impl Weir {
    /// Starts `weir up` on `folder` and waits until it says that it is up.
    pub fn up(folder: &DataDir) -> Self {
        Self::up_with(folder, &Self::ANYWHERE)
    }

    /// Starts again on the ports of before, as an operator's Weir would.
    pub fn up_again(folder: &DataDir, before: &Weir) -> Self {
        let rtmp = before.rtmp.trim_start_matches("rtmp://").trim_end_matches("/live");
        Self::up_with(folder, &["--http", before.http.trim_start_matches("http://"), "--rtmp", rtmp])
    }

    /// Arguments for whatever ports are free.
    pub const ANYWHERE: [&str; 6] = ["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];

    pub fn up_with(folder: &DataDir, arguments: &[&str]) -> Self {
        Self::up_from(&mut command(folder), folder, arguments)
    }

    /// By a command that is set up already.
    pub fn up_from(command: &mut Command, folder: &DataDir, arguments: &[&str]) -> Self {
        let log = folder.path().with_extension("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        // It comes back to the same ports when it is started again, and nobody may have taken them by then.
        let fixed = |argument: &&str| match *argument {
            "127.0.0.1:0" => format!("127.0.0.1:{}", free_port()),
            other => other.to_owned(),
        };
        let mut child = command
            .arg("up")
            .args(arguments.iter().map(fixed))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(file))
            // A group of its own, so that a test can press Ctrl-C in its terminal.
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        let mut said = Vec::<String>::new();
        let began = Instant::now();
        let find = |said: &[String], word: &str, scheme: &str| {
            let line = said.iter().find(|line| line.trim_start().starts_with(word))?;
            line.split_whitespace().find(|part| part.starts_with(scheme)).map(str::to_owned)
        };
        loop {
            // It says that last, while there is such a token, and where its data is before that.
            let has_said_all = match folder.path().join("data/setup-token").exists() {
                true => said.iter().any(|line| line.contains("setup_token=")),
                false => said.iter().any(|line| line.trim_start().starts_with("Data")),
            };
            if let (Some(http), Some(rtmp), true) =
                (find(&said, "Watch", "http"), find(&said, "Publish", "rtmp://"), has_said_all)
            {
                return Self { child, http, rtmp, said, log };
            }
            match lines.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(line) => said.push(line),
                Err(_) => {
                    let ended = child.try_wait().unwrap();
                    drop(child.kill());
                    let log = fs::read_to_string(&log).unwrap_or_default();
                    panic!("weir up did not come up ({ended:?}); it said {said:?}\n{log}");
                }
            }
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// SIGTERM, as a service manager sends it; waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.wait()
    }

    /// Ctrl-C in its terminal: SIGINT to the whole foreground group.
    pub fn interrupt(&mut self) -> ExitStatus {
        self.press_ctrl_c();
        self.wait()
    }

    /// Ctrl-C, without waiting for what comes of it.
    pub fn press_ctrl_c(&self) {
        kill_process_group(self.pid(), Signal::INT).unwrap();
    }

    /// kill -9: no chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "weir did not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The value of a metric, of the sample whose labels hold `label`.
    pub async fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let log = self.log();
        let line = log.lines().rev().find(|line| line.contains("metrics are served")).expect("metrics are served");
        let (_, address) = line.split_once("address=").unwrap();
        let address = address.split_whitespace().next().unwrap();
        let text = reqwest::get(format!("http://{address}/metrics")).await.ok()?.text().await.ok()?;
        let is_wanted = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let sample = text.lines().filter(is_wanted).find(|line| line.contains(label))?;
        sample.rsplit(' ').next()?.parse().ok()
    }

    /// The set-up token that it printed.
    pub fn setup_token(&self) -> String {
        let line = self.said.iter().find(|line| line.contains("setup_token=")).expect("a set-up token is printed");
        let (_, token) = line.split_once("setup_token=").unwrap();
        token.split_whitespace().next().unwrap().to_owned()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // In order, so that its children go too.
            let _ = kill_process(self.pid(), Signal::TERM);
            let began = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- log of weir ----\n{}", self.log());
        }
        drop(fs::remove_file(&self.log));
    }
}

/// The binary with `folder` as its data directory and nothing taken from this test's environment.
pub fn command(folder: &DataDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
        command.env_remove(name);
    }
    // Tests ask as fast as they can, all from one address; safety.rs turns the limits on.
    command.env("WEIR_RATE_LIMITS", "off");
    // And one account makes as many channels as it can.
    command.env("WEIR_MAX_CHANNELS", "0");
    // Several run at once, and the usual port is one.
    command.env("WEIR_METRICS", "127.0.0.1:0");
    // What was changed can be read, however busy the machine is.
    command.env("WEIR_READ_AFTER_WRITE_SECONDS", "20");
    // Nobody waits two weeks for an erasure here; processes/tests/it/due_erasures.rs does.
    command.env("WEIR_ERASURE_AFTER_DAYS", "0");
    command.arg("--data-dir").arg(folder.path().join("data")).current_dir("/tmp");
    command
}

/// A command of an operator beside a Weir that is up: whether it succeeded, and what it said.
pub fn operate(folder: &DataDir, arguments: &[&str]) -> (bool, String) {
    let output = command(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

fn read_lines(stdout: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The test may be over; the pipe is read on, so that Weir never blocks on it.
            drop(send.send(line));
        }
    });
    receive
}
