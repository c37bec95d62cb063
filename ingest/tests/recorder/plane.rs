//! A media plane with a recorder, and a write side that records what it is told.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use domain::{
    ids::{ChannelId, RecordingId, StreamId},
    recordings::{FinishedRecording, RecordingFailure},
};
use futures::{FutureExt, future::BoxFuture};
use ingest::{
    Ingest, OpenRecording, Publishing, RecordError, RecordingAccess, RecordingRights, RecordingUse, Recordings,
    origin::recordings, packager::PackagerConfig, recorder::Recorder,
};
use storage::{DiskWatch, Storage};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use uuid::Uuid;

use crate::{
    encoder::{self, FlvTag},
    log,
    peer::Peer,
    platform::{LONG, Platform, patient_config},
};

/// What was told of a recording.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Begun(OpenRecording),
    Published(RecordingId, FinishedRecording),
    Failed(RecordingId, RecordingFailure),
}

/// The write side of recordings, which records what it is told.
#[derive(Default)]
pub struct Archive {
    pub told: watch::Sender<Vec<Told>>,
    pub left_open: Mutex<Vec<OpenRecording>>,
    pub is_off: AtomicBool,
    pub forgets: AtomicBool,
    /// What a channel allows one recording.
    pub size_limit: Mutex<Option<u64>>,
}

impl Archive {
    pub async fn until(&self, what: impl Fn(&Told) -> bool) -> Told {
        let mut told = self.told.subscribe();
        let found = timeout(2 * LONG, told.wait_for(|told| told.iter().any(&what))).await;
        let found = found.unwrap_or_else(|_| panic!("not told: {:?}", self.told.borrow())).unwrap();
        found.iter().find(|told| what(told)).unwrap().clone()
    }

    pub async fn begun(&self) -> OpenRecording {
        match self.until(|told| matches!(told, Told::Begun(_))).await {
            Told::Begun(open) => open,
            other => panic!("{other:?}"),
        }
    }

    pub async fn published(&self) -> (RecordingId, FinishedRecording) {
        match self.until(|told| matches!(told, Told::Published(..))).await {
            Told::Published(id, finished) => (id, finished),
            other => panic!("{other:?}"),
        }
    }

    fn tell(&self, told: Told) -> Result<(), RecordError> {
        self.told.send_modify(|all| all.push(told));
        if self.forgets.load(Ordering::SeqCst) { Err(RecordError::Gone) } else { Ok(()) }
    }
}

impl Recordings for Archive {
    fn begin(
        &self,
        stream_id: StreamId,
        channel_id: ChannelId,
    ) -> BoxFuture<'_, Result<Option<OpenRecording>, RecordError>> {
        async move {
            if self.is_off.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let open = OpenRecording { recording_id: Uuid::now_v7().into(), stream_id, channel_id };
            self.told.send_modify(|told| told.push(Told::Begun(open)));
            Ok(Some(open))
        }
        .boxed()
    }

    fn size_limit(&self, _: ChannelId) -> BoxFuture<'_, Result<Option<u64>, RecordError>> {
        let limit = *self.size_limit.lock().unwrap();
        async move { Ok(limit) }.boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        async move { Ok(self.left_open.lock().unwrap().clone()) }.boxed()
    }

    fn published(
        &self,
        recording_id: RecordingId,
        finished: FinishedRecording,
    ) -> BoxFuture<'_, Result<(), RecordError>> {
        async move { self.tell(Told::Published(recording_id, finished)) }.boxed()
    }

    fn failed(&self, recording_id: RecordingId, reason: RecordingFailure) -> BoxFuture<'_, Result<(), RecordError>> {
        async move { self.tell(Told::Failed(recording_id, reason)) }.boxed()
    }
}

/// Everybody may have everything, but for what needs the token `secret`.
pub struct Open {
    pub needs_token: bool,
}

impl RecordingRights for Open {
    fn allows<'a>(
        &'a self,
        _: RecordingId,
        _: RecordingUse,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<RecordingAccess, RecordError>> {
        async move {
            Ok(match token {
                _ if !self.needs_token => {
                    RecordingAccess::Granted { is_public: true, file_name: "harbour-2026-11-21".to_owned() }
                }
                Some("secret") => RecordingAccess::Granted { is_public: false, file_name: "harbour".to_owned() },
                Some(_) => RecordingAccess::Refused,
                None => RecordingAccess::Unknown,
            })
        }
        .boxed()
    }
}

