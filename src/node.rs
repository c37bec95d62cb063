//! A process with some roles: started in the order in which they need each other, stopped in the reverse order.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use api::{AccessTokenKey, Api, FeedOptions, LiveStreams, Publishers, Readiness};
use clap::ValueEnum;
use commands::{Commands, CommandsOptions};
use domain::ids::NodeId;
use futures::FutureExt;
use ingest::{
    Ingest, IngestConfig, IngestError, RtmpsConfig, origin::Broadcasts, recorder::Recorder, rewind::RewindConfig,
    rights::Rights,
};
use processes::{ExportsOptions, NodesOptions, RecordingsOptions, Troubles};
use projections::{Projections, ReadModels};
use sqlx::{PgPool, postgres::PgPoolOptions};
use storage::{DiskWatch, Storage};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::{
    config::Config,
    http::{self, HttpLimits, Site},
    metrics,
    objects::{self, Objects},
    origins::{self, Owners},
    secrets::{self, Secrets},
    setup_token::SetupToken,
    wire,
};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// The REST API and the web app.
    Api,
    /// RTMP in, playback out.
    Ingest,
    /// The read models.
    Projections,
    /// The log to NATS.
    Relay,
    /// What follows the log and acts.
    Processes,
    /// A relay in front of other nodes; alone, and without Postgres.
    Edge,
}

impl Role {
    /// All of them, as `weir up` runs them; an edge is another machine's.
    pub fn all() -> BTreeSet<Self> {
        Self::value_variants().iter().copied().filter(|role| *role != Self::Edge).collect()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Api => "api",
            Self::Ingest => "ingest",
            Self::Projections => "projections",
            Self::Relay => "relay",
            Self::Processes => "processes",
            Self::Edge => "edge",
        })
    }
}

/// A running process: what it serves, and how to stop it.
pub struct Node {
    /// Where HTTP is served, by an `api` or `ingest` role.
    pub http: Option<SocketAddr>,
    /// Where encoders connect, by an `ingest` role.
    pub rtmp: Option<SocketAddr>,
    /// Where they connect under TLS, if they may.
    pub rtmps: Option<SocketAddr>,
    /// The write side, for what the command line does itself.
    pub commands: Commands,
    /// What makes the first administrator, where this process keeps it and nobody administers the install yet.
    pub setup_token: Option<SetupToken>,
    ingest: Option<Arc<Ingest>>,
    server: Option<JoinHandle<()>>,
    stopping: CancellationToken,
    background: CancellationToken,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    projections: Option<Arc<Projections>>,
}

/// Postgres, for a command line that asks or tells it something: the one of the settings, or that of the `weir up` that
/// runs on the data directory.
///
/// # Errors
/// When there is none, or it does not answer.
pub async fn open_pool(config: &Config) -> anyhow::Result<PgPool> {
    if let Some(url) = &config.database_url {
        return connect_postgres(url.expose(), config).await;
    }
    let folder = config.data_dir.display();
    let url = embedded::Postgres::url_of(&config.data_dir).with_context(|| {
        format!("{folder} holds no Weir; name its folder with --data-dir, or its Postgres with --database-url")
    })?;
    let connected = connect_postgres(&url, config).await;
    connected.with_context(|| format!("no Weir runs on {folder}; start it with `weir up`"))
}

/// The write side alone, on [`open_pool`].
///
/// # Errors
/// As [`open_pool`], or when the keys are not those of the database.
pub async fn open_commands(config: &Config) -> anyhow::Result<Commands> {
    let pool = open_pool(config).await?;
    let secrets = Secrets::load_or_make(&config.secrets_file)?;
    start_commands(&pool, &secrets, config).await
}

async fn start_commands(pool: &PgPool, secrets: &Secrets, config: &Config) -> anyhow::Result<Commands> {
    let options = CommandsOptions { password_cost: config.passwords.cost()?, ..CommandsOptions::default() };
    Commands::start(pool.clone(), secrets.master_keys(), options).await.context("the write side cannot be started")
}

/// How long a node that starts waits for Postgres to answer.
const POSTGRES_STARTS_WITHIN: Duration = Duration::from_secs(30);

/// What a process is started with.
pub struct NodeOptions {
    pub config: Config,
    pub roles: BTreeSet<Role>,
    pub database_url: String,
    pub nats_url: String,
    /// The states of our own servers, for `/readyz`.
    pub servers: wire::Servers,
    /// Whether all roles are here, so that no other node need be asked about encoders.
    pub is_alone: bool,
    /// The folder in which the set-up token is left for whoever is to administer the install; `None` where an operator asks for it.
    pub setup_token_in: Option<PathBuf>,
}

