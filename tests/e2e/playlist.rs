//! A strict player without a picture: follows a live playlist over HTTP as LL-HLS players do, with the checker of the
//! packager's own tests, and decodes what it got.

#[path = "../../ingest/tests/support/fragments.rs"]
mod fragments;
#[path = "../../ingest/tests/support/playlist.rs"]
mod rules;

use std::{
    collections::BTreeMap,
    io::Write,
    process::Command,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode, Url};
pub use rules::MediaPlaylist;

use crate::weir::{PATIENCE, eventually};

/// What was played.
#[derive(Debug)]
pub struct Played {
    first: u64,
    length_ms: u64,
}

impl Played {
    pub fn seconds(&self) -> f64 {
        self.length_ms as f64 / 1_000.0
    }

    /// The number of the first segment that was listed.
    pub fn first_sequence(&self) -> u64 {
        self.first
    }
}

/// Follows the stream behind a master playlist by blocked reloads until `segments` are complete, and fails for anything
/// that a strict player could object to: numbers, durations, decode times, bytes that do not decode. Where this process is kept
/// from asking for longer than the playlist reaches back, it begins anew.
pub async fn check_live(master: &str, segments: usize) -> Played {
    let client = Client::builder().pool_idle_timeout(Duration::from_secs(1)).read_timeout(PATIENCE).build().unwrap();
    let media = eventually("a master playlist", async || {
        let answer = client.get(master).send().await.ok()?;
        let (status, base) = (answer.status(), answer.url().clone());
        let text = answer.text().await.ok()?;
        let name = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'))?;
        (status == StatusCode::OK).then(|| base.join(name).unwrap())
    })
    .await;
    let began = Instant::now();
    loop {
        if let Ok(played) = follow(&client, &media, segments).await {
            return played;
        }
        assert!(began.elapsed() < 3 * PATIENCE, "{media} goes on faster than it can be read");
    }
}

/// What was wanted next is not in the playlist any more.
struct TooLate;

async fn follow(client: &Client, media: &Url, segments: usize) -> Result<Played, TooLate> {
    let mut last: Option<MediaPlaylist> = None;
    let mut findings = Vec::new();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut complete: Vec<rules::Segment> = Vec::new();
    while complete.len() < segments {
        let mut address = media.clone();
        if let Some(last) = &last {
            assert!(!last.is_ended, "the stream has ended after {} segments of {segments}", complete.len());
            let (segment, part) = last.next_position();
            address.set_query(Some(&format!("_HLS_msn={segment}&_HLS_part={part}")));
        }
        let text = String::from_utf8(fetch(client, &address).await.expect("it is there")).unwrap();
        let playlist = MediaPlaylist::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        findings.extend(playlist.findings());
        if let Some(last) = &last {
            findings.extend(playlist.findings_after(last));
        }
        assert!(findings.is_empty(), "{findings:?}\n{text}");
        if complete.last().is_some_and(|complete| complete.number + 1 < playlist.media_sequence) {
            return Err(TooLate);
        }
        for part in playlist.segments.last().iter().flat_map(|segment| &segment.parts) {
            load(client, media, &part.uri, &mut files).await?;
        }
        for segment in playlist.complete() {
            if complete.iter().all(|known| known.number != segment.number) {
                load(client, media, &segment.init, &mut files).await?;
                load(client, media, segment.uri.as_deref().unwrap(), &mut files).await?;
                complete.push(segment.clone());
            }
        }
        last = Some(playlist);
    }
    for pair in complete.windows(2) {
        assert_eq!(pair[0].number + 1, pair[1].number, "no segment was missed");
    }
    for epoch in complete.chunk_by(|_, next| !next.is_after_discontinuity) {
        let bytes: Vec<u8> = epoch.iter().flat_map(|segment| &files[segment.uri.as_ref().unwrap()]).copied().collect();
        let findings = fragments::findings(&fragments::runs(&bytes));
        assert!(findings.is_empty(), "decode times go on: {findings:?}");
        assert_decodes(&files[&epoch[0].init], &bytes);
    }
    let length_ms = complete.iter().map(rules::Segment::length_ms).sum();
    Ok(Played { first: complete[0].number, length_ms })
}

/// What a playlist names is there, as long as it does.
async fn load(
    client: &Client,
    playlist: &Url,
    name: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), TooLate> {
    if files.contains_key(name) {
        return Ok(());
    }
    if let Some(file) = fetch(client, &playlist.join(name).unwrap()).await {
        files.insert(name.to_owned(), file);
        return Ok(());
    }
    let now = String::from_utf8(fetch(client, playlist).await.expect("it is there")).unwrap();
    let is_named = now.lines().any(|line| line == name || line.contains(&format!("\"{name}\"")));
    assert!(!is_named, "{name} is named and is not there:\n{now}");
    Err(TooLate)
}

/// `None` where there is no such thing; what takes too long to come is asked for again.
async fn fetch(client: &Client, address: &Url) -> Option<Vec<u8>> {
    eventually(&format!("{address} answers"), async || {
        let answer = client.get(address.clone()).send().await.unwrap();
        match answer.status() {
            StatusCode::OK => Some(Some(answer.bytes().await.unwrap().to_vec())),
            StatusCode::NOT_FOUND => Some(None),
            // The encoder is kept from sending, or a node between from asking.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => None,
            status => panic!("{address}: {status}"),
        }
    })
    .await
}

/// ffprobe counts every frame, and has nothing to complain of.
fn assert_decodes(init: &[u8], media: &[u8]) {
    let mut file = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
    file.write_all(init).unwrap();
    file.write_all(media).unwrap();
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(file.path())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&probe.stderr);
    assert!(probe.status.success() && complaints.is_empty(), "{complaints}");
    let frames: u64 = String::from_utf8_lossy(&probe.stdout).trim().trim_end_matches(',').parse().unwrap();
    assert!(frames > 0, "there are frames in it");
}
