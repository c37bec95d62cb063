//! The streams of all nodes at the address of each: what this node does not have itself is passed on to the node that does.
//!
//! | who has the stream | what is answered |
//! |---|---|
//! | this node | as its origin does |
//! | another | its answer, byte by byte, as it comes |
//! | another, which does not answer | 502, and the next request looks for it anew |
//! | nobody | what this node's origin says of a stream that it does not know, or a picture from the storage |
//! | it cannot be found out, because NATS is away | 503 |
//!
//! A request that came from a node is answered here and not passed on again.

mod owners;
mod passing;

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use domain::ids::{ChannelId, StreamId};
use futures::{FutureExt, future::BoxFuture};
use ingest::origin::LiveService;
use serde::{Deserialize, Serialize};

use self::passing::{Passing, PassingError};

pub use owners::{Owners, claim};

/// Says that a request comes from a node, which is then not asked for the same again.
const FROM_A_NODE: HeaderName = HeaderName::from_static("weir-from-node");

/// What may be somewhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sought {
    /// A stream's playlists and media.
    Stream(StreamId),
    /// What a channel shows now.
    Channel(ChannelId),
}

impl Sought {
    /// Reads the path below `/live`; `None` for what no other node can have.
    fn read(path: &str) -> Option<Self> {
        let mut names = path.strip_prefix('/')?.split('/');
        let mut first = names.next()?;
        if first == "t" {
            // The token is checked by whoever has the stream.
            first = names.nth(1)?;
        }
        match first {
            "channels" => names.next()?.parse().ok().map(Self::Channel),
            stream => stream.parse().ok().map(Self::Stream),
        }
    }
}

/// Where something is that is not on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// On the node with this address, as in `http://10.0.0.5:8080`.
    There(Arc<str>),
    /// Nowhere.
    Nobody,
    /// It could not be found out.
    Unknown,
}

/// All that is under `/live`: `local` answers for this node.
pub fn service(local: LiveService, owners: Owners) -> LiveService {
    let origins = Arc::new(Origins { local, owners, passing: Passing::new() });
    LiveService::new(move |request| origins.answer(request))
}

struct Origins {
    local: LiveService,
    owners: Owners,
    passing: Passing,
}

impl Origins {
    fn answer(self: &Arc<Self>, request: Parts) -> BoxFuture<'static, Response> {
        let sought = Sought::read(request.uri.path());
        match sought.filter(|sought| !request.headers.contains_key(FROM_A_NODE) && !self.owners.is_here(*sought)) {
            None => self.local.answer(request),
            Some(sought) => Arc::clone(self).elsewhere(sought, request).boxed(),
        }
    }

    async fn elsewhere(self: Arc<Self>, sought: Sought, request: Parts) -> Response {
        if is_picture(request.uri.path()) {
            // Nodes may share the storage; only where they do not is the picture with the stream.
            let found = self.local.answer(request.clone()).await;
            if found.status() != StatusCode::NOT_FOUND {
                return found;
            }
        }
        self.there(sought, request).await
    }

    /// The answer of `node`, or of another that has what is sought by now: an encoder may have changed to that.
    async fn pass(&self, sought: Sought, node: &str, request: &Parts) -> Result<Response, PassingError> {
        let answer = self.passing.pass(node, request).await?;
        // Of what is in a playlist there are many, and who asks for one of them has asked for the playlist before.
        let path = request.uri.path();
        let is_list = path.ends_with("/index.m3u8") || path.ends_with("/index.mpd");
        if answer.status() != StatusCode::NOT_FOUND || !is_list {
            return Ok(answer);
        }
        match self.owners.find_other(sought, node).await {
            Some(other) => self.passing.pass(&other, request).await,
            None => Ok(answer),
        }
    }

    async fn there(&self, sought: Sought, request: Parts) -> Response {
        match self.owners.find(sought).await {
            Owner::Nobody => self.local.answer(request).await,
            Owner::There(node) => match self.pass(sought, &node, &request).await {
                Ok(response) => response,
                Err(why) => {
                    tracing::debug!(%node, error = &why as &dyn std::error::Error, "a node that has a stream does not answer");
                    self.owners.forget(sought);
                    problem(
                        StatusCode::BAD_GATEWAY,
                        "origin_unreachable",
                        "The node that has this stream does not answer: try again.",
                    )
                }
            },
            Owner::Unknown => problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "origin_unknown",
                "Which node has this stream cannot be found out at the moment: try again.",
            ),
        }
    }
}

fn is_picture(path: &str) -> bool {
    path.ends_with(".jpg") || path.ends_with(".webp")
}

/// A refusal of the same form as the origin's own.
fn problem(status: StatusCode, code: &'static str, detail: &'static str) -> Response {
    let document = serde_json::json!({
        "type": format!("urn:weir:problem:{code}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::RETRY_AFTER, "1"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_sought() {
        const ID: &str = "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11";
        let (stream, channel) = (Sought::Stream(ID.parse().unwrap()), Sought::Channel(ID.parse().unwrap()));
        for (path, sought) in [
            ("/ID/index.m3u8", Some(stream)),
            ("/ID/720p/p12.m4s", Some(stream)),
            ("/t/a-token/ID/source/index.m3u8", Some(stream)),
            ("/channels/ID/index.m3u8", Some(channel)),
            ("/t/a-token/channels/ID/index.m3u8", Some(channel)),
            ("/", None),
            ("/t/ID", None),
            ("/t", None),
            ("/channels", None),
            ("/channels/x/index.m3u8", None),
            ("/x/index.m3u8", None),
        ] {
            assert_eq!(Sought::read(&path.replace("ID", ID)), sought, "{path}");
        }
    }
}