/// Brings both schemas to this version. Several processes may do so at once.
pub async fn migrate(database_url: &str) -> anyhow::Result<()> {
    commands::migrate(database_url).await.context("the log's tables cannot be brought to this version")?;
    projections::migrate(database_url).await.context("the read models' tables cannot be brought to this version")
}

impl Node {
    /// Starts the roles; when it returns, they serve.
    pub async fn start(options: NodeOptions) -> anyhow::Result<Self> {
        let NodeOptions { config, roles, database_url, nats_url, servers, is_alone, setup_token_in } = options;
        http::raise_descriptor_limit();
        let recorded = metrics::record()?;
        let secrets = Secrets::load_or_make(&config.secrets_file)?;
        objects::check(&config, &secrets)?;
        let node_id = node_id(&config)?;
        // Bound before anything else is started: an address in use is the most common mistake.
        let serves_http = roles.contains(&Role::Api) || roles.contains(&Role::Ingest);
        let listener = if serves_http { Some(listen(config.http).await?) } else { None };
        let public_url = match &listener {
            Some(listener) => config.public_url(listener.local_addr().context("the HTTP listener has no address")?),
            None => config.public_url(config.http),
        };
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(http::acceptor(certificate, key)?),
            _ => None,
        };
        let metrics_listener = metrics::listen(config.metrics).await?;

        let pool = await_postgres(&database_url, &config).await?;
        migrate(&database_url).await?;
        let nats = connect_nats(&nats_url).await?;
        let commands = start_commands(&pool, &secrets, &config).await?;
        // Before anybody is answered: who finds the node healthy finds the token, too.
        let setup_token = match setup_token_in {
            Some(folder) => SetupToken::keep(&commands, &folder).await?,
            None => None,
        };

        let background = CancellationToken::new();
        let stopping = CancellationToken::new();
        let mut tasks = Vec::new();
        if roles.contains(&Role::Relay) {
            let relay = commands::relay::run_with_hint(
                pool.clone(),
                nats.clone(),
                node_id.to_string(),
                commands.committed(),
                background.clone(),
            );
            tasks.push(("relay", tokio::spawn(relay)));
        }
        let projections = roles.contains(&Role::Projections).then(|| {
            Arc::new(Projections::start(pool.clone(), Some(nats.clone()), commands.keyring(), background.clone()))
        });
        let Objects { storage, disk, waiting, tasks: storing } =
            objects::open(&config, &secrets, &roles, &background).await?;
        tasks.extend(storing);

        if roles.contains(&Role::Ingest) && storage.is_remote() {
            let dropping = objects::drop_deleted(commands.clone(), storage.clone(), node_id, waiting);
            let dropping = background.clone().run_until_cancelled_owned(dropping).map(drop);
            tasks.push(("leftovers of deleted recordings", tokio::spawn(dropping)));
        }

        let (unread, troubles) = (serves_http.then(wire::Unread::new), Troubles::default());
        let readiness = wire::NodeReadiness {
            pool: pool.clone(),
            nats: nats.clone(),
            projections: projections.clone(),
            unread: unread.clone(),
            troubles: roles.contains(&Role::Processes).then(|| troubles.clone()),
            servers,
            stopping: stopping.clone(),
        };
        let readiness = wire::Remembered::new(Arc::new(readiness), stopping.clone());
        let readiness: Arc<dyn Readiness> = Arc::new(readiness);
        let draining = background.clone().run_until_cancelled_owned(metrics::drain(recorded.clone())).map(drop);
        tasks.push(("metrics", tokio::spawn(draining)));
        if let Some(listener) = metrics_listener {
            let address = listener.local_addr().context("the listener for metrics has no address")?;
            info!(%address, "metrics are served");
            let router = metrics::router(recorded, Arc::clone(&readiness));
            let serving = http::serve(listener, router, HttpLimits::of_this_process(), background.clone());
            tasks.push(("the metrics server", tokio::spawn(serving)));
        }

