//! Recordings at a relay: fetched once, and shown by the rights of this moment.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderName, Request, StatusCode, header},
    middleware::{self, Next},
};
use bytes::Bytes;
use domain::{channels::Visibility, ids::SessionId, recordings::RecordingVisibility};
use ingest::{
    RecordingUse,
    edge::{Edge, EdgeConfig},
    origin::{self, Broadcasts, recordings},
    rights::{Bearer, Change, ChannelRights, RecordingTerms, Rights},
};
use storage::{Key, Storage};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    code,
    node::{Door, LONG, get, keys, now_s, token},
    pause, settled, settled_of,
};

const SEGMENT: &[u8] = b"the bytes of a segment";

struct Kept {
    rights: Rights,
    terms: RecordingTerms,
    router: Router,
    edge: Edge,
    asked: Arc<Mutex<Vec<String>>>,
    origin: String,
    _folder: tempfile::TempDir,
}

impl Kept {
    /// A recording of one segment at an origin, and a relay in front of that.
    async fn start(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let rights = Rights::new(keys());
        rights.complete();
        let door = Door::new(rights.clone(), Uuid::now_v7().into());
        let terms = door.terms;
        let recording_id = terms.recording_id;
        let put = |name: String, bytes: &'static [u8]| {
            let (storage, key) = (storage.clone(), Key::new(format!("recordings/{recording_id}/{name}")).unwrap());
            async move { storage.put(&key, Bytes::from_static(bytes)).await.unwrap() }
        };
        for number in 0..40 {
            put(format!("source/s{number}.m4s"), SEGMENT).await;
        }
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let count = Arc::clone(&asked);
        let counting = middleware::from_fn(move |request: Request<Body>, next: Next| {
            count.lock().unwrap().push(request.uri().path().to_owned());
            next.run(request)
        });
        let origin = Router::new()
            .nest_service("/live", origin::service(Broadcasts::new(rights.clone()), storage.clone()))
            .nest("/vod", recordings::router(storage, Arc::new(door)))
            .layer(counting);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, origin).await.unwrap() });
        let origin = format!("http://{address}");
        let mut config = EdgeConfig::new(vec![origin.clone()], keys());
        change(&mut config);
        let edge = Edge::start(config, CancellationToken::new());
        let kept = Self { rights, terms, router: edge.recordings(), edge, asked, origin, _folder: folder };
        timeout(LONG, async {
            while !kept.edge.is_connected() {
                pause().await;
            }
        })
        .await
        .unwrap();
        kept
    }

    fn edge_config(&self) -> EdgeConfig {
        EdgeConfig::new(vec![self.origin.clone()], keys())
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
                pause().await;
            }
        };
        timeout(LONG, asked).await.unwrap()
    }

    fn token(&self, session: Option<u128>, visibility: RecordingVisibility, channel: Visibility) -> String {
        self.token_of(session, visibility, channel, 0)
    }

    /// Given to somebody who was looked at when the channel had had so many events.
    fn token_of(
        &self,
        session: Option<u128>,
        visibility: RecordingVisibility,
        channel: Visibility,
        version: i64,
    ) -> String {
        let wanted = RecordingUse::Play;
        let bearer = Bearer::Recording {
            recording_id: self.terms.recording_id,
            session_id: session.map(|session| Uuid::from_u128(session).into()),
            wanted,
            terms: RecordingTerms::digest(visibility, false, channel, wanted),
        };
        token(bearer, version, 600)
    }

    fn take_role(&self, version: i64) {
        let (channel_id, until_s) = (self.terms.channel_id, now_s() + 600);
        self.rights.learn(Change::RoleTaken { channel_id, version, until_s });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_is_fetched_once_and_any_part_of_it_can_be_had() {
    let kept = Kept::start(|_| {}).await;
    let path = kept.path("source/s0.m4s");
    for _ in 0..5 {
        let (status, headers, body) = settled(&kept.router, &path).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, SEGMENT));
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
    }
    let ask = async |name: HeaderName, value: &str| {
        let ask = || Request::get(&path).header(&name, value).body(Body::empty()).unwrap();
        settled_of(&kept.router, ask).await
    };
    let (status, headers, body) = ask(header::RANGE, "bytes=4-8").await;
    assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &SEGMENT[4..=8]));
    assert_eq!(headers[header::CONTENT_RANGE], format!("bytes 4-8/{}", SEGMENT.len()));
    assert_eq!(ask(header::RANGE, "bytes=400-").await.0, StatusCode::RANGE_NOT_SATISFIABLE);
    let (_, headers, _) = settled(&kept.router, &path).await;
    let tag = headers[header::ETAG].to_str().unwrap();
    assert_eq!(ask(header::IF_NONE_MATCH, tag).await.0, StatusCode::NOT_MODIFIED);
    assert_eq!((kept.asked("source/s0.m4s"), kept.asked("/rights")), (1, 1));
    assert!(kept.edge.kept_recordings_bytes() >= SEGMENT.len());
    assert_eq!(settled(&kept.router, &kept.path("source/s99.m4s")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(settled(&kept.router, &kept.path("rights")).await.0, StatusCode::NOT_FOUND);
    let other = format!("/{}/source/s0.m4s", Uuid::now_v7());
    let (status, _, body) = settled(&kept.router, &other).await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "recording_not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_not_served_and_not_kept() {
    let kept = Kept::start(|_| {}).await;
    let path = kept.path("source/s0.m4s");
    for number in 0..10 {
        assert_eq!(settled(&kept.router, &kept.path(&format!("source/s{number}.m4s"))).await.0, StatusCode::OK);
    }
    assert!(kept.edge.kept_recordings_bytes() > 5_000);
    // The read model of the origin never hears of it, and still: the log has said so.
    kept.change(|terms| (terms.is_deleted, terms.version) = (true, 3));
    let (_, headers, body) = kept.until(&path, StatusCode::NOT_FOUND).await;
    assert_eq!(code(&body), "recording_not_found");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    timeout(LONG, async {
        // What may be left is the origin's word that there is nothing.
        while kept.edge.kept_recordings_bytes() > 1_500 {
            pause().await;
        }
    })
    .await
    .unwrap();
    // An older word does not bring it back.
    kept.change(|terms| terms.visibility = RecordingVisibility::Unlisted);
    assert_eq!(settled(&kept.router, &path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_not_everybody_may_see_is_shown_by_a_token_until_that_is_taken_back() {
    let kept = Kept::start(|_| {}).await;
    assert_eq!(settled(&kept.router, &kept.path("source/s0.m4s")).await.0, StatusCode::OK);
    kept.change(|terms| (terms.visibility, terms.version) = (RecordingVisibility::Unlisted, 3));
    kept.until(&kept.path("source/s0.m4s"), StatusCode::NOT_FOUND).await;
    let with = |token: &str| format!("/t/{token}{}", kept.path("source/s0.m4s"));
    let (unlisted, public) = (RecordingVisibility::Unlisted, Visibility::Public);
    let (mine, theirs) = (kept.token(Some(1), unlisted, public), kept.token(Some(2), unlisted, public));
    let nobodys = kept.token(None, unlisted, public);
    for good in [&mine, &theirs, &nobodys] {
        let (status, headers, body) = settled(&kept.router, &with(good)).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, SEGMENT));
        assert_eq!(headers[header::CACHE_CONTROL], "private, max-age=31536000, immutable");
    }
    assert_eq!(kept.asked("source/s0.m4s"), 1, "what was kept goes on being used");
    let before = kept.token(Some(1), RecordingVisibility::Published, public);
    let elsewhere = Bearer::Recording {
        recording_id: Uuid::from_u128(5).into(),
        session_id: None,
        wanted: RecordingUse::Play,
        terms: RecordingTerms::digest(unlisted, false, public, RecordingUse::Play),
    };
    for bad in [before, token(elsewhere, 0, 600), token(Bearer::Anybody(kept.terms.channel_id), 9, 600)] {
        assert_eq!(settled(&kept.router, &with(&bad)).await.0, StatusCode::FORBIDDEN);
    }
    // To watch is not to download.
    let download = format!("/t/{mine}{}", kept.path("download.mp4"));
    assert_eq!(settled(&kept.router, &download).await.0, StatusCode::FORBIDDEN);
    // The session ends, and with it what was given to it.
    kept.rights.learn(Change::Session { session_id: SessionId::from(Uuid::from_u128(1)), until_s: now_s() + 600 });
    kept.until(&with(&mine), StatusCode::FORBIDDEN).await;
    assert_eq!(settled(&kept.router, &with(&theirs)).await.0, StatusCode::OK);
    // Its channel becomes private: what was given before is worth nothing.
    kept.restrict(Visibility::Private, 7);
    kept.until(&with(&theirs), StatusCode::FORBIDDEN).await;
    let now = kept.token(Some(2), unlisted, Visibility::Private);
    assert_eq!(settled(&kept.router, &with(&now)).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_private_is_refused_though_its_terms_are_believed() {
    let kept = Kept::start(|_| {}).await;
    let path = kept.path("source/s0.m4s");
    assert_eq!(settled(&kept.router, &path).await.0, StatusCode::OK);
    // What the relay believes would be asked for again after half a minute, and the origin's answer of before is still at hand.
    kept.change(|terms| (terms.visibility, terms.version) = (RecordingVisibility::Archived, 3));
    kept.until(&path, StatusCode::NOT_FOUND).await;
    let asked_anew = async {
        while kept.asked("/rights") < 2 {
            settled(&kept.router, &path).await;
        }
    };
    timeout(LONG, asked_anew).await.expect("what was believed is asked for again");
    let with = |token: &str| format!("/t/{token}{path}");
    let theirs = kept.token(Some(1), RecordingVisibility::Archived, Visibility::Public);
    assert_eq!(settled(&kept.router, &with(&theirs)).await.0, StatusCode::OK, "who may have what is archived");
    kept.change(|terms| terms.version = 4);
    kept.until(&path, StatusCode::OK).await;
    // And by its channel, of which nothing was asked.
    kept.restrict(Visibility::Private, 7);
    kept.until(&path, StatusCode::NOT_FOUND).await;
    let rights = ChannelRights {
        channel_id: kept.terms.channel_id,
        visibility: Visibility::Public,
        version: 8,
        is_closed: true,
    };
    kept.rights.learn(Change::Channel(rights));
    let theirs = kept.token(Some(1), RecordingVisibility::Published, Visibility::Private);
    kept.until(&with(&theirs), StatusCode::NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_role_ends_with_a_role_in_the_channel() {
    let kept = Kept::start(|_| {}).await;
    let (archived, public) = (RecordingVisibility::Archived, Visibility::Public);
    let path = kept.path("source/s0.m4s");
    let with = |token: &str| format!("/t/{token}{path}");
    kept.change(|terms| (terms.visibility, terms.version) = (archived, 3));
    kept.until(&path, StatusCode::NOT_FOUND).await;
    let before = kept.token_of(Some(1), archived, public, 5);
    assert_eq!(settled(&kept.router, &with(&before)).await.0, StatusCode::OK);
    kept.take_role(6);
    kept.until(&with(&before), StatusCode::FORBIDDEN).await;
    // Whoever still may was looked at again.
    let after = kept.token_of(Some(1), archived, public, 6);
    assert_eq!(settled(&kept.router, &with(&after)).await.0, StatusCode::OK);
    // A relay that comes later is told, too.
    let late = Edge::start(kept.edge_config(), CancellationToken::new());
    let router = late.recordings();
    assert_eq!(settled(&router, &with(&after)).await.0, StatusCode::OK);
    assert_eq!(settled(&router, &with(&before)).await.0, StatusCode::FORBIDDEN);
    // What is given without a role minds none.
    kept.change(|terms| (terms.visibility, terms.version) = (RecordingVisibility::Unlisted, 4));
    kept.take_role(9);
    kept.until(&with(&after), StatusCode::FORBIDDEN).await;
    let theirs = kept.token(Some(2), RecordingVisibility::Unlisted, public);
    kept.until(&with(&theirs), StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_lets_in_until_it_is_taken_back() {
    let kept = Kept::start(|_| {}).await;
    kept.restrict(Visibility::Private, 7);
    kept.until(&kept.path("source/s0.m4s"), StatusCode::NOT_FOUND).await;
    let invited = token(Bearer::Invited(kept.terms.channel_id, Uuid::from_u128(3).into()), 7, 600);
    let path = format!("/t/{invited}{}", kept.path("source/s0.m4s"));
    assert_eq!(settled(&kept.router, &path).await.0, StatusCode::OK);
    kept.rights.learn(Change::Invite { invite_id: Uuid::from_u128(3).into(), until_s: now_s() + 600 });
    kept.until(&path, StatusCode::FORBIDDEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_recordings_is_bounded_and_what_is_wanted_stays() {
    const LIMIT: usize = 6_000;
    let kept = Kept::start(|config| config.recordings_bytes = LIMIT).await;
    for number in 0..40 {
        assert_eq!(settled(&kept.router, &kept.path(&format!("source/s{number}.m4s"))).await.0, StatusCode::OK);
        assert_eq!(settled(&kept.router, &kept.path("source/s0.m4s")).await.0, StatusCode::OK);
        assert!(kept.edge.kept_recordings_bytes() <= LIMIT, "{}", kept.edge.kept_recordings_bytes());
    }
    assert_eq!((kept.asked("source/s0.m4s"), kept.asked("source/s1.m4s")), (1, 1));
    assert_eq!(settled(&kept.router, &kept.path("source/s1.m4s")).await.0, StatusCode::OK);
    assert_eq!(kept.asked("source/s1.m4s"), 2, "nobody wanted it again, so it had to go");
}
