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
    thread::on_air,
    weir::{DataDir, Weir, eventually, operate},
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

const DISPLAY_NAME: &str = "Qzx Mira Sandpiper";
const BIO: &str = "qzx avocets at dusk, mostly";
const TOKEN_NAME: &str = "qzx dabchick deployer";
const WANTED_EMAIL: &str = "qzx.second.address@estuary.example";
const WRONG_AGENT: &str = "QzxWrong/1.0 (turnstone)";
const REPORT: &str = "qzx the redshank was rude to me";
const ANSWER: &str = "qzx oystercatcher: thank you for telling";
const REASON: &str = "qzy curlew has broken the rules twice";
/// A word for each thing that people give away of themselves, or that is said to them, beside what they register with.
const PLANTED: [&str; 8] = [DISPLAY_NAME, BIO, TOKEN_NAME, WANTED_EMAIL, WRONG_AGENT, REPORT, ANSWER, REASON];
/// Where files of people are, beside those of their channels.
const OF_PEOPLE: [&str; 3] = ["avatars", "exports", "personal-exports"];

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

    /// Does something that succeeds; what it answers.
    async fn does(&self, weir: &Weir, token: &str, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(weir, token, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
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

async fn decides(keeper: &Caller, method: Method, path: &str, body: Option<Value>) {
    let (status, answer) = keeper.call(method, path, body).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
}

/// Leaves each of [`PLANTED`] where it goes, an avatar and a personal export; Noor's token of afterwards.
async fn plant(weir: &Weir, keeper: &Caller, mira: &str, noor: &str, picture: Vec<u8>) -> String {
    let profile = json!({ "display_name": DISPLAY_NAME, "bio": BIO });
    MIRA.does(weir, mira, Method::PATCH, "me", Some(profile)).await;
    let avatar = MIRA.client().put(format!("{}/api/v1/me/avatar", weir.http)).bearer_auth(mira);
    let answer = avatar.header("content-type", "image/jpeg").body(picture).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    let token = json!({ "name": TOKEN_NAME, "scopes": ["read"], "expires_in_days": 7, "password": PASSWORD });
    MIRA.does(weir, mira, Method::POST, "auth/tokens", Some(token)).await;
    let wanted = json!({ "email": WANTED_EMAIL, "password": PASSWORD });
    MIRA.does(weir, mira, Method::POST, "auth/email/change", Some(wanted)).await;
    let wrong = json!({ "username": MIRA.username, "password": "somebody else's" });
    let stranger = Client::builder().user_agent(WRONG_AGENT).build().unwrap();
    let answer = stranger.post(format!("{}/api/v1/auth/login", weir.http)).json(&wrong).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    let flats = keeper.get("channels/flats").await["id"].clone();
    let report = json!({ "target_kind": "channel", "target_id": flats, "kind": "rules", "text": REPORT });
    let report = MIRA.does(weir, mira, Method::POST, "reports", Some(report)).await;
    let path = format!("admin/reports/{}/decision", report["id"].as_str().unwrap());
    decides(keeper, Method::PUT, &path, Some(json!({ "verdict": "upheld", "action": "none", "answer": ANSWER }))).await;
    let account = NOOR.does(weir, noor, Method::GET, "auth/me", None).await["id"].clone();
    let path = format!("admin/accounts/{}/suspension", account.as_str().unwrap());
    decides(keeper, Method::PUT, &path, Some(json!({ "reason": REASON }))).await;
    decides(keeper, Method::DELETE, &path, None).await;

    MIRA.does(weir, mira, Method::POST, "me/export", Some(json!({ "password": PASSWORD }))).await;
    eventually("the personal export", async || {
        let export = MIRA.does(weir, mira, Method::GET, "me/export", None).await;
        (export["status"] == "ready").then_some(())
    })
    .await;
    NOOR.sign_in(weir).await.unwrap()
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
    // One that is not there has none; it may go while it is looked at.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
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
    let folders = ["nats", "objects", "mail"].map(|folder| files(&data.join(folder)));
    let kept = folders.into_iter().flatten().chain(logs);
    everything.extend(kept.map(|path| (path.display().to_string(), fs::read(&path).unwrap_or_default())));
    everything
}

/// Waits until all read models show what the log has.
async fn caught_up(folder: &DataDir) {
    eventually("all read models are caught up", async || {
        let (is_done, said) = operate(folder, &["projections", "list", "--json"]);
        assert!(is_done, "{said}");
        // What it logs comes after it.
        let listed = serde_json::Deserializer::from_str(&said).into_iter::<Vec<Value>>().next()?.ok()?;
        listed.iter().all(|listed| listed["lag_events"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_person_can_be_read_anywhere() {
    let folder = DataDir::new();
    let node = Weir::up(&folder);
    let keeper = Caller::register(&node.http, "keeper", Some(&node.setup_token())).await;
    let (mira, mut noor) = (MIRA.register(&node).await, NOOR.register(&node).await);
    for (person, token, handle) in [(&MIRA, &mira, "marsh"), (&NOOR, &noor, "flats")] {
        let body = json!({ "handle": handle, "title": format!("The {handle}") });
        let (status, answer) = person.call(&node, token, Method::POST, "channels", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    let (_, key) = MIRA.call(&node, &mira, Method::GET, "channels/marsh/stream-key", None).await;
    let (encoder, live) = on_air(&keeper, "marsh", &node.rtmp, key["stream_key"].as_str().unwrap()).await;
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
    let picture = reqwest::get(&thumbnail).await.unwrap().bytes().await.unwrap();
    noor = plant(&node, &keeper, &mira, &noor, picture.to_vec()).await;
    let export = MIRA.export(&node, &mira, "marsh").await;
    let is_kept = || files(&folder.path().join("data/objects")).iter().any(|file| file.ends_with(&export));
    assert!(is_kept(), "the export's file is there");
    let all = folder.path().join("all.ndjson");
    let (is_done, said) = operate(&folder, &["events", "export", "--actors", "plain", "-o", all.to_str().unwrap()]);
    assert!(is_done, "{said}");

    // A state of the past does not follow the log.
    let head = keeper.events().await.len().to_string();
    let (is_done, said) = operate(&folder, &["projections", "rebuild", "accounts_v1", "--to-position", &head]);
    assert!(is_done, "{said}");

    // The names are there to be found, in the read models, in the mails that nobody sends, and in files of the person.
    let words: Vec<&str> = MIRA.words().into_iter().chain(NOOR.words()).chain(PLANTED).collect();
    let mailed = || {
        let mails = files(&folder.path().join("data/mail"));
        let is_of_them = |file: &&PathBuf| {
            !found_in(&fs::read(file).unwrap_or_default(), &[MIRA.email, WANTED_EMAIL, NOOR.email]).is_empty()
        };
        mails.iter().filter(is_of_them).count()
    };
    eventually("what is mailed to them", async || (mailed() >= 3).then_some(())).await;
    caught_up(&folder).await;
    let before = everything(&folder, &node);
    let (_, before): (Vec<_>, Vec<_>) = before.into_iter().partition(|(name, _)| name.contains("/data/mail/"));
    let shown = [MIRA.username, NOOR.email, DISPLAY_NAME, BIO];
    assert_eq!(found_in(&before[0].1, &shown).len(), shown.len(), "the dump shows who is there");
    let of_people = || {
        let objects = folder.path().join("data/objects");
        OF_PEOPLE.map(|kind| files(&objects.join(kind)).len())
    };
    assert!(of_people().into_iter().all(|count| count > 0), "{:?}", of_people());
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
    let (is_done, said) = operate(&folder, &["accounts", "erase", NOOR.username]);
    assert!(!is_done && said.contains("--yes"), "nobody can be asked: {said}");
    let (is_done, said) = operate(&folder, &["accounts", "erase", NOOR.username, "--yes"]);
    assert!(is_done, "{said}");
    let (is_done, said) = operate(&folder, &["accounts", "erase", "keeper", "--yes"]);
    assert!(!is_done && said.contains("--last-administrator"), "{said}");
    let (is_done, said) = operate(&folder, &["accounts", "erase", NOOR.username, "--yes"]);
    assert!(!is_done && said.contains("no account"), "{said}");

    for (person, token) in [(&MIRA, &mira), (&NOOR, &noor)] {
        assert_eq!(person.sign_in(&node).await, None);
        // By the command line a node hears of it from the log.
        eventually("the session is over", async || {
            let (status, _) = person.call(&node, token, Method::GET, "auth/me", None).await;
            (status == StatusCode::UNAUTHORIZED).then_some(())
        })
        .await;
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
    let is_unlisted = async || (keeper.get("streams").await["items"] == json!([])).then_some(());
    eventually("no stream is shown", is_unlisted).await;
    // Nobody may see what a closed channel has left, so the answer does not tell whether it is still there.
    eventually("no picture is shown", async || {
        (reqwest::get(&thumbnail).await.unwrap().status() != StatusCode::OK).then_some(())
    })
    .await;
    eventually("the end of the pictures", async || pictures().is_empty().then_some(())).await;
    eventually("the export's end", async || (!is_kept()).then_some(())).await;
    // What is packed in them need not be looked into.
    eventually("the end of their files", async || (of_people() == [0; 3]).then_some(())).await;
    eventually("the end of what was mailed", async || (mailed() == 0).then_some(())).await;
    eventually("the end of the stream", async || {
        let events = keeper.events().await;
        let ended = events.iter().find(|event| event["type"] == "stream.ended")?;
        assert_eq!(ended["data"]["reason"], "channel_closed", "{ended}");
        Some(())
    })
    .await;
    caught_up(&folder).await;
    for (name, bytes) in everything(&folder, &node) {
        assert_eq!(found_in(&bytes, &words), [""; 0], "{name}");
        assert_eq!(found_in(&bytes, &[PASSWORD]), [""; 0], "{name}");
    }

    // The same rows come out of the log again: whose keys are gone, stay gone.
    let (is_done, said) = operate(&folder, &["projections", "rebuild", "accounts_v1"]);
    assert!(is_done, "{said}");
    assert_eq!(found_in(&dump(&folder), &words), [""; 0]);
    // Somebody else may have the name.
    MIRA.register(&node).await;
}
