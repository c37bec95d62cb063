//! Accounts as people have them: in two browsers, and before anybody has one.

use std::time::Duration;

use crate::{
    api::{Caller, PASSWORD},
    browser::Spec,
    ports::free_port,
    weir::{DataDir, Weir},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_of_one_person() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    Caller::register(&weir.http, "mira", None).await;
    let who = [("WEIR_USERNAME", "mira"), ("WEIR_PASSWORD", PASSWORD)];
    Spec::run("accounts.spec.ts", &weir, &who).passes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_it_healthy_finds_the_set_up_token() {
    let folder = DataDir::new();
    let address = format!("127.0.0.1:{}", free_port());
    let (health, file) = (format!("http://{address}/healthz"), folder.path().join("data/setup-token"));
    let looking = tokio::spawn(async move {
        while !reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        file.exists()
    });
    let _weir = Weir::up_with(&folder, &["--http", &address, "--rtmp", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    assert!(looking.await.unwrap(), "the node was healthy before its set-up token could be read");
}
