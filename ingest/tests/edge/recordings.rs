//! Recordings at a relay: fetched once, and shown by the rights of this moment.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
    middleware::{self, Next},
};
use bytes::Bytes;
use domain::{
    channels::Visibility,
    ids::{ChannelId, RecordingId, SessionId},
    recordings::RecordingVisibility,
};
use futures::{FutureExt, future::BoxFuture};
use ingest::{
    RecordError, RecordingAccess, RecordingRights, RecordingUse,
    edge::{Edge, EdgeConfig},
    origin::{self, Broadcasts, recordings},
    rights::{Bearer, Change, ChannelRights, KnownRecording, RecordingDecision, RecordingTerms, Rights},
};
use storage::{Key, Storage};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    code,
    node::{LONG, get, keys, now_s, request, token},
};

const SEGMENT: &[u8] = b"the bytes of a segment";

/// Decides as a node does, by terms that never change in its read model.
struct Door {
    rights: Rights,
    terms: RecordingTerms,
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

struct Kept {
    rights: Rights,
    terms: RecordingTerms,
    router: Router,
    edge: Edge,
    asked: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Kept {
    /// A recording of one segment at an origin, and a relay in front of that.
    async fn start(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let (recording_id, channel_id) = (RecordingId::from(Uuid::now_v7()), ChannelId::from(Uuid::now_v7()));
        let put = |name: String, bytes: &'static [u8]| {
            let (storage, key) = (storage.clone(), Key::new(format!("recordings/{recording_id}/{name}")).unwrap());
            async move { storage.put(&key, Bytes::from_static(bytes)).await.unwrap() }
        };
        for number in 0..40 {
            put(format!("source/s{number}.m4s"), SEGMENT).await;
        }
        let rights = Rights::new(keys());
        rights.complete();
        let terms = RecordingTerms {
            recording_id,
            channel_id,
            visibility: RecordingVisibility::Published,
            is_download_allowed: false,
            is_deleted: false,
            version: 2,
        };
        let door = Door { rights: rights.clone(), terms };
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let count = Arc::clone(&asked);
        let counting = middleware::from_fn(move |request: Request<Body>, next: Next| {
            count.lock().unwrap().push(request.uri().path().to_owned());
            next.run(request)
        });
        let origin = Router::new()
            .nest("/live", origin::router(Broadcasts::new(rights.clone()), storage.clone()))
            .nest("/vod", recordings::router(storage, Arc::new(door)))
            .layer(counting);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, origin).await.unwrap() });
        let mut config = EdgeConfig::new(vec![format!("http://{address}")], keys());
        change(&mut config);
        let edge = Edge::start(config, CancellationToken::new());
        let kept = Self { rights, terms, router: edge.recordings(), edge, asked, _folder: folder };
        timeout(LONG, async {
            while !kept.edge.is_connected() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        kept
    }

    fn path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.terms.recording_id)
    }

    fn asked(&self, rest: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.ends_with(rest)).count()
    }

    fn change(&self, change: impl FnOnce(&mut RecordingTerms)) {
        let mut terms = self.terms;
        change(&mut terms);
        self.rights.learn(Change::Recording(terms));
    }

    fn restrict(&self, visibility: Visibility, version: i64) {
        let rights = ChannelRights { channel_id: self.terms.channel_id, visibility, version, is_closed: false };
        self.rights.learn(Change::Channel(rights));
    }

    /// Asks until the answer has this status; that it does so within a second is what the real binary is asked.
    async fn until(&self, path: &str, status: StatusCode) -> (StatusCode, HeaderMap, Bytes) {
        let asked = async {
            loop {
                let answer = get(&self.router, path).await;
                if answer.0 == status {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, asked).await.unwrap()
    }

    fn token(&self, session: Option<u128>, visibility: RecordingVisibility, channel: Visibility) -> String {
        let bearer = Bearer::Recording {
            recording_id: self.terms.recording_id,
            session_id: session.map(|session| Uuid::from_u128(session).into()),
            wanted: RecordingUse::Play,
        };
        token(bearer, RecordingTerms::digest(visibility, false, channel, RecordingUse::Play), 60)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_is_fetched_once_and_any_part_of_it_can_be_had() {
    let kept = Kept::start(|_| {}).await;
    let path = kept.path("source/s0.m4s");
    for _ in 0..5 {
        let (status, headers, body) = get(&kept.router, &path).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, SEGMENT));
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
    }
    let part = Request::get(&path).header(header::RANGE, "bytes=4-8").body(Body::empty()).unwrap();
    let (status, headers, body) = request(&kept.router, part).await;
    assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &SEGMENT[4..=8]));
    assert_eq!(headers[header::CONTENT_RANGE], format!("bytes 4-8/{}", SEGMENT.len()));
    let beyond = Request::get(&path).header(header::RANGE, "bytes=400-").body(Body::empty()).unwrap();
    assert_eq!(request(&kept.router, beyond).await.0, StatusCode::RANGE_NOT_SATISFIABLE);
    let (_, headers, _) = get(&kept.router, &path).await;
    let known = Request::get(&path).header(header::IF_NONE_MATCH, &headers[header::ETAG]).body(Body::empty()).unwrap();
    assert_eq!(request(&kept.router, known).await.0, StatusCode::NOT_MODIFIED);
    assert_eq!((kept.asked("source/s0.m4s"), kept.asked("/rights")), (1, 1));
    assert!(kept.edge.kept_recordings_bytes() >= SEGMENT.len());
    assert_eq!(get(&kept.router, &kept.path("source/s99.m4s")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&kept.router, &kept.path("rights")).await.0, StatusCode::NOT_FOUND);
    let other = format!("/{}/source/s0.m4s", Uuid::now_v7());
    let (status, _, body) = get(&kept.router, &other).await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "recording_not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_not_served_and_not_kept() {
    let kept = Kept::start(|_| {}).await;
    let path = kept.path("source/s0.m4s");
    assert_eq!(get(&kept.router, &path).await.0, StatusCode::OK);
    // The read model of the origin never hears of it, and still: the log has said so.
    kept.change(|terms| (terms.is_deleted, terms.version) = (true, 3));
    let (_, headers, body) = kept.until(&path, StatusCode::NOT_FOUND).await;
    assert_eq!(code(&body), "recording_not_found");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    timeout(LONG, async {
        while kept.edge.kept_recordings_bytes() > 600 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // An older word does not bring it back.
    kept.change(|terms| terms.visibility = RecordingVisibility::Unlisted);
    assert_eq!(get(&kept.router, &path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_not_everybody_may_see_is_shown_by_a_token_until_that_is_taken_back() {
    let kept = Kept::start(|_| {}).await;
    assert_eq!(get(&kept.router, &kept.path("source/s0.m4s")).await.0, StatusCode::OK);
    kept.change(|terms| (terms.visibility, terms.version) = (RecordingVisibility::Unlisted, 3));
    kept.until(&kept.path("source/s0.m4s"), StatusCode::NOT_FOUND).await;
    let with = |token: &str| format!("/t/{token}{}", kept.path("source/s0.m4s"));
    let (unlisted, public) = (RecordingVisibility::Unlisted, Visibility::Public);
    let (mine, theirs) = (kept.token(Some(1), unlisted, public), kept.token(Some(2), unlisted, public));
    let nobodys = kept.token(None, unlisted, public);
    for good in [&mine, &theirs, &nobodys] {
        let (status, headers, body) = get(&kept.router, &with(good)).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, SEGMENT));
        assert_eq!(headers[header::CACHE_CONTROL], "private, max-age=31536000, immutable");
    }
    assert_eq!(kept.asked("source/s0.m4s"), 1, "what was kept goes on being used");
    let before = kept.token(Some(1), RecordingVisibility::Published, public);
    let elsewhere =
        Bearer::Recording { recording_id: Uuid::from_u128(5).into(), session_id: None, wanted: RecordingUse::Play };
    let digest = RecordingTerms::digest(unlisted, false, public, RecordingUse::Play);
    for bad in [before, token(elsewhere, digest, 60), token(Bearer::Anybody(kept.terms.channel_id), 9, 60)] {
        assert_eq!(get(&kept.router, &with(&bad)).await.0, StatusCode::FORBIDDEN);
    }
    // To watch is not to download.
    let download = format!("/t/{mine}{}", kept.path("download.mp4"));
    assert_eq!(get(&kept.router, &download).await.0, StatusCode::FORBIDDEN);
    // The session ends, and with it what was given to it.
    kept.rights.learn(Change::Session { session_id: SessionId::from(Uuid::from_u128(1)), until_s: now_s() + 60 });
    kept.until(&with(&mine), StatusCode::FORBIDDEN).await;
    assert_eq!(get(&kept.router, &with(&theirs)).await.0, StatusCode::OK);
    // Its channel becomes private: what was given before is worth nothing.
    kept.restrict(Visibility::Private, 7);
    kept.until(&with(&theirs), StatusCode::FORBIDDEN).await;
    let now = kept.token(Some(2), unlisted, Visibility::Private);
    assert_eq!(get(&kept.router, &with(&now)).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_lets_in_until_it_is_taken_back() {
    let kept = Kept::start(|_| {}).await;
    kept.restrict(Visibility::Private, 7);
    kept.until(&kept.path("source/s0.m4s"), StatusCode::NOT_FOUND).await;
    let invited = token(Bearer::Invited(kept.terms.channel_id, Uuid::from_u128(3).into()), 7, 60);
    let path = format!("/t/{invited}{}", kept.path("source/s0.m4s"));
    assert_eq!(get(&kept.router, &path).await.0, StatusCode::OK);
    kept.rights.learn(Change::Invite { invite_id: Uuid::from_u128(3).into(), until_s: now_s() + 60 });
    kept.until(&path, StatusCode::FORBIDDEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_recordings_is_bounded_and_what_is_wanted_stays() {
    const LIMIT: usize = 6_000;
    let kept = Kept::start(|config| config.recordings_bytes = LIMIT).await;
    for number in 0..40 {
        assert_eq!(get(&kept.router, &kept.path(&format!("source/s{number}.m4s"))).await.0, StatusCode::OK);
        assert_eq!(get(&kept.router, &kept.path("source/s0.m4s")).await.0, StatusCode::OK);
        assert!(kept.edge.kept_recordings_bytes() <= LIMIT, "{}", kept.edge.kept_recordings_bytes());
    }
    assert_eq!((kept.asked("source/s0.m4s"), kept.asked("source/s1.m4s")), (1, 1));
    assert_eq!(get(&kept.router, &kept.path("source/s1.m4s")).await.0, StatusCode::OK);
    assert_eq!(kept.asked("source/s1.m4s"), 2, "nobody wanted it again, so it had to go");
}
