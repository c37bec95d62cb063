//! Objects in an S3 bucket: AWS, Garage, and whatever else speaks its API, by rust-s3.
//!
//! Requests are signed by rust-s3; how long they may take, which of them are tried again, and what their failure means is
//! decided here, because its own retries and its one time limit fit neither a long download nor a server that is away.

mod failure;
mod upload;

use std::{
    fmt,
    io::{self, Error},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::Rng as _;
use s3::{
    Bucket, Region,
    command::Command,
    creds::Credentials,
    request::{Request as _, tokio_backend::ReqwestRequest},
    serde_types::ObjectIdentifier,
};
use time::{
    OffsetDateTime,
    format_description::well_known::{Rfc2822, Rfc3339},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::io::StreamReader;

use self::failure::Failure;
pub(crate) use self::upload::Upload;
use crate::{Key, ListedObject, MAX_PAGE, Object, ObjectInfo, Operation, StorageError, Usage};

/// Longest life of a presigned address: a week, as S3 has it.
const MAX_LIFE: Duration = Duration::from_secs(604_800);
/// How often something is tried before it has failed.
const MAX_ATTEMPTS: u32 = 3;
/// The first of the rests between attempts; the next is four times as long.
const REST: Duration = Duration::from_millis(150);
/// How many objects are deleted at once where a server cannot delete many by one request.
const DELETED_AT_ONCE: usize = 16;
/// RFC 8187 section 3.2.1, attr-char.
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Which bucket, and how it is reached.
#[derive(Clone)]
pub struct S3Options {
    /// The bucket, which must be there.
    pub bucket: String,
    /// As in `eu-central-1`, or what the server is configured to be called.
    pub region: String,
    /// The server, as in `https://s3.example.org:3900`; `None` for AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path (`https://host/bucket/key`) and not in the host name.
    pub is_path_style: bool,
    /// What all keys begin with in the bucket, before a slash, so that it can be shared.
    pub prefix: Option<Key>,
    /// The id of the access key.
    pub access_key: String,
    /// The secret of the access key. It is never shown.
    pub secret_key: String,
    /// How long a request may take that carries no content, and how long content may stand still.
    pub timeout: Duration,
}

impl S3Options {
    /// A bucket with the usual settings: path style, 20 s.
    #[must_use]
    pub fn new(bucket: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: region.into(),
            endpoint: None,
            is_path_style: true,
            prefix: None,
            access_key: String::new(),
            secret_key: String::new(),
            timeout: Duration::from_secs(20),
        }
    }
}

impl fmt::Debug for S3Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, region, endpoint, is_path_style, prefix, access_key, secret_key: _, timeout } = self;
        formatter
            .debug_struct("S3Options")
            .field("bucket", bucket)
            .field("region", region)
            .field("endpoint", endpoint)
            .field("is_path_style", is_path_style)
            .field("prefix", prefix)
            .field("access_key", access_key)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub(crate) struct S3 {
    bucket: Box<Bucket>,
    prefix: String,
    timeout: Duration,
}

impl fmt::Debug for S3 {
    // The bucket holds the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3").field("bucket", &self.bucket.name).field("prefix", &self.prefix).finish()
    }
}

/// The content of an object as it comes.
pub(crate) struct Reader(StreamReader<Content, Bytes>);

type Content = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reader")
    }
}

impl tokio::io::AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl S3 {
    /// Does not ask the server: it may be away for now.
    pub(crate) fn new(options: S3Options) -> Result<Self, StorageError> {
        let S3Options { bucket: name, region, endpoint, is_path_style, prefix, access_key, secret_key, timeout } =
            options;
        let failed = |error: &dyn fmt::Display| {
            StorageError::new(
                Operation::Open,
                name.as_str(),
                Error::new(io::ErrorKind::InvalidInput, error.to_string()),
            )
        };
        let region = match endpoint {
            Some(endpoint) => Region::Custom { region, endpoint },
            None => match region.parse::<Region>().map_err(|error| failed(&error))? {
                Region::Custom { region, .. } => {
                    return Err(failed(&format_args!("AWS has no region {region}; the server's address is missing")));
                }
                known => known,
            },
        };
        let credentials =
            Credentials::new(Some(&access_key), Some(&secret_key), None, None, None).map_err(|error| failed(&error))?;
        let mut bucket = Bucket::new(&name, region, credentials).map_err(|error| failed(&error))?;
        if is_path_style {
            bucket.set_path_style();
        }
        // Ours, below.
        bucket.set_request_timeout(None);
        s3::set_retries(0);
        Ok(Self { bucket, prefix: prefix.map_or_else(String::new, |prefix| format!("{prefix}/")), timeout })
    }

