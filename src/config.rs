//! Settings: each is a flag, an environment variable and a line of `weir.toml`, in this order of strength.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use domain::recordings::RecordingLimits;
use serde::{Deserialize, Serialize};

mod access;
mod ladder;
mod log_file;
mod mail;
mod passwords;
mod privacy;
mod storage;

use access::AccessSettings;
pub use access::{AccessConfig, RateLimiting};
pub use ladder::Ladder;
use ladder::LadderSettings;
pub use log_file::LogFileConfig;
use log_file::LogFileSettings;
pub use mail::MailConfig;
use mail::MailSettings;
pub use passwords::PasswordConfig;
use passwords::PasswordSettings;
pub use privacy::PrivacyConfig;
use privacy::PrivacySettings;
use storage::StorageSettings;
pub use storage::{Backend as StorageBackend, StorageConfig};

/// What may be set; an absent value falls through to the next source and last to the default in [`Config`].
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A file of settings [default: weir.toml in the data directory, if there is one]
    #[arg(long = "config", env = "WEIR_CONFIG", global = true, value_name = "FILE")]
    #[serde(skip)]
    file: Option<PathBuf>,
    /// Where everything is kept [default: .weir]
    #[arg(long, env = "WEIR_DATA_DIR", global = true, value_name = "FOLDER")]
    #[serde(skip)]
    data_dir: Option<PathBuf>,
    /// Where HTTP is served [default: 127.0.0.1:8080]
    #[arg(long, env = "WEIR_HTTP", global = true, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where encoders connect [default: 127.0.0.1:1935]
    #[arg(long, env = "WEIR_RTMP", global = true, value_name = "ADDRESS")]
    rtmp: Option<SocketAddr>,
    /// Where encoders connect under TLS (RTMPS); needs a certificate [default: nowhere]
    #[arg(long, env = "WEIR_RTMPS", global = true, value_name = "ADDRESS")]
    rtmps: Option<SocketAddr>,
    /// The certificate of RTMPS and its chain (PEM), read again when it changes [default: --tls-cert]
    #[arg(long, env = "WEIR_RTMPS_CERT", global = true, value_name = "FILE")]
    rtmps_cert: Option<PathBuf>,
    /// The private key of the certificate of RTMPS (PEM) [default: --tls-key]
    #[arg(long, env = "WEIR_RTMPS_KEY", global = true, value_name = "FILE")]
    rtmps_key: Option<PathBuf>,
    /// Where metrics and health are told, for every role [default: 127.0.0.1:9464, or nowhere when that is taken]
    #[arg(long, env = "WEIR_METRICS", global = true, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The address that browsers see; decides cookies, origin checks and links [default: from --http]
    #[arg(long, env = "WEIR_PUBLIC_URL", global = true, value_name = "URL")]
    public_url: Option<String>,
    /// The address that streamers are told [default: from --rtmp]
    #[arg(long, env = "WEIR_PUBLIC_RTMP_URL", global = true, value_name = "URL")]
    public_rtmp_url: Option<String>,
    /// The address for TLS that streamers are told [default: from --rtmps]
    #[arg(long, env = "WEIR_PUBLIC_RTMPS_URL", global = true, value_name = "URL")]
    public_rtmps_url: Option<String>,
    /// The address at which other nodes find this one's streams, for nodes with the role ingest [default: from --http]
    #[arg(long, env = "WEIR_ADVERTISE_HTTP", global = true, value_name = "URL")]
    advertise_http: Option<String>,
    /// A certificate and its chain (PEM), to serve HTTPS without a reverse proxy
    #[arg(long, env = "WEIR_TLS_CERT", global = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, env = "WEIR_TLS_KEY", global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How many HTTP connections are held at once [default: three quarters of the limit of open files]
    #[arg(long, env = "WEIR_HTTP_CONNECTIONS", global = true, value_name = "N")]
    http_connections: Option<u32>,
    /// How many HTTP connections one public address may have, 0 for no limit [default: 1024]
    #[arg(long, env = "WEIR_HTTP_CONNECTIONS_PER_ADDRESS", global = true, value_name = "N")]
    http_connections_per_address: Option<u32>,
    /// How long an HTTP client may take nothing of an answer before it is cut off, in seconds, 5 to 600 [default: 30]
    #[arg(long, env = "WEIR_HTTP_UNREAD_SECONDS", global = true, value_name = "SECONDS")]
    http_unread_seconds: Option<u32>,
    /// An existing Postgres instead of one of our own
    #[arg(long, env = "WEIR_DATABASE_URL", hide_env_values = true, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// An existing NATS server instead of one of our own
    #[arg(long, env = "WEIR_NATS_URL", hide_env_values = true, global = true, value_name = "URL")]
    nats_url: Option<String>,
    /// The keys that tokens and sealed data are made with; one file for all nodes [default: secrets.toml in the data
    /// directory]
    #[arg(long, env = "WEIR_SECRETS_FILE", global = true, value_name = "FILE")]
    secrets_file: Option<PathBuf>,
    /// How long a stream waits for its lost encoder, in seconds [default: 60]
    #[arg(long, env = "WEIR_RECONNECT_GRACE_SECONDS", global = true, value_name = "SECONDS")]
    reconnect_grace_seconds: Option<u32>,
    /// How long nothing may be heard of a node that takes streams in before these are ended, in seconds, 10 to 86400 [default: a
    /// minute more than --reconnect-grace-seconds]
    #[arg(long, env = "WEIR_NODE_LOST_AFTER_SECONDS", global = true, value_name = "SECONDS")]
    node_lost_after_seconds: Option<u32>,
    /// How long a part of a segment lasts, in milliseconds, 200 to 2000: shorter is nearer to live and costs more
    /// requests [default: 333]
    #[arg(long, env = "WEIR_PART_MS", global = true, value_name = "MS")]
    part_ms: Option<u32>,
    /// How far viewers may go back in a stream that is live, in minutes, 0 (not at all) to 240; takes room on the disk: 19
    /// MB a minute at 2.5 Mbit/s, for each size [default: 30]
    #[arg(long, env = "WEIR_REWIND_MINUTES", global = true, value_name = "MINUTES")]
    rewind_minutes: Option<u32>,
    /// A recording is deleted so many days after its stream; 0 for never [default: 90]
    #[arg(long, env = "WEIR_RECORDING_KEEP_DAYS", global = true, value_name = "DAYS")]
    recording_keep_days: Option<u32>,
    /// How large a channel's recordings may be together, in gigabytes, before the oldest are deleted; 0 for any size
    /// [default: 100]
    #[arg(long, env = "WEIR_RECORDING_MAX_GB", global = true, value_name = "GB")]
    recording_max_gb: Option<u32>,
    /// How many recordings a channel may have before the oldest are deleted; 0 for any number [default: 500]
    #[arg(long, env = "WEIR_RECORDING_MAX_COUNT", global = true, value_name = "N")]
    recording_max_count: Option<u32>,
    #[command(flatten)]
    #[serde(default)]
    ladder: LadderSettings,
    #[command(flatten)]
    #[serde(default)]
    storage: StorageSettings,
    #[command(flatten)]
    #[serde(default)]
    access: AccessSettings,
    #[command(flatten)]
    #[serde(default)]
    mail: MailSettings,
    #[command(flatten)]
    #[serde(default)]
    privacy: PrivacySettings,
    #[command(flatten)]
    #[serde(default)]
    passwords: PasswordSettings,
    #[command(flatten)]
    #[serde(default)]
    log_file: LogFileSettings,
    /// How many connections to Postgres commands and requests share, 4 to 200; a process with all roles holds some forty
    /// more for what follows the log [default: 16]
    #[arg(long, env = "WEIR_DATABASE_CONNECTIONS", global = true, value_name = "N")]
    database_connections: Option<u32>,
    /// How long the answer to a change waits until the change can be read, 0 to 25; after that it is 202 [default: 2]
    #[arg(long, env = "WEIR_READ_AFTER_WRITE_SECONDS", global = true, value_name = "N")]
    read_after_write_seconds: Option<u32>,
    /// Which log lines are written, as in `info` or `warn,ingest=debug` [default: info]
    #[arg(long, env = "WEIR_LOG", global = true, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look [default: human]
    #[arg(long, env = "WEIR_LOG_FORMAT", global = true)]
    log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// Absolute.
    pub data_dir: PathBuf,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where encoders connect.
    pub rtmp: SocketAddr,
    /// Where encoders connect under TLS; then there are a certificate and a key.
    pub rtmps: Option<SocketAddr>,
    /// Absolute; that of HTTPS where RTMPS has none of its own.
    pub rtmps_cert: Option<PathBuf>,
    /// Absolute; there is a certificate too.
    pub rtmps_key: Option<PathBuf>,
    /// `None`: the usual address, if it is free.
    pub metrics: Option<SocketAddr>,
    /// Without a slash at the end; `None`: made from the bound address.
    pub public_url: Option<String>,
    /// Without a slash at the end; `None`: made from the bound address.
    pub public_rtmp_url: Option<String>,
    /// Without a slash at the end; `None`: made from the bound address, if there is one.
    pub public_rtmps_url: Option<String>,
    /// Without a slash at the end; `None`: made from the bound address.
    pub advertise_http: Option<String>,
    /// Absolute; there is a key too.
    pub tls_cert: Option<PathBuf>,
    /// Absolute; there is a certificate too.
    pub tls_key: Option<PathBuf>,
    /// `None`: as many as the process can hold.
    pub http_connections: Option<u32>,
    /// 0: no limit.
    pub http_connections_per_address: u32,
    /// 5 to 600.
    pub http_unread_seconds: u32,
    /// `None`: our own Postgres.
    pub database_url: Option<SecretUrl>,
    /// `None`: our own NATS.
    pub nats_url: Option<SecretUrl>,
    /// Absolute.
    pub secrets_file: PathBuf,
    /// 1 s to an hour.
    pub reconnect_grace_seconds: u32,
    /// 10 s to a day.
    pub node_lost_after_seconds: u32,
    /// 200 to 2000.
    pub part_ms: u32,
    /// 0 to 240; 0: streams cannot be rewound.
    pub rewind_minutes: u32,
    /// 0 for no limit.
    pub recording_keep_days: u32,
    /// 0 for no limit.
    pub recording_max_gb: u32,
    /// 0 for no limit.
    pub recording_max_count: u32,
    /// 4 to 200; a process with all roles holds some forty more for what follows the log.
    pub database_connections: u32,
    /// 0 to 25: a request is given up after 30.
    pub read_after_write_seconds: u32,
    /// A filter of tracing-subscriber.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which smaller sizes are made of streams.
    pub ladder: Ladder,
    /// Where objects are kept; a table, too.
    pub storage: StorageConfig,
    /// Who may talk to Weir, from where and how often; a table, too.
    pub access: AccessConfig,
    /// How mails are sent; a table, too.
    pub mail: MailConfig,
    /// What is kept of people, and for how long; a table, too.
    pub privacy: PrivacyConfig,
    /// What the hash of a password costs; a table, too.
    pub passwords: PasswordConfig,
    /// The file that log lines also go to; a table, too.
    pub log_file: LogFileConfig,
}

