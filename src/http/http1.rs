//! An HTTP/1.1 of our own for what viewers ask for most: GET and HEAD under `/live/`, in plain text.
//!
//! While a viewer waits, a connection here keeps nothing but its request: it reads into a buffer that all connections of its thread
//! share, and writes heads into another. What is not plainly such a request, and all that follows it on its connection, is hyper's, with
//! every byte that has come: bodies, upgrades, other methods and versions. So nothing is parsed here by which two servers could
//! take the end of one request for the beginning of another.

mod head;

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::response::Response;
use bytes::{Buf, Bytes};
use hyper::{Method, StatusCode, body::Body as _, header::CONTENT_LENGTH};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use self::head::{Asked, Come, Length};
use super::{
    Site, for_method,
    pages::Pages,
    socket::Watched,
    traffic::{Sent, Traffic},
    watch::{Activity, Answering},
};

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;
/// Up to how much of a body is put behind its head, since the system takes one piece with less ado than two.
const COPIED_BYTES: usize = 4 * 1024;
/// From how much on nothing more is read of what a client sends ahead of an answer.
const AHEAD_BYTES: usize = 8 * 1024;

thread_local! {
    /// What all connections of a thread read into: nothing stays in it.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    /// What all connections of a thread write heads into, and small bodies behind them: nothing stays in it.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is others' to answer.
pub(super) struct Left {
    /// What has come of it.
    pub(super) come: Vec<u8>,
    /// Nothing else has come on the connection.
    pub(super) is_first: bool,
}

/// Answers what comes on a connection until it ends, or until something comes that is others'.
///
/// # Errors
/// When the connection breaks.
pub(super) async fn serve(
    socket: &mut Watched,
    site: &Site,
    traffic: &'static Traffic,
    activity: &Arc<Activity>,
) -> io::Result<Option<Left>> {
    // What has come and was not looked at.
    let mut come = Vec::new();
    let mut is_first = true;
    loop {
        let Asked { request, is_last } = match poll_fn(|context| next(socket, &mut come, activity, context)).await? {
            Next::Asked(asked) => asked,
            Next::Others => return Ok(Some(Left { come, is_first })),
            Next::Gone => return Ok(None),
        };
        is_first = false;
        let held = traffic.asked_of_live(&request.uri);
        let answering = Answering::begin(Arc::clone(activity));
        let method = request.method.clone();
        let response = {
            let mut answer = site.live.answer(request);
            poll_fn(|context| match answer.as_mut().poll(context) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => hung_up(socket, &mut come, context).map(|()| None),
            })
            .await
        };
        let Some(response) = response else { return Ok(None) };
        drop(held);
        let mut response = for_method(&method, response);
        (site.answered)(&method, &mut response);
        let is_last = is_last || activity.is_ending();
        send(socket, &mut come, &method, response, answering, is_last).await?;
        if is_last {
            socket.shutdown().await?;
            return Ok(None);
        }
    }
}

/// What comes next on a connection.
#[expect(clippy::large_enum_variant, reason = "it is passed on once for each request, and most are asked")]
enum Next {
    Asked(Asked),
    /// What has come is not ours.
    Others,
    /// The client has left, or is to.
    Gone,
}

