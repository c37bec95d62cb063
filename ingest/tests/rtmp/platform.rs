//! The rest of the platform as the media plane sees it: keys that are known, and a record of what was reported.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use domain::{
    ids::{ChannelId, StreamId},
    streams::{AudioTrack, EndReason, Rendition, RenditionsReason, VideoTrack},
};
use futures::{FutureExt, future::BoxFuture};
use ingest::rights::ChannelRights;
use ingest::{
    Ingest, IngestConfig, IngestStatus, OpenStream, Patience, PublishError, PublishState, Publisher, Publishing,
    RtmpTimeouts, StartedStream,
};
use storage::Storage;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use uuid::Uuid;

/// Longer than anything takes on a busy machine, also when that stands still in between.
pub const LONG: Duration = Duration::from_secs(120);

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    Started(StartedStream),
    Ended(StreamId, EndReason),
}

/// What was reported of a stream's renditions.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedRenditions {
    pub stream_id: StreamId,
    pub renditions: Vec<Rendition>,
    pub reason: RenditionsReason,
}

/// What was reported that an encoder sends from then on.
pub type ReportedTracks = (StreamId, Option<VideoTrack>, Option<AudioTrack>);

/// The recording platform.
#[derive(Default)]
pub struct Platform {
    keys: Mutex<HashMap<String, Publisher>>,
    open: Mutex<Vec<OpenStream>>,
    reports: watch::Sender<Vec<Report>>,
    renditions: watch::Sender<Vec<ReportedRenditions>>,
    tracks: watch::Sender<Vec<ReportedTracks>>,
    is_away: AtomicBool,
    /// How often it was asked whose a key is.
    pub keys_asked_for: AtomicUsize,
    /// How many calls were answered with "unavailable".
    pub turned_away: AtomicUsize,
    /// What the next start is answered with.
    pub start_refusal: Mutex<Option<PublishError>>,
}

impl Platform {
    /// A channel with this key.
    pub fn channel(&self, key: &str) -> ChannelId {
        let channel_id = ChannelId::from(Uuid::now_v7());
        let publisher = Publisher {
            channel_id,
            channel_handle: format!("handle_of_{}", channel_id.uuid().simple()),
            rights: ChannelRights::public(channel_id),
        };
        self.keys.lock().unwrap().insert(key.to_owned(), publisher);
        channel_id
    }

    pub fn rotate(&self, old: &str, new: &str) {
        let mut keys = self.keys.lock().unwrap();
        let mut publisher = keys.remove(old).unwrap();
        publisher.rights.version += 1;
        keys.insert(new.to_owned(), publisher);
    }

    pub fn leave_open(&self, stream: OpenStream) {
        self.open.lock().unwrap().push(stream);
    }

    /// Whether the write side answers.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    pub fn reports(&self) -> Vec<Report> {
        self.reports.borrow().clone()
    }

    /// Waits until it was asked so often whose a key is.
    pub async fn asked_for_keys(&self, count: usize) {
        reaches(&self.keys_asked_for, count).await;
    }

    /// Waits until so many calls were answered with "unavailable".
    pub async fn turned_away(&self, count: usize) {
        reaches(&self.turned_away, count).await;
    }

    /// Waits until there are so many reports.
    pub async fn wait_for(&self, count: usize) -> Vec<Report> {
        let mut reports = self.reports.subscribe();
        let reports = timeout(LONG, reports.wait_for(|reports| reports.len() >= count)).await;
        reports.unwrap_or_else(|_| panic!("{count} reports expected, got {:?}", self.reports())).unwrap().clone()
    }

    /// Waits for a report of renditions that is as wanted.
    pub async fn renditions(&self, is_wanted: impl Fn(&ReportedRenditions) -> bool) -> ReportedRenditions {
        let mut reports = self.renditions.subscribe();
        let wanted = reports.wait_for(|reports| reports.iter().any(&is_wanted));
        let reports = timeout(LONG, wanted).await;
        let reports = reports.unwrap_or_else(|_| panic!("not reported: {:?}", self.renditions.borrow())).unwrap();
        reports.iter().find(|report| is_wanted(report)).unwrap().clone()
    }

    /// Waits for the first report of what an encoder sends since the start.
    pub async fn tracks(&self) -> ReportedTracks {
        let mut reports = self.tracks.subscribe();
        let reports = timeout(LONG, reports.wait_for(|reports| !reports.is_empty())).await;
        reports.expect("tracks are reported").unwrap()[0].clone()
    }

    /// All that was reported of renditions.
    pub fn all_renditions(&self) -> Vec<ReportedRenditions> {
        self.renditions.borrow().clone()
    }

    /// Waits for the first start and returns its stream.
    pub async fn started(&self) -> StreamId {
        match &self.wait_for(1).await[0] {
            Report::Started(stream) => stream.stream_id,
            ended @ Report::Ended(..) => panic!("{ended:?} before a start"),
        }
    }

    fn answer<T>(&self, answer: impl FnOnce() -> Result<T, PublishError>) -> Result<T, PublishError> {
        if self.is_away.load(Ordering::SeqCst) {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            return Err(PublishError::Unavailable);
        }
        answer()
    }
}

