//! An object that is put piece by piece: in one request when it is small, by a multipart upload otherwise, which is aborted
//! when it does not come to its end, since nobody sees such parts and everybody pays for them.

use std::{fmt, mem, time::Duration};

use bytes::{Bytes, BytesMut};
use s3::{
    command::{Command, Multipart},
    serde_types::Part,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::runtime::Handle;

use super::{Failure, S3, content_type};
use crate::{Key, MAX_PAGE, Operation, StorageError};

/// How much is held in memory, and sent by one request; an S3 part has at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// After so many the parts are twice as large: there may be 10,000, and so 290 GiB.
const PARTS_OF_A_SIZE: usize = 2_500;

pub(crate) struct Upload {
    s3: S3,
    key: Key,
    path: String,
    buffer: BytesMut,
    size_bytes: u64,
    /// Once there was more than one part.
    id: Option<String>,
    parts: Vec<Part>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, size_bytes, id, .. } = self;
        formatter
            .debug_struct("Upload")
            .field("key", key)
            .field("size_bytes", size_bytes)
            .field("id", id)
            .finish_non_exhaustive()
    }
}

impl Upload {
    pub(super) fn new(s3: S3, key: Key) -> Self {
        let path = s3.path(&key);
        Self { s3, key, path, buffer: BytesMut::new(), size_bytes: 0, id: None, parts: Vec::new() }
    }

    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let room = self.part_bytes() - self.buffer.len();
            let (taken, rest) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(taken);
            self.size_bytes += taken.len() as u64;
            bytes = rest;
            // A part that is full and the last is sent by `finish`.
            if !bytes.is_empty() {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<u64, StorageError> {
        if self.id.is_none() {
            let bytes = mem::take(&mut self.buffer).freeze();
            self.s3.put(&self.key, bytes).await?;
            return Ok(self.size_bytes);
        }
        self.send_part().await?;
        let Some(id) = self.id.clone() else { return Ok(self.size_bytes) };
        let complete = || async {
            let completed = self.s3.bucket.complete_multipart_upload(&self.path, &id, self.parts.clone()).await;
            match completed.map_err(Failure::from) {
                // The answer to the attempt before was lost.
                Err(Failure::Absent(error)) => match self.s3.request(&self.path, Command::HeadObject).await {
                    Ok(response) if is_as_long(&response, self.size_bytes) => Ok(()),
                    _ => Err(Failure::Other(error)),
                },
                completed => completed.map(drop),
            }
        };
        // The server puts the parts together meanwhile.
        self.s3.attempt(Operation::Put, self.key.as_str(), self.s3.timeout * 6, complete).await?;
        self.id = None;
        Ok(self.size_bytes)
    }

    fn part_bytes(&self) -> usize {
        PART_BYTES << (self.parts.len() / PARTS_OF_A_SIZE)
    }

    async fn send_part(&mut self) -> Result<(), StorageError> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        let number = u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX);
        let bytes = mem::take(&mut self.buffer).freeze();
        let (s3, path) = (&self.s3, &self.path);
        let send = || send(s3, path, &id, number, &bytes);
        let etag = s3.attempt(Operation::Put, self.key.as_str(), s3.patience(bytes.len()), send).await?;
        self.parts.push(Part { part_number: number, etag });
        // The same memory again, where nobody else has it.
        self.buffer = bytes.try_into_mut().unwrap_or_default();
        self.buffer.clear();
        Ok(())
    }

    async fn begin(&mut self) -> Result<String, StorageError> {
        let begin = || async {
            let begun = self.s3.bucket.initiate_multipart_upload(&self.path, content_type(&self.key)).await;
            begun.map(|begun| begun.upload_id).map_err(Failure::from)
        };
        let id = self.s3.attempt(Operation::Put, self.key.as_str(), self.s3.timeout, begin).await?;
        self.id = Some(id.clone());
        Ok(id)
    }
}

impl S3 {
    /// Page by page, since a bucket that nobody has tidied may have many.
    pub(crate) async fn abort_stale_uploads(&self, folder: &Key, older_than: Duration) -> Result<u64, StorageError> {
        let oldest = OffsetDateTime::now_utc() - older_than;
        let prefix = format!("{}/", self.path(folder));
        let (mut aborted, mut key_marker, mut id_marker) = (0, None, None);
        loop {
            let list = || async {
                let page = self.bucket.list_multiparts_uploads_page(
                    Some(&prefix),
                    None,
                    key_marker.clone(),
                    id_marker.clone(),
                    Some(MAX_PAGE),
                );
                page.await.map(|(page, _)| page).map_err(Failure::from)
            };
            let page = self.attempt(Operation::List, "uploads", self.timeout, list).await?;
            for upload in page.uploads {
                let begun = OffsetDateTime::parse(&upload.initiated, &Rfc3339);
                // Somebody else's, when the server passes over the prefix; one of this moment, when its time cannot be read.
                if !upload.key.starts_with(&prefix) || begun.is_ok_and(|begun| begun > oldest) || begun.is_err() {
                    continue;
                }
                let abort = || async {
                    match self.bucket.abort_upload(&upload.key, &upload.id).await.map_err(Failure::from) {
                        // Another process was here first.
                        Err(failure) => failure.absent::<()>().map(drop),
                        Ok(()) => Ok(()),
                    }
                };
                self.attempt(Operation::Delete, &upload.key, self.timeout, abort).await?;
                aborted += 1;
            }
            if !page.is_truncated {
                return Ok(aborted);
            }
            let next = (page.next_marker, page.next_upload_id_marker);
            // A server that does not go on would be asked for ever.
            if next.0.is_none() || next == (key_marker.clone(), id_marker.clone()) {
                return Ok(aborted);
            }
            (key_marker, id_marker) = next;
        }
    }
}

async fn send(s3: &S3, path: &str, id: &str, number: u32, bytes: &Bytes) -> Result<String, Failure> {
    let part = Command::PutObject {
        content: bytes,
        content_type: "application/octet-stream",
        custom_headers: None,
        multipart: Some(Multipart::new(number, id)),
    };
    let response = s3.request(path, part).await?;
    let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
    etag.map(str::to_owned).ok_or_else(|| Failure::Other("the answer to a part has no etag".into()))
}

fn is_as_long(response: &super::Response, size_bytes: u64) -> bool {
    let length = response.headers().get("content-length").and_then(|length| length.to_str().ok());
    length.is_some_and(|length| length == size_bytes.to_string())
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (s3, path, key) = (self.s3.clone(), mem::take(&mut self.path), self.key.clone());
        let abort = async move {
            let abort = || async { s3.bucket.abort_upload(&path, &id).await.map_err(Failure::from) };
            if let Err(error) = s3.attempt(Operation::Put, key.as_str(), s3.timeout, abort).await {
                tracing::warn!(%key, error = &error as &dyn std::error::Error, "parts of an upload may be left in S3");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(abort)),
            // The process ends; what is left is found and ended by a later start.
            Err(_) => tracing::warn!(key = %self.key, "parts of an upload are left in S3"),
        }
    }
}
