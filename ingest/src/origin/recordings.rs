//! Serves recordings from the storage: the same segments that viewers got while the stream was on.
//!
//! | address | what |
//! |---|---|
//! | `/<recording>/index.m3u8` | the multivariant playlist |
//! | `/<recording>/source/index.m3u8` | the media playlist |
//! | `/<recording>/source/init<N>.mp4`, `s<N>.m4s` | initialisation segment, segment |
//! | `/<recording>/download.mp4` | all of it in one file, where it can be one |
//! | `/<recording>/download-<N>.mp4` | its file number N, counted from 1: picture or sound changed after each |
//! | `/<recording>/downloads.json` | which files there are |
//! | `/<recording>/thumbnail.jpg` | a still picture |
//! | `/<recording>/sheets/index.vtt`, `<N>.jpg` | small pictures for seeking |
//! | `/t/<token>/<any of these>` | the same for whoever may not have it without a token |
//! | `/<recording>/rights` | under which terms it may be had: for relays, with `Authorization: Bearer <a relay's token>` |
//!
//! A relay may have all but the last with its token in the header `weir-relay`.
//!
//! Who may is asked of [`RecordingRights`] for each request, whatever it is for; nothing else here decides.

mod copies;
mod file;
mod playlist;

use std::{
    collections::HashMap,
    io::Write as _,
    ops::RangeInclusive,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::any,
};
use bytes::Bytes;
use domain::ids::RecordingId;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use storage::{Key, Storage, StorageError};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use self::{copies::Copies, file::File};
use super::{
    cutting,
    problem::Problem,
    reply,
    rights::{bearer, json},
};
use crate::{
    ports::{RecordingAccess, RecordingRights, RecordingUse},
    recorder::{self, index::Index},
};

/// What a relay shows its token in. Not in `Authorization`, which caches in front send with everything that they fetch: it would
/// get them what is not public under addresses that are. And not in the address, which proxies write into their logs.
pub(crate) const RELAY: HeaderName = HeaderName::from_static("weir-relay");
/// How many segments are known at a time, of all recordings together: 50 MB or so.
const KNOWN_SEGMENTS: usize = 200_000;
const PIECE_BYTES: usize = 64 * 1024;

/// Recordings; to be nested under `/vod`. Any node with the storage may serve them.
///
/// Answers carry their own CORS headers: no layer needs to add them.
pub fn router(storage: Storage, rights: Arc<dyn RecordingRights>) -> Router {
    let copies = Copies::new(storage.clone(), Arc::clone(&rights));
    let origin = Arc::new(Origin { storage, rights, known: Mutex::default(), copies });
    Router::new().route("/", any(answer)).route("/{*path}", any(answer)).with_state(origin)
}

struct Origin {
    storage: Storage,
    rights: Arc<dyn RecordingRights>,
    known: Mutex<HashMap<RecordingId, Arc<Known>>>,
    copies: Copies,
}

/// A complete recording, which does not change any more.
struct Known {
    index: Index,
    master: Bytes,
    media: Bytes,
    /// The same, compressed: a playlist of ten hours is 300 kB otherwise.
    media_gzip: Bytes,
    /// As files: one, unless picture or sound changed in between.
    files: OnceLock<Vec<Arc<File>>>,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) token: Option<&'a str>,
    /// Without the token.
    pub(crate) path: &'a str,
    pub(crate) recording_id: RecordingId,
    pub(crate) wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Master,
    Media,
    Init(u64),
    Segment(u64),
    /// One of several by its number, or the only one.
    File(Option<u64>),
    Files,
    Picture,
    Times,
    Sheet(u64),
    Rights,
}

impl Wanted {
    /// What it is to be had for.
    pub(crate) fn is_for(self) -> RecordingUse {
        match self {
            Self::File(_) | Self::Files => RecordingUse::Download,
            _ => RecordingUse::Play,
        }
    }
}

/// A file that can be downloaded.
#[derive(Debug, Serialize)]
struct FileToHave {
    /// Beside this list.
    name: String,
    starts_at_ms: u64,
    duration_ms: u64,
    size_bytes: u64,
}

