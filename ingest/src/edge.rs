//! A relay of an origin's streams: whatever the number of its viewers, it asks once for each thing.
//!
//! | what | how |
//! |---|---|
//! | media playlists | one request is held at the origin for each rendition that somebody watches; its answer goes to all who wait for it, and to all who come |
//! | parts, segments, initialisation segments | asked for when the first viewer asks, given to all who ask meanwhile, and kept |
//! | segments for DASH | the same, and sent on piece by piece while they grow |
//! | recordings | the same, in a room of their own; downloads are passed on |
//! | everything else | the same, and asked for again when the origin says that it is stale |
//!
//! Rights are checked here, by the same guard as at the origin: the relay has the playback key, asks once for each stream
//! whose it is, and follows what is taken away. While it cannot follow, nothing that is not public is shown.
//!
//! While the origin is away, what is kept is served; what is not, is answered by 503. When it is back, the relay goes on by
//! itself. With several origins, one that does not answer is left for the next.

mod answer;
mod follower;
mod growing;
mod playlist;
mod recordings;
mod store;
mod tls;
mod upstream;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{Method, StatusCode, header, request::Parts},
    response::Response,
    routing::any,
};
use domain::ids::{ChannelId, RecordingId};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::{
    answer::Answer,
    follower::Followers,
    store::{Found, Store},
    upstream::Upstream,
};
use crate::{
    origin::{
        self, LiveService,
        address::ReloadQuery,
        problem::Problem,
        reply,
        rights::{self, Guarded, Lookup, Since, Unanswered, Unowned},
    },
    rights::{Change, ChannelRights, PlaybackKeys, RecordingTerms, Rights, Told},
};
pub use tls::{OriginTls, OriginTlsError};

/// How long what is not public goes on being shown when nothing is heard of what was taken away: the origin speaks at least
/// every five seconds.
const UNHEARD: Duration = Duration::from_secs(10);
/// Between two attempts to follow an origin that does not answer.
const AGAIN: Duration = Duration::from_millis(250);
/// How long it is remembered that something belongs to nobody.
const NOBODYS: Duration = Duration::from_secs(1);

/// What a relay is made from.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Addresses of nodes, `http://10.0.0.5:8080` or `https://weir.example.org` for example, the preferred first; never empty.
    pub origins: Vec<String>,
    /// With which tokens are made and checked.
    pub keys: PlaybackKeys,
    /// How much of parts and segments is kept, in bytes. More than that is only what is on its way.
    pub cache_bytes: usize,
    /// How much of recordings is kept beside that, in bytes.
    pub recordings_bytes: usize,
    /// Whom to believe to be the origin, where its address begins with `https`.
    pub tls: OriginTls,
    /// How long a stream is followed that nobody watches.
    pub linger: Duration,
}

impl EdgeConfig {
    /// The defaults.
    #[must_use]
    pub fn new(origins: Vec<String>, keys: PlaybackKeys) -> Self {
        Self {
            origins,
            keys,
            cache_bytes: 512 << 20,
            recordings_bytes: 512 << 20,
            tls: OriginTls::none(),
            linger: Duration::from_secs(15),
        }
    }
}

/// A running relay. Cheap to clone: clones share it.
#[derive(Clone)]
pub struct Edge(Arc<Shared>);

struct Shared {
    upstream: Arc<Upstream>,
    rights: Rights,
    store: Arc<Store>,
    recordings: Arc<Store>,
    /// Of recordings that were asked for lately, and since when they are known.
    terms: Mutex<HashMap<RecordingId, (RecordingTerms, Instant)>>,
    /// How often something was told of rights: what was asked for before that may be older.
    times_told: AtomicU64,
    followers: Followers,
    /// When the origin was last heard of what was taken away.
    heard: Mutex<Option<Instant>>,
    /// What nobody owns, and since when that is known.
    nobodys: Mutex<HashMap<Uuid, Instant>>,
}

