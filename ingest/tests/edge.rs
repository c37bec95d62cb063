//! Rights at the origin and at a relay, and how often a relay asks.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/addresses.rs"]
mod addresses;
#[path = "edge/dash.rs"]
mod dash;
#[path = "support/flv.rs"]
mod flv;
#[path = "edge/kinds.rs"]
mod kinds;
#[path = "support/node.rs"]
mod node;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "edge/recordings.rs"]
mod recordings;
#[path = "edge/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use bytes::Bytes;
use domain::{channels::Visibility, ids::SessionId};
use futures::future::join_all;
use ingest::rights::{Bearer, Change, Pass, PlaybackKeys};
use node::{LONG, Origin, Site, get, now_s, request, token};
use playlist::MediaPlaylist;
use tokio::{net::TcpSocket, time::timeout};
use uuid::Uuid;

/// As [`get`], once the relay has learned who may watch what, and has heard lately of what was taken away; and again where it has
/// waited for so long as nothing takes but on a machine that stands still.
async fn settled(router: &impl Site, path: &str) -> (StatusCode, HeaderMap, Bytes) {
    settled_of(router, || Request::get(path).body(Body::empty()).unwrap()).await
}

async fn settled_of(router: &impl Site, ask: impl Fn() -> Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let asked = async {
        loop {
            let answer = request(router, ask()).await;
            if answer.0 != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            pause().await;
        }
    };
    timeout(LONG, asked).await.unwrap()
}

/// Between two questions: whom they are asked may have the same two threads.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

fn read(body: &Bytes) -> MediaPlaylist {
    MediaPlaylist::parse(std::str::from_utf8(body).unwrap()).unwrap()
}

fn code(body: &Bytes) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

