use std::{
    net::IpAddr,
    sync::{Arc, Once},
    time::Duration,
};

use axum::http::HeaderMap;
use bytes::Bytes;
use commands::Commands;
use domain::recordings::RecordingLimits;
use projections::{Projection, ReadModels};
use storage::Storage;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    access::AccessOptions,
    access_token::{AccessTokenKey, AccessTokens},
    accounts::failed_sign_ins::FailedSignIns,
    addresses::Addresses,
    client_address::ClientAddress,
    ended::Ended,
    events::{self, Catalogue, FeedOptions, Follower, Places},
    limits,
    ports::{LiveStreams, PlaybackTokens, Publishers, Readiness},
    web_app::WebApp,
};

/// How many pages may wait for the end of their session, of one account and in all.
const SESSION_WATCHES_PER_ACCOUNT: usize = 32;
const SESSION_WATCHES: usize = 20_000;

/// How many subscribers may read what is past at once: each takes a connection of the database while it reads.
const READING_PAST: usize = 4;

/// What the API is made from.
#[derive(Clone)]
pub struct Api {
    /// The write side.
    pub commands: Commands,
    /// The read side.
    pub read: ReadModels,
    /// The media plane's view of encoders.
    pub live: Arc<dyn LiveStreams>,
    /// How encoders are cut.
    pub publishers: Arc<dyn Publishers>,
    /// What makes addresses that only some may play.
    pub playback_tokens: Arc<dyn PlaybackTokens>,
    /// Whether the server has what it needs.
    pub readiness: Arc<dyn Readiness>,
    /// What signs access tokens.
    pub access_token_key: AccessTokenKey,
    /// The address that browsers use, `https://weir.example.org` for example. It decides the refresh cookie's name, what
    /// `Origin` is ours, and every address in an answer.
    pub public_url: String,
    /// The address that encoders use, `rtmp://weir.example.org:1935` for example.
    pub public_rtmp_url: String,
    /// The same for encoders that speak TLS, `rtmps://weir.example.org:1936` for example; `None` where there is none.
    pub public_rtmps_url: Option<String>,
    /// Where the files of exports are.
    pub storage: Storage,
    /// How much of a channel's recordings is kept at most.
    pub recording_limits: RecordingLimits,
    /// How long a stream waits for its lost encoder.
    pub reconnect_grace_seconds: u32,
    /// How long an account that asks to be erased can still be kept; zero: it is erased at once.
    pub erasure_after: Duration,
    /// How long the answer to a command waits until what it did can be read; after that it is 202.
    pub read_after_write: Duration,
    /// What readers of the event feed may take.
    pub feed: FeedOptions,
    /// Who may talk to it, from where and how often.
    pub access: AccessOptions,
    /// When the process stops, long answers end.
    pub stopping: CancellationToken,
}

/// What handlers share.
pub(crate) struct Server {
    pub(crate) commands: Commands,
    pub(crate) read: ReadModels,
    pub(crate) live: Arc<dyn LiveStreams>,
    pub(crate) publishers: Arc<dyn Publishers>,
    pub(crate) playback_tokens: Arc<dyn PlaybackTokens>,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) tokens: AccessTokens,
    pub(crate) addresses: Addresses,
    /// Which sessions and personal tokens are over.
    pub(crate) ended: Arc<Ended>,
    pub(crate) access: AccessOptions,
    proxy_warning: Once,
    pub(crate) web_app: WebApp,
    pub(crate) storage: Storage,
    pub(crate) recording_limits: RecordingLimits,
    pub(crate) reconnect_grace_seconds: u32,
    pub(crate) erasure_after: Duration,
    read_after_write: Duration,
    pub(crate) failed_sign_ins: FailedSignIns,
    /// The OpenAPI document, as it is sent.
    pub(crate) document: Bytes,
    pub(crate) catalogue: Catalogue,
    pub(crate) feed: FeedOptions,
    /// For long answers of the feed.
    pub(crate) transfers: Arc<Places>,
    pub(crate) subscriptions: Arc<Places>,
    /// For pages that wait for the end of their session.
    pub(crate) session_watches: Arc<Places>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) reading_past: Semaphore,
    pub(crate) stopping: CancellationToken,
}

impl Server {
    pub(crate) fn new(api: Api, web_app: WebApp) -> Self {
        let addresses = Addresses::new(&api.public_url, &api.public_rtmp_url, api.public_rtmps_url.as_deref());
        let feed = api.feed;
        events::tell_metrics();
        limits::tell_metrics();
        Self {
            catalogue: Catalogue::new(&addresses),
            transfers: Places::new(feed.transfers_per_account, feed.transfers),
            subscriptions: Places::new(feed.subscriptions_per_account, feed.subscriptions),
            session_watches: Places::new(SESSION_WATCHES_PER_ACCOUNT, SESSION_WATCHES),
            follower: Follower::new(api.commands.clone(), api.stopping.clone()),
            reading_past: Semaphore::new(READING_PAST),
            ended: Ended::follow(api.commands.clone(), api.stopping.clone()),
            failed_sign_ins: FailedSignIns::start(api.commands.clone(), api.stopping.clone()),
            erasure_after: api.erasure_after,
            read_after_write: api.read_after_write,
            stopping: api.stopping,
            feed,
            access: api.access,
            proxy_warning: Once::new(),
            storage: api.storage,
            recording_limits: api.recording_limits,
            reconnect_grace_seconds: api.reconnect_grace_seconds,
            commands: api.commands,
            read: api.read,
            live: api.live,
            publishers: api.publishers,
            playback_tokens: api.playback_tokens,
            readiness: api.readiness,
            tokens: AccessTokens::new(&api.access_token_key, addresses.public_url()),
            addresses,
            web_app,
            document: crate::openapi().to_json().expect("the document is JSON").into(),
        }
    }

    /// Whether these read models, from which the answer is made, have the event at `position`; waits for it for as long as the
    /// answer may. One that stands still keeps nobody waiting who does not ask it.
    pub(crate) async fn has_read(&self, models: &[&dyn Projection], position: i64) -> bool {
        self.read.wait_for_some(models, position, self.read_after_write).await
    }

    /// Has this node know what has just ended, before anybody is told that it has. Where the log does not answer, it is asked
    /// for each call anyway.
    pub(crate) async fn know_ended(&self) {
        if let Err(error) = self.ended.look().await {
            tracing::debug!(error = &*error as &(dyn std::error::Error + 'static), "the log could not be looked at");
        }
    }

    /// Says once that a proxy stands in front which nobody named, or not by the address from which it comes: all who come through it
    /// share one limit. `client` is whom the connection is with.
    pub(crate) fn warn_of_untrusted_proxy(&self, client: ClientAddress, headers: &HeaderMap) {
        let is_local = client.0.is_some_and(|address| match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
        });
        if self.access.rate_limits.is_some() && is_local && headers.contains_key("x-forwarded-for") {
            self.proxy_warning.call_once(|| {
                tracing::warn!(
                    proxy = client.0.map(tracing::field::display),
                    "requests come through a proxy that is not trusted, so that all who use it share one rate limit; name it \
                     with --trusted-proxies"
                );
            });
        }
    }
}
