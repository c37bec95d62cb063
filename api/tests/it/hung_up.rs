//! Calls whose client hangs up before there is an answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    call_lines::Lines,
    site::{PATIENCE, Site},
};

impl Site {
    /// Waits until somebody waits in Postgres for what a test holds.
    pub(crate) async fn until_waits_for_a_lock(&self) {
        let waiting = "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
        let look = async {
            while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&self.pool).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("nobody waits");
    }
}

#[tokio::test]
async fn a_call_has_a_line_also_when_its_client_hangs_up() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(lines.clone()).finish();
    // As in frame.rs: with a single subscriber tracing remembers who came to a line first.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // The server runs on this very thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    // A command that is being carried out: it waits for its turn in the log.
    let mut held = site.pool.begin().await.unwrap();
    sqlx::raw_sql("select from log.head for update").execute(&mut *held).await.unwrap();
    let edit = site.patch("/api/v1/channels/river", &json!({"title": "The sea"})).bearer_auth(&mira.token);
    let calling = tokio::spawn(edit.send());
    site.until_waits_for_a_lock().await;
    assert_eq!(lines.calls(), Vec::<Value>::new());
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    let calls = lines.until(1).await;
    held.rollback().await.unwrap();
    let field = |name: &str| calls[0][name].as_str().unwrap_or("-").to_owned();
    assert_eq!(calls[0]["http.status"], 499);
    assert_eq!(
        (field("http.method"), field("http.route")),
        ("PATCH".to_owned(), "/api/v1/channels/{handle}".to_owned())
    );
    assert_eq!((field("client.address"), &calls[0]["account.id"]), ("127.0.0.0/24".to_owned(), &mira.account["id"]));
    assert!(calls[0]["duration_ms"].is_f64() && calls[0]["request.id"].is_string(), "{}", calls[0]);
    // Who is answered has one line, as before.
    site.send(site.get("/api/v1/channels/river")).await;
    let calls = lines.until(2).await;
    assert_eq!((calls.len(), &calls[1]["http.status"]), (2, &json!(200)));
}