/// An address that may hold a password; shown without it.
#[derive(Clone)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// With the password, for connecting.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return formatter.write_str("…") };
        let (host, parameters) = match rest.rsplit_once('@') {
            Some((_, host)) => (host, "…@"),
            None => (rest, ""),
        };
        // Parameters may hold a password too.
        write!(formatter, "{scheme}://{parameters}{}", host.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Settings {
    /// Adds what the file says and the defaults, and checks the lot.
    ///
    /// # Errors
    /// Names the setting that is wrong and what would do.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let data_dir = std::path::absolute(self.data_dir.as_deref().unwrap_or(Path::new(".weir")))
            .context("the data directory has no absolute path")?;
        let file = match &self.file {
            Some(path) => Self::read(path)?,
            None if data_dir.join("weir.toml").exists() => Self::read(&data_dir.join("weir.toml"))?,
            None => Self::default(),
        };
        let secrets_file = match self.secrets_file.or(file.secrets_file) {
            Some(path) => std::path::absolute(&path)
                .with_context(|| format!("the secrets file {} has no absolute path", path.display()))?,
            None => data_dir.join("secrets.toml"),
        };
        let (tls_cert, tls_key) = pair("tls", self.tls_cert.or(file.tls_cert), self.tls_key.or(file.tls_key))?;
        let rtmps = self.rtmps.or(file.rtmps);
        let of_rtmps = pair("rtmps", self.rtmps_cert.or(file.rtmps_cert), self.rtmps_key.or(file.rtmps_key))?;
        let (rtmps_cert, rtmps_key) = match of_rtmps {
            (None, None) => (tls_cert.clone(), tls_key.clone()),
            own => own,
        };
        if rtmps.is_some() && rtmps_cert.is_none() {
            bail!(
                "rtmps needs a certificate: name its files, in PEM, with rtmps_cert and rtmps_key, or with tls_cert and \
                 tls_key for HTTPS as well"
            );
        }
        let database_url = self.database_url.or(file.database_url);
        let nats_url = self.nats_url.or(file.nats_url);
        let reconnect_grace_seconds = within(
            "reconnect_grace_seconds",
            self.reconnect_grace_seconds.or(file.reconnect_grace_seconds).unwrap_or(60),
            (1, 3_600),
        )?;
        Ok(Config {
            http: self.http.or(file.http).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            rtmp: self.rtmp.or(file.rtmp).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 1935))),
            rtmps,
            rtmps_cert,
            rtmps_key,
            metrics: self.metrics.or(file.metrics),
            public_url: address("public_url", self.public_url.or(file.public_url), &["http", "https"])?,
            public_rtmp_url: address(
                "public_rtmp_url",
                self.public_rtmp_url.or(file.public_rtmp_url),
                &["rtmp", "rtmps"],
            )?,
            public_rtmps_url: address("public_rtmps_url", self.public_rtmps_url.or(file.public_rtmps_url), &["rtmps"])?,
            // Plain: within the network of the nodes.
            advertise_http: address("advertise_http", self.advertise_http.or(file.advertise_http), &["http"])?,
            tls_cert,
            tls_key,
            http_connections: self.http_connections.or(file.http_connections).filter(|most| *most > 0),
            http_connections_per_address: self
                .http_connections_per_address
                .or(file.http_connections_per_address)
                .unwrap_or(1_024),
            http_unread_seconds: within(
                "http_unread_seconds",
                self.http_unread_seconds.or(file.http_unread_seconds).unwrap_or(30),
                (5, 600),
            )?,
            database_url: address("database_url", database_url, &["postgres", "postgresql"])?.map(SecretUrl),
            nats_url: address("nats_url", nats_url, &["nats", "tls"])?.map(SecretUrl),
            node_lost_after_seconds: within(
                "node_lost_after_seconds",
                // A node that starts again gives its streams that long from then on.
                self.node_lost_after_seconds.or(file.node_lost_after_seconds).unwrap_or(reconnect_grace_seconds + 60),
                (10, 86_400),
            )?,
            reconnect_grace_seconds,
            part_ms: within("part_ms", self.part_ms.or(file.part_ms).unwrap_or(333), (200, 2_000))?,
            rewind_minutes: within(
                "rewind_minutes",
                self.rewind_minutes.or(file.rewind_minutes).unwrap_or(30),
                (0, 240),
            )?,
            recording_keep_days: within(
                "recording_keep_days",
                self.recording_keep_days.or(file.recording_keep_days).unwrap_or(90),
                (0, 36_500),
            )?,
            recording_max_gb: within(
                "recording_max_gb",
                self.recording_max_gb.or(file.recording_max_gb).unwrap_or(100),
                (0, 1_000_000),
            )?,
            recording_max_count: within(
                "recording_max_count",
                self.recording_max_count.or(file.recording_max_count).unwrap_or(500),
                (0, 1_000_000),
            )?,
            database_connections: within(
                "database_connections",
                self.database_connections.or(file.database_connections).unwrap_or(16),
                (4, 200),
            )?,
            read_after_write_seconds: within(
                "read_after_write_seconds",
                self.read_after_write_seconds.or(file.read_after_write_seconds).unwrap_or(2),
                (0, 25),
            )?,
            log: self.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.or(file.log_format).unwrap_or(LogFormat::Human),
            ladder: self.ladder.resolve(file.ladder)?,
            storage: self.storage.resolve(file.storage)?,
            access: self.access.resolve(file.access)?,
            mail: self.mail.resolve(file.mail)?,
            privacy: self.privacy.resolve(file.privacy)?,
            passwords: self.passwords.resolve(file.passwords)?,
            log_file: self.log_file.resolve(file.log_file)?,
            data_dir,
            secrets_file,
        })
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the settings file {} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("the settings file {} is not right", path.display()))
    }
}

