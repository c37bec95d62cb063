//! Real servers for tests, gone when the test process ends.
//!
//! ```no_run
//! # async fn example() {
//! let database = embedded::testing::database().await;
//! let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
//! # }
//! ```
//!
//! The first call in a process makes a Postgres (without fsync) in a temporary folder, each call a database in it. All of it
//! is kept by a thread of its own, so that it outlives the runtime of the test that happened to be first. A small shell
//! process waits on a pipe from us. When the pipe closes, because the process has ended in whatever way, it ends the servers
//! and removes the folder: no exit handler, destructor or signal handler has to run for that.

use std::{
    io,
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
};

use rand::Rng;
use sqlx::{Connection, PgConnection};
use tokio::sync::{mpsc, oneshot};

use crate::{EmbeddedError, Nats, NatsOptions, Postgres, PostgresOptions, error::IoContext};

/// A new, empty database, with the rights that Weir has in production: owned by a role that is no superuser.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TestDatabase {
    /// For `sqlx::PgPool::connect`.
    pub url: String,
    /// Its name in the server that the whole process shares.
    pub name: String,
}

/// A new, empty database in this process's throw-away Postgres.
///
/// # Panics
/// With the reason, when there is no Postgres on the machine or it does not start.
pub async fn database() -> TestDatabase {
    ask(Request::Database).await
}

/// A new nats-server with an empty JetStream, without a password, and its URL for `async_nats::connect`.
///
/// A server per call, since stream names have no other room of their own; it lives as long as the test process.
///
/// # Panics
/// With the reason, when there is no nats-server on the machine or it does not start.
pub async fn nats() -> String {
    ask(Request::Nats).await
}

/// Where temporary data directories of tests belong: `TMPDIR` if it is set, else memory if there is plenty, else `/tmp`.
///
/// A database is three hundred files. On a disk whose file system takes a millisecond to make one, that was 350 ms; in memory
/// it is 15 ms.
#[must_use]
pub fn temporary_folder() -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    let has_room = || rustix::fs::statvfs(MEMORY).is_ok_and(|space| space.f_bavail * space.f_frsize >= 2 << 30);
    if std::env::var_os("TMPDIR").is_none() && has_room() { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}

type Answer<T> = oneshot::Sender<Result<T, EmbeddedError>>;

enum Request {
    Database(Answer<TestDatabase>),
    Nats(Answer<String>),
}

async fn ask<T>(request: impl FnOnce(Answer<T>) -> Request) -> T {
    let (answer, answered) = oneshot::channel();
    // The channel is closed when the thread has panicked, and then the answer will not come either.
    let _ = keeper().send(request(answer));
    match answered.await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("no server for the test: {error}"),
        Err(_) => panic!("the thread that keeps the test servers has panicked, see above"),
    }
}

fn keeper() -> &'static mpsc::UnboundedSender<Request> {
    static KEEPER: OnceLock<mpsc::UnboundedSender<Request>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (sender, requests) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("test-servers".to_owned())
            .spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime for the test servers")
                    .block_on(keep(requests));
            })
            .expect("a thread for the test servers");
        sender
    })
}

async fn keep(mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut servers = None;
    while let Some(request) = requests.recv().await {
        let servers = match &mut servers {
            Some(servers) => servers,
            none => match Servers::new() {
                Ok(new) => none.insert(new),
                Err(error) => {
                    match request {
                        Request::Database(answer) => drop(answer.send(Err(error))),
                        Request::Nats(answer) => drop(answer.send(Err(error))),
                    }
                    continue;
                }
            },
        };
        match request {
            Request::Database(answer) => drop(answer.send(servers.database().await)),
            Request::Nats(answer) => drop(answer.send(servers.nats().await)),
        }
    }
}

struct Servers {
    folder: PathBuf,
    postgres: Option<(Postgres, PgConnection)>,
    databases: u32,
    nats: Vec<Nats>,
    _watchdog: ChildStdin,
}

impl Servers {
    fn new() -> Result<Self, EmbeddedError> {
        let parent = temporary_folder();
        let parent = parent.canonicalize().context("find", parent)?;
        let folder = parent.join(format!("weir-test-{:016x}", rand::rng().random::<u64>()));
        // The servers' accounts must pass through.
        std::fs::DirBuilder::new().mode(0o711).create(&folder).context("make the folder", &folder)?;
        let watchdog = watchdog(&folder).context("start the watchdog of", &folder)?;
        Ok(Self { folder, postgres: None, databases: 0, nats: Vec::new(), _watchdog: watchdog })
    }

    async fn database(&mut self) -> Result<TestDatabase, EmbeddedError> {
        let (postgres, connection) = match &mut self.postgres {
            Some(running) => running,
            none => {
                let mut options = PostgresOptions::new(&self.folder);
                options.durable = false;
                options.settings = [
                    ("max_connections", &*max_connections().to_string()),
                    ("shared_buffers", "64MB"),
                    ("autovacuum", "off"),
                    ("max_wal_size", "256MB"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
                let postgres = Postgres::start(options).await?;
                let connection = PgConnection::connect(&postgres.url())
                    .await
                    .map_err(|source| EmbeddedError::Database { doing: "connect", source })?;
                none.insert((postgres, connection))
            }
        };
        self.databases += 1;
        let name = format!("test_{}", self.databases);
        // Half the work of the other strategy, which version 15 brought and made the default.
        let strategy = if postgres.major() >= 15 { "strategy file_copy" } else { "" };
        sqlx::query(&format!("create database {name} {strategy}"))
            .execute(connection)
            .await
            .map_err(|source| EmbeddedError::Database { doing: "make a test's database", source })?;
        Ok(TestDatabase { url: postgres.database_url(&name), name })
    }

    async fn nats(&mut self) -> Result<String, EmbeddedError> {
        let mut options = NatsOptions::new(self.folder.join(format!("nats-{}", self.nats.len())));
        options.is_open = true;
        let nats = Nats::start(options).await?;
        let url = nats.url();
        self.nats.push(nats);
        Ok(url)
    }
}

/// Enough for as many tests as run at once, of which each may have a few pools.
fn max_connections() -> usize {
    const PER_TEST: usize = 100;
    (std::thread::available_parallelism().map_or(1, usize::from) * PER_TEST).max(400)
}

/// Waits for the end of its input, then ends every process that has the id of one of the folder's services on its command
/// line (the ids are in a file, so its own tools do not), and removes the folder. SIGQUIT first: it makes Postgres return its
/// shared memory.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT TERM
read -r _
cd "$1" || exit
find . -name instance -exec cat {} + > instances
servers() { grep -laFf instances /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | grep .; }
signal=QUIT
n=0
while pids=$(servers) && [ $n -lt 200 ]; do
    kill -$signal $pids 2>/dev/null
    n=$((n + 1))
    [ $n -lt 100 ] || signal=KILL
    sleep 0.1
done
cd /
rm -rf -- "$1"
"#;

fn watchdog(folder: &Path) -> io::Result<ChildStdin> {
    // A file, so that the text is not on a command line.
    let script = folder.join("watchdog.sh");
    io::Write::write_all(
        &mut std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&script)?,
        WATCHDOG.as_bytes(),
    )?;
    let mut child = Command::new("/bin/sh")
        .arg(script)
        .arg(folder)
        .current_dir("/")
        // Neither Ctrl-C nor a test runner that ends our process group reaches it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    child.stdin.take().ok_or_else(|| io::Error::other("no pipe to the watchdog"))
}
