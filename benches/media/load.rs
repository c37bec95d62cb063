//! The same request over many connections, as fast as answers come: HTTP/1.1 on bare sockets, one epoll a thread. Answers
//! have the same length each time, which is asked for once, so that nothing has to be parsed.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll,
    net::{RecvFlags, SendFlags, recv, send},
};

/// What was reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    pub requests: f64,
    pub gigabits: f64,
}

/// A response, as it is from its first to its last byte.
pub fn fetch(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request(address, path).as_bytes()).unwrap();
    let mut whole = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        let read = socket.read(&mut piece).unwrap();
        whole.extend_from_slice(&piece[..read]);
        let Some(end) = whole.windows(4).position(|four| four == b"\r\n\r\n") else {
            assert!(read > 0, "no answer for {path}");
            continue;
        };
        let head = String::from_utf8_lossy(&whole[..end + 4]).into_owned();
        let length = content_length(&head);
        if whole.len() >= head.len() + length || read == 0 {
            return (head, whole.split_off(end + 4));
        }
    }
}

/// What the head says of the body.
pub fn content_length(head: &str) -> usize {
    let lower = head.to_ascii_lowercase();
    let line = lower.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or_default();
    line.trim().parse().unwrap_or(0)
}

pub fn request(address: SocketAddr, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")
}

/// Asks for `path` over `connections` for `duration`, from two threads: the server and its load share two cores.
pub fn run(address: SocketAddr, path: &str, connections: usize, duration: Duration) -> Rate {
    const THREADS: usize = 2;
    let (head, body) = fetch(address, path);
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    let whole = head.len() + body.len();
    let request = request(address, path);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let request = request.clone();
            std::thread::spawn(move || one_thread(address, &request, whole, connections / THREADS, duration))
        })
        .collect();
    let mut rate = Rate::default();
    for thread in threads {
        let own = thread.join().unwrap();
        rate.requests += own.requests;
        rate.gigabits += own.gigabits;
    }
    rate
}

struct Connection {
    socket: OwnedFd,
    left: usize,
}

fn one_thread(address: SocketAddr, request: &str, whole: usize, connections: usize, duration: Duration) -> Rate {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut all: Vec<Connection> = (0..connections)
        .map(|index| {
            let socket = TcpStream::connect(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            let socket = OwnedFd::from(socket);
            epoll::add(&poll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN).unwrap();
            Connection { socket, left: 0 }
        })
        .collect();
    for connection in &mut all {
        ask(connection, request, whole);
    }
    let mut buffer = vec![0_u8; 256 * 1024];
    let mut events = Vec::with_capacity(256);
    let (mut requests, mut bytes) = (0_u64, 0_u64);
    let mut began = Instant::now();
    let mut is_warm = false;
    loop {
        // The first half second is not counted.
        if !is_warm && began.elapsed() > Duration::from_millis(500) {
            (is_warm, began, requests, bytes) = (true, Instant::now(), 0, 0);
        }
        if is_warm && began.elapsed() >= duration {
            break;
        }
        events.clear();
        let most = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&poll, spare_capacity(&mut events), Some(&most)).unwrap();
        for event in &events {
            let connection = &mut all[event.data.u64() as usize];
            let Ok((_, read)) = recv(&connection.socket, &mut buffer[..], RecvFlags::empty()) else { continue };
            assert!(read > 0, "the server hung up");
            bytes += read as u64;
            connection.left = connection.left.checked_sub(read).expect("answers are of the same length");
            if connection.left == 0 {
                requests += 1;
                ask(connection, request, whole);
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Rate { requests: requests as f64 / seconds, gigabits: bytes as f64 * 8.0 / 1e9 / seconds }
}

fn ask(connection: &mut Connection, request: &str, whole: usize) {
    connection.left = whole;
    let sent = send(&connection.socket, request.as_bytes(), SendFlags::NOSIGNAL).unwrap();
    assert_eq!(sent, request.len());
}
