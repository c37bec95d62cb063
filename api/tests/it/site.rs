//! A Weir of a test's own, and how tests talk to it: every answer is held against the OpenAPI document.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    AccessOptions, AccessTokenKey, Api, BoxFuture, Check, FeedOptions, IngestStatus, LiveStreams, PlaybackPass,
    PlaybackTokens, PortUnavailable, Publishers, Readiness, WebApp,
};
use bytes::Bytes;
use commands::{
    Actor, Commands, CommandsOptions, MasterKeys, Metadata,
    setup::{self, SetupToken},
    streams::StartStream,
};
use domain::{
    channels::ChannelClosedReason,
    ids::{ChannelId, NodeId, StreamId},
    streams::{AudioTrack, EndReason, VideoTrack},
};
use projections::{Projections, ReadModels};
use reqwest::{
    Method, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap, SET_COOKIE},
};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use storage::Storage;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::contract;

pub(crate) const PASSWORD: &str = "a river runs uphill";

/// How long is waited for what comes in a moment, unless the machine is very busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a test may change about its Weir.
pub(crate) struct Options {
    pub(crate) public_url: &'static str,
    pub(crate) web_app: Vec<(&'static str, &'static str)>,
    pub(crate) feed: FeedOptions,
    pub(crate) commands: CommandsOptions,
    pub(crate) access: AccessOptions,
    pub(crate) erasure_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            public_url: "http://weir.test",
            web_app: Vec::new(),
            feed: FeedOptions::default(),
            commands: CommandsOptions::default(),
            access: AccessOptions::default(),
            erasure_after: Duration::ZERO,
        }
    }
}