impl<'a> Address<'a> {
    /// Reads the path below the router's root. Each thing has exactly one, so that a cache holds it once.
    pub(crate) fn read(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (token, path) = match path.strip_prefix("t/") {
            Some(rest) => {
                let (token, rest) = rest.split_once('/')?;
                (Some(token), rest)
            }
            None => (None, path),
        };
        let mut names = path.split('/');
        let (id, second, third, rest) = (names.next()?, names.next()?, names.next(), names.next());
        let is_plain = id.len() == 36 && !id.bytes().any(|byte| byte.is_ascii_uppercase());
        let recording_id = Uuid::parse_str(id).ok().filter(|_| is_plain)?.into();
        let wanted = match (second, third, rest) {
            ("index.m3u8", None, None) => Wanted::Master,
            ("download.mp4", None, None) => Wanted::File(None),
            ("downloads.json", None, None) => Wanted::Files,
            (name, None, None) if name.starts_with("download-") => {
                let digits = name.strip_prefix("download-")?.strip_suffix(".mp4")?;
                Wanted::File(Some(number(digits).filter(|number| *number > 0)?))
            }
            ("thumbnail.jpg", None, None) => Wanted::Picture,
            ("rights", None, None) if token.is_none() => Wanted::Rights,
            ("source", Some("index.m3u8"), None) => Wanted::Media,
            ("sheets", Some("index.vtt"), None) => Wanted::Times,
            ("sheets", Some(name), None) => Wanted::Sheet(number(name.strip_suffix(".jpg")?)?),
            ("source", Some(name), None) => match (name.strip_suffix(".m4s"), name.strip_suffix(".mp4")) {
                (Some(name), None) => Wanted::Segment(number(name.strip_prefix('s')?)?),
                (None, Some(name)) => Wanted::Init(number(name.strip_prefix("init")?)?),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { token, path, recording_id, wanted })
    }
}

/// Decimal digits without a sign or a zero in front.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

async fn answer(State(origin): State<Arc<Origin>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    if request.method == Method::OPTIONS {
        return reply::preflight();
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Problem::METHOD_NOT_ALLOWED.into_response();
    }
    let is_head = request.method == Method::HEAD;
    let answer = match Address::read(request.uri.path()) {
        Some(address) => origin.find(address, &request.headers, is_head).await,
        None => Err(Problem::NOT_FOUND),
    };
    answer.unwrap_or_else(Problem::into_response)
}

/// How long caches may keep something.
#[derive(Clone, Copy)]
enum Keep {
    /// What an address names never changes.
    ForEver,
    /// It may be deleted, or made anew.
    Briefly,
}

impl Origin {
    async fn find(&self, address: Address<'_>, request: &HeaderMap, is_head: bool) -> Result<Response, Problem> {
        let Address { token, recording_id, wanted, .. } = address;
        let token = token.or_else(|| request.get(RELAY)?.to_str().ok());
        if wanted == Wanted::Rights {
            let known = self.rights.known(recording_id, bearer(request).ok_or(Problem::PLAYBACK_REFUSED)?).await;
            let known = known.map_err(|_| Problem::RECORDING_UNAVAILABLE)?.ok_or(Problem::RECORDING_NOT_FOUND)?;
            return Ok(json(&known));
        }
        let wish = wanted.is_for();
        let (is_public, file_name) = match self.rights.allows(recording_id, wish, token).await {
            Ok(RecordingAccess::Granted { is_public, file_name }) => (is_public && token.is_none(), file_name),
            Ok(RecordingAccess::Unknown) => return Err(Problem::RECORDING_NOT_FOUND),
            Ok(RecordingAccess::Refused) => return Err(Problem::PLAYBACK_REFUSED),
            Err(_) => return Err(Problem::RECORDING_UNAVAILABLE),
        };
        // It may take minutes to go out: who loses the right meanwhile gets no more of it.
        let cut = |answer: Response| {
            answer.map(|body| cutting::until(body, || self.rights.lost(recording_id, wish, token.map(str::to_owned))))
        };
        let stored = |name: String, kind, keep| async move {
            let key = recorder::key(recording_id, &name).map_err(|_| Problem::MEDIA_NOT_FOUND)?;
            self.object(&key, kind, request, is_public, keep).await.map(cut)
        };
        match wanted {
            Wanted::Master => {
                let known = self.known(recording_id).await?;
                Ok(whole(known.master.clone(), "application/vnd.apple.mpegurl", is_public))
            }
            Wanted::Media => {
                let known = self.known(recording_id).await?;
                let is_gzip = accepts_gzip(request);
                let body = if is_gzip { &known.media_gzip } else { &known.media };
                let mut response = whole(body.clone(), "application/vnd.apple.mpegurl", is_public);
                let headers = response.headers_mut();
                headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
                if is_gzip {
                    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                Ok(response)
            }
            Wanted::Init(number) => stored(format!("source/init{number}.mp4"), "video/mp4", Keep::ForEver).await,
            Wanted::Segment(number) => stored(format!("source/s{number}.m4s"), "video/mp4", Keep::ForEver).await,
            Wanted::Picture => stored("thumbnail.jpg".to_owned(), "image/jpeg", Keep::Briefly).await,
            Wanted::Times => stored("sheets/index.vtt".to_owned(), "text/vtt; charset=utf-8", Keep::Briefly).await,
            Wanted::Sheet(number) => stored(format!("sheets/{number}.jpg"), "image/jpeg", Keep::ForEver).await,
            Wanted::Files => self.files(recording_id).await,
            Wanted::File(which) => self.file(recording_id, which, &file_name, token, (request, is_head)).await.map(cut),
            Wanted::Rights => Err(Problem::NOT_FOUND),
        }
    }

    /// What is known of a recording, from the storage when it is asked for the first time.
    async fn known(&self, recording_id: RecordingId) -> Result<Arc<Known>, Problem> {
        let known = |origin: &Self| {
            origin.known.lock().unwrap_or_else(PoisonError::into_inner).get(&recording_id).map(Arc::clone)
        };
        if let Some(known) = known(self) {
            return Ok(known);
        }
        let index = Index::load(recording_id, &self.storage).await.map_err(|error| {
            tracing::error!(recording.id = %recording_id, error = &error as &dyn std::error::Error, "recording not read");
            Problem::RECORDING_UNAVAILABLE
        })?;
        if index.segments.is_empty() {
            // Its objects are gone before the log's word of it is everywhere.
            return Err(Problem::RECORDING_NOT_FOUND);
        }
        let (master, media) = (playlist::master(&index).into(), playlist::media(&index));
        let media_gzip = compressed(&media);
        let new = Arc::new(Known { index, master, media: media.into(), media_gzip, files: OnceLock::new() });
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let segments: usize = all.values().map(|known| known.index.segments.len()).sum();
        if segments + new.index.segments.len() > KNOWN_SEGMENTS {
            all.clear();
        }
        all.insert(recording_id, Arc::clone(&new));
        Ok(new)
    }

    /// An object, or a part of it.
    async fn object(
        &self,
        key: &Key,
        kind: &'static str,
        request: &HeaderMap,
        is_public: bool,
        keep: Keep,
    ) -> Result<Response, Problem> {
        let info = self.storage.stat(key).await.map_err(|error| not_read(key, &error))?;
        let info = info.ok_or(Problem::MEDIA_NOT_FOUND)?;
        let since = info.modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let tag = format!("\"{:x}-{:x}\"", since.as_millis(), info.size_bytes);
        let cache = match (keep, is_public) {
            (Keep::ForEver, true) => "public, max-age=31536000, immutable",
            (Keep::ForEver, false) => "private, max-age=31536000, immutable",
            (Keep::Briefly, true) => "public, max-age=60",
            (Keep::Briefly, false) => "private, max-age=60",
        };
        if has(request, &tag) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), kind, cache, &tag);
            return Ok(response);
        }
        let part = asked_for(request, &tag, info.size_bytes)?;
        let (start, length) = place(part.as_ref(), info.size_bytes);
        let content = self.storage.read(key, start, length).await.map_err(|error| not_read(key, &error))?;
        let content = content.ok_or(Problem::MEDIA_NOT_FOUND)?;
        let body = Body::from_stream(ReaderStream::with_capacity(content, PIECE_BYTES));
        let mut response = partial(body, part, info.size_bytes);
        describe(response.headers_mut(), kind, cache, &tag);
        Ok(response)
    }

    /// Its files, which are put together when they are asked for the first time.
    async fn all_files(&self, recording_id: RecordingId) -> Result<Vec<Arc<File>>, Problem> {
        let known = self.known(recording_id).await?;
        if let Some(files) = known.files.get() {
            return Ok(files.clone());
        }
        let files = File::all_of(recording_id, &known.index, &self.storage).await.map_err(|error| {
            tracing::error!(recording.id = %recording_id, error = &*error, "recording not read");
            Problem::RECORDING_UNAVAILABLE
        })?;
        Ok(known.files.get_or_init(|| files).clone())
    }

    /// Which files there are.
    async fn files(&self, recording_id: RecordingId) -> Result<Response, Problem> {
        let files = self.all_files(recording_id).await?;
        let is_one = files.len() == 1;
        let items = files.iter().enumerate().map(|(place, file)| FileToHave {
            name: if is_one { "download.mp4".to_owned() } else { format!("download-{}.mp4", place + 1) },
            starts_at_ms: file.starts_at_ms,
            duration_ms: file.duration_ms,
            size_bytes: file.size_bytes(),
        });
        let mut response = json(&serde_json::json!({ "items": items.collect::<Vec<_>>() }));
        reply::allow_every_origin(response.headers_mut());
        Ok(response)
    }

    /// One of its files, or a part of that.
    async fn file(
        &self,
        recording_id: RecordingId,
        which: Option<u64>,
        file_name: &str,
        token: Option<&str>,
        (request, is_head): (&HeaderMap, bool),
    ) -> Result<Response, Problem> {
        let files = self.all_files(recording_id).await?;
        let number = match which {
            None if files.len() > 1 => return Err(Problem::RECORDING_NOT_ONE_FILE),
            None => 1,
            Some(number) => number,
        };
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let file = files.get(place).map(Arc::clone).ok_or(Problem::MEDIA_NOT_FOUND)?;
        let file_name = match which {
            None => format!("{file_name}.mp4"),
            Some(number) => format!("{file_name}-{number}.mp4"),
        };
        // An address of the bucket is signed for one method: whoever only asks what there is hears it from here.
        if !is_head
            && !request.contains_key(header::RANGE)
            && let Some(address) = self.copies.address(recording_id, number, &file, &file_name, token).await
        {
            return Ok(reply::redirect(&address));
        }
        let tag = format!("\"{recording_id}-{number}\"");
        let part = asked_for(request, &tag, file.size_bytes())?;
        let (start, length) = self::place(part.as_ref(), file.size_bytes());
        let size_bytes = file.size_bytes();
        let body = Body::from_stream(file.read(self.storage.clone(), start, length));
        let mut response = partial(body, part, size_bytes);
        let headers = response.headers_mut();
        describe(headers, "video/mp4", "private, no-store, no-transform", &tag);
        if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{file_name}\"")) {
            headers.insert(header::CONTENT_DISPOSITION, disposition);
        }
        Ok(response)
    }
}

