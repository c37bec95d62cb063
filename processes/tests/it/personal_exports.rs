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
use projections::Projections;
use serde_json::Value;
use storage::Storage;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::stage::{Stage, until};

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
