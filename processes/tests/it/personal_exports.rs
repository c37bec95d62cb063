//! What is kept of a person, as the file that they get.

use std::{collections::BTreeMap, io::Read};

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Erase, Register, failed_sign_ins, personal_exports as exports, sessions},
    channels::{self, CreateChannel},
};
use domain::{
    accounts::{NewestPersonalExport, SignInFailure},
    exports::ExportState,
    ids::{AccountId, ChannelId},
};
use processes::{ExportsOptions, Following};
use projections::{Projections, ReadModels};
use serde_json::{Value, json};
use storage::Storage;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::stage::{PATIENCE, Stage, until};

const ADDRESS: &str = "203.0.113.77";

/// A stage with read models and with a process that makes personal exports.
struct House {
    stage: Stage,
    storage: Storage,
    _objects: TempDir,
    processing: JoinHandle<()>,
    projecting: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.processing.abort();
        self.projecting.cancel();
    }
}

impl House {
    async fn new() -> Self {
        let stage = Stage::new().await;
        projections::migrate(&stage.url).await.unwrap();
        let projecting = CancellationToken::new();
        let keyring = stage.commands.keyring();
        // They end with the token.
        let _ = Projections::start(stage.pool.clone(), None, keyring, projecting.clone());
        let objects = tempfile::tempdir_in(embedded::testing::temporary_folder()).unwrap();
        let storage = Storage::open_disk(objects.path()).await.unwrap();
        let options =
            ExportsOptions { storage: storage.clone(), public_url: "https://weir.test".to_owned(), at_once: 1 };
        let commands = stage.commands.clone();
        let processing = tokio::spawn(async move {
            let following = Following::new(&commands);
            tokio::join!(following.listen(), processes::personal_exports::run(&commands, &following, &options));
        });
        Self { stage, storage, _objects: objects, processing, projecting }
    }

    fn commands(&self) -> &Commands {
        &self.stage.commands
    }

    async fn person(&self, username: &str) -> (AccountId, ChannelId) {
        let register = Register {
            username: username.to_owned(),
            email: format!("{username}@example.org"),
            password: Zeroizing::new("correct horse battery".to_owned()),
            setup_token: None,
            metadata: Metadata::new(Actor::System),
        };
        let account_id = accounts::register(self.commands(), register).await.unwrap().account_id;
        let create = CreateChannel {
            owner_id: account_id,
            handle: format!("{username}_live"),
            title: format!("The channel of {username}"),
            description: String::new(),
            metadata: Metadata::new(Actor::Account(account_id)),
        };
        (account_id, channels::create(self.commands(), create).await.unwrap().channel_id)
    }

    async fn newest(&self, id: AccountId) -> Option<NewestPersonalExport> {
        exports::newest(self.commands(), id).await.unwrap()
    }

    async fn state(&self, id: AccountId) -> Option<ExportState> {
        self.newest(id).await.map(|newest| newest.state)
    }

    /// Asks for an export and waits for its files, by their names.
    async fn export(&self, id: AccountId) -> BTreeMap<String, String> {
        // Whoever writes it waits for the read models as well, but not for as long as they may take here.
        let head = commands::events::head(&self.stage.pool).await.unwrap();
        assert!(ReadModels::new(self.stage.pool.clone()).wait_for(head, PATIENCE).await, "the read models");
        self.export_at_once(id).await
    }

    /// As [`Self::export`], where some of the events lead nowhere, and a read model stands still for that.
    async fn export_at_once(&self, id: AccountId) -> BTreeMap<String, String> {
        exports::request(self.commands(), id, Metadata::new(Actor::Account(id))).await.unwrap();
        until("the export", async || self.state(id).await == Some(ExportState::Completed)).await;
        let newest = self.newest(id).await.unwrap();
        let key = processes::personal_exports::key(newest.export_id);
        let object = self.storage.get(&key).await.unwrap().unwrap();
        assert_eq!(newest.size_bytes, Some(i64::try_from(object.bytes.len()).unwrap()));
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(object.bytes)).unwrap();
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let name = file.name().unwrap().into_owned();
            files.insert(name, text);
        }
        files
    }
}