    /// Whether the bucket is there and may be read: what it says to the cheapest of questions.
    pub(crate) async fn check(&self) -> Result<(), StorageError> {
        let ask = || async {
            self.bucket.list_page(self.prefix.clone(), None, None, None, Some(1)).await.map(drop).map_err(Failure::from)
        };
        self.attempt(Operation::Open, &self.bucket.name, self.timeout, ask).await
    }

    pub(crate) async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let path = self.path(key);
        let put = || async {
            let put = Command::PutObject {
                content: &bytes,
                content_type: content_type(key),
                custom_headers: None,
                multipart: None,
            };
            self.request(&path, put).await.map(drop)
        };
        self.attempt(Operation::Put, key.as_str(), self.patience(bytes.len()), put).await
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Object>, StorageError> {
        let path = self.path(key);
        let get = || async {
            let asked = timeout(self.timeout, self.request(&path, Command::GetObject)).await;
            let response = match asked.unwrap_or_else(|_| Err(Failure::timed_out(self.timeout))) {
                Ok(response) => response,
                Err(failure) => return failure.absent(),
            };
            let modified = modified(response.headers().get("last-modified").and_then(|value| value.to_str().ok()));
            let pieces = self.content(response.bytes_stream());
            let bytes = pieces.try_fold(Vec::new(), async |mut bytes, piece| {
                bytes.extend_from_slice(&piece);
                Ok(bytes)
            });
            let bytes = bytes.await.map_err(|error| Failure::Unavailable(error.into()))?;
            Ok(Some(Object { bytes: bytes.into(), modified }))
        };
        // The content has limits of its own.
        self.attempt(Operation::Get, key.as_str(), Duration::MAX, get).await
    }

    pub(crate) async fn read(&self, key: &Key, start: u64, length: u64) -> Result<Option<Reader>, StorageError> {
        let Some(last) = length.checked_sub(1).map(|rest| start.saturating_add(rest)) else {
            let is_there = self.stat(key).await?.is_some();
            return Ok(is_there.then(|| Reader(StreamReader::new(stream::empty().boxed()))));
        };
        let path = self.path(key);
        let read = || async {
            let command = match (start, length) {
                (0, u64::MAX) => Command::GetObject,
                _ => Command::GetObjectRange { start, end: (last < u64::MAX).then_some(last) },
            };
            match self.request(&path, command).await {
                Ok(response) => Ok(Some(self.content(response.bytes_stream()))),
                // From beyond the end there is nothing to read.
                Err(Failure::OutOfRange) => Ok(Some(stream::empty().boxed())),
                Err(failure) => failure.absent(),
            }
        };
        let content = self.attempt(Operation::Get, key.as_str(), self.timeout, read).await?;
        Ok(content.map(|content| Reader(StreamReader::new(content))))
    }

