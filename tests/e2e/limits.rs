//! Rate limits of two nodes that hear of each other over NATS (docs/adr/0035).

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::{
    api::{Caller, PASSWORD},
    nodes::{Node, Servers},
    weir::eventually,
};

#[tokio::test(flavor = "multi_thread")]
async fn who_has_guessed_too_often_at_one_node_is_refused_at_the_other() {
    let servers = Servers::new().await;
    let arguments = ["--rate-limits", "on", "--trusted-proxies", "127.0.0.1"];
    let worker = Node::serve("relay,projections", &servers);
    let nodes = [(); 2].map(|()| Node::serve_with("api", &servers, &arguments));
    worker.logs("weir serves").await;
    let [here, there] = [nodes[0].serves("http").await, nodes[1].serves("http").await].map(|at| format!("http://{at}"));
    Caller::register(&here, "mira", None).await;

    let client = Client::new();
    let sign_in = async |node: &str, from: &str, password: &str| {
        let asked = client.post(format!("{node}/api/v1/auth/login")).header("x-forwarded-for", from);
        let answer = asked.json(&json!({"username": "mira", "password": password})).send().await.unwrap();
        answer.status()
    };
    // What was spent is told once, and not to who does not listen yet: then it is guessed again from elsewhere.
    let mut guessers = 7..100;
    eventually("the other node refuses, too", async || {
        let guesser = format!("198.{}.100.7", guessers.next().unwrap());
        // One that succeeds costs nothing, so that it can be asked again and again.
        assert_eq!(sign_in(&there, &guesser, PASSWORD).await, StatusCode::OK);
        for _ in 0..10 {
            assert_eq!(sign_in(&here, &guesser, "a wrong password").await, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(sign_in(&here, &guesser, PASSWORD).await, StatusCode::TOO_MANY_REQUESTS);
        // There nobody guessed: it can know from the first node alone.
        for _ in 0..100 {
            match sign_in(&there, &guesser, PASSWORD).await {
                StatusCode::OK => tokio::time::sleep(Duration::from_millis(100)).await,
                StatusCode::TOO_MANY_REQUESTS => return Some(()),
                status => panic!("{status}"),
            }
        }
        None
    })
    .await;
    assert_eq!(sign_in(&there, "203.0.113.200", PASSWORD).await, StatusCode::OK, "from elsewhere their owner gets in");
}
