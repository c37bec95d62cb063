//! People who do things, whatever happens to the servers, and keep a book of it.

use std::{
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    PATIENCE,
    dice::Dice,
    ledger::{Ledger, Outcome, Wish},
};

const PASSWORD: &str = "a river runs through it";
/// Longer than the server gives a request, and than any server is stopped, on a machine that takes its time.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// What all clients share.
pub struct Stage {
    pub http: Vec<String>,
    pub ledger: Ledger,
    /// Set when no new commands are to be given.
    pub is_over: AtomicBool,
}

/// An account, which several clients may use, and its channels.
pub struct Account {
    pub username: String,
    token: Mutex<String>,
    channels: Mutex<Vec<String>>,
}

impl Account {
    pub fn token(&self) -> String {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Somebody with an account, one of those who use it.
pub struct Client {
    stage: Arc<Stage>,
    http: reqwest::Client,
    account: Arc<Account>,
    dice: Dice,
    name: String,
    count: u64,
}

/// What came of one request.
enum Answer {
    Done(Value),
    /// It is certain that nothing happened.
    Refused(String),
    /// The same, because servers are away: later it may work.
    NotNow(String),
    Unknown(String),
    SignInAgain,
}

struct Request<'a> {
    method: Method,
    path: &'a str,
    body: Option<Value>,
    expected_version: Option<i64>,
    key: Option<Uuid>,
}

impl Client {
    /// Registers an account; with a set-up token it is the administrator.
    pub async fn register(
        stage: &Arc<Stage>,
        username: &str,
        dice: Dice,
        setup_token: Option<&str>,
    ) -> anyhow::Result<Self> {
        let account = Account { username: username.to_owned(), token: Mutex::default(), channels: Mutex::default() };
        // Longer than the server gives a request, and than any server is stopped.
        let http = reqwest::Client::builder().timeout(HANGS_AFTER).build()?;
        Self::register_by(http, stage, account, dice, setup_token).await
    }

    async fn register_by(
        http: reqwest::Client,
        stage: &Arc<Stage>,
        account: Account,
        dice: Dice,
        setup_token: Option<&str>,
    ) -> anyhow::Result<Self> {
        let username = account.username.clone();
        let stage = Arc::clone(stage);
        let mut client = Self { stage, http, account: Arc::new(account), dice, name: username.clone(), count: 0 };
        let mut body = json!({
            "username": username, "email": format!("{username}@example.org"), "password": PASSWORD,
        });
        if let Some(token) = setup_token {
            body["setup_token"] = token.into();
        }
        let wish = Wish::Register { username: username.clone() };
        let answer = client.give(wish, Method::POST, "auth/register", Some(body)).await;
        let answer = answer.ok_or_else(|| anyhow::anyhow!("{username} could not register"))?;
        client.signed_in(&answer);
        Ok(client)
    }

    /// Another one who uses the same account.
    pub fn companion(&self, dice: Dice, name: String) -> Self {
        let Self { stage, http, account, .. } = self;
        Self { stage: Arc::clone(stage), http: http.clone(), account: Arc::clone(account), dice, name, count: 0 }
    }

