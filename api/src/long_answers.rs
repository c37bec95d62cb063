//! Answers that take long: each ends with the session that asked for it, however slowly it is read.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use domain::ids::SessionId;
use futures::{Stream, StreamExt, stream};
use thiserror::Error;

use crate::server::Server;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body breaks off.
#[derive(Debug, Error)]
#[error("the session ended to which this was given")]
struct SessionOver;

/// A body of `content` that breaks off when the session ends, or the personal token in its place. What has left this process by
/// then cannot be had back; nothing follows it.
pub(crate) fn body_while_open<S, E>(server: &Arc<Server>, session_id: SessionId, content: S) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let ended = Arc::clone(&server.ended);
    let over = Box::pin(async move { ended.ends(session_id.uuid()).await });
    let parts = stream::unfold(Some((Box::pin(content), over)), |state| async {
        let (mut content, mut over) = state?;
        let part = tokio::select! {
            biased;
            () = &mut over => return Some((Err(BoxError::from(SessionOver)), None)),
            part = content.next() => part?.map_err(Into::into),
        };
        Some((part, Some((content, over))))
    });
    Body::from_stream(parts)
}