impl Config {
    /// How long a stream waits for its lost encoder.
    pub fn reconnect_grace(&self) -> Duration {
        Duration::from_secs(self.reconnect_grace_seconds.into())
    }

    /// How long nothing may be heard of a node before its streams are ended.
    pub fn node_lost_after(&self) -> Duration {
        Duration::from_secs(self.node_lost_after_seconds.into())
    }

    /// How long the answer to a change waits until the change can be read.
    pub fn read_after_write(&self) -> Duration {
        Duration::from_secs(self.read_after_write_seconds.into())
    }

    /// How much of a channel's recordings is kept.
    pub fn recording_limits(&self) -> RecordingLimits {
        let limit = |number: u32| (number > 0).then_some(number);
        RecordingLimits {
            keep_days: limit(self.recording_keep_days),
            max_size_bytes: limit(self.recording_max_gb).map(|gigabytes| i64::from(gigabytes) * 1_000_000_000),
            max_count: limit(self.recording_max_count),
        }
    }

    /// What browsers are told, given where HTTP is really served.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        self.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(bound)))
    }

    /// Where other nodes find this one's streams, given where HTTP is really served.
    ///
    /// # Errors
    /// When only HTTPS is served, which nodes do not speak among each other.
    pub fn advertise_http(&self, bound: SocketAddr) -> anyhow::Result<String> {
        match &self.advertise_http {
            Some(url) => Ok(url.clone()),
            None if self.tls_cert.is_some() => bail!(
                "other nodes reach this one by plain HTTP: serve HTTPS from a node without the role ingest, or say \
                 by which http:// address this one is reached with --advertise-http"
            ),
            None => Ok(format!("http://{}", reachable(bound))),
        }
    }

    /// What streamers are told, given where RTMP is really served.
    pub fn public_rtmp_url(&self, bound: SocketAddr) -> String {
        self.public_rtmp_url.clone().unwrap_or_else(|| format!("rtmp://{}/live", reachable(bound)))
    }

    /// What streamers are told of RTMPS, given where it is really served; `None` where it is nowhere.
    pub fn public_rtmps_url(&self, bound: Option<SocketAddr>) -> Option<String> {
        let made = || bound.map(|bound| format!("rtmps://{}/live", reachable(bound)));
        self.public_rtmps_url.clone().or_else(made)
    }
}

