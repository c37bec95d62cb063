//! Viewers at the full pace of LL-HLS: each holds a blocked reload, then fetches the part that it announces, and so on. One
//! connection each, HTTP/1.1; what is in a part is thrown away in the kernel, since players are on other machines.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll,
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with},
};

use crate::load::content_length;

/// What viewers got in a span of time.
#[derive(Debug, Default, Clone)]
pub struct Delivered {
    /// From a part's first announcement to its last byte, in milliseconds, sorted.
    pub delays_ms: Vec<f32>,
    pub parts: u64,
    /// Parts that a viewer did not get in time.
    pub missed: u64,
    /// Answers that were neither 200 nor expected.
    pub errors: u64,
    pub bytes: u64,
    pub last_error: String,
}

impl Delivered {
    pub fn at(&self, share: f64) -> f32 {
        let place = ((self.delays_ms.len() as f64 * share) as usize).min(self.delays_ms.len().saturating_sub(1));
        self.delays_ms.get(place).copied().unwrap_or(f32::NAN)
    }
}

/// Viewers of one stream, on a thread of their own, which more can join.
pub struct Viewers {
    wanted: Arc<AtomicUsize>,
    connected: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    collected: Arc<Mutex<Delivered>>,
    processor_ticks: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Viewers {
    /// Of the media playlist at `path`, spread over `servers`.
    pub fn start(servers: Vec<SocketAddr>, path: String) -> Self {
        let wanted = Arc::new(AtomicUsize::new(0));
        let connected = Arc::new(AtomicUsize::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let collected = Arc::new(Mutex::new(Delivered::default()));
        let processor_ticks = Arc::new(AtomicU64::new(0));
        let mut engine = Engine {
            servers,
            folder: path.rsplit_once('/').unwrap().0.to_owned(),
            path,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            viewers: Vec::new(),
            positions: HashMap::new(),
            announced: HashMap::new(),
            own: Delivered::default(),
            buffer: vec![0; 1 << 20],
        };
        let thread = std::thread::spawn({
            let (wanted, connected, stopping) = (Arc::clone(&wanted), Arc::clone(&connected), Arc::clone(&stopping));
            let (collected, ticks) = (Arc::clone(&collected), Arc::clone(&processor_ticks));
            move || engine.run(&wanted, &connected, &stopping, &collected, &ticks)
        });
        Self { wanted, connected, stopping, collected, processor_ticks, thread: Some(thread) }
    }

    /// Brings their number to `count`, and returns once all are connected.
    pub fn grow_to(&self, count: usize) {
        self.wanted.store(count, Ordering::Relaxed);
        let began = Instant::now();
        while self.connected.load(Ordering::Relaxed) < count {
            assert!(began.elapsed() < Duration::from_secs(120), "viewers cannot connect");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is delivered from now on for so long.
    pub fn watch(&self, duration: Duration) -> Delivered {
        drop(std::mem::take(&mut *self.collected.lock().unwrap()));
        std::thread::sleep(duration);
        let mut delivered = std::mem::take(&mut *self.collected.lock().unwrap());
        delivered.delays_ms.sort_unstable_by(f32::total_cmp);
        delivered
    }

    /// Processor time of the load generator's thread.
    pub fn processor(&self) -> Duration {
        Duration::from_micros(self.processor_ticks.load(Ordering::Relaxed))
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Engine {
    servers: Vec<SocketAddr>,
    path: String,
    folder: String,
    poll: OwnedFd,
    viewers: Vec<Viewer>,
    /// Where a playlist that announces a part next has got: read once for all viewers.
    positions: HashMap<u64, (u64, u64)>,
    announced: HashMap<u64, Instant>,
    own: Delivered,
    buffer: Vec<u8>,
}

struct Viewer {
    socket: OwnedFd,
    server: SocketAddr,
    wants: Wants,
    /// Of the answer, until its head is there.
    head: Vec<u8>,
    /// Of the body, once it is.
    left: Option<usize>,
    is_ok: bool,
    /// Of a playlist.
    text: Vec<u8>,
    next_part: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Playlist,
    Part { number: u64, upto: u64 },
}

impl Engine {
    fn run(
        &mut self,
        wanted: &AtomicUsize,
        connected: &AtomicUsize,
        stopping: &AtomicBool,
        collected: &Mutex<Delivered>,
        ticks: &AtomicU64,
    ) {
        let mut events = Vec::with_capacity(1_024);
        let mut told = Instant::now();
        while !stopping.load(Ordering::Relaxed) {
            // A few at a time, between what the others get.
            let missing = wanted.load(Ordering::Relaxed).saturating_sub(self.viewers.len());
            for _ in 0..missing.min(50) {
                self.join();
            }
            connected.store(self.viewers.len(), Ordering::Relaxed);
            events.clear();
            let most = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&most)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("{error}"),
            }
            for event in &events {
                self.on_readable(event.data.u64() as usize);
            }
            if told.elapsed() > Duration::from_millis(50) {
                told = Instant::now();
                let own = std::mem::take(&mut self.own);
                let mut all = collected.lock().unwrap();
                all.delays_ms.extend_from_slice(&own.delays_ms);
                all.parts += own.parts;
                all.missed += own.missed;
                all.errors += own.errors;
                all.bytes += own.bytes;
                if !own.last_error.is_empty() {
                    all.last_error = own.last_error;
                }
                let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                ticks.store(used.tv_sec as u64 * 1_000_000 + used.tv_nsec as u64 / 1_000, Ordering::Relaxed);
            }
        }
    }

    fn join(&mut self) {
        let index = self.viewers.len();
        let server = self.servers[index % self.servers.len()];
        // 20,000 from each address of loopback: ports run out.
        let from = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(index / 20_000).unwrap());
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddr::from((from, 0))).unwrap();
        connect(&socket, &server).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nonblocking(true).unwrap();
        let socket = OwnedFd::from(stream);
        epoll::add(&self.poll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN).unwrap();
        let viewer = Viewer {
            socket,
            server,
            wants: Wants::Playlist,
            head: Vec::new(),
            left: None,
            is_ok: false,
            text: Vec::new(),
            next_part: None,
        };
        viewer.ask(&self.path);
        self.viewers.push(viewer);
    }

    fn on_readable(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        let is_part = matches!(viewer.wants, Wants::Part { .. });
        match viewer.left {
            None => {
                // Little, so that what follows the head of a part can be thrown away unread.
                let most = if is_part { 1_024 } else { 65_536 };
                let Ok((_, read)) = recv(&viewer.socket, &mut self.buffer[..most], RecvFlags::empty()) else { return };
                assert!(read > 0, "a server hung up on a viewer");
                viewer.head.extend_from_slice(&self.buffer[..read]);
                let Some(end) = viewer.head.windows(4).position(|four| four == b"\r\n\r\n") else { return };
                let body = viewer.head.split_off(end + 4);
                let head = String::from_utf8_lossy(&viewer.head).into_owned();
                viewer.head.clear();
                viewer.is_ok = head.starts_with("HTTP/1.1 200 ");
                if !viewer.is_ok {
                    self.own.last_error = head.lines().next().unwrap_or_default().to_owned();
                }
                viewer.left = Some(content_length(&head) - body.len());
                self.own.bytes += body.len() as u64;
                if is_part {
                    viewer.text.clear();
                } else {
                    viewer.text = body;
                }
            }
            Some(left) => {
                let flags = if is_part { RecvFlags::TRUNC } else { RecvFlags::empty() };
                let most = left.min(self.buffer.len());
                let Ok((_, read)) = recv(&viewer.socket, &mut self.buffer[..most], flags) else { return };
                assert!(read > 0, "a server hung up on a viewer in the middle of an answer");
                if !is_part {
                    viewer.text.extend_from_slice(&self.buffer[..read]);
                }
                viewer.left = Some(left - read);
                self.own.bytes += read as u64;
            }
        }
        if self.viewers[index].left == Some(0) {
            self.viewers[index].left = None;
            self.on_answer(index);
        }
    }

    fn on_answer(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        match viewer.wants {
            Wants::Playlist => {
                if !viewer.is_ok {
                    self.own.errors += 1;
                    viewer.next_part = None;
                    viewer.ask(&self.path);
                    return;
                }
                let next = next_part(&viewer.text);
                let text = &viewer.text;
                self.positions.entry(next).or_insert_with(|| position(text));
                self.announced.entry(next - 1).or_insert_with(Instant::now);
                let first = viewer.next_part.unwrap_or(next - 1).min(next - 1);
                // Three parts behind, a player jumps.
                let from = first.max(next.saturating_sub(4));
                self.own.missed += from - first;
                viewer.next_part = Some(next);
                viewer.wants = Wants::Part { number: from, upto: next };
                viewer.ask(&format!("{}/p{from}.m4s", self.folder));
            }
            Wants::Part { number, upto } => {
                if viewer.is_ok {
                    self.own.parts += 1;
                    if let Some(announced) = self.announced.get(&number) {
                        self.own.delays_ms.push(announced.elapsed().as_secs_f32() * 1_000.0);
                    }
                } else {
                    self.own.missed += 1;
                }
                if number + 1 < upto {
                    viewer.wants = Wants::Part { number: number + 1, upto };
                    viewer.ask(&format!("{}/p{}.m4s", self.folder, number + 1));
                    return;
                }
                viewer.wants = Wants::Playlist;
                let (segment, part) = self.positions[&upto];
                viewer.ask(&format!("{}?_HLS_msn={segment}&_HLS_part={part}", self.path));
            }
        }
    }
}

impl Viewer {
    fn ask(&self, path: &str) {
        let request = crate::load::request(self.server, path);
        let sent = send(&self.socket, request.as_bytes(), SendFlags::NOSIGNAL);
        match sent {
            Ok(bytes) => assert_eq!(bytes, request.len()),
            Err(error) => panic!("{}", std::io::Error::new(ErrorKind::BrokenPipe, error)),
        }
    }
}

/// The number of the part that a playlist hints at.
fn next_part(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap();
    let hint = text.rfind("#EXT-X-PRELOAD-HINT:").unwrap_or_else(|| panic!("no hint in\n{text}"));
    let name = text[hint..].split('"').nth(1).unwrap();
    name.trim_start_matches('p').trim_end_matches(".m4s").parse().unwrap()
}

/// The segment of a playlist, and the part in it, that come next.
pub fn position(text: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(text).unwrap();
    let (mut segment, mut part) = (0, 0);
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            segment = number.parse().unwrap();
        } else if line.starts_with("#EXTINF:") {
            (segment, part) = (segment + 1, 0);
        } else if line.starts_with("#EXT-X-PART:") {
            part += 1;
        }
    }
    (segment, part)
}
