//! The socket of one connection, and what the connection is doing.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
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
};

/// What a connection is doing, told by its socket and its answers, for the watch over it.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    requests: AtomicU32,
    /// Answers of which the client must take something before there is more to do.
    untaken: AtomicU32,
    is_blocked: AtomicBool,
    is_cut: AtomicBool,
    is_ending: AtomicBool,
    /// Milliseconds after `opened`.
    last_ms: AtomicU64,
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing until then.
    Wait(Instant),
    /// It has asked nothing for too long.
    Idle,
    /// It does not take what it asked for.
    Slow,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests: AtomicU32::new(0),
            untaken: AtomicU32::new(0),
            is_blocked: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            last_ms: AtomicU64::new(0),
        }
    }

    /// Something has come or gone.
    fn touch(&self) {
        let elapsed_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    /// Has the connection end once it is answered what it has asked for.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Counts this connection among those that were cut for not reading; whether it is the first to say so.
    pub(super) fn cut(&self) -> bool {
        !self.is_cut.swap(true, Ordering::Relaxed)
    }

    /// What is to be done now, when a connection may go `idle` for so long without a request, and `unread` without taking
    /// any of an answer.
    pub(super) fn verdict(&self, idle: Duration, unread: Duration) -> Verdict {
        let last = self.opened + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        let since = last.elapsed();
        if self.requests.load(Ordering::Relaxed) == 0 && !self.is_blocked.load(Ordering::Relaxed) {
            return if since >= idle { Verdict::Idle } else { Verdict::Wait(last + idle) };
        }
        if self.untaken.load(Ordering::Relaxed) > 0 {
            return if since >= unread { Verdict::Slow } else { Verdict::Wait(last + unread) };
        }
        Verdict::Wait(Instant::now() + unread.min(idle))
    }
}

/// A request that is being answered, until its answer has been handed to the socket.
#[derive(Debug)]
pub(super) struct Answering {
    activity: Arc<Activity>,
    is_untaken: bool,
}

impl Answering {
    pub(super) fn begin(activity: Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        Self { activity, is_untaken: false }
    }

    /// The client has to take something next, or has taken it.
    pub(super) fn set_untaken(&mut self, is_untaken: bool) {
        if self.is_untaken != is_untaken {
            self.is_untaken = is_untaken;
            match is_untaken {
                true => self.activity.untaken.fetch_add(1, Ordering::Relaxed),
                false => self.activity.untaken.fetch_sub(1, Ordering::Relaxed),
            };
        }
        self.activity.touch();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.set_untaken(false);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

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
                self.activity.is_blocked.store(false, Ordering::Relaxed);
                self.activity.touch();
            }
            return Poll::Ready(written);
        }
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        self.activity.is_blocked.store(true, Ordering::Relaxed);
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
