//! What the node does to be safe, in one start: limits, its log, other sites' pages, and who may come from where.

use std::fs;

use reqwest::{Client, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    api::Caller,
    browser::Spec,
    encoder::Encoder,
    ports::free_port,
    weir::{DataDir, Weir, command, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_safe_in_front_of_strangers() {
    let folder = DataDir::new();
    // The page of another site, served by the spec.
    let friend = free_port();
    let origin = format!("http://localhost:{friend}");
    let log_file = folder.path().join("logs/weir.log");
    let arguments = [
        &Weir::ANYWHERE[..],
        &["--rate-limits", "on", "--trusted-proxies", "127.0.0.1", "--cors-origins", &origin],
        &["--log", "info,weir=debug,api=debug", "--log-format", "json", "--log-file", log_file.to_str().unwrap()],
        &["--admin-deny", "203.0.113.0/24", "--publish-deny", "127.0.0.0/8"],
    ]
    .concat();
    let weir = Weir::up_from(&mut command(&folder), &folder, &arguments);
    assert!(!weir.log().contains("rate limits are off"), "they are on");
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = keeper.channel("river").await;

    // Encoders are told why.
    Encoder::publish(&weir.rtmp, &key).refused();
    eventually("the refusal is in the log", async || weir.log().contains("address_not_allowed").then_some(())).await;

    let client = Client::new();
    let ask = async |path: &str, from: &str, token: Option<&str>| {
        let mut request = client.get(format!("{}{path}", weir.http)).header("x-forwarded-for", from);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.headers().clone())
    };
    let me = "/api/v1/auth/me";
    assert_eq!(ask(me, "198.51.100.1", Some(keeper.token())).await.0, StatusCode::OK);
    assert_eq!(ask(me, "203.0.113.1", Some(keeper.token())).await.0, StatusCode::FORBIDDEN);

    // A viewer's token stands in a path, secrets in queries; media that fails has an id to ask about.
    let header = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let stream = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01";
    let media = format!("/live/t/hushhush/{stream}/index.m3u8?token=hushhush");
    let (status, headers) = ask(&media, "198.51.100.2", None).await;
    assert!(status.is_client_error(), "{status}");
    let media_id = header(&headers, "x-request-id").expect("what fails has an id");
    let (status, headers) = ask("/api/v1/nothing/hushhush?token=hushhush", "198.51.100.2", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let call_id = header(&headers, "x-request-id").unwrap();

    let lines = eventually("both are in the file", async || {
        let text = fs::read_to_string(&log_file).ok()?;
        (text.contains(&media_id) && text.contains(&call_id)).then_some(text)
    })
    .await;
    assert!(!lines.contains("hushhush"), "a secret is in the log");
    assert!(!lines.contains(&key) && !lines.contains(keeper.token()), "a secret is in the log");
    assert!(!weir.log().contains("hushhush"), "a secret is in the log");
    // The last line may be in the writing.
    let (lines, _) = lines.rsplit_once('\n').unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |id: &str| lines.iter().find(|line| line["request.id"] == id).unwrap();
    assert_eq!(line(&call_id)["client.address"], "198.51.100.0/24");
    assert_eq!(line(&media_id)["level"], "DEBUG");

    Spec::run("security.spec.ts", &weir, &[("WEIR_CHANNEL", "river"), ("WEIR_FRIEND_PORT", &friend.to_string())])
        .passes()
        .await;

    // Limits, last: they are met. By the one that gives the fewest back, for a machine may ask more slowly than others do.
    let register = async |from: &str| {
        let path = format!("{}/api/v1/auth/register", weir.http);
        let answer = client.post(path).header("x-forwarded-for", from).json(&json!({})).send().await.unwrap();
        (answer.status(), answer.headers().clone())
    };
    let refused = loop {
        let (status, headers) = register("198.51.100.3").await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            break headers;
        }
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    };
    assert!(refused.contains_key("retry-after") && refused.contains_key("ratelimit"));
    assert_eq!(register("198.51.100.4").await.0, StatusCode::UNPROCESSABLE_ENTITY);
}