pub struct Plane {
    pub platform: Arc<Platform>,
    pub archive: Arc<Archive>,
    pub ingest: Ingest,
    address: SocketAddr,
}

impl Plane {
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Arc::default(), Arc::default(), DiskWatch::default()).await
    }

    /// A stream of this is recorded, and over.
    pub async fn recorded(&self, tags: &[FlvTag]) -> RecordingId {
        self.platform.channel("key");
        let mut peer = self.peer().await;
        peer.send_tags(tags).await;
        self.archive.begun().await;
        peer.unpublish("key").await;
        self.archive.published().await.0
    }

    pub async fn start_with(folder: &Path, platform: Arc<Platform>, archive: Arc<Archive>, disk: DiskWatch) -> Self {
        let storage = Storage::open_disk(folder).await.unwrap();
        Self::start_on(storage, platform, archive, disk).await
    }

    pub async fn start_on(storage: Storage, platform: Arc<Platform>, archive: Arc<Archive>, disk: DiskWatch) -> Self {
        let recorder = Recorder::new(Arc::clone(&archive) as _, disk);
        Self::start_as(storage, platform, archive, recorder).await
    }

    /// With a folder for what the storage does not have yet beside that of the storage.
    pub async fn start_beside(folder: &Path, platform: Arc<Platform>, archive: Arc<Archive>) -> Self {
        let storage = Storage::open_disk(folder.join("objects")).await.unwrap();
        let recorder = Recorder::new(Arc::clone(&archive) as _, DiskWatch::default());
        Self::start_as(storage, platform, archive, recorder.with_folder(folder.join("recording"))).await
    }

    async fn start_as(storage: Storage, platform: Arc<Platform>, archive: Arc<Archive>, recorder: Recorder) -> Self {
        log::listen();
        let mut config = patient_config();
        // As much is kept in memory as usual: what is not stored by then is missing.
        config.packager = PackagerConfig::default();
        config.recorder = recorder;
        let publishing: Arc<dyn Publishing> = Arc::clone(&platform) as _;
        let ingest = Ingest::start(config, publishing, storage.clone()).await.unwrap();
        let router = Router::new()
            .nest_service("/live", ingest.service())
            .nest("/vod", recordings::router(storage.clone(), Arc::new(Open { needs_token: false })))
            .nest("/kept", recordings::router(storage, Arc::new(Open { needs_token: true })));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { platform, archive, ingest, address }
    }

    pub async fn peer(&self) -> Peer {
        Peer::publishing(self.ingest.rtmp_addr(), "key").await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(self.url(path)).await.unwrap()
    }

    pub async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// Waits until the playlist of a stream names so many segments.
    pub async fn until_segments(&self, stream: StreamId, count: usize) {
        let poll = async {
            loop {
                let answer = self.get(&format!("live/{stream}/source/index.m3u8")).await;
                if answer.text().await.unwrap().matches("#EXTINF").count() >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, poll).await.expect("segments come");
    }
}

/// The clip of three seconds, again and again.
pub fn clips(count: u32) -> Vec<FlvTag> {
    let clip = encoder::clip();
    // Configurations are said once.
    let (configs, rest): (Vec<_>, Vec<_>) =
        clip.iter().cloned().partition(|tag| tag.body[1] == 0 && tag.timestamp_ms == 0);
    let mut tags = configs;
    for round in 0..count {
        tags.extend(rest.iter().cloned().map(|mut tag| {
            tag.timestamp_ms += round * 3_000;
            tag
        }));
    }
    tags
}

pub fn source(folder: &Path, recording: RecordingId) -> PathBuf {
    folder.join(format!("recordings/{recording}/source"))
}

/// What ffprobe says of something: its duration in seconds and how many pictures it has.
pub async fn probe(input: &str) -> (f64, u64) {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-select_streams", "v:0", "-of", "json"])
        .args(["-show_entries", "format=duration:stream=nb_read_packets,codec_name", input])
        .output()
        .await
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["streams"][0]["codec_name"], "h264", "{said}");
    let number = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (
        number(&said["format"]["duration"]).parse().unwrap(),
        number(&said["streams"][0]["nb_read_packets"]).parse().unwrap(),
    )
}
