//! Calls of the API over bare sockets, HTTP/1.1, one at a time: what is measured is the server.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// A request as it is sent.
pub struct Call(Vec<u8>);

impl Call {
    pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        Self(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}\r\n").into_bytes())
    }

    pub fn sign_in(address: SocketAddr, username: &str, password: &str) -> Self {
        let body = serde_json::json!({ "username": username, "password": password }).to_string();
        let head = format!(
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Self((head + &body).into_bytes())
    }
}

/// A connection that is kept.
pub struct Connection {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, answer: Vec::new() }
    }

    /// The status, and how long it took from the first byte of the question to the last of the answer.
    pub fn timed(&mut self, call: &Call) -> (u16, Duration) {
        let began = Instant::now();
        self.socket.write_all(&call.0).unwrap();
        self.answer.clear();
        let mut piece = [0; 16_384];
        loop {
            let read = self.socket.read(&mut piece).unwrap();
            assert!(read > 0, "the server hung up");
            self.answer.extend_from_slice(&piece[..read]);
            let Some(end) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.expect("an answer of a known length").trim().parse().unwrap();
            if self.answer.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, began.elapsed());
            }
        }
    }
}