fn json(files: &BTreeMap<String, String>, name: &str) -> Value {
    let text = files.get(name).unwrap_or_else(|| panic!("there is no {name}: {:?}", files.keys()));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

#[tokio::test]
async fn it_holds_all_of_the_person_in_plain_text_and_nothing_of_others() {
    let house = House::new().await;
    let (mira, channel) = house.person("mira").await;
    let (ann, other_channel) = house.person("ann").await;
    sessions::open(house.commands(), mira, "Mozilla/5.0 Firefox/145.0", ADDRESS).await.unwrap();
    sessions::open(house.commands(), ann, "Anns browser", "198.51.100.9").await.unwrap();
    let failed = failed_sign_ins::FailedSignIn {
        username: "mira".to_owned(),
        failure: SignInFailure::WrongPassword,
        user_agent: "curl/8".to_owned(),
        address: "192.0.2.4".to_owned(),
    };
    failed_sign_ins::note(house.commands(), failed).await.unwrap();

    let files = house.export(mira).await;
    assert!(files["README.txt"].contains("this Weir keeps of you"));
    let account = json(&files, "account.json");
    assert_eq!((&account[0]["username"], &account[0]["email"]), (&"mira".into(), &"mira@example.org".into()));
    let session = json(&files, "sessions.json")[0].clone();
    assert_eq!((&session["address"], &session["user_agent"]), (&ADDRESS.into(), &"Mozilla/5.0 Firefox/145.0".into()));
    assert!(session["last_used_at"].is_string(), "{session}");
    let channels = json(&files, "channels.json");
    assert_eq!(channels.as_array().unwrap().len(), 1);
    assert_eq!(channels[0]["handle"], "mira_live");
    assert_eq!(channels[0]["links"]["page"], "https://weir.test/mira_live");
    let audit = json(&files, "security-events.json");
    let kinds: Vec<&str> = audit.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"session.opened") && kinds.contains(&"sign_in.failed"), "{kinds:?}");

    let events: Vec<Value> = files["events.ndjson"].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in
        ["account.registered", "channel.created", "session.opened", "sign_in.failed", "personal_export.requested"]
    {
        assert_eq!(types.iter().filter(|of| **of == kind).count(), 1, "{kind}: {types:?}");
    }
    let registered = events.iter().find(|event| event["type"] == "account.registered").unwrap();
    assert_eq!(registered["data"]["username"], "mira");
    let created = events.iter().find(|event| event["type"] == "channel.created").unwrap();
    assert_eq!(created["actor"], "you");
    assert_eq!(created["subject"], format!("channel/{channel}"));

    let everything = files.values().cloned().collect::<String>();
    for others in
        ["ann@example.org", "ann_live", "198.51.100.9", "Anns browser", "ciphertext", "correct horse", "argon2"]
    {
        assert!(!everything.contains(others), "{others}");
    }
    for id in [ann.to_string(), other_channel.to_string()] {
        assert!(!everything.contains(&id), "{id}");
    }
}

