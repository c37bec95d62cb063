//! `weir serve --role edge` in front of a Weir.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use crate::{
    process::Owned,
    weir::{DataDir, command},
};

/// A running edge, a process of its own.
pub struct Relay {
    process: Owned,
    pub address: SocketAddr,
    _folder: DataDir,
}

impl Relay {
    /// In front of the Weir at `origin` (`http://127.0.0.1:port`), which has its data in `of`.
    pub fn before(origin: &str, of: &DataDir) -> Self {
        let secrets = command(of).args(["keys", "edge"]).output().unwrap();
        assert!(secrets.status.success(), "{}", String::from_utf8_lossy(&secrets.stderr));
        let folder = DataDir::new();
        let file = folder.path().join("edge.toml");
        fs::write(&file, secrets.stdout).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = command(&folder)
            .args(["serve", "--role", "edge", "--origin", origin, "--http", &address.to_string()])
            .args(["--metrics", "127.0.0.1:0", "--secrets-file"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process: Owned(child), address, _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}
