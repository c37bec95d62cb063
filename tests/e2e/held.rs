//! Thousands of viewers who wait for the same thing, and leave.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    api::Caller,
    encoder::Encoder,
    thread::on_air,
    weir::{DataDir, Weir, eventually},
};

const HELD: usize = 5_000;
/// What each of them may take of memory while it waits, in KiB. A release build takes some 22.
const MOST_KIB: i64 = 96;
/// What each may leave behind of that, in KiB, once the system has back what nobody uses.
const LEFT_KIB: i64 = 4;

/// Memory of its own that a process has, in KiB.
fn own_memory_kib(weir: &Weir) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Open files for all of them, here and in what is started from here.
fn take_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Weir gives three quarters of its own to viewers, which are 6,000.
    let wanted = 8_000;
    assert!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "this test needs a hard limit of {wanted} open files (ulimit -Hn), and there are {maximum:?}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Viewers who ask again for as long as they are told to.
struct Crowd {
    request: String,
    sockets: Vec<TcpStream>,
}

impl Crowd {
    fn come(address: &str, request: String) -> Self {
        let mut crowd = Self { request, sockets: Vec::with_capacity(HELD) };
        for _ in 0..HELD {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(crowd.request.as_bytes()).unwrap();
            socket.set_nonblocking(true).unwrap();
            crowd.sockets.push(socket);
        }
        crowd
    }

    /// Who was told that it took too long asks again.
    fn ask_again(&mut self) {
        let mut bin = [0; 16 * 1024];
        for socket in &mut self.sockets {
            match socket.read(&mut bin) {
                Ok(0) => panic!("Weir hung up on a viewer"),
                Ok(_) => socket.write_all(self.request.as_bytes()).unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_reloads_are_held_and_dropped_and_leave_nothing_behind() {
    take_descriptors();
    let folder = DataDir::new();
    // The stream waits for its encoder for as long as this takes.
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &["--reconnect-grace-seconds", "600"]].concat());
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, live) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap();
    assert_eq!(live["reconnect_grace_seconds"], 600, "{live}");
    let master = format!("{}/live/{stream}/index.m3u8", weir.http);
    crate::playlist::check_live(&master, 2).await;
    // The stream waits for its encoder, and they all for the stream.
    encoder.kill();
    let address = weir.http.trim_start_matches("http://");
    let playlist = format!("/live/{stream}/source/index.m3u8");
    let next = async || {
        let text = reqwest::get(format!("{}{playlist}", weir.http)).await.unwrap().text().await.unwrap();
        crate::playlist::MediaPlaylist::parse(&text).unwrap().next_position().0
    };
    // What was on its way when it was killed has come.
    eventually("the stream waits for its encoder", async || {
        (streamer.get("channels/river/ingest").await["state"] == "reconnecting").then_some(())
    })
    .await;
    let mut segment = next().await;
    eventually("the stream stands still", async || {
        let now = next().await;
        let before = std::mem::replace(&mut segment, now);
        (before == now).then_some(())
    })
    .await;
    let request = format!("GET {playlist}?_HLS_msn={segment} HTTP/1.1\r\nHost: {address}\r\n\r\n");

    let empty = own_memory_kib(&weir);
    let mut full = Vec::new();
    for _ in 0..2 {
        let mut crowd = Crowd::come(address, request.clone());
        eventually("they are held", async || {
            crowd.ask_again();
            (weir.metric("weir_http_reloads_held", "").await? >= HELD as f64).then_some(())
        })
        .await;
        full.push(own_memory_kib(&weir));
        drop(crowd);
        eventually("they are gone", async || {
            let held = weir.metric("weir_http_reloads_held", "").await?;
            let open = weir.metric("weir_http_connections", "").await?;
            (held == 0.0 && open < 20.0).then_some(())
        })
        .await;
    }
    let of_each = (full.iter().max().unwrap() - empty) / HELD as i64;
    assert!(of_each < MOST_KIB, "{of_each} KiB each");
    let after = eventually("the system has their memory back", async || {
        let now = own_memory_kib(&weir);
        (now < empty + LEFT_KIB * HELD as i64).then_some(now)
    })
    .await;
    println!("{HELD} held reloads: {empty} KiB before, with them {full:?}, after them {after}");

    // The next viewers are served, by a stream that goes on.
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    eventually("the encoder is back", async || {
        encoder.insist();
        (streamer.get("channels/river/ingest").await["state"] == "live").then_some(())
    })
    .await;
    crate::playlist::check_live(&master, 2).await;
    encoder.stop();
    eventually("nobody waits", async || (weir.metric("weir_http_reloads_held", "").await? == 0.0).then_some(())).await;
}