    pub(crate) async fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>, StorageError> {
        let path = self.path(key);
        let stat = || async {
            let response = match self.request(&path, Command::HeadObject).await {
                Ok(response) => response,
                Err(failure) => return failure.absent(),
            };
            let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let size_bytes = text("content-length").and_then(|length| length.parse().ok());
            let size_bytes = size_bytes.ok_or_else(|| Failure::Other("the answer has no content-length".into()))?;
            Ok(Some(ObjectInfo { size_bytes, modified: modified(text("last-modified")) }))
        };
        self.attempt(Operation::Stat, key.as_str(), self.timeout, stat).await
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, StorageError> {
        // S3 does not say whether there was one.
        if self.stat(key).await?.is_none() {
            return Ok(false);
        }
        self.remove(key).await.map(|()| true)
    }

    async fn remove(&self, key: &Key) -> Result<(), StorageError> {
        let path = self.path(key);
        let delete = || async {
            match self.request(&path, Command::DeleteObject).await {
                Ok(_) => Ok(()),
                Err(failure) => failure.absent::<()>().map(drop),
            }
        };
        self.attempt(Operation::Delete, key.as_str(), self.timeout, delete).await
    }

    /// Tells each key that it has removed.
    pub(crate) async fn delete_below(&self, folder: &Key, mut removed: impl FnMut(&Key)) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let objects = self.list(folder, after.as_ref(), MAX_PAGE).await?;
            let Some(last) = objects.last() else { return Ok(()) };
            after = Some(last.key.clone());
            self.remove_all(folder, &objects).await?;
            objects.iter().for_each(|object| removed(&object.key));
            if objects.len() < MAX_PAGE {
                return Ok(());
            }
        }
    }

    async fn remove_all(&self, folder: &Key, objects: &[ListedObject]) -> Result<(), StorageError> {
        let delete = || async {
            let identifiers: Vec<_> =
                objects.iter().map(|object| ObjectIdentifier::new(self.path(&object.key))).collect();
            let result = self.bucket.delete_objects(identifiers).await.map_err(Failure::from)?;
            match result.errors.first() {
                None => Ok(()),
                Some(error) => Err(Failure::Other(format!("{error:?}").into())),
            }
        };
        match self.attempt(Operation::Delete, folder.as_str(), self.patience(0) * 2, delete).await {
            Err(StorageError::Io { .. }) => {}
            deleted => return deleted,
        }
        // Not every server knows how to delete many at once.
        // Collected first: as a lazy stream of borrows this future would not be `Send` for whoever boxes it.
        let each: Vec<_> = objects.iter().map(|object| self.remove(&object.key)).collect();
        stream::iter(each).buffer_unordered(DELETED_AT_ONCE).try_collect().await
    }

    /// Sorted by key; at most `limit`.
    pub(crate) async fn list(
        &self,
        folder: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        let prefix = format!("{}/", self.path(folder));
        let mut objects = Vec::new();
        let mut after = after.map(|key| self.path(key));
        // A page has a thousand at most, and some servers have less.
        loop {
            let list = || async {
                let wanted = (limit - objects.len()).min(MAX_PAGE);
                let page = self.bucket.list_page(prefix.clone(), None, None, after.clone(), Some(wanted)).await;
                page.map(|(page, _)| page).map_err(Failure::from)
            };
            let page = self.attempt(Operation::List, folder.as_str(), self.timeout, list).await?;
            after = page.contents.last().map(|object| object.key.clone());
            objects.extend(page.contents.into_iter().filter_map(|object| self.listed(object)));
            if !page.is_truncated || after.is_none() || objects.len() >= limit {
                objects.truncate(limit);
                return Ok(objects);
            }
        }
    }

    /// `None` for what somebody else has put there under a name that is no key of ours.
    fn listed(&self, object: s3::serde_types::Object) -> Option<ListedObject> {
        let key = Key::new(object.key.strip_prefix(&self.prefix)?).ok()?;
        let modified = OffsetDateTime::parse(&object.last_modified, &Rfc3339).ok()?;
        Some(ListedObject { key, size_bytes: object.size, modified: modified.into() })
    }

    pub(crate) async fn usage(&self, folder: &Key) -> Result<Usage, StorageError> {
        let mut usage = Usage::default();
        let mut after = None;
        loop {
            let objects = self.list(folder, after.as_ref(), MAX_PAGE).await?;
            usage.objects += objects.len() as u64;
            usage.size_bytes += objects.iter().map(|object| object.size_bytes).sum::<u64>();
            after = objects.last().map(|object| object.key.clone());
            if objects.len() < MAX_PAGE {
                return Ok(usage);
            }
        }
    }

    pub(crate) async fn presign_get(&self, key: &Key, file_name: &str, life: Duration) -> Result<String, StorageError> {
        let life_s = life.clamp(Duration::from_secs(1), MAX_LIFE).as_secs();
        let life_s = u32::try_from(life_s).unwrap_or(u32::MAX);
        let disposition = ("response-content-disposition".to_owned(), disposition(file_name));
        let address = self.bucket.presign_get(self.path(key), life_s, Some([disposition].into())).await;
        address.map_err(|error| Failure::from(error).into_error(Operation::Presign, key.as_str()))
    }

    pub(crate) fn upload(&self, key: &Key) -> Upload {
        Upload::new(self.clone(), key.clone())
    }

    fn path(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// For a request with so much content: a megabit per second at the least.
    fn patience(&self, length_bytes: usize) -> Duration {
        self.timeout + Duration::from_secs((length_bytes / 131_072) as u64)
    }

    async fn request(&self, path: &str, command: Command<'_>) -> Result<Response, Failure> {
        let request = ReqwestRequest::new(&self.bucket, path, command).await?;
        Ok(request.response().await?)
    }

    /// Content, which may take as long as it likes but not stand still.
    fn content<S, E>(&self, pieces: S) -> Content
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let patience = self.timeout;
        let next = move |pieces: Option<Pin<Box<S>>>| async move {
            let mut pieces = pieces?;
            match timeout(patience, pieces.next()).await {
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                Ok(Some(Err(error))) => Some((Err(Error::other(error)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
            }
        };
        Box::pin(stream::unfold(Some(Box::pin(pieces)), next))
    }

    /// Tries up to three times what may succeed later, each time for as long as `patience`.
    async fn attempt<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        operation: Operation,
        object: &str,
        patience: Duration,
        work: impl Fn() -> F,
    ) -> Result<T, StorageError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let started = Instant::now();
            let result = timeout(patience, work()).await.unwrap_or_else(|_| Err(Failure::timed_out(patience)));
            let outcome = result.as_ref().map_or_else(Failure::name, |_| "ok");
            let name = label(operation);
            metrics::counter!("weir_s3_requests_total", "operation" => name, "outcome" => outcome).increment(1);
            metrics::histogram!("weir_s3_request_seconds", "operation" => name).record(started.elapsed().as_secs_f64());
            match result {
                Ok(value) => return Ok(value),
                Err(Failure::Unavailable(error)) if attempts < MAX_ATTEMPTS => {
                    tracing::debug!(%operation, object, %error, "S3 is asked again");
                    let rest = REST * 4_u32.pow(attempts - 1);
                    // Not all who wait come back at once.
                    let rest = rest.mul_f64(rand::rng().random_range(0.5..1.5));
                    sleep(rest).await;
                }
                Err(failure) => return Err(failure.into_error(operation, object)),
            }
        }
    }
}

