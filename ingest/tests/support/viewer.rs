//! A strict viewer of one broadcast, in process: it reads every playlist, checks it, and keeps all that it names.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::{
    collections::BTreeMap,
    io::Write,
    ops::{Deref, DerefMut},
    process::Command,
    sync::Arc,
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use bytes::Bytes;
use domain::ids::{ChannelId, StreamId};
use ingest::{
    origin::{self, Broadcasts, LiveService},
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag},
};
use storage::Storage;
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    fragments::{self, Run},
    playlist::MediaPlaylist,
};

/// It sees the source; [`Viewer::others`] may be watched beside it.
pub struct Viewer {
    pub service: LiveService,
    pub broadcast: Arc<Broadcast>,
    pub broadcasts: Broadcasts,
    pub channel_id: ChannelId,
    pub source: Seen,
    pub others: Vec<Seen>,
    pub storage: Storage,
    _folder: tempfile::TempDir,
}

/// What was seen of one rendition.
#[derive(Default)]
pub struct Seen {
    pub name: String,
    pub playlists: Vec<MediaPlaylist>,
    /// By their names.
    pub files: BTreeMap<String, Bytes>,
    /// Name, initialisation segment, number, whether it follows a discontinuity.
    pub segments: Vec<(String, String, u64, bool)>,
    pub findings: Vec<String>,
    /// How many delta updates left something out.
    pub deltas: usize,
    /// Long streams: playlists but the last two are forgotten, and parts are not fetched.
    pub is_brief: bool,
}

impl Deref for Viewer {
    type Target = Seen;

    fn deref(&self) -> &Seen {
        &self.source
    }
}

impl DerefMut for Viewer {
    fn deref_mut(&mut self) -> &mut Seen {
        &mut self.source
    }
}

/// Files are pushed as fast as can be.
pub fn config() -> PackagerConfig {
    PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() }
}

impl Viewer {
    pub async fn new(config: PackagerConfig) -> Self {
        Self::with_first(config, FirstNumbers::default()).await
    }

    pub async fn with_first(config: PackagerConfig, first: FirstNumbers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let broadcasts = Broadcasts::default();
        let broadcast = Broadcast::new(StreamId::from(Uuid::now_v7()), config, first);
        let channel_id = ChannelId::from(Uuid::now_v7());
        broadcasts.publish(channel_id, Arc::clone(&broadcast));
        Self {
            service: origin::service(broadcasts.clone(), storage.clone()),
            broadcast,
            broadcasts,
            channel_id,
            source: Seen::new("source"),
            others: Vec::new(),
            storage,
            _folder: folder,
        }
    }

    pub async fn get(&self, path: &str) -> (StatusCode, HeaderMap, Bytes) {
        self.request(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn request(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.service.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, to_bytes(body, usize::MAX).await.unwrap())
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.broadcast.stream_id())
    }

    /// Pushes all tags, looking every now and then.
    pub async fn watch(&mut self, packager: &mut Packager, tags: &[Tag]) {
        for (index, tag) in tags.iter().enumerate() {
            packager.push(tag.clone()).unwrap();
            if index % 7 == 0 {
                self.look().await;
            }
        }
        self.look().await;
    }

    /// Watches another rendition too.
    pub fn also(&mut self, name: &str) {
        self.others.push(Seen::new(name));
    }

    /// What was seen of another rendition.
    pub fn of(&self, name: &str) -> &Seen {
        self.others.iter().find(|seen| seen.name == name).unwrap()
    }

    /// Reads the playlists that are out, and all that is new in them.
    pub async fn look(&mut self) {
        if !self.broadcast.is_playable() {
            return;
        }
        let mut source = std::mem::take(&mut self.source);
        self.look_at(&mut source).await;
        let mut others = std::mem::take(&mut self.others);
        for seen in &mut others {
            let is_there = match seen.name.as_str() {
                "audio" => true,
                name => self.broadcast.rendition(name).is_some_and(|rendition| rendition.is_playable()),
            };
            if is_there {
                self.look_at(seen).await;
                let (own, source) = (seen.playlists.last(), source.playlists.last());
                if let (Some(own), Some(source)) = (own, source) {
                    seen.findings.extend(own.findings_beside(source));
                }
            }
        }
        (self.source, self.others) = (source, others);
    }

