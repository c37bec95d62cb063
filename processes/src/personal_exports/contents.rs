//! What is in the archive: a file for each kind of thing that the read models hold of the person, one with the events, and one
//! that says what the others are.

use std::{borrow::Cow, collections::HashMap};

use commands::{Commands, accounts};
use domain::{
    ids::AccountId,
    sealed::{KeyringError, Opened, Sealed},
};
use futures::StreamExt;
use projections::personal_data;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{
    archive::Archive,
    job::{JobError, Progress},
};

const README: &str = "\
What this Weir keeps of you, at the time when this was made.

Each .json file is a list, in JSON (RFC 8259), in the order of time. Times are UTC.
events.ndjson has, a line each, what the event log holds of you and of your channels: what you did, and what was
done to your account and your channels. Who else did something is not named.

Not in here: your password and the seed of your authenticator, of which nobody but you has a copy that can be read;
keys and tokens; what other people keep of you.
Of videos there are links to their pages (`links`): sign in there, and download them. The addresses of the API below
`api` are for programs, which send a token as `Authorization: Bearer`; a browser alone is refused. Links to pictures
open as they are.
Where a browser or an address was forgotten because its time was over, there is null.
";

/// How many rows are opened together.
const CHUNK: usize = 200;
/// The part of the work that the tables are; the rest is the log.
pub(super) const OF_TABLES: f64 = 0.2;

/// Writes everything but the events.
pub(super) async fn write(
    commands: &Commands,
    account_id: AccountId,
    public_url: &str,
    archive: &mut Archive,
    progress: &Progress,
) -> Result<(), JobError> {
    archive.file("README.txt").await?;
    archive.add(README.as_bytes()).await?;
    let used = LastUsed::of(commands, account_id).await?;
    let mut handles = Handles::default();
    let files = personal_data::TABLES.len() as f64;
    for (number, (name, sql)) in personal_data::TABLES.iter().enumerate() {
        archive.file(&format!("{name}.json")).await?;
        archive.add(b"[").await?;
        let mut is_first = true;
        let mut rows = personal_data::rows(commands.pool(), sql, account_id).chunks(CHUNK);
        while let Some(chunk) = rows.next().await {
            let mut chunk: Vec<Value> = chunk.into_iter().collect::<Result<_, _>>()?;
            open(commands, account_id, &mut chunk).await?;
            for mut row in chunk {
                handles.learn(name, &row);
                add_links(name, public_url, &handles, &mut row);
                used.add(name, &mut row);
                archive.add(if is_first { b"\n" } else { b",\n" }).await?;
                archive.add(&serde_json::to_vec_pretty(&row)?).await?;
                is_first = false;
            }
        }
        archive.add(b"\n]\n").await?;
        progress.set(OF_TABLES * (number + 1) as f64 / files);
    }
    Ok(())
}

/// The handles of the channels that are open, by their ids: a recording's page is below its channel's.
#[derive(Default)]
struct Handles(HashMap<String, String>);

impl Handles {
    /// Takes in a row; channels come before recordings.
    fn learn(&mut self, name: &str, row: &Value) {
        let text = |field: &str| row.get(field).and_then(Value::as_str).map(str::to_owned);
        if name == "channels" && row.get("closed_at").is_none_or(Value::is_null) {
            self.0.extend(text("id").zip(text("handle")));
        }
    }
}

/// Where files of the person are to be had.
fn add_links(name: &str, public_url: &str, handles: &Handles, row: &mut Value) {
    let Some(fields) = row.as_object_mut() else { return };
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let links = match name {
        "recordings" if text("state") == Some("published") => {
            let handle = text("channel_id").and_then(|channel_id| handles.0.get(channel_id));
            text("id").zip(handle).map(|(id, handle)| {
                json!({
                    "page": format!("{public_url}/{handle}/videos/{id}"),
                    "api": format!("{public_url}/api/v1/recordings/{id}"),
                })
            })
        }
        "profile" => text("account_id").zip(text("avatar")).map(|(account_id, avatar)| {
            json!({ "avatar": format!("{public_url}/media/avatars/{account_id}/{avatar}-256.jpg") })
        }),
        "channels" if fields.get("closed_at").is_none_or(Value::is_null) => {
            text("handle").map(|handle| json!({ "page": format!("{public_url}/{handle}") }))
        }
        _ => None,
    };
    if let Some(links) = links {
        fields.insert("links".to_owned(), links);
    }
}

/// When sessions and tokens were last used, which is not in the read models.
struct LastUsed(HashMap<String, String>);

impl LastUsed {
    async fn of(commands: &Commands, account_id: AccountId) -> Result<Self, JobError> {
        let sessions = accounts::sessions::last_used(commands, account_id).await?;
        let tokens = accounts::personal_tokens::last_used(commands, account_id).await?;
        let sessions = sessions.into_iter().map(|(id, at)| (id.to_string(), at));
        let all = sessions.chain(tokens.into_iter().map(|(id, at)| (id.to_string(), at)));
        Ok(Self(all.map(|(id, at)| (id, at.format(&Rfc3339).unwrap_or_default())).collect()))
    }

    fn add(&self, name: &str, row: &mut Value) {
        if !matches!(name, "sessions" | "personal-tokens") {
            return;
        }
        let Some(fields) = row.as_object_mut() else { return };
        let used_at = fields.get("id").and_then(Value::as_str).and_then(|id| self.0.get(id)).cloned();
        fields.insert("last_used_at".to_owned(), used_at.map_or(Value::Null, Value::String));
    }
}

/// Puts what is sealed of this person in its place, and nothing in the place of what is sealed of others or was forgotten.
pub(super) async fn open(commands: &Commands, account_id: AccountId, values: &mut [Value]) -> Result<(), KeyringError> {
    let mut sealed = Vec::new();
    for value in values.iter() {
        find(value, account_id, &mut sealed);
    }
    if sealed.is_empty() {
        values.iter_mut().for_each(|value| replace(value, account_id, &mut std::iter::empty()));
        return Ok(());
    }
    let opened = commands.keyring().open(sealed.into_iter().map(Cow::Owned).collect()).await?;
    let mut opened = opened.into_iter().map(|opened| match opened {
        Opened::Text(text) => Some(text),
        Opened::Erased => None,
    });
    for value in values {
        replace(value, account_id, &mut opened);
    }
    Ok(())
}

fn find(value: &Value, account_id: AccountId, sealed: &mut Vec<Sealed>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| find(value, account_id, sealed)),
        Value::Object(fields) => match as_sealed(value) {
            Some(found) if found.account_id == account_id => sealed.push(found),
            Some(_) => {}
            None => fields.values().for_each(|value| find(value, account_id, sealed)),
        },
        _ => {}
    }
}

/// In the order of [`find`].
fn replace(value: &mut Value, account_id: AccountId, opened: &mut dyn Iterator<Item = Option<String>>) {
    if let Some(found) = as_sealed(value) {
        let text = if found.account_id == account_id { opened.next().flatten() } else { None };
        *value = text.map_or(Value::Null, Value::String);
        return;
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, account_id, opened)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace(value, account_id, opened)),
        _ => {}
    }
}

fn as_sealed(value: &Value) -> Option<Sealed> {
    let fields = value.as_object()?;
    let looks_so = fields.len() == 2 && fields.contains_key("account_id") && fields.contains_key("ciphertext");
    if looks_so { serde_json::from_value(value.clone()).ok() } else { None }
}
