//! The log as one long answer: an event a line (NDJSON), everything that matches up to the head.
//!
//! A task reads, writes and compresses; the connection takes what it can, and the task waits for it. While it waits it
//! holds no connection of the database. A failure after the beginning cannot be a status: the body then breaks off
//! without its end, which every client notices, and the client goes on from the last position that it has. So it does when
//! the session ends that asked for it, also while nobody reads.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use commands::{
    Metadata,
    events::{self, Envelope, Filter, StoredEvent},
    exports::{self, RequestExport, WrittenExport},
};
use domain::{
    exports::{ExportFilter, ExportFormat, ExportWay},
    ids::ExportId,
};
use futures::{Stream, StreamExt};
use openapi::events::{ActorNames, NDJSON};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::{
    encoding::{Encoder, Encoding},
    limits::Place,
    rights::Reader,
    selection::Selection,
};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    server::Server,
};

/// How much is handed to the connection at once: a reader that takes this much now and then does not count as stalled.
const PART_BYTES: usize = 64 * 1024;
/// How many parts wait for the connection.
const WAITING_PARTS: usize = 4;
/// How often it is looked whether the reader may still.
const CHECKED_EVERY: Duration = Duration::from_secs(2);
/// How long recording the end may take.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

/// Why a transfer broke off. The texts stand in `export.failed`.
#[derive(Debug, Error)]
enum Broken {
    #[error("the reader went away")]
    Gone,
    #[error("the reader took nothing for too long")]
    Stalled,
    #[error("the reader's session ended, or it may read these events no more")]
    RightLost,
    #[error("the node was stopped")]
    Stopping,
    #[error("the log could not be read")]
    Log(#[from] events::ReadError),
    #[error("the answer could not be encoded")]
    Encoding(#[from] std::io::Error),
    #[error("the answer could not be written")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What goes to the connection.
enum Part {
    Bytes(Bytes),
    /// All is there. A body without it breaks off.
    End,
}

/// The body ended before its end.
#[derive(Debug, Error)]
#[error("the transfer broke off")]
struct Incomplete;

/// Answers with everything that `selection` wants up to `head`, `limit` events at most.
///
/// # Errors
/// When there is no place for it, or that it was asked for cannot be recorded.
pub(crate) async fn answer(
    server: Arc<Server>,
    by: &Authenticated,
    selection: Selection,
    head: i64,
    limit: u64,
    request: &HeaderMap,
) -> ApiResult<Response> {
    let Selection { mut filter, actors, reader } = selection;
    let place = server.transfers.take(by.account_id)?;
    filter.until = Some(head);
    let requested = RequestExport {
        by: Some(by.account_id),
        way: ExportWay::Feed,
        format: ExportFormat::Ndjson,
        filter: recorded(&filter, head),
        names_accounts: actors == ActorNames::Plain,
        metadata: by.metadata(),
    };
    let encoding = Encoding::of(request);
    let encoder = encoding.encoder().map_err(ApiError::internal)?;
    let (parts, waiting) = mpsc::channel(WAITING_PARTS);
    let metadata = by.metadata();
    // A task of its own from here on: what was begun in the log has to end there, also when the client hangs up now.
    let beginning = tokio::spawn(async move {
        let requested = exports::request(&server.commands, requested).await;
        let requested = requested.map_err(|error| ApiError::command(error, ApiError::internal))?;
        let transfer = Transfer {
            writing: Some((server.envelope(actors), encoder)),
            server,
            reader,
            filter,
            limit,
            export_id: requested.export_id,
            metadata,
            written: WrittenExport { event_count: 0, size_bytes: 0, expires_at: None },
            parts,
            checked: Instant::now(),
            place,
        };
        let body = transfer.reader.body(&transfer.server, parts_of(waiting));
        tokio::spawn(transfer.run());
        Ok::<_, ApiError>(body)
    });
    let body = beginning.await.map_err(ApiError::internal)??;
    Ok(response(encoding, head, body))
}

/// The answer to a question for the headers alone.
pub(crate) fn headers_only(head: i64, request: &HeaderMap) -> Response {
    response(Encoding::of(request), head, Body::empty())
}

fn response(encoding: Encoding, head: i64, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    headers.insert(super::HEAD_POSITION, HeaderValue::from(head));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    // Proxies pass on what there is instead of collecting it, so that back-pressure reaches us.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if let Some(encoding) = encoding.header() {
        headers.insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

fn recorded(filter: &Filter, head: i64) -> ExportFilter {
    ExportFilter {
        types: filter.types.clone(),
        subject: filter.subject.as_ref().map(ToString::to_string),
        channel_id: filter.channel,
        after: filter.after,
        until: head,
        from: filter.from,
        to: filter.to,
    }
}

fn parts_of(waiting: mpsc::Receiver<Part>) -> impl Stream<Item = Result<Bytes, Incomplete>> + Send {
    futures::stream::unfold(Some(waiting), |waiting| async {
        let mut waiting = waiting?;
        match waiting.recv().await {
            Some(Part::Bytes(bytes)) => Some((Ok(bytes), Some(waiting))),
            Some(Part::End) => None,
            None => Some((Err(Incomplete), None)),
        }
    })
}

struct Transfer {
    server: Arc<Server>,
    reader: Reader,
    filter: Filter,
    limit: u64,
    /// What writes and compresses; away while it does.
    writing: Option<(Envelope, Encoder)>,
    export_id: ExportId,
    metadata: Metadata,
    written: WrittenExport,
    parts: mpsc::Sender<Part>,
    checked: Instant,
    place: Place,
}

impl Transfer {
    async fn run(mut self) {
        let sent = self.send().await;
        if let Err(error @ (Broken::Log(_) | Broken::Encoding(_) | Broken::Panicked(_))) = &sent {
            warn!(error = error as &dyn std::error::Error, export.id = %self.export_id, "a transfer of the feed failed");
        }
        if matches!(sent, Err(Broken::Stalled)) {
            metrics::counter!("weir_feed_cut_total").increment(1);
        }
        let recorded = timeout(RECORDED_WITHIN, self.record(&sent)).await;
        if !matches!(recorded, Ok(Ok(()))) {
            warn!(export.id = %self.export_id, "the end of a transfer of the feed could not be recorded");
        }
        // After the record, so that whoever has the end finds it; and may ask again at once.
        let Self { server, parts, place, .. } = self;
        drop(place);
        if sent.is_ok() {
            let _ = timeout(server.feed.stalled, parts.send(Part::End)).await;
        }
    }

    async fn record(&self, sent: &Result<(), Broken>) -> Result<(), ()> {
        let recorded = match sent {
            Ok(()) => {
                exports::complete(&self.server.commands, self.export_id, self.written, self.metadata.clone()).await
            }
            Err(broken) => {
                let metadata = self.metadata.clone();
                exports::fail(&self.server.commands, self.export_id, broken.to_string(), metadata).await
            }
        };
        recorded.map(drop).map_err(|error| {
            debug!(error = &error as &dyn std::error::Error, "the end of a transfer could not be recorded");
        })
    }

    async fn send(&mut self) -> Result<(), Broken> {
        let mut batches = Box::pin(events::batches(self.server.commands.pool().clone(), self.filter.clone()));
        // Beyond the head there is nothing yet, and nothing to look for.
        let is_empty = self.filter.until.is_some_and(|until| until <= self.filter.after);
        let mut left = if is_empty { 0 } else { self.limit };
        while left > 0 {
            let batch = tokio::select! {
                biased;
                () = self.server.stopping.cancelled() => return Err(Broken::Stopping),
                () = self.reader.signed_out(&self.server) => return Err(Broken::RightLost),
                () = self.parts.closed() => return Err(Broken::Gone),
                batch = batches.next() => batch,
            };
            let Some(batch) = batch else { break };
            let mut events = batch?.events;
            events.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= events.len() as u64;
            if !events.is_empty() {
                let encoded = self.encode(events).await?;
                self.send_parts(encoded).await?;
            }
            self.check().await?;
        }
        drop(batches);
        let end = self.writing.take().map_or(Ok(Vec::new()), |(_, encoder)| encoder.finish())?;
        self.send_parts(end.into()).await
    }

    /// Looks now and then whether it may still: what ends with its session is known without.
    async fn check(&mut self) -> Result<(), Broken> {
        if self.checked.elapsed() < CHECKED_EVERY {
            return Ok(());
        }
        // When it cannot be said, reading will fail as well.
        if let Ok(false) = self.reader.still_may(&self.server).await {
            return Err(Broken::RightLost);
        }
        self.checked = Instant::now();
        Ok(())
    }

    /// Writes and compresses away from the threads that serve connections: a batch takes them milliseconds.
    async fn encode(&mut self, events: Vec<StoredEvent>) -> Result<Bytes, Broken> {
        let (mut envelope, mut encoder) = self.writing.take().expect("it comes back after each batch");
        self.written.event_count += i64::try_from(events.len()).unwrap_or(i64::MAX);
        let written = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::with_capacity(events.len() * 1_024);
            for event in &events {
                envelope.write(event, &mut lines);
                lines.push(b'\n');
            }
            let encoded = encoder.encode(lines)?;
            Ok::<_, std::io::Error>((encoded, (envelope, encoder)))
        });
        let (encoded, writing) = written.await??;
        self.writing = Some(writing);
        Ok(encoded.into())
    }

    async fn send_parts(&mut self, mut encoded: Bytes) -> Result<(), Broken> {
        self.written.size_bytes += i64::try_from(encoded.len()).unwrap_or(i64::MAX);
        while !encoded.is_empty() {
            let part = encoded.split_to(encoded.len().min(PART_BYTES));
            let room = tokio::select! {
                biased;
                () = self.server.stopping.cancelled() => return Err(Broken::Stopping),
                () = self.reader.signed_out(&self.server) => return Err(Broken::RightLost),
                room = timeout(self.server.feed.stalled, self.parts.reserve()) => {
                    room.map_err(|_| Broken::Stalled)?.map_err(|_| Broken::Gone)?
                }
            };
            room.send(Part::Bytes(part));
            self.check().await?;
        }
        Ok(())
    }
}