    async fn look_at(&self, seen: &mut Seen) {
        let path = self.path(&format!("{}/index.m3u8", seen.name));
        let playlist = self.playlist(&path).await;
        if seen.playlists.last() == Some(&playlist) {
            return;
        }
        let mut findings = playlist.findings();
        let delta = self.playlist(&format!("{path}?_HLS_skip=YES")).await;
        findings.extend(delta.findings_of_delta(&playlist));
        seen.deltas += usize::from(delta.skipped_segments > 0);
        if let Some(earlier) = seen.playlists.last() {
            findings.extend(playlist.findings_after(earlier));
        }
        seen.findings.extend(findings.into_iter().map(|finding| format!("{}: {finding}\n{playlist:#?}", seen.name)));
        for segment in &playlist.segments {
            if segment.is_gap || segment.parts.iter().any(|part| part.is_gap) {
                continue;
            }
            self.fetch(seen, &segment.init).await;
            let is_brief = seen.is_brief;
            for part in segment.parts.iter().filter(|_| !is_brief) {
                self.fetch(seen, &part.uri).await;
            }
            if let Some(uri) = &segment.uri
                && !seen.files.contains_key(uri)
            {
                self.fetch(seen, uri).await;
                seen.segments.push((uri.clone(), segment.init.clone(), segment.number, segment.is_after_discontinuity));
                let joined: Vec<u8> = segment
                    .parts
                    .iter()
                    .filter_map(|part| seen.files.get(&part.uri))
                    .flat_map(|part| part.to_vec())
                    .collect();
                if !joined.is_empty() && joined != seen.files[uri] {
                    seen.findings.push(format!("segment {uri} is not what its parts are"));
                }
            }
        }
        if seen.is_brief && seen.playlists.len() > 1 {
            seen.playlists.remove(0);
        }
        seen.playlists.push(playlist);
    }

    async fn playlist(&self, path: &str) -> MediaPlaylist {
        let (status, _, text) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let text = std::str::from_utf8(&text).unwrap();
        match MediaPlaylist::parse(text) {
            Ok(playlist) => playlist,
            Err(error) => panic!("{error}\n{text}"),
        }
    }

    async fn fetch(&self, seen: &mut Seen, name: &str) {
        if !seen.files.contains_key(name) {
            let (status, _, bytes) = self.get(&self.path(&format!("{}/{name}", seen.name))).await;
            assert_eq!(status, StatusCode::OK, "{}/{name}", seen.name);
            seen.files.insert(name.to_owned(), bytes);
        }
    }
}

impl Seen {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Segments between two discontinuities: the initialisation segment, and all bytes after it.
    pub fn epochs(&self) -> Vec<(Bytes, Vec<u8>)> {
        let mut epochs: Vec<(Bytes, Vec<u8>)> = Vec::new();
        for (uri, init, _, is_after_discontinuity) in &self.segments {
            if epochs.is_empty() || *is_after_discontinuity {
                epochs.push((self.files[init].clone(), Vec::new()));
            }
            epochs.last_mut().unwrap().1.extend_from_slice(&self.files[uri]);
        }
        epochs
    }

    /// Fails for what was found, for holes between decode times and for what ffmpeg complains of.
    #[track_caller]
    pub fn assert_flawless(&self) -> Vec<(Bytes, Vec<Run>)> {
        assert!(self.findings.is_empty(), "{} findings, first: {}", self.findings.len(), self.findings[0]);
        assert!(!self.segments.is_empty(), "nothing came out");
        for pair in self.segments.windows(2) {
            assert_eq!(pair[0].2 + 1, pair[1].2, "the viewer missed a segment");
        }
        let epochs = self.epochs();
        let mut read = Vec::new();
        for (init, media) in epochs {
            let runs = fragments::runs(&media);
            let findings = fragments::findings(&runs);
            assert!(findings.is_empty(), "{findings:?}");
            assert_decodes(&init, &media);
            read.push((init, runs));
        }
        read
    }
}

/// Decodes everything with ffmpeg and fails for any complaint.
#[track_caller]
pub fn assert_decodes(init: &[u8], media: &[u8]) {
    let mut file = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
    file.write_all(init).unwrap();
    file.write_all(media).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "warning", "-nostdin", "-xerror", "-i"])
        .arg(file.path())
        .args(["-map", "0", "-f", "null", "-"])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}");
}
