//! Streams are live on one node, and play at the address of each.

use std::{io::Write, net::TcpStream};

use reqwest::{Client, Method, StatusCode, header};
use serde_json::Value;

use crate::{
    api::Caller,
    encoder::Encoder,
    nodes::{Node, Servers},
    thread::channel_when,
    weir::{DataDir, Weir, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_at_the_address_of_every_node() {
    let servers = Servers::new().await;
    let migrated = servers.operate(&["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let api = Node::serve("api,relay,projections,processes", &servers);
    let owner = Node::serve("ingest", &servers);
    let other = Node::serve("ingest", &servers);
    let http = format!("http://{}", api.serves("http").await);
    let there = format!("http://{}", owner.serves("http").await);
    let elsewhere = format!("http://{}", other.serves("http").await);
    let rtmp = format!("rtmp://{}/live", owner.serves("rtmp").await);

    let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
    let key = keeper.channel("river").await;
    let encoder = Encoder::publish(&rtmp, &key);
    let live = channel_when(&keeper, "river", true).await;
    let (stream, channel) = (live["live_stream_id"].as_str().unwrap(), live["id"].as_str().unwrap());

    // The strict player, blocked reloads and all, from a node that has nothing of it.
    for address in [
        format!("{http}/live/{stream}/index.m3u8"),
        format!("{http}/live/channels/{channel}/index.m3u8"),
        format!("{elsewhere}/live/{stream}/index.m3u8"),
    ] {
        crate::playlist::check_live(&address, 2).await;
    }

    // What is answered is what the owner answers, headers and all.
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = async |base: &str, method: Method, path: &str, headers: &[(header::HeaderName, &str)]| {
        let request = client.request(method, format!("{base}/live/{path}"));
        headers.iter().fold(request, |request, (name, value)| request.header(name, *value)).send().await.unwrap()
    };
    let init = format!("{stream}/source/init0.mp4");
    let (ours, theirs) = (ask(&http, Method::GET, &init, &[]).await, ask(&there, Method::GET, &init, &[]).await);
    assert_eq!((ours.status(), theirs.status()), (StatusCode::OK, StatusCode::OK));
    for name in [header::ETAG, header::CACHE_CONTROL, header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        assert!(ours.headers().contains_key(&name), "{name}");
        assert_eq!(ours.headers()[&name], theirs.headers()[&name], "{name}");
    }
    let tag = ours.headers()[header::ETAG].to_str().unwrap().to_owned();
    let length = ours.headers()[header::CONTENT_LENGTH].clone();
    assert_eq!(ours.bytes().await.unwrap(), theirs.bytes().await.unwrap());
    let known = ask(&http, Method::GET, &init, &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let head = ask(&http, Method::HEAD, &init, &[]).await;
    assert_eq!((head.status(), &head.headers()[header::CONTENT_LENGTH]), (StatusCode::OK, &length));
    let playlist = format!("{stream}/source/index.m3u8");
    let compressed = ask(&http, Method::GET, &playlist, &[(header::ACCEPT_ENCODING, "gzip")]).await;
    assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
    let far = ask(&http, Method::GET, &format!("{playlist}?_HLS_msn=4000"), &[]).await;
    assert_eq!(far.status(), StatusCode::BAD_REQUEST);
    assert_eq!(far.json::<Value>().await.unwrap()["code"], "reload_too_far");
    let moved = ask(&http, Method::GET, &format!("channels/{channel}/index.m3u8"), &[]).await;
    assert_eq!(moved.status(), StatusCode::FOUND);

    // What another node has passed on is answered here, and goes no further.
    let from_node = header::HeaderName::from_static("weir-from-node");
    let returned = ask(&http, Method::GET, &init, &[(from_node, "1")]).await;
    assert_eq!(returned.status(), StatusCode::NOT_FOUND);
    // What nobody has, nobody answers for.
    let unknown = ask(&http, Method::GET, "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11/index.m3u8", &[]).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(unknown.json::<Value>().await.unwrap()["code"], "stream_not_found");

    // The owner is gone without a word: first it does not answer, then nobody has the stream.
    drop(owner);
    let first = ask(&http, Method::GET, &playlist, &[]).await;
    assert!([StatusCode::BAD_GATEWAY, StatusCode::NOT_FOUND].contains(&first.status()), "{first:?}");
    let problem = first.json::<Value>().await.unwrap();
    assert!(["origin_unreachable", "stream_not_found"].contains(&problem["code"].as_str().unwrap()), "{problem}");
    eventually("nobody has it", async || {
        let answer = ask(&http, Method::GET, &playlist, &[]).await;
        (answer.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    drop(encoder);
}

/// Memory of its own that a process has, in KiB.
fn own_memory_kib(weir: &Weir) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_that_are_held_and_dropped_leave_nothing_behind() {
    const HELD: usize = 300;
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&streamer, "river", true).await;
    let stream = live["live_stream_id"].as_str().unwrap();
    let playlist = format!("/live/{stream}/source/index.m3u8");
    crate::playlist::check_live(&format!("{}/live/{stream}/index.m3u8", weir.http), 2).await;
    // The stream waits for its encoder, and they all for the stream.
    encoder.kill();
    let address = weir.http.trim_start_matches("http://");
    let text = reqwest::get(format!("{}{playlist}", weir.http)).await.unwrap().text().await.unwrap();
    let complete = text.matches("#EXTINF:").count() as u64;
    let first = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap();
    let next = first.parse::<u64>().unwrap() + complete;
    let request = format!("GET {playlist}?_HLS_msn={next} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let round = async || {
        let mut sockets: Vec<TcpStream> = (0..HELD).map(|_| TcpStream::connect(address).unwrap()).collect();
        for socket in &mut sockets {
            socket.write_all(request.as_bytes()).unwrap();
        }
        eventually("they are held", async || {
            (weir.metric("weir_http_reloads_held", "").await? >= HELD as f64).then_some(())
        })
        .await;
        drop(sockets);
        eventually("they are gone", async || {
            let held = weir.metric("weir_http_reloads_held", "").await?;
            let open = weir.metric("weir_http_connections", "").await?;
            (held == 0.0 && open < 20.0).then_some(())
        })
        .await;
    };
    round().await;
    let before = own_memory_kib(&weir);
    for _ in 0..4 {
        round().await;
    }
    let grown = own_memory_kib(&weir) - before;
    // Were each kept, it would be some 10 KiB times 1,200.
    assert!(grown < 8_000, "{grown} KiB");
}
