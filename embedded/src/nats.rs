//! nats-server with JetStream, for one Weir.
//!
//! It listens on a free port of 127.0.0.1 below 32768 (above, an outgoing connection may hold the port just when the server
//! wants it back) and asks for a password. Port and password are new at each [`Nats::start`], and stay the same when the
//! server is restarted by its supervisor, so that clients reconnect. The password is in a file of mode 600 and not on the
//! command line, which every user of the machine can read.
//!
//! JetStream's `sync_interval` stays at its default of two minutes: after a power cut the stream may lack its last messages, and
//! the relay refills it from Postgres, which is the truth. (2.9 would refuse the setting, it came with 2.10.)

use std::{
    ffi::OsString,
    fmt,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use rand::Rng;
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Command,
    sync::watch,
};

use crate::{
    EmbeddedError, Status, binaries,
    folder::{Reach, ServiceFolder},
    journal::Journal,
    strays,
    supervisor::{Program, STRAY_PATIENCE, Supervised},
};

const USER: &str = "weir";
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What a NATS server needs to know.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Weir's data directory; the server gets the folder `nats` in it.
    pub data_dir: PathBuf,
    /// Start only with at least this much space on the disk, in bytes.
    pub min_free_bytes: u64,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Duration,
    /// Where to look for `nats-server`, in the form of `PATH`; None for `PATH` and the usual folders.
    pub search_path: Option<OsString>,
    /// Without a password (tests only: whoever can reach the port may do everything).
    pub(crate) is_open: bool,
}

impl NatsOptions {
    /// The defaults, for a data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            min_free_bytes: 64 << 20,
            stop_timeout: Duration::from_secs(10),
            search_path: None,
            is_open: false,
        }
    }
}

/// A running nats-server; stopped when dropped, but [`Nats::shutdown`] waits for it.
pub struct Nats {
    supervised: Supervised,
    address: String,
    password: Option<String>,
    account: String,
}

impl Nats {
    /// Starts the server, ending one that a killed Weir left on the same folder, and returns when it answers.
    ///
    /// # Errors
    /// See [`EmbeddedError`]; nothing is left running then.
    pub async fn start(options: NatsOptions) -> Result<Self, EmbeddedError> {
        let program = binaries::find_nats_server(options.search_path.as_deref())?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_on(&options, &program, free_port()).await {
                // Taken by somebody else since we looked.
                Err(EmbeddedError::NotStarted { log, .. }) if tries < 5 && log.contains("address already in use") => {}
                result => return result,
            }
        }
    }

    async fn start_on(options: &NatsOptions, program: &std::path::Path, port: u16) -> Result<Self, EmbeddedError> {
        let folder =
            ServiceFolder::open(&options.data_dir, "nats", "jetstream", &["nats", "postgres"], options.min_free_bytes)?;
        folder.make_child_folder(&folder.path().join("jetstream"))?;
        let password = (!options.is_open).then(|| format!("{:032x}", rand::rng().random::<u128>()));
        folder.write("nats.conf", &configuration(port, password.as_deref()), true)?;
        let journal = Journal::new(folder.path().join("nats.log"));
        let account = folder.child().label();
        let server = NatsServer { folder, program: program.to_owned(), port, stop_timeout: options.stop_timeout };
        let supervised = Supervised::start(server, journal).await?;
        Ok(Self { supervised, address: format!("127.0.0.1:{port}"), password, account })
    }

    /// `nats://weir:<password>@127.0.0.1:<port>`.
    ///
    /// async-nats 0.51 connects to the address and ignores the credentials in it: give it [`Nats::user`] and
    /// [`Nats::password`] by `ConnectOptions::with_user_and_password`.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("nats://{USER}:{password}@{}", self.address),
            None => format!("nats://{}", self.address),
        }
    }

    /// The user to sign in as.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The password of [`Nats::user`]; empty for a test's open server.
    #[must_use]
    pub fn password(&self) -> &str {
        self.password.as_deref().unwrap_or_default()
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The account that the server runs under.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// How the server is, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.supervised.status()
    }

    /// Stops the server and waits for its end.
    pub async fn shutdown(self) {
        self.supervised.shutdown().await;
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("address", &self.address).field("account", &self.account).finish_non_exhaustive()
    }
}

struct NatsServer {
    folder: ServiceFolder,
    program: PathBuf,
    port: u16,
    stop_timeout: Duration,
}

impl Program for NatsServer {
    const NAME: &'static str = "nats-server";

    async fn prepare(&self) -> Result<(Command, Reach), EmbeddedError> {
        let uid = self.folder.child().account.uid;
        let strays = strays::stop(Self::NAME, self.folder.instance(), uid, Some(Signal::INT), STRAY_PATIENCE).await?;
        if strays > 0 {
            tracing::warn!(program = Self::NAME, "one that an earlier run left behind was stopped");
        }
        let reach = self.folder.reach()?;
        let mut command = self.folder.command(&self.program);
        // Relative paths in the configuration start from here.
        command.current_dir(&reach.base).args(["-c", "nats.conf", "--name", self.folder.instance()]);
        Ok((command, reach))
    }

    async fn is_ready(&self, _pid: u32) -> bool {
        // The greeting has our name in it: whoever else may have taken the port is not mistaken for our server.
        let greeting = async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await?;
            Ok::<_, std::io::Error>(line)
        };
        match tokio::time::timeout(Duration::from_secs(2), greeting).await {
            Ok(Ok(line)) => line.contains(self.folder.instance()) && line.contains(r#""jetstream":true"#),
            _ => false,
        }
    }

    async fn clean_up(&self) {}

    fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }
}

fn configuration(port: u16, password: Option<&str>) -> String {
    let authorization = password
        .map(|password| format!("authorization {{ user: \"{USER}\", password: \"{password}\" }}\n"))
        .unwrap_or_default();
    // Streams have limits of their own; the memory limit is there because the default is three quarters of the machine's.
    format!(
        "# Written by weir at each start.\n\
         host: \"127.0.0.1\"\n\
         port: {port}\n\
         {authorization}\
         jetstream {{ store_dir: \".\", max_mem: 256MB }}\n"
    )
}

fn free_port() -> u16 {
    let mut random = rand::rng();
    for _ in 0..200 {
        let port = random.random_range(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            _ => return port,
        }
    }
    // Two hundred taken ports in a row: the server itself will say so.
    PORTS.start
}
