//! Whatever is asked for, at whatever address: a right that is taken away is gone, at the origin and at a relay; also for what
//! is held or sent at that moment.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, Request, StatusCode, header},
};
use domain::{
    channels::Visibility,
    ids::{ChannelId, SessionId, StreamId},
};
use futures::StreamExt;
use ingest::{
    origin::Kind,
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig},
    rights::{Bearer, Change, ChannelRights},
};
use tokio::{task::JoinHandle, time::timeout};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    addresses::{self, Row, Shown},
    code,
    node::{LONG, Origin, SOURCE, get, now_s, token, until},
    pause, read, settled,
};

/// The segment that grows once an [`Origin`] has begun, which has some parts.
const GROWING: u64 = 2;

fn shown(origin: &Origin) -> Shown {
    Shown {
        stream: origin.broadcast.stream_id().to_string(),
        channel: origin.channel_id.to_string(),
        recording: origin.recording.recording_id.to_string(),
        finished: GROWING - 1,
        growing: GROWING,
        part: 3,
    }
}

/// A relay in front of the origin, with all that it serves.
async fn relay(origin: &Origin) -> Router {
    let edge = origin.edge();
    let router = Router::new().nest_service("/live", edge.service()).nest("/vod", edge.recordings());
    timeout(LONG, async {
        while !edge.is_connected() {
            pause().await;
        }
    })
    .await
    .unwrap();
    router
}

fn request(row: &Row, token: Option<&str>) -> Request<Body> {
    let (path, original) = row.request(token);
    let request = Request::get(path);
    let request = match original {
        Some(original) => request.header("x-original-uri", original),
        None => request,
    };
    request.body(Body::empty()).unwrap()
}

/// Status and headers, and the body as far as it is read.
async fn ask(router: &Router, row: &Row, token: Option<&str>) -> (StatusCode, HeaderMap, BodyDataStream) {
    let response = timeout(LONG, router.clone().oneshot(request(row, token))).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, body.into_data_stream())
}

fn is_shown(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::FOUND | StatusCode::NO_CONTENT)
}

/// As [`ask`], again while nobody can be asked.
async fn ask_settled(router: &Router, row: &Row, token: Option<&str>) -> (StatusCode, HeaderMap, BodyDataStream) {
    let asked = async {
        loop {
            let answer = ask(router, row, token).await;
            if answer.0 != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            pause().await;
        }
    };
    timeout(LONG, asked).await.unwrap_or_else(|_| panic!("nobody can be asked for {row:?}"))
}

/// Waits until this is refused.
async fn refused(router: &Router, row: &Row, token: Option<&str>) {
    let refused = async {
        while !is_refused(ask(router, row, token).await.0) {
            pause().await;
        }
    };
    timeout(LONG, refused).await.unwrap_or_else(|_| panic!("it goes on with {row:?}"));
}

/// That nobody can be asked just now is no refusal.
fn is_refused(status: StatusCode) -> bool {
    !is_shown(status) && status != StatusCode::SERVICE_UNAVAILABLE
}

/// A session that may watch, when the channel has had two events.
fn viewer(origin: &Origin, session: u128) -> (SessionId, String) {
    let session = SessionId::from(Uuid::from_u128(session));
    (session, token(Bearer::Session(origin.channel_id, session), 2, 600))
}

/// Something that takes a right away from a private channel that has had two events.
struct Loss {
    what: &'static str,
    /// Good until then; `None`: everybody may.
    token: Option<String>,
    lose: Box<dyn Fn(&Origin)>,
    /// What is answered then, of the stream and of the recording.
    after: [StatusCode; 2],
}