/// A running Weir.
pub(crate) struct Site {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) commands: Commands,
    pub(crate) read: ReadModels,
    pub(crate) media: Arc<Media>,
    pub(crate) storage: Storage,
    pub(crate) http: reqwest::Client,
    api: Api,
    _objects: tempfile::TempDir,
    projections: Projections,
    projecting: CancellationToken,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let database = embedded::testing::database().await;
        commands::migrate(&database.url).await.unwrap();
        projections::migrate(&database.url).await.unwrap();
        let pool =
            PgPoolOptions::new().max_connections(8).acquire_timeout(PATIENCE).connect(&database.url).await.unwrap();
        let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        let commands = Commands::start(pool.clone(), keys, options.commands).await.unwrap();
        let stop = CancellationToken::new();
        let projecting = stop.child_token();
        let projections = Projections::start(pool.clone(), None, commands.keyring(), projecting.clone());
        let read = projections.read_models();
        let media = Arc::new(Media::default());
        let objects = tempfile::tempdir_in(embedded::testing::temporary_folder()).unwrap();
        let storage = Storage::open_disk(objects.path()).await.unwrap();
        let api = Api {
            commands: commands.clone(),
            read: read.clone(),
            live: Arc::clone(&media) as Arc<dyn LiveStreams>,
            publishers: Arc::clone(&media) as Arc<dyn Publishers>,
            playback_tokens: Arc::clone(&media) as Arc<dyn PlaybackTokens>,
            readiness: Arc::clone(&media) as Arc<dyn Readiness>,
            access_token_key: AccessTokenKey::from_seed([3; 32]),
            public_url: options.public_url.to_owned(),
            public_rtmp_url: "rtmp://weir.test:1935".to_owned(),
            public_rtmps_url: Some("rtmps://weir.test:1936".to_owned()),
            storage: storage.clone(),
            recording_limits: domain::recordings::RecordingLimits { keep_days: Some(90), ..Default::default() },
            reconnect_grace_seconds: 60,
            erasure_after: options.erasure_after,
            // Nobody is told 202 because the machine is busy; a request is given up after 30 s.
            read_after_write: Duration::from_secs(25),
            feed: options.feed,
            access: options.access,
            stopping: stop.clone(),
        };
        let web_app = WebApp::from_files(
            options.web_app.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().into())),
        );
        let router = api::router_with(api.clone(), web_app);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>());
        tokio::spawn(serve.with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url, pool, commands, read, media, storage, http, api, _objects: objects, projections, projecting, stop }
    }

    /// Another node of the same install; where it is.
    pub(crate) async fn another_node(&self) -> String {
        self.another_node_with(self.api.clone()).await
    }

    /// As after a restart with another key of access tokens.
    pub(crate) async fn with_another_token_key(&self) -> String {
        self.another_node_with(Api { access_token_key: AccessTokenKey::from_seed([4; 32]), ..self.api.clone() }).await
    }

    async fn another_node_with(&self, api: Api) -> String {
        let router = api::router_with(api, WebApp::from_files([]));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>());
        tokio::spawn(serve.with_graceful_shutdown(self.stop.clone().cancelled_owned()).into_future());
        url
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::PATCH, path).json(body)
    }

    /// Sends a request and holds the answer against the document.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A subscription has no end.
        let is_endless = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"text/event-stream");
        let body = if is_endless { Bytes::new() } else { response.bytes().await.unwrap() };
        let answer = Answer { status, headers, body };
        contract::check(&method, &path, &answer);
        answer
    }

    /// Registers somebody, who is then signed in.
    pub(crate) async fn register(&self, username: &str) -> SignedIn {
        self.register_with(username, None).await
    }

    async fn register_with(&self, username: &str, setup_token: Option<&str>) -> SignedIn {
        let mut body = registration(username);
        if let Some(token) = setup_token {
            body["setup_token"] = token.into();
        }
        let answer = self.send(self.post("/api/v1/auth/register", &body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        SignedIn::from(&answer)
    }

    /// Registers the administrator.
    pub(crate) async fn administrator(&self) -> SignedIn {
        let token = self.setup_token().await;
        self.register_with("keeper", Some(&token)).await
    }

    pub(crate) async fn setup_token(&self) -> String {
        match setup::ensure_token(&self.commands).await.unwrap() {
            Some(SetupToken::New(token)) => token.as_str().to_owned(),
            other => panic!("no new set-up token: {other:?}"),
        }
    }

    /// Creates a channel and gives it as the API shows it.
    pub(crate) async fn channel(&self, owner: &SignedIn, handle: &str) -> Value {
        let body = json!({"handle": handle, "title": format!("The {handle}")});
        let answer = self.send(self.post("/api/v1/channels", &body).bearer_auth(&owner.token)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// Starts a stream as the media plane does.
    pub(crate) async fn start_stream(&self, channel: &Value) -> StreamId {
        let stream_id = StreamId::from(Uuid::now_v7());
        let start = StartStream {
            stream_id,
            channel_id: id(channel),
            node_id: node(),
            title: channel["title"].as_str().unwrap().to_owned(),
            video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }),
            audio: Some(AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }),
            encoder: domain::streams::EncoderName::from_sent("Lavf61.1.100"),
        };
        let position = commands::streams::start(&self.commands, start).await.unwrap();
        self.readable(position).await;
        stream_id
    }

    /// Ends a stream as the media plane does.
    pub(crate) async fn end_stream(&self, stream_id: StreamId) {
        let position = commands::streams::end(&self.commands, stream_id, node(), EndReason::Unpublished).await.unwrap();
        self.readable(position).await;
    }

    pub(crate) async fn readable(&self, position: i64) {
        assert!(self.read.wait_for(position, PATIENCE).await, "the read models stand still");
    }

    /// Waits until the read models have all that is in the log: an answer waits for those that it is made from, and for no others.
    pub(crate) async fn caught_up(&self) {
        let head = commands::events::head(&self.pool).await.unwrap();
        self.readable(head).await;
    }

    /// Signs somebody in once more, who is registered.
    pub(crate) async fn sign_in(&self, username: &str) -> SignedIn {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.send(self.post("/api/v1/auth/login", &body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        SignedIn::from(&answer)
    }

    /// Closes a channel for good, as erasing its owner does.
    pub(crate) async fn close(&self, channel: &Value) {
        let (reason, metadata) = (ChannelClosedReason::Owner, Metadata::new(Actor::System));
        let closed = commands::channels::close(&self.commands, id(channel), None, reason, metadata).await;
        self.readable(closed.unwrap()).await;
    }

    /// Forgets somebody.
    pub(crate) async fn erase(&self, who: &SignedIn) {
        let account_id = who.account["id"].as_str().unwrap().parse().unwrap();
        let erase = commands::accounts::Erase {
            account_id,
            by: Some(account_id),
            even_administrator: false,
            metadata: Metadata::new(Actor::Account(account_id)),
        };
        commands::accounts::erase(&self.commands, erase).await.unwrap();
    }

    /// Stops as a process does that is told to.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the log knows of `count` long answers of the feed that have begun.
    pub(crate) async fn transfers_under_way(&self, count: i64) {
        let look = async {
            loop {
                let begun: i64 =
                    sqlx::query_scalar("select count(*) from log.events where event_type = 'export.requested'")
                        .fetch_one(&self.pool)
                        .await
                        .unwrap();
                if begun >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("no transfer begins");
    }

    /// Makes the read models stand still, and goes on with another node, which does not wait for them.
    pub(crate) async fn stop_projecting(mut self) -> Self {
        self.projecting.cancel();
        self.projections.ended().await;
        self.url = self.another_node_with(Api { read_after_write: Duration::ZERO, ..self.api.clone() }).await;
        self
    }

    /// Takes Postgres away from this Weir, for good.
    pub(crate) async fn lose_postgres(&self) {
        self.pool.close().await;
    }
}

/// What `ask` finds while the hour of the clock does not turn: for as long the addresses that have a token stay the same.
pub(crate) async fn within_an_hour<T>(ask: impl AsyncFn() -> T) -> T {
    let hour = || time::OffsetDateTime::now_utc().unix_timestamp() / 3_600;
    loop {
        let begun = hour();
        let found = ask().await;
        if hour() == begun {
            return found;
        }
    }
}

pub(crate) fn node() -> NodeId {
    NodeId::from(Uuid::from_u128(7))
}

pub(crate) fn id(channel: &Value) -> ChannelId {
    channel["id"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn registration(username: &str) -> Value {
    json!({"username": username, "email": format!("{username}@example.org"), "password": PASSWORD})
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no problem: {}", self.text())).to_owned()
    }

    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        (self.status, self.code())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn kind(&self) -> &str {
        self.header(CONTENT_TYPE.as_str())
    }

    pub(crate) fn set_cookie(&self) -> &str {
        self.header(SET_COOKIE.as_str())
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) account: Value,
    pub(crate) token: String,
    /// `name=value`, as a browser sends it back.
    pub(crate) cookie: String,
}

impl From<&Answer> for SignedIn {
    fn from(answer: &Answer) -> Self {
        let body = answer.json();
        Self {
            account: body["account"].clone(),
            token: body["access_token"].as_str().unwrap().to_owned(),
            cookie: answer.set_cookie().split(';').next().unwrap().to_owned(),
        }
    }
}

/// The media plane and the readiness, as a test says.
#[derive(Default)]
pub(crate) struct Media {
    pub(crate) status: Mutex<Option<IngestStatus>>,
    pub(crate) is_away: Mutex<bool>,
    pub(crate) cut: Mutex<Vec<ChannelId>>,
    pub(crate) failing: Mutex<Vec<Check>>,
    pub(crate) readiness: Mutex<Behaviour>,
    /// Told when somebody looks at the readiness and will hang.
    pub(crate) hanging: tokio::sync::Notify,
}

/// What looking at the readiness does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Behaviour {
    #[default]
    Answer,
    Panic,
    Hang,
}

impl Media {
    fn answer<T>(&self, value: T) -> Result<T, PortUnavailable> {
        if *self.is_away.lock().unwrap() { Err(PortUnavailable) } else { Ok(value) }
    }
}

/// What it says can be read; the real ones are tested where they are made.
impl PlaybackTokens for Media {
    fn mint_recording(&self, pass: &api::RecordingPass) -> String {
        let session = pass.session_id.map_or("anybody".to_owned(), |id| id.to_string());
        let what = if pass.is_download { "download" } else { "play" };
        let (id, version) = (pass.recording_id, pass.channel_version);
        format!("{what}_{id}_{version}_{}_{session}", pass.expires_at.unix_timestamp())
    }

    fn mint(&self, pass: &PlaybackPass) -> String {
        let session = pass.session_id.map_or("anybody".to_owned(), |id| id.to_string());
        format!("{}_{}_{}_{session}", pass.channel_id, pass.version, pass.expires_at.unix_timestamp())
    }
}

impl LiveStreams for Media {
    fn status(&self, _: ChannelId) -> BoxFuture<'_, Result<IngestStatus, PortUnavailable>> {
        let status = self.status.lock().unwrap().clone().unwrap_or_default();
        Box::pin(async move { self.answer(status) })
    }
}

impl Publishers for Media {
    fn cut(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<(), PortUnavailable>> {
        self.cut.lock().unwrap().push(channel_id);
        Box::pin(async move { self.answer(()) })
    }
}

impl Readiness for Media {
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let behaviour = *self.readiness.lock().unwrap();
            match behaviour {
                Behaviour::Answer => {}
                Behaviour::Panic => panic!("the secret of the readiness"),
                Behaviour::Hang => {
                    self.hanging.notify_one();
                    std::future::pending::<()>().await;
                }
            }
            let mut checks = vec![Check { name: "postgres", ok: true, detail: "answers".to_owned() }];
            checks.extend(self.failing.lock().unwrap().iter().cloned());
            checks
        })
    }
}
