//! Downloads: copies in a real S3 server, by addresses of its own, and recordings that are several files.

use std::sync::Arc;

use axum::Router;
use domain::ids::RecordingId;
use futures::{FutureExt, future::BoxFuture};
use ingest::{RecordError, RecordingAccess, RecordingRights, RecordingUse, origin::recordings};
use reqwest::{Client, StatusCode, redirect};
use storage::{DiskWatch, Storage};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{Plane, clips, encoder, peer::Peer, platform::LONG, probe, server::Server};

/// Everybody may have everything, until that is taken back.
struct UntilTakenBack(watch::Sender<bool>);

impl RecordingRights for UntilTakenBack {
    fn allows<'a>(
        &'a self,
        _: RecordingId,
        _: RecordingUse,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<RecordingAccess, RecordError>> {
        let access = match *self.0.borrow() {
            true => RecordingAccess::Unknown,
            false => RecordingAccess::Granted { is_public: true, file_name: "harbour-2026-11-21".to_owned() },
        };
        async move { Ok(access) }.boxed()
    }

    fn lost(&self, _: RecordingId, _: RecordingUse, _: Option<String>) -> BoxFuture<'static, ()> {
        let mut taken_back = self.0.subscribe();
        async move { _ = taken_back.wait_for(|is_taken_back| *is_taken_back).await }.boxed()
    }
}

/// A recording of nine seconds in S3, and where it is to be had.
async fn recorded(storage: &Storage) -> (Plane, RecordingId) {
    let plane = Plane::start_on(storage.clone(), Arc::default(), Arc::default(), DiskWatch::default()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    plane.archive.begun().await;
    peer.unpublish("key").await;
    let (id, _) = plane.archive.published().await;
    (plane, id)
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let poll = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, poll).await.unwrap_or_else(|_| panic!("{what}"));
}

fn client() -> Client {
    Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap()
}

#[tokio::test]
async fn the_second_download_comes_from_the_bucket_by_an_address_of_its_own() {
    let server = Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    let (plane, id) = recorded(&storage).await;
    let base = serve(recordings::router(storage, Arc::new(UntilTakenBack(watch::Sender::new(false))))).await;
    let url = format!("{base}/{id}/download.mp4");
    let client = client();
    let first = client.get(&url).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK, "there is no copy yet");
    let first = first.bytes().await.unwrap();
    let copy = format!("recordings/{id}/files/1.mp4");
    until("a copy is made", || server.has(&copy)).await;

    let sent_away = async {
        loop {
            let answer = client.get(&url).send().await.unwrap();
            if answer.status() == StatusCode::FOUND {
                return answer;
            }
            assert_eq!(answer.status(), StatusCode::OK);
        }
    };
    let answer = timeout(LONG, sent_away).await.expect("it is to be had in the bucket");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let address = answer.headers()["location"].to_str().unwrap().to_owned();
    let endpoint = server.options().endpoint.unwrap();
    assert!(address.starts_with(&endpoint) && address.contains("X-Amz-Signature="), "{address}");
    // Nobody but whoever has the address gets it, and by no other method than the one that it is for.
    let from_bucket = client.get(&address).send().await.unwrap();
    assert_eq!(from_bucket.status(), StatusCode::OK);
    let disposition = from_bucket.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.contains("harbour-2026-11-21.mp4"), "{disposition}");
    assert_eq!(from_bucket.bytes().await.unwrap(), first);
    let bare = address.split('?').next().unwrap();
    assert_eq!(client.get(bare).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(client.head(&address).send().await.unwrap().status(), StatusCode::FORBIDDEN);

    // Who only asks what there is, or for a part, is answered by the origin.
    let asked = client.head(&url).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    assert_eq!(asked.headers()["content-length"], first.len().to_string());
    let part = client.get(&url).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), first[10..20]);
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_copy_of_what_was_deleted_meanwhile_does_not_stay() {
    let server = Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    let (plane, id) = recorded(&storage).await;
    let taken_back = watch::Sender::new(false);
    let base = serve(recordings::router(storage.clone(), Arc::new(UntilTakenBack(taken_back.clone())))).await;
    let url = format!("{base}/{id}/download.mp4");
    client().get(&url).send().await.unwrap().bytes().await.unwrap();
    let copy = format!("recordings/{id}/files/1.mp4");
    until("a copy is made", || server.has(&copy)).await;
    // Whoever deletes it has been here just before, and this node hears of it now.
    taken_back.send_replace(true);
    until("the copy goes", || !server.has(&copy)).await;
    assert_eq!(client().get(&url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn another_picture_in_between_makes_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(&encoder::film("320x180", 5)).await;
    let mut smaller = encoder::film("160x90", 4);
    smaller.iter_mut().for_each(|tag| tag.timestamp_ms += 5_000);
    peer.send_tags(&smaller).await;
    plane.archive.begun().await;
    peer.unpublish("key").await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));

    let whole = plane.get(&format!("vod/{id}/download.mp4")).await;
    assert_eq!(whole.status(), StatusCode::CONFLICT);
    assert!(whole.text().await.unwrap().contains("recording_not_one_file"));
    let list: serde_json::Value = serde_json::from_str(&plane.text(&format!("vod/{id}/downloads.json")).await).unwrap();
    let files = list["items"].as_array().unwrap();
    assert_eq!(files.len(), 2, "{list}");
    let number = |file: usize, field: &str| files[file][field].as_f64().unwrap();
    assert_eq!(number(0, "starts_at_ms"), 0.0);
    assert_eq!(number(1, "starts_at_ms"), number(0, "duration_ms"));
    for (place, (width, seconds)) in [("320", 5.0), ("160", 4.0)].into_iter().enumerate() {
        let name = format!("download-{}.mp4", place + 1);
        assert_eq!(files[place]["name"], name);
        let path = format!("vod/{id}/{name}");
        let answer = plane.get(&path).await;
        let disposition = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.contains(&format!("harbour-2026-11-21-{}.mp4", place + 1)), "{disposition}");
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len() as f64, number(place, "size_bytes"));
        let (lasts, _) = probe(&plane.url(&path)).await;
        assert!(
            (lasts - seconds).abs() < 0.5 && (lasts * 1_000.0 - number(place, "duration_ms")).abs() < 200.0,
            "{lasts}"
        );
        assert_eq!(width_of(&plane.url(&path)).await, width);
    }
    assert_eq!(plane.get(&format!("vod/{id}/download-3.mp4")).await.status(), StatusCode::NOT_FOUND);
    plane.ingest.shutdown().await;
}

async fn width_of(url: &str) -> String {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width", "-of", "csv=p=0", url])
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').to_owned()
}
