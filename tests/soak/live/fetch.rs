//! Asks one thing at a time over plain HTTP, by the standard library alone.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn text(address: &str) -> Result<String, String> {
    String::from_utf8(get(address)?).map_err(|error| format!("{address}: {error}"))
}

/// The body of an answer with 200.
pub fn get(address: &str) -> Result<Vec<u8>, String> {
    let (status, body) = fetch(address)?;
    if status == 200 { Ok(body) } else { Err(format!("{address}: {status}")) }
}

/// By HTTP/1.0, in which an answer ends with its connection.
pub fn fetch(address: &str) -> Result<(u16, Vec<u8>), String> {
    ask(address).map_err(|error| format!("{address}: {error}"))
}

fn ask(address: &str) -> io::Result<(u16, Vec<u8>)> {
    let address = address.strip_prefix("http://").expect("an address of plain HTTP");
    let (host, path) = address.split_once('/').expect("an address has a path");
    let mut connection = TcpStream::connect(host)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET /{path} HTTP/1.0\r\nhost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let body = answer.split_off(end + 4);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((status, body))
}