        let playback_keys = wire::playback_keys(&secrets);
        let rights = Rights::new(playback_keys.clone());
        if let Some(unread) = unread {
            let read = ReadModels::new(pool.clone());
            let following = wire::follow_rights(commands.clone(), read, rights.clone(), unread, background.clone());
            tasks.push(("rights to watch", tokio::spawn(following)));
        }
        let ingest = match roles.contains(&Role::Ingest) {
            true => {
                // Before its streams are looked for: whoever ends those of nodes that are gone must know better by then.
                commands::nodes::beat(&pool, node_id, None)
                    .await
                    .context("nobody can be told that this node is there")?;
                let cuts = wire::Cuts::open(&commands).await?;
                let others = (!is_alone).then(|| nats.clone());
                let elsewhere = wire::Elsewhere { commands: commands.clone(), node_id, nats: others };
                let ingest =
                    Arc::new(start_ingest(&config, node_id, &commands, &storage, &rights, &disk, elsewhere).await?);
                tasks.push(("ends of streams", tokio::spawn(cuts.follow(Arc::clone(&ingest), background.clone()))));
                Some(ingest)
            }
            false => None,
        };
        if let (Some(ingest), false) = (&ingest, is_alone) {
            let answering = wire::answer_remote(Arc::clone(ingest), storage.clone(), nats.clone(), background.clone());
            tasks.push(("answers to other nodes", tokio::spawn(answering)));
            let letting_go = wire::let_go(Arc::clone(ingest), node_id, nats.clone(), background.clone());
            tasks.push(("streams that other nodes want", tokio::spawn(letting_go)));
            if let Some(listener) = &listener {
                let bound = listener.local_addr().context("the HTTP listener has no address")?;
                let url = config.advertise_http(bound)?;
                info!(url, "other nodes find the streams of this one");
                let claiming = origins::claim(Arc::clone(ingest), url, nats.clone(), background.clone());
                tasks.push(("claims to streams", tokio::spawn(claiming)));
            }
        }
        if ingest.is_some() {
            let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
            let address = bound.and_then(|bound| config.advertise_http(bound).ok());
            tasks.push(("beats", tokio::spawn(wire::beat(pool.clone(), node_id, address, stopping.clone()))));
        }
        if roles.contains(&Role::Processes) {
            let lost = wire::LostNodes {
                commands: commands.clone(),
                storage: storage.clone(),
                disk: disk.clone(),
                limits: config.recording_limits(),
                owners: (!is_alone).then(|| Owners::new(None, nats.clone())),
            };
            let nodes = NodesOptions { lost_after: config.node_lost_after(), others: Arc::new(lost) };
            let exports =
                ExportsOptions { storage: storage.direct(), public_url: public_url.clone(), at_once: EXPORTS_AT_ONCE };
            let pictures = wire::NodePictures { storage: storage.clone(), nats: (!is_alone).then(|| nats.clone()) };
            let recordings = RecordingsOptions { storage: storage.clone(), limits: config.recording_limits() };
            let running = processes::run(
                commands.clone(),
                exports,
                recordings,
                nodes,
                config.mail.options(&config.data_dir, &public_url)?,
                config.privacy.addresses_kept(),
                Arc::new(pictures),
                troubles,
                background.clone(),
            );
            tasks.push(("processes", tokio::spawn(running)));
        }

