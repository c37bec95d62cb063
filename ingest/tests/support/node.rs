//! A node with one broadcast, served over HTTP, which counts what it is asked.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
    middleware::{self, Next},
    response::Response,
};
use bytes::Bytes;
use domain::{
    channels::Visibility,
    ids::{ChannelId, RecordingId, SessionId, StreamId},
    recordings::RecordingVisibility,
};
use futures::{FutureExt, future::BoxFuture};
use ingest::{
    RecordError, RecordingAccess, RecordingRights, RecordingUse,
    edge::{Edge, EdgeConfig},
    origin::{self, Broadcasts, recordings},
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag},
    rewind::{Rewind, RewindConfig},
    rights::{
        Bearer, Change, ChannelRights, KnownRecording, Pass, PlaybackKeys, RecordingDecision, RecordingTerms, Rights,
    },
    thumbnails::Picture,
};
use storage::{Key, Storage};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use uuid::Uuid;

use crate::flv;

/// Longer than anything takes on a busy machine, also when that stands still in between.
pub const LONG: Duration = Duration::from_secs(120);

pub static SOURCE: LazyLock<Vec<Tag>> = LazyLock::new(|| {
    flv::encode(
        "-f lavfi -i testsrc2=size=160x90:rate=30:duration=30 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=30 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -bf 2 -c:a aac -ac 2",
    )
});

pub fn until(milliseconds: u32) -> usize {
    SOURCE.iter().position(|tag| tag.timestamp_ms >= milliseconds).unwrap_or(SOURCE.len())
}

/// Decides of one recording as a node does, by terms that never change in its read model.
#[derive(Clone)]
pub struct Door {
    pub rights: Rights,
    pub terms: RecordingTerms,
}

impl Door {
    /// To a recording that everybody finds who may watch the channel.
    pub fn new(rights: Rights, channel_id: ChannelId) -> Self {
        let terms = RecordingTerms {
            recording_id: RecordingId::from(Uuid::now_v7()),
            channel_id,
            visibility: RecordingVisibility::Published,
            is_download_allowed: false,
            is_deleted: false,
            version: 2,
        };
        Self { rights, terms }
    }
}

impl RecordingRights for Door {
    fn allows<'a>(
        &'a self,
        recording_id: RecordingId,
        wanted: RecordingUse,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<RecordingAccess, RecordError>> {
        let decided = match recording_id == self.terms.recording_id {
            true => self.rights.decide_recording(self.terms, wanted, token),
            false => RecordingDecision::Unknown,
        };
        let access = match decided {
            RecordingDecision::Unknown => RecordingAccess::Unknown,
            RecordingDecision::Refused => RecordingAccess::Refused,
            RecordingDecision::Granted { is_public } => {
                RecordingAccess::Granted { is_public, file_name: "harbour".to_owned() }
            }
        };
        async move { Ok(access) }.boxed()
    }

    fn lost(&self, _: RecordingId, wanted: RecordingUse, token: Option<String>) -> BoxFuture<'static, ()> {
        let (rights, terms) = (self.rights.clone(), self.terms);
        async move { rights.recording_lost(terms, wanted, token.as_deref()).await }.boxed()
    }

    fn known<'a>(
        &'a self,
        recording_id: RecordingId,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<KnownRecording>, RecordError>> {
        let is_known = self.rights.is_edge(token) && recording_id == self.terms.recording_id;
        let terms = self.rights.newest(self.terms);
        let channel = self.rights.of_channel(terms.channel_id);
        async move { Ok((is_known && !terms.is_deleted).then_some(KnownRecording { terms, channel })) }.boxed()
    }
}

