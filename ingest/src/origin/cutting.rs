//! Answers that take a while, and end with the right to them.

use std::{io, task::Poll};

use axum::body::{Body, HttpBody as _};
use futures::{FutureExt, StreamExt, stream};

/// A body until what `lost` gives is over. Then it breaks off, and does not end as if it were whole: no player and no cache on
/// the way takes the torso for all of it. How long it is to be must be said in the headers, if it is known.
pub(crate) fn until<L>(body: Body, lost: impl FnOnce() -> L) -> Body
where
    L: Future<Output = ()> + Send + 'static,
{
    if body.is_end_stream() {
        return body;
    }
    let mut lost = Box::pin(lost().fuse());
    let mut pieces = body.into_data_stream();
    let mut is_over = false;
    Body::from_stream(stream::poll_fn(move |context| {
        if is_over {
            return Poll::Ready(None);
        }
        if lost.as_mut().poll(context).is_ready() {
            is_over = true;
            let why = io::Error::new(io::ErrorKind::PermissionDenied, "the right to it was taken away");
            return Poll::Ready(Some(Err(axum::Error::new(why))));
        }
        pieces.poll_next_unpin(context)
    }))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use axum::body::to_bytes;
    use tokio::sync::oneshot;

    use super::*;

    fn body(pieces: &[&'static str]) -> Body {
        Body::from_stream(stream::iter(pieces.to_vec()).map(Ok::<_, io::Error>))
    }

    #[tokio::test]
    async fn it_breaks_off_and_does_not_end() {
        let (lose, lost) = oneshot::channel::<()>();
        let cut = until(body(&["one", "two"]), || lost.map(drop));
        let mut pieces = pin!(cut.into_data_stream());
        assert_eq!(pieces.next().await.unwrap().unwrap(), "one");
        lose.send(()).unwrap();
        assert!(pieces.next().await.unwrap().is_err());
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn what_nobody_loses_comes_whole() {
        let whole = until(body(&["one", "two"]), std::future::pending);
        assert_eq!(to_bytes(whole, usize::MAX).await.unwrap(), "onetwo");
    }

    #[tokio::test]
    async fn an_answer_without_a_body_stays_one() {
        let empty = until(Body::empty(), || async { panic!("nobody asks") });
        assert_eq!(empty.size_hint().exact(), Some(0));
    }

    #[tokio::test]
    async fn it_ends_also_while_there_is_nothing_to_send() {
        let (lose, lost) = oneshot::channel::<()>();
        let cut = until(Body::from_stream(stream::pending::<Result<String, io::Error>>()), || lost.map(drop));
        let reading = tokio::spawn(async move { to_bytes(cut, usize::MAX).await.is_err() });
        tokio::task::yield_now().await;
        lose.send(()).unwrap();
        assert!(reading.await.unwrap());
    }
}