#[tokio::test]
async fn whoever_else_had_a_part_in_something_is_not_named() {
    let house = House::new().await;
    let (mira, river) = house.person("mira").await;
    let (ann, brook) = house.person("ann").await;
    let (keeper, _) = house.person("keeper").await;
    let [me, her, him] = [mira, ann, keeper].map(|id| id.to_string());
    let by = |id: &str| format!("account:{id}");
    let answer = house.commands().account_keys().seal(mira, "We looked into it").await.unwrap();
    let reason = house.commands().account_keys().seal(ann, "Two warnings for Ann").await.unwrap();
    let at = "2026-11-21T11:00:00Z";
    let [report, of_her, export, invite] = std::array::from_fn(|_| uuid::Uuid::now_v7().to_string());
    let target = json!({ "kind": "account", "account_id": her });
    let text = house.commands().account_keys().seal(mira, "She is not herself").await.unwrap();
    let filter = json!({ "types": [], "subject": format!("email/{her}"), "channel_id": null, "after": 0, "until": 1, "from": null, "to": null });
    // What happened to Mira and her channel by others, and what Mira did to others.
    for (id, sequence, event_type, payload, actor) in [
        (
            &brook.to_string(),
            2,
            "channel.role_given",
            json!({ "RoleGiven": {
            "channel_id": brook, "account_id": me, "role": "editor", "by": her, "given_at": at } }),
            by(&her),
        ),
        (
            &brook.to_string(),
            3,
            "channel.role_taken",
            json!({ "RoleTaken": {
            "channel_id": brook, "account_id": me, "role": "editor", "by": her, "reason": "taken", "taken_at": at } }),
            by(&her),
        ),
        (
            &river.to_string(),
            2,
            "channel.role_given",
            json!({ "RoleGiven": {
            "channel_id": river, "account_id": her, "role": "moderator", "by": me, "given_at": at } }),
            by(&me),
        ),
        (
            &me,
            2,
            "account.reinstated",
            json!({ "Reinstated": {
            "account_id": me, "by": him, "reinstated_at": at } }),
            by(&him),
        ),
        (
            &her,
            2,
            "account.suspended",
            json!({ "Suspended": {
            "account_id": her, "by": me, "reason": reason, "until": null, "suspended_at": at } }),
            by(&me),
        ),
        (
            &report,
            1,
            "report.filed",
            json!({ "Filed": {
            "report_id": report, "account_id": me, "target": target, "owner_id": her, "kind": "rules", "text": text,
            "at_ms": null, "filed_at": at } }),
            by(&me),
        ),
        (
            &report,
            2,
            "report.decided",
            json!({ "Decided": {
            "report_id": report, "account_id": me, "target": target, "by": him, "verdict": "upheld", "action": "none",
            "answer": answer, "decided_at": at } }),
            by(&him),
        ),
        (
            &of_her,
            1,
            "report.filed",
            json!({ "Filed": {
            "report_id": of_her, "account_id": her, "target": { "kind": "channel", "id": river }, "owner_id": me,
            "kind": "rules", "text": reason, "at_ms": null, "filed_at": at } }),
            by(&her),
        ),
        (
            &export,
            1,
            "export.requested",
            json!({ "Requested": {
            "export_id": export, "by": me, "way": "feed", "format": "ndjson", "filter": filter, "names_accounts": false,
            "requested_at": at } }),
            by(&me),
        ),
        (
            &invite,
            1,
            "registration_invite.used",
            json!({ "Used": {
            "invite_id": invite, "account_id": me, "used_at": at } }),
            "system".to_owned(),
        ),
    ] {
        house.stage.append_raw((id.clone(), sequence), event_type, "1", &payload, &actor).await;
    }

    let files = house.export_at_once(mira).await;
    let everything = files.values().cloned().collect::<String>();
    for others in [&her, &him, "Two warnings for Ann", "ann_live", "ciphertext"] {
        assert!(!everything.contains(others), "{others}: {everything}");
    }
    let events: Vec<Value> = files["events.ndjson"].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event_type: &str| events.iter().filter(|event| event["type"] == event_type).collect::<Vec<_>>();
    assert_eq!(of("report.decided")[0]["data"]["answer"], "We looked into it");
    assert_eq!(of("report.decided")[0]["data"]["target"]["account_id"], "somebody else");
    assert_eq!(of("report.filed").len(), 1, "what others say of her is not hers");
    assert_eq!((of("channel.role_given").len(), of("channel.role_taken").len()), (2, 1));
    assert_eq!(of("channel.role_taken")[0]["data"]["by"], "somebody else");
    assert_eq!(of("registration_invite.used").len(), 1);
    let suspended = of("account.suspended")[0];
    assert_eq!((&suspended["subject"], &suspended["actor"]), (&"account/somebody else".into(), &"you".into()));
    assert_eq!((&suspended["data"]["by"], &suspended["data"]["reason"]), (&me.as_str().into(), &Value::Null));
    assert_eq!(of("export.requested")[0]["data"]["filter"]["subject"], "somebody else");
    assert_eq!(of("account.reinstated")[0]["data"]["by"], "somebody else");
    let audit = json(&files, "security-events.json");
    let reinstated = audit.as_array().unwrap().iter().find(|event| event["kind"] == "account.reinstated");
    assert_eq!(reinstated.expect("it is there")["by"], "somebody else");
    assert_eq!(json(&files, "reports.json")[0]["answer"], "We looked into it");
    assert_eq!(json(&files, "exports.json")[0]["way"], "feed");
}

