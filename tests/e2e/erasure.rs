//! Somebody is forgotten: nothing of them can be read anywhere any more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Caller,
    encoder::Encoder,
    thread::channel_when,
    weir::{DataDir, Weir, command, eventually},
};

const PASSWORD: &str = "qz a river runs through it";

/// Somebody whose every word can be told from all others.
struct Person {
    username: &'static str,
    email: &'static str,
    user_agent: &'static str,
}

const MIRA: Person = Person {
    username: "qzx_mira_warbler",
    email: "qzx.mira+plover@unusual-marsh.example",
    user_agent: "QzxBrowser/7.3 (Mira's own lapwing)",
};

const NOOR: Person =
    Person { username: "qzy_noor_dunlin", email: "qzy-noor@tidal-flat.example", user_agent: "QzyNoorAgent/1.0 godwit" };

impl Person {
    fn words(&self) -> [&'static str; 3] {
        [self.username, self.email, self.user_agent]
    }

    fn client(&self) -> Client {
        Client::builder().user_agent(self.user_agent).build().unwrap()
    }

    /// Registers and signs in on a second device; the access token.
    async fn register(&self, weir: &Weir) -> String {
        let body = json!({ "username": self.username, "email": self.email, "password": PASSWORD });
        let answer =
            self.client().post(format!("{}/api/v1/auth/register", weir.http)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        self.sign_in(weir).await.unwrap()
    }

    async fn sign_in(&self, weir: &Weir) -> Option<String> {
        let body = json!({ "username": self.username, "password": PASSWORD });
        let answer = self.client().post(format!("{}/api/v1/auth/login", weir.http)).json(&body).send().await.unwrap();
        let answer = answer.error_for_status().ok()?.json::<Value>().await.unwrap();
        Some(answer["access_token"].as_str().unwrap().to_owned())
    }

    async fn call(
        &self,
        weir: &Weir,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client().request(method, format!("{}/api/v1/{path}", weir.http)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    async fn export(&self, weir: &Weir, token: &str, channel: &str) -> String {
        let body = json!({ "format": "ndjson", "channel": channel });
        let (status, export) = self.call(weir, token, Method::POST, "exports", Some(body)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{export}");
        let id = export["id"].as_str().unwrap().to_owned();
        eventually("the export", async || {
            let (_, export) = self.call(weir, token, Method::GET, &format!("exports/{id}"), None).await;
            (export["status"] == "ready").then_some(())
        })
        .await;
        id
    }
}

/// `pg_dump` of the Postgres that runs on the folder: it is beside its server.
fn dump(folder: &DataDir) -> Vec<u8> {
    let server = fs::read_link(format!("/proc/{}/exe", folder.child("postgres"))).unwrap();
    let output = Command::new(server.with_file_name("pg_dump"))
        .args(["--no-password", "--dbname", &folder.database_url()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

/// Which of the words stand in the bytes, in whatever case: as they are, or as Postgres and JSON write bytes.
fn found_in(bytes: &[u8], words: &[&str]) -> Vec<String> {
    use base64::Engine;
    let bytes = bytes.to_ascii_lowercase();
    let mut found = Vec::new();
    for word in words {
        let word = word.to_lowercase();
        let forms = [
            word.clone(),
            hex::encode(&word),
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(&word).to_lowercase(),
            percent_encoding::utf8_percent_encode(&word, percent_encoding::NON_ALPHANUMERIC).to_string().to_lowercase(),
        ];
        found.extend(forms.into_iter().filter(|form| contains(&bytes, form.as_bytes())));
    }
    found
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Everything that a running Weir keeps, but the raw files of Postgres.
fn everything(folder: &DataDir, weir: &Weir) -> Vec<(String, Vec<u8>)> {
    let data = folder.path().join("data");
    let mut everything = vec![("pg_dump".to_owned(), dump(folder)), ("log".to_owned(), weir.log().into_bytes())];
    let logs = [data.join("postgres/postgres.log"), folder.path().join("all.ndjson")];
    let kept = files(&data.join("nats")).into_iter().chain(files(&data.join("objects"))).chain(logs);
    everything.extend(kept.map(|path| (path.display().to_string(), fs::read(&path).unwrap_or_default())));
    everything
}

fn weir(folder: &DataDir, arguments: &[&str]) -> (bool, String) {
    let output = command(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_person_can_be_read_anywhere() {
    let folder = DataDir::new();
    let node = Weir::up(&folder);
    let keeper = Caller::register(&node.http, "keeper", Some(&node.setup_token())).await;
    let (mira, noor) = (MIRA.register(&node).await, NOOR.register(&node).await);
    for (person, token, handle) in [(&MIRA, &mira, "marsh"), (&NOOR, &noor, "flats")] {
        let body = json!({ "handle": handle, "title": format!("The {handle}") });
        let (status, answer) = person.call(&node, token, Method::POST, "channels", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    let (_, key) = MIRA.call(&node, &mira, Method::GET, "channels/marsh/stream-key", None).await;
    let encoder = Encoder::publish(&node.rtmp, key["stream_key"].as_str().unwrap());
    let live = channel_when(&keeper, "marsh", true).await;
    let stream_id = live["live_stream_id"].as_str().unwrap().to_owned();
    let stream = keeper.get(&format!("streams/{stream_id}")).await;
    assert!(stream["encoder"].as_str().unwrap().starts_with("Lavf"), "{stream}");
    let thumbnail = stream["thumbnail_url"].as_str().unwrap().to_owned();
    eventually("a thumbnail", async || {
        (reqwest::get(&thumbnail).await.unwrap().status() == StatusCode::OK).then_some(())
    })
    .await;
    let pictures = || {
        let objects = files(&folder.path().join("data/objects/thumbnails"));
        objects.into_iter().filter(|file| file.to_string_lossy().contains(&stream_id)).collect::<Vec<_>>()
    };
    assert!(!pictures().is_empty(), "the stream's pictures are there");
    let export = MIRA.export(&node, &mira, "marsh").await;
    let is_kept = || files(&folder.path().join("data/objects")).iter().any(|file| file.ends_with(&export));
    assert!(is_kept(), "the export's file is there");
    let all = folder.path().join("all.ndjson");
    let (is_done, said) = weir(&folder, &["events", "export", "--actors", "plain", "-o", all.to_str().unwrap()]);
    assert!(is_done, "{said}");

    // A state of the past does not follow the log.
    let head = keeper.events().await.len().to_string();
    let (is_done, said) = weir(&folder, &["projections", "rebuild", "accounts_v1", "--to-position", &head]);
    assert!(is_done, "{said}");

    // The names are there to be found, and in the read models alone.
    let words: Vec<&str> = MIRA.words().into_iter().chain(NOOR.words()).collect();
    let before = everything(&folder, &node);
    assert_eq!(found_in(&before[0].1, &[MIRA.username, NOOR.email]).len(), 2, "the dump shows who is there");
    assert!(contains(&before[0].1, format!("COPY read_at_{head}.accounts_v1").as_bytes()), "and who was");
    for (name, bytes) in &before[1..] {
        assert_eq!(found_in(bytes, &words), [""; 0], "{name}");
    }

    let wrong = json!({ "password": "somebody else's" });
    let (status, answer) = MIRA.call(&node, &mira, Method::DELETE, "auth/me", Some(wrong)).await;
    assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!("password_wrong")));
    let body = json!({ "password": PASSWORD });
    let (status, answer) = MIRA.call(&node, &mira, Method::DELETE, "auth/me", Some(body)).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    let (is_done, said) = weir(&folder, &["accounts", "erase", NOOR.username]);
    assert!(!is_done && said.contains("--yes"), "nobody can be asked: {said}");
    let (is_done, said) = weir(&folder, &["accounts", "erase", NOOR.username, "--yes"]);
    assert!(is_done, "{said}");
    let (is_done, said) = weir(&folder, &["accounts", "erase", "keeper", "--yes"]);
    assert!(!is_done && said.contains("--last-administrator"), "{said}");
    let (is_done, said) = weir(&folder, &["accounts", "erase", NOOR.username, "--yes"]);
    assert!(!is_done && said.contains("no account"), "{said}");

    for (person, token) in [(&MIRA, &mira), (&NOOR, &noor)] {
        assert_eq!(person.sign_in(&node).await, None);
        let (status, _) = person.call(&node, token, Method::GET, "auth/me", None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    // What follows, follows soon: channels are gone, the encoder is sent away, the picture and the export go.
    for handle in ["marsh", "flats"] {
        eventually("the channel's end", async || {
            let (status, _) = keeper.call(Method::GET, &format!("channels/{handle}"), None).await;
            (status == StatusCode::NOT_FOUND).then_some(())
        })
        .await;
    }
    encoder.refused();
    assert_eq!(keeper.get("streams").await["items"], json!([]));
    // Nobody may see what a closed channel has left, so the answer does not tell whether it is still there.
    assert_ne!(reqwest::get(&thumbnail).await.unwrap().status(), StatusCode::OK);
    eventually("the end of the pictures", async || pictures().is_empty().then_some(())).await;
    eventually("the export's end", async || (!is_kept()).then_some(())).await;
    eventually("the end of the stream", async || {
        let events = keeper.events().await;
        let ended = events.iter().find(|event| event["type"] == "stream.ended")?;
        assert_eq!(ended["data"]["reason"], "channel_closed", "{ended}");
        Some(())
    })
    .await;
    for (name, bytes) in everything(&folder, &node) {
        assert_eq!(found_in(&bytes, &words), [""; 0], "{name}");
        assert_eq!(found_in(&bytes, &[PASSWORD]), [""; 0], "{name}");
    }

    // The same rows come out of the log again: whose keys are gone, stay gone.
    let (is_done, said) = weir(&folder, &["projections", "rebuild", "accounts_v1"]);
    assert!(is_done, "{said}");
    assert_eq!(found_in(&dump(&folder), &words), [""; 0]);
    // Somebody else may have the name.
    MIRA.register(&node).await;
}