fn losses(origin: &Origin) -> Vec<Loss> {
    let channel_id = origin.channel_id;
    let stream_id = origin.broadcast.stream_id();
    let (session, of_session) = viewer(origin, 1);
    let invite_id = Uuid::from_u128(9).into();
    let invited = token(Bearer::Invited(channel_id, invite_id), 2, 600);
    let (refused, gone) = (StatusCode::FORBIDDEN, StatusCode::NOT_FOUND);
    let until_s = now_s() + 600;
    let private = ChannelRights { channel_id, visibility: Visibility::Private, version: 3, is_closed: false };
    let loss = |what, token, lose: Box<dyn Fn(&Origin)>, after| Loss { what, token, lose, after };
    vec![
        loss("the session ends", Some(of_session.clone()), Box::new(move |origin| origin.end(session)), [refused; 2]),
        loss(
            "the invite is taken back",
            Some(invited),
            Box::new(move |origin| origin.rights.learn(Change::Invite { invite_id, until_s })),
            [refused; 2],
        ),
        loss(
            "a role is taken",
            Some(of_session.clone()),
            Box::new(move |origin| origin.rights.learn(Change::Renewed(private))),
            [refused; 2],
        ),
        loss(
            "others may watch than before",
            Some(of_session.clone()),
            Box::new(|origin| origin.restrict(Visibility::Unlisted, 3)),
            [refused; 2],
        ),
        loss(
            "everybody could watch, and the channel is private",
            None,
            Box::new(|origin| origin.restrict(Visibility::Private, 4)),
            [refused, gone],
        ),
        loss(
            "the stream is withdrawn, and the owner kept out",
            Some(of_session.clone()),
            Box::new(move |origin| {
                origin.rights.learn(Change::Withdrawn { stream_id, until_s });
                origin.rights.learn(Change::KeptOut { channel_id, version: 1, until_s });
            }),
            [gone; 2],
        ),
        loss(
            "the channel is closed",
            Some(of_session),
            Box::new(move |origin| {
                origin.rights.learn(Change::Channel(ChannelRights { is_closed: true, ..private }));
            }),
            [gone; 2],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_address_is_refused_once_the_right_to_it_is_gone() {
    // One for each: some of them cannot be undone.
    let count = losses(&Origin::start().await).len();
    for number in 0..count {
        let origin = Origin::start().await;
        let Loss { what, token, lose, after } = losses(&origin).swap_remove(number);
        match token {
            Some(_) => origin.restrict(Visibility::Private, 2),
            None => origin.restrict(Visibility::Public, 2),
        }
        let places = [("the origin", origin.straight.clone()), ("a relay", relay(&origin).await)];
        let mut rows = addresses::all(&shown(&origin));
        let shown = async |router: &Router, row: &Row| loop {
            let (status, headers, _) = ask(router, row, token.as_deref()).await;
            if is_shown(status) {
                return (status, headers);
            }
            pause().await;
        };
        for (place, router) in &places {
            for row in &rows {
                timeout(LONG, shown(router, row)).await.unwrap_or_else(|_| panic!("{place} does not show {row:?}"));
            }
        }
        lose(&origin);
        // Where a channel's stream is, is its channel's: while there is one, that is said.
        rows.retain(|row| {
            !what.starts_with("the stream") || !matches!(row.kind, Kind::Channel | Kind::ChannelManifest)
        });
        for (place, router) in &places {
            for row in &rows {
                let refused = async {
                    loop {
                        let (status, headers, _) = ask(router, row, token.as_deref()).await;
                        if is_refused(status) {
                            return (status, headers);
                        }
                        pause().await;
                    }
                };
                let refused = timeout(LONG, refused).await;
                let (status, headers) = refused.unwrap_or_else(|_| panic!("{what}: {place} goes on with {row:?}"));
                assert_eq!(status, after[usize::from(row.kind.is_of_recording())], "{what}, {place}: {row:?}");
                assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{what}, {place}: {row:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_held_is_refused_once_the_right_to_it_is_gone() {
    let origin = Origin::start().await;
    origin.restrict(Visibility::Private, 2);
    let (_, first) = viewer(&origin, 1);
    let (_, _, body) = get(&origin.straight, &format!("/live/t/{first}{}", origin.path("source/index.m3u8"))).await;
    let playlist = read(&body);
    let (segment, part) = playlist.next_position();
    let hinted = playlist.preload_hint.unwrap();
    let rests = [
        format!("source/index.m3u8?_HLS_msn={segment}&_HLS_part={part}"),
        format!("audio/index.m3u8?_HLS_msn={segment}&_HLS_skip=YES"),
        format!("source/rewind.m3u8?_HLS_msn={segment}&_HLS_part={part}"),
        format!("audio/rewind.m3u8?_HLS_msn={segment}"),
        format!("source/{hinted}"),
        format!("audio/{hinted}"),
        format!("source/v/s{}.m4s", segment + 1),
        format!("source/a/s{}.m4s", segment + 1),
    ];
    // The origin's answers are counted in both cases: whoever is counted twice there has two viewers who wait.
    let places = [("the origin", origin.router.clone(), 2), ("a relay", relay(&origin).await, 1)];
    for (number, (place, router, asked)) in places.into_iter().enumerate() {
        let (taken, kept) = (viewer(&origin, 10 + number as u128), viewer(&origin, 20 + number as u128));
        settled(&router, &format!("/live/t/{}{}", taken.1, origin.path("index.m3u8"))).await;
        origin.asked.lock().unwrap().clear();
        let hold = |rest: &String, token: &str| -> JoinHandle<StatusCode> {
            let (router, path) = (router.clone(), format!("/live/t/{token}{}", origin.path(rest)));
            tokio::spawn(async move {
                loop {
                    // What it waits for does not come, which is said at last.
                    let (status, ..) = get(&router, &path).await;
                    if status != StatusCode::SERVICE_UNAVAILABLE {
                        return status;
                    }
                }
            })
        };
        let held: Vec<_> = rests.iter().map(|rest| (rest, hold(rest, &taken.1), hold(rest, &kept.1))).collect();
        for rest in &rests {
            let is_of = |path: &str| match rest.split_once('?') {
                // A relay follows by positions of its own.
                Some((name, _)) => path.contains(&origin.path(name)) && path.contains("_HLS_msn="),
                None => path.ends_with(&origin.path(rest)),
            };
            let is_held = async {
                while origin.asked(is_of).values().sum::<usize>() < asked {
                    pause().await;
                }
            };
            timeout(LONG, is_held).await.unwrap_or_else(|_| panic!("{place} is not asked for {rest}"));
        }
        origin.end(taken.0);
        for (rest, of_taken, of_kept) in held {
            let status = timeout(LONG, of_taken).await.unwrap_or_else(|_| panic!("{place} holds {rest}")).unwrap();
            assert_eq!(status, StatusCode::FORBIDDEN, "{place}: {rest}");
            assert!(!of_kept.is_finished(), "{place}: others go on waiting for {rest}");
            of_kept.abort();
        }
    }
}

/// Whether what is left comes to its end.
async fn ends(mut body: BodyDataStream) -> bool {
    let reading = async {
        loop {
            match body.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    };
    timeout(LONG, reading).await.expect("it ends, one way or the other")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_being_sent_breaks_off_once_the_right_to_it_is_gone() {
    let origin = Origin::start().await;
    origin.restrict(Visibility::Private, 2);
    origin.keep_segment(9, 1 << 20).await;
    let rows = addresses::all(&shown(&origin));
    let growing = rows.iter().find(|row| row.grows).unwrap();
    let download = rows.iter().find(|row| row.kind == Kind::Download).unwrap();
    let segment = rows.iter().find(|row| row.kind == Kind::RecordingSegment).unwrap();
    let segment = Row { rest: segment.rest.replace("s0.m4s", "s9.m4s"), ..segment.clone() };
    let (here, relay) = (origin.straight.clone(), relay(&origin).await);
    // A segment that a relay has of a recording is in its memory, and goes as a whole.
    let sent = [
        ("the origin", &here, growing),
        ("the origin", &here, download),
        ("the origin", &here, &segment),
        ("a relay", &relay, growing),
        ("a relay", &relay, download),
    ];
    for (number, (place, router, row)) in sent.into_iter().enumerate() {
        let (session, good) = viewer(&origin, 100 + number as u128);
        let (status, headers, mut body) = ask_settled(router, row, Some(&good)).await;
        assert_eq!(status, StatusCode::OK, "{place}: {row:?}");
        let first = timeout(LONG, body.next()).await.unwrap().unwrap().unwrap();
        if let Some(length) = headers.get(header::CONTENT_LENGTH) {
            assert!(first.len() < length.to_str().unwrap().parse().unwrap(), "{place}: {row:?} came at once");
        }
        origin.end(session);
        refused(router, row, Some(&good)).await;
        assert!(!ends(body).await, "{place}: {row:?} does not end as if it were whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_everybody_is_sent_breaks_off_when_the_channel_becomes_private() {
    for is_relayed in [false, true] {
        let origin = Origin::start().await;
        origin.keep_segment(9, 1 << 20).await;
        let router = if is_relayed { relay(&origin).await } else { origin.straight.clone() };
        let rows = addresses::all(&shown(&origin));
        let open = async |row: &Row| {
            let (status, _, mut body) = ask_settled(&router, row, None).await;
            assert_eq!(status, StatusCode::OK, "{row:?}");
            assert!(timeout(LONG, body.next()).await.unwrap().unwrap().is_ok());
            body
        };
        let growing = rows.iter().find(|row| row.grows).unwrap();
        let download = rows.iter().find(|row| row.kind == Kind::Download).unwrap();
        let bodies = [open(growing).await, open(download).await];
        let (_, good) = viewer(&origin, 1);
        origin.restrict(Visibility::Private, 2);
        // A relay may have all of it already, and hears of that a moment later.
        for row in [growing, download] {
            refused(&router, row, None).await;
        }
        for body in bodies {
            assert!(!ends(body).await, "relayed: {is_relayed}");
        }
        // The relay's own question goes on, for those who still may.
        let allowed = async {
            while ask(&router, growing, Some(&good)).await.0 != StatusCode::OK {
                pause().await;
            }
        };
        timeout(LONG, allowed).await.expect("whoever still may goes on");
    }
}

/// A relay that has asked just before a private stream began believes for a moment that it is nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_shows_nothing_of_a_private_stream_that_it_took_for_nobodys() {
    let origin = Origin::start().await;
    let router = relay(&origin).await;
    let (stream_id, channel_id) = (StreamId::from(Uuid::now_v7()), ChannelId::from(Uuid::now_v7()));
    let rests =
        ["source/index.m3u8", "index.m3u8", "source/init0.mp4", "source/s0.m4s", "source/v/s0.m4s", "index.mpd"];
    let before = get(&router, &format!("/live/{stream_id}/source/init0.mp4")).await;
    assert_eq!(before.0, StatusCode::NOT_FOUND);
    let broadcast = Broadcast::new(
        stream_id,
        PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() },
        FirstNumbers::default(),
    );
    let mut packager = Packager::new(Arc::clone(&broadcast));
    for tag in &SOURCE[..until(5_100)] {
        packager.push(tag.clone()).unwrap();
    }
    let rights = ChannelRights { channel_id, visibility: Visibility::Private, version: 2, is_closed: false };
    origin.rights.learn(Change::Channel(rights));
    origin.broadcasts.publish(channel_id, broadcast);
    let deadline = tokio::time::Instant::now() + LONG;
    for rest in rests {
        loop {
            let (status, _, body) = get(&router, &format!("/live/{stream_id}/{rest}")).await;
            assert_ne!(status, StatusCode::OK, "{rest}");
            if status == StatusCode::FORBIDDEN {
                assert_eq!(code(&body), "playback_refused");
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{rest}: {status}");
            pause().await;
        }
    }
    let good = token(Bearer::Session(channel_id, Uuid::from_u128(1).into()), 2, 600);
    for rest in rests {
        // That there was nothing is remembered for a second.
        let shown = async {
            while get(&router, &format!("/live/t/{good}/{stream_id}/{rest}")).await.0 != StatusCode::OK {
                pause().await;
            }
        };
        timeout(LONG, shown).await.unwrap_or_else(|_| panic!("{rest} is not shown to who may"));
    }
}