#[tokio::test]
async fn it_goes_with_its_time_with_the_next_and_with_the_person() {
    let house = House::new().await;
    let (mira, _) = house.person("mira").await;
    house.export(mira).await;
    let first = processes::personal_exports::key(house.newest(mira).await.unwrap().export_id);
    house
        .stage
        .until_count("the file's note", "select count(*) from log.personal_exports where expires_at is not null", 1)
        .await;
    sqlx::query("update log.personal_exports set expires_at = now()").execute(&house.stage.pool).await.unwrap();
    assert_eq!(processes::personal_exports::delete_expired(house.commands()).await.unwrap(), 1);
    until("the file's end", async || house.storage.stat(&first).await.unwrap().is_none()).await;
    assert_eq!(house.state(mira).await, Some(ExportState::Deleted));
    assert_eq!(processes::personal_exports::delete_expired(house.commands()).await.unwrap(), 0);

    house.export(mira).await;
    let second = processes::personal_exports::key(house.newest(mira).await.unwrap().export_id);
    house
        .stage
        .until_count("the note", "select count(*) from log.personal_exports where expires_at is not null", 1)
        .await;
    let metadata = Metadata::new(Actor::Account(mira));
    let erase = Erase { account_id: mira, by: Some(mira), even_administrator: false, metadata };
    accounts::erase(house.commands(), erase).await.unwrap();
    until("the file's end with the person", async || house.storage.stat(&second).await.unwrap().is_none()).await;
    assert_eq!(house.state(mira).await, Some(ExportState::Deleted));
    house.stage.until_count("the list's end", "select count(*) from log.personal_exports", 0).await;
}

#[tokio::test]
async fn what_an_erased_person_asked_for_is_not_made() {
    let house = House::new().await;
    let (mira, _) = house.person("mira").await;
    house.processing.abort();
    exports::request(house.commands(), mira, Metadata::new(Actor::Account(mira))).await.unwrap();
    let metadata = Metadata::new(Actor::Account(mira));
    let erase = Erase { account_id: mira, by: Some(mira), even_administrator: false, metadata };
    accounts::erase(house.commands(), erase).await.unwrap();
    let (commands, storage) = (house.commands().clone(), house.storage.clone());
    let again = tokio::spawn(async move {
        let options = ExportsOptions { storage, public_url: "https://weir.test".to_owned(), at_once: 1 };
        let following = Following::new(&commands);
        tokio::join!(following.listen(), processes::personal_exports::run(&commands, &following, &options));
    });
    until("its end", async || house.state(mira).await == Some(ExportState::Deleted)).await;
    again.abort();
    let key = processes::personal_exports::key(house.newest(mira).await.unwrap().export_id);
    assert!(house.storage.stat(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn videos_are_linked_by_their_pages() {
    let house = House::new().await;
    let (mira, river) = house.person("mira").await;
    let [whole, running, stream, node] = std::array::from_fn(|_| uuid::Uuid::now_v7().to_string());
    let at = "2026-11-21T11:00:00Z";
    for recording in [&whole, &running] {
        let started = json!({ "Started": {
            "recording_id": recording, "stream_id": stream, "channel_id": river, "node_id": node, "title": "The night train",
            "started_at": at } });
        house.stage.append_raw((recording.clone(), 1), "recording.started", "1", &started, "system").await;
    }
    let published = json!({ "Published": {
        "recording_id": whole, "channel_id": river, "duration_ms": 1, "size_bytes": 1, "renditions": [], "gap_count": 0,
        "cut_short": null, "published_at": at } });
    house.stage.append_raw((whole.clone(), 2), "recording.published", "1", &published, "system").await;

    let files = house.export(mira).await;
    let recordings = json(&files, "recordings.json");
    let of = |id: &str| recordings.as_array().unwrap().iter().find(|recording| recording["id"] == id).unwrap();
    // Which a browser opens, and where its owner is signed in as everywhere; what a program asks takes a token.
    let page = format!("https://weir.test/mira_live/videos/{whole}");
    let api = format!("https://weir.test/api/v1/recordings/{whole}");
    assert_eq!(of(&whole)["links"], json!({ "page": page, "api": api }));
    assert_eq!(of(&running).get("links"), None, "there is nothing to see yet");
    assert!(!files["recordings.json"].contains("/download"), "a browser sends no token there");
    assert!(files["README.txt"].contains("Authorization: Bearer"), "{}", files["README.txt"]);
}