impl Edge {
    /// Begins to follow what is taken away, until `cancel`.
    #[must_use]
    pub fn start(config: EdgeConfig, cancel: CancellationToken) -> Self {
        let EdgeConfig { origins, keys, cache_bytes, recordings_bytes, tls, linger } = config;
        let upstream = Arc::new(Upstream::new(origins, keys.clone(), &tls));
        let store = Arc::new(Store::new(Arc::clone(&upstream), cache_bytes));
        let edge = Self(Arc::new(Shared {
            followers: Followers::new(Arc::clone(&upstream), linger, cancel.clone()),
            recordings: Arc::new(Store::new(Arc::clone(&upstream), recordings_bytes)),
            terms: Mutex::default(),
            times_told: AtomicU64::new(0),
            upstream,
            store,
            rights: Rights::new(keys),
            heard: Mutex::default(),
            nobodys: Mutex::default(),
        }));
        let following = Arc::clone(&edge.0);
        tokio::spawn(async move { cancel.run_until_cancelled(following.follow_rights()).await });
        edge
    }

    /// What is under `/vod` at the origin; to be nested there.
    pub fn recordings(&self) -> Router {
        Router::new()
            .route("/", any(recordings::answer))
            .route("/{*path}", any(recordings::answer))
            .with_state(Arc::clone(&self.0))
    }

    /// What is under `/live` at the origin.
    #[must_use]
    pub fn service(&self) -> LiveService {
        let live = Live { shared: Arc::clone(&self.0) };
        rights::guarded(self.0.rights.clone(), Some(Arc::new(live.clone())), live)
    }

    /// Whether an origin answers.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_heard()
    }

    /// How many requests were sent to origins for media and playlists, for those who measure.
    #[must_use]
    pub fn upstream_requests(&self) -> u64 {
        self.0.upstream.count()
    }

    /// How many renditions are followed now.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.0.followers.count()
    }

    /// How many bytes of streams are kept now.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.0.store.bytes()
    }

    /// How many bytes of recordings are kept now.
    #[must_use]
    pub fn kept_recordings_bytes(&self) -> usize {
        self.0.recordings.bytes()
    }
}

#[derive(Clone)]
struct Live {
    shared: Arc<Shared>,
}

impl Guarded for Live {
    async fn answer(&self, request: &Parts) -> Response {
        if request.method == Method::OPTIONS {
            return reply::preflight();
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Problem::METHOD_NOT_ALLOWED.into_response();
        }
        let (shared, path) = (&self.shared, request.uri.path());
        // Nobody's a moment ago, and somebody's by the time that the origin answered: then no right was looked at here.
        let is_to_refuse = |is_restricted| is_restricted && request.extensions.get::<Unowned>().is_some();
        let address = format!("/live{path}");
        if playlist::is_followed(path) {
            let reload = match ReloadQuery::read(request.uri.query().unwrap_or_default()) {
                Ok(reload) => reload,
                Err(problem) => return problem.into_response(),
            };
            return match shared.followers.playlist(&address, reload).await {
                Ok(playlist) if is_to_refuse(playlist.is_restricted()) => Problem::NOT_READY.into_response(),
                Ok(playlist) => playlist.respond(reload, &request.headers),
                Err(refusal) => refusal.into_response(),
            };
        }
        if path == "/time" {
            return origin::time();
        }
        match shared.store.find(&address).await {
            Ok(found) if is_to_refuse(found.is_restricted()) => Problem::NOT_READY.into_response(),
            Ok(Found::Whole(kept)) => kept.respond(&request.headers),
            Ok(Found::Growing(growing)) => growing.respond(),
            Err(refusal) => refusal.into_response(),
        }
    }
}

/// Why a relay has no answer.
#[derive(Debug, Clone)]
enum Refused {
    /// What the origin said.
    Said(Arc<Answer>),
    /// What we say.
    Ours(Problem),
}

impl Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Said(answer) => answer.as_it_came(),
            Self::Ours(problem) => problem.into_response(),
        }
    }
}