/// A node with one broadcast and one recording, which it serves over HTTP and counts what it is asked.
pub struct Origin {
    pub broadcast: Arc<Broadcast>,
    pub broadcasts: Broadcasts,
    /// Of the channel's recording: the first segments of the broadcast, and pictures. It may be downloaded.
    pub recording: RecordingTerms,
    storage: Storage,
    packager: Packager,
    pushed: usize,
    pub channel_id: ChannelId,
    pub rights: Rights,
    pub router: Router,
    /// Without being counted.
    pub straight: Router,
    pub asked: Arc<Mutex<HashMap<String, usize>>>,
    pub address: SocketAddr,
    server: Option<Runtime>,
    /// Keeps its address from others while it does not serve.
    place: Option<TcpSocket>,
    _folder: tempfile::TempDir,
}

pub fn keys() -> PlaybackKeys {
    PlaybackKeys::new([7; 32], [])
}

impl Origin {
    /// With its first five seconds in.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path().join("objects")).await.unwrap();
        let rights = Rights::new(keys());
        rights.complete();
        let rewind = RewindConfig { folder: folder.path().join("rewind"), window: Duration::from_secs(600) };
        let rewind = Rewind::open(rewind).await.unwrap();
        let broadcasts = Broadcasts::new(rights.clone()).with_rewind(rewind);
        let stream_id = StreamId::from(Uuid::now_v7());
        let broadcast = Broadcast::new(
            stream_id,
            PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() },
            FirstNumbers::default(),
        );
        let channel_id = ChannelId::from(Uuid::now_v7());
        broadcasts.publish(channel_id, Arc::clone(&broadcast));
        let mut door = Door::new(rights.clone(), channel_id);
        door.terms.is_download_allowed = true;
        let recording = door.terms;
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let count = Arc::clone(&asked);
        let counting = middleware::from_fn(move |request: Request<Body>, next: Next| {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            *count.lock().unwrap().entry(path).or_default() += 1;
            next.run(request)
        });
        let straight = Router::new()
            .nest_service("/live", origin::service(broadcasts.clone(), storage.clone()))
            .nest("/vod", recordings::router(storage.clone(), Arc::new(door)));
        let router = straight.clone().layer(counting);
        let mut origin = Self {
            packager: Packager::new(Arc::clone(&broadcast)),
            broadcast,
            broadcasts,
            recording,
            storage,
            pushed: 0,
            channel_id,
            rights,
            router,
            straight,
            asked,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: None,
            place: None,
            _folder: folder,
        };
        origin.push_until(5_100);
        origin.keep().await;
        origin.serve().await;
        origin
    }

    /// Stores what there is as a recording, and pictures of the stream.
    async fn keep(&self) {
        let put = async |key: String, bytes: Bytes| self.storage.put(&Key::new(key).unwrap(), bytes).await.unwrap();
        let folder = format!("recordings/{}", self.recording.recording_id);
        let mut index = String::new();
        for (name, number) in [("init0.mp4", 0), ("s0.m4s", 0_u64), ("s1.m4s", 1)] {
            let (status, _, bytes) =
                get(&self.straight, &format!("/live{}", self.path(&format!("source/{name}")))).await;
            assert_eq!(status, StatusCode::OK, "{name}");
            let line = match name.starts_with("init") {
                true => serde_json::json!({ "init": {
                    "number": 0, "size_bytes": bytes.len(), "codecs": "avc1.42c00c,mp4a.40.2", "width": 160, "height": 90,
                    "frame_rate": 30.0,
                } }),
                false => serde_json::json!({ "segment": {
                    "number": number, "duration_ms": 2_000, "size_bytes": bytes.len(), "init": 0,
                    "is_after_discontinuity": false, "is_gap": false, "starts_at": "2026-11-21T20:00:00Z",
                    "key_frame_bytes": 0, "decode_time": number * 180_000,
                } }),
            };
            index += &format!("{line}\n");
            put(format!("{folder}/source/{name}"), bytes).await;
        }
        put(format!("{folder}/source/index/000000.jsonl"), index.into()).await;
        for name in ["thumbnail.jpg", "sheets/index.vtt", "sheets/0.jpg"] {
            put(format!("{folder}/{name}"), Bytes::from_static(b"a picture of it")).await;
        }
        for picture in Picture::ALL {
            let key = picture.key(self.broadcast.stream_id()).unwrap();
            self.storage.put(&key, Bytes::from_static(b"a picture of it")).await.unwrap();
        }
    }

    /// Stores a segment of the recording that is as long as is wanted, which no playlist names.
    pub async fn keep_segment(&self, number: u64, size_bytes: usize) {
        let key = format!("recordings/{}/source/s{number}.m4s", self.recording.recording_id);
        self.storage.put(&Key::new(key).unwrap(), Bytes::from(vec![7; size_bytes])).await.unwrap();
    }

    pub fn push_until(&mut self, milliseconds: u32) {
        let end = until(milliseconds);
        for tag in &SOURCE[self.pushed..end] {
            self.packager.push(tag.clone()).unwrap();
        }
        self.pushed = end;
    }

    /// Pushes what comes after `from_ms` as an encoder would, for so long.
    pub async fn push_in_real_time(&mut self, from_ms: u32, length: Duration) {
        let began = tokio::time::Instant::now();
        let end = from_ms + u32::try_from(length.as_millis()).unwrap();
        while self.pushed < SOURCE.len() && SOURCE[self.pushed].timestamp_ms < end {
            let due = SOURCE[self.pushed].timestamp_ms.saturating_sub(from_ms);
            tokio::time::sleep_until(began + Duration::from_millis(due.into())).await;
            self.packager.push(SOURCE[self.pushed].clone()).unwrap();
            self.pushed += 1;
        }
    }

    /// In threads of its own, which can be ended with all its connections.
    pub async fn serve(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (address, router) = (self.address, self.router.clone());
        let bound = runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
            address
        });
        self.address = bound.await.unwrap();
        (self.server, self.place) = (Some(runtime), None);
    }

    /// Nothing of it answers any more.
    pub async fn stop(&mut self) {
        let server = self.server.take().unwrap();
        tokio::task::spawn_blocking(move || server.shutdown_timeout(LONG)).await.unwrap();
        let place = TcpSocket::new_v4().unwrap();
        place.set_reuseaddr(true).unwrap();
        place.bind(self.address).unwrap();
        self.place = Some(place);
    }

    pub fn edge(&self) -> Edge {
        self.edge_with(|_| {})
    }

    pub fn edge_with(&self, change: impl FnOnce(&mut EdgeConfig)) -> Edge {
        let mut config = EdgeConfig::new(vec![format!("http://{}", self.address)], keys());
        change(&mut config);
        Edge::start(config, CancellationToken::new())
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.broadcast.stream_id())
    }

    pub fn restrict(&self, visibility: Visibility, version: i64) {
        let rights = ChannelRights { channel_id: self.channel_id, visibility, version, is_closed: false };
        self.rights.learn(Change::Channel(rights));
    }

    pub fn end(&self, session_id: SessionId) {
        self.rights.learn(Change::Session { session_id, until_s: now_s() + 60 });
    }

    /// How often it was asked for what `is_it` says.
    pub fn asked(&self, is_it: impl Fn(&str) -> bool) -> HashMap<String, usize> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(path, _)| is_it(path)).map(|(path, count)| (path.clone(), *count)).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub fn token(bearer: Bearer, version: i64, seconds: u64) -> String {
    keys().mint(&Pass { bearer, version, expires_at_s: now_s() + seconds }).unwrap()
}

/// Whatever can be asked.
pub trait Site: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Sync {}

impl<T: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Sync> Site for T {}

pub async fn get(router: &impl Site, path: &str) -> (StatusCode, HeaderMap, Bytes) {
    request(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub async fn request(router: &impl Site, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = timeout(LONG, router.clone().oneshot(request)).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, to_bytes(body, usize::MAX).await.unwrap())
}
