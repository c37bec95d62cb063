//! The REST API as a client meets it.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::weir::PATIENCE;

/// That of every account that tests make.
pub const PASSWORD: &str = "a river runs through it";

/// Someone who talks to a Weir; signed in or not.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Caller {
    /// Nobody in particular.
    pub fn anonymous(http: &str) -> Self {
        // A connection that was idle for longer may be closed by the server just when it is used.
        let client =
            Client::builder().pool_idle_timeout(Duration::from_secs(1)).read_timeout(PATIENCE).build().unwrap();
        Self { client, base: format!("{http}/api/v1"), token: None }
    }

    /// A new account; with a set-up token it is the administrator.
    pub async fn register(http: &str, username: &str, setup_token: Option<&str>) -> Self {
        let mut body = json!({
            "username": username, "email": format!("{username}@example.org"), "password": PASSWORD,
        });
        if let Some(token) = setup_token {
            body["setup_token"] = token.into();
        }
        let mut caller = Self::anonymous(http);
        let (status, answer) = caller.call(Method::POST, "auth/register", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        caller.token = Some(answer["access_token"].as_str().unwrap().to_owned());
        caller
    }

    /// Signs in again, as after a restart.
    pub async fn sign_in(http: &str, username: &str) -> Self {
        let mut caller = Self::anonymous(http);
        let body = json!({ "username": username, "password": PASSWORD });
        let (status, answer) = caller.call(Method::POST, "auth/login", Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        caller.token = Some(answer["access_token"].as_str().unwrap().to_owned());
        caller
    }

    /// The answer; asked again where nothing was done because Postgres had too much to do at that moment.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let began = Instant::now();
        loop {
            let (status, answer) = self.try_call(method.clone(), path, body.clone()).await.unwrap();
            if !is_for_now(status, &answer) || began.elapsed() > PATIENCE {
                return (status, answer);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// `Err` when there is no answer at all, as while Weir restarts.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, may_retry) = (answer.status(), answer.headers().contains_key("retry-after"));
        let body = answer.json().await.unwrap_or(Value::Null);
        assert!(may_retry || status != StatusCode::SERVICE_UNAVAILABLE, "503 says when to try again: {body}");
        Ok((status, body))
    }

    /// As this caller, for what the other functions do not do.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// What it is signed in by.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("signed in")
    }

    /// The same, signed in as before, at another node.
    pub fn at(&self, http: &str) -> Self {
        Self { base: format!("{http}/api/v1"), ..self.clone() }
    }

    /// Gives a channel a title, if it still is at that version.
    pub async fn edit(&self, handle: &str, title: &str, version: Option<i64>) -> (StatusCode, Value) {
        let began = Instant::now();
        loop {
            let path = format!("channels/{handle}");
            let mut request = self.request(Method::PATCH, &path).json(&json!({ "title": title }));
            if let Some(version) = version {
                request = request.header("if-match", format!("\"{version}\""));
            }
            let answer = request.send().await.unwrap();
            let (status, answer): (_, Value) = (answer.status(), answer.json().await.unwrap());
            if !is_for_now(status, &answer) || began.elapsed() > PATIENCE {
                return (status, answer);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status} {answer}");
        answer
    }

    /// Makes a channel and gives its stream key.
    pub async fn channel(&self, handle: &str) -> String {
        let body = json!({ "handle": handle, "title": format!("The channel {handle}") });
        let (status, answer) = self.call(Method::POST, "channels", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let key = self.get(&format!("channels/{handle}/stream-key")).await;
        key["stream_key"].as_str().unwrap().to_owned()
    }

    /// Every event of the log, for an administrator.
    pub async fn events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event["position"].as_i64().unwrap());
            let page = self.get(&format!("events?after={after}&limit=100")).await;
            let items = page["items"].as_array().unwrap();
            if items.is_empty() {
                return events;
            }
            events.extend(items.iter().cloned());
        }
    }
}

/// Nothing was done, because Postgres had too much to do just then.
fn is_for_now(status: StatusCode, answer: &Value) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && answer["code"] == "unavailable"
}

/// Positions without a hole, and each aggregate's stream ended at most once after it started.
pub fn check_events(events: &[Value]) {
    for (event, expected) in events.iter().zip(1..) {
        assert_eq!(event["position"], expected, "positions are contiguous: {event}");
    }
    let of = |kind: &str| -> Vec<&str> {
        events.iter().filter(|event| event["type"] == kind).map(|event| event["subject"].as_str().unwrap()).collect()
    };
    for kind in ["stream.started", "stream.ended"] {
        let mut subjects = of(kind);
        let all = subjects.len();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), all, "{kind} happens once a stream");
    }
}