fn next(
    socket: &mut Watched,
    come: &mut Vec<u8>,
    activity: &Activity,
    context: &mut Context<'_>,
) -> Poll<io::Result<Next>> {
    loop {
        if !come.is_empty() {
            match head::read(come) {
                Come::Whole(asked, length) => {
                    // Without what it took up: most who wait have sent nothing more.
                    *come = come.split_off(length);
                    return Poll::Ready(Ok(Next::Asked(asked)));
                }
                Come::Others => return Poll::Ready(Ok(Next::Others)),
                Come::Part => {}
            }
        }
        let asked = READ.with_borrow_mut(|buffer| {
            let read = ready!(read_into(socket, buffer, context))?;
            if read.is_empty() {
                return Poll::Ready(Ok(Some(Next::Gone)));
            }
            // Most often all that has come is one request, which is not copied as a whole.
            if come.is_empty()
                && let Come::Whole(asked, length) = head::read(read)
            {
                come.extend_from_slice(&read[length..]);
                return Poll::Ready(Ok(Some(Next::Asked(asked))));
            }
            come.extend_from_slice(read);
            Poll::Ready(io::Result::Ok(None))
        });
        match asked {
            Poll::Ready(Ok(Some(next))) => return Poll::Ready(Ok(next)),
            Poll::Ready(Ok(None)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // What has come before the end is answered.
            Poll::Pending if activity.is_ending() && come.is_empty() => return Poll::Ready(Ok(Next::Gone)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Whether the client has hung up while it is answered; what it asks for meanwhile is kept.
fn hung_up(socket: &mut Watched, come: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<()> {
    READ.with_borrow_mut(|buffer| {
        while come.len() < AHEAD_BYTES {
            match ready!(read_into(socket, buffer, context)) {
                Ok(read) if !read.is_empty() => {
                    come.reserve_exact(read.len());
                    come.extend_from_slice(read);
                }
                Ok(_) if !come.is_empty() => break,
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
        // It has sent more than it is answered, and is heard again with that: it may have shut down its side behind it.
        Poll::Pending
    })
}

/// What has come; nothing when that was all.
fn read_into<'a>(socket: &mut Watched, buffer: &'a mut [u8], context: &mut Context<'_>) -> Poll<io::Result<&'a [u8]>> {
    let length = {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(socket).poll_read(context, &mut read))?;
        read.filled().len()
    };
    Poll::Ready(Ok(&buffer[..length]))
}

async fn send(
    socket: &mut Watched,
    come: &mut Vec<u8>,
    method: &Method,
    response: Response,
    answering: Answering,
    is_last: bool,
) -> io::Result<()> {
    let (parts, body) = response.into_parts();
    let mut body = pin!(Sent::new(body, usize::MAX, Some(Pages::get()), answering));
    let is_bare = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_body = method != Method::HEAD && !is_bare;
    let said = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = match (body.size_hint().exact(), said) {
        _ if is_bare => Length::Unsaid,
        (Some(length), _) if has_body => Length::Bytes(length),
        (None, None) if has_body => Length::Chunked,
        (_, said) => said.map_or(Length::Unsaid, Length::Bytes),
    };
    // With the head goes what there is of the body.
    let mut piece = match has_body {
        true => poll_fn(|context| Poll::Ready(body.as_mut().poll_frame(context))).await,
        false => Poll::Ready(None),
    };
    let mut head = Some(|to: &mut Vec<u8>| head::write(&parts, length, is_last, to));
    let mut left = match length {
        Length::Bytes(length) if has_body => Some(length),
        _ => None,
    };
    loop {
        let (bytes, is_end) = match piece {
            Poll::Ready(Some(frame)) => (frame.map_err(io::Error::other)?.into_data().unwrap_or_default(), false),
            Poll::Ready(None) => (Bytes::new(), true),
            Poll::Pending => (Bytes::new(), false),
        };
        if let Some(left) = &mut left {
            // More than was said would be taken for the next answer.
            *left = left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        }
        let size = (length == Length::Chunked && !bytes.is_empty()).then_some(bytes.len());
        let before = |to: &mut Vec<u8>| {
            if let Some(head) = &head {
                head(to);
            }
            chunk(size, is_end && length == Length::Chunked, to);
        };
        write(socket, before, bytes, size.is_some()).await?;
        head = None;
        if is_end || left == Some(0) {
            break;
        }
        let frame = poll_fn(|context| match body.as_mut().poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => hung_up(socket, come, context).map(|()| Err(io::ErrorKind::ConnectionAborted)),
        });
        piece = Poll::Ready(frame.await?);
    }
    if left.is_some_and(|left| left > 0) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// What comes before a chunk of this size, or instead of one at the end.
fn chunk(size: Option<usize>, is_end: bool, to: &mut Vec<u8>) {
    use std::io::Write;
    if let Some(size) = size {
        // Writing to memory does not fail.
        let _ = write!(to, "{size:x}\r\n");
    }
    if is_end {
        to.extend_from_slice(b"0\r\n\r\n");
    }
}

/// Writes what `before` says, `bytes`, and the end of a chunk: all at once where that is little.
async fn write(
    socket: &mut Watched,
    before: impl Fn(&mut Vec<u8>),
    mut bytes: Bytes,
    is_chunk: bool,
) -> io::Result<()> {
    let end: &[u8] = if is_chunk { b"\r\n" } else { b"" };
    // What could not be written at once, which is rare.
    let (mut before, mut end) = poll_fn(|context| {
        HEAD.with_borrow_mut(|head| {
            head.clear();
            before(head);
            if bytes.len() <= COPIED_BYTES {
                head.extend_from_slice(&bytes);
                head.extend_from_slice(end);
                let written = match head.is_empty() {
                    true => 0,
                    false => ready!(Pin::new(&mut *socket).poll_write(context, head))?,
                };
                bytes.clear();
                return Poll::Ready(Ok((head[written..].to_vec(), &end[..0])));
            }
            let pieces = [IoSlice::new(head), IoSlice::new(&bytes), IoSlice::new(end)];
            let written = ready!(Pin::new(&mut *socket).poll_write_vectored(context, &pieces))?;
            let of_head = written.min(head.len());
            let of_bytes = (written - of_head).min(bytes.len());
            bytes.advance(of_bytes);
            Poll::Ready(io::Result::Ok((head[of_head..].to_vec(), &end[written - of_head - of_bytes..])))
        })
    })
    .await?;
    loop {
        let pieces = [IoSlice::new(&before), IoSlice::new(&bytes), IoSlice::new(end)];
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(());
        }
        let written = poll_fn(|context| Pin::new(&mut *socket).poll_write_vectored(context, &pieces)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_before = written.min(before.len());
        let of_bytes = (written - of_before).min(bytes.len());
        before.drain(..of_before);
        bytes.advance(of_bytes);
        end = &end[written - of_before - of_bytes..];
    }
}