fn not_read(key: &Key, error: &StorageError) -> Problem {
    tracing::error!(%key, error = error as &dyn std::error::Error, "a part of a recording cannot be read");
    Problem::RECORDING_UNAVAILABLE
}

fn compressed(text: &str) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default().into()
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// A text that is made anew when it is asked for after a restart.
fn whole(body: Bytes, kind: &'static str, is_public: bool) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    reply::allow_every_origin(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let cache = if is_public { "public, max-age=10" } else { "private, max-age=10" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn describe(headers: &mut HeaderMap, kind: &'static str, cache: &'static str, tag: &str) {
    reply::allow_every_origin(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
}

pub(crate) fn partial(body: Body, part: Option<RangeInclusive<u64>>, size_bytes: u64) -> Response {
    let mut response = Response::new(body);
    let (_, length) = place(part.as_ref(), size_bytes);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        if let Ok(range) = HeaderValue::try_from(format!("bytes {}-{}/{size_bytes}", range.start(), range.end())) {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
    }
    response
}

pub(crate) fn place(part: Option<&RangeInclusive<u64>>, size_bytes: u64) -> (u64, u64) {
    part.map_or((0, size_bytes), |range| (*range.start(), range.end() - range.start() + 1))
}

fn has(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
}

/// The part of `size_bytes` that is asked for; `None` for all of it, and for what is not understood (RFC 9110, section 14.2).
pub(crate) fn asked_for(
    request: &HeaderMap,
    tag: &str,
    size_bytes: u64,
) -> Result<Option<RangeInclusive<u64>>, Problem> {
    if request.get(header::IF_RANGE).is_some_and(|condition| condition != tag) {
        return Ok(None);
    }
    let text = request.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some((first, last)) = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
        return Ok(None);
    };
    let range = match (first.trim(), last.trim()) {
        ("", last) => last.parse().ok().map(|length: u64| (size_bytes.saturating_sub(length), u64::MAX, length > 0)),
        (first, "") => first.parse().ok().map(|first: u64| (first, u64::MAX, true)),
        (first, last) => match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => Some((first, last, true)),
            // Several parts, too.
            _ => None,
        },
    };
    match range {
        None => Ok(None),
        Some((first, last, true)) if first < size_bytes => Ok(Some(first..=last.min(size_bytes - 1))),
        Some(_) => Err(Problem::RANGE_NOT_SATISFIABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11";

    #[test]
    fn each_thing_has_one_address_with_a_token_or_without() {
        let recording_id: RecordingId = ID.parse().unwrap();
        for (path, wanted) in [
            ("/ID/index.m3u8", Wanted::Master),
            ("/ID/source/index.m3u8", Wanted::Media),
            ("/ID/source/init0.mp4", Wanted::Init(0)),
            ("/ID/source/s12.m4s", Wanted::Segment(12)),
            ("/ID/download.mp4", Wanted::File(None)),
            ("/ID/download-2.mp4", Wanted::File(Some(2))),
            ("/ID/downloads.json", Wanted::Files),
            ("/ID/thumbnail.jpg", Wanted::Picture),
            ("/ID/sheets/index.vtt", Wanted::Times),
            ("/ID/sheets/3.jpg", Wanted::Sheet(3)),
        ] {
            let path = path.replace("ID", ID);
            let inner = &path[1..];
            let address = Address { token: None, path: inner, recording_id, wanted };
            assert_eq!(Address::read(&path), Some(address), "{path}");
            let inner = inner.to_owned();
            let path = format!("/t/a-Token_1{path}");
            assert_eq!(
                Address::read(&path),
                Some(Address { token: Some("a-Token_1"), path: &inner, recording_id, wanted }),
                "{path}"
            );
        }
        for path in [
            "",
            "/",
            "/ID",
            "/ID/",
            "/x/index.m3u8",
            "/t/index.m3u8",
            "/t/x",
            "/ID/source/s01.m4s",
            "/ID/source/p1.m4s",
            "/ID/source/s1.mp4",
            "/ID/source/init1.m4s",
            "/ID/download-0.mp4",
            "/ID/download-x.mp4",
            "/ID/download-1",
            "/ID/sheets/x.jpg",
            "/ID/sheets/1.jpg/",
            "/ID/source/index/000000.jsonl",
            "/t/a/t/b/ID/index.m3u8",
        ] {
            assert_eq!(Address::read(&path.replace("ID", ID)), None, "{path}");
        }
        assert_eq!(Address::read(&format!("/{}/index.m3u8", ID.to_uppercase())), None);
    }

    #[test]
    fn a_part_is_understood_or_passed_over() {
        let part = |range: &str, size| {
            let mut request = HeaderMap::new();
            request.insert(header::RANGE, range.parse().unwrap());
            asked_for(&request, "\"tag\"", size)
        };
        for (range, expected) in [
            ("bytes=0-3", Ok(Some(0..=3))),
            ("bytes=4-", Ok(Some(4..=9))),
            ("bytes=8-99", Ok(Some(8..=9))),
            ("bytes=-3", Ok(Some(7..=9))),
            ("bytes=10-", Err(Problem::RANGE_NOT_SATISFIABLE)),
            ("bytes=-0", Err(Problem::RANGE_NOT_SATISFIABLE)),
            ("bytes=5-4", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("lines=1-2", Ok(None)),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_static("bytes=1-"));
        request.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(asked_for(&request, "\"tag\"", 10), Ok(None));
    }
}