    pub fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account)
    }

    /// Gives commands until it is over.
    pub async fn work(mut self) {
        while !self.stage.is_over.load(Ordering::Relaxed) {
            let handle = {
                let channels = self.account.channels.lock().unwrap_or_else(PoisonError::into_inner);
                if channels.is_empty() { None } else { Some(self.dice.pick(&channels).clone()) }
            };
            match (self.dice.roll(100), handle) {
                (0..4, _) => Box::pin(self.visit()).await,
                (4..6, _) => self.edit_profile().await,
                (6..12, _) | (_, None) => self.create_channel().await,
                (12..30, Some(handle)) => self.rotate_key(handle).await,
                (30..60, Some(handle)) => self.edit_what_was_seen(handle).await,
                (_, Some(handle)) => self.edit(handle, None).await,
            }
            sleep(Duration::from_millis(self.dice.roll(40))).await;
        }
    }

    /// Somebody comes, makes a channel and a token, takes us into the channel's team, is reported by us, and at times wants to be
    /// forgotten.
    async fn visit(&mut self) {
        self.count += 1;
        let username = format!("{}_{}", self.name, self.count);
        let dice = Dice::of(self.dice.roll(u64::MAX), 0);
        let account = Account { username, token: Mutex::default(), channels: Mutex::default() };
        let visitor = Self::register_by(self.http.clone(), &self.stage, account, dice, None).await;
        let Ok(mut visitor) = visitor else { return };
        visitor.create_channel().await;
        let (theirs, ours) = (visitor.account.username.clone(), self.account.username.clone());
        let body = json!({ "name": "A program", "scopes": ["read"], "expires_in_days": 1, "password": PASSWORD });
        visitor.give(Wish::MakeToken { username: theirs }, Method::POST, "auth/tokens", Some(body)).await;
        let handle = visitor.account.channels.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
        if let Some(handle) = handle {
            let path = format!("channels/{handle}/team/{ours}");
            let wish = Wish::GiveRole { handle: handle.clone(), username: ours };
            visitor.give(wish, Method::PUT, &path, Some(json!({ "role": "editor" }))).await;
            self.report(handle).await;
        }
        if visitor.dice.roll(2) == 0 {
            let wish = Wish::Erase { username: visitor.account.username.clone() };
            let body = json!({ "password": PASSWORD });
            visitor.give(wish, Method::DELETE, "auth/me", Some(body)).await;
        }
    }

    /// Creates a channel, and tells whether it can be read at once.
    pub async fn create_channel(&mut self) {
        self.count += 1;
        let handle = format!("{}_{}", self.name, self.count);
        let body = json!({ "handle": handle, "title": format!("The channel {handle}") });
        let wish = Wish::CreateChannel { handle: handle.clone() };
        if self.give(wish, Method::POST, "channels", Some(body)).await.is_some() {
            let mut channels = self.account.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.push(handle);
            // A few that many edit are more likely to collide than many that few edit.
            if channels.len() > 5 {
                channels.remove(0);
            }
        }
    }

    async fn edit_profile(&mut self) {
        self.count += 1;
        let body = json!({ "display_name": format!("{} {}", self.name, self.count) });
        self.give(Wish::EditProfile, Method::PATCH, "me", Some(body)).await;
    }

    /// Reports a channel, as often as there is one to be read.
    async fn report(&mut self, handle: String) {
        let path = format!("channels/{handle}");
        let look = Request { method: Method::GET, path: &path, body: None, expected_version: None, key: None };
        if let Answer::Done(channel) = self.send(look, Uuid::now_v7()).await {
            let body =
                json!({ "target_kind": "channel", "target_id": channel["id"], "kind": "other", "text": "It is loud." });
            self.give(Wish::Report { handle }, Method::POST, "reports", Some(body)).await;
        }
    }

    async fn edit(&mut self, handle: String, expected_version: Option<i64>) {
        self.count += 1;
        let title = format!("{} {}", self.name, self.count);
        let body = json!({ "title": title });
        let path = format!("channels/{handle}");
        self.give(Wish::EditChannel { handle, title, expected_version }, Method::PATCH, &path, Some(body)).await;
    }

    /// Edits on condition that nobody has in between.
    async fn edit_what_was_seen(&mut self, handle: String) {
        let path = format!("channels/{handle}");
        let look = Request { method: Method::GET, path: &path, body: None, expected_version: None, key: None };
        if let Answer::Done(channel) = self.send(look, Uuid::now_v7()).await
            && let Some(version) = channel["version"].as_i64()
        {
            self.edit(handle, Some(version)).await;
        }
    }

    async fn rotate_key(&mut self, handle: String) {
        let path = format!("channels/{handle}/stream-key/rotate");
        self.give(Wish::RotateKey { handle }, Method::POST, &path, None).await;
    }

    /// Signs in again, as after every quarter of an hour. Whether that may be tried again; an account that is erased has no
    /// use for it.
    async fn can_sign_in(&mut self) -> bool {
        let body = json!({ "username": self.account.username, "password": PASSWORD });
        let request =
            Request { method: Method::POST, path: "auth/login", body: Some(body), expected_version: None, key: None };
        match self.send(request, Uuid::now_v7()).await {
            Answer::Done(answer) => self.signed_in(&answer),
            Answer::SignInAgain => return false,
            _ => sleep(Duration::from_millis(100)).await,
        }
        true
    }

    fn signed_in(&self, answer: &Value) {
        if let Some(token) = answer["access_token"].as_str() {
            *self.account.token.lock().unwrap_or_else(PoisonError::into_inner) = token.to_owned();
        }
    }

    /// Gives a command and books what became of it. With a key it is given again, by the same key, until that is known.
    /// The answer when it was done.
    async fn give(&mut self, wish: Wish, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
        let (expected_version, key) = match wish {
            Wish::EditChannel { expected_version, .. } => (expected_version, None),
            Wish::CreateChannel { .. } | Wish::RotateKey { .. } | Wish::Report { .. } => (None, Some(Uuid::now_v7())),
            Wish::Register { .. }
            | Wish::Erase { .. }
            | Wish::EditProfile
            | Wish::MakeToken { .. }
            | Wish::GiveRole { .. } => (None, None),
        };
        let began = Instant::now();
        let mut requests = Vec::new();
        // Once an answer was lost, only the answer to a repeat says what became of it.
        let mut lost: Option<String> = None;
        let (outcome, answer) = loop {
            let id = Uuid::now_v7();
            requests.push(id);
            let request = Request { method: method.clone(), path, body: body.clone(), expected_version, key };
            match (self.send(request, id).await, &lost) {
                (Answer::Done(answer), _) => break (Outcome::Acknowledged, Some(answer)),
                (Answer::SignInAgain, _) if !self.can_sign_in().await => {
                    break (Outcome::Unknown("signed out".to_owned()), None);
                }
                (Answer::SignInAgain, _) => {}
                (Answer::Refused(why) | Answer::NotNow(why), None) => break (Outcome::Refused(why), None),
                (Answer::Refused(why), Some(_)) => {
                    if why == "handle_taken" {
                        self.stage.ledger.complain(format!("{wish:?} ({requests:?}): its repeat was told {why}"));
                    }
                    // Whether the first one is still under way somewhere, nobody knows.
                    break (Outcome::Unknown(format!("a repeat was refused: {why}")), None);
                }
                (Answer::Unknown(why), _) if key.is_none() => break (Outcome::Unknown(why), None),
                (Answer::Unknown(why) | Answer::NotNow(why), _) => lost = Some(why),
            }
            if began.elapsed() > PATIENCE {
                let why = lost.clone().unwrap_or_default();
                self.stage
                    .ledger
                    .complain(format!("{wish:?} ({requests:?}): not to be learnt what became of it: {why}"));
                break (Outcome::Unknown(why), None);
            }
            if lost.is_some() {
                sleep(Duration::from_millis(self.dice.between(20, 400))).await;
            }
        };
        if !matches!(outcome, Outcome::Acknowledged) {
            sleep(Duration::from_millis(self.dice.between(20, 200))).await;
        }
        if lost.is_some() {
            self.stage.ledger.repeated();
        }
        self.stage.ledger.record(wish, requests, key, outcome);
        answer
    }

    async fn send(&mut self, request: Request<'_>, id: Uuid) -> Answer {
        let http = self.dice.pick(&self.stage.http).clone();
        let Request { method, path, body, expected_version, key } = request;
        let mut request = self.http.request(method.clone(), format!("{http}/api/v1/{path}"));
        request = request.header("x-request-id", id.to_string());
        let token = self.account.token();
        if !token.is_empty() && path != "auth/login" {
            request = request.bearer_auth(token);
        }
        if let Some(version) = expected_version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let began = Instant::now();
        let sent = request.send().await;
        self.stage.ledger.took(began.elapsed());
        let complain = |what: String| self.stage.ledger.complain(format!("{method} {path} ({id}) at {http}: {what}"));
        let response = match sent {
            Ok(response) => response,
            // Nothing of it was sent.
            Err(error) if error.is_connect() => return Answer::NotNow("not connected".to_owned()),
            Err(error) => {
                if error.is_timeout() {
                    complain(format!("no answer within {HANGS_AFTER:?}"));
                }
                return Answer::Unknown(cause(&error));
            }
        };
        let status = response.status();
        let may_retry = response.headers().contains_key("retry-after");
        // A body that is cut off changes nothing about the status.
        let body: Value = response.json().await.unwrap_or_default();
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        match status {
            status if status.is_success() => Answer::Done(body),
            StatusCode::UNAUTHORIZED => Answer::SignInAgain,
            // A stream key takes a sign-in of the last minutes.
            StatusCode::FORBIDDEN if code == "reauthentication_required" => Answer::SignInAgain,
            StatusCode::SERVICE_UNAVAILABLE => {
                if !may_retry {
                    complain(format!("503 without Retry-After: {body}"));
                }
                if code == "outcome_unknown" { Answer::Unknown(code) } else { Answer::NotNow(code) }
            }
            // The first one is still under way, or was when its node died.
            StatusCode::CONFLICT if code == "idempotency_in_flight" => Answer::Unknown(code),
            status if status.is_client_error() => {
                let is_known = ["conflict", "version_stale", "not_found", "handle_taken"].contains(&code.as_str());
                if !is_known {
                    complain(format!("{status}: {body}"));
                }
                Answer::Refused(code)
            }
            status => {
                complain(format!("{status}: {body}"));
                Answer::Unknown(status.to_string())
            }
        }
    }
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Waits until `is_true`, and says what was waited for if it never is.
pub async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_true().await {
        anyhow::ensure!(began.elapsed() < PATIENCE, "still waiting after {PATIENCE:?} for: {what}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