impl Publishing for Platform {
    fn authorise_publisher<'a>(&'a self, stream_key: &'a str) -> BoxFuture<'a, Result<Publisher, PublishError>> {
        async move {
            assert_ne!(stream_key, "a key that panics");
            self.keys_asked_for.fetch_add(1, Ordering::SeqCst);
            self.answer(|| self.keys.lock().unwrap().get(stream_key).cloned().ok_or(PublishError::KeyUnknown))
        }
        .boxed()
    }

    fn stream_started(&self, stream: StartedStream) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            self.answer(|| {
                if let Some(refusal) = self.start_refusal.lock().unwrap().take() {
                    return Err(refusal);
                }
                self.reports.send_modify(|reports| reports.push(Report::Started(stream)));
                Ok(())
            })
        }
        .boxed()
    }

    fn stream_ended(&self, stream_id: StreamId, reason: EndReason) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            self.answer(|| {
                self.reports.send_modify(|reports| reports.push(Report::Ended(stream_id, reason)));
                Ok(())
            })
        }
        .boxed()
    }

    fn renditions_changed(
        &self,
        stream_id: StreamId,
        renditions: Vec<Rendition>,
        reason: RenditionsReason,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            self.answer(|| {
                let report = ReportedRenditions { stream_id, renditions, reason };
                self.renditions.send_modify(|reports| reports.push(report));
                Ok(())
            })
        }
        .boxed()
    }

    fn tracks_changed(
        &self,
        stream_id: StreamId,
        video: Option<VideoTrack>,
        audio: Option<AudioTrack>,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            self.answer(|| {
                self.tracks.send_modify(|reports| reports.push((stream_id, video, audio)));
                Ok(())
            })
        }
        .boxed()
    }

    fn open_streams(&self) -> BoxFuture<'_, Result<Vec<OpenStream>, PublishError>> {
        async move { self.answer(|| Ok(self.open.lock().unwrap().clone())) }.boxed()
    }
}

async fn reaches(counted: &AtomicUsize, count: usize) {
    let poll = async {
        while counted.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, poll).await.unwrap_or_else(|_| panic!("{} calls, not {count}", counted.load(Ordering::SeqCst)));
}

/// The defaults, but for what a machine that stands still for a while would turn into an end: whoever tests that sets its own.
pub fn patient_config() -> IngestConfig {
    let mut config = IngestConfig::new("127.0.0.1:0".parse().unwrap());
    config.timeouts = RtmpTimeouts { handshake: LONG, publish: LONG, idle: LONG, write: LONG };
    config.patience = Patience { call: LONG, publish: LONG, shutdown: LONG };
    config.linger = Duration::from_secs(3_600);
    // What a playlist has named is there when it is fetched.
    config.packager.window_segments = 60;
    config
}

/// A running media plane with its platform.
pub struct Plane {
    pub platform: Arc<Platform>,
    pub ingest: Ingest,
    origin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Plane {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut IngestConfig)) -> Self {
        Self::start_on(Arc::default(), change).await
    }

    pub async fn start_on(platform: Arc<Platform>, change: impl FnOnce(&mut IngestConfig)) -> Self {
        crate::log::listen();
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let mut config = patient_config();
        change(&mut config);
        let publishing: Arc<dyn Publishing> = Arc::clone(&platform) as _;
        let ingest = Ingest::start(config, publishing, storage).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = listener.local_addr().unwrap();
        let router = Router::new().nest_service("/live", ingest.service());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { platform, ingest, origin, _folder: folder }
    }

    /// Where a viewer finds this.
    pub fn address(&self, path: &str) -> String {
        format!("http://{}/live/{path}", self.origin)
    }

    /// What a viewer gets.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}/live/{path}", self.origin)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// What a viewer gets where it is no text.
    pub async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = reqwest::get(format!("http://{}/live/{path}", self.origin)).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await.unwrap().to_vec()
    }

    /// The media playlist of a stream.
    pub async fn playlist(&self, stream: StreamId) -> String {
        let (status, playlist) = self.get(&format!("{stream}/source/index.m3u8")).await;
        assert_eq!(status, 200, "{playlist}");
        playlist
    }

    /// Waits until nothing is shown of a stream any more.
    pub async fn gone(&self, stream: StreamId) {
        let asked = async {
            while self.get(&format!("{stream}/source/index.m3u8")).await.0 != 404 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, asked).await.expect("what is left of a stream goes");
    }

    pub fn url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.ingest.rtmp_addr())
    }

    /// Waits until the channel's status is as wanted.
    pub async fn status(&self, channel: ChannelId, is_wanted: impl Fn(&IngestStatus) -> bool) -> IngestStatus {
        let poll = async {
            loop {
                let status = self.ingest.status(channel);
                if is_wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, poll).await.unwrap_or_else(|_| panic!("not as wanted: {:?}", self.ingest.status(channel)))
    }

    pub async fn state(&self, channel: ChannelId, state: PublishState) -> IngestStatus {
        self.status(channel, |status| status.state == state).await
    }
}
