//! `weir serve --role edge` in front of a node, with what `weir keys edge` says.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    ports::free_port,
    weir::{DataDir, PATIENCE, command},
};

pub struct Relay {
    process: Child,
    pub http: String,
    _folder: DataDir,
}

impl Relay {
    /// In front of `origin`, of the install that has its secrets in this folder.
    pub fn before(origin: &str, of: &DataDir) -> Self {
        let secrets = command(of).args(["keys", "edge"]).output().unwrap();
        assert!(secrets.status.success(), "{}", String::from_utf8_lossy(&secrets.stderr));
        Self::with(origin, &String::from_utf8(secrets.stdout).unwrap())
    }

    /// In front of `origin`, with secrets as `weir keys edge` prints them.
    pub fn with(origin: &str, secrets: &str) -> Self {
        assert!(secrets.contains("playback_key") && !secrets.contains("master_key"), "the playback key alone");
        let folder = DataDir::new();
        let file = folder.path().join("edge.toml");
        fs::write(&file, secrets).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let process = command(&folder)
            .args(["serve", "--role", "edge", "--origin", origin, "--http", &address, "--metrics", "127.0.0.1:0"])
            .arg("--secrets-file")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, http: format!("http://{address}"), _folder: folder }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let began = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