/// Waits until the origin is asked for what ends so.
async fn is_asked(origin: &Origin, end: &str) {
    let asked = async {
        while origin.asked(|path| path.ends_with(end)).is_empty() {
            pause().await;
        }
    };
    timeout(LONG, asked).await.unwrap_or_else(|_| panic!("nobody asks for {end}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_viewers_are_one_request_for_each_part() {
    const VIEWERS: usize = 200;
    let mut origin = Origin::start().await;
    let edge = origin.edge();
    let router = edge.service();
    let playlist = origin.path("source/index.m3u8");
    assert_eq!(settled(&router, &playlist).await.0, StatusCode::OK);
    let mut pushed_ms = 5_100;
    for _ in 0..10 {
        let (_, _, now) = settled(&router, &playlist).await;
        let (segment, part) = read(&now).next_position();
        let waiting = (0..VIEWERS).map(|_| {
            let (router, path) = (router.clone(), format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}"));
            tokio::spawn(async move { settled(&router, &path).await })
        });
        let waiting: Vec<_> = waiting.collect();
        is_asked(&origin, &format!("_HLS_msn={segment}&_HLS_part={part}")).await;
        pushed_ms += 520;
        origin.push_until(pushed_ms);
        let answers: Vec<_> = join_all(waiting).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|(status, _, body)| *status == StatusCode::OK && *body == answers[0].2));
        let newest = read(&answers[0].2);
        assert!(newest.findings().is_empty(), "{:?}", newest.findings());
        let parts: Vec<_> = newest.segments.iter().flat_map(|segment| &segment.parts).map(|part| &part.uri).collect();
        let path = origin.path(&format!("source/{}", parts.last().unwrap()));
        let parts = join_all((0..VIEWERS).map(|_| settled(&router, &path))).await;
        assert!(parts.iter().all(|(status, _, body)| *status == StatusCode::OK && *body == parts[0].2));
        let (_, headers, straight) = get(&origin.router, &format!("/live{path}")).await;
        assert_eq!(straight, parts[0].2);
        for name in [header::CONTENT_TYPE, header::CACHE_CONTROL, header::ETAG, header::ACCESS_CONTROL_ALLOW_ORIGIN] {
            assert_eq!(headers.get(&name), parts[0].1.get(&name), "{name}");
        }
    }
    let media = origin.asked(|path| path.contains(".m4s"));
    // Once by the relay, once by the comparison above.
    assert!(media.len() >= 10 && media.values().all(|count| *count == 2), "{media:?}");
    // Once each; again only where the origin had nothing for so long that it said so, as on a machine that stands still.
    let held = origin.asked(|path| path.contains("_HLS_msn"));
    assert!(held.len() >= 10 && held.values().all(|count| *count <= 3), "{held:?}");
    assert_eq!(edge.followed(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_rewinds_at_a_relay_waits_there_for_the_next_part() {
    let mut origin = Origin::start().await;
    let router = origin.edge().service();
    let playlist = origin.path("source/rewind.m3u8");
    let (status, _, now) = settled(&router, &playlist).await;
    assert_eq!(status, StatusCode::OK);
    let (segment, part) = read(&now).next_position();
    let asked = format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}");
    let waiting = tokio::spawn({
        let (router, asked) = (router.clone(), asked.clone());
        async move { settled(&router, &asked).await }
    });
    is_asked(&origin, &asked).await;
    assert!(!waiting.is_finished());
    origin.push_until(5_100 + 520);
    let (status, _, body) = timeout(LONG, waiting).await.unwrap().unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_ne!(read(&body).next_position(), (segment, part));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_answers_as_the_origin_does() {
    let origin = Origin::start().await;
    let router = origin.edge().service();
    let next = {
        let (_, _, body) = settled(&router, &origin.path("source/index.m3u8")).await;
        read(&body).next_position().0
    };
    for rest in [
        "index.m3u8".to_owned(),
        "source/index.m3u8".to_owned(),
        "source/index.m3u8?_HLS_msn=1".to_owned(),
        format!("source/index.m3u8?_HLS_msn={}", next + 5),
        "source/index.m3u8?_HLS_msn=x".to_owned(),
        "source/init0.mp4".to_owned(),
        "source/s0.m4s".to_owned(),
        "source/p3.m4s".to_owned(),
        "source/s999.m4s".to_owned(),
        "nothing".to_owned(),
        "thumbnail.jpg".to_owned(),
    ] {
        let path = origin.path(&rest);
        for coding in ["identity", "gzip"] {
            let ask =
                |path: &str| Request::get(path).header(header::ACCEPT_ENCODING, coding).body(Body::empty()).unwrap();
            let mut straight = request(&origin.router, ask(&format!("/live{path}"))).await;
            let relayed = settled_of(&router, || ask(&path)).await;
            straight.1.remove(header::CONTENT_LENGTH);
            assert_eq!((relayed.0, &relayed.2), (straight.0, &straight.2), "{path} {coding}");
            for name in straight.1.keys() {
                assert_eq!(relayed.1.get(name), straight.1.get(name), "{name} of {path} {coding}");
            }
            if let Some(tag) = straight.1.get(header::ETAG) {
                let mut again = ask(&path);
                again.headers_mut().insert(header::IF_NONE_MATCH, tag.clone());
                assert_eq!(request(&router, again).await.0, StatusCode::NOT_MODIFIED, "{path} {coding}");
            }
        }
    }
    let redirection = settled(&router, &format!("/channels/{}/index.m3u8", origin.channel_id)).await;
    assert_eq!(redirection.0, StatusCode::FOUND);
    assert_eq!(redirection.1[header::LOCATION], format!("../../{}/index.m3u8", origin.broadcast.stream_id()));
    let posted = request(&router, Request::post(origin.path("index.m3u8")).body(Body::empty()).unwrap()).await;
    assert_eq!(posted.0, StatusCode::METHOD_NOT_ALLOWED);
}

/// Everything of a private stream, at the origin and at a relay, for those with a right and those without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_a_right_gets_what_is_not_public() {
    let origin = Origin::start().await;
    origin.restrict(Visibility::Private, 2);
    let edge = Router::new().fallback_service(origin.edge().service());
    let stream_id = origin.broadcast.stream_id();
    let session = SessionId::from(Uuid::from_u128(9));
    let good = token(Bearer::Session(origin.channel_id, session), 2, 600);
    let other = Uuid::from_u128(77).into();
    let bad = [
        "nonsense".to_owned(),
        token(Bearer::Session(other, session), 2, 600),
        token(Bearer::Session(origin.channel_id, session), 1, 600),
        token(Bearer::Session(origin.channel_id, session), 2, 0),
        token(Bearer::Anybody(origin.channel_id), 2, 600),
        // The last letter has two bits of the MAC.
        format!("{}{}", &good[..109], if good.ends_with('A') { 'Q' } else { 'A' }),
    ];
    let stranger = PlaybackKeys::new([8; 32], []);
    let forged = Pass { bearer: Bearer::Edge, version: 2, expires_at_s: now_s() + 600 };
    let forged = stranger.mint(&forged).unwrap();
    for (router, prefix) in [(&origin.router, "/live"), (&edge, "")] {
        settled(router, &format!("{prefix}/t/{good}/{stream_id}/index.m3u8")).await;
        for rest in ["index.m3u8", "source/index.m3u8", "source/p3.m4s", "source/s0.m4s", "source/init0.mp4"] {
            let allowed = settled(router, &format!("{prefix}/t/{good}/{stream_id}/{rest}")).await;
            assert_eq!(allowed.0, StatusCode::OK, "{rest}");
            let cache = allowed.1[header::CACHE_CONTROL].to_str().unwrap();
            assert!(cache.starts_with("private, max-age="), "{cache}");
            let plain = settled(router, &format!("{prefix}/{stream_id}/{rest}")).await;
            assert_eq!((plain.0, code(&plain.2)), (StatusCode::FORBIDDEN, "playback_refused".to_owned()), "{rest}");
            for wrong in bad.iter().chain([&forged]) {
                let refused = settled(router, &format!("{prefix}/t/{wrong}/{stream_id}/{rest}")).await;
                assert_eq!((refused.0, code(&refused.2)), (StatusCode::FORBIDDEN, "playback_refused".to_owned()));
                assert_eq!(refused.1[header::CACHE_CONTROL], "no-store");
            }
        }
        // What is not there is only said to who might see it.
        for rest in ["thumbnail.jpg", "source/s999.m4s", "index.mpd", "nothing"] {
            assert_eq!(
                settled(router, &format!("{prefix}/{stream_id}/{rest}")).await.0,
                StatusCode::FORBIDDEN,
                "{rest}"
            );
            let allowed = settled(router, &format!("{prefix}/t/{good}/{stream_id}/{rest}")).await;
            assert_ne!(allowed.0, StatusCode::FORBIDDEN, "{rest}");
        }
        // What a browser may ask before is answered alike whatever there is, with nothing in it.
        let (nobody, wrong) = (Uuid::now_v7(), &bad[0]);
        for path in [
            format!("{prefix}/{stream_id}/source/p3.m4s"),
            format!("{prefix}/t/{good}/{stream_id}/source/p3.m4s"),
            format!("{prefix}/t/{wrong}/{stream_id}/source/index.m3u8?_HLS_msn=99999"),
            format!("{prefix}/{nobody}/source/p3.m4s"),
            format!("{prefix}/authorise"),
            format!("{prefix}/revocations"),
        ] {
            let asked = settled_of(router, || Request::options(&path).body(Body::empty()).unwrap()).await;
            assert_eq!((asked.0, asked.2.len()), (StatusCode::NO_CONTENT, 0), "{path}");
            assert!(!asked.1.contains_key(header::ETAG), "{path}");
        }
        let channel = format!("channels/{}/index.m3u8", origin.channel_id);
        assert_eq!(settled(router, &format!("{prefix}/{channel}")).await.0, StatusCode::FORBIDDEN);
        let to = settled(router, &format!("{prefix}/t/{good}/{channel}")).await;
        assert_eq!(
            (to.0, to.1[header::LOCATION].to_str().unwrap()),
            (StatusCode::FOUND, &*format!("../../{stream_id}/index.m3u8"))
        );
        // A cache that verifies asks with the address that it was asked for.
        let asks = |uri: &str| {
            let request = Request::get(format!("{prefix}/authorise")).header("x-original-uri", uri);
            request.body(Body::empty()).unwrap()
        };
        for (uri, expected) in [
            (format!("/live/t/{good}/{stream_id}/source/p3.m4s?x=1"), 204),
            (format!("/live/t/{forged}/{stream_id}/source/p3.m4s"), 403),
            (format!("/live/{stream_id}/source/p3.m4s"), 403),
            (format!("/vod/t/{good}/{stream_id}/index.m3u8"), 404),
            ("/elsewhere".to_owned(), 404),
        ] {
            assert_eq!(settled_of(router, || asks(&uri)).await.0.as_u16(), expected);
        }
        for path in [format!("{prefix}/revocations"), format!("{prefix}/{stream_id}/rights")] {
            assert_eq!(settled(router, &path).await.0, StatusCode::FORBIDDEN, "{path} is for relays");
        }
    }
    origin.restrict(Visibility::Public, 3);
    assert_eq!(get(&origin.router, &format!("/live/{stream_id}/index.m3u8")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_ends_what_is_waited_for() {
    let origin = Origin::start().await;
    origin.restrict(Visibility::Private, 2);
    let edge = Router::new().fallback_service(origin.edge().service());
    let stream_id = origin.broadcast.stream_id();
    for (number, (router, prefix)) in [(&origin.router, "/live"), (&edge, "")].into_iter().enumerate() {
        let sessions = [1, 2].map(|session| SessionId::from(Uuid::from_u128(number as u128 * 10 + session)));
        let address = |session: SessionId, rest: &str| {
            let good = token(Bearer::Session(origin.channel_id, session), 2, 600);
            format!("{prefix}/t/{good}/{stream_id}/{rest}")
        };
        let (_, _, body) = settled(router, &address(sessions[0], "source/index.m3u8")).await;
        let (segment, part) = read(&body).next_position();
        let next = format!("source/index.m3u8?_HLS_msn={segment}&_HLS_part={part}");
        let hold = |session| {
            let (router, path) = (router.clone(), address(session, &next));
            tokio::spawn(async move { settled(&router, &path).await })
        };
        let (taken, kept) = (hold(sessions[0]), hold(sessions[1]));
        origin.end(sessions[0]);
        assert_eq!(timeout(LONG, taken).await.unwrap().unwrap().0, StatusCode::FORBIDDEN);
        assert_eq!(settled(router, &address(sessions[0], "source/p3.m4s")).await.0, StatusCode::FORBIDDEN);
        assert!(!kept.is_finished(), "others go on waiting");
        kept.abort();
    }
    // Others may watch than before: whoever waits is sent away at both, with a token of before or without one.
    let held = |router: &Router, prefix: &str| {
        let good = token(Bearer::Session(origin.channel_id, Uuid::from_u128(50).into()), 2, 600);
        let path = format!("{prefix}/t/{good}/{stream_id}/source/index.m3u8?_HLS_msn=3");
        let router = router.clone();
        tokio::spawn(async move { settled(&router, &path).await })
    };
    let waiting = [held(&origin.router, "/live"), held(&edge, "")];
    origin.restrict(Visibility::Unlisted, 3);
    for waiting in waiting {
        assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap().0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_serves_what_it_has_while_its_origin_is_away_and_goes_on_after() {
    let mut origin = Origin::start().await;
    let edge = origin.edge();
    let router = edge.service();
    let (playlist, part) = (origin.path("source/index.m3u8"), origin.path("source/p3.m4s"));
    let (_, _, before) = settled(&router, &playlist).await;
    let (segment, number) = read(&before).next_position();
    assert_eq!(settled(&router, &part).await.0, StatusCode::OK);
    origin.stop().await;
    assert_eq!(get(&router, &playlist).await.2, before);
    assert_eq!(get(&router, &part).await.0, StatusCode::OK);
    let other = get(&router, &origin.path("source/s0.m4s")).await;
    assert_eq!((other.0, code(&other.2)), (StatusCode::SERVICE_UNAVAILABLE, "origin_unavailable".to_owned()));
    origin.push_until(9_000);
    origin.serve().await;
    let next = settled(&router, &format!("{playlist}?_HLS_msn={segment}&_HLS_part={number}")).await;
    assert_eq!(next.0, StatusCode::OK);
    assert!(read(&next.2).next_position() > (segment, number));
    assert_eq!(settled(&router, &origin.path("source/s0.m4s")).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_watches_is_forgotten_and_what_is_not_there_is_asked_for_once() {
    let origin = Origin::start().await;
    let edge = origin.edge_with(|config| config.linger = Duration::from_millis(1));
    let router = edge.service();
    assert_eq!(settled(&router, &origin.path("source/index.m3u8")).await.0, StatusCode::OK);
    timeout(LONG, async {
        while edge.followed() > 0 {
            // A held request ends before it is seen that nobody waits.
            origin.broadcast.end();
            pause().await;
        }
    })
    .await
    .unwrap();
    let unknown = format!("/{}/source/p1.m4s", Uuid::now_v7());
    let began = Instant::now();
    let answers = join_all((0..100).map(|_| settled(&router, &unknown))).await;
    assert!(answers.iter().all(|(status, ..)| *status == StatusCode::NOT_FOUND));
    let asked: usize = origin.asked(|path| path.ends_with(&unknown)).values().sum();
    // That there is nothing is remembered for a second.
    let seconds = began.elapsed().as_secs() as usize;
    assert!((1..=1 + seconds).contains(&asked), "{asked} times in {seconds} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_bounded() {
    let mut origin = Origin::start().await;
    let edge = origin.edge_with(|config| config.cache_bytes = 100_000);
    let router = edge.service();
    settled(&router, &origin.path("source/index.m3u8")).await;
    origin.push_until(18_000);
    for number in 0..30 {
        let (status, _, body) = settled(&router, &origin.path(&format!("source/p{number}.m4s"))).await;
        assert!(status == StatusCode::NOT_FOUND || !body.is_empty());
        assert!(edge.kept_bytes() <= 100_000, "{}", edge.kept_bytes());
    }
    assert!(edge.kept_bytes() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_answer_is_left_for_the_next() {
    let origin = Origin::start().await;
    // Nobody listens there, and nobody else can.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = nobody.local_addr().unwrap();
    let edge = origin.edge_with(|config| config.origins.insert(0, format!("http://{away}")));
    assert_eq!(settled(&edge.service(), &origin.path("source/index.m3u8")).await.0, StatusCode::OK);
    let is_connected = async {
        while !edge.is_connected() {
            pause().await;
        }
    };
    timeout(LONG, is_connected).await.expect("an origin is heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_stream_that_is_withdrawn_is_shown_at_the_origin_or_at_a_relay() {
    let origin = Origin::start().await;
    let edge = origin.edge();
    let router = edge.service();
    let (playlist, part) = (origin.path("source/index.m3u8"), origin.path("source/p3.m4s"));
    assert_eq!(settled(&router, &playlist).await.0, StatusCode::OK);
    assert_eq!(settled(&router, &part).await.0, StatusCode::OK);
    let stream_id = origin.broadcast.stream_id();
    origin.rights.learn(Change::Withdrawn { stream_id, until_s: now_s() + 600 });
    for path in [&playlist, &part] {
        let (status, _, body) = get(&origin.router, &format!("/live{path}")).await;
        assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "stream_not_found".to_owned()));
    }
    let hears = async {
        while get(&router, &part).await.0 != StatusCode::NOT_FOUND {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, hears).await.unwrap();
    assert_eq!(settled(&router, &playlist).await.0, StatusCode::NOT_FOUND);
    // A relay that comes later is told, too.
    let later = origin.edge().service();
    assert_eq!(settled(&later, &playlist).await.0, StatusCode::NOT_FOUND);
}
