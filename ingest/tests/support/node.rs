//! A node with one broadcast, served over HTTP, which counts what it is asked.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
    middleware::{self, Next},
};
use bytes::Bytes;
use domain::{
    channels::Visibility,
    ids::{ChannelId, SessionId, StreamId},
};
use ingest::{
    edge::{Edge, EdgeConfig},
    origin::{self, Broadcasts},
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag},
    rewind::{Rewind, RewindConfig},
    rights::{Bearer, Change, ChannelRights, Pass, PlaybackKeys, Rights},
};
use storage::Storage;
use tokio::{net::TcpListener, runtime::Runtime, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use crate::flv;

pub const LONG: Duration = Duration::from_secs(30);

pub static SOURCE: LazyLock<Vec<Tag>> = LazyLock::new(|| {
    flv::encode(
        "-f lavfi -i testsrc2=size=160x90:rate=30:duration=30 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=30 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -bf 2 -c:a aac -ac 2",
    )
});

pub fn until(milliseconds: u32) -> usize {
    SOURCE.iter().position(|tag| tag.timestamp_ms >= milliseconds).unwrap_or(SOURCE.len())
}

/// A node with one broadcast, which it serves over HTTP and counts what it is asked.
pub struct Origin {
    pub broadcast: Arc<Broadcast>,
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
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let count = Arc::clone(&asked);
        let counting = middleware::from_fn(move |request: Request<Body>, next: Next| {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            *count.lock().unwrap().entry(path).or_default() += 1;
            next.run(request)
        });
        let straight = Router::new().nest("/live", origin::router(broadcasts, storage));
        let router = straight.clone().layer(counting);
        let mut origin = Self {
            packager: Packager::new(Arc::clone(&broadcast)),
            broadcast,
            pushed: 0,
            channel_id,
            rights,
            router,
            straight,
            asked,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: None,
            _folder: folder,
        };
        origin.push_until(5_100);
        origin.serve().await;
        origin
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
        self.server = Some(runtime);
    }

    pub fn stop(&mut self) {
        self.server.take().unwrap().shutdown_background();
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

pub async fn get(router: &Router, path: &str) -> (StatusCode, HeaderMap, Bytes) {
    request(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub async fn request(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = timeout(LONG, router.clone().oneshot(request)).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, to_bytes(body, usize::MAX).await.unwrap())
}
