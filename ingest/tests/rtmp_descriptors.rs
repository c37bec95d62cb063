//! No file descriptors left: connections wait, and are taken once there are again. In a process of its own, since the
//! limit is the process's.

#![expect(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests share their modules")]

#[path = "rtmp/log.rs"]
mod log;
#[path = "rtmp/platform.rs"]
mod platform;

use std::time::Duration;

use platform::{LONG, Plane};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Whether the server answers the first half of a handshake.
async fn is_answered(mut socket: TcpStream, limit: Duration) -> bool {
    socket.write_all(&[&[3][..], &[7; 1536]].concat()).await.unwrap();
    let mut answer = [0; 1];
    timeout(limit, socket.read_exact(&mut answer)).await.is_ok_and(|read| read.is_ok())
}

fn open_descriptors() -> u64 {
    u64::try_from(std::fs::read_dir("/proc/self/fd").unwrap().count()).unwrap()
}

#[tokio::test]
async fn the_accept_loop_survives() {
    let plane = Plane::start().await;
    let sockets = (0..12).map(|_| TcpSocket::new_v4().unwrap()).collect::<Vec<_>>();
    let usual = getrlimit(Resource::Nofile);
    // The folder that was read above was open, too.
    let few = Some(open_descriptors() - 1 + 3);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: few, ..usual }).unwrap();
    let mut connections = Vec::new();
    for socket in sockets {
        connections.push(socket.connect(plane.ingest.rtmp_addr()).await.unwrap());
    }
    // The last of them waits in the backlog.
    let last = connections.pop().unwrap();
    let fails = async {
        while log::with("accepting RTMP connections fails").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, fails).await.expect("no connection is accepted");
    let waiting = tokio::spawn(is_answered(last, LONG));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    setrlimit(Resource::Nofile, usual).unwrap();
    assert!(waiting.await.unwrap());
    assert_eq!(log::with("accepting RTMP connections fails").len(), 1);
    drop(connections);
    assert!(is_answered(TcpStream::connect(plane.ingest.rtmp_addr()).await.unwrap(), LONG).await);
}