/// The address of a listener as this machine can open it: one that listens everywhere is found on loopback.
fn reachable(bound: SocketAddr) -> SocketAddr {
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}

fn address(name: &str, value: Option<String>, schemes: &[&str]) -> anyhow::Result<Option<String>> {
    let Some(value) = value else { return Ok(None) };
    match value.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) && !rest.is_empty() => {
            Ok(Some(value.trim_end_matches('/').to_owned()))
        }
        _ => bail!("{name} must be an address that begins with {}://", schemes.join(":// or ")),
    }
}

/// A certificate and its key with absolute paths, or neither; `of` is what their settings' names begin with.
fn pair(
    of: &str,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> anyhow::Result<(Option<PathBuf>, Option<PathBuf>)> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).with_context(|| format!("the file {} has no absolute path", path.display()))
    };
    match (certificate, key) {
        (None, None) => Ok((None, None)),
        (Some(certificate), Some(key)) => Ok((Some(absolute(certificate)?), Some(absolute(key)?))),
        (Some(_), None) => bail!("{of}_cert needs {of}_key, the private key of that certificate"),
        (None, Some(_)) => bail!("{of}_key needs {of}_cert, the certificate of that key"),
    }
}

fn within(name: &str, value: u32, (least, most): (u32, u32)) -> anyhow::Result<u32> {
    if (least..=most).contains(&value) { Ok(value) } else { bail!("{name} is {value}; it must be {least} to {most}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> anyhow::Result<Config> {
        toml::from_str::<Settings>(text)?.resolve()
    }

    #[test]
    fn defaults_run_locally() {
        let config = settings("").unwrap();
        assert_eq!(config.http.to_string(), "127.0.0.1:8080");
        assert_eq!(config.public_url(config.http), "http://127.0.0.1:8080");
        assert_eq!(config.public_rtmp_url("0.0.0.0:1936".parse().unwrap()), "rtmp://127.0.0.1:1936/live");
        assert!(config.data_dir.is_absolute());
    }

    #[test]
    fn rtmps_takes_the_certificate_of_https_or_its_own() {
        let https = "rtmps = \"127.0.0.1:1936\"\ntls_cert = \"/a.pem\"\ntls_key = \"/b.pem\"\n";
        let config = settings(https).unwrap();
        assert_eq!(config.rtmps_cert.as_deref(), Some(Path::new("/a.pem")));
        assert_eq!(config.public_rtmps_url(config.rtmps).as_deref(), Some("rtmps://127.0.0.1:1936/live"));
        let config = settings(&format!("{https}rtmps_cert = \"/c.pem\"\nrtmps_key = \"/d.pem\"")).unwrap();
        assert_eq!(config.rtmps_key.as_deref(), Some(Path::new("/d.pem")));
        assert_eq!(config.tls_key.as_deref(), Some(Path::new("/b.pem")));
        // A node that only tells the address needs no certificate.
        let config = settings("public_rtmps_url = \"rtmps://live.example.org/live/\"").unwrap();
        assert_eq!(config.public_rtmps_url(None).as_deref(), Some("rtmps://live.example.org/live"));
        assert_eq!(settings("").unwrap().public_rtmps_url(None), None);
    }

    #[test]
    fn refuses_what_it_does_not_know_or_cannot_use() {
        for (text, expected) in [
            ("htpp = \"127.0.0.1:1\"", "unknown field"),
            ("http = \"nowhere\"", "socket address"),
            ("public_url = \"example.org\"", "public_url must be an address that begins with http:// or https://"),
            ("part_ms = 10", "part_ms is 10; it must be 200 to 2000"),
            ("rewind_minutes = 300", "rewind_minutes is 300; it must be 0 to 240"),
            ("database_url = \"mysql://x\"", "begins with postgres://"),
            ("tls_cert = \"a.pem\"", "tls_cert needs tls_key"),
            ("rtmps_key = \"a.pem\"", "rtmps_key needs rtmps_cert"),
            ("rtmps = \"127.0.0.1:1936\"", "rtmps needs a certificate"),
            ("public_rtmps_url = \"rtmp://a\"", "public_rtmps_url must be an address that begins with rtmps://"),
            ("advertise_http = \"https://a\"", "advertise_http must be an address that begins with http://"),
            ("http_unread_seconds = 1", "http_unread_seconds is 1; it must be 5 to 600"),
            ("read_after_write_seconds = 30", "read_after_write_seconds is 30; it must be 0 to 25"),
        ] {
            let error = format!("{:#}", settings(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn shows_no_password() {
        let config = settings(
            "database_url = \"postgres://weir:hunter2@db/weir?password=hunter2\"\nnats_url = \"nats://hunter2@n:4222\"",
        )
        .unwrap();
        assert_eq!(config.database_url.as_ref().unwrap().expose(), "postgres://weir:hunter2@db/weir?password=hunter2");
        let shown = toml::to_string(&config).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("postgres://…@db/weir"), "{shown}");
    }

    #[test]
    fn help_shows_no_address_that_may_hold_a_password() {
        let command = Settings::augment_args(clap::Command::new("weir"));
        for name in ["database_url", "nats_url"] {
            let argument = command.get_arguments().find(|argument| argument.get_id() == name).unwrap();
            assert!(argument.is_hide_env_values_set(), "{name}");
        }
    }
}