        let mut node = Self {
            http: None,
            rtmp: ingest.as_ref().map(|ingest| ingest.rtmp_addr()),
            rtmps: ingest.as_ref().and_then(|ingest| ingest.rtmps_addr()),
            commands: commands.clone(),
            setup_token,
            ingest,
            server: None,
            stopping: stopping.clone(),
            background,
            tasks,
            projections: projections.clone(),
        };
        if let Some(listener) = listener {
            let http = listener.local_addr().context("the HTTP listener has no address")?;
            node.http = Some(http);
            let mut router = axum::Router::new();
            let local = match &node.ingest {
                Some(ingest) => ingest.service(),
                // Pictures of streams that are over, and words for what is nowhere.
                None => ingest::origin::service(Broadcasts::new(rights.clone()), storage.clone()),
            };
            let door = wire::RecordingDoor::new(ReadModels::new(pool.clone()), rights);
            router = router.nest("/vod", ingest::origin::recordings::router(storage.clone(), Arc::new(door)));
            let live = match is_alone {
                true => local,
                false => origins::service(local, Owners::new(node.ingest.clone(), nats.clone())),
            };
            router = router.layer(axum::middleware::from_fn(api::media_call));
            let media = live;
            if roles.contains(&Role::Api) {
                let public_rtmp_url = config.public_rtmp_url(node.rtmp.unwrap_or(config.rtmp));
                let public_rtmps_url = config.public_rtmps_url(node.rtmps.or(config.rtmps));
                let read = match &projections {
                    Some(projections) => projections.read_models(),
                    None => ReadModels::new(pool.clone()),
                };
                let (live, publishers) = node.media(&nats, is_alone);
                let access = wire::access(&config.access, &secrets);
                if let (Some(limits), false) = (access.rate_limits.clone(), is_alone) {
                    let sharing = wire::share_limits(limits, nats.clone(), node.background.clone());
                    node.tasks.push(("rate limits", tokio::spawn(sharing)));
                }
                router = router.merge(api::router(Api {
                    commands,
                    read,
                    live,
                    publishers,
                    playback_tokens: Arc::new(wire::Tokens(playback_keys)),
                    readiness,
                    access_token_key: AccessTokenKey::from_seed(secrets.access_token_key.0),
                    public_url,
                    public_rtmp_url,
                    public_rtmps_url,
                    storage,
                    recording_limits: config.recording_limits(),
                    reconnect_grace_seconds: config.reconnect_grace_seconds,
                    erasure_after: config.privacy.erasure_after(),
                    read_after_write: config.read_after_write(),
                    feed: FeedOptions::default(),
                    access,
                    stopping: stopping.clone(),
                }));
            }
            let limits = http_limits(&config);
            let site = Site { live: media, rest: router, answered: api::media_answered };
            node.server = Some(tokio::spawn(http::serve_tls(listener, tls, site, limits, stopping)));
        }
        Ok(node)
    }

    fn media(&self, nats: &async_nats::Client, is_alone: bool) -> (Arc<dyn LiveStreams>, Arc<dyn Publishers>) {
        match &self.ingest {
            Some(ingest) if is_alone => {
                let media = Arc::new(wire::LocalMedia(Arc::clone(ingest)));
                (media.clone(), media)
            }
            local => {
                let media = Arc::new(wire::RemoteMedia { local: local.clone(), nats: nats.clone() });
                (media.clone(), media)
            }
        }
    }

    /// Returns when a part of the process has ended that should not have, with its name.
    pub async fn failed(&mut self) -> &'static str {
        loop {
            if let Some((name, _)) = self.tasks.iter().find(|(_, task)| task.is_finished()) {
                return name;
            }
            if self.server.as_ref().is_some_and(JoinHandle::is_finished) {
                return "the HTTP server";
            }
            if self.projections.as_ref().is_some_and(|projections| projections.has_failed()) {
                return "projections";
            }
            if self.commands.has_failed() {
                return "the write side";
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Stops in order: encoders and their streams first, while the log still takes their ends; then requests; then what
    /// follows the log.
    pub async fn shutdown(self) {
        if let Some(ingest) = &self.ingest {
            ingest.shutdown().await;
        }
        self.stopping.cancel();
        if let Some(mut server) = self.server {
            // Long answers are cut: players and feeds come back to another node, or to this one started again.
            if tokio::time::timeout(HTTP_DRAIN, &mut server).await.is_err() {
                server.abort();
            }
        }
        self.background.cancel();
        for (name, task) in self.tasks {
            if let Err(error) = task.await {
                error!(name, %error, "a part of the process failed");
            }
        }
        if let Some(projections) = self.projections {
            projections.ended().await;
        }
        self.commands.shutdown().await;
        // Connections are closed by us, not cut by a Postgres that goes: that would look like a fault in both logs.
        self.commands.pool().close().await;
    }
}

pub fn http_limits(config: &Config) -> HttpLimits {
    let mut limits = HttpLimits::of_this_process();
    if let Some(connections) = config.http_connections {
        limits.connections = limits.connections.min(connections as usize);
    }
    limits.per_address = config.http_connections_per_address as usize;
    limits.unread = Duration::from_secs(config.http_unread_seconds.into());
    limits
}

/// How many exports a node writes at once.
const EXPORTS_AT_ONCE: usize = 2;

/// How long requests in flight may take once the process stops.
const HTTP_DRAIN: Duration = Duration::from_secs(3);

/// Connections that the system may keep until they are accepted, as far as it grants them (`net.core.somaxconn`, 4,096 on
/// Linux): all viewers of a stream come at once when it comes back, and who finds no room waits for a second and more.
const BACKLOG: u32 = 4_096;

pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| {
        format!("HTTP cannot be served on {address}; is something else there? Choose another with --http")
    })
}