impl Shared {
    async fn follow_rights(&self) {
        let mut since = Since::default();
        let mut is_lost = false;
        loop {
            let path = format!("/live/revocations?{}", since.query());
            match self.upstream.ask(&path).await {
                Ok(answer) if answer.status == StatusCode::OK => {
                    match serde_json::from_slice::<Told>(&answer.body) {
                        Ok(told) => {
                            if told.is_whole {
                                // Whose things are may have changed while we did not listen.
                                info!(changes = told.changes.len(), "it is known who may watch what");
                            }
                            since = Since { epoch: Some(told.epoch), after: told.next };
                            self.times_told.fetch_add(1, Ordering::SeqCst);
                            self.rights.learn_told(&told);
                            self.forget(&told);
                        }
                        Err(error) => {
                            warn!(%error, "what the origin says of rights cannot be read; is it of this version?");
                            tokio::time::sleep(AGAIN).await;
                            continue;
                        }
                    }
                }
                // Nothing has happened.
                Ok(answer) if answer.status == StatusCode::NO_CONTENT => {}
                refused => {
                    if !std::mem::replace(&mut is_lost, true) {
                        let status = refused.map(|answer| answer.status.as_u16()).ok();
                        warn!(status, "the origin cannot be followed; what is not public is not shown until it can");
                    }
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
            if std::mem::replace(&mut is_lost, false) {
                info!("the origin is followed again");
            }
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// What is gone is not kept either, and terms are asked for again where they have changed.
    fn forget(&self, told: &Told) {
        {
            let mut terms = self.known_terms();
            if told.is_whole {
                terms.clear();
            }
            for change in &told.changes {
                if let Change::Recording(changed) = change {
                    terms.remove(&changed.recording_id);
                    // The answer of before would be believed for half a minute.
                    self.recordings.forget(&format!("/vod/{}/rights", changed.recording_id));
                }
            }
        }
        for recording_id in Rights::gone(&told.changes) {
            self.recordings.forget(&format!("/vod/{recording_id}/"));
        }
        for change in &told.changes {
            if let Change::Withdrawn { stream_id, .. } = change {
                self.store.forget(&format!("/live/{stream_id}/"));
            }
        }
    }

    fn known_terms(&self) -> MutexGuard<'_, HashMap<RecordingId, (RecordingTerms, Instant)>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_heard(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard.elapsed() < UNHEARD)
    }

    /// Whether it is known that this belongs to nobody; what was known too long ago is forgotten.
    fn is_nobodys(&self, id: Uuid) -> bool {
        let mut nobodys = self.nobodys.lock().unwrap_or_else(PoisonError::into_inner);
        nobodys.retain(|_, since| since.elapsed() < NOBODYS);
        nobodys.contains_key(&id)
    }
}

impl Live {
    async fn whose(&self, id: Uuid, is_channel: bool) -> Result<Option<ChannelRights>, Unanswered> {
        let shared = &self.shared;
        if !shared.rights.is_complete() {
            // What happens between the answer and the beginning of following would be missed.
            return Err(Unanswered);
        }
        if shared.is_nobodys(id) {
            return Ok(Some(ChannelRights::public(ChannelId::from(id))));
        }
        let path = if is_channel { format!("/channels/{id}/rights") } else { format!("/{id}/rights") };
        let rights = match shared.store.get(&format!("/live{path}")).await {
            Ok(kept) => serde_json::from_slice::<ChannelRights>(kept.body()).map_err(|_| Unanswered)?,
            Err(Refused::Said(answer)) if answer.status == StatusCode::NOT_FOUND => return Ok(None),
            Err(_) => return Err(Unanswered),
        };
        if !is_channel && rights.channel_id.uuid() == id {
            // Of a channel it is not known of, so that nobody would tell us if it were restricted.
            shared.nobodys.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
            return Ok(Some(rights));
        }
        shared.rights.belongs(id, rights.channel_id);
        shared.rights.learn(Change::Channel(rights));
        Ok(Some(shared.rights.of_channel(rights.channel_id)))
    }
}

impl Lookup for Live {
    fn look_up(&self, id: Uuid, is_channel: bool) -> BoxFuture<'_, Result<Option<ChannelRights>, Unanswered>> {
        self.whose(id, is_channel).boxed()
    }

    fn is_up_to_date(&self) -> bool {
        self.shared.is_heard()
    }
}

/// What is asked of the origin with each request.
fn accepted() -> (header::HeaderName, header::HeaderValue) {
    (header::ACCEPT_ENCODING, header::HeaderValue::from_static("gzip"))
}
