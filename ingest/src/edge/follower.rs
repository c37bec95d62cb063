//! Media playlists that are followed: one request at the origin for each, for as long as somebody watches.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Refused, answer::Answer, playlist::Playlist, upstream::Upstream};
use crate::{
    bell::Bell,
    origin::{address::ReloadQuery, problem::Problem, wait},
    packager::Reload,
};

/// For a stream that has just begun: as at the origin.
const FIRST_PLAYLIST: Duration = Duration::from_secs(8);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// How long it is remembered that there is no such playlist.
const NOTHING: Duration = Duration::from_secs(1);

/// The playlists that are followed. Cheap to clone: clones share them.
#[derive(Clone)]
pub(super) struct Followers(Arc<Shared>);

struct Shared {
    upstream: Arc<Upstream>,
    linger: Duration,
    cancel: CancellationToken,
    followed: Mutex<HashMap<String, Arc<Followed>>>,
    epoch: Instant,
}

struct Followed {
    shown: Bell<Shown>,
    /// When somebody asked last, in milliseconds of the followers' clock.
    asked_ms: AtomicU64,
}

#[derive(Clone, Default)]
enum Shown {
    #[default]
    Nothing,
    Here(Arc<Playlist>),
    /// The origin has none, and said why.
    Refused(Arc<Answer>),
}

impl Followers {
    pub(super) fn new(upstream: Arc<Upstream>, linger: Duration, cancel: CancellationToken) -> Self {
        Self(Arc::new(Shared { upstream, linger, cancel, followed: Mutex::default(), epoch: Instant::now() }))
    }

    /// How many are followed.
    pub(super) fn count(&self) -> usize {
        self.0.followed().len()
    }

    /// The playlist at an address of the origin, once it has what is asked for.
    ///
    /// # Errors
    /// What the origin would have said, or 503 when what is asked for does not come in time.
    pub(super) async fn playlist(&self, path: &str, reload: ReloadQuery) -> Result<Arc<Playlist>, Refused> {
        let wanted = |playlist: &Playlist| playlist.reload(reload);
        let followed = self.join(path);
        let is_settled = |shown: &Shown| match shown {
            Shown::Nothing => false,
            Shown::Here(playlist) => wanted(playlist) != Reload::Wait,
            Shown::Refused(_) => true,
        };
        let limit = match &*followed.shown.now() {
            Shown::Here(playlist) => wait::limit(playlist.target_s),
            Shown::Nothing | Shown::Refused(_) => FIRST_PLAYLIST,
        };
        let mut shown = followed.shown.subscribe_here();
        let settled = timeout(limit, shown.wait_for(is_settled)).await;
        match settled.ok().and_then(Result::ok).map(|shown| shown.clone()) {
            Some(Shown::Here(playlist)) if wanted(&playlist) == Reload::TooFar => {
                Err(Refused::Ours(Problem::RELOAD_TOO_FAR))
            }
            Some(Shown::Here(playlist)) => Ok(playlist),
            Some(Shown::Refused(answer)) => Err(Refused::Said(answer)),
            Some(Shown::Nothing) | None => Err(Refused::Ours(Problem::NOT_READY)),
        }
    }

    fn join(&self, path: &str) -> Arc<Followed> {
        let mut followed = self.0.followed();
        let now_ms = self.0.now_ms();
        if let Some(followed) = followed.get(path) {
            followed.asked_ms.store(now_ms, Ordering::Relaxed);
            return Arc::clone(followed);
        }
        let new = Arc::new(Followed { shown: Bell::new(Shown::default()), asked_ms: AtomicU64::new(now_ms) });
        followed.insert(path.to_owned(), Arc::clone(&new));
        let (shared, path, task) = (Arc::clone(&self.0), path.to_owned(), Arc::clone(&new));
        tokio::spawn(async move {
            let cancel = shared.cancel.clone();
            cancel.run_until_cancelled(shared.follow(&path, &task)).await;
            shared.followed().retain(|_, other| !Arc::ptr_eq(other, &task));
        });
        new
    }
}

impl Shared {
    /// Follows until nobody has asked for a while, or there is nothing more to come.
    async fn follow(&self, path: &str, followed: &Arc<Followed>) {
        let mut current: Option<Arc<Playlist>> = None;
        let mut retry = FIRST_RETRY;
        loop {
            if self.is_left(path, followed) {
                return;
            }
            let address = match &current {
                Some(playlist) => format!("{path}?{}", playlist.next_query()),
                None => path.to_owned(),
            };
            match self.upstream.get(&address).await {
                Ok(answer) if answer.status == StatusCode::OK => {
                    let Some(playlist) = Playlist::read(Arc::new(answer)).map(Arc::new) else {
                        tracing::warn!(path, "the origin's playlist cannot be read");
                        sleep(LAST_RETRY).await;
                        continue;
                    };
                    retry = FIRST_RETRY;
                    let is_new = current.as_ref().is_none_or(|current| current.tag() != playlist.tag());
                    if is_new {
                        followed.shown.ring(Shown::Here(Arc::clone(&playlist)));
                    }
                    if playlist.is_ended {
                        self.rest(path, followed).await;
                        return;
                    }
                    if !is_new {
                        // It did not wait for us, whatever the reason.
                        sleep(FIRST_RETRY).await;
                    }
                    current = Some(playlist);
                }
                // Its numbering is another: it was started again.
                Ok(answer) if answer.status == StatusCode::BAD_REQUEST && current.is_some() => {
                    current = None;
                    sleep(FIRST_RETRY).await;
                }
                // The encoder is away; what there is goes on being shown.
                Ok(answer) if answer.status.is_server_error() => {
                    if current.is_none() {
                        followed.shown.ring(Shown::Refused(Arc::new(answer)));
                        return;
                    }
                    sleep(retry).await;
                    retry = LAST_RETRY.min(retry * 2);
                }
                Ok(answer) => {
                    followed.shown.ring(Shown::Refused(Arc::new(answer)));
                    sleep(NOTHING).await;
                    return;
                }
                Err(_) => {
                    sleep(retry).await;
                    retry = LAST_RETRY.min(retry * 2);
                    // It may be another one when it is back.
                    current = None;
                }
            }
        }
    }

    /// Whether nobody has asked for a while; then it is followed no longer.
    fn is_left(&self, path: &str, followed: &Arc<Followed>) -> bool {
        // Under the lock under which others join, so that nobody joins what has ended.
        let mut all = self.followed();
        let unasked = self.now_ms().saturating_sub(followed.asked_ms.load(Ordering::Relaxed));
        let is_left = !followed.shown.is_heard() && u128::from(unasked) > self.linger.as_millis();
        if is_left {
            all.remove(path);
        }
        is_left
    }

    /// Keeps the last playlist of a stream that is over while somebody asks for it; the origin forgets it a while after.
    async fn rest(&self, path: &str, followed: &Arc<Followed>) {
        const LONGEST: Duration = Duration::from_secs(60);
        let until = Instant::now() + LONGEST;
        while Instant::now() < until && !self.is_left(path, followed) {
            sleep(NOTHING).await;
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<String, Arc<Followed>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