async fn start_ingest(
    config: &Config,
    node_id: NodeId,
    commands: &Commands,
    storage: &Storage,
    rights: &Rights,
    disk: &DiskWatch,
    elsewhere: wire::Elsewhere,
) -> anyhow::Result<Ingest> {
    let mut settings = IngestConfig::new(config.rtmp);
    settings.rights = rights.clone();
    let limits = config.recording_limits();
    let recordings = wire::RecordingsSide { commands: commands.clone(), node_id, limits };
    let recorder = Recorder::new(Arc::new(recordings), disk.clone());
    settings.recorder = recorder.with_folder(config.data_dir.join("recording"));
    settings.grace = config.reconnect_grace();
    settings.packager.part_target_ms = config.part_ms;
    settings.rewind = Some(RewindConfig {
        folder: config.data_dir.join("rewind"),
        window: Duration::from_secs(60 * u64::from(config.rewind_minutes)),
    });
    settings.ladder = config.ladder.config();
    settings.rtmps = match (config.rtmps, &config.rtmps_cert, &config.rtmps_key) {
        (Some(address), Some(certificate), Some(key)) => {
            Some(RtmpsConfig::new(address, certificate.clone(), key.clone()))
        }
        _ => None,
    };
    let write_side =
        wire::WriteSide { commands: commands.clone(), node_id, addresses: config.access.publishing(), elsewhere };
    Ingest::start(settings, Arc::new(write_side), storage.clone()).await.map_err(|error| {
        let advice = match &error {
            IngestError::Listen { address, .. } => {
                format!(
                    "encoders cannot be taken in on {address}; is something else there? Choose another with --rtmp, or \
                     --rtmps for TLS"
                )
            }
            _ => "RTMPS cannot be served; name a certificate and its key with --rtmps-cert and --rtmps-key".to_owned(),
        };
        anyhow::Error::new(error).context(advice)
    })
}

/// Which node this data directory is: the same over restarts, since a node ends the streams that its crash left open.
fn node_id(config: &Config) -> anyhow::Result<NodeId> {
    let path = config.data_dir.join("node-id");
    let made = Uuid::now_v7().to_string();
    if secrets::write_new(&path, &made)? {
        info!(node.id = made, "this node has a new id");
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    text.trim().parse().with_context(|| format!("{} does not hold the id of a node", path.display()))
}

async fn connect_postgres(url: &str, config: &Config) -> anyhow::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(config.database_connections)
        // A read or a command that must wait longer than this is refused with "try again" instead.
        .acquire_timeout(Duration::from_secs(3))
        .connect(url)
        .await
        .context("Postgres cannot be reached")
}

/// For a Postgres that is started beside this process, or is busy with its recovery.
async fn await_postgres(url: &str, config: &Config) -> anyhow::Result<PgPool> {
    let deadline = Instant::now() + POSTGRES_STARTS_WITHIN;
    loop {
        let error = match connect_postgres(url, config).await {
            Ok(pool) => return Ok(pool),
            Err(error) => error,
        };
        // What it refuses, a password or a name, it will go on refusing.
        let is_silent = matches!(error.downcast_ref(), Some(sqlx::Error::PoolTimedOut));
        if !is_silent || Instant::now() >= deadline {
            return Err(error);
        }
        warn!("Postgres does not answer yet; it is tried again");
    }
}

/// Connects in the background, for as long as it takes: nothing that is acknowledged depends on NATS.
async fn connect_nats(url: &str) -> anyhow::Result<async_nats::Client> {
    let address: async_nats::ServerAddr = url.parse().context("the address of NATS cannot be used")?;
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let options = async_nats::ConnectOptions::new().name("weir").retry_on_initial_connect();
    // The client connects to the address, but leaves what stands before the @ to us.
    let options = match (address.username(), address.password()) {
        (Some(user), Some(password)) => options.user_and_password(decoded(user), decoded(password)),
        (Some(token), None) => options.token(decoded(token)),
        (None, _) => options,
    };
    let last_error = Arc::new(Mutex::new(String::new()));
    let options = options.event_callback(move |event| {
        match event {
            async_nats::Event::Connected => info!("connected to NATS"),
            async_nats::Event::Disconnected => warn!("lost NATS; read models follow Postgres until it is back"),
            async_nats::Event::ClientError(error) => {
                // It tries for ever, and fails for the same reason each time: that is said once.
                let error = error.to_string();
                let mut last = last_error.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != error {
                    warn!(error, "NATS cannot be reached; it is tried again");
                    *last = error;
                }
            }
            other => tracing::debug!(event = %other, "NATS"),
        }
        std::future::ready(())
    });
    options.connect(address).await.context("the address of NATS cannot be used")
}