type Response = <ReqwestRequest<'static> as s3::request::Request>::Response;

fn label(operation: Operation) -> &'static str {
    match operation {
        Operation::Open => "check",
        Operation::Put => "put",
        Operation::Get => "get",
        Operation::Stat => "stat",
        Operation::Delete => "delete",
        Operation::List => "list",
        Operation::Presign => "presign",
    }
}

/// RFC 9110 section 8.8.2; where a server does not say it, the object is as old as can be.
fn modified(header: Option<&str>) -> SystemTime {
    let time = header.and_then(|text| OffsetDateTime::parse(text, &Rfc2822).ok());
    time.map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

/// RFC 6266: in ASCII for those who know no better, and as it is.
fn disposition(file_name: &str) -> String {
    let is_plain =
        |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '%' | '/') || letter == ' ';
    let plain: String = file_name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    let whole = utf8_percent_encode(file_name, NOT_ATTR_CHAR);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

/// What a download is served as.
fn content_type(key: &Key) -> &'static str {
    match key.as_str().rsplit('.').next() {
        Some("mp4" | "m4s") => "video/mp4",
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("jpg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("json") => "application/json",
        Some("vtt") => "text/vtt",
        _ => "application/octet-stream",
    }
}

/// Told from the start, so that an absent server is not an absent metric.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_histogram};
    describe_counter!("weir_s3_requests_total", "Requests to S3 by what was asked and what became of it.");
    describe_histogram!("weir_s3_request_seconds", Unit::Seconds, "How long S3 took to answer.");
    metrics::counter!("weir_s3_requests_total", "operation" => "check", "outcome" => "ok").increment(0);
}
