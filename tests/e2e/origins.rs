//! Streams are live on one node, and play at the address of each.

use reqwest::{Client, Method, StatusCode, header};
use serde_json::Value;

use crate::{
    api::Caller,
    nodes::{Node, Servers},
    thread::on_air,
    weir::eventually,
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
    let (encoder, live) = on_air(&keeper, "river", &rtmp, &key).await;
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
