//! What is asked for and sent, in metrics, and answers on their way to a client.

use std::{
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use hyper::{
    Uri,
    body::{Body as _, Bytes, Frame, SizeHint},
};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use super::{pages::Pages, watch::Answering};

/// The metrics of all HTTP servers of this process, looked up once.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) connections: Gauge,
    pub(super) refused_total: Counter,
    pub(super) refused_address: Counter,
    pub(super) slow_readers: Counter,
    pub(super) sent_bytes: Counter,
    pub(super) reloads_held: Gauge,
    playlists: Counter,
    parts: Counter,
    segments: Counter,
    other: Counter,
}

impl Traffic {
    /// To be called once metrics are recorded: what is counted before is lost.
    pub(super) fn get() -> &'static Self {
        static TRAFFIC: OnceLock<Traffic> = OnceLock::new();
        TRAFFIC.get_or_init(|| {
            describe_gauge!("weir_http_connections", "HTTP connections that are open.");
            describe_counter!("weir_http_refused_total", "HTTP connections that were refused, by the limit they met.");
            describe_counter!("weir_http_slow_readers_total", "HTTP connections cut because nothing was read.");
            describe_counter!("weir_http_sent_bytes_total", "Bytes written to HTTP connections.");
            describe_counter!("weir_http_requests_total", "HTTP requests, by what was asked for.");
            describe_gauge!("weir_http_reloads_held", "Playlist requests that wait for what is to come.");
            let requests = |kind: &'static str| counter!("weir_http_requests_total", "kind" => kind);
            let traffic = Self {
                connections: gauge!("weir_http_connections"),
                refused_total: counter!("weir_http_refused_total", "limit" => "connections"),
                refused_address: counter!("weir_http_refused_total", "limit" => "address"),
                slow_readers: counter!("weir_http_slow_readers_total"),
                sent_bytes: counter!("weir_http_sent_bytes_total"),
                reloads_held: gauge!("weir_http_reloads_held"),
                playlists: requests("playlist"),
                parts: requests("part"),
                segments: requests("segment"),
                other: requests("other"),
            };
            traffic.connections.set(0.0);
            traffic.reloads_held.set(0.0);
            for counted in
                [&traffic.refused_total, &traffic.refused_address, &traffic.slow_readers, &traffic.sent_bytes]
            {
                counted.increment(0);
            }
            for counted in [&traffic.playlists, &traffic.parts, &traffic.segments, &traffic.other] {
                counted.increment(0);
            }
            traffic
        })
    }

    /// Counts a request; gives what holds it in the gauge of waiting reloads when it may be one.
    pub(super) fn asked(&'static self, path: &str, query: Option<&str>) -> Option<Held> {
        self.count(Kind::of(path), query)
    }

    /// The same by an address below `/live`.
    pub(super) fn asked_of_live(&'static self, uri: &Uri) -> Option<Held> {
        self.count(Kind::of_media(uri.path()), uri.query())
    }

    fn count(&'static self, kind: Kind, query: Option<&str>) -> Option<Held> {
        match kind {
            Kind::Playlist => {
                self.playlists.increment(1);
                let may_wait = query.is_some_and(|query| query.contains("_HLS_msn="));
                return may_wait.then(|| Held::new(&self.reloads_held));
            }
            Kind::Part => self.parts.increment(1),
            Kind::Segment => self.segments.increment(1),
            Kind::Other => self.other.increment(1),
        }
        None
    }
}

/// One more in a gauge until it is dropped.
#[derive(Debug)]
pub(super) struct Held(&'static Gauge);

impl Held {
    pub(super) fn new(gauge: &'static Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Playlist,
    Part,
    Segment,
    Other,
}

impl Kind {
    fn of(path: &str) -> Self {
        if !path.starts_with("/live/") && !path.starts_with("/vod/") {
            return Self::Other;
        }
        Self::of_media(path)
    }

    /// By the path of something under `/live` or `/vod`, or the end of it.
    fn of_media(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        match name.rsplit('.').next() {
            Some("m3u8" | "mpd") => Self::Playlist,
            Some("m4s") if name.starts_with('p') => Self::Part,
            Some("m4s") => Self::Segment,
            _ => Self::Other,
        }
    }
}

/// The body of an answer, which says when the client must take some of it.
pub(super) struct Sent {
    body: Body,
    /// Cut off from the last piece, because that was longer than `at_most`.
    rest: Bytes,
    at_most: usize,
    /// Where pieces in demand are kept for the socket, where it can use that.
    pages: Option<&'static Pages>,
    answering: Answering,
}

impl Sent {
    /// Hands on the body in pieces of `at_most` bytes.
    pub(super) fn new(body: Body, at_most: usize, pages: Option<&'static Pages>, mut answering: Answering) -> Self {
        answering.set_untaken(!body.is_end_stream());
        Self { body, rest: Bytes::new(), at_most, pages, answering }
    }

    fn cut(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        if bytes.len() > self.at_most {
            self.rest = bytes.split_off(self.at_most);
        }
        if let Some(pages) = self.pages {
            pages.expect(&bytes);
        }
        self.answering.set_untaken(true);
        Frame::data(bytes)
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.answering.set_untaken(false);
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.cut(rest))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(bytes) => self.cut(bytes),
                Err(frame) => frame,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_their_path() {
        for (path, kind) in [
            ("/live/a/index.m3u8", Kind::Playlist),
            ("/live/t/token/a/source/index.m3u8", Kind::Playlist),
            ("/live/a/index.mpd", Kind::Playlist),
            ("/live/a/source/p12.m4s", Kind::Part),
            ("/live/a/720p/s12.m4s", Kind::Segment),
            ("/vod/a/source/s12.m4s", Kind::Segment),
            ("/live/a/source/init0.mp4", Kind::Other),
            ("/live/", Kind::Other),
            ("/p1.m4s", Kind::Other),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }
}
