//! The socket of one connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use rustix::net::{SendFlags, send};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    pages::{LEAST_BYTES, Pages},
    traffic::Traffic,
    watch::Activity,
};

/// A socket whose peer must take what is sent to it: once nothing has gone for `unread`, writing fails.
#[derive(Debug)]
pub(super) struct Watched {
    socket: TcpStream,
    activity: Arc<Activity>,
    traffic: &'static Traffic,
    unread: Duration,
    /// What was read already, and is to be read again.
    before: Bytes,
    blocked_since: Option<Instant>,
    /// Kept between two waits, since most are short: it may go off for a wait that is over.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(socket: TcpStream, activity: Arc<Activity>, traffic: &'static Traffic, unread: Duration) -> Self {
        Self { socket, activity, traffic, unread, before: Bytes::new(), blocked_since: None, timer: None }
    }

    /// The same, of which `read` is read again first.
    pub(super) fn after(self, read: Vec<u8>) -> Self {
        Self { before: read.into(), ..self }
    }

    /// Writes from memory, or from pages where what is written is in some.
    fn write(&mut self, context: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let large = pieces.iter().take(2).position(|piece| piece.len() >= LEAST_BYTES);
        let found = large.and_then(|index| Some((index, Pages::get().find(&pieces[index])?)));
        let Some((index, (shared, offset))) = found else {
            return Pin::new(&mut self.socket).poll_write_vectored(context, pieces);
        };
        let count = pieces[index].len();
        if pieces[..index].iter().all(|piece| piece.is_empty()) {
            return self.try_write(context, |socket| shared.send(socket, offset, count));
        }
        // The head first, to go out together with what follows.
        let head: &[u8] = &pieces[0];
        let sent = ready!(
            self.try_write(context, |socket| { Ok(send(socket, head, SendFlags::MORE | SendFlags::NOSIGNAL)?) })
        )?;
        if sent < head.len() {
            return Poll::Ready(Ok(sent));
        }
        let socket = &self.socket;
        match socket.try_io(Interest::WRITABLE, || shared.send(socket, offset, count)) {
            Ok(more) => Poll::Ready(Ok(sent + more)),
            // The next write finds out what it is.
            Err(_) => Poll::Ready(Ok(sent)),
        }
    }

    fn try_write(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match self.socket.try_io(Interest::WRITABLE, || write(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn after_write(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let Ok(bytes) = written {
                self.traffic.sent_bytes.increment(bytes as u64);
            }
            if self.blocked_since.take().is_some() {
                self.activity.set_blocked(false);
            }
            return Poll::Ready(written);
        }
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        self.activity.set_blocked(true);
        let deadline = since + self.unread;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            if timer.deadline() < deadline && timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline {
                break;
            }
        }
        if self.activity.cut() {
            self.traffic.slow_readers.increment(1);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let count = buffer.remaining().min(self.before.len());
            buffer.put_slice(&self.before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.write(context, &[io::IoSlice::new(bytes)]);
        self.after_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.write(context, pieces);
        self.after_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
