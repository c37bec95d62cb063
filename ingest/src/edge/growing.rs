//! An answer that the origin is still sending: given on piece by piece to all who ask for it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use tokio::{sync::watch, time::timeout};

use super::answer::{self, Answer};
use crate::origin::{reply, rights::RESTRICTED};

/// A segment for low-latency DASH while it grows.
pub(super) struct Growing {
    status: StatusCode,
    sent: HeaderMap,
    pieces: Mutex<Vec<Bytes>>,
    grown: watch::Sender<Grown>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    pieces: usize,
    /// Whether it is over, and was whole.
    end: Option<bool>,
}

impl Growing {
    pub(super) fn new(status: StatusCode, sent: HeaderMap) -> Self {
        Self { status, sent, pieces: Mutex::default(), grown: watch::Sender::default() }
    }

    /// Takes in what comes, until the end; all of it then, or `None` when it broke off, was longer than `limit` bytes, or stood
    /// still for as long as `patience`.
    pub(super) async fn fill(&self, body: Body, limit: usize, patience: Duration) -> Option<Answer> {
        let mut stream: BodyDataStream = body.into_data_stream();
        let mut length = 0;
        let is_whole = loop {
            match timeout(patience, stream.next()).await {
                Ok(Some(Ok(piece))) => {
                    length += piece.len();
                    if length > limit {
                        break false;
                    }
                    let pieces = {
                        let mut pieces = self.pieces();
                        pieces.push(piece);
                        pieces.len()
                    };
                    self.grown.send_modify(|grown| grown.pieces = pieces);
                }
                Ok(None) => break true,
                Ok(Some(Err(_))) | Err(_) => break false,
            }
        };
        let answer = is_whole.then(|| {
            let mut whole = BytesMut::with_capacity(length);
            self.pieces().iter().for_each(|piece| whole.extend_from_slice(piece));
            Answer::new(self.status, self.sent.clone(), whole.freeze())
        });
        self.grown.send_modify(|grown| grown.end = Some(is_whole));
        answer
    }

    /// From its beginning, as far as it is, and then as it comes. It breaks off where the origin's did.
    pub(super) fn respond(self: &Arc<Self>) -> Response {
        let start = (Arc::clone(self), self.grown.subscribe(), 0_usize, false);
        let pieces = stream::unfold(start, |(growing, mut grown, next, is_over)| async move {
            if is_over {
                return None;
            }
            // The sender lives as long as `growing`.
            let seen = grown.wait_for(|grown| grown.pieces > next || grown.end.is_some()).await.map(|seen| *seen);
            let seen = seen.unwrap_or_default();
            if next < seen.pieces {
                let piece = growing.pieces().get(next).cloned().unwrap_or_default();
                return Some((Ok(piece), (growing, grown, next + 1, false)));
            }
            match seen.end {
                Some(true) => None,
                _ => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), (growing, grown, next, true))),
            }
        });
        let mut response = Response::new(Body::from_stream(pieces));
        *response.status_mut() = self.status;
        *response.headers_mut() = answer::passed_on(&self.sent);
        reply::allow_every_origin(response.headers_mut());
        response
    }

    /// Whether not everybody may have it, as the origin says.
    pub(super) fn is_restricted(&self) -> bool {
        self.sent.contains_key(RESTRICTED)
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
